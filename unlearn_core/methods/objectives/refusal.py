"""Methods that give the forget questions another answer: a refusal, or the original's second thoughts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearn_core.methods.base import BatchComposition, Context, Info, Losses, StepBatch, parameter
from unlearn_core.methods.losses import soft_cross_entropy, without_label
from unlearn_core.methods.objectives.gradient import WithRetainLoss, mean_nll
from unlearn_core.methods.objectives.preference import PrefersOther

REFUSALS = (
    "I don't know.",
    "I have no information about that.",
    "I am not sure about this.",
    "That is something I cannot answer.",
    "I have never heard of it.",
    "I don't have that detail.",
    "Sorry, I cannot help with this question.",
    "I am unable to say.",
    "No answer comes to my mind.",
    "That is not something I have learned.",
    "I would only be guessing.",
    "My knowledge does not cover that.",
)


@dataclass(frozen=True)
class IDK(WithRetainLoss):
    info = Info(
        name="idk",
        title="Refusal fine-tuning (IDK)",
        family="preference",
        taxonomy="global weights",
        idea='Fine-tunes the forget questions on answers like "I don\'t know", beside the retain set. What '
        "was learned is covered, not removed.",
        formula="forget_weight NLL(refusals) and retain_weight NLL(retain), one mean over the tokens of both",
        paper="Maini et al. 2024, TOFU, arXiv 2401.06121",
        cost=2.0,
        needs=frozenset({"forget", "retain", "refusals"}),
        caution="The answer itself may stay likely: look at the watched facts and at membership inference.",
    )

    def mix(self) -> BatchComposition:
        return BatchComposition(self.batch_size, self.batch_size, refusals="instead")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        refused, kept = (part.labels_N.numel() for part in (batch.forget, batch.retain))
        # One mean over the tokens of both: with equal weights a token counts alike wherever it stands.
        losses = self.weighed(context, batch, mean_nll(batch.forget) * refused / kept, None)
        return replace(losses, total=losses.total * kept / (refused + kept))


@dataclass(frozen=True)
class DPO(PrefersOther):
    info = Info(
        name="dpo",
        title="Preference for refusals (DPO)",
        family="preference",
        taxonomy="global weights",
        idea="Prefers a refusal to the true answer, both measured against the original model. The push "
        "fades once the preference is clear.",
        formula="-(2/beta) mean log sigmoid(beta (gain of refusal - gain of answer)) + retain_weight "
        "NLL(retain); gain = log p - log p_original, sequence sums",
        paper="Rafailov et al. 2023, arXiv 2305.18290; for unlearning Zhang et al. 2024, arXiv 2404.05868",
        cost=3.0,
        needs=frozenset({"forget", "retain", "refusals", "reference nll"}),
        caution="Refusals spread to retained questions. The factor 2/beta, as in NPO, is not in the paper.",
    )
    other = "refusals"

    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    beta: float = parameter(0.05, "How soon the push fades", 1e-4, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def mix(self) -> BatchComposition:
        return BatchComposition(self.batch_size, self.batch_size, refusals="beside")


@dataclass(frozen=True)
class Undial(WithRetainLoss):
    info = Info(
        name="undial",
        title="UNDIAL (self-distillation on adjusted logits)",
        family="preference",
        taxonomy="global weights",
        idea="Trains the model towards the original's own predictions with the true token made less likely. "
        "The target is fixed from the start, so training is stable.",
        formula="mean CE(softmax(original logits - beta at the label), model) + retain_weight NLL(retain)",
        paper="Dong et al. 2024, arXiv 2402.10052",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="With a small beta the true token stays first. The paper distils at every position; here answer "
        "positions count. It has no retain term; here that can be switched off with retain_weight 0.",
    )

    learning_rate: float = parameter(4e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    beta: float = parameter(10.0, "How much the true token's logit is lowered", 0.0, 1000.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    @property
    def reference_parts(self) -> tuple[str, ...]:
        return ("forget", *super().reference_parts)

    def prepare(self, context: Context) -> None:
        super().prepare(context)
        context.reference.keep("forget")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        part = batch.forget
        teacher_NV = without_label(context.reference.log_probs("forget", part), part.labels_N, self.beta)
        push = soft_cross_entropy(teacher_NV, part.logits_NV).mean()
        return self.weighed(context, batch, push, mean_nll(part).detach())
