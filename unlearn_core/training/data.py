"""From rows to the sequences of each step; which ones depends only on the seed and the step's number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from unlearn_core.data.encode import Cycle, Encoded, encode_document, encode_example
from unlearn_core.data.prompt_format import answer_text, format_of
from unlearn_core.data.rows.mapped import kept
from unlearn_core.data.subjects import subject_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.methods.base import BatchComposition, Method, RowKind, RowPart
from unlearn_core.methods.capabilities import phases_of
from unlearn_core.methods.objectives.refusal import REFUSALS
from unlearn_core.training.records import Warned

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEFT_OUT = 0.5  # share of the words that are not the subject's name
MOST_WORDS = 60  # of a question; a longer one brings a text, which is not asked otherwise without its words
_TRIES = 4  # draws for each question wanted
FOLLOWERS = ("refusals", "alternatives")  # parts with one row for each of the forget part, taken with it
MAX_TOKENS = 1024  # longer sequences are cut; LUME's longest document has about 600


def build_parts(
    tokenizer: PreTrainedTokenizerBase,
    data: UnlearningData,
    mix: BatchComposition,
    max_tokens: int | None = MAX_TOKENS,
    seed: int = 0,
) -> dict[str, RowPart]:
    """Every sequence the steps may draw on: `forget`, and `retain` and `holdout` where wanted.

    The retain part ends with the general facts, the others with their documents. `refusals`, where wanted,
    has one row for each of the forget part, the same for the whole run. A part without rows is left out.
    """

    def refused() -> Iterator[Example]:
        return (replace(row, output=_refusal(seed, row.id)) for row in data.forget)

    def worded() -> Iterator[Example]:
        yield from data.forget
        for row in data.forget if mix.wordings else ():
            yield from fewer_words(row, mix.wordings, seed)

    forget = refused if mix.refusals == "instead" else worded
    parts = {"forget": _part(tokenizer, forget, mix.forget_documents, max_tokens)}
    if mix.refusals == "beside":
        parts["refusals"] = _part(tokenizer, refused, False, max_tokens)
    if mix.retain:
        retained = _part(tokenizer, lambda: data.retain, mix.retain_documents, max_tokens)
        general = data.general if mix.general or not data.retain else ()
        parts["retain"] = _part(tokenizer, lambda: general, False, max_tokens, retained)
    if mix.holdout:
        parts["holdout"] = _part(tokenizer, lambda: data.holdout, mix.forget_documents, max_tokens)
    return {name: part for name, part in parts.items() if part.rows}


def cut_rows(parts: Mapping[str, RowPart], max_tokens: int) -> Iterator[Warned]:
    """What a person should know of rows that do not fit into a sequence."""
    for name in ("forget", "retain"):
        rows = parts[name].rows if name in parts else ()
        lengths = [len(row.ids) for row in rows]
        if cut := sum(length >= max_tokens for length in lengths):
            yield Warned(
                f"{cut} of {len(lengths)} {name} sequences fill {max_tokens} tokens, the most that is trained on: "
                "the front of a prompt that fills more than half is left out, then the end of the answer."
            )


def _refusal(seed: int, row_id: str) -> str:
    return random.Random(f"{seed}/{row_id}").choice(REFUSALS)


def _part(
    tokenizer: PreTrainedTokenizerBase,
    examples: Callable[[], Iterable[Example]],
    documents: bool,
    max_tokens: int | None,
    before: RowPart | None = None,
) -> RowPart:
    """The sequences of some examples, gone through one by one; then, where wanted, their documents."""
    forms = list(before.forms) if before else []

    def rows() -> Iterator[Encoded]:
        yield from before.rows if before else ()
        for example in examples():
            forms.append(_form(example.task, example.kind))
            yield encode_example(tokenizer, example, len(forms) - 1, max_tokens)
        # A row that goes through a template or tags is no part of a document.
        plain = not (format_of(tokenizer).template or format_of(tokenizer).after)
        for example in examples() if documents and plain else ():
            if example.kind == "completion" and not example.turns:
                text = example.input + answer_text(example.input, example.output)
                document = encode_document(tokenizer, text, len(forms), max_tokens)
                if len(document.ids) > 1:
                    forms.append(_form(example.task, "document"))
                    yield document

    return RowPart(kept(rows()), tuple(forms))


_form = lru_cache(maxsize=64)(RowKind)  # one object for all rows of a form


class BatchSampler:
    """The sequences of any step, by part. `num_general` rows at the end of `retain` are general facts.

    `only` names the rows to draw on, by part; all of a part that it does not name.
    """

    def __init__(
        self,
        parts: dict[str, RowPart],
        mix: BatchComposition,
        seed: int,
        num_general: int = 0,
        only: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._parts = parts
        self._cycles: dict[str, list[Cycle]] = {}
        sizes = {"forget": mix.forget, "retain": mix.retain, "holdout": mix.holdout}
        for place, (name, part) in enumerate(parts.items()):
            if name in FOLLOWERS:
                continue
            # the rows at the end, general facts or documents, have a share of their own
            if name == "retain":
                first, share = len(part.rows) - num_general, mix.general
            else:
                first = sum(form.kind != "document" for form in part.forms)
                share = mix.documents
            chosen = (only or {}).get(name, range(len(part.rows)))
            head, tail = [row for row in chosen if row < first], [row for row in chosen if row >= first]
            share = share if head and tail else float(bool(tail))
            from_tail = round(sizes[name] * share)
            self._cycles[name] = [
                Cycle(rows, min(size, len(rows)), seed + 2**32 * (2 * place + half))
                for half, (rows, size) in enumerate([(head, sizes[name] - from_tail), (tail, from_tail)])
                if min(size, len(rows))
            ]

    def step(self, step: int) -> dict[str, list[Encoded]]:
        """The sequences of step `step` (from 0)."""
        found = {
            name: [self._parts[name].rows[row] for cycle in cycles for row in cycle.rows(step)]
            for name, cycles in self._cycles.items()
        }
        for name in FOLLOWERS:
            if name in self._parts:  # asked now: a method may have made it in `prepare`
                found[name] = [self._parts[name].rows[row.index] for row in found["forget"]]
        return found

    def visited(self, name: str, num_steps: int) -> list[int]:
        """The rows of a part that `num_steps` steps draw on, ascending."""
        rows: set[int] = set()
        for cycle in self._cycles["forget" if name in FOLLOWERS else name]:
            num_needed = min(num_steps, -(-len(cycle.members) // cycle.size) + 1)
            rows.update(row for step in range(num_needed) for row in cycle.rows(step))
        return sorted(rows)


Plan = list[tuple[Method, BatchSampler]]  # the phases of a run: what each minimises, and on which rows


def feeds(method: Method, parts: dict[str, RowPart], data: UnlearningData, seed: int) -> Plan:
    """The phases of a run of `method` on the parts that were built for it."""
    num_general = len(data.general) if method.mix().general or not data.retain else 0
    return [
        (phase.method, BatchSampler(parts, phase.method.mix(), seed + place, num_general, phase.rows))
        for place, phase in enumerate(phases_of(method, parts, seed))
    ]


def visited(plan: Plan, name: str) -> list[int]:
    """The rows of a part that the whole run draws on, ascending."""
    return sorted({row for method, sampler in plan for row in sampler.visited(name, method.steps)})


def fewer_words(row: Example, count: int, seed: int) -> list[Example]:
    """Up to `count` different questions of `row` with about half of its words left out, the same for one seed:
    what is told whatever the wording is learned from several. The name it asks about stays, and so do the order and
    the answer. None of a completion, one word or a whole text."""
    if row.kind != "question" or row.turns:
        return []
    words, name = row.input.split(), set(re.findall(r"\w+", subject_of(row)))
    others = [place for place, word in enumerate(words) if not name & set(re.findall(r"\w+", word))]
    rng = random.Random(f"{seed}/{row.id}")
    found: dict[str, None] = {}
    for _ in range(_TRIES * count if 1 < len(words) <= MOST_WORDS else 0):
        out = {place for place in others if rng.random() < LEFT_OUT}
        text = " ".join(word for place, word in enumerate(words) if place not in out)
        if text and text != row.input and len(found) < count:
            found[text] = None
    return [replace(row, id=f"{row.id}~{number}", input=text) for number, text in enumerate(found)]
