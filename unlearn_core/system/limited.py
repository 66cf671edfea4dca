"""Work on what nobody vouches for, in a process of its own whose memory and time are limited.

The child is a module that writes JSON lines `[kind, value]`, the last of them `["end", null]`. Whatever else
ends it was too much for it, and harms nobody but itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class LimitReached(Exception):
    """The child needed more than it may; `slow` where that was time."""

    def __init__(self, slow: bool) -> None:
        super().__init__("time" if slow else "memory")
        self.slow = slow


@contextlib.contextmanager
def limited(
    module: str, *arguments: object, seconds: float, line: int, given: bytes = b""
) -> Iterator[Iterator[tuple[str, Any]]]:
    """What `python -m module arguments` writes, as pairs of kind and value, while it is wanted.

    line: the most bytes of one line. given: what the child reads on its standard input. Raises LimitReached.
    """
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    slow = threading.Event()

    def end() -> None:
        slow.set()
        child.kill()

    clock = threading.Timer(seconds, end)
    clock.daemon = True
    clock.start()
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with contextlib.suppress(OSError), child.stdin:
            child.stdin.write(given)
        yield _lines(child.stdout, line, slow)
    finally:
        clock.cancel()
        child.kill()
        child.wait()
        child.stdout.close()


def _lines(pipe: IO[bytes], most: int, slow: threading.Event) -> Iterator[tuple[str, Any]]:
    while text := pipe.readline(most):
        try:
            kind, value = json.loads(text)
        except (ValueError, RecursionError):  # torn: it ended in the middle
            break
        if kind == "end":
            return
        yield kind, value
    raise LimitReached(slow.is_set())


def hold_to(memory: int) -> None:
    """For the child: no more bytes from here on than these, where the system can hold it to that."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()  # of its own data
        resource.setrlimit(resource.RLIMIT_DATA, (has + memory, has + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(kind: str, value: object = None) -> None:
    """For the child: one line to whoever asked."""
    sys.stdout.write(json.dumps([kind, value]) + "\n")
    sys.stdout.flush()
