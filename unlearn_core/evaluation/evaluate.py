"""Score one model on one data set: a generator of progress that returns Scores.

What is generated, measured and asked is decided by what the data brings; what is missing stays None and
is listed under `details.missing`. Nothing is guessed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.data.encode import Encoded, encode_document, pad_id_of
from unlearn_core.data.prompt_format import digest_of
from unlearn_core.data.rows.lume import are_official
from unlearn_core.data.sample_text import general_sample
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.metrics.answer_traces import AnswerTraces
from unlearn_core.evaluation.metrics.measurements import Measurements, losses
from unlearn_core.evaluation.metrics.membership import check_losses
from unlearn_core.evaluation.metrics.registry import DETAILS, METRICS, details_of, measure
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.protocols.multiple_choice import mmlu
from unlearn_core.evaluation.rephrase import by_surname, new_phrasings
from unlearn_core.evaluation.scores import GENERAL, NEIGHBOURS, PARAPHRASE, SPLITS, WORDING, Generation, Scores
from unlearn_core.models.generation.generate import generate
from unlearn_core.models.hashing import weights_hash as hash_of
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import TokenTrace, traces
from unlearn_core.models.split import is_split
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import fast_products

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

T = TypeVar("T")

NUM_GENERAL = 24  # general facts that are asked
NUM_FREE_TEXTS, FREE_TEXT_TOKENS = 4, 256
NUM_WORDINGS = 60  # forget rows that are asked in wordings made here
# Share of the work of one item, relative to a question: a generation is many steps, a document one.
_WEIGHTS = {"answers": 6, "documents": 2, "questions": 1, "likelihoods": 1}


@dataclass(frozen=True)
class EvaluationSettings:
    """How much to score. `beyond` adds what the protocol does not measure, on at most `max_beyond_rows` a split."""

    paraphrases: bool = True
    beyond: bool = True
    max_beyond_rows: int = 90
    bootstrap_samples: int = 1000


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
        free = yield from job.free_text()
        choices = yield from job.questions()
        answers = yield from job.answer_traces()
    measured = Measurements(
        data,
        generations,
        members,
        nonmembers,
        free,
        choices,
        answers,
        beneath_hash=_beneath_hash(target_model),
        extras=settings.beyond,
        bootstrap_samples=settings.bootstrap_samples,
    )
    return job.scores(digest, measured)


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Dropout off; the earlier mode comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with fast_products(model.device):
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
        self._done = min(self.total, self._done + num_items * distributed.size() * _WEIGHTS[stage])
        return Progress(stage, self._done, max(1, self.total))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = time.perf_counter() - start

    def _share(self, count: int) -> list[int]:
        """Which of so many are this process's: all, where each has a part of the model and not a part of the work."""
        return list(range(count)) if is_split(self.model) else distributed.share(range(count))

    def _merge(self, mine: dict[int, T], count: int) -> list[T]:
        return [mine[place] for place in range(count)] if is_split(self.model) else distributed.merge(mine, count)

    def generations(self) -> Generator[Progress, None, list[Generation]]:
        prompts = [row.prompt for _, row in self.asked]
        own = self._share(len(prompts))
        written: dict[int, str] = {}
        with self._timed("answers"):
            mine = [prompts[place] for place in own]
            for batch in generate(self.model, self.tokenizer, mine, self.data.max_new_tokens):
                for index, text in zip(batch.indices, batch.texts, strict=True):
                    written[own[index]] = text
                yield self._step("answers", len(batch.indices))
            texts = self._merge(written, len(prompts))
            official = are_official(row.id for row in self.data.forget)
            found = []
            for (split, row), text in zip(self.asked, texts, strict=True):
                score = semeval.text_score(row.kind, row.output, text, official=official)
                found.append(Generation.of(row, split, text, score, cut=self._is_cut(text)))
            return found

    def _is_cut(self, text: str) -> bool:
        """Whether the token limit ended a text; a tokenizer may need a token fewer to write it again."""
        if len(text) < self.data.max_new_tokens - 1:  # no tokenizer in use writes less than a character a token
            return False
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) >= self.data.max_new_tokens - 1

    def documents(self) -> Generator[Progress, None, tuple[list[TokenTrace], list[TokenTrace]]]:
        texts = (*self.data.members, *self.data.nonmembers)
        rows = [encode_document(self.tokenizer, text, i) for i, text in enumerate(texts)]
        # Only an attack on members reads the moments, which take as long as the pass.
        moments = self.settings.beyond and bool(self.data.members and self.data.nonmembers)
        found = yield from self._traces("documents", rows, moments=moments)
        return found[: len(self.data.members)], found[len(self.data.members) :]

    def free_text(self) -> Generator[Progress, None, list[TokenTrace]]:
        """Plain text that has nothing to do with the data, where the data brings no never-trained documents."""
        if self.data.nonmembers or not self.settings.beyond:
            return []
        texts = general_sample()[:NUM_FREE_TEXTS]
        rows = [encode_document(self.tokenizer, text, i, FREE_TEXT_TOKENS) for i, text in enumerate(texts)]
        return (yield from self._traces("documents", rows))

    def answer_traces(self) -> Generator[Progress, None, AnswerTraces]:
        rows = self.probes.encode(self.tokenizer, front_of(self.model).ask)
        different = {(row.ids, row.num_prompt): row for row in rows}  # an answer may be measured in several roles
        found = yield from self._traces("likelihoods", list(different.values()))
        yield self._step("likelihoods", len(rows) - len(different))
        traced = dict(zip(different, found, strict=True))
        return self.probes.filled([traced[row.ids, row.num_prompt] for row in rows], [row.num_end for row in rows])

    def questions(self) -> Generator[Progress, None, list[int]]:
        data = self.data
        own = self._share(len(data.questions))
        asked = [data.questions[place] for place in own]
        choices: dict[int, int] = {}
        with self._timed("questions"):
            for batch in mmlu.predict(self.model, self.tokenizer, asked, data.few_shot, data.question_form):
                for index, choice in zip(batch.indices, batch.choices, strict=True):
                    choices[own[index]] = choice
                yield self._step("questions", len(batch.indices))
        return self._merge(choices, len(data.questions))

    def _traces(
        self, stage: str, rows: Sequence[Encoded], moments: bool = False
    ) -> Generator[Progress, None, list[TokenTrace]]:
        own = self._share(len(rows))
        found: dict[int, TokenTrace] = {}
        with self._timed(stage):
            chosen = [rows[place] for place in own]
            for batch in traces(self.model, chosen, pad_id_of(self.tokenizer), moments=moments):
                check_losses(losses(batch))
                found |= {own[trace.index]: replace(trace, index=own[trace.index]) for trace in batch}
                yield self._step(stage, len(batch))
        return self._merge(found, len(rows))

    def scores(self, digest: str, measured: Measurements) -> Scores:
        start = time.perf_counter()
        found = measure(measured, (metric for metric in METRICS.values() if metric not in DETAILS))
        details = details_of(measured)
        self.seconds["scoring"] = time.perf_counter() - start
        return Scores(
            **found,
            weights_hash=digest,
            data_fingerprint=self.data.fingerprint,
            prompt=digest_of(self.tokenizer),
            details=details,
            generations=tuple(measured.generations),
            seconds=self.seconds,
        )


def _asked(data: UnlearningData, paraphrases: bool) -> list[tuple[str, Example]]:
    """Every prompt to generate from, with the split its answer counts for."""
    rows = [(split, row) for split in SPLITS for row in getattr(data, split)]
    if paraphrases:
        # Where both sets count their rows alike, the answer tells whose wording it is.
        ids, answers = ({(row.id, row.output)[:n] for row in data.forget} for n in (1, 2))
        kept = {(row.id, row.output) for row in data.retain} - answers
        for row in data.paraphrases:
            of_forget = (row.id,) in ids and (row.id, row.output) not in kept
            rows.append((("forget" if of_forget else "retain") + PARAPHRASE, row))
        # A few general facts, to be read beside the others; they enter no score. A text of no subject is no fact.
        facts = [row for row in data.general if row.kind == "question"]
        rows += [(GENERAL, row) for row in facts[:: max(1, len(facts) // NUM_GENERAL)][:NUM_GENERAL]]
        rows += [("forget" + WORDING, row) for row in _made_wordings(data)]
    rows += [(NEIGHBOURS, row) for row in data.neighbours]
    return rows


def _made_wordings(data: UnlearningData) -> list[Example]:
    """Questions of the forget set in words made here: by surname alone, and, where the data brings no other
    phrasing of a row, reframed."""
    phrased = {row.id for row in data.paraphrases}
    rows = []
    for row in even_sample([row for row in data.forget if row.kind == "question"], NUM_WORDINGS):
        asked = [by_surname(row)]
        if row.id not in phrased:
            asked += new_phrasings(row.input)[:1]
        rows += [replace(row, input=prompt) for prompt in asked if prompt]
    return rows


def _beneath_hash(model: PreTrainedModel) -> str:
    """The hash of the weights beneath an adapter that is kept apart; empty where there is none."""
    from unlearn_core.models.adapters import adapters_off

    with adapters_off(model) as are_on:
        return hash_of(model) if are_on else ""
