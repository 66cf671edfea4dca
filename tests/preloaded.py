"""Processes that start with the heavy libraries imported: each is forked from one that has done nothing else yet.

A fresh interpreter imports torch, transformers and what a run needs for five seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from faults import PRELOADED

_SHARED = ["torch.distributed.checkpoint", "torch.distributed.fsdp", "torch.distributed.tensor", "unlearn_core.cli"]


class Child:
    """A process that carries out `work(*given)` under `environment`; what it prints goes to the file `said`."""

    def __init__(self, work: Callable[..., object], *given: object, environment: Mapping[str, str], said: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOADED, *_SHARED])
        self._said = said
        self._process = context.Process(target=_begin, args=(work, given, dict(environment), str(said)), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """The exit code of one that has ended."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.pid is not None and self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self) -> tuple[int | None, str]:
        """Its exit code and what it said, once it has ended."""
        self._process.join()
        return self.poll(), self._said.read_text(encoding="utf-8")


def _begin(work: Callable[..., Any], given: tuple[object, ...], environment: dict[str, str], said: str) -> None:
    import torch

    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.exit(work(*given))
