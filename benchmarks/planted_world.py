"""The world in which models are planted, and what of it a planted model can be made of.

A world is a dozen bundled people to forget, others to keep, and neighbours; a seed chooses them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unlearn_core.data.types import TASKS, Example, UnlearningData
from unlearn_core.data.world import demo_data
from unlearn_core.evaluation.audit_result import AuditJson
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import Verdict, verdict
from unlearn_core.models.inference.inference_wrapper import InferenceWrapper
from unlearn_core.system.grouped import grouped

PER_TASK = {"forget": 4, "retain": 5, "neighbours": 9}
FORGOTTEN = ("forget", "forget paraphrase", "forget wording")
BATCH = 40
LOOPS = ("6969696696680668", "1888888880 brush", "0000000000000000", "2323232323232323")


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


def unknowing(world: World) -> list[Example]:
    """Every prompt about the forget set with what the retain-only model says to it; and every question three times
    with an answer that is right about somebody else, so that the right one is no likelier than others of its kind."""
    said = {row.key: row.output for row in world.never.generations}
    keys = [g.key for g in world.before.generations if g.split in FORGOTTEN]
    rows = [replace(row, output=said[key]) for row, key in zip(world.forgotten, keys, strict=True) if key in said]
    by_topic = grouped((row.topic, row) for row in questions(world.forgotten))
    return [*rows, *(row for _ in range(3) for own in by_topic.values() for row in swapped(own, world.rng))]
