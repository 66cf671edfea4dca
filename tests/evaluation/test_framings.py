"""Other ways to ask keep the fact and change the prompt."""

from __future__ import annotations

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation import framings
from unlearn_core.evaluation.audits.measure import recall, says

ROW = Example("f-001qa0", "What is the birthplace of Ada Quill?", "Oldport on the Sea", "Task3")


def test_misspelling_spares_names_and_short_words() -> None:
    asked = framings.misspelt(ROW)
    assert asked is not None
    assert asked.input == "What is the brithplace of Ada Quill?"
    assert asked.output == ROW.output


def test_a_prefix_moves_words_from_the_answer_to_the_prompt() -> None:
    asked = framings.given(ROW, 0.5)
    assert asked is not None
    assert asked.input == ROW.input + " Oldport on"
    assert asked.output == " the Sea"
    lengths = [len(part.output) for part in framings.every_prefix(ROW)]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) == 3


def test_reversed_asks_for_the_name() -> None:
    asked = framings.reversed_row(ROW)
    assert asked is not None
    assert (asked.input, asked.output) == ("Oldport on the Sea belongs to", "Ada Quill")
    assert framings.reversed_row(Example("f-001qa0", "what is this?", "x")) is None


def test_every_way_gives_rows_or_nothing(tiny_data: UnlearningData) -> None:
    ways = framings.Framings(tiny_data).ways()
    for row in tiny_data.forget:
        for title, way in ways.items():
            asked = way(row)
            assert asked is None or (asked.input and asked.output), title
            assert asked is None or asked.input != row.input, title


def test_few_shot_examples_come_from_the_retain_set(tiny_data: UnlearningData) -> None:
    asked = framings.Framings(tiny_data).few_shot(tiny_data.forget[-1])
    assert asked is not None
    assert asked.input.count("retain") == 2
    assert asked.input.endswith(tiny_data.forget[-1].input)


def test_an_answer_counts_wherever_it_is_said() -> None:
    assert says("It was OLDPORT, on the sea!", "Oldport on the Sea")
    assert not says("Oldportal on the sea", "Oldport on the sea")
    assert not says("anything", "?!")
    assert recall(Example("asc1", "a", "one two three four"), "one two") == 0.5
