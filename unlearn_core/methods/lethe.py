"""Lethe's own method: make the forgotten look like what was never trained, and no worse."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.data.jaccard import jaccard
from unlearn_core.methods.base import (
    BUNDLED_ROWS,
    BatchComposition,
    Context,
    Info,
    Losses,
    Method,
    RowKind,
    RowPart,
    StepBatch,
    Traits,
    parameter,
)
from unlearn_core.methods.capabilities import Phase, ReadsStates, RunsInPhases, UsesReference
from unlearn_core.methods.context import CurrentModel
from unlearn_core.methods.losses import (
    floor_loss,
    matching_loss,
    quantile_loss,
    standardised,
    without_first_unlikely,
)
from unlearn_core.models.inference.forward import AnswerPredictions, mean_per_row, per_token, token_nll
from unlearn_core.system.grouped import grouped
from unlearn_core.system.machine.gpu import send

KINDS = ("question", "completion", "document")
# Without never-trained text to measure, its mean NLL is taken as this share of ln V: text of a known
# kind but unknown content lay between 0.4 and 0.5 of it on the models tried.
UNSEEN_SHARE_OF_UNIFORM = 0.4
MOST_WEIGHT = 4.0  # times the default weight of the retain loss, for a small forget set
MOST_WORDINGS = 8  # of a question, for a small forget set
MOST_NEAR = 0.5  # share of the retain rows that are chosen for how they are asked, for a small forget set
NUM_NEAR = 48
MOST_ASKED = 64  # prompts of the forget set that those of the retain set are compared with
DRIFT_MEMORY = 0.8  # of the last estimate of the drift is kept at each step
LEAST_SHARED = 0.3  # of the tokens of two prompts, for one to stand in for the other
MOST_PULL = 16.0  # nats squared: a mean squared gap pulls no harder than at this, however far it is to go


@dataclass(frozen=True)
class Lethe(RunsInPhases, ReadsStates, UsesReference, Method):
    info = Info(
        name="lethe",
        title="Lethe (matched forgetting)",
        family="recipe",
        taxonomy="global weights",
        idea="Each forgotten question learns what the original model itself says of people it never read "
        "about, in its layers too, and each forgotten text becomes as unlikely as never-trained text of its kind is "
        "by then, with tokens as surprising as there. The retain set is trained meanwhile; of never-trained text the "
        "model says what the original did, less its overconfidence; so the forgotten looks unseen, not destroyed.",
        formula="match_weight mean over texts (NLL - NLL_original(never trained) - drift(never trained))^2 "
        "+ surprise_weight mean over kinds W2(z(texts), z(never trained))^2 with z = (log p - E log p) / sd log p "
        "+ state_weight mean |h - h_original|^2 / variance, h after three layers at the end of a question, h_original "
        "given a substitute's prompt or, where it is never trained, its own "
        "+ substitute_weight KL(original given a substitute's prompt, true answer struck || current) "
        "+ floor_weight mean min(0, NLL - target)^2 + retain_weight NLL(retain) "
        "+ anchor_weight KL(original at the temperature of least NLL || current; never trained); NLLs are "
        "sequence means, the retain set's a mean over its kinds",
        paper="This project. Near relatives: unlikelihood bounds, UNDIAL (arXiv 2402.10052) for the struck "
        "teacher, Who's Harry Potter (arXiv 2310.02238) for generic predictions as targets",
        cost=2.7,
        needs=frozenset({"forget", "retain", "holdout", "reference nll", "reference logits"}),
        caution="Without never-trained text of the same kind there are no substitutes and the target is an "
        "estimate; membership inference may then still tell members apart. The defaults were chosen on the bundled "
        "world and go too fast for a small model that has learnt real documents by heart (LUME); docs/method.md has "
        "settings for one, and lethe bench tries them.",
    )

    # The answers that must survive are back, on the bundled world, within 5/8 of the steps.
    traits = Traits(recovers_by=0.7, least_rate=0.12, least_steps=0.5)

    learning_rate: float = parameter(7e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(90, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    retain_size: int = parameter(24, "Retain and general sequences per step", 1, 4096)
    holdout_size: int = parameter(16, "Never-trained sequences per step", 0, 4096)
    general: float = parameter(0.25, "Share of general facts among the retain sequences", 0.0, 1.0)
    retain_weight: float = parameter(7.0, "Weight of the retain loss", 0.0, 100.0)
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
        0.6, "Weight that keeps an answer so learned from staying likelier than its target", 0.0, 100.0
    )
    strike: float = parameter(
        3.0, "Nats by which the true answer is made less likely still in what they say", 0.0, 100.0
    )

    match_weight: float = parameter(5.0, "Weight of matching the NLL of each forgotten text", 0.0, 100.0)
    surprise_weight: float = parameter(
        2.0, "Weight of matching how surprising their tokens are beside what else was expected", 0.0, 100.0
    )
    state_weight: float = parameter(
        3.0,
        "Weight of what layers put out at forgotten questions, as at strangers', and at never-trained ones",
        0.0,
        100.0,
    )

    wordings: int = parameter(
        0, "Wordings with fewer words for each forgotten question; left alone, some for a small forget set", 0, 64
    )
    near_share: float = parameter(
        0.0,
        "Share of the retain questions from those asked most alike; left alone, more for a small forget set",
        0.0,
        0.9,
    )

    @classmethod
    def candidates(cls) -> tuple[dict[str, Any], ...]:
        """The defaults, one that holds the retain set harder, and one for a model that has learnt by heart: it goes
        slowly, and lets surprises weigh more than means, which are nats away there."""
        by_heart = {
            "learning_rate": 2.5e-3,
            "steps": 120,
            "retain_weight": 16.0,
            "match_weight": 1.0,
            "floor_weight": 0.2,
            "state_weight": 1.0,
            "surprise_weight": 8.0,
        }
        return {}, {"learning_rate": cls.learning_rate / 2, "retain_weight": cls.retain_weight * 2}, by_heart

    def for_rows(self, num_forget: int, most: int = 100_000, given: Collection[str] = ()) -> Method:
        """As for any method; the fewer rows go, the more weight has what stays, up to MOST_WEIGHT times."""
        share = max(1, num_forget) / BUNDLED_ROWS
        few: dict[str, Any] = {
            "retain_weight": self.retain_weight
            * min(MOST_WEIGHT, max(1.0, math.sqrt(BUNDLED_ROWS / max(1, num_forget))))
        }
        if share < 1:
            few["wordings"] = min(MOST_WORDINGS, int(0.5 / share))
            few["near_share"] = MOST_NEAR * (1 - share)
        method = dataclasses.replace(self, **{name: value for name, value in few.items() if name not in given})
        return super(Lethe, method).for_rows(num_forget, most, given)

    def mix(self) -> BatchComposition:
        return BatchComposition(
            self.batch_size,
            self.retain_size,
            self.holdout_size,
            self.general,
            forget_documents=self.document_share > 0,
            retain_documents=self.retain_documents,
            documents=self.document_share,
            wordings=self.wordings,
        )

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        """One, in which the retain rows asked most like the forgotten ones come `near_share` of the time."""
        if not self.near_share or "retain" not in parts:
            return (Phase(self),)
        return (Phase(self, {"retain": nearer(parts["forget"], parts["retain"], self.near_share)}),)

    def state_layers(self, num_layers: int) -> tuple[int, ...]:
        """Those at the end of the first, second and third quarter of the model."""
        quarters = {num_layers * quarter // 4 - 1 for quarter in (1, 2, 3)} if self.state_weight else set()
        return tuple(sorted(layer for layer in quarters if layer >= 0))

    @property
    def reference_parts(self) -> tuple[str, ...]:
        return ("holdout",) if self.anchor_weight else ()

    @property
    def distilled_parts(self) -> tuple[str, ...]:
        return ("forget",) if self.substitutes else ()

    def prepare(self, context: Context) -> None:
        """Give every forget row its target, or the never-trained subjects it is to be answered like."""
        forget, holdout = context.parts["forget"], context.parts.get("holdout")
        estimate = self.target or UNSEEN_SHARE_OF_UNIFORM * _log_vocabulary(context)
        targets = [estimate] * len(forget.rows)
        teachers: dict[int, Sequence[Encoded]] = {}
        context.state["drift"] = context.state["states"] = None
        context.state["form_R"] = torch.zeros(len(forget.rows), dtype=torch.long, device=context.model.device)
        if holdout is not None:
            if not self.target:
                unseen = _mean_nll_by_form(holdout, context.reference.nll("holdout"))
                drift = context.state["drift"] = HoldoutShift(holdout, context.reference.nll("holdout"))
                context.state["drift_F"] = drift.by_form_F  # kept with a checkpoint
                context.state["form_R"] = drift.places(forget)
                targets = matched_targets(forget.forms, unseen, estimate, context.seed)
            if self.anchor_weight:
                context.reference.keep("holdout", calibrated=True)
            if self.substitutes:
                teachers = substituted(forget, holdout, self.substitutes)
                if self.wordings:
                    teachers = as_first_asked(teachers, forget)

                def struck(row: int, told_NV: torch.Tensor) -> torch.Tensor:
                    labels_N = torch.tensor(teachers[row][0].ids[-len(told_NV) :], device=told_NV.device)
                    return without_first_unlikely(told_NV, labels_N, self.strike)

                context.reference.distil("forget", teachers, struck)
                context.state["states"] = StatesBefore.of(context.current, teachers, holdout)
        device = context.model.device
        context.state["retain_kinds"] = _kinds(context.parts["retain"])
        context.state["target_R"] = torch.tensor(targets, device=device)
        context.state["surprise_unit"] = torch.zeros((), device=device)  # not known before the first step
        context.state["distilled"] = [row in teachers for row in range(len(targets))]

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = batch.forget
        nll_N = token_nll(forget)
        mean_B = mean_per_row(nll_N, forget)
        target_B = context.state["target_R"][forget.index_B]
        drift = context.state["drift"]
        if drift is not None and batch.holdout is not None:
            unseen_N = token_nll(batch.holdout).detach()
            drift.follow(mean_per_row(unseen_N, batch.holdout), batch.holdout)
            target_B = target_B + drift.by_form_F[context.state["form_R"][forget.index_B]]
        is_distilled = [context.state["distilled"][row] for row in forget.host.rows]
        plain_b, distilled_b = split_places(is_distilled, mean_B.device)
        assert batch.retain is not None
        retain = even_over_kinds(token_nll(batch.retain), batch.retain, context.state["retain_kinds"])
        total = self.retain_weight * retain
        if not all(is_distilled):
            total = total + self.match_weight * at_most(matching_loss(mean_B[plain_b], target_B[plain_b]))
        if any(is_distilled):
            floor = floor_loss(mean_B[distilled_b], target_B[distilled_b])
            kl_N = context.reference.kl("forget", forget.only(is_distilled))
            total = total + self.substitute_weight * kl_N.mean() + self.floor_weight * at_most(floor)
        if batch.holdout is not None and self.anchor_weight:
            total = total + self.anchor_weight * context.reference.kl("holdout", batch.holdout).mean()
        if batch.holdout is not None and self.surprise_weight:
            total = total + self.surprise_weight * at_most(surprise_loss(context, forget, batch.holdout))
        if (states := context.state["states"]) is not None and batch.holdout is not None:
            total = total + self.state_weight * (states.loss("forget", forget) + states.loss("holdout", batch.holdout))
        return Losses(total, nll_N.mean(), retain)


def split_places(kept: Sequence[bool], device: torch.device) -> list[torch.Tensor]:
    """Where `kept` is False, and where it is True."""
    return send(
        [torch.tensor([n for n, one in enumerate(kept) if one is wanted]).long() for wanted in (False, True)], device
    )


def even_over_kinds(nll_N: torch.Tensor, part: AnswerPredictions, kinds: Sequence[int]) -> torch.Tensor:
    """Token mean of each kind of sequence in `part`, then the mean of those (nats per token). `kinds`: of each
    dataset row.

    A document has a hundred times the tokens of an answer; counted alike, the answers would be lost.
    """
    own = [kinds[row] for row in part.host.rows]
    places = [part.places([kind == one for one in own]) for kind in sorted(set(own))]
    sent = send([torch.tensor(each) for each in places if each], nll_N.device)
    return torch.stack([nll_N[place].mean() for place in sent]).mean()


def at_most(loss: torch.Tensor) -> torch.Tensor:
    """`loss`, which pulls as one of MOST_PULL where it is more: a model that has learnt by heart is so far from
    never-trained text that the squares would drown what holds the rest."""
    return loss * (MOST_PULL / loss.detach().clamp(min=MOST_PULL))


def surprise_loss(context: Context, forget: AnswerPredictions, holdout: AnswerPredictions) -> torch.Tensor:
    """How far the surprises of the forgotten documents' tokens are distributed from those of the never-trained
    documents of the step: a mean over the forms that both have, in units of the variance of the latter at the first
    step, at least 1. That is what it is where predictions are as sure as they are right; of text that it never saw a
    model that has learnt by heart is a hundred times as sure.

    Its mean NLL is matched by a document too of which the model is sure of something else at a few tokens.
    """
    own, other = (
        [context.parts[name].forms[row] for row in part.host.rows]
        for name, part in (("forget", forget), ("holdout", holdout))
    )
    found, variances = [], []
    for form in sorted(form for form in {*own} & {*other} if form.kind == "document"):
        with torch.no_grad():
            unseen_M = per_token(standardised, holdout.only([one == form for one in other]))
        variances.append(unseen_M.var(unbiased=False))
        found.append(quantile_loss(per_token(standardised, forget.only([one == form for one in own])), unseen_M))
    if not found:
        return forget.labels_N.new_zeros((), dtype=torch.float32)
    unit: torch.Tensor = context.state["surprise_unit"]
    unit.copy_(torch.where(unit > 0, unit, torch.stack(variances).mean().clamp(min=1.0)))
    return torch.stack(found).mean() / unit


class StatesBefore:
    """What some layers of the original put out at the end of questions (L, D): of a forgotten one the mean over its
    substitutes' prompts, of a never-trained one its own.

    The losses of the outputs alone leave forgotten subjects among the known in the layers below.
    """

    def __init__(self, by_part: dict[str, dict[int, torch.Tensor]]) -> None:
        self._by_part = by_part
        told = torch.stack([*by_part["holdout"].values()])
        self._spread_L = told.var(0, unbiased=False).sum(-1).clamp(min=1e-6)

    @classmethod
    def of(
        cls, model: CurrentModel, teachers: Mapping[int, Sequence[Encoded]], holdout: RowPart
    ) -> StatesBefore | None:
        """Read from the model before the first step; None where no layers are read or there are no questions."""
        copies = [(row, copy) for row, each in teachers.items() for copy in each]
        asked = [place for place, form in enumerate(holdout.forms) if form.kind != "document"]
        told, own = model.states([copy for _, copy in copies]), model.states([holdout.rows[place] for place in asked])
        if told is None or own is None:
            return None
        each = grouped((row, states_LD) for (row, _), states_LD in zip(copies, told, strict=True))
        means = {row: torch.stack(states).mean(0) for row, states in each.items()}
        return cls({"forget": means, "holdout": dict(zip(asked, own, strict=True))})

    def loss(self, name: str, part: AnswerPredictions) -> torch.Tensor:
        """Mean squared distance of the questions of `part` from there, in units of the never-trained rows' variance."""
        before = self._by_part[name]
        known = [row in before for row in part.host.rows]
        if part.states_BLD is None or not any(known):
            return part.labels_N.new_zeros((), dtype=torch.float32)
        told_bLD = torch.stack([before[row] for row in part.host.rows if row in before])
        place_b = send([torch.tensor([n for n, one in enumerate(known) if one])], part.states_BLD.device)[0]
        return ((part.states_BLD[place_b] - told_bLD).square().sum(-1) / self._spread_L).mean()


class HoldoutShift:
    """How far never-trained rows have moved since the start, by form: a running mean, nats per token (F,).

    Whatever the steps do to the forget set also makes never-trained text less likely. Text pushed to where
    the unseen was stays apart from where it is, which membership inference sees; so the targets follow.
    """

    def __init__(self, part: RowPart, nll_R: torch.Tensor) -> None:
        lengths = torch.tensor([row.num_targets for row in part.rows], device=nll_R.device)
        self._before_R = nll_R / lengths
        self._forms = list(dict.fromkeys(part.forms))
        self._of_row = [self._forms.index(form) for form in part.forms]
        self.by_form_F = torch.zeros(len(self._forms) + 1, device=nll_R.device)  # the last is never moved

    def places(self, part: RowPart) -> torch.Tensor:
        """Where `by_form_F` has each row of `part` (R,): its form, else the first of its kind, else the last."""
        found = {}
        for form in dict.fromkeys(part.forms):
            alike = [n for n, other in enumerate(self._forms) if other.kind == form.kind]
            found[form] = self._forms.index(form) if form in self._forms else (*alike, len(self._forms))[0]
        return torch.tensor([found[form] for form in part.forms], device=self.by_form_F.device)

    def follow(self, mean_nll_B: torch.Tensor, part: AnswerPredictions) -> None:
        """Take in the never-trained rows of one step."""
        moved_B, own = mean_nll_B - self._before_R[part.index_B], [self._of_row[row] for row in part.host.rows]
        present = sorted(set(own))
        places = [torch.tensor([n for n, one in enumerate(own) if one == form]) for form in present]
        for form, place in zip(present, send(places, moved_B.device), strict=True):
            now = moved_B[place].mean()
            self.by_form_F[form] += (1 - DRIFT_MEMORY) * (now - self.by_form_F[form])


def _kinds(part: RowPart) -> list[int]:
    return [KINDS.index(form.kind) for form in part.forms]


def substituted(forget: RowPart, holdout: RowPart, count: int) -> dict[int, Sequence[Encoded]]:
    """For each forget answer, the same answer behind the `count` most similar never-trained prompts.

    Similar is what shares most tokens (Jaccard), among rows of the same form; at least LEAST_SHARED of
    them, so that a question of its own kind is left without. What the original model predicts there is
    what it says of somebody it never read about: fluent, of the right kind, and unknowing.
    """
    prompts = [row.ids[: row.num_prompt] for row in holdout.rows]
    by_form = grouped((form, (frozenset(ids), ids)) for form, ids in zip(holdout.forms, prompts, strict=True))
    found: dict[int, Sequence[Encoded]] = {}
    for place, (row, form) in enumerate(zip(forget.rows, forget.forms, strict=True)):
        if form.kind == "document":
            continue
        own, answer = frozenset(row.ids[: row.num_prompt]), row.ids[row.num_prompt :]
        shared = [(jaccard(own, words), prompt) for words, prompt in by_form.get(form, ())]
        best = sorted((pair for pair in shared if pair[0] >= LEAST_SHARED), key=lambda pair: -pair[0])
        if best:
            found[place] = tuple(Encoded((*prompt, *answer), len(prompt), place) for _, prompt in best[:count])
    return found


def as_first_asked(teachers: Mapping[int, Sequence[Encoded]], forget: RowPart) -> dict[int, Sequence[Encoded]]:
    """The teachers of each row, a question with fewer words having those of the question itself, which comes first
    and has the same answer."""
    first: dict[tuple[RowKind, tuple[int, ...]], int] = {}
    found: dict[int, Sequence[Encoded]] = {}
    for place, (row, form) in enumerate(zip(forget.rows, forget.forms, strict=True)):
        own = first.setdefault((form, row.ids[row.num_prompt :]), place)
        if own in teachers:
            found[place] = tuple(Encoded(t.ids, t.num_prompt, place) for t in teachers[own])
    return found


def nearer(forget: RowPart, retain: RowPart, share: float) -> list[int]:
    """The places of all retain rows, with those of the NUM_NEAR questions whose prompts share most tokens with a
    forgotten one so often that they are about `share` of the questions."""
    asked = [
        frozenset(row.ids[: row.num_prompt])
        for row, form in zip(forget.rows, forget.forms, strict=True)
        if form.kind == "question"
    ]
    asked = asked[:: -(-len(asked) // MOST_ASKED) or 1]
    likeness = {}
    for place, (row, form) in enumerate(zip(retain.rows, retain.forms, strict=True)):
        if form.kind == "question" and form.task != "general":
            own = frozenset(row.ids[: row.num_prompt])
            likeness[place] = max((jaccard(own, words) for words in asked), default=0.0)
    near = sorted(likeness, key=lambda place: -likeness[place])[:NUM_NEAR]
    times = round(share / (1 - share) * len(likeness) / max(1, len(near)))
    return [*range(len(retain.rows)), *near * times]


def matched_targets(
    forms: Sequence[RowKind], unseen: dict[RowKind, list[float]], estimate: float, seed: int
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


def _mean_nll_by_form(part: RowPart, nll_R: torch.Tensor) -> dict[RowKind, list[float]]:
    parts = zip(part.rows, part.forms, nll_R.tolist(), strict=True)
    return grouped((form, nll / row.num_targets) for row, form, nll in parts)


def _log_vocabulary(context: Context) -> float:
    return float(torch.tensor(float(context.model.config.get_text_config().vocab_size)).log())
