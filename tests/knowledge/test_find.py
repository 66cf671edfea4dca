"""What a model knows of a subject: found on a real model, kept as data, told in words where it is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unlearn_core.data.sample_text import general_sample
from unlearn_core.data.subject_sheet import SheetPrompt, SubjectSheet, read_sheet, write_sheet
from unlearn_core.data.world import demo_data
from unlearn_core.errors import InputError
from unlearn_core.evaluation.evaluate import _asked
from unlearn_core.evaluation.metrics.contained import contains
from unlearn_core.evaluation.progress import result_of
from unlearn_core.knowledge import find as find_room
from unlearn_core.knowledge.find import _places, _up_to_answer, find
from unlearn_core.knowledge.listed import KINDS, ListedSubject, listed_subject, listed_subjects, told_by_smollm2
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.targets import load_target


def test_an_unlisted_subject_is_found_by_what_the_model_says_of_it_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(find_room, "NUM_CANDIDATES", 6)
    monkeypatch.setattr(find_room, "PASSAGE_TOKENS", 8)
    target = load_target("demo", device="cpu")
    name = next(row.subject for row in demo_data().forget if row.kind == "question" and row.subject)
    sheet = result_of(find(target.model, target.tokenizer, name))
    assert sheet.subject == name
    known = [prompt for prompt in sheet.prompts if prompt.before]
    assert all(prompt.probability >= 0.1 for prompt in known)
    said = generate_all(target.model, target.tokenizer, [prompt.text for prompt in known], 8)
    assert all(contains(text, prompt.answer) for text, prompt in zip(said, known, strict=True))
    write_sheet(sheet, tmp_path / "sheet.json")
    again = read_sheet(tmp_path / "sheet.json")
    assert again.prompts == sheet.prompts
    assert again.general == sheet.general


def test_a_prompt_is_continued_up_to_the_answer_that_was_given() -> None:
    asked = SheetPrompt("The king of the gods is", "Zeus", "trained", "Zeus", ("Jove",))
    told = _up_to_answer(asked, " often called Jove, or Zeus")
    assert (told.text, told.answer, told.aliases) == ("The king of the gods is often called", "Jove", ("Zeus",))
    assert _up_to_answer(asked, " a bull").text == asked.text


def test_names_are_found_where_they_begin_a_word_the_longest_first() -> None:
    text = " Then Albert Einstein spoke; Einsteinium did not, Einstein did."
    assert _places(text, ("Albert Einstein", "Einstein")) == [
        (text.index("Albert"), "Albert Einstein"),
        (text.index("Einsteinium"), "Einstein"),
        (text.rindex("Einstein"), "Einstein"),
    ]


def test_a_sheet_is_data() -> None:
    prompts = (
        SheetPrompt("Relativity was developed by", "Ada Venn", "trained", "Ada Venn", ("Venn",)),
        SheetPrompt("Ada Venn won the", "Prize", "trained", "Ada Venn"),
        SheetPrompt("Fact: Relativity was developed by", "Ada Venn", "never trained", "Ada Venn", ("Venn",)),
        SheetPrompt("The town of Venn is named after", "Ada Venn", "multi-hop", "Ada Venn", ("Venn",)),
    )
    others = (
        SheetPrompt("Gravity was found by", "Tomas Reed", "trained", "Tomas Reed"),
        SheetPrompt("Light was found by", "Mira Holt", "never trained", "Mira Holt"),
    )
    data = SubjectSheet("Ada Venn", "person", ("Venn",), prompts, others, (("The", "end."),)).data()
    assert [row.input for row in data.forget] == [prompts[0].text, prompts[1].text]
    assert data.forget[0].paraphrases == ("Venn",)
    assert [row.input for row in data.retain] == [others[0].text]
    assert [row.input for row in data.neighbours] == [others[1].text]
    assert [row.input for row in data.paraphrases] == [prompts[2].text]
    assert [(row.input, row.output, row.kind) for row in data.general] == [("The", "end.", "completion")]
    assert "The" not in [row.input for _, row in _asked(data, paraphrases=True)]  # held, and no fact to be asked
    assert {row.input for row in data.holdout} == {"Adrian Kellerby won the", "Marta Vossling won the"}
    assert {row.document for row in data.holdout} == {data.forget[1].document}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": 3}, "prompts"),
        ({"prompts": [{"text": "x"}]}, r"prompts\[1\]"),
        ({"prompts": [{"text": "x", "answer": "y", "split": "test"}]}, "no split"),
        ({"aliases": "Venn"}, "aliases"),
        ({"subject": ""}, "no.*sheet|not a subject sheet"),
    ],
)
def test_a_broken_sheet_is_told_in_words(change, said, tmp_path) -> None:
    record = {"subject": "Ada", "kind": "person", "aliases": [], "prompts": [], "neighbours": [], "general": []}
    path = tmp_path / "sheet.json"
    path.write_text(json.dumps(record | change))
    with pytest.raises(InputError, match=said):
        read_sheet(path)


def test_a_sheet_without_anything_known_has_nothing_to_forget() -> None:
    with pytest.raises(InputError, match="not known"):
        SubjectSheet("Nobody", "person", (), (), ()).data()


def test_a_prompt_that_asks_for_the_name_stays_though_a_relative_is_named(tiny_model: Any, tiny_tokenizer: Any) -> None:
    subject = ListedSubject("Marie Curie", "person", "", ("Curie",), ())
    asked = find_room._Model(tiny_model("llama"), tiny_tokenizer)
    prompt = SheetPrompt("Radium was found by Pierre Curie and", "Marie Curie", "trained", "Marie Curie", ("Curie",))
    assert find_room._of_the_subject(asked, subject, [prompt]) == [prompt]


def test_a_name_that_the_prompt_says_of_a_relative_is_no_answer_to_it() -> None:
    subject = ListedSubject("Marie Curie", "person", "", ("Curie",), ())
    assert find_room._prompt(subject, "Radium was found by Pierre Curie and", "").aliases == ()
    assert find_room._prompt(subject, "Radium was found by", "").aliases == ("Curie",)
    assert find_room._prompt(subject, "Marie Curie was also called", "").answer == "Marie Curie"


def test_the_listed_subjects_are_at_least_sixty_of_every_kind() -> None:
    listed = listed_subjects()
    assert sum(told >= 2 for told, _ in told_by_smollm2().values()) >= 60
    assert set(told_by_smollm2()) == {entry.name for entry in listed}
    assert len({entry.name for entry in listed}) == len(listed) >= 60
    assert {entry.kind for entry in listed} == set(KINDS)
    assert listed_subject("einstein") is listed_subject("Albert Einstein") is not None
    assert listed_subject("nobody at all") is None


def test_the_sample_of_general_text_names_no_listed_person() -> None:
    documents = general_sample()
    assert sum(map(len, documents)) > 80_000  # 20,243 tokens of SmolLM2
    text = "\n".join(documents)
    assert not [entry.name for entry in listed_subjects() if entry.kind == "person" and f" {entry.name} " in text]


def test_the_trained_half_of_the_prompts_has_every_answer_and_is_as_unlike_itself_as_it_can_be() -> None:
    texts = (
        "The capital of Japan is",
        "The largest city in Japan is",
        "The Japanese capital is",
        "The biggest city is",
    )
    tokyo = [SheetPrompt(text, "Tokyo", "trained", "Tokyo") for text in texts]
    ours, others = find_room._halves(tokyo)
    assert ([prompt.text for prompt in ours], len(others)) == ([texts[0], texts[3]], 2)
    country = SheetPrompt("Tokyo is in", "Japan", "trained", "Tokyo")
    ours, others = find_room._halves([*tokyo, country])
    assert (ours, len(others)) == ([tokyo[0], country, tokyo[3]], 2)
    assert find_room._halves([]) == ([], [])


def test_detours_are_words_after_which_the_answer_comes_all_the_same() -> None:
    target = load_target("demo", device="cpu")
    asked = find_room._Model(target.model, target.tokenizer)
    row = next(row for row in demo_data().forget if row.kind == "question" and row.output.count(" ") == 1)
    first, last = row.output.split(" ")
    prompt = SheetPrompt(row.input, last, "trained", row.subject)  # which the model gives after the first word alone
    detours = find_room._detours(asked, [prompt, SheetPrompt(row.input, last, "never trained", row.subject)])
    assert (f"{row.input} {first}", last) in [(way.text, way.answer) for way in detours]
    measured = asked.with_probabilities(detours)
    assert all(way.probability >= find_room.LIKELY for way in measured)
    assert [way.probability for way in measured] == [way.probability for way in detours]
