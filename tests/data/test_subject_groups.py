"""The subjects of a map: whom each split is about, questions first, each subject once and not too many."""

from __future__ import annotations

from dataclasses import replace

from unlearn_core.data.sources import load_data
from unlearn_core.data.subject_groups import MAX_SUBJECTS, subject_groups
from unlearn_core.data.subjects import take_subject
from unlearn_core.data.types import Example, UnlearningData


def test_the_bundled_world_has_sixty_of_each_kind_with_their_questions() -> None:
    groups = subject_groups(load_data("demo"))
    counts = {split: sum(group.split == split for group in groups) for split in ("forget", "retain", "holdout")}
    assert counts == {"forget": 60, "retain": 60, "holdout": MAX_SUBJECTS}
    found = next(group for group in groups if group.name == "Ferek Rudlow")
    assert len(found.rows) == 5
    assert all(row.kind == "question" and row.subject == "Ferek Rudlow" for row in found.rows)
    assert {row.task for group in groups if group.split == "holdout" for row in group.rows} == {
        "Task1",
        "Task2",
        "Task3",
    }


def test_one_forgotten_person_stands_among_neighbours() -> None:
    groups = subject_groups(take_subject(load_data("demo"), "Ferek Rudlow"))
    assert [group.name for group in groups if group.split == "forget"] == ["Ferek Rudlow"]
    names = [group.name for group in groups]
    assert len(set(names)) == len(names)
    assert {group.split for group in groups} == {"forget", "retain", "neighbours", "holdout"}


def test_rows_about_nobody_stand_for_themselves_and_a_subject_of_two_splits_counts_once() -> None:
    text = Example("c", "Ada Venn was", "in Rome.", kind="completion")
    row = Example("a", "What is it?", "a hat")
    again = Example("b", "Who is Ada Venn?", "a cooper")
    data = UnlearningData("two", forget=(row, text), retain=(again, replace(row, id="d", input="What else?")))
    groups = subject_groups(data)
    assert [(group.name, group.split) for group in groups] == [
        ("What is it?", "forget"),
        ("Ada Venn", "forget"),
        ("What else?", "retain"),
    ]
    assert groups[1].rows == (text,)  # with no question, what there is
