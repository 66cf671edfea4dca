"""What lies beneath: an adapter or a guardrail that can be taken off protects nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import AuditCase, beneath
from unlearn_core.evaluation.audits.measure import compare, examples, finding, told


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
            said, comparison = yield from compare(case, bare, partial(told, case))
        sentence = "With it off, {found} of the forgotten answers are given ({before} with it on)"
        return finding(case, comparison, before, sentence, examples(case.forget, said))
