"""The app served by this process, as `lethe serve` does it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.service.studio import Studio


def _warm_up(studio: Studio) -> None:
    """What the app does when it starts, but for scoring the bundled models ahead of anybody's run: each server of the
    tests would be busy with that for half a minute."""
    studio.worker.warm_up()
    studio.warm_up()
    studio.choices.known_now()


@contextmanager
def served(home: Path, *, cold: bool = False, **options: Any) -> Iterator[str]:
    """The app on a free port, with its runs in `home`; its address. A `cold` one asks no model before it is asked."""
    from unlearn_core.ui.app import launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn_core.ui.app._warm_up", (lambda studio: None) if cold else _warm_up)
        page = launch(home=home, block=False, **options)
    yield str(page.local_url).rstrip("/")
    page.close()
    for thread in threading.enumerate():  # an interpreter that ends while torch computes aborts
        if thread.name == "warm-up":
            thread.join()
