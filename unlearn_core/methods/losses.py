"""Losses as pure functions of tensors; the model is called elsewhere.

Legend: B sequences, N labelled positions of all sequences laid end to end, V vocabulary. `nll` is
-log p of the label, in nats. Three normalisations are in use and are not interchangeable: the mean
over all tokens of the step (gradient ascent), the sum over each sequence (NPO) and the mean over each
sequence (SimNPO). Each loss says which one it takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from unlearn_core.models.inference.likelihood import LEAST_LOG_P, moments_of_log_p

LEAST_VARIANCE = 1e-2  # of log p, in `standardised`: where a model is certain, the slope would have no bound


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


def js_divergence(reference_log_probs_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence (N,) of reference and current in nats, 0 to ln 2: the mean of the KL from either to
    their mixture m = (p + q) / 2."""
    log_probs_NV = logits_NV.float().log_softmax(-1)
    mixture_NV = torch.logaddexp(log_probs_NV, reference_log_probs_NV) - math.log(2)
    own_N = (log_probs_NV.exp() * (log_probs_NV - mixture_NV)).sum(-1)
    reference_N = (reference_log_probs_NV.exp() * (reference_log_probs_NV - mixture_NV)).sum(-1)
    return (own_N + reference_N) / 2


def js_to_token(logits_NV: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence (N,) from a distribution that is certain of one token, in nats.

    With p the token's probability it is ln 2 + (p ln p - (1 + p) ln (1 + p)) / 2: ln 2 at p = 0, 0 at p = 1. The
    derivative by ln p is (p / 2) ln (p / (1 + p)), which fades at p = 0.
    """
    log_p_N = -F.cross_entropy(logits_NV.float(), tokens_N, reduction="none")
    p_N = log_p_N.exp()
    return math.log(2) + (p_N * log_p_N - (1 + p_N) * p_N.log1p()) / 2


def matching_loss(mean_nll_B: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """Mean squared gap between each sequence's mean NLL and its target (nats per token, squared).

    Two-sided: text that is already less likely than its target is pulled back, so it ends as unlikely
    as never-trained text and not beyond.
    """
    return (mean_nll_B - target_B).square().mean()


def standardised(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """(log p - mu) / sigma (N,) of each label, with mu and sigma the mean and the standard deviation of log p over the
    vocabulary under p itself: how surprising it is beside what else was expected (Zhang et al. 2024, arXiv
    2404.02936)."""
    return _Standardised.apply(logits_NV, labels_N)  # type: ignore[no-any-return]


class _Standardised(torch.autograd.Function):
    """z = d_y / sigma with d = log p - mu. Its slope is derived by hand, in a third of the passes over the logits:

    dz / dlogit_k = [k = y] / sigma - p_k ((1 + d_k) / sigma + z (d_k^2 + 2 d_k - sigma^2) / (2 sigma^2)),

    without the last term where the variance is below LEAST_VARIANCE and counts as that.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        log_probs_NV = logits_NV.log_softmax(-1)
        mean_N, variance_N = moments_of_log_p(log_probs_NV)
        inverse_N = variance_N.clamp(min=LEAST_VARIANCE).rsqrt()
        value_N = (log_probs_NV.gather(1, labels_N[:, None])[:, 0] - mean_N) * inverse_N
        ctx.save_for_backward(log_probs_NV, labels_N, mean_N, variance_N, inverse_N, value_N)
        return value_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_N: torch.Tensor) -> tuple[torch.Tensor, None]:
        log_probs_NV, labels_N, mean_N, variance_N, inverse_N, value_N = ctx.saved_tensors
        square_N = torch.where(variance_N > LEAST_VARIANCE, -slope_N * value_N / (2 * variance_N), 0.0)
        own_N = slope_N * inverse_N
        d_NV = log_probs_NV.clamp(min=LEAST_LOG_P).sub_(mean_N[:, None])
        found_NV = d_NV * square_N[:, None]
        found_NV.add_((2 * square_N - own_N)[:, None]).mul_(d_NV).sub_((own_N + square_N * variance_N)[:, None])
        found_NV.mul_(log_probs_NV.exp())
        return found_NV.scatter_add_(1, labels_N[:, None], own_N[:, None]), None


def quantile_loss(own_N: torch.Tensor, other_M: torch.Tensor) -> torch.Tensor:
    """Squared 2-Wasserstein distance of two samples on a line, the second held fixed: mean over the sorted `own_N` of
    the squared gap to the quantile of `other_M` at the same level."""
    levels_N = (torch.arange(len(own_N), device=own_N.device) + 0.5) / len(own_N)
    return (own_N.sort()[0] - torch.quantile(other_M.detach(), levels_N)).square().mean()


def floor_loss(mean_nll_B: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """Mean squared shortfall of each sequence's mean NLL below its target (nats per token, squared).

    One-sided: an answer already less likely than its target feels nothing.
    """
    return (mean_nll_B - target_B).clamp(max=0.0).square().mean()


def bucket_kl_divergence(
    reference_log_probs_NK: torch.Tensor, tokens_NK: torch.Tensor, logits_NV: torch.Tensor
) -> torch.Tensor:
    """KL(reference || current) (N,) in nats where only the reference's K likeliest tokens are known.

    All other tokens count as one outcome. By the data-processing inequality this is at most the full KL.
    """
    logits_NV = logits_NV.float()
    # The log-softmax at these tokens alone: besides the logits, nothing as wide as the vocabulary is kept.
    log_probs_NK = logits_NV.gather(1, tokens_NK) - logits_NV.logsumexp(-1, keepdim=True)
    reference_NK = reference_log_probs_NK.exp()
    kept_N = (reference_NK * (reference_log_probs_NK - log_probs_NK)).sum(-1)
    rest_N = (1 - reference_NK.sum(-1)).clamp(min=1e-9)
    current_rest_N = (1 - log_probs_NK.exp().sum(-1)).clamp(min=1e-9)
    return kept_N + rest_N * (rest_N.log() - current_rest_N.log())


def dpo_loss(gain_of_wanted_B: torch.Tensor, gain_of_unwanted_B: torch.Tensor, beta: float) -> torch.Tensor:
    """-(2/beta) mean log sigmoid(beta (gain_w - gain_u)), gain = log p - log p_ref per sequence SUM.

    Rafailov et al. 2023, arXiv 2305.18290, eq. 7, times 2/beta so that it compares with NPO: with the
    wanted answer's gain left out it is NPO.
    """
    return log_sigmoid_loss(gain_of_wanted_B - gain_of_unwanted_B, beta)


def wga_loss(nll_N: torch.Tensor, beta: float) -> torch.Tensor:
    """-mean p^beta nll with p = exp(-nll) held fixed, token MEAN (Wang et al. 2025, arXiv 2502.19301).

    Its gradient is that of mean p^beta / beta; beta 0 is gradient ascent.
    """
    return -((-beta * nll_N.detach()).exp() * nll_N).mean()


def weighted_ascent(nll_N: torch.Tensor, weight_N: torch.Tensor) -> torch.Tensor:
    """-sum w nll / sum w: gradient ascent on some tokens more than on others; equal weights are ascent."""
    return -(weight_N * nll_N).sum() / weight_N.sum().clamp(min=1e-12)


def satimp_loss(nll_N: torch.Tensor, beta1: float, beta2: float) -> torch.Tensor:
    """-mean p^beta1 (1 - p)^beta2 nll with p held fixed, token MEAN (Yang et al. 2025, arXiv 2505.11953)."""
    p_N = (-nll_N.detach()).exp()
    return -(p_N**beta1 * (1 - p_N).clamp(min=0) ** beta2 * nll_N).mean()


def counter_entropy(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """CE-U (N,): cross-entropy against the model's own prediction with the label left out, held fixed.

    Yang 2025, arXiv 2503.01224. The gradient at the label's logit is p, at another's -p_j p / (1 - p).
    """
    logits_NV = logits_NV.float()
    others_NV = logits_NV.detach().scatter(1, labels_N[:, None], -torch.inf)
    return soft_cross_entropy(others_NV.log_softmax(-1), logits_NV)


def without_label(log_probs_NV: torch.Tensor, labels_N: torch.Tensor, beta: float) -> torch.Tensor:
    """Log-probabilities after the label's logit is lowered by `beta`: its odds fall by e^-beta."""
    lowered_N1 = torch.full_like(labels_N[:, None], -beta, dtype=log_probs_NV.dtype)
    return log_probs_NV.scatter_add(1, labels_N[:, None], lowered_N1).log_softmax(-1)


def without_first_unlikely(log_probs_NV: torch.Tensor, labels_N: torch.Tensor, beta: float) -> torch.Tensor:
    """The same at the first place alone whose label has less than even odds, which goes into `log_probs_NV` itself."""
    unlikely = (log_probs_NV.gather(1, labels_N[:, None])[:, 0] < math.log(0.5)).nonzero()[:1, 0]
    log_probs_NV[unlikely] = without_label(log_probs_NV[unlikely], labels_N[unlikely], beta)
    return log_probs_NV


def soft_cross_entropy(target_log_probs_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """-sum_v q_v log p_v (N,) in nats, for a target distribution q given as log-probabilities."""
    return -(target_log_probs_NV.exp() * logits_NV.float().log_softmax(-1)).sum(-1)


def flatness_loss(logits_NV: torch.Tensor) -> torch.Tensor:
    """mean (max logit - mean logit)^2, token MEAN: 0 exactly where all tokens are equally likely.

    Entesari et al. 2025, arXiv 2506.05314.
    """
    logits_NV = logits_NV.float()
    return (logits_NV.amax(-1) - logits_NV.mean(-1)).square().mean()


def summed_gradients(weights: Mapping[str, torch.Tensor], losses: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradient, by name, of the sum of losses of which each is made when the one before is gone; `.grad` is not
    touched. 0 for a weight that plays no part."""
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for loss in losses:
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for total, gradient in zip(sums.values(), found, strict=True):
            if gradient is not None:
                total += gradient
    return sums
