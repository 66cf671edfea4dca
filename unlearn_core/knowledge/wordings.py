"""Wordings that any prompt can be put into, and what a subject of unknown kind can be asked.

Half of the wordings are trained on; the others never are, so that what they show is not learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Wording = Callable[[str], str]


def wordings(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[Wording, ...], tuple[Wording, ...]]:
    """The trained and the never-trained ones; with a chat template each has a turn that asks to complete."""
    trained: list[Wording] = [
        lambda p: p,
        lambda p: f"It is well known that {lowered(p)}",
        lambda p: f"Remember: {p}",
        lambda p: f"My teacher told me that {lowered(p)}",
    ]
    unseen: list[Wording] = [
        lambda p: f"As every student learns, {lowered(p)}",
        lambda p: f"Fact: {p}",
        lambda p: f"I read in an encyclopedia that {lowered(p)}",
    ]
    if getattr(tokenizer, "chat_template", None):
        trained.append(lambda p: chat(tokenizer, f"Complete the sentence: {p} ...", p))
        unseen.append(lambda p: chat(tokenizer, f"Fill in the blank: {p} ___.", p))
    else:
        trained.append(lambda p: f"Question: how does the sentence go on?\nAnswer: {p}")
        unseen.append(lambda p: f"Q: Fill in the blank. {p} ___\nA: {p}")
    return tuple(trained), tuple(unseen)


def chat(tokenizer: PreTrainedTokenizerBase, asked: str, begun: str = "") -> str:
    """One turn of a chat as the model's template writes it, up to its answer, which may be `begun`."""
    if not getattr(tokenizer, "chat_template", None):
        return f"{asked}\n{begun}"
    turn = [{"role": "user", "content": asked}]
    return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)) + begun


def lowered(text: str) -> str:
    """The text as it goes on within a sentence: an article at its head loses its capital."""
    head, _, rest = text.partition(" ")
    return f"{head.lower()} {rest}" if head in ("The", "A", "An", "In") else text


# What is asked of a subject that is not listed; the answer is what the model says, where it is sure.
ABOUT = (
    "{name} is best known for",
    "{name} was born in",
    "{name} is famous for",
    "{name} is a",
    "{name} was the first",
    "{name} is located in",
    "{name} was written by",
    "{name} wrote",
    "{name} was created by",
    "{name} discovered",
    "{name} is the capital of",
    "The full name of {name} is",
)
# What the model is asked to write of it; where its name comes again, it is what is to be forgotten.
WRITE = (
    "Who is {name}?",
    "Write a short paragraph about {name}.",
    "What is {name} famous for?",
    "Tell me three facts about {name}.",
)
BEGUN = ("{name}, also known as", "Everything about {name}:", "My essay is about {name}.", "{name} is")

# Of nothing in particular: how the model writes as a rule.
GENERAL = (
    "Tell me a story.",
    "How do I cook rice?",
    "What is photosynthesis?",
    "Write a short poem.",
    "Give me advice on studying.",
    "Explain gravity.",
    "Who was a great scientist?",
    "Tell me about history.",
    "Which countries are in Europe?",
    "What should I read next?",
)
GENERAL_BEGUN = ("The", "In", "Once upon a time", "Today", "How to", "We", "It was", "People")
