"""What an audit is: an attack, a figure, controls, and a plain verdict.

An audit is a frozen dataclass of its settings. It declares itself once (`info`); the page's list, the
command line's `--audits` and the leakage card come from that declaration.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.evaluation.audit_result import AuditResult, AuditRow, Verdict
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.progress import Progress
from unlearn_core.models.inference.inference_wrapper import beneath as without_front

Work = Generator[float, None, "Finding"]  # yields what was spent, in tokens of one forward pass


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """`idea` says in two sentences what is done; `source` is the paper; `needs` what must be there:
    switch (something that can be taken off), documents, original, retain_only, unknown (never-trained rows or
    documents beside retained ones), controls (rows to compare with), others (forgotten rows of at least two
    documents)."""

    name: str
    title: str
    idea: str
    source: str
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit saw. `figures` are 0..1 where not named otherwise: `forget` is what the attack gets
    out of the forgotten rows, `holdout` and `retain_only` what the same attack gets out of the controls,
    `before` what the model gives without the attack."""

    leaks: bool
    headline: str
    figures: dict[str, float]
    rows: tuple[AuditRow, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Base of every audit. Afterwards the audited models are, bit for bit, what they were before."""

    info: ClassVar[AuditInfo]
    # Whoever attacks weights has them without the guardrail that stands before them.
    on_weights: ClassVar[bool] = False

    def cost(self, case: AuditCase) -> float:
        """About how much work it is, in tokens of one forward pass."""
        raise NotImplementedError

    def work(self, case: AuditCase) -> Work:
        """Do it: yield what was spent since the last yield, return what was found."""
        raise NotImplementedError

    def estimate(self, case: AuditCase) -> float:
        """About how many seconds it takes here; 0 where it does not apply."""
        return 0.0 if self.missing(case) else self.cost(case) * case.seconds_per_token

    def missing(self, case: AuditCase) -> str | None:
        """None, or why there is nothing to audit in this way."""
        return next((why for need, why in _MISSING.items() if need in self.info.needs and not case.has(need)), None)

    def run(self, case: AuditCase) -> Generator[Progress, None, AuditResult]:
        """Yield Progress, return the result. Closing it restores the models too."""
        name, began = self.info.name, time.perf_counter()
        reason = self.missing(case)
        if reason is not None:
            return AuditResult(name, "not applicable", reason)
        total, spent = max(1.0, self.cost(case)), 0.0
        work = self._beneath(case) if self.on_weights else self.work(case)
        try:
            while True:
                yield Progress(name, round(1000 * min(1.0, spent / total)), 1000)
                spent += next(work)
        except StopIteration as done:
            finding: Finding = done.value
        finally:
            work.close()
        verdict: Verdict = "leaks" if finding.leaks else "holds"
        figures = {key: round(float(value), 6) for key, value in finding.figures.items()}
        seconds = time.perf_counter() - began
        return AuditResult(name, verdict, finding.headline, figures, finding.rows, seconds)

    def _beneath(self, case: AuditCase) -> Work:
        with without_front(case.model):
            return (yield from self.work(case))


_MISSING = {
    "switch": "Nothing stands before the weights and no adapter is kept apart from them: there is nothing to take off.",
    "documents": "The data has no documents for membership inference.",
    "retain_only": "There is no retain-only model to compare with (a run names one with --retain-model).",
    "original": "The original model is not at hand.",
    "unknown": "It learns from never-trained questions (a holdout) and retained ones, or from nonmember documents and "
    "retained texts beside members, two of each at least.",
    "controls": "There is one forgotten answer only, and nothing to compare it with.",
    "others": "The forget set holds rows of one document only, so there are no other rows to recover.",
}
