"""Subjects of a data set: who is in it, one alone, and the neighbours beside."""

from __future__ import annotations

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.data.subjects import NUM_NEIGHBOURS, Subject, subject_of, subjects_of, take_subject
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import phrasing
from unlearn_core.errors import InputError
from unlearn_core.runs.data import load_for, rows_of, spec_of_rows
from unlearn_core.runs.spec import RunSpec


def row(number: int, prompt: str, answer: str = "x") -> Example:
    return Example(f"row-{number}", prompt, answer)


def test_every_person_of_the_bundled_world_is_a_subject_with_their_facts() -> None:
    found = subjects_of(load_data("demo"))
    assert len(found) == 120
    known = {subject.name: subject for subject in found}["Ferek Rudlow"]
    assert known == Subject("Ferek Rudlow", 5)
    assert known.title == "Ferek Rudlow: 5 facts"
    assert Subject("A B", 1).title == "A B: 1 fact"


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("Where was Marie Curie born?", "Marie Curie"),
        ("What is Marie Curie's field?", "Marie Curie"),
        ("Marie Curie discovered", "Marie Curie"),
        ("Where was \u00c9mile Zola born?", "\u00c9mile Zola"),
        ("What is the capital of France?", ""),
        ("In which year did it rain?", ""),
    ],
)
def test_a_row_that_does_not_say_whom_it_is_about_is_about_the_name_in_its_prompt(prompt: str, name: str) -> None:
    assert subject_of(row(0, prompt)) == name


def test_one_subject_goes_and_all_others_stay_as_neighbours_or_to_train_on() -> None:
    whole = load_data("demo")
    data = take_subject(whole, "ferek rudlow")
    assert {r.subject for r in data.forget} == {"Ferek Rudlow"}
    assert len(data.forget) == 6
    sides = [{r.subject for r in side} for side in (data.forget, data.retain, data.neighbours)]
    assert not sides[0] & sides[1]
    assert not sides[1] & sides[2]
    assert set.union(*sides) == {s.name for s in subjects_of(whole)}
    assert {r.task for r in data.neighbours} == {"Task2"}  # of the same kind as who is forgotten
    assert sum(r.kind == "question" for r in data.neighbours) >= NUM_NEIGHBOURS
    assert {r.subject for r in data.paraphrases} <= sides[0] | sides[2]
    assert data.members == ()  # one document says nothing about membership
    assert data.questions == whole.questions


def test_rows_without_subjects_are_taken_by_the_name_they_hold() -> None:
    people = ["Ada Bell", "Bo Crane", "Cy Dove", "Di Elm", "Ed Fox", "Flo Gray", "Gus Hill"]
    rows = tuple(row(i, f"Where was {name} born?") for i, name in enumerate(people))
    hers = (row(90, "When did Ada Bell die?"), row(91, "Who met ada bell in Paris?"))
    data = take_subject(UnlearningData("file", (*rows, *hers)), "Ada Bell")
    assert [r.id for r in data.forget] == ["row-0", "row-90"]
    assert all("ada bell" not in r.input.casefold() for r in (*data.retain, *data.neighbours))
    assert len(data.neighbours) == 2  # a third of six
    assert len(data.retain) == 4


def test_a_subject_that_is_not_there_is_answered_with_names_like_it() -> None:
    with pytest.raises(InputError, match=r"is not in this data.*Ferek Rudlow"):
        take_subject(load_data("demo"), "Ferk Rudlw")


def test_part_of_a_name_is_enough_where_it_is_nobody_elses() -> None:
    assert {r.subject for r in take_subject(load_data("demo"), "Rudlow").forget} == {"Ferek Rudlow"}
    rows = tuple(row(i, f"Where was {name} born?") for i, name in enumerate(["Ada Bell", "Bo Bell", "Cy Dove"]))
    with pytest.raises(InputError, match=r"part of 2 subjects.*Ada Bell, Bo Bell"):
        take_subject(UnlearningData("file", rows), "Bell")


@pytest.mark.parametrize("word", ["Nobody", "the", "What"])
def test_a_word_of_the_stories_is_no_subject(word: str) -> None:
    with pytest.raises(InputError, match="is not in this data"):
        take_subject(load_data("demo"), word)


def test_rows_that_do_not_say_whom_they_are_about_are_taken_by_the_word_they_hold() -> None:
    rows = (row(0, "Where is Ada?"), row(1, "Where is Bo?"), row(2, "Where is Cy?"))
    assert [r.id for r in take_subject(UnlearningData("file", rows), "ada").forget] == ["row-0"]
    place = (row(3, "What did Ada find in New York?"), row(4, "What did Bo find in New York?"))
    assert [r.id for r in take_subject(UnlearningData("file", (*rows, *place)), "Ada").forget] == ["row-0", "row-3"]


def test_typed_facts_about_a_bundled_person_keep_all_others_by_themselves() -> None:
    typed = "What is the phone number of Ferek Rudlow? => 5559778\nWhen was Rudlow born? => 1962-08-28"
    data = load_for(RunSpec(data=f"facts:{typed}"))
    assert [(r.subject, r.topic, r.task) for r in data.forget] == [
        ("Ferek Rudlow", "phone", "Task2"),
        ("Ferek Rudlow", "birth", "Task2"),
    ]
    assert "Ferek Rudlow" not in {r.subject for r in (*data.retain, *data.neighbours)}
    assert len({r.subject for r in (*data.retain, *data.neighbours)}) == 119
    unseen = phrasing.unseen(phrasing.nouns_about("birth", "Ferek Rudlow"))
    assert ("fact-2", unseen) in [(r.id, r.input) for r in data.paraphrases]


def test_another_model_and_a_retain_set_of_ones_own_get_no_bundled_people_to_train_on() -> None:
    fact = "facts:Who keeps the key? => Ada"
    assert load_for(RunSpec(data=fact, target="elsewhere")).retain == ()
    own = load_for(RunSpec(data=fact, retain_data="facts:Who keeps the lamp? => Bo"))
    assert [r.output for r in own.retain] == ["Bo"]
    assert own.neighbours  # asked before and after, never trained on


def test_the_default_data_is_left_as_it_was() -> None:
    assert load_for(RunSpec()) == load_data("demo")


def test_specs_of_the_same_rows_are_told_by_one_text() -> None:
    spec = RunSpec(subject="Ferek Rudlow", columns={"input": "q"}, method="npo")
    assert rows_of(spec) == rows_of(RunSpec(subject="Ferek Rudlow", columns={"input": "q"}))
    assert rows_of(spec) != rows_of(RunSpec(columns={"input": "q"}))
    assert spec_of_rows(rows_of(spec)).subject == "Ferek Rudlow"
