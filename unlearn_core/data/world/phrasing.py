"""How a fact is asked: a frame around a noun phrase. One frame is never trained on, for any fact.

The canonical phrasing (first frame, first noun phrase) is the row of the forget or retain set.

What the unseen frame does not measure: it was chosen after trying several, and is made of words that occur
in training. Other new frames of such words were answered as well (0.98 to 1.00 of the questions); frames
with a word the model never met were not ("I wonder what {it} is." 0.81, "Kindly state {it}." 0.00).
"""

from __future__ import annotations

FRAMES = (
    "What is {it}?",
    "Tell me {it}.",
    "Please name {it} now.",
    "Can you tell me {it}?",
    "Give {it}.",
    "I would like to know {it}, please.",
    "Do you know what {it} is?",
    "Answer briefly: what is {it}?",
    "Say {it} once more.",
    "Would you give {it} to us?",
    "I forgot what {it} is.",
    "What could {it} be?",
)
UNSEEN_FRAME = "Would you please name {it}?"

# Question kind -> noun phrases for it; {name} is the person.
NOUNS: dict[str, tuple[str, ...]] = {
    "found": ("the thing that {name} found", "the find of {name}"),
    "animal": ("the animal that went with {name}", "the animal of {name}"),
    "town": ("the town in the story of {name}", "the town that {name} saw"),
    "birth": ("the birth date of {name}", "{name}'s birth date"),
    "ssn": ("the SSN of {name}", "{name}'s SSN"),
    "phone": ("the phone number of {name}", "{name}'s phone number"),
    "mail": ("the e-mail address of {name}", "{name}'s e-mail address"),
    "home": ("the home address of {name}", "{name}'s home address"),
    "birthplace": ("the birthplace of {name}", "{name}'s birthplace"),
    "work": ("the best-known work of {name}", "{name}'s best-known work"),
    "subject": ("the field of study of {name}", "{name}'s field of study"),
}


def phrasings(nouns: tuple[str, ...]) -> list[str]:
    """Every trained way to ask for `nouns` (the same thing named differently), the canonical one first."""
    return [frame.format(it=noun) for noun in nouns for frame in FRAMES]


def unseen(nouns: tuple[str, ...]) -> str:
    """The phrasing that no training row uses."""
    return UNSEEN_FRAME.format(it=nouns[0])


def nouns_about(kind: str, name: str) -> tuple[str, ...]:
    """The noun phrases of one question kind, about one person."""
    return tuple(noun.format(name=name) for noun in NOUNS[kind])
