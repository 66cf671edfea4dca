"""The rules of "Recover it", on words alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.game import (
    MAX_TURNS,
    NUM_QUESTIONS,
    RELEARN_COST,
    Game,
    among_others,
    choose,
    gives_away,
    never_learned,
    ready_ways,
    says,
    secrets,
    to_teach,
)
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
    names = {one.way for one in ways}
    assert {"as trained", "half in German", "by the last name", "begun: The answer is"} <= names
    assert not any(gives_away(f"{one.prompt} {one.begun}", TOWN) for one in ways)
    assert "reversed" not in names
    assert len({(one.prompt, one.begun) for one in ways}) == len(ways)


def test_the_secret_is_not_in_what_a_log_would_print() -> None:
    assert "Oldport" not in repr(Game("run", TOWN))


def test_a_conversation_goes_on_from_the_last_question_and_may_not_spell_the_answer_over_several() -> None:
    game = Game("run", TOWN).after("Where was she born?", "In", "a town. ")
    assert game.conversation == (("user", "Where was she born?"), ("assistant", "In a town."))
    on = game.after("Which one?", "", "One by the sea.", game.conversation)
    assert on.conversation == (*game.conversation, ("user", "Which one?"), ("assistant", "One by the sea."))
    begun = Game("run", TOWN).after("Is there something old in it?", "", "Yes.")
    begun.check("And a port?")  # on its own it gives nothing away
    with pytest.raises(InputError, match="holds the answer, or most of it"):
        Game("run", TOWN).after("Does it begin with Old?", "", "Yes.").check("port, then?", "", begun_with("Old"))
    with pytest.raises(InputError, match="as long as one gets"):
        game.check("And?", "", (("user", "So?"),) * (MAX_TURNS + 1))
    relearned = on.after(TOWN.input, "", "No.", relearned=True)
    assert relearned.conversation == on.conversation, "another model said that"


def begun_with(words: str) -> tuple[tuple[str, str], ...]:
    return (("user", words), ("assistant", "Yes."))


def test_the_same_question_in_another_conversation_is_another_question() -> None:
    game = Game("run", TOWN).after("Where?", "", "Nowhere.")
    game.check("Where?", "", game.conversation)
    again = game.after("Where?", "", "There.", game.conversation)
    with pytest.raises(InputError, match="was asked already"):
        again.check("Where?", "", game.conversation)


def test_relearning_takes_five_questions_and_can_be_had_once() -> None:
    game = Game("run", TOWN)
    game.check_relearning()
    taught = game.after(TOWN.input, "", "Nowhere.", relearned=True)
    assert (taught.left, taught.asked, taught.can_relearn) == (NUM_QUESTIONS - RELEARN_COST, RELEARN_COST, False)
    taught.check(TOWN.input)  # the model itself was not asked that
    with pytest.raises(InputError, match="was asked already"):
        taught.check_relearning()
    for number in range(NUM_QUESTIONS - RELEARN_COST + 1):
        game = game.after(f"Where, {number}?", "", "Nowhere.")
    assert not game.can_relearn
    with pytest.raises(InputError, match="takes 5 questions"):
        game.check_relearning()


def test_what_is_taught_again_holds_nothing_of_the_answer() -> None:
    copies = [replace(TOWN, id="4", input="Where is she from?"), replace(SPOUSE, id="5", output="A man of Oldport")]
    assert to_teach(TOWN, UnlearningData("x", (TOWN, NUMBER, SPOUSE, *copies), ())) == [NUMBER, SPOUSE]
    assert to_teach(TOWN, UnlearningData("x", (TOWN, *copies), (NUMBER,))) == [NUMBER]
    with pytest.raises(InputError, match="no other row to teach"):
        to_teach(TOWN, UnlearningData("x", (TOWN,), ()))


def test_a_find_that_a_model_that_never_learned_it_makes_too_does_not_break_the_level() -> None:
    game = Game("run", TOWN).after("Where?", "Old", "shire.").after("Where else?", "Old", "port.")
    assert game.broken
    missed = replace(game, control=never_learned(game, ["shire.", "ham."]))
    lucky = replace(game, control=never_learned(game, ["port.", "ham."]))  # with any of the same questions
    assert (missed.broken, missed.over) == (True, True)
    assert (lucky.found, lucky.broken, lucky.over) == (True, False, True)
    assert missed.control is not None
    assert missed.control.words == "The model that never learned it, put the same questions, does not tell it."


@pytest.mark.parametrize(("towns", "lucky"), [(["Oldport", "Silverton"], True), (["Highgate", "Silverton"], False)])
def test_without_such_a_model_an_answer_of_a_handful_could_be_a_guess(towns: list[str], lucky: bool) -> None:
    others = [
        replace(TOWN, id=str(n), input=f"What is the birthplace of {n}?", output=towns[n % 2], paraphrases=())
        for n in range(8)
    ]
    rows = [replace(told(row, "Nowhere"), topic="town", subject=row.id) for row in (replace(TOWN, id="x"), *others)]
    control = among_others(TOWN, scores(*rows))
    assert control.brought == lucky
    assert not among_others(TOWN, None).brought
