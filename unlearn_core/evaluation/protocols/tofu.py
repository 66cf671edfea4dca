"""TOFU (Maini et al., arXiv 2401.06121): fictitious authors, scored as open-unlearning scores it.

Forget rows are those of `forgetXX_perturbed`; retain rows those of `retain_perturbed`. Model utility is the
harmonic mean of nine terms; forget quality a Kolmogorov-Smirnov test between the truth ratios of the model and
of one that never saw the forget set.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from unlearn_core.data.benchmarks.tofu import FACTS
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics.token_metrics import forget_quality
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OPEN_UNLEARNING, OWN, Protocol, Result, Term
from unlearn_core.evaluation.protocols.terms import aggregates
from unlearn_core.evaluation.protocols.terms.passes import (
    AnswerReader,
    AnswerReading,
    memorisation_rows,
    probability_rows,
    written_rows,
    wrong_rows,
)
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, Rows
from unlearn_core.evaluation.protocols.terms.tables import (
    NO_REFERENCE_AUC,
    Mean,
    Measure,
    RelativeProbability,
    TruthRatio,
    attacks,
    privleak_term,
    terms_of,
    value_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_FORGET_RATIO = TruthRatio(
    "forget_truth_ratio",
    "Truth ratio, min(R, 1/R)",
    "forget",
    "forget_Q_A_PARA_Prob",
    "forget_Q_A_PERT_Prob",
    aggregates.closer_to_one,
)


def _kept(split: str, words: str, *, paraphrased: bool) -> tuple[Measure, ...]:
    """The measures of rows to be kept; real facts have no paraphrase, and are read beside their alternatives."""
    right = f"{split}_Q_A_PARA_Prob" if paraphrased else f"{split}_Q_A_Prob"
    wrong = f"{split}_Q_A_PERT_Prob"
    probability = Mean(f"{split}_Q_A_Prob", f"Probability, {words}", words, "prob", True)
    relative = RelativeProbability(
        f"{split}_Q_A_Prob_normalised", f"Relative probability, {words}", words, right, wrong
    )
    return (
        *((probability,) if paraphrased else (probability, relative)),
        Mean(f"{split}_Q_A_ROUGE", f"ROUGE-L recall, {words}", words, "rougeL_recall", True),
        TruthRatio(f"{split}_Truth_Ratio", f"Truth ratio, {words}", words, right, wrong, aggregates.true_better, True),
        *((Mean(right, f"Probability of the paraphrase, {words}", words, "prob", True),) if paraphrased else ()),
        Mean(wrong, f"Probability of wrong answers, {words}", words, "prob", None),
    )


MEASURES: tuple[Measure, ...] = (
    Mean("forget_Q_A_Prob", "Probability", "forget", "prob"),
    Mean("forget_Q_A_PARA_Prob", "Probability of the paraphrase", "forget", "prob"),
    Mean("forget_Q_A_PERT_Prob", "Probability of wrong answers", "forget", "prob", None),
    Mean("forget_Q_A_ROUGE", "ROUGE-L recall", "forget", "rougeL_recall"),
    _FORGET_RATIO,
    Mean("extraction_strength", "Extraction strength", "forget", "score"),
    Mean("exact_memorization", "Exact memorisation", "forget", "score"),
    *_kept("retain", "retain", paraphrased=True),
    *_kept("ra", "real authors", paraphrased=False),
    *_kept("wf", "world facts", paraphrased=False),
    *attacks(),
)
UTILITY_TERMS = (
    "retain_Q_A_Prob",
    "retain_Q_A_ROUGE",
    "retain_Truth_Ratio",
    "ra_Q_A_Prob_normalised",
    "ra_Q_A_ROUGE",
    "ra_Truth_Ratio",
    "wf_Q_A_Prob_normalised",
    "wf_Q_A_ROUGE",
    "wf_Truth_Ratio",
)


MAX_NEW_TOKENS = 200
# Split by whose name its measures begin: forget rows have a paraphrase, real facts their alternatives alone.
_PREFIXES = {"forget": "forget", "retain": "retain", "real_authors": "ra", "world_facts": "wf"}


def asked_rows(data: UnlearningData) -> dict[str, list[Example]]:
    """The rows that are asked, by set; InputError where the data lacks the answers TOFU compares with."""
    sets = {
        "forget": [row for row in data.forget if row.wrong],
        "retain": [row for row in data.retain if row.wrong],
        **{name: list(data.evaluation_sets.get(name, ())) for name in FACTS},
    }
    if not sets["forget"]:
        problem = "has no wrong answers beside those of its forget set"
        raise InputError("data", data.name, problem, "Add forgetXX_perturbed, as locuslab/TOFU has it.")
    return {name: rows for name, rows in sets.items() if rows}


class Tofu(Protocol):
    """Forget 1, 5 or 10 % of 200 invented authors."""

    name = "tofu"
    title = "TOFU"
    source = "arXiv 2401.06121; scored as github.com/locuslab/open-unlearning, commit d3d7cf9"
    conventions = (OWN, OPEN_UNLEARNING)

    @classmethod
    def fits(cls, data: UnlearningData) -> bool:
        return FACTS[0] in data.evaluation_sets and any(row.wrong for row in data.forget)

    def prompt_format(self, asked: str, tokenizer: PreTrainedTokenizerBase) -> str:
        """TOFU's chat format (its system text and date) where the model has a chat template."""
        return "tofu" if asked == "auto" and tokenizer.chat_template else asked

    def measure(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        *,
        conventions: str = OWN,
    ) -> Generator[Progress, None, RowLog]:
        reader = AnswerReader(model, tokenizer, conventions)
        rows: dict[str, Rows] = {}
        forget: list[AnswerReading] = []
        for name, asked in asked_rows(data).items():
            prefix, words = _PREFIXES[name], name.replace("_", " ")
            texts = yield from reader.answer(f"{words}: answers", [row.prompt for row in asked], MAX_NEW_TOKENS)
            rows[f"{prefix}_Q_A_ROUGE"] = written_rows(
                [row.input for row in asked], [row.output.strip() for row in asked], [text.strip() for text in texts]
            )
            own = yield from reader.read_rows(f"{words}: right answers", asked, moments=True)
            rows[f"{prefix}_Q_A_Prob"] = probability_rows(own)
            if name == "forget":
                forget = own
            if prefix in ("forget", "retain"):
                reworded = [replace(row, output=row.paraphrases[0] if row.paraphrases else row.output) for row in asked]
                read = yield from reader.read_rows(f"{words}: paraphrases", reworded)
                rows[f"{prefix}_Q_A_PARA_Prob"] = probability_rows(read)
            wrong = [replace(row, output=answer) for row in asked for answer in row.wrong]
            read = yield from reader.read_rows(f"{words}: wrong answers", wrong)
            rows[f"{prefix}_Q_A_PERT_Prob"] = wrong_rows(asked, read)
        rows |= memorisation_rows(forget, conventions)
        asked = asked_rows(data)["forget"]
        sides = yield from reader.attacks(forget, reader.encode(asked), reader.encode(data.holdout))
        return RowLog(rows, sides)

    def score(self, log: RowLog, reference: RowLog | None = None, *, conventions: str = OWN) -> Result:
        terms = terms_of(log, MEASURES)
        utility = aggregates.harmonic_mean([value_of(terms, name) for name in UTILITY_TERMS])
        quality = None
        if reference is not None:
            quality = forget_quality(_FORGET_RATIO.ratios(log), _FORGET_RATIO.ratios(reference))
        rows = sum(term.n for term in terms if term.name in UTILITY_TERMS)
        # As everywhere, what the others lead up to stands last.
        leak = privleak_term(log, reference)
        if leak is not None:
            terms.append(leak)
        terms.append(
            Term(
                "forget_quality",
                "Forget quality (p-value)",
                "forget",
                None if quality is None else quality.p_value,
                0 if quality is None else quality.n,
                True,
                "" if quality else "It needs the truth ratios of a model that never saw the forget set.",
                total=True,
                formula="p-value of a two-sided Kolmogorov-Smirnov test between the truth ratios of this model and of "
                "the retain model on the forget set",
                caution="Near 1: not to be told from a model that never saw the forget set; TOFU asks for more than "
                "0.05. A model that writes gibberish can reach it, so read it beside model utility.",
            )
        )
        terms.append(
            Term(
                "model_utility",
                "Model utility (nine terms)",
                "retain",
                utility,
                rows,
                True,
                total=True,
                formula="9 / (1/t1 + ... + 1/t9): the harmonic mean of probability, ROUGE-L recall and truth ratio on "
                "retain rows, real authors and world facts",
                caution="One term at 0 makes it exactly 0. A small model that never knew the real authors has a low "
                "one before anything is forgotten: read it beside the original's.",
            )
        )
        aggregate: dict[str, object] = {
            "model_utility": utility,
            "forget_quality": None if quality is None else asdict(quality),
            "privleak": None if leak is None else leak.value,
        }
        notes = (NO_REFERENCE_AUC,) if leak is not None and leak.note else ()
        return Result(self.name, tuple(terms), aggregate, notes, conventions, UTILITY_TERMS, "model_utility", rows=log)
