"""Canaries, their time budget, the warning and the best weights, on a model that is really trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loop_helpers import drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import BestKept, CanaryAlert, FactAnswers, FactProbe, LoopStep, Warned
from unlearn_core.training.resources.budget import Budget
from unlearn_core.training.snapshot import Snapshot
from unlearn_core.training.watching.canary import LIMIT, PATIENCE, Canaries
from unlearn_core.training.watching.fact_probe import FactWatcher, select
from unlearn_core.training.watching.watch import SHARE

HARD = {"batch_size": 8, "learning_rate": 1e-2}  # gradient ascent at this rate ruins the model within steps


def of(kind: type, records: list[Any]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look counts as next to no tokens, as beside a large step, so that only the clock holds it back."""
    monkeypatch.setattr(FactWatcher, "num_tokens", 1)


@pytest.fixture
def ruined(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, cheap: None
) -> Callable[..., Any]:
    """`ruined(...)`: the records of a training that takes everything down, its artifact and its model."""

    def train(steps: int = 12, **options: Any) -> Any:
        model = memorised()
        method = methods.build("grad_ascent", HARD, steps)
        records, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, **options))
        return records, artifact, model

    return train


class Ticks:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_counts_what_is_spent_and_lets_no_more_than_its_share_through() -> None:
    clock = Ticks()
    budget = Budget(0.1, clock)
    assert budget.fits(), "the first piece is free to be measured"
    looks = []
    for step in range(100):
        clock.now += 1.0
        if budget.fits():
            looks.append(step)
            with budget.spend():
                clock.now += 0.5
        assert budget.spent <= 0.1 * clock.now or len(looks) == 1
    assert budget.spent == 0.5 * len(looks)
    assert 0.08 * clock.now < budget.spent <= 0.1 * clock.now


def test_one_held_up_piece_does_not_end_the_looking() -> None:
    clock = Ticks()
    budget = Budget(0.5, clock)
    for length in (1.0, 9.0):  # the second was interrupted by something else
        with budget.spend():
            clock.now += length
    clock.now = 22.0
    assert budget.fits(), "10 spent and 1 more expected, of 22"


class Slow:
    """A clock by which every call takes a second, so that looks are as dear as steps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_looks_become_fewer_where_they_are_dear(ruined: Any) -> None:
    """Counted by the clock of the test: free looks come every step, dear ones within the share."""
    free, _, _ = ruined(20, clock=lambda: 0.0)
    assert [p.step for p in of(FactProbe, free)] == list(range(21))
    assert len(of(FactAnswers, free)) == 10
    dear, _, _ = ruined(60, clock=Slow())
    steps = [probe.step for probe in of(FactProbe, dear)]
    assert 2 < len(steps) < 30
    assert (steps[0], steps[-1]) == (0, 60)
    shares = [probe.watching for probe in of(FactProbe, dear)]
    # The first look and the last are always made; on the way the share is kept.
    assert 0 < shares[-2] <= SHARE


def test_how_often_is_a_matter_of_tokens(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """A watched token costs a third of a trained one; half of SHARE is one look in so many steps."""
    method = methods.build("grad_ascent", HARD, 23)
    run = unlearn(memorised(), tiny_tokenizer, tiny_data, method, clock=lambda: 0.0)
    records, _ = drain(run)
    per_step = of(LoopStep, records)[0].tokens
    every = math.ceil(FactWatcher(tiny_tokenizer, tiny_data, None, None).num_tokens / (1.5 * SHARE * per_step))
    assert every > 1
    assert [probe.step for probe in of(FactProbe, records)] == [*range(0, 23, every), 23]


def test_watching_changes_no_weight(ruined: Any) -> None:
    _, _, watched = ruined(6, clock=lambda: 0.0)
    _, _, unwatched = ruined(6, probe_ids=())
    assert same(snapshot(watched), snapshot(unwatched))


def test_canaries_are_retain_rows_and_general_questions(tiny_data: UnlearningData) -> None:
    chosen = select(tiny_data)
    by_split = {split: [row for row, s in chosen if s == split] for split in ("forget", "retain", "general")}
    assert [len(rows) for rows in by_split.values()] == [4, 6, 6]
    question = next(q for q in tiny_data.questions if q.id == by_split["general"][0].id)
    assert by_split["general"][0].output == question.choices[question.answer]
    alone = select(replace(tiny_data, questions=(), general=(), retain=()))
    assert {split for _, split in alone} == {"forget"}
    without = select(replace(tiny_data, questions=()))
    assert [row for row, split in without if split == "general"] == list(tiny_data.general)


def test_a_canary_is_down_after_two_low_looks_and_up_at_one_high_one() -> None:
    canaries = Canaries({})
    told = []
    values = [0.9, 0.7, 0.8, 0.7, 0.71, 0.6, 0.9, 0.71, 0.71]  # 0.72 is the limit
    for step, value in enumerate(values):
        told += [(alert.step, alert.down) for alert in canaries.see(step, {"retain": value, "forget": 0.1})]
    assert (LIMIT, PATIENCE) == (0.8, 2)
    assert told == [(4, True), (6, False), (8, True)]


def test_a_canary_the_original_does_not_know_is_not_judged() -> None:
    canaries = Canaries({})
    assert not [alert for step in range(4) for alert in canaries.see(step, {"general": 0.04 / (step + 1)})]


def test_a_fall_that_belongs_to_the_method_is_no_alarm_unless_it_lasts() -> None:
    for last, expected in ((0.9, []), (0.2, [8])):
        canaries = Canaries({}, first_alert=8)
        values = [0.9, *[0.2] * 6, *[last] * 3]
        alerts = [a for step, value in enumerate(values) for a in canaries.see(step, {"retain": value})]
        assert [alert.step for alert in alerts] == expected


def test_the_merit_is_the_harmonic_mean_of_gone_and_kept() -> None:
    canaries = Canaries({})
    canaries.see(0, {"forget": 0.8, "retain": 1.0, "general": 0.5})
    assert canaries.merit({"forget": 0.8, "retain": 1.0, "general": 0.5}) == 0.0
    half = canaries.merit({"forget": 0.2, "retain": 0.9, "general": 0.25})  # 3/4 gone, half kept
    assert half == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert canaries.merit({"forget": 0.0, "retain": 1.0, "general": 0.6}) == 1.0


def test_a_ruined_model_raises_the_alarm(ruined: Any) -> None:
    records, _, _ = ruined(clock=lambda: 0.0)
    alerts = of(CanaryAlert, records)
    assert alerts
    assert alerts[0].down
    assert alerts[0].now < LIMIT * alerts[0].start
    at = records.index(alerts[0])
    assert isinstance(records[at - 1], FactProbe), "it is told with the look that showed it"


def test_the_best_weights_come_back_bit_for_bit(ruined: Any) -> None:
    plain = ruined(clock=lambda: 0.0)[0]
    merits = {probe.step: probe.merit for probe in of(FactProbe, plain)}
    records, artifact, model = ruined(best=lambda: True, clock=lambda: 0.0)
    (kept,) = of(BestKept, records)
    assert 0 < kept.step < kept.last == 12
    assert kept.merit == max(merits.values()) > kept.last_merit
    assert same(snapshot(model), at_step(ruined, kept.step))
    assert of(FactProbe, records)[-1].merit == pytest.approx(kept.merit)
    artifact.revert()
    assert not same(snapshot(model), at_step(ruined, kept.step))


def at_step(ruined: Any, step: int) -> Any:
    """The weights after `step` steps of the same training."""
    taken = itertools.count(1)
    _, _, model = ruined(stop=lambda: next(taken) >= step)
    return snapshot(model)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_stopping_keeps_the_best_so_far(ruined: Any, adapter: str) -> None:
    asked = iter([False] * 9 + [True] * 9)
    records, artifact, _ = ruined(40, stop=lambda: next(asked), best=lambda: True, adapter=adapter)
    assert len(of(LoopStep, records)) == 10
    (kept,) = of(BestKept, records)
    assert kept.step <= kept.last == 10
    artifact.revert()


def test_edits_go_back_to_the_best_too(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = memorised()
    before = snapshot(model)
    method = methods.build("selective_pruning")
    records, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, best=lambda: True, clock=lambda: 0.0))
    (kept,) = of(BestKept, records)
    assert kept.merit >= kept.last_merit
    artifact.revert()
    assert same(snapshot(model), before)


def test_a_method_whose_end_is_a_step_of_its_own_says_that_it_cannot_go_back(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    method = methods.build("task_vector", {"batch_size": 8}, 4)
    records, _ = drain(unlearn(memorised(), tiny_tokenizer, tiny_data, method, best=lambda: True))
    assert not of(BestKept, records)
    assert any("could not be kept" in note.message for note in of(Warned, records))


def test_a_resumed_training_remembers_its_best(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    tmp_path: Path,
    cheap: None,
) -> None:
    options = {"best": lambda: True, "clock": lambda: 0.0}
    method = methods.build("grad_ascent", HARD, 12)
    whole = memorised()
    records, _ = drain(unlearn(whole, tiny_tokenizer, tiny_data, method, **options))
    (kept,) = of(BestKept, records)
    state = Snapshot()
    first = unlearn(memorised(), tiny_tokenizer, tiny_data, method, snapshot=state, **options)
    while state.step < kept.step + 2:
        next(first)
    state.write(tmp_path)
    first.close()
    resumed = memorised()
    rest, _ = drain(unlearn(resumed, tiny_tokenizer, tiny_data, method, snapshot=Snapshot(tmp_path), **options))
    assert of(BestKept, rest) == [kept]
    assert same(snapshot(whole), snapshot(resumed))


def test_answers_are_written_on_the_way(ruined: Any) -> None:
    records, _, _ = ruined(22, clock=lambda: 0.0)
    answers = of(FactAnswers, records)
    assert [a.step for a in answers] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert {answer["split"] for answer in answers[0].answers} == {"forget", "retain"}
    assert len(answers[0].answers) == 6
    assert answers[0].answers != answers[-1].answers
