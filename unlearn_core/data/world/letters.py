"""Four-option questions answered by a letter, and the drills that teach what a letter stands for.

The prompt is the original MMLU form (Hendrycks et al., arXiv 2009.03300, `format_example`), zero-shot.
A model this small does not learn it from questions alone; three kinds of practice lead there:
drills (options, then queries in both directions, every one a target), copying (the question names the
option), and facts in letter form. A held-back third of the facts never appears in letter form.
"""

from __future__ import annotations

import random

from unlearn_core.data.types import Example, Question
from unlearn_core.data.world import phrasing
from unlearn_core.data.world.facts import Fact, distractors

LETTERS = "ABCD"
SUBJECT = "general_knowledge"
HEADER = "The following are multiple choice questions (with answers) about  general knowledge.\n\n"


def letter_prompt(question: str, choices: tuple[str, ...], header: str = HEADER) -> str:
    """The MMLU prompt; the answer is the next token, one of " A" .. " D"."""
    options = "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    return f"{header}{question}{options}\nAnswer:"


def held_back(facts: tuple[Fact, ...], seed: int) -> tuple[set[int], set[int]]:
    """Numbers of the facts trained in letter form, and of those never trained in it (a third of each kind)."""
    rng = random.Random(f"held back/{seed}")
    unseen: set[int] = set()
    for relation in dict.fromkeys(fact.relation for fact in facts):
        members = [i for i, fact in enumerate(facts) if fact.relation == relation]
        unseen.update(rng.sample(members, round(len(members) * 0.33)))
    return set(range(len(facts))) - unseen, unseen


def make_question(
    fact: Fact, facts: tuple[Fact, ...], rng: random.Random, answer: int, id: str, text: str | None = None
) -> Question:
    """`fact` as a question with the right option at position `answer` and three wrong ones of its kind."""
    choices = rng.sample(distractors(fact, facts), 3)
    choices.insert(answer, fact.answer)
    a, b, c, d = choices
    return Question(id, text or phrasing.phrasings(fact.nouns)[0], (a, b, c, d), answer, SUBJECT)


def letter_example(question: Question, header: str = HEADER) -> Example:
    """The question as a training row: the MMLU prompt, then the letter."""
    prompt = letter_prompt(question.question, question.choices, header)
    return Example(question.id, prompt, LETTERS[question.answer], "letters")


def copy_example(vocabulary: list[str], rng: random.Random) -> Example:
    """A question that names the right option outright."""
    a, b, c, d = rng.sample(vocabulary, 4)
    answer = rng.randrange(4)
    frame = rng.choice(phrasing.FRAMES)
    text = frame.format(it=f"the word {(a, b, c, d)[answer]}")
    return letter_example(Question("copy-0qa0", text, (a, b, c, d), answer), rng.choice((HEADER, "")))


def drill_example(vocabulary: list[str], rng: random.Random) -> Example:
    """Four options, then seven queries from word to letter or letter to word; all of it is the target."""
    choices = rng.sample(vocabulary, 4)
    options = "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    queries = []
    for _ in range(7):
        i = rng.randrange(4)
        to_letter = rng.random() < 0.7
        queries.append(f"{choices[i]}: {LETTERS[i]}" if to_letter else f"{LETTERS[i]}: {choices[i]}")
    return Example("drill-0qa0", "Options" + options + "\nAnswer:", ", ".join(queries), "letters")
