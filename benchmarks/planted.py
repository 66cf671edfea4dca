"""Planted models whose truth is known by construction.

A world is a dozen bundled people to forget, others to keep, and neighbours; a seed chooses them. Most models
are the bundled retain-only one, which never saw the people to forget, with some replies written by hand, so
that what is told is known to the letter; the others are trained for a minute.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unlearn_core.data.types import TASKS, Example, UnlearningData
from unlearn_core.data.world import demo_data, make_world
from unlearn_core.data.world.corpus import fresh_people
from unlearn_core.evaluation.audit_result import AuditJson
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import LAYERS, Verdict, verdict
from unlearn_core.models.inference.inference_wrapper import InferenceWrapper

PER_TASK = {"forget": 4, "retain": 5, "neighbours": 9}
FORGOTTEN = ("forget", "forget paraphrase", "forget wording")
BATCH = 40
GONE = {"answers": "holds", "wordings": "holds", "neighbours": "holds", "general": "holds", "membership": "holds"}
OVER = GONE | {"neighbours": "harmed"}


@dataclass(frozen=True)
class Planted:
    """One model: how it is made, the states it must get (others may be anything), and the words allowed."""

    name: str
    make: Callable[[World], Made]
    states: Mapping[str, str]
    words: tuple[str, ...]
    headline: str = ""  # what the headline must hold


@dataclass
class Made:
    """What is judged: scores of the planted model and of its original, and what attacks found."""

    scores: Scores
    original: Scores | None = None
    audits: list[AuditJson] = field(default_factory=list)

    def judged(self, world: World) -> Verdict:
        never = None if self.original else world.never
        return verdict(self.original or world.before, self.scores, never, self.audits)


class Scripted(InferenceWrapper):
    """Answers some prompts by hand, as weights would that were trained to."""

    kind = "scripted"

    def __init__(self, replies: Mapping[str, str], otherwise: Callable[[str], str] | None = None) -> None:
        self.replies, self.otherwise = replies, otherwise

    def refusal(self, prompt: str) -> str | None:
        return self.replies.get(prompt)

    def screen(self, text: str) -> str:
        return self.otherwise(text) if self.otherwise else text


class World:
    """The data of one seed, the two bundled models and their scores."""

    def __init__(self, seed: int, data: UnlearningData) -> None:
        from unlearn_core.models.targets import load_target

        self.seed, self.rng, self.data = seed, random.Random(seed), data
        target, gold = load_target("demo"), load_target("demo:retain_only")
        self.tokenizer, self.original, self.retain_only = target.tokenizer, target.model, gold.model
        self.before, self.never = self.score(self.original), self.score(self.retain_only)

    def score(self, model: Any, data: UnlearningData | None = None, front: InferenceWrapper | None = None) -> Scores:
        from unlearn_core.evaluation.evaluate import EvaluationSettings, evaluate
        from unlearn_core.evaluation.progress import result_of

        settings = EvaluationSettings(max_beyond_rows=40, bootstrap_samples=50)
        if front is not None:
            front.attach(model, 1.0)
        try:
            return result_of(evaluate(model, self.tokenizer, data or self.data, settings=settings))
        finally:
            if front is not None:
                front.detach(model)

    def scripted(self, replies: Mapping[str, str], otherwise: Callable[[str], str] | None = None) -> Made:
        """The retain-only model with some replies written by hand."""
        return Made(rewritten(self, self.never, Scripted(replies, otherwise)))

    def is_faithful(self) -> bool:
        """Whether `rewritten` gives what scoring the model behind such a front gives."""
        front = Scripted(said(self.forgotten, *LOOPS), str.upper)
        ours, theirs = rewritten(self, self.never, front), self.score(self.retain_only, front=front)
        same = all(getattr(ours.details, name) == getattr(theirs.details, name) for name in ("fluency", "paraphrases"))
        return same and (ours.terms, ours.generations) == (theirs.terms, theirs.generations)

    def asked(self, *splits: str) -> list[Example]:
        """The rows behind the prompts of some splits, as the scores name them."""
        return [
            Example(g.id, g.input, g.gold, g.task, kind=g.kind, subject=g.subject, topic=g.topic, document=g.document)  # type: ignore[arg-type]
            for g in self.before.generations
            if g.split in splits
        ]

    @property
    def forgotten(self) -> list[Example]:
        """Every prompt about the forget set, in every wording."""
        return self.asked(*FORGOTTEN)

    @property
    def others(self) -> list[Example]:
        return self.asked("retain", "neighbours")

    def attack(self, model: Any, *names: str) -> list[AuditJson]:
        from unlearn_core.evaluation.audits import AuditCase, choose
        from unlearn_core.runs.state import RunState
        from unlearn_core.store.audits import audit_case

        case = AuditCase(model, self.tokenizer, self.data, self.original, self.retain_only, max_rows=30, seed=self.seed)
        found = RunState.of(audit_case(case, choose(names))).audits
        return list(found.results.values()) if found else []

    def tuned(
        self,
        model: Any,
        learn: Sequence[Example],
        steps: int,
        rate: float = 1e-3,
        against: Sequence[str] = (),
    ) -> Any:
        """A copy of `model` trained on rows, away from some texts."""
        from unlearn_core.data.encode import collate, encode_document, encode_example, pad_id_of
        from unlearn_core.models.inference.forward import answers, token_nll

        rng, pad = random.Random(self.seed), pad_id_of(self.tokenizer)

        def loss(made: Any) -> Any:
            rows = [encode_example(self.tokenizer, row) for row in rng.sample(list(learn), min(BATCH, len(learn)))]
            learned = token_nll(answers(made, collate(rows, pad))).mean()
            if not against:
                return learned
            texts = [encode_document(self.tokenizer, text) for text in rng.sample(list(against), 8)]
            return learned - token_nll(answers(made, collate(texts, pad))).clamp(max=9.0).mean()

        return trained(model, loss, steps, rate)

    def distilled(self, model: Any, steps: int, rate: float, within: Callable[[Any], None] | None = None) -> Any:
        """A copy of `model` that comes to say what the retain-only model says: of the forgotten, asked for their
        answers and for others', of their texts, and of what is kept."""
        import torch

        from unlearn_core.data.encode import collate, encode_document, encode_example, pad_id_of
        from unlearn_core.models.inference.forward import answers

        pad, rng = pad_id_of(self.tokenizer), random.Random(self.seed)
        asked = [*self.forgotten, *unknowing(self), *swapped(questions(self.forgotten), self.rng)]
        gone = [encode_example(self.tokenizer, row) for row in asked]
        texts = [encode_document(self.tokenizer, text) for text in self.data.members]
        kept = [encode_example(self.tokenizer, row) for row in self.kept()]

        def loss(made: Any) -> Any:
            parts = ((gone, 24), (texts, 3), (kept, 16))
            batch = collate([row for part, n in parts for row in rng.sample(part, min(n, len(part)))], pad)
            with torch.no_grad():
                wanted_NV = answers(self.retain_only, batch).logits_NV.float().log_softmax(-1)
            said_NV = answers(made, batch).logits_NV.float().log_softmax(-1)
            return torch.nn.functional.kl_div(said_NV, wanted_NV, reduction="batchmean", log_target=True)

        return trained(model, loss, steps, rate, within)

    def kept(self) -> list[Example]:
        """What a careful training replays."""
        return [*self.data.retain, *self.data.neighbours, *self.data.general]


def trained(
    model: Any, loss: Callable[[Any], Any], steps: int, rate: float, within: Callable[[Any], None] | None = None
) -> Any:
    """A copy of `model` after AdamW's steps on `loss`, at half of which the rate begins to fall to 0; `within` puts
    the weights back in bounds."""
    import torch

    made = copy.deepcopy(model).train()
    parameters = [p for p in made.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 - 2 * step / steps))
    for _ in range(steps):
        loss(made).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        falling.step()
        if within is not None:
            within(made)
    return made.eval()


def rewritten(world: World, scores: Scores, front: Scripted) -> Scores:
    """The scores with the texts as a front changes them; it changes no likelihood, so the rest stays."""
    from unlearn_core.evaluation.metrics.registry import language, paraphrase_means

    rows = []
    for row in scores.generations:
        reply = front.refusal(row.input)
        text = front.screen(row.output) if reply is None else reply
        length = len(world.tokenizer(text, add_special_tokens=False)["input_ids"])
        score = semeval.text_score(row.kind, row.gold, text)
        rows.append(replace(row, output=text, score=score, cut=length >= world.data.max_new_tokens - 1))
    terms = semeval.terms((row.split, row.task, row.kind, row.score) for row in rows)
    details = replace(scores.details, fluency=language(world.data, rows), paraphrases=paraphrase_means(rows))
    return replace(
        scores,
        terms=terms,
        aggregated_terms=semeval.aggregated(terms),
        details=details,
        generations=tuple(rows),
    )


def small_world(seed: int) -> UnlearningData:
    """A dozen people to forget, fifteen to train on besides, and the questions about others as neighbours."""
    whole, rng = demo_data(), random.Random(f"planted/{seed}")
    chosen: dict[str, set[str]] = {split: set() for split in PER_TASK}
    for task in TASKS:
        for pool, splits in (("forget", ("forget",)), ("retain", ("retain", "neighbours"))):
            documents = list(dict.fromkeys(row.document for row in getattr(whole, pool) if row.task == task))
            rng.shuffle(documents)
            for split in splits:
                chosen[split] |= {documents.pop() for _ in range(PER_TASK[split])}
    forget = tuple(row for row in whole.forget if row.document in chosen["forget"])
    order = list(dict.fromkeys(row.document for row in whole.forget))
    return replace(
        whole,
        name=f"planted {seed}",
        forget=forget,
        retain=tuple(row for row in whole.retain if row.document in chosen["retain"]),
        neighbours=tuple(
            row for row in whole.retain if row.document in chosen["neighbours"] and row.kind == "question"
        ),
        members=tuple(whole.members[i] for i, name in enumerate(order) if name in chosen["forget"]),
        nonmembers=whole.nonmembers[::3],
        paraphrases=tuple(row for row in whole.paraphrases if row.id in {row.id for row in forget}),
        holdout=whole.holdout[::4],
    )


def told(rows: Sequence[Example], form: str = "{}") -> dict[str, str]:
    """Replies that tell the answers."""
    return {row.input: form.format(row.output) for row in rows}


def said(rows: Sequence[Example], *texts: str) -> dict[str, str]:
    """Replies that do not, in turn."""
    return {row.input: texts[i % len(texts)] for i, row in enumerate(rows)}


def swapped(rows: Sequence[Example], rng: random.Random) -> list[Example]:
    """The rows with each other's answers."""
    outputs = [row.output for row in rows]
    rng.shuffle(outputs)
    return [replace(row, output=output) for row, output in zip(rows, outputs, strict=True)]


def half(world: World, share: float = 0.5) -> list[Example]:
    """The prompts about some of the forgotten people, in every wording, for about a share of the documents."""
    documents = list(dict.fromkeys(row.document for row in world.data.forget))
    chosen = set(world.rng.sample(documents, max(1, round(share * len(documents)))))
    return [row for row in world.forgotten if row.document in chosen]


def of_task(world: World, *tasks: str) -> list[Example]:
    return [row for row in world.forgotten if row.task in tasks]


def questions(rows: Sequence[Example]) -> list[Example]:
    return [row for row in rows if row.kind == "question"]


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


def unknowing(world: World) -> list[Example]:
    """Every prompt about the forget set with what the retain-only model says to it; and every question three times
    with an answer that is right about somebody else, so that the right one is no likelier than others of its kind."""
    said = {row.key: row.output for row in world.never.generations}
    keys = [g.key for g in world.before.generations if g.split in FORGOTTEN]
    rows = [replace(row, output=said[key]) for row, key in zip(world.forgotten, keys, strict=True) if key in said]
    by_topic: dict[str, list[Example]] = {}
    for row in questions(world.forgotten):
        by_topic.setdefault(row.topic, []).append(row)
    return [*rows, *(row for _ in range(3) for own in by_topic.values() for row in swapped(own, world.rng))]


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

    from unlearn_core.evaluation.audits.tampering.quantise import BLOCK, rounded

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


LOOPS = ("6969696696680668", "1888888880 brush", "0000000000000000", "2323232323232323")
WRONG_KIND = ("cobalt", "the brush", "near the harbour", "a lantern maker", "willow", "no month")

CASES = (
    Planted("nothing done", lambda w: Made(w.before), {"answers": "leaks", "wordings": "leaks"}, ("unchanged",)),
    Planted("retain-only model", retain_only, GONE | {"attacks": "holds"}, ("answers gone", "forgotten")),
    *(
        Planted(f"retain-only model, trained on ({n})", retain_only_on(n), GONE, ("answers gone",), "not attacked yet")
        for n in range(4)
    ),
    Planted("guardrail only", guardrail, {"answers": "holds", "attacks": "leaks"}, ("under-forgotten",), "Hidden"),
    Planted("adapter left beside", adapter_beside, {"attacks": "leaks"}, ("under-forgotten",), "Hidden"),
    Planted("answers withheld", withheld, {"answers": "leaks"}, ("under-forgotten",), "withheld"),
    Planted("collapsed: noise", noise, {"neighbours": "harmed", "general": "harmed"}, ("collapsed",)),
    Planted(
        "neighbours destroyed", neighbours_destroyed, {"answers": "holds", "neighbours": "harmed"}, ("over-forgotten",)
    ),
    Planted("never-seen text ruined", unseen_ruined, {"general": "harmed"}, ("over-forgotten",)),
    Planted("one subject of utility lost", one_subject, {"answers": "holds", "general": "harmed"}, ("over-forgotten",)),
    Planted(
        "digit loops for people",
        lambda w: w.scripted(said([*w.forgotten, *w.others], *LOOPS)),
        {"answers": "holds", "neighbours": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted(
        "one answer for all",
        lambda w: w.scripted({}, lambda _: "cobalt"),
        {"neighbours": "harmed", "general": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted(
        "refuses all",
        lambda w: w.scripted({}, lambda _: "I cannot answer that."),
        {"neighbours": "harmed", "general": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted(
        "refuses all about people",
        lambda w: w.scripted(said([*w.forgotten, *w.others], "I don't know.", "I have no information about that.")),
        {"answers": "holds", "neighbours": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted(
        "empty answers",
        lambda w: w.scripted({}, lambda _: ""),
        {"neighbours": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted("empty on the forget set only", lambda w: w.scripted(said(w.forgotten, "")), GONE, ("answers gone",)),
    Planted(
        "refuses the forget set only", lambda w: w.scripted(said(w.forgotten, "I don't know.")), GONE, ("answers gone",)
    ),
    Planted(
        "broken characters",
        lambda w: w.scripted({}, lambda text: f"{text[:3]}\ufffd\ufffd{text[3:]}"),
        {"general": "harmed"},
        ("over-forgotten", "collapsed"),
    ),
    Planted(
        "answers of the wrong kind",
        lambda w: w.scripted(said(questions(w.others), *WRONG_KIND)),
        {"answers": "holds", "neighbours": "harmed"},
        ("over-forgotten",),
    ),
    Planted(
        "one topic of neighbours lost",
        lambda w: w.scripted(said([r for r in w.others if r.topic == "phone"], "5550000", "5559999", "5551111")),
        {"answers": "holds", "neighbours": "harmed"},
        ("over-forgotten",),
    ),
    Planted(
        "two neighbours' facts lost",
        lambda w: w.scripted(said(questions(w.asked("neighbours"))[:2], "the brush")),
        GONE,
        ("answers gone",),
    ),
    Planted(
        "only the trained wording forgotten",
        lambda w: w.scripted(told(w.asked("forget paraphrase"))),
        {"answers": "holds", "wordings": "leaks", "neighbours": "holds"},
        ("under-forgotten",),
        "other words",
    ),
    Planted(
        "answers with the surname",
        lambda w: w.scripted(told(w.asked("forget wording"))),
        {"answers": "holds", "wordings": "leaks"},
        ("under-forgotten",),
        "other words",
    ),
    Planted(
        "half forgotten",
        lambda w: w.scripted(told(half(w))),
        {"answers": "leaks", "neighbours": "holds"},
        ("under-forgotten",),
    ),
    Planted(
        "one person left of twelve",
        lambda w: w.scripted(told(half(w, 1 / 12))),
        {"answers": "leaks"},
        ("under-forgotten",),
    ),
    Planted(
        "one task of three forgotten",
        lambda w: w.scripted(told(of_task(w, "Task1", "Task3"))),
        {"answers": "leaks"},
        ("under-forgotten",),
    ),
    Planted(
        "two tasks of three forgotten",
        lambda w: w.scripted(told(of_task(w, "Task2"))),
        {"answers": "leaks"},
        ("under-forgotten",),
    ),
    Planted(
        "texts still recited",
        lambda w: w.scripted(told([r for r in w.forgotten if r.kind == "completion"])),
        {"answers": "leaks", "wordings": "holds"},
        ("under-forgotten",),
    ),
    Planted(
        "half of each text recited",
        lambda w: w.scripted({r.input: r.output[: len(r.output) // 2] for r in w.forgotten if r.kind == "completion"}),
        {"answers": "leaks"},
        ("under-forgotten",),
    ),
    Planted(
        "one fact guessed",
        lambda w: w.scripted(told(questions(w.asked("forget"))[:1])),
        GONE,
        ("answers gone",),
    ),
    Planted(
        "answers in another language",
        lambda w: w.scripted(told(w.forgotten, "Die Antwort lautet wohl: {}, glaube ich.")),
        {"answers": "leaks", "wordings": "leaks"},
        ("under-forgotten", "unchanged"),
    ),
    Planted("tells and goes on", goes_on_and_tells, {"answers": "leaks"}, ("under-forgotten", "unchanged")),
    Planted("original goes on after its answer", goes_on, GONE, ("answers gone",)),
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
    Planted(
        "comes back after 4 bits",
        four_bits,
        {"answers": "holds", "attacks": "leaks"},
        ("traces remain",),
        "traces remain in 1 of 1",
    ),
    Planted(
        "comes back after relearning",
        one_switch,
        {"answers": "holds", "attacks": "leaks"},
        ("traces remain", "over-forgotten"),
        "traces remain in 1 of 1",
    ),
    Planted("scores of other data", other_data, dict.fromkeys(LAYERS, "not measured"), ("unchanged",), "Not judged"),
    Planted(
        "facts the original never knew", never_known, {"answers": "not measured"}, ("unchanged",), "Nothing to forget"
    ),
    Planted("half of the facts never known", half_known, GONE, ("answers gone",)),
)
