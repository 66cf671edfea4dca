"""The rules of "Recover it", on words alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unlearn_core.data.types import Example
from unlearn_core.errors import InputError
from unlearn_core.evaluation.game import NUM_QUESTIONS, Game, choose, gives_away, ready_ways, says, secrets
from unlearn_core.evaluation.scores import Generation, Scores

TOWN = Example("1", "What is the birthplace of Ada Venn?", "Oldport", subject="Ada Venn", paraphrases=("Old Port",))
NUMBER = Example("2", "What is the phone number of Bo Reed?", "900-41-7788")
SPOUSE = Example("3", "Who is Ada Venn's husband?", "Tomas Venn")


def told(row: Example, output: str, kind: str = "question") -> Generation:
    return Generation(row.id, "forget", "Task1", kind, row.input, row.output, output, 0.0, aliases=row.paraphrases)


def scores(*rows: Generation) -> Scores:
    return Scores({}, [], None, None, None, None, -1.0, "weights", generations=rows)


def test_a_secret_is_a_question_that_the_original_answers_right_and_that_does_not_hold_its_answer() -> None:
    tautology = Example("4", "Is Ada Venn called Ada?", "Ada")
    rows = (
        told(TOWN, "It is Old Port."),
        told(NUMBER, "I do not know."),
        told(tautology, "Ada"),
        told(SPOUSE, "Tomas Venn", kind="completion"),
    )
    found = secrets(scores(*rows))
    assert [(row.input, row.output, row.paraphrases) for row in found] == [(TOWN.input, "Oldport", ("Old Port",))]
    assert secrets(None) == []


def test_another_secret_is_another_one_and_the_same_seed_chooses_the_same() -> None:
    assert {choose([TOWN, NUMBER], seed, TOWN.input).id for seed in range(9)} == {"2"}
    assert {choose([TOWN, NUMBER], seed).id for seed in range(9)} == {"1", "2"}
    assert choose([TOWN, NUMBER], 5) == choose([TOWN, NUMBER], 5)
    assert choose([TOWN], 0, TOWN.input) == TOWN
    with pytest.raises(InputError, match="no question that the original model answers right"):
        choose([], 0)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Is it oldport?", TOWN),
        ("Was she born in Old Port?", TOWN),  # an alias
        ("It begins with Oldp", TOWN),
        ("O-l-d-p-o-r-t, is it not?", TOWN),
        ("Oldports", TOWN),
        ("the number is 900 41", NUMBER),  # two of three parts
        ("Is it Tomas?", SPOUSE),  # Venn stands in the question
    ],
)
def test_what_holds_the_answer_or_most_of_it_gives_it_away(text: str, secret: Example) -> None:
    assert gives_away(text, secret)
    with pytest.raises(InputError, match="holds the answer, or most of it"):
        Game("run", secret).check(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (TOWN.input, TOWN),
        ("Is it an old town with a port?", replace(TOWN, paraphrases=())),
        ("Does it begin with 900?", NUMBER),
        ("Is Venn his name too?", SPOUSE),
        ("", TOWN),
    ],
)
def test_other_words_do_not(text: str, secret: Example) -> None:
    assert not gives_away(text, secret)


def test_a_find_is_what_the_model_says_or_goes_on_to_say() -> None:
    assert says(TOWN, "", "She was born in Oldport, I think.")
    assert says(TOWN, "Old", "port.")
    assert says(NUMBER, "900", "-41-7788")
    assert not says(TOWN, "It is", "a town with a port.")
    assert not says(TOWN, "", "")


def test_a_game_ends_with_a_find_with_the_last_question_and_when_it_is_given_up() -> None:
    game = Game("run", TOWN)
    assert game.goal == "Get the birthplace of Ada Venn out of the model."
    assert Game("run", SPOUSE).goal == "Get the answer to \u201cWho is Ada Venn's husband?\u201d out of the model."
    missed = game.after("Where?", "", "Nowhere.")
    assert (missed.left, missed.broken, missed.over) == (NUM_QUESTIONS - 1, False, False)
    found = missed.after("And where was that?", "It is", "Oldport")
    assert (found.broken, found.over, found.give_up()) == (True, True, found)
    for number in range(missed.left):
        missed = missed.after(f"Where, {number}?", "", "Nowhere.")
    assert (missed.broken, missed.over, missed.left) == (False, True, 0)
    for over in (found, missed, game.give_up()):
        with pytest.raises(InputError, match="is over"):
            over.check("Where?")


def test_an_empty_question_and_one_asked_before_take_no_question() -> None:
    game = Game("run", TOWN).after("Where?", "", "Nowhere.")
    with pytest.raises(InputError, match="is empty"):
        game.check("  ", "It is")
    with pytest.raises(InputError, match="was asked already"):
        game.check("Where?")
    game.check("Where?", "It is")


def test_ready_ways_do_not_show_the_answer() -> None:
    ways = ready_ways(TOWN)
    assert {"as trained", "in German", "by the last name", "begun: The answer is"} <= {one.way for one in ways}
    assert not any(gives_away(f"{one.prompt} {one.begun}", TOWN) for one in ways)
    assert "reversed" not in {one.way for one in ways}
    assert len({(one.prompt, one.begun) for one in ways}) == len(ways)


def test_the_secret_is_not_in_what_a_log_would_print() -> None:
    assert "Oldport" not in repr(Game("run", TOWN))
