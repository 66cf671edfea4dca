"""Stands in for the platform's package of this name: a decorated generator runs in a forked process.

Arguments and values cross as pickles, and what the process changes in its memory is lost, as on a ZeroGPU
Space. Put this folder on PYTHONPATH. `CUT_AFTER` values the platform ends the process; `CALLS` says what each
call asked for.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

CALLS: list[dict[str, int]] = []
CUT_AFTER: int | None = None
_HERE = multiprocessing.get_context("fork")


class Error(Exception):
    def __init__(self, message: str, title: str) -> None:
        super().__init__(message)
        self.message, self.title = message, title


def GPU(task: Any = None, *, duration: Any = 60, size: str | None = None) -> Any:
    if task is None:
        return functools.partial(GPU, duration=duration, size=size)

    @functools.wraps(task)
    def call(*given: Any) -> Iterator[Any]:
        asked = duration(*given) if callable(duration) else duration
        ours, theirs = _HERE.Pipe()
        stop = _HERE.Event()
        worker = _HERE.Process(target=_work, args=(task, pickle.dumps(given), theirs, ours, stop), daemon=True)
        worker.start()
        theirs.close()
        CALLS.append({"asked": asked, "process": worker.pid or 0})
        try:
            yield from _values(ours, worker)
        finally:
            stop.set()
            while _received(ours) is not None:
                pass
            worker.join()

    return call


def _values(pipe: Any, worker: Any) -> Iterator[Any]:
    number = 0
    while True:
        message = _received(pipe)
        if message is None or message[0] == "error":
            raise Error("GPU task aborted" if message is None else message[1], "ZeroGPU worker error")
        if message[0] == "end":
            return
        number += 1
        if CUT_AFTER is not None and number > CUT_AFTER:
            worker.kill()
        yield message[1]


def _received(pipe: Any) -> Any:
    try:
        return pickle.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        return None


def _work(task: Callable[..., Any], given: bytes, pipe: Any, other_end: Any, stop: Any) -> None:
    other_end.close()
    values = task(*pickle.loads(given))
    message: tuple[str, Any] = ("end", None)
    try:
        for value in values:
            if stop.is_set():
                values.close()
                break
            pipe.send_bytes(pickle.dumps(("value", value)))
    except Exception as error:
        message = ("error", type(error).__name__)
    pipe.send_bytes(pickle.dumps(message))
    pipe.close()
    os._exit(0)
