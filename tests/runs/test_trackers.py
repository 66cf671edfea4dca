"""A run's numbers in a tracker: what is sent, that the events go through unchanged, and TensorBoard itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlearn_core import RunSpec
from unlearn_core.cli import main
from unlearn_core.errors import InputError
from unlearn_core.runs import events as ev
from unlearn_core.runs.trackers import numbers, open_tracker, tracked

STEP = ev.Step(3, 10, {"total": 1.5, "forget": 2.0}, 1e-3, 0.5, 1000.0, 2.0, None, 0)
SCORE = ev.Score("unlearned", {"terms": {"forget/Task1/knowledge": 0.25, "x": None}, "utility": 0.5}, False)


def test_what_an_event_has_to_show() -> None:
    assert numbers(STEP)["loss/forget"] == 2.0
    assert numbers(STEP)["gradient_norm"] == 0.5
    assert numbers(SCORE) == {"unlearned/forget/Task1/knowledge": 0.25, "unlearned/utility": 0.5}
    assert numbers(ev.Warned("careful")) == {}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_events_go_through_and_numbers_arrive_with_their_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    module = SimpleNamespace(
        init=lambda **settings: calls.append(settings["config"]["method"]),
        log=lambda values, step: calls.append((step, sorted(values)[0])),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, name, module)
    events = [STEP, ev.Warned("careful"), SCORE]
    assert list(tracked(iter(events), name, RunSpec(method="npo"), tmp_path)) == events
    assert calls == ["npo", (3, "gradient_norm"), (3, "unlearned/forget/Task1/knowledge"), "finished"]


def test_a_tracker_that_is_not_there_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="pip install wandb"):
        open_tracker("wandb", RunSpec(), tmp_path)
    with pytest.raises(SystemExit):
        main(["run", "--track", "abacus"])
    assert "tensorboard" in capsys.readouterr().err


def test_tensorboard_writes_what_was_sent(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    list(tracked(iter([STEP]), "tensorboard", RunSpec(), tmp_path))
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(point.step, point.value) for point in found.Scalars("loss/total")] == [(3, 1.5)]
