"""What Gradio keeps of every visitor, cut down to what the page needs: strangers come and go by the thousand.

For links that open a page with all its fields filled in, Gradio copies the configuration of each component
into each session (0.6 MB for this page, and a tenth of a second in which the server does nothing else, even
for a call without a session) and keeps it after the visitor has left. This page has no such links:
what it remembers is in its address and in the browser. Gradio's queue keeps an empty list of messages for
whoever ever asked something, and after each answer makes a table of the last 10,000 for a page of statistics
that is not served here.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from copy import copy
from typing import Any

import gradio as gr
from gradio.queueing import Queue
from gradio.state_holder import SessionState

MAX_SESSIONS = 500  # beyond them the longest unused is forgotten; its page works on, as after a restart
_MAKERS = ("gradio.route_utils", "gradio.state_holder", "gradio.mcp")  # the parts of Gradio that make sessions
MANY = 16  # from here on pages that were closed go first: what was drawn last for each takes 0.3 MB


class _Nothing(dict[Any, Any]):
    """Configurations that are neither kept nor missed."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: object) -> dict[str, Any]:
        return {}

    def __setitem__(self, key: object, value: object) -> None:
        pass


class _Steady(dict[int, Any]):
    """A session's components, or its listeners. Gradio goes through them for one listener while another one's
    result, or what it renders, is put in ("dictionary changed size during iteration"); whoever goes through
    these goes through a copy."""

    def values(self) -> Any:
        return list(super().values())

    def items(self) -> Any:
        return list(super().items())


class Session(SessionState):
    """What is kept of one visitor, without the configurations."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks_config = copy(blocks.default_config)
        self.blocks_config.blocks = _Steady(self.blocks_config.blocks)
        self.blocks_config.fns = _Steady(self.blocks_config.fns)
        self.config_values = _Nothing()
        self.state_data, self._state_ttl = {}, {}
        self.is_closed, self.STATE_TTL_WHEN_CLOSED = False, 3600


class Sessions(OrderedDict[str, SessionState]):
    """Sessions by id, without those that were closed where there are many."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def __setitem__(self, session: str, state: SessionState) -> None:
        super().__setitem__(session, state)
        closed = [one for one, other in self.items() if other.is_closed] if len(self) > MANY else []
        for one in closed[: len(self) - MANY]:
            del self[one]
        self._forget_in_queue()

    def _forget_in_queue(self) -> None:
        """Whoever is gone and has nothing under way there."""
        waiting, messages = self._queue.pending_event_ids_session, self._queue.pending_messages_per_session
        for session, under_way in list(waiting.items()):
            if not under_way and session not in self:
                waiting.pop(session, None)
                messages.pop(session, None)


def keep_sessions_small(page: gr.Blocks) -> None:
    """For a page that has been launched."""
    for name in _MAKERS:
        if name in sys.modules:  # without its package there is no server of the Model Context Protocol
            setattr(sys.modules[name], "SessionState", Session)  # noqa: B010
    queue, holder = page._queue, page.app.state_holder
    holder.session_data, holder.time_last_used = Sessions(queue), _Nothing()
    queue.ANALYTICS_MAX_EVENTS, queue.ANAYLTICS_CACHE_FREQUENCY = 1, sys.maxsize
