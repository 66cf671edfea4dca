"""Fewer bits: does rounding the weights undo the unlearning?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told
from unlearn_core.evaluation.audits.tampering.quantise import SCHEMES, quantised


@dataclass(frozen=True)
class Quantisation(Audit):
    """The greedy answers of the rounded weights; the controls are rounded alike."""

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="quantisation",
        title="Rounded to 8, 4 and 3 bits",
        idea="The weights are rounded to 8, 4 and 3 bits, as people do to run a model on a small machine. "
        "Unlearning that moved each weight only a little can be rounded away.",
        source="Zhang et al. (arXiv 2410.16454); NF4 from QLoRA (arXiv 2305.14314)",
        needs=frozenset({"controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        return (1 + len(SCHEMES) * case.num_models) * case.asking(len(case.forget))

    def work(self, case: AuditCase) -> Work:
        model = case.weights
        before = yield from told(case, model, case.forget)
        found: dict[str, Comparison] = {}
        said: dict[str, Replies] = {}
        for scheme in SCHEMES:
            with quantised(model, scheme) as small:
                said[scheme] = yield from told(case, small, case.forget)
                holdout = yield from told(case, small, case.holdout)
            controls = {"holdout": holdout.scores}
            if case.retain_only is not None:
                with quantised(case.retain_only, scheme) as small:
                    controls["retain_only"] = (yield from told(case, small, case.forget)).scores
            found[scheme] = Comparison(said[scheme].scores, controls, len(SCHEMES))
        worst = max(found, key=lambda scheme: (found[scheme].leaks, found[scheme].figures["forget"]))
        rows: tuple[AuditRow, ...] = tuple(
            {"scheme": scheme, **comparison.figures, "leaks": comparison.leaks} for scheme, comparison in found.items()
        )
        rows += examples(case.forget, said[worst], 2)
        sentence = f"Rounded to {worst}, {{found}} of the forgotten answers are given ({{before}} unrounded)"
        return finding(case, found[worst], before, sentence, rows, any(c.leaks for c in found.values()))
