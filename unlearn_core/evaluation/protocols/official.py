"""The organisers' files: read inference CSVs, compute the official result to the digit, write both.

    forget_<rank>.csv  retain_<rank>.csv        id, task, input, expected_output, model_output, nll
    mia_results/member_<rank>.csv  nonmember_<rank>.csv                                    id, nll
    metrics.json                                               MMLU: average_acc, subcat_acc, cat_acc
    evaluation_results.jsonl                                                           the result

The CSV round trip belongs to the protocol: pandas reads an empty generation (and the texts it takes for
missing, such as `None` or `NA`) as NaN, and the scorer then sees the text `nan`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.metrics.fluency import Fluency, fluency, vocabulary
from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import ANSWER_SCORES, SPLITS, TERM_NAMES, Generation, Scores
from unlearn_core.evaluation.verdict import Verdict, verdict
from unlearn_core.system.files import write_text

COLUMNS = ("id", "task", "input", "expected_output", "model_output", "nll")
RESULT_FILE = "evaluation_results.jsonl"
OfficialResult = dict[str, Any]  # the organisers' result, in their words
# What always answering one letter scores on the 14,042 test questions: the range of "knows nothing".
ONE_LETTER = (0.229, 0.269)
NUM_MMLU = 14_042
_KINDS = {"sc": "completion", "qa": "question"}


def score_directory(
    folder: str | Path, mia: str | Path | None = None, mmlu: str | Path | None = None
) -> OfficialResult:
    """The official result of inference files. `mia`: a directory with member and nonmember CSVs (default:
    `mia_results` inside `folder`, where there is one) or a result file; `mmlu`: a metrics.json or a result
    file."""
    return score_files(folder, mia, mmlu)[0]


def score_files(
    folder: str | Path, mia: str | Path | None = None, mmlu: str | Path | None = None
) -> tuple[OfficialResult, Scores]:
    """`score_directory`, and the same as Scores, with what can be measured of the texts and losses."""
    folder = Path(folder)
    rows = read_generations(folder)
    documents = Path(mia) if mia is not None else folder / "mia_results"
    losses: tuple[list[float], list[float]] = ([], [])
    auc = None
    if documents.is_file():
        auc = read_share(documents, "mia", "mia_loss_acc")
    elif mia is not None or documents.is_dir():
        losses = read_losses(documents)
        auc = membership.auc(*losses)
    average = read_mmlu(Path(mmlu)) if mmlu is not None else None
    result = official_result(rows, auc, average)
    return result, _as_scores(result, rows, losses)


def read_generations(folder: Path) -> list[Generation]:
    """Every row of the inference files, scored; several ranks are joined in the order of their names."""
    rows: list[Generation] = []
    for split in SPLITS:
        for record in _read_csvs(folder, split, COLUMNS[:5]):
            kind = _KINDS.get(record["id"][:-1][-2:], "")
            gold, text = record["expected_output"], record["model_output"]
            score = semeval.text_score(kind, gold, text, official=True) if kind else math.nan
            rows.append(Generation(record["id"], split, record["task"], kind, record["input"], gold, text, score))
    return rows


def read_losses(folder: Path) -> tuple[list[float], list[float]]:
    """Losses of members and non-members from `member_*.csv` and `nonmember_*.csv`."""
    members, nonmembers = (
        [_number(record["nll"], folder) for record in _read_csvs(folder, side, ("nll",))]
        for side in ("member", "nonmember")
    )
    if not members or not nonmembers:
        raise InputError("mia", str(folder), "holds no losses", "Run the inference first.")
    return members, nonmembers


def read_mmlu(path: Path) -> float:
    """`average_acc` of a metrics.json, or `mmlu_average` of a result file."""
    return read_share(path, "mmlu", "mmlu_average" if path.suffix == ".jsonl" else "average_acc")


def read_share(path: Path, field: str, key: str) -> float:
    """The number from 0 to 1 that a JSON file holds under `key`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{key} is not a share")
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"holds no usable {key} ({error})"
        raise InputError(field, str(path), problem, f"Give a JSON file with {key}.") from error
    return float(value)


def differences(result: OfficialResult, stored: OfficialResult) -> tuple[list[str], list[str]]:
    """Fields of a stored result that were computed here: those that are equal, and those that are not."""
    shared = [key for key in stored if key in result]
    equal = [key for key in shared if stored[key] == result[key]]
    return equal, [key for key in shared if key not in equal]


def read_result(folder: Path) -> OfficialResult | None:
    """The result file of a folder; None where there is none that can be read."""
    try:
        stored = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def official_result(
    generations: Iterable[Generation], mia_auc: float | None = None, mmlu: float | None = None
) -> OfficialResult:
    """The organisers' result, in their words and order. Rows that are neither `sc` nor `qa` count nowhere."""
    rows = list(generations)
    result: OfficialResult = {}
    aggregated: list[float | None] = []
    for split in SPLITS:
        mine = [row for row in rows if row.split == split]
        overall = [semeval.mean(_scores(mine, metric)) for metric in ANSWER_SCORES]
        result[f"{split}-set"] = {
            "overall-regurgitation-score": overall[0],
            "overall-knowledge-score": overall[1],
        }
        for task in sorted({row.task for row in mine}):
            rows_of_task = [row for row in mine if row.task == task]
            values = [semeval.mean(_scores(rows_of_task, metric)) for metric in ANSWER_SCORES]
            result[f"{split}-set"][task] = {f"{m}-score": v for m, v in zip(ANSWER_SCORES, values, strict=True)}
            aggregated += [1 - v if v is not None and split == "forget" else v for v in values]
    aggregate = semeval.task_aggregate(aggregated)
    if aggregate == 0:
        aggregate = 0  # the organisers' harmonic mean writes a whole 0
    if mia_auc is not None:
        result["mia_loss_acc"] = mia_auc
    if mmlu is not None:
        result["mmlu_average"] = mmlu
    result["aggregated-terms"] = aggregated
    result["aggregate-score"] = -1
    result["harmonic-mean-task-aggregate"] = aggregate
    if mia_auc is not None and mmlu is not None:
        result["mia_final_score"] = score = semeval.mia_score(mia_auc)
        if aggregate is not None:
            result["aggregate-score"] = semeval.final_score(aggregate, score, mmlu)
    return result


def write_result(result: OfficialResult, folder: Path) -> Path:
    """Write `evaluation_results.jsonl` in one piece."""
    return write_text(folder / RESULT_FILE, json.dumps(result))


def write_generations(folder: Path, split: str, generations: Sequence[Generation], nlls: Sequence[float]) -> Path:
    """Write `<split>_0.csv` from generations and the NLL of `input + output` of each."""
    rows = [(g.id, g.task, g.input, g.gold, g.output, nll) for g, nll in zip(generations, nlls, strict=True)]
    return _write_csv(folder / f"{split}_0.csv", COLUMNS, rows)


def write_losses(folder: Path, side: str, losses: Sequence[tuple[str, float]]) -> Path:
    """Write `mia_results/<side>_0.csv` from (document id, mean token NLL)."""
    return _write_csv(folder / "mia_results" / f"{side}_0.csv", ("id", "nll"), losses)


def verdict_of_official(result: OfficialResult, generations: Sequence[Generation] = ()) -> Verdict:
    """Judge a result file. The original is taken to have known everything, as the benchmark's targets do. With
    `generations`, fluency counts too."""
    language = _fluency(generations)["retain"]
    return _judged(_terms(result), result.get("mia_loss_acc"), result.get("mmlu_average"), language)


def _terms(result: OfficialResult) -> dict[str, float | None]:
    """The twelve plain means of a result, by name; None where the data has no such rows."""
    terms: dict[str, float | None] = dict.fromkeys(TERM_NAMES)
    for split in SPLITS:
        for task, values in result.get(f"{split}-set", {}).items():
            for metric in ANSWER_SCORES if isinstance(values, dict) else ():
                if f"{split}/{task}/{metric}" in terms:
                    terms[f"{split}/{task}/{metric}"] = values.get(f"{metric}-score")
    return terms


def _fluency(rows: Sequence[Generation]) -> dict[str, Fluency | None]:
    known = vocabulary(text for row in rows for text in (row.input, row.gold))
    return {split: fluency([row.output for row in rows if row.split == split], known) for split in SPLITS}


def _as_scores(result: OfficialResult, rows: Sequence[Generation], losses: tuple[list[float], list[float]]) -> Scores:
    """The result in the form that every model's scores have; the weights it came from are not known."""
    terms = _terms(result)
    auc, average = result.get("mia_loss_acc"), result.get("mmlu_average")
    floors = ((row.task, row.id[:-3], row.gold) for row in rows if row.split == "forget" and row.kind == "completion")
    details = ScoreDetails(
        member_losses=losses[0],
        nonmember_losses=losses[1],
        auc_interval=membership.bootstrap_interval(*losses),
        rouge_floors=semeval.rouge_floors(floors),
        fluency=_fluency(rows),
        utility=None if average is None else _utility(average),
    )
    found = _of_means(terms, auc, average, details)
    return replace(found, final_score=float(result["aggregate-score"]), generations=tuple(rows))


def _utility(average: float) -> Utility:
    interval = membership.wilson_interval(round(average * NUM_MMLU), NUM_MMLU)
    return Utility(average, NUM_MMLU, interval=interval, signal=_has_signal(average))


def _has_signal(average: float) -> bool:
    return average > ONE_LETTER[1] + 0.01


def verdict_of_means(forget: tuple[float, float], retain: tuple[float, float], mia_auc: float, mmlu: float) -> Verdict:
    """Judge a published run of which only the overall (regurgitation, knowledge) means are known."""
    means = {"forget": forget, "retain": retain}
    terms: dict[str, float | None] = {
        name: means[name.split("/")[0]][ANSWER_SCORES.index(name.split("/")[2])] for name in TERM_NAMES
    }
    return _judged(terms, mia_auc, mmlu, None)


def _judged(terms: dict[str, float | None], auc: float | None, mmlu: float | None, language: Fluency | None) -> Verdict:
    known: dict[str, float | None] = {name: None if value is None else 1.0 for name, value in terms.items()}
    original = _of_means(known, 1.0, None, ScoreDetails())
    found = verdict(original, _of_means(terms, auc, mmlu, ScoreDetails(fluency={"retain": language})))
    if mmlu is not None and not _has_signal(mmlu):
        reason = (
            f"MMLU {mmlu:.3f} carries no signal: always answering one letter gives {ONE_LETTER[0]} to {ONE_LETTER[1]}"
        )
        return replace(found, reasons=(*found.reasons, reason))
    return found


def _of_means(terms: dict[str, float | None], auc: float | None, mmlu: float | None, details: ScoreDetails) -> Scores:
    """Scores of which only the means are known; the weights they came from are not."""
    aggregated = semeval.aggregated(terms)
    return Scores(terms, aggregated, **semeval.totals(aggregated, auc, mmlu), weights_hash="", details=details)


def _scores(rows: Sequence[Generation], metric: str) -> list[float]:
    kind = "completion" if metric == ANSWER_SCORES[0] else "question"
    return [row.score for row in rows if row.kind == kind]


def _read_csvs(folder: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of `<name>_<rank>.csv`, every cell as the text the organisers' script would see."""
    import pandas

    files = sorted(folder.glob(f"{name}_*.csv"))
    if not files:
        raise InputError("directory", str(folder), f"holds no {name}_0.csv", "Run the inference first.")
    rows: list[dict[str, str]] = []
    for path in files:
        try:
            frame = pandas.read_csv(path)
        except (OSError, ValueError, UnicodeError) as error:
            raise InputError("file", path.name, f"is not CSV ({error})", "Write it with pandas.") from error
        absent = [column for column in columns if column not in frame.columns]
        if absent:
            raise InputError("file", path.name, f"has no column {absent[0]}", f"Give {', '.join(columns)}.")
        cells = zip(*(frame[column].tolist() for column in columns), strict=True)
        rows += [dict(zip(columns, map(str, record), strict=True)) for record in cells]
    return rows


def _number(text: str, folder: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError("mia", text, f"is not a loss (in {folder.name})", "Write numbers.") from None


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    for row in rows:  # a lone carriage return ends a row for pandas, and the writer does not quote for it
        (quoted if any("\r" in str(cell) for cell in row) else writer).writerow(row)
    return write_text(path, text.getvalue())
