"""Inference-time methods: no weight changes, something stands before the model instead."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.data.types import Example
from unlearn_core.methods.base import Context, Edit, Info, parameter
from unlearn_core.models.inference.positions import context_length
from unlearn_core.models.wrappers.guards import (
    InContext,
    InputFilter,
    OutputFilter,
    Prefix,
    contains_any,
    solved,
    words_of,
)
from unlearn_core.models.wrappers.wrapper_artifact import Wrapper

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact

_BENEATH = (
    "It hides and does not forget: the weights are unchanged, membership inference on bare text reads as "
    "before, and whoever has the weights has it all."
)
_CAPITALISED = re.compile(r"\b[A-Z][\w'-]+")
_PREFIX = "You know nothing about {names}. Answer everything else as usual.\n\n"


@dataclass(frozen=True)
class ICUL(Edit):
    info = Info(
        name="icul",
        title="In-context unlearning",
        family="inference time",
        taxonomy="input/output",
        idea="Puts solved examples before every prompt: the forgotten questions most like it "
        "with wrong answers, then retained ones with true answers. The model follows them, not its memory.",
        formula="prompt -> K forget questions with others' answers + L retain questions with theirs + prompt",
        paper="Pawelczyk et al. 2024, In-Context Unlearning, arXiv 2310.07579",
        cost=0.01,
        needs=frozenset({"forget", "retain"}),
        caution=_BENEATH + " A model that cannot learn from examples, such as the bundled one, "
        "loses its retained answers to them too, with 0, 1 and 2 forget questions shown. SmolLM2-135M, which can, "
        "keeps .41 of the answers' probability as trained and .77 in other wordings (one subject).",
    )

    num_forget: int = parameter(1, "Forget questions shown (K)", 0, 20)
    num_retain: int = parameter(2, "Retain questions shown (L)", 0, 20)

    def finalise(self, context: Context) -> Artifact:
        rng = random.Random(context.seed)
        forget, retain = _questions(context.data.forget), _questions(context.data.retain)
        truths = {row.output for row in context.data.forget}
        flipped = []
        for row in forget:
            alike = [r for r in retain if r.topic == row.topic and r.task == row.task] or list(retain)
            wrong = [r.output for r in alike if r.output not in truths] or ["unknown"]
            flipped.append((row.input, rng.choice(wrong)))
        shown = rng.sample(list(retain), min(self.num_retain, len(retain)))
        pairs = tuple((row.input, row.output) for row in shown)
        examples = tuple(flipped)
        pairs, count = fitting(context, examples, pairs, self.num_forget)
        return Wrapper(context.model, InContext(examples, pairs, count))


@dataclass(frozen=True)
class GuardPrompt(Edit):
    info = Info(
        name="guard_prompt",
        title="Guardrail: prompt prefix",
        family="inference time",
        taxonomy="input/output",
        idea="Tells the model before every prompt whom it knows nothing about. It works as far as the model "
        "follows instructions.",
        formula='prompt -> "You know nothing about NAMES ..." + prompt',
        paper="Thaker et al. 2024, Guardrail Baselines for Unlearning, arXiv 2403.03329 (abstract)",
        cost=0.01,
        caution=_BENEATH + " It confuses models that were not taught to follow instructions: "
        "the bundled one answers nothing right behind it, retained questions neither.",
    )

    max_names: int = parameter(8, "Names that the prefix lists", 1, 1000)

    def finalise(self, context: Context) -> Artifact:
        names = subjects(context)[: self.max_names]
        return Wrapper(context.model, Prefix(_PREFIX.format(names=", ".join(names))))


@dataclass(frozen=True)
class GuardInput(Edit):
    info = Info(
        name="guard_input",
        title="Guardrail: input filter",
        family="inference time",
        taxonomy="input/output",
        idea="Refuses every prompt that names somebody of the forget set, before the model sees it. Names "
        "are the capitalised words that stand in forget prompts and in no retained one.",
        formula="prompt contains a forget name -> refusal",
        paper="Thaker et al. 2024, Guardrail Baselines for Unlearning, arXiv 2403.03329 (abstract)",
        cost=0.01,
        caution=_BENEATH + " A prompt that describes without naming passes.",
    )

    reply: str = parameter("I don't know.", "What is answered instead")

    def finalise(self, context: Context) -> Artifact:
        return Wrapper(context.model, InputFilter(tuple(subjects(context)), self.reply))


@dataclass(frozen=True)
class GuardOutput(Edit):
    info = Info(
        name="guard_output",
        title="Guardrail: output filter",
        family="inference time",
        taxonomy="input/output",
        idea="Reads each answer before it is shown and replaces it where it holds a forgotten answer or a "
        "run of words from a forgotten text. Answers that retained rows share are let through.",
        formula="answer contains a forget answer, or `run` words of a forget text in a row -> refusal",
        paper="Thaker et al. 2024, Guardrail Baselines for Unlearning, arXiv 2403.03329 (abstract)",
        cost=0.01,
        caution=_BENEATH + " The same fact in other words passes.",
    )

    run: int = parameter(8, "Words in a row that count as copied", 1, 100)
    reply: str = parameter("I don't know.", "What is answered instead")

    def finalise(self, context: Context) -> Artifact:
        kept = [row.output for row in (*context.data.retain, *context.data.general)]
        shared = {" ".join(words_of(text)) for text in kept}
        own = dict.fromkeys(row.output for row in context.data.forget if row.kind == "question")
        answers = tuple(text for text in own if " ".join(words_of(text)) not in shared)
        texts = tuple(row.output for row in context.data.forget if row.kind == "completion")
        return Wrapper(context.model, OutputFilter(answers, texts, self.run, self.reply))


def subjects(context: Context) -> list[str]:
    """Words of forget prompts that no retained prompt has: capitalised ones, else any, row by row."""
    data = context.data
    kept = {word for row in (*data.retain, *data.general) for word in words_of(row.input)}
    kept |= {word for question in data.questions for word in words_of(question.question)}
    found: dict[str, None] = {}
    for row in data.forget:
        named = [w for w in _CAPITALISED.findall(row.input) if not set(words_of(w)) & kept]
        if not named and not contains_any(row.input, tuple(found)):
            named = [word for word in words_of(row.input) if word not in kept]
        found.update(dict.fromkeys(named))
    return list(found)


Pairs = tuple[tuple[str, str], ...]


def fitting(context: Context, forget: Pairs, retain: Pairs, shown: int) -> tuple[Pairs, int]:
    """The retained examples, and the number of forgotten ones, that leave room in the model's context for the
    longest prompt of the data and its answer; retained ones go first."""

    def size(text: str) -> int:
        return len(context.tokenizer(text)["input_ids"])

    limit = context_length(context.model) or math.inf
    prompts = [row.input for row in (*context.data.forget, *context.data.retain)]
    room = limit - context.data.max_new_tokens - max(map(size, prompts))
    longest = sorted((size(solved(pair)) for pair in forget), reverse=True)
    kept = [size(solved(pair)) for pair in retain]
    while kept and sum(longest[:shown]) + sum(kept) > room:
        kept.pop()
    while shown and sum(longest[:shown]) > room:
        shown -= 1
    return retain[: len(kept)], shown


def _questions(rows: Sequence[Example]) -> Sequence[Example]:
    return [row for row in rows if row.kind == "question"] or rows
