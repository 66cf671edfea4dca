"""The canaries and their alarm, as drawn from a run's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from golden_page import assert_golden

from unlearn_core.evaluation.scores import Scores
from unlearn_core.report.run.live.curves import facts_figure, loss_figure
from unlearn_core.report.run.live.progress import progress_panel, telemetry
from unlearn_core.report.run.live.watched import alarm, singles, watch_panel
from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState


def look(step: int, forget: float, retain: float, general: float) -> ev.FactProbe:
    chances = {"forget": forget, "retain": retain, "general": general}
    facts = tuple(
        ev.WatchedFact(f"{split}1qa0", f"Which {split}?", "Oldport", chance, split, chance)
        for split, chance in chances.items()
    )
    return ev.FactProbe(step, facts, watching=0.07, merit=0.5, best=step)


def answers(step: int, text: str) -> ev.FactAnswers:
    told = tuple({"id": f"{split}1qa0", "split": split, "text": text} for split in ("forget", "retain"))
    return ev.FactAnswers(step, told)


@pytest.fixture
def running(make_scores: Callable[..., Any]) -> RunState:
    """A run after four of ten steps, whose retain canary has just gone down."""
    told = RunState()
    told.add(ev.RunStarted({"method": "npo"}, ("unlearn", "score unlearned"), 10, "cpu"))
    told.add(ev.Score("original", make_scores(1.0, 1.0).to_json(generations=True)))
    told.add(ev.StageProgress("unlearn", 0, 10))
    for step, retain in ((0, 1.0), (2, 0.7), (4, 0.6)):
        if step:
            told.add(ev.Step(step, 10, {"total": 1.0}, 1e-3, 0.5 * step, 900.0, step, 5.0, 2_000_000_000))
            told.add(answers(step, f"Oldport {step}"))
        told.add(look(step, 1.0 - step / 5, retain, 0.97))
    told.add(ev.CanaryAlert(4, "retain", 1.0, 0.6, True))
    return told


def test_the_words_of_the_live_view(running: RunState) -> None:
    """And once the canary is up again, of a method that dips, and where nothing warns."""
    panels = [progress_panel(running), alarm(running), telemetry(running), watch_panel(running), singles(running)]
    running.add(ev.CanaryAlert(6, "retain", 1.0, 0.9, False))
    panels.append(alarm(running))
    running.started = ev.RunStarted({}, ("unlearn",), 10, "cpu", recovers_by=0.7)
    running.alerts = []
    alone = RunState()
    alone.add(ev.FactProbe(0, (ev.WatchedFact("a", "Who?", "Bo", 0.9, "forget"),)))
    assert_golden("live", *panels, watch_panel(running), watch_panel(alone))


def test_the_alarm_is_an_alert_until_the_canary_comes_up_again(running: RunState) -> None:
    assert 'role="alert"' in alarm(running)
    running.add(ev.CanaryAlert(6, "retain", 1.0, 0.9, False))
    assert 'role="alert"' not in alarm(running)


def test_no_alarm_without_an_alert_or_once_the_best_is_kept(running: RunState) -> None:
    running.add(ev.BestKept(2, 4, 0.8, 0.5))
    assert alarm(running) == ""
    assert alarm(RunState()) == ""
    assert any("weights of step 2 are kept, not those of step 4" in note for note in running.notes)


def test_names_of_curves_say_which_way_they_should_go(running: RunState) -> None:
    names = [trace["name"] for trace in facts_figure(running)["data"]]
    assert "Retain canary, should stay" in names
    assert "Utility canary, should stay" in names
    running.add(ev.Step(5, 10, {"total": 1.0, "forget": 2.0}, 1e-3, 1.0, 900.0, 5.0))
    assert "rise" in loss_figure(running)["data"][0]["name"]
    running.started = ev.RunStarted({}, (), 10, "cpu", forget_rises=False)
    assert "fall" in loss_figure(running)["data"][0]["name"]


def test_a_whole_answer_is_shown_by_its_odds_beside_the_retain_only_models(make_scores: Callable[..., Scores]) -> None:
    told = RunState()
    told.add(ev.Score("retain_only", make_scores(0.0, 1.0, details={"watched": {"a": -20.0}}).to_json()))
    for step, chance in ((0, 0.8), (3, 0.41**11)):
        told.add(ev.FactProbe(step, (ev.WatchedFact("a", "When?", "1988-08-18", chance, "forget", 0.41),)))
    table = watch_panel(told)
    assert "1 in 18,000" in table  # 0.41 to the eleventh is 0.000055
    assert "1 in 490,000,000" in table  # exp(-20)
    figure = facts_figure(told)
    assert figure["layout"]["yaxis"]["type"] == "log"
    assert figure["layout"]["shapes"][0]["y0"] == pytest.approx(2.06e-9, rel=0.01)
    assert figure["data"][0]["y"][-1] == pytest.approx(0.41**11, rel=1e-3)


def test_what_earlier_versions_called_probability_was_the_mean_per_token() -> None:
    fact = {"id": "a", "prompt": "When?", "answer": "1988", "probability": 0.41, "split": "forget"}
    read = ev.from_json({"event": "FactProbe", "step": 0, "facts": [fact]})
    assert isinstance(read, ev.FactProbe)
    assert (read.facts[0].probability, read.facts[0].per_token) == (None, 0.41)
    told = RunState()
    told.add(read)
    assert "n/a" in watch_panel(told)
    assert not facts_figure(told)["data"]
