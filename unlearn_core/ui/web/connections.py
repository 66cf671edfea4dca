"""Connections on which nothing is asked: each takes an open file, and uvicorn waits for a request for ever."""

from __future__ import annotations

import time
from typing import Any

from unlearn_core.system.periodic import PeriodicThread

HEADER_SECONDS = 20.0  # that the first line and the headers of a request may take to arrive
_EVERY = 5.0


class IdleConnectionCloser(PeriodicThread):
    """Closes them for as long as the server runs.

    server: a `uvicorn.Server`; each of its connections holds the request at work as `cycle`.
    """

    def __init__(self, server: Any) -> None:
        super().__init__("closer", _EVERY)
        self._server = server
        # The last request of a connection, and when it was seen over.
        self._since: dict[object, tuple[object, float]] = {}

    def look(self) -> None:
        if self._server.should_exit:
            self.close()
        else:
            self.close_idle(time.monotonic())

    def close_idle(self, now: float) -> None:
        """Close what has waited too long at `now`, in seconds of the monotonic clock."""
        waiting = {}
        for connection in list(self._server.server_state.connections):
            last = getattr(connection, "cycle", None)
            if last is not None and not last.response_complete:
                continue
            before = self._since.get(connection)
            waiting[connection] = before if before is not None and before[0] is last else (last, now)
            if now - waiting[connection][1] > HEADER_SECONDS:
                connection.loop.call_soon_threadsafe(connection.transport.close)
        self._since = waiting
