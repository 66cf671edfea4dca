"""Threads that make a model take turns.

While transformers makes one, it puts empty functions in the place of torch's initialisers and of its own
`tie_weights`, for the whole process. A second thread would make a model whose head is not tied to its
embedding, and, leaving later than the first, would put the empty functions back for good.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_turn = threading.Lock()


@contextmanager
def building() -> Iterator[None]:
    """Held while a model is made, from files or from a configuration."""
    with _turn:
        yield


def _turn_anew() -> None:
    """A forked process does not wait for a thread of the one it came from."""
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_turn_anew)
