"""`lethe score` and `lethe eval`: the protocol on the organisers' files, and on a model."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.commands.benchmarks import HARNESS, eval_harness, eval_protocol, score_log
from unlearn_core.cli.commands.run import pair
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_file, check_folder, prepare, print_or_write, whole_number
from unlearn_core.cli.table import judgement, number_or_dash, scorecard, table
from unlearn_core.data.prompt_format import PROMPTS, named, put_on
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.registry import PROTOCOLS, SEMEVAL
from unlearn_core.system.files import write_json

if TYPE_CHECKING:
    from unlearn_core.evaluation.protocols.official import OfficialResult


def add_to(commands: Commands) -> None:
    score = commands.add_parser("score", help="a benchmark's result from stored outputs alone, without a model")
    score.add_argument(
        "directory", metavar="PATH", help="semeval: DIR with forget_0.csv, retain_0.csv, mia_results/; else a log"
    )
    score.add_argument(
        "--protocol", default=SEMEVAL, choices=(SEMEVAL, *PROTOCOLS), help="whose terms (default: semeval)"
    )
    score.add_argument("--retain-model", metavar="LOG", help="log of the model that never saw the forget set")
    score.add_argument("--as", dest="conventions", metavar="WHOSE", help="by whose conventions, like open-unlearning")
    score.add_argument(
        "--mia",
        metavar="DIR",
        help="member and nonmember losses (default: DIR/mia_results), or a result file that holds the AUC",
    )
    score.add_argument("--mmlu", metavar="FILE", help="metrics.json of MMLU, or a result file")
    score.add_argument("--out", metavar="DIR", help="where evaluation_results.jsonl goes (default: DIR)")
    score.add_argument("--json", metavar="FILE", help="also write result and verdict here (- for stdout)")
    score.set_defaults(action=score_command)
    evaluate = commands.add_parser("eval", help="run a benchmark on a model")
    evaluate.add_argument(
        "--protocol",
        default=SEMEVAL,
        choices=(SEMEVAL, *PROTOCOLS, HARNESS),
        help="which one (default: semeval); lm-eval runs tasks of lm-evaluation-harness (its extra: eval)",
    )
    evaluate.add_argument("--model", required=True, metavar="REF", help="demo, a directory or a Hub id")
    evaluate.add_argument("--data", metavar="REF", help="demo, a file, a directory or a Hub id")
    evaluate.add_argument("--task", action="append", default=[], metavar="NAME", help="lm-eval: a task, like gsm8k")
    evaluate.add_argument("--limit", type=whole_number, metavar="N", help="lm-eval: at most N questions a task")
    evaluate.add_argument("--retain", metavar="REF", help="a separate retain set")
    evaluate.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="name a column")
    evaluate.add_argument("--mia", metavar="DIR", help="member.jsonl and nonmember.jsonl")
    evaluate.add_argument("--mmlu", metavar="REF", help="MMLU: a local directory or a Hub id")
    evaluate.add_argument("--out", metavar="DIR", help="semeval: where the official files go")
    evaluate.add_argument(
        "--retain-model",
        metavar="REF|FILE",
        help="the model that never saw the forget set, or its stored result or log",
    )
    evaluate.add_argument("--prompt", choices=PROMPTS, default="auto", help="how prompts are put to the model")
    evaluate.add_argument("--as", dest="conventions", metavar="WHOSE", help="by whose conventions")
    evaluate.add_argument("--json", metavar="FILE", help="write every score here (- for stdout)")
    evaluate.set_defaults(action=eval_command)


def score_command(options: argparse.Namespace) -> int:
    if options.protocol != SEMEVAL:
        return score_log(options)
    from unlearn_core.evaluation.protocols.official import RESULT_FILE, score_files, verdict_of_official, write_result
    from unlearn_core.evaluation.remarks import remarks

    folder = _folder("DIR", options.directory)
    check_file(options.json)
    result, scores = score_files(folder, _existing(options.mia), options.mmlu)
    verdict = verdict_of_official(result, scores.generations).to_json()
    out = folder if options.out is None else Path(options.out)
    if options.out is None and (out / RESULT_FILE).exists():
        print(_compared(folder, result), file=sys.stderr)
    else:
        try:
            write_result(result, out)
        except OSError as error:
            raise InputError("--out", str(out), f"cannot be written ({error.strerror})", "Name another.") from None
    whole = {"result": result, "verdict": verdict, "remarks": [asdict(r) for r in remarks(scores)]}
    return print_or_write(options.json, whole, lambda: print(_table(result), judgement(verdict, scores), sep="\n\n"))


def _compared(folder: Path, result: OfficialResult) -> str:
    """What the result file that is there already says otherwise; it is never overwritten unasked."""
    from unlearn_core.evaluation.protocols.official import RESULT_FILE, differences, read_mmlu, read_result

    told = f"{folder / RESULT_FILE} is there already and was kept (--out names another place)."
    stored = read_result(folder)
    if stored is None:
        return told + " It cannot be read."
    equal, different = differences(result, stored)
    told += f" Equal to the last digit: {', '.join(equal) or 'nothing'}."
    if different:
        told += f" Different: {', '.join(different)}."
    missing = [key for key in ("mia_loss_acc", "mmlu_average") if key in stored and key not in result]
    if missing:
        told += f" Not given here: {', '.join(missing)} (name the file with --mia, --mmlu to take them over)."
    try:
        own = read_mmlu(folder / "metrics.json")
    except InputError:
        return told
    if "mmlu_average" in stored and stored["mmlu_average"] != own:
        told += (
            f"\nnote: metrics.json says {own:.4f}, and {stored['mmlu_average']:.4f} was counted: "
            "the two are of different checkpoints."
        )
    return told


def eval_command(options: argparse.Namespace) -> int:
    if options.protocol == HARNESS:
        return eval_harness(options)
    if options.data is None:
        raise InputError("--data", "", "is not given", "Name the data of the benchmark.")
    if options.protocol != SEMEVAL:
        return eval_protocol(options, dict(pair("column", text) for text in options.column))
    if options.out is None:
        raise InputError("--out", "", "is not given", "Name the folder for the official files.")
    out = check_folder(options.out)
    check_file(options.json)
    from unlearn_core.data.benchmarks.directory import read_documents
    from unlearn_core.data.sources import load_data
    from unlearn_core.evaluation.protocols.multiple_choice.mmlu_files import load_mmlu
    from unlearn_core.evaluation.protocols.official_inference import infer
    from unlearn_core.models.targets import load_target

    prepare()
    columns = dict(pair("column", text) for text in options.column)
    data = load_data(options.data, columns=columns, retain=options.retain)
    for split in ("forget", "retain"):
        if not getattr(data, split):
            raise InputError("--data", options.data, f"has no {split} rows", "The protocol needs both sets.")
    if options.mia is not None:
        data = replace(data, **read_documents(_folder("--mia", options.mia)))
    if options.mmlu is not None:
        few_shot, questions = load_mmlu(options.mmlu)
        data = replace(data, few_shot=few_shot, questions=questions, question_form="letter")
    target = load_target(options.model)
    if options.prompt != "auto":  # the organisers' script knows no other than raw
        put_on(target.tokenizer, named(options.prompt, target.tokenizer))
    out.mkdir(parents=True, exist_ok=True)
    with closing(ProgressLine()) as line:
        scores, _ = line.follow(infer(target.model, target.tokenizer, data, out))
    record = scores.to_json()

    def show() -> None:
        print(scorecard({"original": record}), judgement(None, scores), sep="\n\n")
        print(f"\nThe official files are in {out}; scores.json binds them to the hash of the weights.")

    if options.json == "-":
        write_json(out / "scores.json", record)
    return print_or_write(options.json or str(out / "scores.json"), record, show)


def _table(result: OfficialResult) -> str:
    rows = [["", "regurgitation", "knowledge"]]
    for split in ("forget", "retain"):
        values = result[f"{split}-set"]
        overall = [values["overall-regurgitation-score"], values["overall-knowledge-score"]]
        rows.append([split, *(number_or_dash(value, 4) for value in overall)])
        for task, terms in values.items():
            if isinstance(terms, dict):
                rows.append([f"  {task}", *(number_or_dash(terms.get(f"{m}-score"), 4) for m in rows[0][1:])])
    rows.append([])
    for key, value in result.items():
        if not isinstance(value, dict | list):
            rows.append([key, number_or_dash(value, 4)])
    return table(rows)


def _existing(name: str | None) -> Path | None:
    if name is not None and not Path(name).exists():
        raise InputError("--mia", name, "does not exist", "Check the path.")
    return None if name is None else Path(name)


def _folder(field: str, name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise InputError(field, name, "is not a directory", "Check the path.")
    return folder
