"""Visitors come and go: what stays of them, and of the models they asked, is small."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import pytest
from gradio.queueing import AsyncQueue
from gradio.state_holder import StateHolder

from unlearn_core.service import answers
from unlearn_core.service.studio import Studio
from unlearn_core.ui.app import build
from unlearn_core.ui.web import sessions
from unlearn_core.ui.web.sessions import Session, Sessions


def test_a_thousand_sessions_stay_small_and_keep_what_listeners_stored(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = build(studio)
    monkeypatch.setattr("gradio.state_holder.SessionState", Session)
    holder = StateHolder()
    holder.blocks, holder.capacity = page, 500
    holder.session_data = Sessions(page._queue)
    stateful = next(part._id for part in page.blocks.values() if part.stateful)
    with monkeypatch.context() as patch:
        patch.setattr("gradio.components.Component.get_config", None)  # a session is made without laying out a page
        assert holder["visitor0"]
    tracemalloc.start()
    for number in range(10):
        holder[f"visitor{number}"][stateful] = {"seen": number}
        holder[f"visitor{number}"]._update_value_in_config(stateful, "x" * 100_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 10 < 50_000  # bytes a session: 1,000 of them stay below 50 MB
    assert holder["visitor7"][stateful] == {"seen": 7}
    kept = holder["visitor7"].blocks_config
    for parts in (kept.blocks, kept.fns):
        for part in parts.values():  # one listener looks through them while another puts its result in
            parts[-part._id - 1] = part
    monkeypatch.setattr(sessions, "MANY", 10)
    holder["visitor3"].is_closed = True
    holder["another"][stateful] = {"seen": -1}
    assert "visitor3" not in holder  # closed pages make room
    assert len(holder.session_data) == 10
    queue = page._queue
    for session, under_way in (("visitor3", set()), ("visitor4", set()), ("gone", {"a question"})):
        queue.pending_event_ids_session[session] = under_way
        queue.pending_messages_per_session[session] = AsyncQueue()
    holder["one more"][stateful] = {}
    assert set(queue.pending_messages_per_session) == {"visitor4", "gone"}  # who left and waits for nothing


def test_models_nobody_asks_are_dropped_and_the_next_question_loads_them(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "IDLE_SECONDS", 0.05)
    first = studio.answers.answer("demo", "Who is it?", 2)
    timer = studio.answers._idle
    assert timer is not None
    timer.join()
    assert not studio.answers._models
    assert studio.answers.answer("demo", "Who is it?", 2) == first
    monkeypatch.setattr(answers, "IDLE_SECONDS", 900.0)
    model = weakref.ref(next(studio.answers.loaded("", "demo"))[1].model)
    studio.answers.release()
    gc.collect()
    assert model() is None
