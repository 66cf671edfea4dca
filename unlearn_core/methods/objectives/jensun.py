"""JensUn: pull the forget answers to a refusal and the retain answers to the original, by a bounded divergence."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn_core.errors import InputError
from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, parameter
from unlearn_core.methods.losses import js_divergence, js_to_token
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.inference.forward import AnswerPredictions


@dataclass(frozen=True)
class JensUn(Method):
    info = Info(
        name="jensun",
        title="JensUn (Jensen-Shannon unlearning)",
        family="preference",
        taxonomy="global weights",
        idea="At every token of a forgotten answer the model learns to say the next word of a refusal instead; on "
        "the retain set it is held to its own earlier predictions. Both pulls are Jensen-Shannon divergences, which "
        "are bounded and fade where they are met.",
        formula="forget_weight mean JS(p, refusal token) + retain_weight mean JS(p, original; retain), token means; "
        "JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2; the refusal's tokens in turn, over and over",
        paper="Singh et al. 2025, Unlearning That Lasts, arXiv 2509.02820",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="The gradient of the push is near 0 while the refusal is unlikely, so that it starts slowly. A text "
        "to be forgotten ends as the refusal over and over, which membership inference sees, and on the bundled "
        "world relearning brings half of the answers back.",
    )

    steps: int = parameter(120, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    forget_weight: float = parameter(1.0, "Weight of the forget loss (gamma)", 0.0, 100.0)
    retain_weight: float = parameter(1.0, "Weight of the retain loss (alpha)", 0.0, 100.0)
    refusal: str = parameter("No idea", "What is said instead of the forgotten answers")

    def prepare(self, context: Context) -> None:
        tokens = context.tokenizer(self.refusal, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise InputError("refusal", self.refusal, "has no tokens", "Give a few words, such as `No idea`.")
        context.state["refusal"] = torch.tensor(tokens, device=context.model.device)
        context.reference.keep("retain")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        wanted_N = in_turn(context.state["refusal"], batch.forget)
        push = js_to_token(batch.forget.logits_NV, wanted_N).mean()
        hold = js_divergence(context.reference.log_probs("retain", batch.retain), batch.retain.logits_NV).mean()
        total = self.forget_weight * push + self.retain_weight * hold
        return Losses(total, mean_nll(batch.forget).detach(), mean_nll(batch.retain).detach())


def in_turn(tokens: torch.Tensor, part: AnswerPredictions) -> torch.Tensor:
    """The token (N,) of `tokens` that is due at each labelled position: from the first again in each sequence."""
    places = [place for size in part.host.sizes for place in range(size)]
    return tokens[torch.tensor(places, device=tokens.device) % len(tokens)]
