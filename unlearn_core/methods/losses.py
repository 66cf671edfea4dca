"""Losses as pure functions of tensors; the model is called elsewhere.

Legend: B sequences, N labelled positions of all sequences laid end to end, V vocabulary. `nll` is
-log p of the label, in nats. Three normalisations are in use and are not interchangeable: the mean
over all tokens of the step (gradient ascent), the sum over each sequence (NPO) and the mean over each
sequence (SimNPO). Each loss says which one it takes.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def log_sigmoid_loss(margin_B: torch.Tensor, beta: float) -> torch.Tensor:
    """-(2/beta) mean_b log sigmoid(beta margin_b): the form NPO, SimNPO and DPO share.

    Its gradient is -mean_b w_b grad(margin_b) with w_b = 2 sigmoid(-beta margin_b) in (0, 2), and
    w_b = 1 where the margin is 0.
    """
    return -(2.0 / beta) * F.logsigmoid(beta * margin_B).mean()


def npo_loss(nll_B: torch.Tensor, reference_nll_B: torch.Tensor, beta: float) -> torch.Tensor:
    """Negative preference optimisation: (2/beta) mean log(1 + (p/p_ref)^beta), per sequence SUM.

    Zhang et al. 2024, arXiv 2404.05868, eq. 3. Both NLLs are summed over the answer (nats per
    sequence). (2/beta) ln 2 at the reference, towards 0 when forgotten; beta -> 0 is gradient ascent.
    """
    return log_sigmoid_loss(nll_B - reference_nll_B, beta)


def simnpo_loss(mean_nll_B: torch.Tensor, beta: float, margin: float = 0.0) -> torch.Tensor:
    """SimNPO: -(2/beta) mean log sigmoid(beta (nll - margin)), per sequence MEAN, no reference.

    Fan et al. 2024, arXiv 2410.07163, eq. 4. `margin` (the paper's gamma) in nats per token.
    """
    return log_sigmoid_loss(mean_nll_B - margin, beta)


def kl_divergence(reference_log_probs_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(reference || current) (N,) in nats: sum_v p_ref (log p_ref - log p_cur)."""
    log_probs_NV = logits_NV.float().log_softmax(-1)
    return F.kl_div(log_probs_NV, reference_log_probs_NV, reduction="none", log_target=True).sum(-1)


def matching_loss(mean_nll_B: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """Mean squared gap between each sequence's mean NLL and its target (nats per token, squared).

    Two-sided: text that is already less likely than its target is pulled back, so it ends as unlikely
    as never-trained text and not beyond.
    """
    return (mean_nll_B - target_B).square().mean()


def bucket_kl_divergence(
    reference_log_probs_NK: torch.Tensor, tokens_NK: torch.Tensor, logits_NV: torch.Tensor
) -> torch.Tensor:
    """KL(reference || current) (N,) in nats where only the reference's K likeliest tokens are known.

    All other tokens count as one outcome. By the data-processing inequality this is at most the full KL.
    """
    log_probs_NK = logits_NV.float().log_softmax(-1).gather(1, tokens_NK)
    reference_NK = reference_log_probs_NK.exp()
    kept_N = (reference_NK * (reference_log_probs_NK - log_probs_NK)).sum(-1)
    rest_N = (1 - reference_NK.sum(-1)).clamp(min=1e-9)
    current_rest_N = (1 - log_probs_NK.exp().sum(-1)).clamp(min=1e-9)
    return kept_N + rest_N * (rest_N.log() - current_rest_N.log())
