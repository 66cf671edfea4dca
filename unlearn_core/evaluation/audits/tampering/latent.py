"""Latent adversarial perturbation: one push inside the model that switches hidden answers back on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch

from unlearn_core.data.encode import collate, encode_example, pad_id_of
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import TRAINING, AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.layers import frozen, nudged
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told, transfer
from unlearn_core.models.inference.forward import answers, layers, token_nll
from unlearn_core.models.inference.hidden import hidden_after

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Latent(Audit):
    """One vector, added after the middle layer at every position, found by Adam on the attacker's rows
    within a ball of `radius` times the size of what that layer usually passes on; tried on other rows."""

    num_rows: int = 24
    num_steps: int = 30
    radius: float = 0.5

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="latent",
        title="Latent adversarial push",
        idea="One vector is sought that, added inside the model, brings back a few forgotten answers. If it "
        "brings back the answers of other documents too, the knowledge was there and a switch was off.",
        source="Casper et al., latent adversarial attacks (arXiv 2403.05030); Yuan et al. (arXiv 2408.10682)",
        needs=frozenset({"others", "controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        known, others = case.halves("forget", self.num_rows)
        once = TRAINING * self.num_steps * case.reading(len(known)) + case.asking(len(others))
        return case.num_models * once + case.asking(len(others))

    def work(self, case: AuditCase) -> Work:
        tried = yield from transfer(case, self.num_rows, partial(self._attack, case))
        said = tried.found
        comparison = Comparison(said.scores, {name: replies.scores for name, replies in tried.controls.items()})
        sentence = (
            f"One push found on {len(tried.known)} forgotten rows brings out {{found}} of the answers of other "
            "documents ({before} without)"
        )
        return finding(case, comparison, tried.before, sentence, examples(tried.others, said))

    def _attack(
        self, case: AuditCase, model: PreTrainedModel, known: Sequence[Example], others: Sequence[Example]
    ) -> Generator[float, None, Replies]:
        layer = len(layers(model)) // 2
        nudge_D = yield from self._search(case, model, known, layer)
        with nudged(model, layer, nudge_D):
            return (yield from told(case, model, others))

    def _search(
        self, case: AuditCase, model: PreTrainedModel, known: Sequence[Example], layer: int
    ) -> Generator[float, None, torch.Tensor]:
        """The push that makes the known answers likeliest."""
        rows = [encode_example(case.tokenizer, row, i) for i, row in enumerate(known)]
        batch = collate(rows, pad_id_of(case.tokenizer)).to(model.device)
        size = _size(model, layer, batch.input_ids_BT)
        width = int(model.config.get_text_config().hidden_size)
        nudge_D = torch.zeros(width, device=model.device, dtype=model.dtype, requires_grad=True)
        optimiser = torch.optim.Adam([nudge_D], lr=self.radius * size / width**0.5 / 4)
        with frozen(model), nudged(model, layer, nudge_D):
            for _ in range(self.num_steps):
                loss = token_nll(answers(model, batch)).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                with torch.no_grad():
                    nudge_D.mul_((self.radius * size / nudge_D.norm().clamp(min=1e-9)).clamp(max=1.0))
                yield TRAINING * case.reading(len(known))
        return nudge_D.detach()


@torch.no_grad()
def _size(model: PreTrainedModel, layer: int, input_ids_BT: torch.Tensor) -> float:
    """Mean norm of what `layer` passes on."""
    hidden_BTD = hidden_after(model, layer, {"input_ids": input_ids_BT, "use_cache": False})
    return float(hidden_BTD.norm(dim=-1).mean())
