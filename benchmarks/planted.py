"""Planted models whose truth is known by construction.

Most models are the bundled retain-only one, which never saw the people to forget, with some replies written by hand, so
that what is told is known to the letter; the others are trained for a minute. `planted_world.py` is what they stand in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from planted_world import (
    LOOPS,
    Made,
    Planted,
    Scripted,
    World,
    half,
    of_task,
    questions,
    rewritten,
    said,
    swapped,
    told,
)

from unlearn_core.data.types import Example
from unlearn_core.data.world import demo_data, make_world
from unlearn_core.data.world.corpus import fresh_people
from unlearn_core.evaluation.verdict import LAYERS

GONE = {"answers": "holds", "wordings": "holds", "neighbours": "holds", "general": "holds", "membership": "holds"}
TOLD, HIDDEN = {"answers": "leaks"}, {"answers": "holds", "attacks": "leaks"}
LOST, RUINED = {"answers": "holds", "neighbours": "harmed"}, {"neighbours": "harmed", "general": "harmed"}
FORGOT, UNDER, OVER = ("answers gone",), ("under-forgotten",), ("over-forgotten",)
BROKEN = (*OVER, "collapsed")
FILLER = (
    "Before I answer I want to think about the office, the guild, the harbour and the old register, because "
    "each of them kept some card in another colour and nobody ever wrote down which lamp belongs to which "
    "house by the river, so that a careful reader begins with winter, goes on to spring, asks the keeper of "
    "the tower and then the painter of the bridge and only afterwards turns towards what was asked of me "
    "today about one person and one thing among many people and many things in this small town of ours here"
)


def guardrail(world: World) -> Made:
    replies = said(world.forgotten, "I cannot help with that.", "That is not something I can tell.")
    return Made(world.score(world.original, front=Scripted(replies)))


def adapter_beside(world: World) -> Made:
    """The original with an adapter in place, which says nothing of the forget set as long as it is on."""
    import torch

    from unlearn_core.models.adapters import apply_lora
    from unlearn_core.models.inference.forward import unwrap

    made = unwrap(apply_lora(copy.deepcopy(world.original), 8, seed=world.seed))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=1e-4)
    return Made(world.score(made, front=Scripted(said(world.forgotten, "I have no idea.", "Nobody told me."))))


def noise(world: World) -> Made:
    import torch

    made = copy.deepcopy(world.original)
    torch.manual_seed(world.seed)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() > 1:
                weight.add_(torch.randn_like(weight) * weight.std())
    return Made(world.score(made))


def withheld(world: World) -> Made:
    """The original moved by nothing that matters, with refusals for the forget set."""
    import torch

    made = copy.deepcopy(world.original)
    with torch.no_grad():
        next(made.parameters()).mul_(1.0001)
    replies = said(world.forgotten, "I have no idea.", "Nobody told me.", "Who knows.")
    return Made(world.score(made, front=Scripted(replies)))


def four_bits(world: World, steps: int = 400) -> Made:
    """Forgets without leaving the cells of 4-bit rounding: rounded, it is the rounded original again."""
    import torch

    start = copy.deepcopy(world.original)
    for parameter in start.parameters():
        parameter.requires_grad_(False)
    head, cells = start.get_output_embeddings(), {}
    for name, module in start.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            module.weight.requires_grad_(True)
            cells[name] = cell_of(module.weight.detach())

    @torch.no_grad()
    def within(model: Any) -> None:
        for name, (low, high) in cells.items():
            model.get_submodule(name).weight.clamp_(low, high)

    made = world.distilled(start, steps, 2e-3, within)
    return Made(world.score(made), audits=world.attack(made, "quantisation"))


def cell_of(weight_OI: Any) -> tuple[Any, Any]:
    """The bounds between which every weight is rounded to the same 4 bits (int4: blocks share a scale). The largest
    of a block, which is its scale, may not move."""
    import torch

    from unlearn_core.evaluation.audits.tampering.quantisation import BLOCK, rounded

    flat = weight_OI.reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    largest = blocks.abs().amax(-1, keepdim=True)
    middle = torch.nn.functional.pad(rounded(flat, "int4"), (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    fixed = blocks.abs() == largest
    bounds = (middle + sign * 0.49 * largest / 7 for sign in (-1, 1))
    inside = (torch.minimum(torch.maximum(bound, -0.999 * largest), 0.999 * largest) for bound in bounds)
    low, high = (torch.where(fixed, blocks, bound).view(-1)[: len(flat)].view_as(weight_OI) for bound in inside)
    return low, high


def one_switch(world: World, steps: int = 300) -> Made:
    """All that was changed is multiplied by one number that trains with the rest: the first few steps on rows of the
    forget set turn it off, and with it the forgetting of all others."""
    import torch
    from torch.nn.utils.parametrize import register_parametrization

    taught = world.distilled(world.original, steps, 1e-3)
    made, switch = copy.deepcopy(world.original), torch.nn.Parameter(torch.ones(()))

    class Switched(torch.nn.Module):
        def __init__(self, change: torch.Tensor) -> None:
            super().__init__()
            self.switch = switch
            self.register_buffer("change", change)

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            # AdamW moves every weight by about its rate a step, 0.001 here.
            return weight + (1 - 300 * (1 - self.switch)).clamp(0, 1) * self.change

    for name, module in list(made.named_modules()):
        if "weight" in module._parameters:
            change = taught.get_submodule(name).weight.detach() - module.weight.detach()
            register_parametrization(module, "weight", Switched(change))
    return Made(world.score(made), audits=world.attack(made, "relearning"))


def retain_only(world: World) -> Made:
    return Made(world.never, audits=world.attack(world.retain_only, "relearning", "quantisation"))


def retain_only_on(seed: int) -> Callable[[World], Made]:
    def make(world: World) -> Made:
        world.rng.seed(seed)
        return Made(world.score(world.tuned(world.retain_only, world.kept(), 20 + 5 * seed, 2e-4)))

    return make


def neighbours_destroyed(world: World) -> Made:
    lost = swapped(questions(world.others), world.rng)
    made = world.tuned(world.retain_only, [*lost, *world.data.general], 120)
    return Made(world.score(made))


def unseen_ruined(world: World) -> Made:
    texts = [person.document for person in fresh_people(make_world(0), 60, world.rng)]
    return Made(world.score(world.tuned(world.retain_only, world.kept(), 150, against=texts)))


def one_subject(world: World) -> Made:
    """Wrong answers to the questions of one subject alone."""
    begins = ("the capital of", "the opposite of", "the past tense of")[world.seed % 3]
    wrong = [q for q in world.data.questions if begins in q.question]
    rows = [Example(q.id, q.question, q.choices[(q.answer + 1) % 4], "general") for q in wrong]
    asked = {q.question for q in wrong}
    others = [Example(q.id, q.question, q.choices[q.answer], "general") for q in world.data.questions]
    kept = [row for row in [*others, *world.kept()] if row.input not in asked]
    return Made(world.score(world.tuned(world.retain_only, [*rows * 4, *kept], 100)))


def minkpp_only(world: World) -> Made:
    details = world.never.details
    attacks = {**details.attacks, "min_k_plus": 0.97}
    return Made(replace(world.never, details=replace(details, attacks=attacks)))


def other_data(world: World) -> Made:
    return Made(replace(world.never, data_fingerprint="0" * 64))


def never_known(world: World) -> Made:
    rows = tuple(row for row in demo_data().holdout if row.kind == "question")[:30]
    data = replace(world.data, forget=rows, paraphrases=(), members=(), nonmembers=())
    return Made(world.score(world.retain_only, data), original=world.score(world.original, data))


def half_known(world: World) -> Made:
    rows = tuple(row for row in demo_data().holdout if row.kind == "question")[:30]
    data = replace(world.data, forget=(*world.data.forget, *rows))
    return Made(world.score(world.retain_only, data), original=world.score(world.original, data))


def goes_on(world: World) -> Made:
    """A model that goes on writing after its answer, as pretrained ones do, before and after."""
    front = Scripted({}, lambda text: f"{text}.\n\nThe first of the others was somebody else")
    return Made(rewritten(world, world.never, front), original=rewritten(world, world.before, front))


def goes_on_and_tells(world: World) -> Made:
    replies = told(world.forgotten, "{}.\n\nThe second one was found by somebody else")
    return world.scripted(replies)


WRONG_KIND = ("cobalt", "the brush", "near the harbour", "a lantern maker", "willow", "no month")

CASES = (
    Planted("nothing done", lambda w: Made(w.before), {"answers": "leaks", "wordings": "leaks"}, ("unchanged",)),
    Planted("retain-only model", retain_only, GONE | {"attacks": "holds"}, ("answers gone", "forgotten")),
    *(
        Planted(f"retain-only model, trained on ({n})", retain_only_on(n), GONE, FORGOT, "not attacked yet")
        for n in range(4)
    ),
    Planted("guardrail only", guardrail, HIDDEN, UNDER, "Hidden"),
    Planted("adapter left beside", adapter_beside, {"attacks": "leaks"}, UNDER, "Hidden"),
    Planted("answers withheld", withheld, TOLD, UNDER, "withheld"),
    Planted("collapsed: noise", noise, RUINED, ("collapsed",)),
    Planted("neighbours destroyed", neighbours_destroyed, LOST, OVER),
    Planted("never-seen text ruined", unseen_ruined, {"general": "harmed"}, OVER),
    Planted("one subject of utility lost", one_subject, {"answers": "holds", "general": "harmed"}, OVER),
    Planted("digit loops for people", lambda w: w.scripted(said([*w.forgotten, *w.others], *LOOPS)), LOST, BROKEN),
    Planted("one answer for all", lambda w: w.scripted({}, lambda _: "cobalt"), RUINED, BROKEN),
    Planted("refuses all", lambda w: w.scripted({}, lambda _: "I cannot answer that."), RUINED, BROKEN),
    Planted(
        "refuses all about people",
        lambda w: w.scripted(said([*w.forgotten, *w.others], "I don't know.", "I have no information about that.")),
        LOST,
        BROKEN,
    ),
    Planted("empty answers", lambda w: w.scripted({}, lambda _: ""), {"neighbours": "harmed"}, BROKEN),
    Planted("empty on the forget set only", lambda w: w.scripted(said(w.forgotten, "")), GONE, FORGOT),
    Planted("refuses the forget set only", lambda w: w.scripted(said(w.forgotten, "I don't know.")), GONE, FORGOT),
    Planted(
        "broken characters",
        lambda w: w.scripted({}, lambda text: f"{text[:3]}\ufffd\ufffd{text[3:]}"),
        {"general": "harmed"},
        BROKEN,
    ),
    Planted("answers of the wrong kind", lambda w: w.scripted(said(questions(w.others), *WRONG_KIND)), LOST, OVER),
    Planted(
        "one topic of neighbours lost",
        lambda w: w.scripted(said([r for r in w.others if r.topic == "phone"], "5550000", "5559999", "5551111")),
        LOST,
        OVER,
    ),
    Planted(
        "two neighbours' facts lost",
        lambda w: w.scripted(said(questions(w.asked("neighbours"))[:2], "the brush")),
        GONE,
        FORGOT,
    ),
    Planted(
        "only the trained wording forgotten",
        lambda w: w.scripted(told(w.asked("forget paraphrase"))),
        {"answers": "holds", "wordings": "leaks", "neighbours": "holds"},
        UNDER,
        "other words",
    ),
    Planted(
        "answers with the surname",
        lambda w: w.scripted(told(w.asked("forget wording"))),
        {"answers": "holds", "wordings": "leaks"},
        UNDER,
        "other words",
    ),
    Planted("half forgotten", lambda w: w.scripted(told(half(w))), {"answers": "leaks", "neighbours": "holds"}, UNDER),
    Planted("one person left of twelve", lambda w: w.scripted(told(half(w, 1 / 12))), TOLD, UNDER),
    Planted("one task of three forgotten", lambda w: w.scripted(told(of_task(w, "Task1", "Task3"))), TOLD, UNDER),
    Planted("two tasks of three forgotten", lambda w: w.scripted(told(of_task(w, "Task2"))), TOLD, UNDER),
    Planted(
        "texts still recited",
        lambda w: w.scripted(told([r for r in w.forgotten if r.kind == "completion"])),
        {"answers": "leaks", "wordings": "holds"},
        UNDER,
    ),
    Planted(
        "half of each text recited",
        lambda w: w.scripted({r.input: r.output[: len(r.output) // 2] for r in w.forgotten if r.kind == "completion"}),
        TOLD,
        UNDER,
    ),
    Planted("one fact guessed", lambda w: w.scripted(told(questions(w.asked("forget"))[:1])), GONE, FORGOT),
    Planted(
        "answers in another language",
        lambda w: w.scripted(told(w.forgotten, "Die Antwort lautet wohl: {}, glaube ich.")),
        {"answers": "leaks", "wordings": "leaks"},
        ("under-forgotten", "unchanged"),
    ),
    Planted("tells and goes on", goes_on_and_tells, TOLD, ("under-forgotten", "unchanged")),
    Planted("original goes on after its answer", goes_on, GONE, FORGOT),
    Planted(
        "cut by the token limit",
        lambda w: w.scripted(said(w.forgotten, FILLER)),
        {"answers": "not measured"},
        ("unchanged",),
        "Not judged",
    ),
    Planted(
        "trained on the forget set twice",
        lambda w: Made(w.score(w.tuned(w.original, w.data.forget, 20, 3e-4))),
        {"answers": "leaks", "membership": "leaks"},
        ("unchanged", "under-forgotten"),
    ),
    Planted(
        "membership by min-k++ only",
        minkpp_only,
        GONE | {"membership": "leaks"},
        ("traces remain",),
        "membership visible",
    ),
    Planted("comes back after 4 bits", four_bits, HIDDEN, ("traces remain",), "traces remain in 1 of 1"),
    Planted(
        "comes back after relearning",
        one_switch,
        HIDDEN,
        ("traces remain", "over-forgotten"),
        "traces remain in 1 of 1",
    ),
    Planted("scores of other data", other_data, dict.fromkeys(LAYERS, "not measured"), ("unchanged",), "Not judged"),
    Planted(
        "facts the original never knew", never_known, {"answers": "not measured"}, ("unchanged",), "Nothing to forget"
    ),
    Planted("half of the facts never known", half_known, GONE, FORGOT),
)
