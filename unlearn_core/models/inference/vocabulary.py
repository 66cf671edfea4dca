"""Vectors of the residual stream as lists of words, and one word of such a list moved down.

Legend: X any number of vectors, D hidden, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from unlearn_core.models.architecture import final_norm

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class VocabularySpace:
    """What vectors of the residual stream say through the last norm and the output head.

    Geva et al. 2022, arXiv 2203.14680, read the
    columns of an MLP's output matrix so; Ashuach et al. 2025, arXiv 2406.09325, edit them there.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.head_VD: torch.Tensor = model.get_output_embeddings().weight.detach().float()
        self.size = len(self.head_VD)
        self._norm = final_norm(model)
        gram_DD = self.head_VD.T @ self.head_VD
        ridge = 1e-6 * gram_DD.diagonal().mean()
        self._factor_DD = torch.linalg.cholesky(gram_DD + ridge * torch.eye(len(gram_DD)).to(gram_DD))

    def read(self, vectors_XD: torch.Tensor) -> torch.Tensor:
        """Logits (X, V)."""
        normed: torch.Tensor = vectors_XD if self._norm is None else self._norm(vectors_XD)
        return normed.float() @ self.head_VD.T

    def rank(self, vectors_XD: torch.Tensor, token: int) -> torch.Tensor:
        """How many tokens each vector (X, D) puts before `token`."""
        logits_XV = self.read(vectors_XD)
        return (logits_XV > logits_XV[..., token, None]).sum(-1)

    def demoted(
        self, vectors_XD: torch.Tensor, token: int, rank: int, gain_D: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The vectors moved along one direction until `token` has exactly this rank in each.

        The direction B = (U'U)^-1 u_token / gain changes the token's logit and hardly another (it is the
        token's column of the head's pseudo-inverse). Along v + delta B the token v overtakes ours at
        delta = (a_v - a_t) / (b_t - b_v), with a and b the logits of v and B before scaling; so the
        delta for a rank is read off the sorted crossings. A vector that ranks it lower already stays.
        `gain_D` is that of a norm the vectors pass before they reach the residual stream.
        """
        gains = [gain for gain in (gain_D, getattr(self._norm, "weight", None)) if gain is not None]
        gain = math.prod((g.detach().float() for g in gains), start=self.head_VD.new_ones(()))
        along_D = torch.cholesky_solve(self.head_VD[token][:, None], self._factor_DD)[:, 0] / gain
        a_XV, b_V = self._unscaled(vectors_XD, gain), self._unscaled(along_D, gain)
        ahead_XV, slope_V = a_XV - a_XV[:, token, None], b_V[token] - b_V
        crossing_XV = torch.where(slope_V > 0, ahead_XV / slope_V, ahead_XV.sign() * torch.inf)
        crossing_XV[:, token] = -torch.inf
        ordered_XV = crossing_XV.sort(dim=-1, descending=True).values
        between = ordered_XV[:, max(0, rank - 1) : rank + 1].mean(-1)
        delta_X = between.clamp(max=0.0).nan_to_num(0.0, posinf=0.0, neginf=0.0)
        return vectors_XD + delta_X[:, None] * along_D

    def _unscaled(self, vectors_XD: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """Logits but for a positive factor of each vector, which changes no rank."""
        centred = isinstance(self._norm, torch.nn.LayerNorm) or "LayerNorm" in type(self._norm).__name__
        shifted = vectors_XD - vectors_XD.mean(-1, keepdim=True) if centred else vectors_XD
        return (shifted * gain) @ self.head_VD.T
