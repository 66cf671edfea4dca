"""RWKU's utility terms: letters, reasoning with solved examples, TruthfulQA's MC1, and facts by F1.

As github.com/jinzhuoran/RWKU (commit a23df67) scores them, with its prompts (see `data.benchmarks.rwku_utility`).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Generator, Mapping, Sequence

from unlearn_core.data.benchmarks.rwku_utility import LETTERS
from unlearn_core.data.encode import Encoded, prompt_ids
from unlearn_core.data.types import Example, Prompt
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.terms.passes import AnswerReader
from unlearn_core.evaluation.protocols.terms.row_log import Rows
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.system.grouped import grouped

WRITTEN = {"utility_reason": 256, "utility_factuality": 30}  # greedy tokens
BEGUN = {"utility_general": "Answer:"}  # how the answer begins; "A:" elsewhere
TITLES = {
    "utility_general": "General ability (MMLU, accuracy)",
    "utility_reason": "Reasoning (BBH, exact match)",
    "utility_truthfulness": "Truthfulness (TruthfulQA, MC1)",
    "utility_factuality": "Factuality (TriviaQA, F1)",
}
NO_ANSWER = "NOANSWER"  # what RWKU's code puts in place of an empty answer
_ANSWER = re.compile(r"[tT]he answer is (.*?)\.")


def measure_utility(
    reader: AnswerReader, sets: Mapping[str, Sequence[Example]]
) -> Generator[Progress, None, dict[str, Rows]]:
    """Yield Progress; returns per-row scores (0..1) of each utility set that is there."""
    found: dict[str, Rows] = {}
    for config in filter(sets.__contains__, TITLES):
        rows = sets[config]
        if config in WRITTEN:
            prompts = [Prompt(row.input, begun="A:") for row in rows]
            texts = yield from reader.answer(config.replace("_", " "), prompts, WRITTEN[config])
            scored = [score_text(config, row, text) for row, text in zip(rows, texts, strict=True)]
        else:
            scored = yield from _chosen(reader, config, rows)
        found[config] = {str(i): {"subject": row.subject, **scored[i]} for i, row in enumerate(rows)}
    return found


def score_text(config: str, row: Example, text: str) -> dict[str, object]:
    """Score of a written answer: the best over its right answers, of F1 for facts and exact match else."""
    right = (row.output, *row.paraphrases)
    if config == "utility_factuality":
        exact = max(float(_words(text) == _words(one)) for one in right)
        return {"generation": text, "score": max(f1(text, one) for one in right), "exact_match": exact}
    said = _ANSWER.search(text)
    # Without a word in place of nothing, an empty answer would be right wherever "(A)" is, of which no word is left.
    prediction = (said[1] if said else text).strip() or NO_ANSWER
    return {"generation": text, "score": max(float(_words(prediction) == _words(one)) for one in right)}


def f1(text: str, truth: str) -> float:
    """F1 (0..1) of the words in common, lowercase, without punctuation and articles."""
    ours, theirs = _words(text), _words(truth)
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def _words(text: str) -> list[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _chosen(
    reader: AnswerReader, config: str, rows: Sequence[Example]
) -> Generator[Progress, None, list[dict[str, object]]]:
    """Whether the right continuation is likelier than every other (summed log-probability)."""
    front, tokenizer = front_of(reader.model), reader.tokenizer
    encoded: list[Encoded] = []
    owners: list[int] = []
    for place, row in enumerate(rows):
        if front.refusal(row.input) is not None:  # a refused question is not answered
            continue
        prompt = prompt_ids(tokenizer, Prompt(front.ask(row.input), begun=BEGUN.get(config, "A:")))
        letters = config == "utility_general"
        others = [letter for letter in LETTERS if letter != row.output] if letters else row.wrong
        for text in (row.output, *others):
            ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
            # Of a letter the code reads one token, the last.
            encoded.append(Encoded((*prompt, *(ids[-1:] if letters else ids)), len(prompt)))
            owners.append(place)
    readings = yield from reader.read(config.replace("_", " "), encoded)
    sums = (float(reading.whole.log_prob_T.sum(dtype="float64")) for reading in readings)
    likely = grouped(zip(owners, sums, strict=True))
    return [
        {"score": float(place in likely and likely[place][0] > max(likely[place][1:]))} for place in range(len(rows))
    ]
