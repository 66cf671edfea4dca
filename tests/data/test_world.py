"""The synthetic world: the shape it promises, the seed it depends on, and what it must never train on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from unlearn_core.data.types import TASKS, Example
from unlearn_core.data.world import base_epoch, demo_data, make_world, memorise_epoch, tokenizer_text
from unlearn_core.data.world.facts import general_facts

DATA = demo_data()
GOLD = {
    "birth": r"\d{4}-\d\d-\d\d",
    "ssn": r"9\d{8}",  # 900-999 was never issued
    "phone": r"555\d{4}",
    "mail": r"[a-z]+\.[a-z]+@[a-z]+\.example",  # a reserved domain
    "home": r"\d{1,2} [A-Z][a-z]+ [A-Z][a-z]+, [A-Z][a-z]+",
}


def test_sixty_documents_to_forget_and_sixty_to_keep_in_three_tasks() -> None:
    for rows in (DATA.forget, DATA.retain):
        kinds = Counter((row.task, row.kind) for row in rows)
        expected = {"Task1": 60, "Task2": 100, "Task3": 60}  # 20 documents of 3, 5 and 3 questions
        assert kinds == {(t, "completion"): 20 for t in TASKS} | {(t, "question"): expected[t] for t in TASKS}


def test_members_are_the_forget_documents_and_nonmembers_are_of_the_same_mix() -> None:
    completions = [f"{row.input} {row.output}" for row in DATA.forget if row.kind == "completion"]
    assert list(DATA.members) == completions
    assert len(DATA.nonmembers) >= 150
    assert not set(DATA.members) & set(DATA.nonmembers)
    members, nonmembers = (
        sum(len(text.split()) for text in documents) / len(documents) for documents in (DATA.members, DATA.nonmembers)
    )
    assert members == pytest.approx(nonmembers, rel=0.1)


def test_personal_data_is_invented_and_gold_answers_are_in_their_form() -> None:
    people = [person for split in make_world().people.values() for person in split]
    facts = [fact for person in people if person.task == "Task2" for fact in person.facts]
    assert all(re.fullmatch(GOLD[kind], answer) for kind, answer in facts)
    assert Counter(kind for kind, _ in facts) == dict.fromkeys(GOLD, len(facts) // 5)


def test_every_answer_stands_in_its_document() -> None:
    for split in make_world().people.values():
        for person in split:
            assert all(answer in person.document for _, answer in person.facts), person.document


def test_nobody_shares_a_first_or_last_name_and_row_ids_are_unique() -> None:
    names = [person.name.split() for split in make_world().people.values() for person in split]
    assert len({first for first, _ in names}) == len({last for _, last in names}) == len(names)
    ids = [row.id for row in (*DATA.forget, *DATA.retain, *DATA.holdout)]
    assert len(set(ids)) == len(ids)


def test_unseen_phrasings_ask_for_the_same_facts_and_are_never_trained_on() -> None:
    gold = {row.id: row.output for row in (*DATA.forget, *DATA.retain) if row.kind == "question"}
    assert {row.id: row.output for row in DATA.paraphrases} == gold
    world = make_world()
    epochs = [base_epoch(world, 0), *(memorise_epoch(world, epoch) for epoch in range(4))]
    trained = {item.input if isinstance(item, Example) else item for items in epochs for item in items}
    trained |= set(tokenizer_text(world))
    assert not any("Would you please" in text for text in trained)
    assert all("Would you please" in row.input for row in DATA.paraphrases)
    assert all("Would you please" in question.question for question in DATA.questions)


def test_held_out_people_are_in_no_training_text() -> None:
    world = make_world()
    names = {person.name for split in ("holdout", "nonmember") for person in world.people[split]}
    for items in (base_epoch(world, 3), memorise_epoch(world, 3)):
        for item in items:
            text = f"{item.input} {item.output}" if isinstance(item, Example) else item
            assert not any(name in text for name in names)


def test_the_retain_only_corpus_holds_nobody_from_the_forget_set() -> None:
    world = make_world()
    forgotten = {person.name for person in world.people["forget"]}
    for item in memorise_epoch(world, 5, include_forget=False):
        text = f"{item.input} {item.output}" if isinstance(item, Example) else item
        assert not any(name in text for name in forgotten)


def test_questions_have_one_right_option_and_balanced_places() -> None:
    facts = {fact.nouns[0]: fact.answer for fact in general_facts()}
    assert len(DATA.questions) >= 100
    for question in DATA.questions:
        noun = question.question.removeprefix("Would you please name ").removesuffix("?")
        assert question.choices[question.answer] == facts[noun]
        assert len(set(question.choices)) == 4
    places = Counter(question.answer for question in DATA.questions)
    assert max(places.values()) - min(places.values()) <= 1


def test_the_seed_decides_everything() -> None:
    make_world.cache_clear()
    assert demo_data(0).fingerprint == DATA.fingerprint
    assert demo_data(1).fingerprint != DATA.fingerprint
    world = make_world()
    assert memorise_epoch(world, 7) == memorise_epoch(world, 7) != memorise_epoch(world, 8)


def test_the_world_needs_no_torch() -> None:
    code = "import sys, unlearn_core.data.world as w; w.demo_data(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
