"""Runs beside each other: intervals over seeds by hand, differences of settings, a grid as queued runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unlearn_core.errors import InputError, ResourceError
from unlearn_core.evaluation.progress import result_of
from unlearn_core.jobs import sweep
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.references import read_wiped, references, score_wiped, wipe
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.compare import compared, difference, estimate, score_lines, settings_beside
from unlearn_core.store.table.rows import RunQuery


def tell(store: RunStore, spec: RunSpec, final: float) -> str:
    run = store.create(spec)
    store.append(run.id, ev.RunStarted(spec.to_json(), (), 1, "cpu"))
    store.append(run.id, ev.Score("original", {"weights_hash": "o", "data_fingerprint": "d"}))
    store.append(run.id, ev.Score("unlearned", {"final_score": final}))
    store.append(run.id, ev.Finished({"label": "forgotten"}, {"load": 1.0}))
    return run.id


def test_an_interval_over_three_seeds() -> None:
    """Mean 2, standard deviation 1, t(0.975, 2) = 4.3027: the reach is 4.3027 / sqrt(3) = 2.4842."""
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.num) == (2.0, 3)
    assert found.low == pytest.approx(2 - 2.4842, abs=1e-3)
    assert found.high == pytest.approx(2 + 2.4842, abs=1e-3)


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    only = estimate([0.5])
    assert only is not None
    assert (only.mean, only.low, only.high) == (0.5, None, None)
    assert estimate([]) is None
    assert difference([], [1.0]) is None


def test_a_difference_with_equal_spread() -> None:
    """Both variances 1 over 3 seeds: 4 degrees of freedom, t(0.975, 4) = 2.7764, reach 2.7764 sqrt(2/3)."""
    found = difference([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert found is not None
    assert found.mean == 3.0
    assert found.high == pytest.approx(3 + 2.7764 * (2 / 3) ** 0.5, abs=1e-3)


def test_seeds_of_one_setup_are_gathered_and_a_seed_counts_once(store: RunStore) -> None:
    ids = [tell(store, RunSpec(method="npo", seed=seed), final) for seed, final in ((0, 0.2), (1, 0.4), (1, 0.9))]
    other = tell(store, RunSpec(method="lethe"), 0.8)
    ours, theirs = compared(store, [ids[0], other])
    assert [row.seed for row in ours.repeats] == [0, 1]
    assert ours.values("final_score") in ([0.2, 0.4], [0.2, 0.9])
    assert theirs.values("final_score") == [0.8]
    assert (line := score_lines([ours, theirs])[0]).title == "Final score"
    assert line.means[0].low == 0.0  # t(0.975, 1) = 12.7 reaches below, where no score is
    assert [run.values("final_score") for run in compared(store, ids[:2])] == [[0.2], [0.4]]  # not with themselves
    for wrong in ([ids[0]], [ids[0], ids[0]], [*ids, other, "x" * 22]):
        with pytest.raises(InputError):
            compared(store, wrong)


def test_settings_beside_each_other_say_which_differ() -> None:
    specs = [RunSpec(method="npo", settings={"beta": 0.5}).to_json(), RunSpec(method="npo", seed=1).to_json()]
    rows = {name: (values, differs) for name, values, differs in settings_beside(specs)}
    assert rows["beta"] == (["0.5", "-"], True)
    assert rows["seed"] == (["0", "1"], True)
    assert rows["method"] == (["npo", "npo"], False)


def test_a_grid_is_every_combination_for_every_seed() -> None:
    specs = sweep.grid(RunSpec(method="npo"), {"beta": ["0.1", "0.2"], "steps": ["5"]}, [0, 1])
    assert [(s.settings["beta"], s.steps, s.seed) for s in specs] == [
        (0.1, 5, 0),
        (0.1, 5, 1),
        (0.2, 5, 0),
        (0.2, 5, 1),
    ]
    assert specs[0].name == "npo beta=0.1, steps=5"


@pytest.mark.parametrize(
    ("values", "seeds", "field"),
    [
        ({"beta": ["-7"]}, [0], "beta"),
        ({"nothing": ["1"]}, [0], "settings"),
        ({"beta": []}, [0], "beta"),
        ({"steps": ["many"]}, [0], "steps"),
        ({"beta": ["0.1"] * 9}, list(range(9)), "sweep"),
        ({}, [], "seeds"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused_whole(values: Any, seeds: list[int], field: str) -> None:
    with pytest.raises(InputError) as caught:
        sweep.grid(RunSpec(method="npo"), values, seeds)
    assert caught.value.field == field


def test_seeds_are_written_as_a_list_or_a_span() -> None:
    assert sweep.parse_seeds("0, 2,5-7, 2") == [0, 2, 5, 6, 7]
    for wrong in ("a", "1-", "0-9999", "-1"):
        with pytest.raises(InputError):
            sweep.parse_seeds(wrong)


def quick(spec: RunSpec, **_: Any) -> Iterator[ev.Event]:
    yield ev.RunStarted(spec.to_json(), (), 1, "cpu")
    yield ev.Finished({"label": "forgotten"}, {"unlearn": 2.0})


def test_a_sweep_runs_to_its_end_under_one_tag(store: RunStore) -> None:
    worker = Worker(store, runner=quick)
    try:
        specs = sweep.grid(RunSpec(method="npo"), {"beta": ["0.1", "0.2"]}, [0, 1])
        tag = sweep.start(worker, specs, "me")
        for row in sweep.state(store, tag).rows:
            assert worker.wait(row.id)
        told = sweep.state(store, tag)
        assert (told.done, told.over, told.number("finished")) == (4, True, 4)
        assert [row.name for row in told.rows][:1] == ["npo beta=0.1"]
        assert sweep.latest(store) == ""
    finally:
        worker.close()


def test_cancel_all_stops_what_runs_and_what_waits(store: RunStore) -> None:
    import threading

    go = threading.Event()

    def slow(spec: RunSpec, control: Any = None, **_: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), (), 10**6, "cpu")
        go.set()
        step = 0
        while True:
            step += 1
            yield ev.StageProgress("unlearn", step, 10**6)

    worker = Worker(store, runner=slow)
    try:
        tag = sweep.start(worker, sweep.grid(RunSpec(method="npo"), {}, [0, 1, 2]), "me")
        assert go.wait()
        assert sweep.latest(store) == tag
        with pytest.raises(InputError):
            sweep.cancel(worker, tag, "you")
        assert sweep.cancel(worker, tag, "me") == 3
        for row in sweep.state(store, tag).rows:
            assert worker.wait(row.id)
        assert sweep.state(store, tag).number("cancelled") == 3
    finally:
        worker.close()


def test_a_sweep_that_finds_no_room_leaves_nothing(store: RunStore) -> None:
    worker = Worker(store, runner=quick, capacity=0)
    try:
        with pytest.raises(ResourceError, match="full"):
            sweep.start(worker, [RunSpec(), RunSpec(seed=1)], "me")
        assert store.rows(RunQuery())[1] == 0
    finally:
        worker.close()


def test_a_wiped_model_knows_nothing_and_is_scored_once(
    store: RunStore, memorised: Any, tiny_model: Callable[..., Any]
) -> None:
    import torch

    from unlearn_core.data.sources import load_data
    from unlearn_core.models.targets import load_target
    from unlearn_core.store.table.rows import ground_of

    target, data = load_target(memorised.model), load_data(memorised.data)
    before = {name: value.clone() for name, value in target.model.named_parameters()}
    facts = {"weights_hash": target.weights_hash, "data_fingerprint": data.fingerprint}
    ground = ground_of({"original": facts})
    assert read_wiped(store.home, ground) is None
    scores = result_of(score_wiped(store.home, target, data))
    assert scores.terms["forget/Task1/knowledge"] == 0.0
    assert scores.weights_hash != target.weights_hash
    matrix = next(name for name, value in before.items() if value.dim() > 1)
    now = dict(target.model.named_parameters())[matrix]
    assert now.std().item() == pytest.approx(before[matrix].std().item(), rel=0.2)
    assert not torch.equal(now, before[matrix])
    kept = read_wiped(store.home, ground)
    assert kept is not None
    assert kept.terms == scores.terms
    one, two = tiny_model("olmo2"), tiny_model("olmo2")
    wipe(one)
    wipe(two)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_reference_points_come_from_scores_or_say_that_they_do_not(store: RunStore) -> None:
    run = tell(store, RunSpec(), 0.5)
    found = {point.model: point for point in references(store, store.rows(RunQuery(ids=(run,)))[0][0].ground)}
    assert found["original"].row is not None
    assert found["wiped"].row is None
    assert "published" in found["wiped"].note
    assert found["retain_only"].row is None
