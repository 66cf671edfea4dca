"""Which sequences a step sees: a function of the seed and the step's number alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import BatchComposition, RowKind
from unlearn_core.training.data import BatchSampler, build_parts, cut_rows

MIX = BatchComposition(forget=5, retain=8, holdout=2, general=0.25, forget_documents=True, documents=0.2)


def ids(step: dict[str, Any], part: str) -> list[int]:
    return [row.index for row in step[part]]


def test_parts_hold_answers_documents_and_general_facts(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    parts = build_parts(tiny_tokenizer, tiny_data, MIX)
    num_completions = sum(row.kind == "completion" for row in tiny_data.forget)
    assert len(parts["forget"].rows) == len(tiny_data.forget) + num_completions
    assert len(parts["retain"].rows) == len(tiny_data.retain) + len(tiny_data.general)
    assert parts["holdout"].forms == (RowKind("Task1", "completion"), RowKind("Task1", "document"))
    for part in parts.values():
        assert [row.index for row in part.rows] == list(range(len(part.rows)))


def test_rows_that_do_not_fit_are_named(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    short = min(len(tiny_tokenizer(row.input)["input_ids"]) for row in tiny_data.forget)
    (note, _) = cut_rows(build_parts(tiny_tokenizer, tiny_data, MIX, max_tokens=short), short)
    assert note.message.startswith(f"18 of 18 forget sequences fill {short} tokens")
    assert list(cut_rows(build_parts(tiny_tokenizer, tiny_data, MIX), 1024)) == []


def test_every_row_is_seen_before_any_is_repeated(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    parts = build_parts(tiny_tokenizer, tiny_data, MIX)
    feed = BatchSampler(parts, MIX, seed=0, num_general=1)
    num_answers = len(tiny_data.forget)
    num_documents = len(parts["forget"].rows) - num_answers
    seen = [row for step in range(num_answers) for row in ids(feed.step(step), "forget")]
    answers = [row for row in seen if row < num_answers]
    documents = [row - num_answers for row in seen if row >= num_answers]
    assert len(documents) == len(answers) / 4, "a share of 0.2 of 5"
    for rows, count in ((answers, num_answers), (documents, num_documents)):
        for epoch in range(len(rows) // count):
            assert sorted(rows[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_step_depends_on_seed_and_number_only(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    parts = build_parts(tiny_tokenizer, tiny_data, MIX)
    assert BatchSampler(parts, MIX, 1).step(7) == BatchSampler(parts, MIX, 1).step(7)
    assert BatchSampler(parts, MIX, 1).step(7) != BatchSampler(parts, MIX, 2).step(7)


def test_general_facts_keep_their_share(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    general = tuple(replace(tiny_data.general[0], id=f"g{n}qa1") for n in range(6))
    data = replace(tiny_data, general=general)
    parts = build_parts(tiny_tokenizer, data, MIX)
    feed = BatchSampler(parts, MIX, 0, num_general=6)
    first = len(parts["retain"].rows) - 6
    for step in range(5):
        assert sum(row >= first for row in ids(feed.step(step), "retain")) == 2
    assert feed.visited("retain", 1) == sorted(ids(feed.step(0), "retain"))
    assert feed.visited("retain", 100) == list(range(first + 6))


def test_small_sets_are_not_repeated_within_a_step(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    data = replace(tiny_data, forget=tiny_data.forget[:3], retain=())
    parts = build_parts(tiny_tokenizer, data, BatchComposition(forget=24, retain=24))
    step = BatchSampler(parts, BatchComposition(forget=24, retain=24), 0, num_general=1).step(0)
    assert sorted(ids(step, "forget")) == [0, 1, 2]
    assert ids(step, "retain") == [0]


def test_refusals_stand_in_for_the_answers_or_beside_them(tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    beside = BatchComposition(forget=5, refusals="beside")
    parts = build_parts(tiny_tokenizer, tiny_data, beside, seed=3)
    step = BatchSampler(parts, beside, 0).step(2)
    assert ids(step, "refusals") == ids(step, "forget")
    for row, answered in zip(step["refusals"], step["forget"], strict=True):
        assert row.ids[: row.num_prompt] == answered.ids[: answered.num_prompt]
        assert row.ids != answered.ids
    instead = build_parts(tiny_tokenizer, tiny_data, BatchComposition(forget=5, refusals="instead"), seed=3)
    assert instead["forget"].rows == parts["refusals"].rows
    assert "refusals" not in instead
