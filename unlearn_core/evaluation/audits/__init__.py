"""Audits: attacks on an unlearned model that show what is hidden and what is gone.

One small file per audit, or per kind of them; the registry is in the order of what they tell for their time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.evaluation.audit_result import AuditResult
from unlearn_core.evaluation.audits.base import Audit
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.detection.detectability import Detectability
from unlearn_core.evaluation.audits.detection.distance import Distance
from unlearn_core.evaluation.audits.detection.membership import Membership
from unlearn_core.evaluation.audits.detection.probes import Probes
from unlearn_core.evaluation.audits.prompting.asked_otherwise import Aliases, MultiHop, Prefilled, Rephrasing, Revival
from unlearn_core.evaluation.audits.prompting.sampling import Sampling
from unlearn_core.evaluation.audits.prompting.suffix import Suffix
from unlearn_core.evaluation.audits.tampering.latent import Latent
from unlearn_core.evaluation.audits.tampering.quantisation import Quantisation
from unlearn_core.evaluation.audits.tampering.relearning import Relearning
from unlearn_core.evaluation.audits.tampering.steering import Steering
from unlearn_core.evaluation.audits.tampering.without_wrapper import WithoutWrapper

REGISTRY: dict[str, type[Audit]] = {
    audit.info.name: audit
    for audit in (
        WithoutWrapper,
        Membership,
        Distance,
        Detectability,
        Rephrasing,
        Aliases,
        MultiHop,
        Revival,
        Prefilled,
        Relearning,
        Quantisation,
        Sampling,
        Probes,
        Latent,
        Steering,
        Suffix,
    )
}


def choose(names: Sequence[str] | None = None) -> tuple[Audit, ...]:
    """The audits called `names`, in the registry's order; all of them for None. InputError if unknown."""
    wanted = list(REGISTRY) if names is None else [name.strip() for name in names]
    for name in wanted:
        if name not in REGISTRY:
            raise InputError("audits", name, "is not an audit", f"Use some of {', '.join(REGISTRY)}.")
    if not wanted:
        raise InputError("audits", "", "names no audit", f"Use some of {', '.join(REGISTRY)}.")
    return tuple(audit() for name, audit in REGISTRY.items() if name in wanted)


def describe() -> list[dict[str, Any]]:
    """Every audit's declaration, JSON-ready: what the page and `lethe audit --list` show."""
    return [asdict(audit.info) | {"needs": sorted(audit.info.needs)} for audit in REGISTRY.values()]


__all__ = ["REGISTRY", "Audit", "AuditCase", "AuditResult", "choose", "describe"]
