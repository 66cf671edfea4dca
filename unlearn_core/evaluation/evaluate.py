"""Score one model on one data set: a generator of progress that returns Scores.

What is generated, measured and asked is decided by what the data brings; what is missing stays None and
is listed under `details["missing"]`. Nothing is guessed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unlearn_core.data.encode import encode_document, pad_id_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import DivergedError
from unlearn_core.evaluation import membership, mmlu, semeval
from unlearn_core.evaluation.beyond import AnswerTraces, document_attacks, memorisation
from unlearn_core.evaluation.fluency import fluency, vocabulary
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.scores import SPLITS, Generation, Scores
from unlearn_core.models import team
from unlearn_core.models.front import front_of
from unlearn_core.models.generate import generate
from unlearn_core.models.hashing import weights_hash as hash_of
from unlearn_core.models.likelihood import TokenTrace, traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PARAPHRASE = " paraphrase"  # what is added to the split of a generation in an unseen phrasing
GENERAL, NUM_GENERAL = "general", 24  # the split of general facts, and how many are asked
# Share of the work of one item, relative to a question: a generation is many steps, a document one.
_WEIGHTS = {"answers": 6, "documents": 2, "questions": 1, "likelihoods": 1}


@dataclass(frozen=True)
class EvaluationSettings:
    """How much to score. `beyond` adds the measures of `beyond.py`, on at most `max_beyond_rows` a split."""

    paraphrases: bool = True
    beyond: bool = True
    max_beyond_rows: int = 90
    bootstrap_samples: int = 1000
    batch_tokens: int | None = None
    seed: int = 0


def evaluate(
    target_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: UnlearningData,
    *,
    weights_hash: str | None = None,
    settings: EvaluationSettings | None = None,
) -> Generator[Progress, None, Scores]:
    """Yield Progress after each batch; the generator's return value is the Scores.

    `weights_hash` saves hashing a model whose hash is known. Raises DivergedError when the model's loss is
    not a number. The model is in evaluation mode meanwhile, and as it was afterwards.
    """
    settings = settings or EvaluationSettings()
    job = _Job(target_model, tokenizer, data, settings)
    with evaluation_mode(target_model):
        digest = weights_hash or hash_of(target_model)
        generations = yield from job.generations()
        members, nonmembers = yield from job.documents()
        choices = yield from job.questions()
        answers = yield from job.answer_traces()
    return job.scores(digest, generations, members, nonmembers, choices, answers)


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Dropout off; the earlier mode comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@dataclass
class _Job:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    data: UnlearningData
    settings: EvaluationSettings
    seconds: dict[str, float] = field(default_factory=dict)
    _done: int = 0

    def __post_init__(self) -> None:
        data = self.data
        self.asked = _asked(data, self.settings.paraphrases)
        self.probes = AnswerTraces.plan(data, self.settings.max_beyond_rows if self.settings.beyond else 0)
        self.total = (
            len(self.asked) * _WEIGHTS["answers"]
            + (len(data.members) + len(data.nonmembers)) * _WEIGHTS["documents"]
            + len(data.questions) * _WEIGHTS["questions"]
            + len(self.probes) * _WEIGHTS["likelihoods"]
        )

    def _step(self, stage: str, num_items: int) -> Progress:
        self._done = min(self.total, self._done + num_items * team.size() * _WEIGHTS[stage])
        return Progress(stage, self._done, max(1, self.total))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = time.perf_counter() - start

    def generations(self) -> Generator[Progress, None, list[Generation]]:
        prompts = [row.input for _, row in self.asked]
        own = team.share(range(len(prompts)))
        written: dict[int, str] = {}
        with self._timed("answers"):
            for batch in generate(
                self.model, self.tokenizer, [prompts[place] for place in own], self.data.max_new_tokens,
                batch_tokens=self.settings.batch_tokens,
            ):  # fmt: skip
                for index, text in zip(batch.indices, batch.texts, strict=True):
                    written[own[index]] = text
                yield self._step("answers", len(batch.indices))
            texts = team.merge(written, len(prompts))
            return [
                Generation(
                    row.id, split, row.task, row.kind, row.input, row.output, text,
                    semeval.text_score(row.kind, row.output, text),
                )
                for (split, row), text in zip(self.asked, texts, strict=True)
            ]  # fmt: skip

    def documents(self) -> Generator[Progress, None, tuple[list[TokenTrace], list[TokenTrace]]]:
        texts = (*self.data.members, *self.data.nonmembers)
        rows = [encode_document(self.tokenizer, text, i) for i, text in enumerate(texts)]
        found = yield from self._traces("documents", rows, moments=self.settings.beyond)
        return found[: len(self.data.members)], found[len(self.data.members) :]

    def answer_traces(self) -> Generator[Progress, None, AnswerTraces]:
        rows = self.probes.encode(self.tokenizer, front_of(self.model).ask)
        found = yield from self._traces("likelihoods", rows)
        return self.probes.filled(found, has_end=self.tokenizer.eos_token_id is not None)

    def questions(self) -> Generator[Progress, None, list[int]]:
        data = self.data
        own = team.share(range(len(data.questions)))
        asked = [data.questions[place] for place in own]
        choices: dict[int, int] = {}
        with self._timed("questions"):
            for batch in mmlu.predict(self.model, self.tokenizer, asked, data.few_shot, data.question_form):
                for index, choice in zip(batch.indices, batch.choices, strict=True):
                    choices[own[index]] = choice
                yield self._step("questions", len(batch.indices))
        return team.merge(choices, len(data.questions))

    def _traces(
        self, stage: str, rows: list[Any], moments: bool = False
    ) -> Generator[Progress, None, list[TokenTrace]]:
        own = team.share(range(len(rows)))
        found: dict[int, TokenTrace] = {}
        with self._timed(stage):
            chosen = [rows[place] for place in own]
            for batch in traces(self.model, chosen, pad_id_of(self.tokenizer), moments=moments):
                for trace in batch:
                    if len(trace.log_prob_T) and math.isnan(trace.nll):
                        raise DivergedError(
                            "loss", trace.nll, "the model's loss is not a number, so it cannot be scored",
                            "Lower the learning rate or the number of steps.",
                        )  # fmt: skip
                found |= {own[trace.index]: replace(trace, index=own[trace.index]) for trace in batch}
                yield self._step(stage, len(batch))
        return team.merge(found, len(rows))

    def scores(
        self,
        digest: str,
        generations: list[Generation],
        members: list[TokenTrace],
        nonmembers: list[TokenTrace],
        choices: list[int],
        answers: AnswerTraces,
    ) -> Scores:
        data = self.data
        start = time.perf_counter()
        terms = semeval.terms((g.split, g.task, g.kind, g.score) for g in generations)
        aggregated = semeval.aggregated(terms)
        aggregate = semeval.task_aggregate(aggregated)
        losses = [[t.nll for t in side if len(t.log_prob_T)] for side in (members, nonmembers)]
        area = membership.auc(*losses)
        asked = mmlu.summary(data.questions, choices, data.question_form)
        details: dict[str, Any] = {
            "missing": _missing(data, terms),
            "paraphrases": _paraphrase_means(generations),
            "partial_aggregate": semeval.partial_aggregate(aggregated),
            "num_terms": sum(value is not None for value in aggregated),
            "limiting_term": semeval.limiting_term(aggregated),
            "member_losses": losses[0],
            "nonmember_losses": losses[1],
            "auc_interval": membership.bootstrap_interval(
                losses[0], losses[1], self.settings.bootstrap_samples, self.settings.seed
            ),
            "perfect_forgetting": _bands(len(losses[0]), len(losses[1])),
            "utility": asked,
            "fluency": _fluency(data, generations),
            "rouge_floors": semeval.rouge_floors(
                (row.task, row.id[:-3], row.output) for row in data.forget if row.kind == "completion"
            ),
            "nll": answers.nll_summary(),
        }
        if self.settings.beyond:
            documents = (data.members, data.nonmembers)
            details["attacks"] = document_attacks(members, nonmembers, *documents)
            details |= memorisation(answers)
        self.seconds["scoring"] = time.perf_counter() - start
        mia, utility = semeval.mia_score(area), asked["accuracy"]
        return Scores(
            terms=terms,
            aggregated_terms=aggregated,
            task_aggregate=aggregate,
            mia_auc=area,
            mia_score=mia,
            utility=utility,
            final_score=semeval.final_score(aggregate, mia, utility),
            weights_hash=digest,
            data_fingerprint=data.fingerprint,
            details=details,
            generations=tuple(generations),
            seconds=self.seconds,
        )


def _asked(data: UnlearningData, paraphrases: bool) -> list[tuple[str, Example]]:
    """Every prompt to generate from, with the split its answer counts for."""
    rows = [(split, row) for split in SPLITS for row in getattr(data, split)]
    if paraphrases:
        forgotten = {row.id for row in data.forget}
        rows += [
            (("forget" if row.id in forgotten else "retain") + PARAPHRASE, row) for row in data.paraphrases
        ]
        # A few general facts, to be read beside the others; they enter no score.
        stride = max(1, len(data.general) // NUM_GENERAL)
        rows += [(GENERAL, row) for row in data.general[::stride][:NUM_GENERAL]]
    return rows


def _paraphrase_means(generations: list[Generation]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for split in SPLITS:
        values = [g.score for g in generations if g.split == split + PARAPHRASE]
        means[split] = sum(values) / len(values) if values else None
    return means


def _bands(num_members: int, num_nonmembers: int) -> dict[str, Any] | None:
    bands = membership.perfect_forgetting(num_members, num_nonmembers)
    return None if bands is None else {"auc": asdict(bands[0]), "score": asdict(bands[1])}


def _fluency(data: UnlearningData, generations: list[Generation]) -> dict[str, Any]:
    rows = (*data.forget, *data.retain, *data.paraphrases, *data.general)
    texts = [text for row in rows for text in (row.input, row.output)]
    known = vocabulary([*texts, *data.members, *data.nonmembers])
    found = {split: fluency([g.output for g in generations if g.split == split], known) for split in SPLITS}
    return {split: None if value is None else asdict(value) for split, value in found.items()}


def _missing(data: UnlearningData, terms: dict[str, float | None]) -> list[str]:
    """What could not be scored, in words: "not available" rather than a silent number."""
    absent = [name for name, value in terms.items() if value is None]
    found = [f"{len(absent)} of 12 terms: no such rows ({', '.join(absent)})"] if absent else []
    if not data.members or not data.nonmembers:
        found.append("membership inference: no documents")
    if not data.questions:
        found.append("utility: no questions")
    if not data.paraphrases:
        found.append("unseen phrasings: none given")
    return found
