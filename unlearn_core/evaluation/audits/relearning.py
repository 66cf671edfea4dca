"""Relearning: a few forgotten rows are taught again, and the others are watched."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from unlearn_core.data.encode import collate, encode_example, pad_id_of
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import TRAINING, Case
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.measure import Told, controls_in_words, examples, share, told
from unlearn_core.models.forward import answers, token_nll
from unlearn_core.training.trainable import Trainable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

_RATES = {"full": 1e-3, "lora": 2e-4}  # small models whole; large ones as Lucki et al. do
_RANK = 16


@dataclass(frozen=True)
class Relearning(Audit):
    """AdamW on `num_rows` forgotten rows for `num_steps` steps, all of them in every step."""

    num_rows: int = 24
    num_steps: int = 24
    num_looks: int = 3

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="relearning",
        title="Relearning from a few rows",
        idea="An attacker who has a few of the forgotten rows fine-tunes on them, and the answers of the "
        "other documents are watched. What comes back without being taught was only hidden.",
        source="Hu et al. (arXiv 2406.13356); Lucki et al. (arXiv 2409.18025)",
        needs=frozenset({"others", "controls"}),
    )

    def cost(self, case: Case) -> float:
        known, others = case.halves("forget", self.num_rows)
        looks = len(self._looks()) * case.asking(len(others))
        once = TRAINING * self.num_steps * case.reading(len(known)) + looks
        return once * (1 + (case.retain_only is not None)) + looks + case.asking(len(others))

    def work(self, case: Case) -> Work:
        known, others = case.halves("forget", self.num_rows)
        strangers = case.holdout[: len(others)]
        before = yield from told(case, case.weights, others)
        ours, theirs, said = yield from self._attack(case, case.weights, known, others, strangers)
        controls = {"holdout": theirs}
        if case.retain_only is not None:
            controls["retain_only"], _, _ = yield from self._attack(case, case.retain_only, known, others, ())
        # The best moment of each: an attacker stops when it pays, and so may the controls.
        best = {name: look.mean(1).argmax() for name, look in controls.items()}
        at = int(ours.mean(1).argmax())
        comparison = Comparison(ours[at], {name: look[best[name]] for name, look in controls.items()})
        plain = float(before.scores.mean())
        rows: tuple[dict[str, Any], ...] = tuple(
            {
                "step": step,
                "forget": round(float(ours[look].mean()), 4),
                **{name: round(float(found[look].mean()), 4) for name, found in controls.items()},
            }
            for look, step in enumerate(self._looks())
        )
        headline = (
            f"After fine-tuning on {len(known)} forgotten rows, {share(comparison.figures['forget'])} of the "
            f"answers of other documents are given ({share(plain)} before); "
            f"{controls_in_words(case, comparison)}."
        )
        rows += examples(others, said[at].texts, said[at].scores)
        return Finding(comparison.leaks, headline, {**comparison.figures, "before": plain}, rows)

    def _looks(self) -> list[int]:
        """After how many steps the answers are asked for; once, where there are fewer steps than looks."""
        return sorted({round(self.num_steps * (i + 1) / self.num_looks) for i in range(self.num_looks)})

    def _attack(
        self, case: Case, model: PreTrainedModel, known: Sequence[Example], others: Sequence[Example],
        strangers: Sequence[Example],
    ) -> Generator[float, None, tuple[np.ndarray, np.ndarray, list[Told]]]:  # fmt: skip
        """Scores (looks, rows) of the other rows and of the control rows, and what was said."""
        looks = self._looks()
        said: list[Told] = []
        theirs: list[np.ndarray] = []
        with relearning(case, model, known) as step:
            for number in range(self.num_steps + 1):
                if number:
                    step()
                    yield TRAINING * case.reading(len(known))
                if number in looks:
                    said.append((yield from told(case, model, others)))
                    theirs.append((yield from told(case, model, strangers)).scores)
        return np.stack([look.scores for look in said]), np.stack(theirs), said


@contextmanager
def relearning(case: Case, model: PreTrainedModel, rows: Sequence[Example]) -> Iterator[Any]:
    """A function that takes one optimiser step on `rows`; afterwards the weights are what they were.

    All weights of a small model, a LoRA adapter on a large one.
    """
    trainable = Trainable(model, None, _RANK, case.seed)
    rate = _RATES["lora" if trainable.wrapped is not None else "full"]
    optimiser = torch.optim.AdamW(trainable.parameters, lr=rate, weight_decay=0.0)
    encoded = [encode_example(case.tokenizer, row, i) for i, row in enumerate(rows)]
    batch = collate(encoded, pad_id_of(case.tokenizer)).to(model.device)

    def step() -> float:
        loss = token_nll(answers(model, batch)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trainable.parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    try:
        yield step
    finally:
        trainable.close(restore=True)
