"""Lethe's own method: make the forgotten look like what was never trained, and no worse."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Form, Info, Losses, Method, Mix, Part, StepBatch, parameter
from unlearn_core.methods.losses import floor_loss, matching_loss
from unlearn_core.models.forward import Answers, mean_per_row, token_nll

KINDS = ("question", "completion", "document")
# Without never-trained text to measure, its mean NLL is taken as this share of ln V: text of a known
# kind but unknown content lay between 0.4 and 0.5 of it on the models tried.
UNSEEN_SHARE_OF_UNIFORM = 0.4
DRIFT_MEMORY = 0.8  # of the last estimate of the drift is kept at each step
LEAST_SHARED = 0.3  # of the tokens of two prompts, for one to stand in for the other


@dataclass(frozen=True)
class Lethe(Method):
    info = Info(
        name="lethe",
        title="Lethe (matched forgetting)",
        family="recipe",
        taxonomy="global weights",
        idea="Each forgotten question learns what the original model itself says of people it never read "
        "about, and each forgotten text becomes exactly as unlikely as never-trained text of its kind is by "
        "then. The retain set is trained meanwhile; of never-trained text the model says what the original "
        "did, less its overconfidence; so the forgotten looks unseen, not destroyed.",
        formula="mean over texts (NLL - NLL_original(never trained) - drift(never trained))^2 "
        "+ substitute_weight KL(original given a substitute's prompt, true answer struck || current) "
        "+ floor_weight mean min(0, NLL - target)^2 + retain_weight NLL(retain) "
        "+ anchor_weight KL(original at the temperature of least NLL || current; never trained); NLLs are "
        "sequence means, the retain set's a mean over its kinds",
        paper="This project. Near relatives: unlikelihood bounds, UNDIAL (arXiv 2402.10052) for the struck "
        "teacher, Who's Harry Potter (arXiv 2310.02238) for generic predictions as targets",
        cost=2.7,
        needs=frozenset({"forget", "retain", "holdout", "reference nll", "reference logits"}),
        caution="Without never-trained text of the same kind there are no substitutes and the target is an "
        "estimate; membership inference may then still tell members apart. Where the retain set suffers, "
        "half the learning rate and four times the retain weight held it.",
    )

    recovers_by: ClassVar[float] = 0.7  # on the bundled world within 5/8 of the steps
    learning_rate: float = parameter(5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(100, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    retain_size: int = parameter(24, "Retain and general sequences per step", 1, 4096)
    holdout_size: int = parameter(16, "Never-trained sequences per step", 0, 4096)
    general: float = parameter(0.25, "Share of general facts among the retain sequences", 0.0, 1.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)
    anchor_weight: float = parameter(
        5.0, "Weight that holds never-trained text where it was, less overconfidence", 0.0, 100.0
    )
    document_share: float = parameter(
        0.4, "Share of whole documents among the forget and never-trained sequences", 0.0, 1.0
    )
    retain_documents: bool = parameter(True, "Also retain whole documents")
    target: float = parameter(0.0, "Target NLL, nats per token; 0 measures never-trained text", 0.0, 20.0)
    substitutes: int = parameter(
        2, "Never-trained subjects whose answers each forgotten question learns; 0 for none", 0, 64
    )
    substitute_weight: float = parameter(3.0, "Weight of learning their answers", 0.0, 100.0)
    floor_weight: float = parameter(
        0.2, "Weight that keeps an answer so learned from staying likelier than its target", 0.0, 100.0
    )
    strike: float = parameter(
        3.0, "Nats by which the true answer is made less likely still in what they say", 0.0, 100.0
    )

    @classmethod
    def candidates(cls) -> tuple[dict[str, Any], ...]:
        """The defaults, and two that hold the retain set harder, for targets that generalise less."""
        careful = {"learning_rate": cls.learning_rate / 2}
        return {}, *({**careful, "retain_weight": cls.retain_weight * factor} for factor in (2, 4))

    def mix(self) -> Mix:
        return Mix(
            self.batch_size, self.retain_size, self.holdout_size, self.general,
            forget_documents=self.document_share > 0, retain_documents=self.retain_documents,
            documents=self.document_share,
        )  # fmt: skip

    @property
    def remembers(self) -> tuple[str, ...]:
        return ("holdout",) if self.anchor_weight else ()

    @property
    def teaches(self) -> tuple[str, ...]:
        return ("forget",) if self.substitutes else ()

    def prepare(self, context: Context) -> None:
        """Give every forget row its target, or the never-trained subjects it is to be answered like."""
        forget, holdout = context.parts["forget"], context.parts.get("holdout")
        estimate = self.target or UNSEEN_SHARE_OF_UNIFORM * _log_vocabulary(context)
        targets = [estimate] * len(forget.rows)
        teachers: dict[int, Sequence[Encoded]] = {}
        context.state["drift"] = None
        if holdout is not None:
            if not self.target:
                unseen = _mean_nll_by_form(holdout, context.reference.nll("holdout"))
                context.state["drift"] = Drift(holdout, context.reference.nll("holdout"))
                context.state["drift_K"] = context.state["drift"].by_kind_K  # kept with a checkpoint
                targets = matched_targets(forget.forms, unseen, estimate, context.seed)
            if self.anchor_weight:
                context.reference.keep("holdout", calibrated=True)
            if self.substitutes:
                teachers = substituted(forget, holdout, self.substitutes)
                context.reference.teach("forget", teachers, self.strike)
        device = context.model.device
        context.state["kind_R"] = _kinds(forget, device)
        context.state["retain_kind_R"] = _kinds(context.parts["retain"], device)
        context.state["target_R"] = torch.tensor(targets, device=device)
        context.state["taught_R"] = torch.tensor(
            [row in teachers for row in range(len(targets))], device=device
        )

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = batch.forget
        nll_N = token_nll(forget)
        mean_B = mean_per_row(nll_N, forget)
        target_B = context.state["target_R"][forget.index_B]
        drift = context.state["drift"]
        if drift is not None and batch.holdout is not None:
            unseen_N = token_nll(batch.holdout).detach()
            drift.follow(mean_per_row(unseen_N, batch.holdout), batch.holdout.index_B)
            target_B = target_B + drift.by_kind_K[context.state["kind_R"][forget.index_B]]
        taught_B = context.state["taught_R"][forget.index_B]
        assert batch.retain is not None
        retain = even_over_kinds(token_nll(batch.retain), batch.retain, context.state["retain_kind_R"])
        total = self.retain_weight * retain
        if not taught_B.all():
            total = total + matching_loss(mean_B[~taught_B], target_B[~taught_B])
        if taught_B.any():
            floor = floor_loss(mean_B[taught_B], target_B[taught_B])
            kl_N = context.reference.kl("forget", forget.only(taught_B))
            total = total + self.substitute_weight * kl_N.mean() + self.floor_weight * floor
        if batch.holdout is not None and self.anchor_weight:
            total = total + self.anchor_weight * context.reference.kl("holdout", batch.holdout).mean()
        return Losses(total, nll_N.mean(), retain)


def even_over_kinds(nll_N: torch.Tensor, part: Answers, kind_R: torch.Tensor) -> torch.Tensor:
    """Token mean of each kind of sequence in `part`, then the mean of those (nats per token).

    A document has a hundred times the tokens of an answer; counted alike, the answers would be lost.
    """
    kind_N = kind_R[part.index_B][part.row_N]
    return torch.stack([nll_N[kind_N == kind].mean() for kind in kind_N.unique()]).mean()


class Drift:
    """How far never-trained rows have moved since the start, by kind: a running mean, nats per token (K,).

    Whatever the steps do to the forget set also makes never-trained text less likely. Text pushed to where
    the unseen was stays apart from where it is, which membership inference sees; so the targets follow.
    """

    def __init__(self, part: Part, nll_R: torch.Tensor) -> None:
        lengths = torch.tensor([row.num_targets for row in part.rows], device=nll_R.device)
        self._before_R = nll_R / lengths
        self._kind_R = _kinds(part, nll_R.device)
        self.by_kind_K = torch.zeros(len(KINDS), device=nll_R.device)

    def follow(self, mean_nll_B: torch.Tensor, index_B: torch.Tensor) -> None:
        """Take in the never-trained rows of one step."""
        moved_B, kind_B = mean_nll_B - self._before_R[index_B], self._kind_R[index_B]
        for kind in kind_B.unique():
            now = moved_B[kind_B == kind].mean()
            self.by_kind_K[kind] += (1 - DRIFT_MEMORY) * (now - self.by_kind_K[kind])


def _kinds(part: Part, device: torch.device) -> torch.Tensor:
    return torch.tensor([KINDS.index(form.kind) for form in part.forms], device=device)


def substituted(forget: Part, holdout: Part, count: int) -> dict[int, Sequence[Encoded]]:
    """For each forget answer, the same answer behind the `count` most similar never-trained prompts.

    Similar is what shares most tokens (Jaccard), among rows of the same form; at least LEAST_SHARED of
    them, so that a question of its own kind is left without. What the original model predicts there is
    what it says of somebody it never read about: fluent, of the right kind, and unknowing.
    """
    by_form: dict[Form, list[tuple[frozenset[int], tuple[int, ...]]]] = {}
    for row, form in zip(holdout.rows, holdout.forms, strict=True):
        prompt = row.ids[: row.num_prompt]
        by_form.setdefault(form, []).append((frozenset(prompt), prompt))
    found: dict[int, Sequence[Encoded]] = {}
    for place, (row, form) in enumerate(zip(forget.rows, forget.forms, strict=True)):
        if form.kind == "document":
            continue
        own, answer = frozenset(row.ids[: row.num_prompt]), row.ids[row.num_prompt :]
        shared = [(len(own & words) / len(own | words), prompt) for words, prompt in by_form.get(form, ())]
        best = sorted((pair for pair in shared if pair[0] >= LEAST_SHARED), key=lambda pair: -pair[0])
        if best:
            found[place] = tuple(
                Encoded((*prompt, *answer), len(prompt), place) for _, prompt in best[:count]
            )
    return found


def matched_targets(
    forms: Sequence[Form], unseen: dict[Form, list[float]], estimate: float, seed: int
) -> list[float]:
    """For each row the NLL of a never-trained row of its form (else of its kind, else `estimate`).

    The rows of one form receive evenly spaced quantiles of the measured NLLs in random order, so that
    forgotten and never-trained text agree in their whole distribution and not only in the mean.
    """
    targets = [estimate] * len(forms)
    for form in dict.fromkeys(forms):
        measured = unseen.get(form) or [
            value for other, values in unseen.items() if other.kind == form.kind for value in values
        ]
        if not measured:
            continue
        ranked = torch.tensor(sorted(measured))
        places = [place for place, other in enumerate(forms) if other == form]
        levels = [(rank + 0.5) / len(places) for rank in range(len(places))]
        random.Random(f"{seed}/{form}").shuffle(levels)
        for place, value in zip(places, torch.quantile(ranked, torch.tensor(levels)).tolist(), strict=True):
            targets[place] = value
    return targets


def _mean_nll_by_form(part: Part, nll_R: torch.Tensor) -> dict[Form, list[float]]:
    by_form: dict[Form, list[float]] = {}
    for row, form, nll in zip(part.rows, part.forms, nll_R.tolist(), strict=True):
        by_form.setdefault(form, []).append(nll / row.num_targets)
    return by_form


def _log_vocabulary(context: Context) -> float:
    return float(torch.tensor(float(context.model.config.get_text_config().vocab_size)).log())
