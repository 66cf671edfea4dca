"""Greedy coordinate gradient (GCG): one suffix of tokens that makes several prompts tell.

The dynamic unlearning attack: a universal suffix is optimised against the audited model itself on a few
prompts and tried on others, so that no row's own answer can be written into it.
Legend: R rows, S suffix positions, C candidates, V vocabulary, D hidden.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from unlearn_core.data.encode import Encoded, collate, encode_example, num_behind, pad_id_of
from unlearn_core.data.types import Example, Prompt
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import TRAINING, AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.layers import frozen
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told, transfer
from unlearn_core.models.inference.forward import answers, mean_per_row, token_nll

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_PARAMETERS = 200_000_000  # beyond, a search takes hours without a large GPU
_START = "!"
_TOP = 64  # tokens per position that the gradient proposes
_BATCH = 96  # sequences in the model at a time


@dataclass(frozen=True)
class Suffix(Audit):
    """`num_steps` rounds of `num_candidates` one-token changes to a suffix of `length` tokens, for the
    answers to `num_rows` prompts at once."""

    num_rows: int = 8
    num_steps: int = 12
    num_candidates: int = 24
    length: int = 8

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="suffix",
        title="Adversarial suffix",
        idea="A string of tokens is sought, token by token along the gradient, that makes the model answer "
        "a few forgotten prompts. If it opens other forgotten prompts too, they were locked and not erased.",
        source="Zou et al., GCG (arXiv 2307.15043); dynamic attack of Yuan et al. (arXiv 2408.10682)",
        needs=frozenset({"others", "controls"}),
    )

    def missing(self, case: AuditCase) -> str | None:
        if sum(p.numel() for p in case.model.parameters()) > MOST_PARAMETERS:
            return f"The search is for models up to {MOST_PARAMETERS:,} parameters."
        return super().missing(case)

    def cost(self, case: AuditCase) -> float:
        known, others = case.halves("forget", self.num_rows)
        tokens = sum(case.row_tokens) + self.length
        once = self.num_steps * len(known) * tokens * (TRAINING + self.num_candidates)
        return case.num_models * (once + case.asking(len(others), 1.5)) + case.asking(len(others))

    def work(self, case: AuditCase) -> Work:
        tried = yield from transfer(case, self.num_rows, partial(self._attack, case))
        text, said = tried.found
        comparison = Comparison(said.scores, {name: replies.scores for name, (_, replies) in tried.controls.items()})
        sentence = (
            f"A suffix found on {len(tried.known)} forgotten prompts brings out {{found}} of the answers of other "
            "documents ({before} without)"
        )
        return finding(case, comparison, tried.before, sentence, ({"suffix": text}, *examples(tried.others, said)))

    def _attack(
        self, case: AuditCase, model: PreTrainedModel, known: Sequence[Example], others: Sequence[Example]
    ) -> Generator[float, None, tuple[str, Replies]]:
        """The suffix as text, and what the other prompts bring with it; text is what an attacker sends."""
        rows = [encode_example(case.tokenizer, row, i) for i, row in enumerate(known)]
        text = yield from self._search(case, model, rows)
        said = yield from told(case, model, others, [Prompt(row.input + text, row.turns) for row in others])
        return text, said

    def _search(self, case: AuditCase, model: PreTrainedModel, rows: Sequence[Encoded]) -> Generator[float, None, str]:
        """The best suffix met; none at all where every one of them does worse than the bare prompts."""
        pad, draw = pad_id_of(case.tokenizer), torch.Generator().manual_seed(case.seed)
        start = case.tokenizer(_START, add_special_tokens=False)["input_ids"][-1]
        present_S, present = torch.full((self.length,), int(start)), float("inf")
        special = torch.tensor(sorted(case.tokenizer.all_special_ids), dtype=torch.long)
        per_row = sum(len(row.ids) + self.length for row in rows)
        behind = num_behind(case.tokenizer)
        with frozen(model):
            bare = float(_losses(model, rows, present_S[None, :0], pad, behind))
            for _ in range(self.num_steps):
                proposals_SK = _proposals(model, rows, present_S, pad, special, behind)
                places_C = torch.randint(self.length, (self.num_candidates,), generator=draw)
                ranks_C = torch.randint(proposals_SK.shape[1], (self.num_candidates,), generator=draw)
                candidates_CS = present_S.repeat(self.num_candidates, 1)
                candidates_CS[torch.arange(self.num_candidates), places_C] = proposals_SK[places_C, ranks_C]
                loss_C = _losses(model, rows, candidates_CS, pad, behind)
                if float(loss_C.min()) < present:
                    present, present_S = float(loss_C.min()), candidates_CS[int(loss_C.argmin())].clone()
                yield per_row * (TRAINING + self.num_candidates)
        if bare <= present:
            return ""
        return str(case.tokenizer.decode(present_S.tolist(), skip_special_tokens=True))


def _with(row: Encoded, suffix: Sequence[int], index: int, behind: int) -> Encoded:
    """The row with the suffix behind its prompt's own text, after which `behind` ids of a template come."""
    place = row.num_prompt - behind
    ids = (*row.ids[:place], *suffix, *row.ids[place:])
    return Encoded(ids, row.num_prompt + len(suffix), index)


@torch.inference_mode()
def _losses(
    model: PreTrainedModel, rows: Sequence[Encoded], candidates_CS: torch.Tensor, pad: int, behind: int
) -> torch.Tensor:
    """Mean NLL (C,) of the rows' answers behind each candidate."""
    encoded = [_with(row, suffix, 0, behind) for suffix in candidates_CS.tolist() for row in rows]
    found = []
    for start in range(0, len(encoded), _BATCH):
        part = answers(model, collate(encoded[start : start + _BATCH], pad).to(model.device))
        found.append(mean_per_row(token_nll(part), part).cpu())
    return torch.cat(found).view(len(candidates_CS), len(rows)).mean(1)


def _proposals(
    model: PreTrainedModel,
    rows: Sequence[Encoded],
    suffix_S: torch.Tensor,
    pad: int,
    special: torch.Tensor,
    behind: int,
) -> torch.Tensor:
    """The tokens (S, K) that the gradient says would lower the loss most at each place of the suffix."""
    batch = collate([_with(row, suffix_S.tolist(), i, behind) for i, row in enumerate(rows)], pad).to(model.device)
    table: Any = model.get_input_embeddings()
    inputs_RTD = table(batch.input_ids_BT).detach().requires_grad_(True)
    logits_RTV = model(inputs_embeds=inputs_RTD, attention_mask=batch.attention_mask_BT).logits
    loss = torch.nn.functional.cross_entropy(
        logits_RTV[:, :-1].flatten(0, 1).float(), batch.labels_BT[:, 1:].flatten(), ignore_index=-100
    )
    (gradient_RTD,) = torch.autograd.grad(loss, inputs_RTD)
    # Every row has the suffix at its own place; its gradient is the sum over rows.
    places = [row.num_prompt - behind for row in rows]
    parts = [gradient_RTD[i, place : place + len(suffix_S)] for i, place in enumerate(places)]
    score_SV: torch.Tensor = -(torch.stack(parts).sum(0) @ table.weight.detach().T).float()
    score_SV[:, special.to(score_SV.device)] = float("-inf")
    return score_SV.topk(min(_TOP, score_SV.shape[1] - len(special)), dim=-1).indices.cpu()
