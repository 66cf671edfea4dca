"""The passes every protocol is made of: answers read, answers written, gradients of answers.

    read             one teacher-forced pass per row and answer -> Reading
    answer           one greedy generation per row              -> text
    gradient_norms   one backward pass per row                  -> number

What a row looks like to the model is decided by the prompt format that rides on the tokenizer.
T: labelled tokens of one answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from unlearn_core.data.encode import Encoded, collate, encode_example, pad_id_of, text_ids
from unlearn_core.data.types import Prompt
from unlearn_core.evaluation.metrics import token_metrics
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OPEN_UNLEARNING
from unlearn_core.evaluation.protocols.terms.open_unlearning_rows import (
    continue_theirs,
    encode_theirs,
    has_theirs,
    hidden_logits,
)
from unlearn_core.evaluation.protocols.terms.row_log import Rows
from unlearn_core.models.generation.generate import continue_all, decode, generate
from unlearn_core.models.inference.forward import answers, device_of
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import TokenTrace, token_columns, traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.data.types import Example


_TOGETHER = 64  # prompts between two signs of progress


@dataclass(frozen=True)
class AnswerReading:
    """What the model thought of one answer: every labelled token, and those that memory is measured on.

    The loss is over all of them, what closes the answer included; memorisation and min-k leave the end out.
    open-unlearning leaves the last label out instead, whatever it is.
    """

    whole: TokenTrace
    body: TokenTrace
    text: str  # the labelled tokens, decoded

    @property
    def loss(self) -> float:
        """Mean NLL per labelled token (nats)."""
        return self.whole.nll

    @property
    def probability(self) -> float:
        """exp(-loss), the geometric mean per token."""
        return float(np.exp(-self.loss))


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """A model with its tokenizer, and by whose conventions its answers are read."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    conventions: str

    def read(
        self, stage: str, rows: Sequence[Encoded], *, moments: bool = False
    ) -> Generator[Progress, None, list[AnswerReading]]:
        """Yield Progress; returns the readings in the order of `rows`."""
        pad = pad_id_of(self.tokenizer)
        found: dict[int, TokenTrace] = {}
        numbered = [replace(row, index=place) for place, row in enumerate(rows)]
        if self._masks_prompts(rows, pad):
            batches = _masked_traces(self.model, numbered, pad)
        else:
            batches = traces(self.model, numbered, pad, moments=moments)
        for batch in batches:
            found |= {trace.index: trace for trace in batch}
            yield Progress(stage, len(found), len(rows))
        return [self._reading(row, found[place]) for place, row in enumerate(rows)]

    def encode(self, rows: Sequence[Example]) -> list[Encoded]:
        """The rows as the model sees them, in the prompt format that rides on the tokenizer."""
        encode = encode_theirs if self.conventions == OPEN_UNLEARNING else encode_example
        return [encode(self.tokenizer, row, place) for place, row in enumerate(rows)]

    def read_rows(
        self, stage: str, rows: Sequence[Example], *, moments: bool = False
    ) -> Generator[Progress, None, list[AnswerReading]]:
        """`read` of questions with their answers."""
        return (yield from self.read(stage, self.encode(rows), moments=moments))

    def attacks(
        self, forget: Sequence[AnswerReading], forget_rows: Sequence[Encoded], holdout_rows: Sequence[Encoded]
    ) -> Generator[Progress, None, dict[str, dict[str, Rows]]]:
        """Every membership score of forget and held-out rows; `forget` are the readings of the former, with
        moments. Nothing where there are no held-out rows."""
        if not holdout_rows:
            return {}
        holdout = yield from self.read("held-out answers", holdout_rows, moments=True)
        sides = {
            attack: {"forget": _scored(attack, forget), "holdout": _scored(attack, holdout)} for attack in ATTACK_SCORES
        }
        norms: dict[str, Rows] = {}
        for side, rows in (("forget", forget_rows), ("holdout", holdout_rows)):
            found = yield from self.gradient_norms(f"gradients, {side}", rows)
            if found is None:
                return sides
            norms[side] = {str(place): {"score": norm} for place, norm in enumerate(found)}
        return sides | {"mia_gradnorm": norms}

    def _masks_prompts(self, rows: Sequence[Encoded], pad: int) -> bool:
        """Whether the reference implementation hides tokens of the prompts: those that equal its padding,
        which is end of text where the tokenizer has none (open-unlearning, issue 128)."""
        return self.conventions == OPEN_UNLEARNING and any(pad in row.ids[: row.num_prompt] for row in rows)

    def _reading(self, row: Encoded, trace: TokenTrace) -> AnswerReading:
        ends = 1 if self.conventions == OPEN_UNLEARNING else row.num_end
        body = trace.head(max(0, len(trace.log_prob_T) - ends))
        return AnswerReading(trace, body, decode(self.tokenizer, [row.ids[row.num_prompt :]])[0])

    def answer(
        self, stage: str, prompts: Sequence[Prompt], max_new_tokens: int
    ) -> Generator[Progress, None, list[str]]:
        """Yield Progress; returns the greedy answer to each prompt."""
        if self.conventions == OPEN_UNLEARNING and has_theirs(self.tokenizer):
            write = partial(continue_theirs, self.model, self.tokenizer, max_new_tokens=max_new_tokens)
            return (yield from self._written(stage, prompts, write))
        texts = [""] * len(prompts)
        done = 0
        for batch in generate(self.model, self.tokenizer, prompts, max_new_tokens):
            for index, text in zip(batch.indices, batch.texts, strict=True):
                texts[index] = text
            done += len(batch.indices)
            yield Progress(stage, done, len(prompts))
        return texts

    def go_on(
        self, stage: str, prompts: Sequence[str], max_new_tokens: int, *, max_prompt: int | None = None
    ) -> Generator[Progress, None, list[str]]:
        """Yield Progress; returns the greedy text after each prompt, the prompt taken as plain text to the letter
        (its last space too, which prompt formats take away) and cut on the right to `max_prompt` tokens."""

        def write(put: Sequence[Prompt]) -> list[list[int]]:
            rows = [text_ids(self.tokenizer, prompt.text)[:max_prompt] for prompt in put]
            return continue_all(self.model, self.tokenizer, rows, max_new_tokens)

        return (yield from self._written(stage, [Prompt(text) for text in prompts], write))

    def _written(
        self, stage: str, prompts: Sequence[Prompt], write: Callable[[Sequence[Prompt]], list[list[int]]]
    ) -> Generator[Progress, None, list[str]]:
        """Yield Progress; returns the text of the tokens that `write` gives for each prompt, some at a time. What
        stands before the model has its say."""
        front = front_of(self.model)
        texts = [front.refusal(prompt.text) for prompt in prompts]
        asked = [place for place, reply in enumerate(texts) if reply is None]
        for start in range(0, len(asked), _TOGETHER):
            places = asked[start : start + _TOGETHER]
            written = write([replace(prompts[place], text=front.ask(prompts[place].text)) for place in places])
            for place, text in zip(places, decode(self.tokenizer, written), strict=True):
                texts[place] = front.screen(text)
            yield Progress(stage, start + len(places), len(asked))
        return [text or "" for text in texts]

    def gradient_norms(self, stage: str, rows: Sequence[Encoded]) -> Generator[Progress, None, list[float] | None]:
        """Per row the mean over parameter tensors of the L2 norm of the gradient of the mean token loss
        (Maini et al., arXiv 2402.17012), one row at a time; None where the weights have no gradient."""
        parameters = [p for p in self.model.parameters() if p.is_floating_point()]
        asked = [p.requires_grad for p in parameters]
        if not parameters or any(p.dtype.itemsize < 2 for p in parameters):
            return None
        norms = []
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            for done, row in enumerate(rows, start=1):
                norms.append(self._gradient_norm(row))
                yield Progress(stage, done, len(rows))
        finally:
            self.model.zero_grad(set_to_none=True)
            for parameter, needed in zip(parameters, asked, strict=True):
                parameter.requires_grad_(needed)
        return norms

    def _gradient_norm(self, row: Encoded) -> float:
        ends = 1 if self.conventions == OPEN_UNLEARNING else row.num_end
        kept = Encoded(row.ids[: len(row.ids) - ends], row.num_prompt)
        if kept.num_targets < 1:
            return 0.0
        self.model.zero_grad(set_to_none=True)
        pad = pad_id_of(self.tokenizer)
        with torch.enable_grad():
            if self._masks_prompts([kept], pad):
                logits_NV, labels_N = hidden_logits(self.model, kept, pad)
            else:
                part = answers(self.model, collate([kept], pad).to(device_of(self.model)))
                logits_NV, labels_N = part.logits_NV.float(), part.labels_N
            torch.nn.functional.cross_entropy(logits_NV, labels_N).backward()
        norms = [p.grad.detach().float().norm() for p in self.model.parameters() if p.grad is not None]
        return float(torch.stack(norms).mean())


def cut(text: str, stops: Sequence[str]) -> str:
    """`text` up to each of `stops` in turn, as open-unlearning cuts."""
    for stop in stops:
        text = text.split(stop)[0]
    return text


ATTACK_SCORES: Mapping[str, Callable[[AnswerReading], float]] = {
    "mia_loss": lambda reading: reading.loss,
    "mia_zlib": lambda reading: reading.loss / max(1, len(zlib.compress(reading.text.encode("utf-8", "replace")))),
    "mia_min_k": lambda reading: token_metrics.min_k_score(reading.body.log_prob_T),
    "mia_min_k_plus_plus": lambda reading: token_metrics.min_k_plus_score(
        reading.body.log_prob_T, reading.body.mean_T, reading.body.std_T
    ),
}


def attack_score(attack: str, reading: AnswerReading) -> float:
    """One membership score of one answer; 0 for one without a token, as open-unlearning has it."""
    short = len(reading.body.log_prob_T) == 0 and attack not in ("mia_loss", "mia_zlib")
    return 0.0 if short or not len(reading.whole.log_prob_T) else float(ATTACK_SCORES[attack](reading))


def _scored(attack: str, readings: Sequence[AnswerReading]) -> Rows:
    return {str(place): {"score": attack_score(attack, reading)} for place, reading in enumerate(readings)}


def probability_rows(readings: Sequence[AnswerReading]) -> Rows:
    """What is kept of one answer a row: probability per token and mean loss; nothing of an empty answer."""
    return {
        str(place): {"prob": reading.probability, "avg_loss": reading.loss}
        for place, reading in enumerate(readings)
        if len(reading.whole.log_prob_T)
    }


def wrong_rows(rows: Sequence[Example], readings: Sequence[AnswerReading]) -> Rows:
    """The same of the wrong answers of each row, in lists; `readings` has them in turn."""
    remaining = iter(readings)
    found: dict[str, dict[str, list[float]]] = {}
    for place, row in enumerate(rows):
        read = [next(remaining) for _ in row.wrong]
        if read:
            found[str(place)] = {"prob": [r.probability for r in read], "avg_loss": [r.loss for r in read]}
    return found


def written_rows(prompts: Sequence[str], truths: Sequence[str], texts: Sequence[str]) -> Rows:
    """What was asked, the truth, and what was written."""
    return {
        str(place): {"input": prompt, "ground_truth": truth, "generation": text}
        for place, (prompt, truth, text) in enumerate(zip(prompts, truths, texts, strict=True))
    }


def memorisation_rows(readings: Sequence[AnswerReading], conventions: str) -> dict[str, Rows]:
    """Exact memorisation and extraction strength of each answer that has a token."""
    floor = conventions == OPEN_UNLEARNING
    bodies = {str(place): r.body.is_top_T for place, r in enumerate(readings) if len(r.body.is_top_T)}
    return {
        "exact_memorization": {
            place: {"score": token_metrics.exact_memorisation(top)} for place, top in bodies.items()
        },
        "extraction_strength": {
            place: {"score": token_metrics.extraction_strength(top, floor=floor)} for place, top in bodies.items()
        },
    }


@torch.inference_mode()
def _masked_traces(model: PreTrainedModel, rows: Sequence[Encoded], pad: int) -> Iterator[list[TokenTrace]]:
    """Traces, one row at a time, of a pass that hides every prompt token equal to `pad`."""
    for row in rows:
        logits_NV, labels_N = hidden_logits(model, row, pad)
        columns = token_columns(logits_NV, labels_N, moments=True)
        yield [TokenTrace(row.index, *(column.cpu().numpy() for column in columns))]
