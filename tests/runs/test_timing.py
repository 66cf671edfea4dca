"""Time left: the rest of this stage by its own rate, the later ones by what is known of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from unlearn_core.runs.planning import timing
from unlearn_core.runs.planning.timing import StageTimer, ThroughputCache


def test_time_left_adds_the_rest_of_this_stage_and_the_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s into a stage that is 1/4 done 30 s remain of it; 7 s are expected after it: 37 s."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    clock = StageTimer(("load", "unlearn", "score"))
    with clock.stage("load"):
        now[0] += 2.0
    assert clock.seconds == {"load": 2.0}
    with clock.stage("unlearn"):
        now[0] += 10.0
        assert clock.left(0.25) is None  # nothing is known of the scoring
        clock.expect("score", 7.0)
        assert clock.left(0.25) == pytest.approx(37.0)
        assert clock.left(0.0) is None
        clock.expect("unlearn", 12.0)
        assert clock.left(0.0) == pytest.approx(2.0 + 7.0)


def test_uneven_steps_leave_the_time_left_within_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.5 to 1.5 s: from half way on, what is told is within 25 % of what comes, save for the last
    steps, where a single one is more than that."""
    now, drawn = [0.0], random.Random(0)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    seconds = [drawn.uniform(0.5, 1.5) for _ in range(60)]
    clock = StageTimer(("unlearn",))
    with clock.stage("unlearn"):
        for done, each in enumerate(seconds, 1):
            now[0] += each
            if 30 <= done <= 55:
                assert clock.left(done / 60) == pytest.approx(sum(seconds[done:]), rel=0.25)


def test_the_pace_of_earlier_runs_is_remembered_and_damage_is_forgotten(tmp_path: Path) -> None:
    pace = ThroughputCache(tmp_path)
    assert pace.read("a") is None
    for number in range(120):
        pace.write(f"run {number}", 0.5)
    pace.write("a", 0.25)
    assert ThroughputCache(tmp_path).read("a") == 0.25
    assert pace.read("run 0") is None
    (tmp_path / "cache" / "pace.json").write_text('{"a": "fast"')
    assert pace.read("a") is None
