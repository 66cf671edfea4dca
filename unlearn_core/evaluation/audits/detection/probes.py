"""Linear probes: do the hidden states still tell a forgotten subject from one never met?

A probe learns to tell retained prompts (known) from never-trained ones (unknown), and is then shown the
forgotten prompts. It never sees a forgotten row while it learns. Where the data has no never-trained prompts
(LUME's layout), it is the texts of retained rows, nonmember and member documents in the same parts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn_core.data.encode import Encoded, encode_document, pad_id_of, prompt_ids
from unlearn_core.data.subset import even_sample
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import PROBE_SIGMAS, area_leaks, interval
from unlearn_core.evaluation.audits.layers import hidden_states
from unlearn_core.evaluation.metrics.membership import auc, perfect_forgetting
from unlearn_core.models.inference.positions import max_positions
from unlearn_core.training.data import MAX_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Probes(Audit):
    """Logistic regression on the hidden state of the last token of a prompt or text, one per layer; the layer
    that tells retained from unknown best is used. Rows of one document are averaged: they are one subject."""

    max_rows: int = 160

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="probes",
        title="Linear probe of hidden states",
        idea="A linear classifier learns from the hidden states which subjects the model knows (retained) "
        "and which it never met. Forgotten subjects that it takes for known ones are still in there.",
        source="Alain and Bengio (arXiv 1610.01644); Lynch et al. (arXiv 2402.16835)",
        needs=frozenset({"unknown"}),
    )

    def cost(self, case: AuditCase) -> float:
        prompt, answer = case.row_tokens
        length = prompt if case.has("unknown prompts") else prompt + answer
        return (1 + (case.retain_only is not None)) * 3 * self.max_rows * length

    def work(self, case: AuditCase) -> Work:
        sets = {name: even_sample(items, self.max_rows) for name, items in _items(case).items()}
        layers = yield from _probed(case, case.model, sets)
        best = max(layers, key=lambda layer: layer.known)
        figures = {"forget": best.forget, "known": best.known}
        allowed = PROBE_SIGMAS * best.spread
        control = ""
        gold: list[_Layer] = []
        if case.retain_only is not None:
            gold = yield from _probed(case, case.retain_only, sets)
            figures["retain_only"] = max(gold, key=lambda layer: layer.known).forget
            control = f", retain-only model {figures['retain_only']:.2f}"
        figures["holdout"] = 0.5 + allowed
        error = best.spread * (1 if case.retain_only is None else 2**0.5)
        figures |= interval(best.forget - figures.get("retain_only", 0.5), error)
        rows: tuple[AuditRow, ...] = tuple(
            {
                "layer": number,
                "forget": round(layer.forget, 4),
                "known": round(layer.known, 4),
                **({"retain_only": round(gold[number - 1].forget, 4)} if gold else {}),
            }
            for number, layer in enumerate(layers, 1)
        )
        leaks = area_leaks(best.forget, allowed, figures.get("retain_only"))
        headline = (
            f"A probe takes forgotten subjects for known ones with AUC {best.forget:.2f} (0.50 +/- "
            f"{allowed:.2f} is chance{control}); on retained subjects it reaches {best.known:.2f}."
        )
        return Finding(leaks, headline, figures, rows)


@dataclass(frozen=True)
class _Layer:
    """AUC of one layer's probe: retained against unknown subjects it had not seen, and forgotten ones."""

    known: float
    forget: float
    spread: float  # standard deviation of the AUC by chance


_Item = tuple[str, tuple[int, ...]]  # a subject, and the ids that the model reads of it


def _items(case: AuditCase) -> dict[str, list[_Item]]:
    """What stands for the known (retain), the unknown (holdout) and the forgotten: prompts where there are
    never-trained ones, whole documents else."""
    data, tokenizer = case.data, case.tokenizer
    longest = min(MAX_TOKENS, max_positions(case.model) or MAX_TOKENS)
    if case.has("unknown prompts"):
        return {
            name: [
                (row.document_id, tuple(prompt_ids(tokenizer, row.prompt) or [0]))
                for row in case.questions(getattr(data, name))
            ]
            for name in ("retain", "holdout", "forget")
        }
    texts: dict[str, Iterable[tuple[str, str]]] = {
        "retain": case.retained_texts,
        "holdout": ((str(number), text) for number, text in enumerate(data.nonmembers)),
        "forget": ((str(number), text) for number, text in enumerate(data.members)),
    }
    return {
        name: [(subject, encode_document(tokenizer, text, max_tokens=longest).ids or (0,)) for subject, text in side]
        for name, side in texts.items()
    }


def _probed(
    case: AuditCase, model: PreTrainedModel, sets: dict[str, list[_Item]]
) -> Generator[float, None, list[_Layer]]:
    features = {}
    for name, items in sets.items():
        features[name] = yield from _features(case, model, items)
    subjects = {name: [subject for subject, _ in items] for name, items in sets.items()}
    return [
        _probe({name: found[layer] for name, found in features.items()}, subjects)
        for layer in range(len(features["retain"]))
    ]


def _features(case: AuditCase, model: PreTrainedModel, items: Sequence[_Item]) -> Generator[float, None, np.ndarray]:
    """Hidden states (layers, items, width) at the last token."""
    encoded = [Encoded(ids, len(ids)) for _, ids in items]
    found: list[np.ndarray] = []
    for part, states in hidden_states(model, encoded, pad_id_of(case.tokenizer)):
        last = [len(row.ids) - 1 for row in part]
        found.append(np.stack([s[range(len(part)), last].float().cpu().numpy() for s in states]))
        yield sum(len(row.ids) for row in part)
    return np.concatenate(found, axis=1)


def _probe(states: dict[str, np.ndarray], subjects: dict[str, list[str]]) -> _Layer:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    taught = {name: _every_other(subjects[name]) for name in ("retain", "holdout")}
    x = np.concatenate([states[name][taught[name]] for name in taught])
    y = np.concatenate([np.full(taught[name].sum(), name == "retain") for name in taught])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=200))
    probe.fit(x, y)

    def doubt(name: str) -> list[float]:
        """How unknown each subject seems that the probe was not taught."""
        keep = ~taught[name] if name in taught else np.ones(len(subjects[name]), dtype=bool)
        score = -probe.decision_function(states[name][keep])
        names = np.array(subjects[name])[keep]
        return [float(score[names == subject].mean()) for subject in dict.fromkeys(names)]

    strange, retained, forgotten = doubt("holdout"), doubt("retain"), doubt("forget")
    bands = perfect_forgetting(len(forgotten), len(strange))
    assert bands is not None
    return _Layer(auc(retained, strange) or 0.5, auc(forgotten, strange) or 0.5, (bands[0].high - 0.5) / 1.96)


def _every_other(subjects: Sequence[str]) -> np.ndarray:
    """A mask of the rows whose subject comes at an even place."""
    order = {subject: place for place, subject in enumerate(dict.fromkeys(subjects))}
    return np.array([order[subject] % 2 == 0 for subject in subjects])
