"""A tiny model that knows a tiny data set by heart, saved like any target."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from by_heart import Memorised, memorise


@pytest.fixture(scope="session")
def memorised(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> Memorised:
    return memorise(tmp_path_factory.mktemp("memorised"), tiny_model("olmo2", seed=0), tiny_tokenizer)


@pytest.fixture
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def interruptible() -> None:
    """Ctrl-C reaches the processes of a test, though a shell started the tests in the background, deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
