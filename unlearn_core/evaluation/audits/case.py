"""What is audited, and beside what: the models, the rows, and the controls, chosen once for all audits.

Controls answer "would a model that never knew this look the same?": never-trained rows of the same kind
on the audited model, and the forgotten rows on the retain-only model. Where the data has no never-trained
rows, the prompts of the forget set with answers that belong to other rows take their place; and where all
of them have one answer, as where a name is to be forgotten, the prompts about others with that answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from unlearn_core.data.encode import encode_example, pad_id_of, prompt_ids
from unlearn_core.data.prompt_format import answer_text
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.metrics.answer_traces import other_answers
from unlearn_core.models.adapters import adapters_off, lora_layers, plain_state
from unlearn_core.models.building import holding
from unlearn_core.models.inference.inference_wrapper import NO_FRONT, front_of
from unlearn_core.models.inference.inference_wrapper import beneath as without_front
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.system.grouped import grouped

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# A generated token costs this many tokens of a forward pass: rows are short and steps are many.
WRITING = 4.0
TRAINING = 3.0  # forward and backward
_SPARE = 8  # tokens beyond the longest answer, so that a lead-in does not cut it off


@dataclass(frozen=True)
class AuditCase:
    """One unlearned model with everything its audits compare it with. All models share the tokenizer.

    model: the audited one, with its adapter or front in place where it has one. max_rows: rows asked per
    set and pass. weights_hash: the audited one's, where it is known.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    data: UnlearningData
    original: PreTrainedModel | None = None
    retain_only: PreTrainedModel | None = None
    max_rows: int = 60
    seed: int = 0
    weights_hash: str = ""

    def has(self, need: str) -> bool:
        """Whether what an audit needs (see `AuditInfo.needs`) is there."""
        if need == "switch":
            # something can be taken off: an adapter kept apart, or a front before the model
            return front_of(self.model) is not NO_FRONT or any(lora_layers(self.model))
        if need == "controls":
            return bool(self.holdout)
        if need == "documents":
            return bool(self.data.members and self.data.nonmembers)
        if need == "unknown prompts":
            parts = (self.data.holdout, self.data.retain)
            return all(len({row.document_id for row in self.questions(part)}) > 1 for part in parts)
        if need == "unknown texts":
            return bool(self.data.members) and min(len(self.data.nonmembers), len(dict(self.retained_texts))) > 1
        if need == "unknown":
            return self.has("unknown prompts") or self.has("unknown texts")
        if need == "others":
            return len({row.document_id for row in self.questions(self.data.forget)}) > 1
        return getattr(self, need) is not None

    @cached_property
    def forget(self) -> tuple[Example, ...]:
        """An even sample of the forgotten rows; questions where there are any, else completions."""
        return tuple(even_sample(self.questions(self.data.forget), self.max_rows))

    @cached_property
    def holdout(self) -> tuple[Example, ...]:
        """As many control rows of the same kind."""
        return tuple(even_sample(self.controls, self.max_rows))

    @cached_property
    def controls(self) -> tuple[Example, ...]:
        """All control rows, of the kind of the forgotten ones."""
        rows = self.questions(self.data.holdout)
        wanted = {row.kind for row in self.forget}
        if rows and {row.kind for row in rows} == wanted:
            return rows
        forgotten = self.questions(self.data.forget)
        return swapped(forgotten) or (self._of_others(forgotten[0]) if forgotten else ())

    def _of_others(self, answer: Example) -> tuple[Example, ...]:
        """Prompts about others with the one forgotten answer, which is right for none of them."""
        names = {name.strip() for name in (answer.output, *answer.paraphrases)}
        rows = [row for row in (self.data.neighbours or self.data.retain) if row.kind == answer.kind]
        return tuple(
            replace(row, output=answer.output, paraphrases=answer.paraphrases)
            for row in rows
            if row.output.strip() not in names
        )

    @property
    def control_title(self) -> str:
        """What the control rows are, in words."""
        first = self.holdout[0].id if self.holdout else ""
        if first in {row.id for row in self.data.holdout}:
            return "never-trained rows"
        return "swapped answers" if not first or first in self._forgotten else "prompts about others"

    def halves(self, split: str, num_known: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """About `num_known` rows of `split` (forget | holdout) that an attacker has, and rows of other
        documents; no document gives rows to both."""
        rows = self.questions(self.data.forget) if split == "forget" else self.controls
        documents = list(dict.fromkeys(row.document_id for row in rows))
        share = min(0.5, num_known / max(1, len(rows)))
        chosen = set(even_sample(documents, max(1, round(share * len(documents)))))
        known = [row for row in rows if row.document_id in chosen][:num_known]
        others = [row for row in rows if row.document_id not in chosen]
        return tuple(known), tuple(even_sample(others, self.max_rows))

    def of_document(self, row: Example) -> Sequence[Example]:
        """The rows of the document that `row` belongs to, and of its set."""
        return self._by_document.get((row.id in self._forgotten, row.document_id), ())

    @cached_property
    def _forgotten(self) -> frozenset[str]:
        return frozenset(row.id for row in self.data.forget)

    @cached_property
    def _by_document(self) -> dict[tuple[bool, str], list[Example]]:
        sets = ((True, self.data.forget), (False, self.controls))
        return grouped(((known, row.document_id), row) for known, rows in sets for row in self.questions(rows))

    @staticmethod
    def questions(rows: Sequence[Example]) -> tuple[Example, ...]:
        """The questions among `rows`; all rows where there are none."""
        return tuple(row for row in rows if row.kind == "question") or tuple(rows)

    @cached_property
    def retained_texts(self) -> tuple[tuple[str, str], ...]:
        """The whole texts of retained completions, each with the document it belongs to."""
        rows = (row for row in self.data.retain if row.kind == "completion")
        return tuple((row.document_id, row.input + answer_text(row.input, row.output)) for row in rows)

    @cached_property
    def answer_limit(self) -> int:
        """Tokens to write: enough for the longest answer asked for."""
        rows = (*self.forget, *self.holdout)
        longest = max((self._num_tokens(answer_text(row.input, row.output)) for row in rows), default=1)
        return min(self.data.max_new_tokens, longest + _SPARE)

    @cached_property
    def row_tokens(self) -> tuple[float, float]:
        """Mean tokens of a prompt and of an answer."""
        rows = self.forget[:32] or (Example("", "a", "a"),)
        prompt = sum(len(prompt_ids(self.tokenizer, row.prompt)) for row in rows) / len(rows)
        return prompt, sum(self._num_tokens(row.output) + 1 for row in rows) / len(rows)

    def _num_tokens(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def asking(self, num_rows: int, factor: float = 1.0) -> float:
        """Cost of writing answers to `num_rows` prompts, `factor` times as long as usual."""
        prompt, answer = self.row_tokens
        return num_rows * (factor * prompt + WRITING * answer)

    def reading(self, num_rows: int) -> float:
        """Cost of one forward pass over rows with their answers."""
        return num_rows * sum(self.row_tokens)

    @property
    def num_models(self) -> int:
        """Passes a comparison takes: forgotten rows, control rows, and the retain-only model if there."""
        return 2 + (self.retain_only is not None)

    @cached_property
    def seconds_per_token(self) -> float:
        """Seconds per token of a forward pass on this machine, measured on the rows themselves."""
        rows = [encode_example(self.tokenizer, row, i) for i, row in enumerate(self.forget[:32])]
        if not rows:
            return 0.0
        best, pad = float("inf"), pad_id_of(self.tokenizer)
        for _ in range(3):  # the first pass warms up, and others may have the processor for a while
            began = time.perf_counter()
            all_traces(self.model, rows, pad)
            best = min(best, time.perf_counter() - began)
        return best / sum(len(row.ids) for row in rows)

    @cached_property
    def weights(self) -> PreTrainedModel:
        """The audited model as plain weights, for attacks that change them; an adapter is merged into a
        copy, so that the model itself stays as it is."""
        if not any(lora_layers(self.model)):
            return self.model
        return holding(self.model, {name: value.detach().clone() for name, value in plain_state(self.model).items()})


@contextmanager
def beneath(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model with its front and its adapter off."""
    with without_front(model), adapters_off(model):
        yield model


def swapped(rows: Sequence[Example]) -> tuple[Example, ...]:
    """The same prompts with another row's answer, of the same kind where there is one."""

    def groups(row: Example) -> tuple[tuple[str, str], ...]:
        return (row.task, row.topic), (row.task, row.kind), ("", row.kind)

    alike = grouped((group, row) for row in rows for group in groups(row))
    changed = []
    for row in rows:
        other = next((found for group in groups(row) for found in other_answers(row, alike[group])), None)
        if other is not None:
            changed.append(replace(row, output=other.output))
    return tuple(changed)
