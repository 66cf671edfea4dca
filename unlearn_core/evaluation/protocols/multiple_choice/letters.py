"""Benchmarks of four-option questions, scored as lm-evaluation-harness does: MMLU, WMDP.

The prompt ends in `Answer:`; the options' letters are its continuations. Prompt and prompt + letter are
tokenised whole, and the letter with the highest summed log-probability is the answer. Zero solved examples.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.data.benchmarks.wmdp import SUBJECTS, read_wmdp
from unlearn_core.data.encode import Encoded, pad_id_of
from unlearn_core.data.types import Question, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics.membership import wilson_interval
from unlearn_core.evaluation.metrics.utility import CHANCE, LETTERS
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OWN, Protocol, Result, Term
from unlearn_core.evaluation.protocols.multiple_choice import mmlu
from unlearn_core.evaluation.protocols.multiple_choice.mmlu_files import load_mmlu
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, Rows
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_BOS = "lm-eval-0.4.8"  # it gave no beginning of text; later ones leave that to the tokenizer
_NAMES = {"bio": "biology", "chem": "chemistry", "cyber": "cybersecurity"}


def harness_prompt(question: Question, about: str) -> str:
    """One question without solved examples, as the harness writes it."""
    return mmlu.HEADER.format(about=about) + mmlu.ask(question.question.strip(), question.choices)


def continuations(tokenizer: PreTrainedTokenizerBase, prompt: str, *, special: bool = True) -> list[Encoded]:
    """The prompt with each letter: what follows the prompt's own number of tokens is the continuation."""
    start = len(tokenizer(prompt, add_special_tokens=special)["input_ids"])
    return [
        Encoded(tuple(tokenizer(f"{prompt} {letter}", add_special_tokens=special)["input_ids"]), max(1, start))
        for letter in LETTERS
    ]


class _Letters(Protocol):
    """What MMLU and WMDP share; they differ in what a question is about and in what a good score is."""

    conventions = (OWN, NO_BOS)
    better: bool  # whether a high accuracy is good

    def about(self, question: Question) -> str:
        """What the prompt says the question is about."""
        raise NotImplementedError

    def measure(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        *,
        conventions: str = OWN,
    ) -> Generator[Progress, None, RowLog]:
        if not data.questions:
            raise InputError("data", data.name, "holds no questions", f"Name the questions of {self.title}.")
        special, front = conventions != NO_BOS, front_of(model)
        rows: dict[str, dict[str, Any]] = {}
        encoded: list[Encoded] = []
        asked: list[int] = []
        for place, question in enumerate(data.questions):
            if front.refusal(question.question) is None:
                prompt = front.ask(harness_prompt(question, self.about(question)))
                encoded += continuations(tokenizer, prompt, special=special)
                asked.append(place)
        likely = {place: [0.0] * len(LETTERS) for place in asked}
        done = 0
        for batch in traces(model, encoded, pad_id_of(tokenizer)):
            for trace in batch:
                row, letter = divmod(trace.index, len(LETTERS))
                likely[asked[row]][letter] = float(trace.log_prob_T.sum(dtype="float64"))
            done += len(batch)
            yield Progress("questions", done, len(encoded))
        for place, question in enumerate(data.questions):
            found = likely.get(place)
            chosen = mmlu.REFUSED if found is None else max(range(4), key=found.__getitem__)
            rows.setdefault(f"{self.name}_{question.subject}", {})[question.id] = {
                "score": float(chosen == question.answer),
                "predicted": LETTERS[chosen] if found is not None else "",
                "gold": LETTERS[question.answer],
                **({} if found is None else {"log_likelihoods": found}),
            }
        return RowLog(rows)

    def score(self, log: RowLog, reference: RowLog | None = None, *, conventions: str = OWN) -> Result:
        split = "retain" if self.better else "forget"
        terms = [self._term(name, name.removeprefix(f"{self.name}_"), rows, split) for name, rows in log.rows.items()]
        whole = {f"{name}/{place}": row for name, rows in log.rows.items() for place, row in rows.items()}
        if not whole:
            return Result(self.name, (), {self.name: None}, (), conventions, rows=log)
        total = self._term(self.name, f"all of {self.title} (micro average)", whole, split)
        interval = wilson_interval(sum(row["score"] == 1 for row in whole.values()), len(whole))
        counts = {letter: sum(row.get("predicted") == letter for row in whole.values()) for letter in LETTERS}
        told = ", ".join(f"{letter} {count}" for letter, count in counts.items())
        notes = [f"Letters predicted: {told}. Guessing scores {CHANCE}."]
        aggregate = {
            self.name: total.value,
            "interval": None if interval is None else list(interval),
            "letters": counts,
        }
        return Result(self.name, (*terms, replace(total, total=True)), aggregate, tuple(notes), conventions, rows=log)

    def _term(self, name: str, title: str, rows: Rows, split: str) -> Term:
        hits = [row["score"] for row in rows.values()]
        return Term(name, f"Accuracy, {title.replace('_', ' ')}", split, sum(hits) / len(hits), len(hits), self.better)


class Mmlu(_Letters):
    """57 subjects of general knowledge: what unlearning is to leave alone."""

    name = "mmlu"
    title = "MMLU"
    source = "arXiv 2009.03300; scored as lm-evaluation-harness, task mmlu, zero-shot"
    better = True

    def load(self, ref: str, columns: dict[str, str], retain: str | None) -> UnlearningData:
        few_shot, questions = load_mmlu(ref)
        return UnlearningData(name=Path(ref).name, forget=(), questions=questions, few_shot=few_shot)

    def about(self, question: Question) -> str:
        return question.subject.replace("_", " ")


class Wmdp(_Letters):
    """Hazardous knowledge in biology, chemistry and cybersecurity: what unlearning is to remove."""

    name = "wmdp"
    title = "WMDP"
    source = "arXiv 2403.03218; scored as lm-evaluation-harness, tasks wmdp_bio, wmdp_chem and wmdp_cyber"
    better = False

    def load(self, ref: str, columns: dict[str, str], retain: str | None) -> UnlearningData:
        folder = Path(ref)
        if not folder.is_dir():
            raise InputError("data", ref, "is not a directory", f"Name a folder with wmdp-{', wmdp-'.join(SUBJECTS)}.")
        return read_wmdp(folder)

    def about(self, question: Question) -> str:
        return _NAMES.get(question.subject, question.subject)
