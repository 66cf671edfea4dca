"""Membership inference: can the forgotten texts be told from never-trained ones?"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unlearn_core.data.encode import encode_document, pad_id_of
from unlearn_core.data.prompt_format import answer_text
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import TASKS, Example
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import MEMBERSHIP_ADVANTAGE, MEMBERSHIP_SIGMAS, interval
from unlearn_core.evaluation.metrics.membership import auc, chance_spread
from unlearn_core.evaluation.metrics.memorisation import document_attacks
from unlearn_core.models.inference.likelihood import TokenTrace, traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MIN_DOCUMENTS = 5  # of a side, below which an AUC says nothing


@dataclass(frozen=True)
class Membership(Audit):
    """Loss, zlib, min-k and min-k++ on documents, over all and per task; the most telling one counts.

    With a retain-only model there is the reference attack too (loss minus reference loss). It is shown
    and does not count, because an attacker has no such model.
    """

    max_documents: int = 200

    info: ClassVar[AuditInfo] = AuditInfo(
        name="membership",
        title="Membership inference",
        idea="The likelihood of forgotten documents is compared with that of never-trained ones of the "
        "same kind. Documents that stand out, as too likely or too unlikely, give away that they were there.",
        source="Yeom et al. (arXiv 1709.01604); Carlini et al. (2012.07805); Min-K%++ (2404.02936)",
        needs=frozenset({"documents"}),
    )

    def cost(self, case: AuditCase) -> float:
        texts = [text for pair in self._groups(case).values() for side in pair for text in side]
        length = sum(len(text) for text in texts[:20]) / max(1, len(texts[:20])) / 4
        return (1 + (case.retain_only is not None)) * 1.5 * len(texts) * length

    def work(self, case: AuditCase) -> Work:
        groups = self._groups(case)
        found = yield from _attack_groups(case, case.model, groups)
        reference = None
        if case.retain_only is not None:
            reference = yield from _attack_groups(case, case.retain_only, groups)
        rows: list[AuditRow] = []
        for name, sides in groups.items():
            allowed = _allowed(*map(len, sides))
            aucs = found[name].aucs
            row: AuditRow = {"documents": name, "members": len(sides[0]), **aucs}
            if reference is not None:
                row["retain_only"] = reference[name].aucs["loss"]
                row["reference"] = found[name].against(reference[name])
            row["allowed"] = round(allowed, 4)
            own = {} if reference is None else reference[name].aucs
            row["leaks"] = any(_leaks(area, allowed, own.get(attack)) for attack, area in aucs.items())
            rows.append(row)
        return _finding(rows, found, reference)

    def _groups(self, case: AuditCase) -> dict[str, tuple[list[str], list[str]]]:
        """Documents of both sides: all of them, and per task where the data has never-trained rows."""
        data, most = case.data, self.max_documents
        groups = {"all": (even_sample(data.members, most), even_sample(data.nonmembers, most))}
        for task in TASKS:
            sides = (_documents(data.forget, task), _documents(data.holdout, task))
            if min(map(len, sides)) >= _MIN_DOCUMENTS:
                groups[task] = (even_sample(sides[0], most), even_sample(sides[1], most))
        return groups


@dataclass(frozen=True)
class _Attacked:
    """AUC by attack, and the losses of both sides."""

    aucs: dict[str, float]
    losses: tuple[list[float], list[float]]

    def against(self, reference: _Attacked) -> float | None:
        """AUC of loss minus reference loss (Watson et al., arXiv 2111.08440)."""
        return auc(
            *([a - b for a, b in zip(*pair, strict=True)] for pair in zip(self.losses, reference.losses, strict=True))
        )


def _attack_groups(
    case: AuditCase, model: PreTrainedModel, groups: dict[str, tuple[list[str], list[str]]]
) -> Generator[float, None, dict[str, _Attacked]]:
    found = {}
    for name, sides in groups.items():
        traced: list[list[TokenTrace]] = []
        for texts in sides:
            encoded = [encode_document(case.tokenizer, text, i) for i, text in enumerate(texts)]
            side: list[TokenTrace] = []
            for batch in traces(model, encoded, pad_id_of(case.tokenizer), moments=True):
                side += batch
                yield 1.5 * sum(len(trace.log_prob_T) for trace in batch)
            traced.append(sorted(side, key=lambda trace: trace.index))
        areas = document_attacks(traced[0], traced[1], sides[0], sides[1])
        aucs = {key: round(area, 4) for key, area in areas.items() if area is not None}
        found[name] = _Attacked(aucs, ([t.nll for t in traced[0]], [t.nll for t in traced[1]]))
    return found


def _documents(rows: Sequence[Example], task: str) -> list[str]:
    """The whole texts of the completions of a task."""
    return [
        row.input + answer_text(row.input, row.output) for row in rows if row.task == task and row.kind == "completion"
    ]


def _allowed(num_members: int, num_nonmembers: int) -> float:
    """How far from 1/2 an AUC may lie by chance, or without use to an attacker."""
    return max(MEMBERSHIP_ADVANTAGE / 2, MEMBERSHIP_SIGMAS * chance_spread(num_members, num_nonmembers))


def _leaks(area: float, allowed: float, retain_only: float | None) -> bool:
    """Whether the documents stand out, and do so more than they do to the retain-only model: some sets are not
    quite alike to begin with."""
    beyond = abs(area - 0.5) - (abs(retain_only - 0.5) if retain_only is not None else 0.0)
    return abs(area - 0.5) > allowed and beyond > MEMBERSHIP_ADVANTAGE / 2


def _finding(rows: list[AuditRow], found: dict[str, _Attacked], reference: dict[str, _Attacked] | None) -> Finding:
    leaking = [row for row in rows if row["leaks"]]
    shown = max(leaking or rows[:1], key=lambda row: max(abs(a - 0.5) for a in found[row["documents"]].aucs.values()))
    aucs = found[shown["documents"]].aucs
    attack = max(aucs, key=lambda name: abs(aucs[name] - 0.5))
    area = aucs[attack]
    where = "all documents" if shown["documents"] == "all" else f"the documents of {shown['documents']}"
    control = "" if reference is None else f", retain-only model {reference[shown['documents']].aucs[attack]:.2f}"
    which = {True: "still too likely", False: "conspicuously unlikely"}[area > 0.5] if leaking else "not told apart"
    headline = (
        f"AUC {area:.2f} by {attack.replace('_', '-')} on {where}: forgotten texts are {which} "
        f"(0.50 +/- {shown['allowed']:.2f} is chance{control})."
    )
    figures = {"forget": 2 * abs(area - 0.5), "holdout": 2 * shown["allowed"], "auc": area}
    if reference is not None:
        figures["retain_only"] = 2 * abs(reference[shown["documents"]].aucs[attack] - 0.5)
    spread = 2 * chance_spread(*map(len, found[shown["documents"]].losses))
    figures |= interval(figures["forget"] - figures.get("retain_only", 0.0), spread)
    return Finding(bool(leaking), headline, figures, tuple(rows))
