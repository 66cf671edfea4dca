"""MUSE (Shi et al., arXiv 2407.06460): forget the news or the books a model was trained on.

Four criteria of one model: no verbatim memorisation (VerbMem) and no knowledge memorisation (KnowMem) of the
forget set, no privacy leak (PrivLeak), utility kept (KnowMem of the retain set). ROUGE-L F throughout.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.data.encode import Encoded, encode_document, text_ids
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OPEN_UNLEARNING, OWN, Protocol, Result
from unlearn_core.evaluation.protocols.terms.passes import AnswerReader, cut, memorisation_rows, written_rows
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, Rows
from unlearn_core.evaluation.protocols.terms.tables import Mean, Measure, attacks, privleak_term, terms_of, value_of
from unlearn_core.models.inference.positions import context_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MEASURES: tuple[Measure, ...] = (
    Mean("forget_verbmem_ROUGE", "Verbatim memorisation (ROUGE-L F)", "forget", "rougeL_f1"),
    Mean("forget_knowmem_ROUGE", "Knowledge memorisation (ROUGE-L F)", "forget", "rougeL_f1"),
    Mean("retain_knowmem_ROUGE", "Knowledge kept (ROUGE-L F)", "retain", "rougeL_f1", True),
    Mean("extraction_strength", "Extraction strength", "forget", "score"),
    Mean("exact_memorization", "Exact memorisation", "forget", "score"),
    *attacks(),
)


_TOTALS = ("forget_verbmem_ROUGE", "forget_knowmem_ROUGE", "privleak", "retain_knowmem_ROUGE")
VERBMEM_TOKENS, KNOWMEM_TOKENS = 128, 32  # new tokens at most
KNOWMEM_PROMPT, MAX_TOKENS = 512, 2048  # what open-unlearning cuts prompts and texts to
STOPS = ("\n\n", "\nQuestion", "Question:")
MUSE_BENCH = "muse-bench"  # the paper's own code: no stemmer, a truth of 128 tokens, nothing stripped


def knowledge_prompts(rows: Sequence[Example], shots: Sequence[Example]) -> list[str]:
    """Ten solved questions, then the one that is asked; the space at the end is the paper's."""
    solved = "".join(f"Question: {shot.input}\nAnswer: {shot.output}\n\n" for shot in shots)
    return [f"{solved}Question: {row.input}\nAnswer: " for row in rows]


def _passage(tokenizer: PreTrainedTokenizerBase, row: Example, limit: int | None) -> Encoded:
    """A passage after its prompt: one text with a space between, all tokens after the prompt's labelled."""
    start = len(text_ids(tokenizer, row.input))
    ids = text_ids(tokenizer, f"{row.input} {row.output}")
    return Encoded(tuple(ids[: None if limit is None else start + limit]), max(1, start))


def _first_tokens(tokenizer: PreTrainedTokenizerBase, passage: str) -> str:
    """The text of its first 128 tokens, the beginning of text counted, as the paper's code cuts it."""
    ids = text_ids(tokenizer, passage)[:VERBMEM_TOKENS]
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def _truth(row: Example, conventions: str) -> str:
    """What should have been written. open-unlearning takes the prompt out of prompt and passage together, and so out
    of every place where the passage says it again."""
    if conventions != OPEN_UNLEARNING:
        return row.output.strip()
    return f"{row.input} {row.output}".replace(row.input, "").strip()


class Muse(Protocol):
    """Forget BBC news or the Harry Potter books."""

    name = "muse"
    title = "MUSE"
    source = "arXiv 2407.06460; scored as github.com/locuslab/open-unlearning, commit d3d7cf9"
    conventions = (OWN, OPEN_UNLEARNING, MUSE_BENCH)

    @classmethod
    def fits(cls, data: UnlearningData) -> bool:
        return "verbmem" in data.evaluation_sets

    def measure(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        *,
        conventions: str = OWN,
    ) -> Generator[Progress, None, RowLog]:
        sets = data.evaluation_sets
        if "verbmem" not in sets:
            mend = "Name a folder laid out as muse-bench/MUSE-News."
            raise InputError("data", data.name, "holds none of MUSE's passages (verbmem)", mend)
        reader = AnswerReader(model, tokenizer, conventions)
        rows: dict[str, Rows] = {}
        passages = sets["verbmem"]
        texts = yield from reader.go_on("passages", [row.input for row in passages], VERBMEM_TOKENS)
        if conventions == MUSE_BENCH:
            truths = [_first_tokens(tokenizer, row.output) for row in passages]
        else:
            truths, texts = [_truth(row, conventions) for row in passages], [text.strip() for text in texts]
        rows["forget_verbmem_ROUGE"] = written_rows([row.input for row in passages], truths, texts)
        for side in ("forget", "retain"):
            asked = sets.get(f"knowmem_{side}", ())
            prompts = knowledge_prompts(asked, sets.get(f"knowmem_{side}_shots", ()))
            most = KNOWMEM_PROMPT if conventions == OPEN_UNLEARNING else None
            texts = yield from reader.go_on(f"{side} questions", prompts, KNOWMEM_TOKENS, max_prompt=most)
            texts = [cut(text, STOPS) for text in texts]
            if conventions != MUSE_BENCH:
                texts = [text.strip() for text in texts]
            truths = [row.output.strip() for row in asked]
            rows[f"{side}_knowmem_ROUGE"] = written_rows([row.input for row in asked], truths, texts)
        limit = MAX_TOKENS if conventions == OPEN_UNLEARNING else None
        encoded = [_passage(tokenizer, row, limit) for row in passages]
        rows |= memorisation_rows((yield from reader.read("passages read", encoded)), conventions)
        longest = context_length(model) if limit is None else limit + 1
        forget, holdout = (
            [encode_document(tokenizer, text, place, longest) for place, text in enumerate(side)]
            for side in (data.members, data.nonmembers)
        )
        readings = yield from reader.read("forget documents", forget, moments=True)
        sides = yield from reader.attacks(readings, forget, holdout)
        return RowLog(rows, sides)

    def score(self, log: RowLog, reference: RowLog | None = None, *, conventions: str = OWN) -> Result:
        stem = conventions != MUSE_BENCH
        terms = terms_of(log, [replace(m, stem=stem) if isinstance(m, Mean) else m for m in MEASURES])
        leak = privleak_term(log, reference)
        if leak is not None:
            terms.append(leak)
        aggregate: dict[str, float | None] = {
            "verbmem": value_of(terms, "forget_verbmem_ROUGE"),
            "knowmem_forget": value_of(terms, "forget_knowmem_ROUGE"),
            "privleak": None if leak is None else leak.value,
            "knowmem_retain": value_of(terms, "retain_knowmem_ROUGE"),
        }
        notes = (leak.note,) if leak is not None and leak.note else ()
        marked = (replace(term, total=term.name in _TOTALS) for term in terms)
        return Result(self.name, tuple(marked), aggregate, notes, conventions, rows=log)
