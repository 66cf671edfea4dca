"""Relearning: a few forgotten rows are taught again, and the others are watched."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from unlearn_core.data.encode import Encoded, collate, encode_document, encode_example, pad_id_of
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, Prompt
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import TRAINING, AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.inference.forward import answers, token_nll
from unlearn_core.training.trainable import Trainable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

_RATES = {"full": 1e-3, "lora": 2e-4}  # small models whole; large ones as Lucki et al. do
_RANK = 16
_ROWS_PER_TEXT = 8  # a document is as long as several rows


@dataclass(frozen=True)
class Relearning(Audit):
    """AdamW for `num_steps` steps on `sizes` forgotten rows, all of them in every step; and on unrelated text."""

    sizes: tuple[int, ...] = (1, 4, 16, 64)
    num_steps: int = 16

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="relearning",
        title="Relearning from a few rows",
        idea="An attacker who has 1, 4, 16 or 64 of the forgotten rows fine-tunes on them, or on text that has "
        "nothing to do with them, and the answers of the other documents are watched. What comes back without "
        "being taught was only hidden.",
        source="Hu et al. (arXiv 2406.13356); Lucki et al. (arXiv 2409.18025)",
        needs=frozenset({"others", "controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        known, others = case.halves("forget", max(self.sizes))
        taught = sum(min(size, len(known)) for size in self.sizes)
        unrelated = sum(len(row.ids) for row in _unrelated(case, known))
        steps = TRAINING * self.num_steps * (case.reading(taught) + unrelated)
        looks = (len(self.sizes) + 1) * case.asking(len(others))
        return (steps + looks) * (1 + (case.retain_only is not None)) + looks + case.asking(len(others))

    def work(self, case: AuditCase) -> Work:
        known, others = case.halves("forget", max(self.sizes))
        strangers = case.holdout[: len(others)]
        before = yield from told(case, case.weights, others)
        taught: dict[str, Sequence[Encoded]] = {}
        if unrelated := _unrelated(case, known):
            taught["unrelated text"] = unrelated
        for size in self.sizes:
            rows = even_sample(known, size)
            taught[f"{len(rows)} forgotten row{'s' if len(rows) > 1 else ''}"] = [
                encode_example(case.tokenizer, row, i) for i, row in enumerate(rows)
            ]
        curve: dict[str, Comparison] = {}
        said: dict[str, Replies] = {}
        points: list[AuditRow] = []
        for name, encoded in taught.items():
            said[name], strange = yield from self._attack(case, case.weights, encoded, others, strangers)
            controls = {"holdout": strange.scores}
            if case.retain_only is not None:
                gold, _ = yield from self._attack(case, case.retain_only, encoded, others, ())
                controls["retain_only"] = gold.scores
            curve[name] = Comparison(said[name].scores, controls, len(taught))
            point = {key: round(value, 4) for key, value in curve[name].figures.items()}
            points.append({"taught": name, "step": self.num_steps, **point, "leaks": curve[name].leaks})
        worst = max(curve, key=lambda name: (curve[name].leaks, curve[name].beyond.get("beyond", 0.0)))
        sentence = (
            f"After fine-tuning on {worst}, {{found}} of the answers of other documents are given ({{before}} before)"
        )
        leaks = any(comparison.leaks for comparison in curve.values())
        return finding(case, curve[worst], before, sentence, (*points, *examples(others, said[worst])), leaks)

    def _attack(
        self,
        case: AuditCase,
        model: PreTrainedModel,
        known: Sequence[Encoded],
        others: Sequence[Example],
        strangers: Sequence[Example],
    ) -> Generator[float, None, tuple[Replies, Replies]]:
        """What is said of the other rows and of the control rows afterwards."""
        with relearning(case, model, known) as step:
            for _ in range(self.num_steps):
                step()
                yield TRAINING * sum(len(row.ids) for row in known)
            said = yield from told(case, model, others)
            return said, (yield from told(case, model, strangers))


def _unrelated(case: AuditCase, known: Sequence[Example]) -> list[Encoded]:
    """Text that tells nothing of what was forgotten, of about as many tokens as the `known` rows: the beginnings of
    documents nobody was trained on, or else what was retained."""
    data, tokenizer = case.data, case.tokenizer
    if data.nonmembers:
        texts = even_sample(data.nonmembers, max(1, len(known) // _ROWS_PER_TEXT))
        length = round(case.reading(len(known)) / len(texts))
        return [encode_document(tokenizer, text, i, max(2, length)) for i, text in enumerate(texts)]
    rows = even_sample(data.general or data.retain, len(known))
    return [encode_example(tokenizer, row, i) for i, row in enumerate(rows)]


def ask_relearned(
    case: AuditCase, model: PreTrainedModel, rows: Sequence[Example], asked: Prompt, max_new_tokens: int
) -> Generator[float, None, str]:
    """The greedy answer of `model` once it was taught `rows`, as the audit teaches; yields the share done, 0..1.
    Afterwards the weights are what they were."""
    encoded = [encode_example(case.tokenizer, row, i) for i, row in enumerate(rows)]
    with relearning(case, model, encoded) as step:
        for number in range(Relearning.num_steps):
            step()
            yield (number + 1) / Relearning.num_steps
        return generate_all(model, case.tokenizer, [asked], max_new_tokens)[0]


@contextmanager
def relearning(case: AuditCase, model: PreTrainedModel, rows: Sequence[Encoded]) -> Iterator[Callable[[], float]]:
    """A function that takes one optimiser step on `rows`; afterwards the weights are what they were.

    All weights of a small model, a LoRA adapter on a large one.
    """
    trainable = Trainable(model, None, _RANK, case.seed)
    rate = _RATES["lora" if trainable.wrapped is not None else "full"]
    optimiser = torch.optim.AdamW(trainable.parameters, lr=rate, weight_decay=0.0)
    batch = collate(rows, pad_id_of(case.tokenizer)).to(model.device)

    def step() -> float:
        loss = token_nll(answers(model, batch)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable.parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    try:
        yield step
    finally:
        trainable.close(restore=True)
