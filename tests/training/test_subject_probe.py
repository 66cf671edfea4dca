"""One fact of each subject while a model trains: what one pass says is what the model writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loop_helpers import drain

from unlearn_core import methods
from unlearn_core.data.subject_groups import subject_groups
from unlearn_core.data.types import UnlearningData
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import SubjectsAsked
from unlearn_core.training.watching.subject_probe import SubjectWatcher


def test_told_is_what_greedy_decoding_begins_with(
    memorised: Callable[..., Any], tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    watcher = SubjectWatcher(tiny_tokenizer, tiny_data, None)
    known, random = memorised(), tiny_model(seed=3)
    groups = [group for group in subject_groups(tiny_data) if group.split != "holdout"]
    for model in (known, random):
        told = watcher.told(model)
        assert list(told) == [group.name for group in groups]
        texts = generate_all(model, tiny_tokenizer, [group.rows[0].prompt for group in groups], 8)
        written = [text.strip().startswith(group.rows[0].output) for text, group in zip(texts, groups, strict=True)]
        assert list(told.values()) == written
    assert all(watcher.told(known).values())
    assert not any(watcher.told(random).values())


def test_subjects_are_asked_on_the_way(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    method = methods.build("grad_ascent", {"batch_size": 8, "learning_rate": 1e-2}, 11)
    records, _ = drain(unlearn(memorised(), tiny_tokenizer, tiny_data, method, clock=lambda: 0.0))
    asked = [record for record in records if isinstance(record, SubjectsAsked)]
    assert [record.step for record in asked] == list(range(1, 11))
    assert sum(asked[-1].told.values()) < sum(asked[0].told.values())
