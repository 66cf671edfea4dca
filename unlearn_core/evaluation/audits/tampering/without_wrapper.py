"""What lies beneath: an adapter or a guardrail that can be taken off protects nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase, beneath
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.measure import controls_in_words, examples, share, told


@dataclass(frozen=True)
class WithoutWrapper(Audit):
    """The greedy answers of the weights with whatever stands before them off."""

    info: ClassVar[AuditInfo] = AuditInfo(
        name="beneath",
        title="Guardrail or adapter off",
        idea="Whatever can be taken off is taken off: an adapter kept apart from the weights, a prompt "
        "prefix, a filter. Whoever holds the weights then asks what they really know.",
        source="Thaker et al., guardrail baselines (arXiv 2403.03329)",
        needs=frozenset({"switch", "controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        return (case.num_models + 1) * case.asking(len(case.forget))

    def work(self, case: AuditCase) -> Work:
        before = yield from told(case, case.model, case.forget)
        with beneath(case.model) as bare:
            said = yield from told(case, bare, case.forget)
            controls = {"holdout": (yield from told(case, bare, case.holdout)).scores}
        if case.retain_only is not None:
            controls["retain_only"] = (yield from told(case, case.retain_only, case.forget)).scores
        comparison = Comparison(said.scores, controls)
        plain = float(before.scores.mean())
        headline = (
            f"With it off, {share(comparison.figures['forget'])} of the forgotten answers are given "
            f"({share(plain)} with it on); {controls_in_words(case, comparison)}."
        )
        rows = examples(case.forget, said.texts, said.scores)
        return Finding(comparison.leaks, headline, {**comparison.figures, "before": plain}, rows)
