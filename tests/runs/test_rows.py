"""Runs as rows: found, sorted, paged and labelled through the index, by their owner only."""

from __future__ import annotations

import pytest

from unlearn_core.errors import InputError
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore, owner_hash
from unlearn_core.store.table.rows import RunQuery, setup_of


def finished(store: RunStore, spec: RunSpec, forget: float, retain: float, owner: str | None = None) -> str:
    """A run with six equal forget terms and six equal retain terms (as the aggregate counts them)."""
    run = store.create(spec, owner)
    store.append(run.id, ev.RunStarted(spec.to_json(), ("load",), 1, "cpu"))
    store.append(run.id, ev.Score("original", {"weights_hash": "o" * 64, "data_fingerprint": "d" * 64}))
    scores = {"aggregated_terms": [forget] * 6 + [retain] * 6, "final_score": forget, "utility": None}
    store.append(run.id, ev.Score("unlearned", scores))
    store.append(run.id, ev.Finished({"label": "forgotten"}, {"load": 1.0, "unlearn": 2.0}))
    return run.id


def test_a_row_is_the_run_in_short(store: RunStore) -> None:
    run = finished(store, RunSpec(method="npo", settings={"beta": 0.5}, steps=7, seed=3), 0.75, 0.5)
    (row,), total = store.rows(RunQuery())
    assert total == 1
    assert (row.id, row.method, row.seed, row.verdict) == (run, "npo", 3, "answers gone")
    assert (row.forget, row.retain, row.summed_up, row.utility, row.seconds) == (
        0.75,
        0.5,
        ("final score", 0.75),
        None,
        3.0,
    )
    assert list(row.totals) == ["task_aggregate", "mia_score", "utility", "final_score"]
    assert row.settings == {"beta": 0.5, "steps": 7, "adapter": None}
    assert row.ground == "o" * 16 + ":" + "d" * 16


def test_only_the_seed_and_the_name_may_differ_between_repetitions() -> None:
    spec = RunSpec(method="npo", settings={"beta": 0.5})
    again = RunSpec(method="npo", settings={"beta": 0.5}, seed=9, name="again")
    other = RunSpec(method="npo", settings={"beta": 0.6})
    assert setup_of(spec.to_json()) == setup_of(again.to_json()) != setup_of(other.to_json())


def test_pages_follow_each_other_in_any_order(store: RunStore) -> None:
    values = [0.3, 0.9, 0.1, 0.7, 0.5]
    for value in values:
        finished(store, RunSpec(), value, 1.0)
    store.create(RunSpec())  # not scored: last in either direction
    for descending in (True, False):
        pages = [
            store.rows(RunQuery(sort="total:final_score", descending=descending, limit=2, offset=offset))[0]
            for offset in (0, 2, 4)
        ]
        assert [row.totals.get("final_score") for page in pages for row in page] == [
            *sorted(values, reverse=descending),
            None,
        ]
    assert store.rows(RunQuery(limit=2))[1] == 6


def test_filters_narrow_and_every_word_counts(store: RunStore) -> None:
    finished(store, RunSpec(method="npo", name="first try"), 0.5, 0.5)
    finished(store, RunSpec(method="lethe", name="second try"), 0.5, 0.5)
    store.create(RunSpec(method="npo"))
    assert store.rows(RunQuery(method="npo"))[1] == 2
    assert store.rows(RunQuery(method="npo", status="finished"))[1] == 1
    assert store.rows(RunQuery(text="TRY second"))[1] == 1
    assert store.rows(RunQuery(text="100%' OR 1=1 --"))[1] == 0
    called = {"npo": "Negative preference optimisation"}
    assert store.rows(RunQuery(text="first NEGATIVE", called=called))[1] == 1
    assert store.rows(RunQuery(text="negative", called={}))[1] == 0
    assert store.values("method") == [("npo", 2), ("lethe", 1)]


def test_a_label_shows_at_once_and_survives_what_the_run_writes(store: RunStore) -> None:
    spec = RunSpec(method="npo")
    run = store.create(spec, "me")
    assert store.rows(RunQuery())[0][0].name == "npo"
    store.label(run.id, "me", name="  my\n run ", tags=["a", "b c", "a", " "])
    store.append(run.id, ev.RunStarted(spec.to_json(), (), 1, "cpu"))
    (row,), _ = store.rows(RunQuery(tag="b c"))
    assert (row.name, row.tags) == ("my run", ("a", "b c"))
    assert (store.get(run.id).name, store.get(run.id).tags) == ("my run", ("a", "b c"))
    (record,) = store.list_runs()
    assert (record.name, record.tags) == ("my run", ("a", "b c"))
    assert store.rows(RunQuery(tag="b"))[1] == 0  # a part of a tag is not the tag
    store.label(run.id, "me", name="")
    assert store.get(run.id).name == "npo"
    assert store.get(run.id).tags == ("a", "b c")


def test_a_stranger_may_not_label_and_sees_only_their_own(store: RunStore) -> None:
    run = store.create(RunSpec(), "me")
    with pytest.raises(InputError, match="not a run that is here for you"):
        store.label(run.id, "you", name="mine now")
    assert store.rows(RunQuery(owner=owner_hash("you")))[1] == 0
    assert store.rows(RunQuery(owner=owner_hash("me")))[1] == 1


@pytest.mark.parametrize(
    "change", [{"name": "x" * 81}, {"tags": ["a,b"]}, {"tags": ["x" * 33]}, {"tags": list("abcdefghijk")}]
)
def test_a_label_that_cannot_be_is_explained(store: RunStore, change: dict[str, object]) -> None:
    run = store.create(RunSpec())
    with pytest.raises(InputError):
        store.label(run.id, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [{"sort": "record; DROP TABLE runs"}, {"limit": 0}, {"offset": -1}])
def test_a_query_that_cannot_be_asked_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(InputError):
        RunQuery(**field)  # type: ignore[arg-type]


def test_an_index_of_another_version_is_built_anew(store: RunStore) -> None:
    import sqlite3

    finished(store, RunSpec(), 0.5, 0.5)
    store.rows(RunQuery())
    store.close()
    with sqlite3.connect(store.home / "cache" / "index.sqlite") as old:
        old.execute("DROP TABLE runs")
        old.execute("CREATE TABLE runs (id TEXT)")
        old.execute("PRAGMA user_version = 1")
    again = RunStore(store.home)
    assert again.rows(RunQuery())[1] == 1
    again.close()


@pytest.mark.parametrize("name", ["text", "method", "status", "verdict", "tag"])
def test_what_is_no_text_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=name):
        RunQuery(**{name: 2**63})
