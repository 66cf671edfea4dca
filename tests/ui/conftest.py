"""A studio without a browser, whose runs are told by a script instead of a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.studio import Studio


def scripted(spec: RunSpec, **_: Any) -> Iterator[ev.Event]:
    """Two steps and a verdict."""
    yield ev.RunStarted(spec.to_json(), ("load", "unlearn"), 2, "cpu")
    for step in (1, 2):
        yield ev.Step(step, 2, {"total": 1.0 / step}, 1e-3, 1.0, 10.0, 1.0 * step)
    yield ev.Finished({"label": "unchanged", "summary": "Nothing."}, {"load": 1.0})


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "home")
    made.worker.carrier.runner = scripted
    yield made
    made.worker.close()
    made.store.close()


@pytest.fixture
def public_studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.delenv("LETHE_SMOLLM2", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # no model lies here
    made = Studio(tmp_path / "public", public=True)
    made.worker.carrier.runner = scripted
    yield made
    made.worker.close()
    made.store.close()
