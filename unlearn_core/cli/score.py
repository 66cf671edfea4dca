"""`lethe score` and `lethe eval`: the protocol on the organisers' files, and on a model."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.quiet import quiet
from unlearn_core.cli.run import writable
from unlearn_core.cli.table import scorecard, table
from unlearn_core.errors import InputError


def add_to(commands: Any) -> None:
    score = commands.add_parser("score", help="the official result from inference files alone")
    score.add_argument("directory", metavar="DIR", help="holds forget_0.csv, retain_0.csv, mia_results/")
    score.add_argument("--mia", metavar="DIR", help="member and nonmember losses (default: DIR/mia_results)")
    score.add_argument("--mmlu", metavar="FILE", help="metrics.json of MMLU")
    score.add_argument("--out", metavar="DIR", help="where evaluation_results.jsonl goes (default: DIR)")
    score.add_argument("--json", metavar="FILE", help="also write result and verdict here (- for stdout)")
    score.set_defaults(action=score_command)
    evaluate = commands.add_parser("eval", help="run the protocol on a model and write the official files")
    evaluate.add_argument("--model", required=True, metavar="REF", help="demo, a directory or a Hub id")
    evaluate.add_argument(
        "--data", required=True, metavar="REF", help="demo, a file, a directory or a Hub id"
    )
    evaluate.add_argument("--mia", metavar="DIR", help="member.jsonl and nonmember.jsonl")
    evaluate.add_argument("--mmlu", metavar="REF", help="MMLU: a local directory or a Hub id")
    evaluate.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    evaluate.add_argument("--json", metavar="FILE", help="also write every score here")
    evaluate.set_defaults(action=eval_command)


def score_command(options: argparse.Namespace) -> int:
    from unlearn_core.evaluation.official import (
        RESULT_FILE,
        read_generations,
        score_directory,
        verdict_of_official,
        write_result,
    )  # fmt: skip

    folder = _folder("DIR", options.directory)
    json_path = writable(options.json)
    mia = None if options.mia is None else _folder("--mia", options.mia)
    result = score_directory(folder, mia, options.mmlu)
    verdict = verdict_of_official(result, read_generations(folder)).to_json()
    out = folder if options.out is None else Path(options.out)
    if options.out is None and (out / RESULT_FILE).exists():
        print(
            f"{out / RESULT_FILE} is there already and was kept; --out names another place", file=sys.stderr
        )
    else:
        try:
            write_result(result, out)
        except OSError as error:
            raise InputError(
                "--out", str(out), f"cannot be written ({error.strerror})", "Name another."
            ) from None
    whole = {"result": result, "verdict": verdict}
    if options.json == "-":
        print(json.dumps(whole, indent=2))
        return 0
    _print_result(result)
    print(f"\nVerdict: {verdict['label']}. {verdict['summary']}")
    _write(json_path, whole)
    return 0


def eval_command(options: argparse.Namespace) -> int:
    out, json_path = Path(options.out), writable(options.json)
    if out.exists() and not out.is_dir():
        raise InputError("--out", options.out, "is a file", "Name a folder.")
    from unlearn_core.data.directory import read_documents
    from unlearn_core.data.sources import load_data
    from unlearn_core.evaluation.inference import infer
    from unlearn_core.evaluation.mmlu_files import load_mmlu
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.threads import use_cores

    quiet()
    use_cores(serving=False)
    data = load_data(options.data)
    for split in ("forget", "retain"):
        if not getattr(data, split):
            raise InputError("--data", options.data, f"has no {split} rows", "The protocol needs both sets.")
    if options.mia is not None:
        members, nonmembers = read_documents(_folder("--mia", options.mia))
        data = replace(data, members=members, nonmembers=nonmembers)
    if options.mmlu is not None:
        few_shot, questions = load_mmlu(options.mmlu)
        data = replace(data, few_shot=few_shot, questions=questions, question_form="letter")
    target = load_target(options.model)
    out.mkdir(parents=True, exist_ok=True)
    line = ProgressLine()
    work = infer(target.model, target.tokenizer, data, out)
    try:
        while True:
            part = next(work)
            line.show(part.stage, part.done, part.total)
    except StopIteration as stop:
        scores, _ = stop.value
    finally:
        line.close()
        work.close()
    record = scores.to_json()
    print(scorecard({"original": record}))
    print(f"\nThe official files are in {out}.")
    _write(json_path, record)
    return 0


def _print_result(result: dict[str, Any]) -> None:
    rows = [["", "regurgitation", "knowledge"]]
    for split in ("forget", "retain"):
        values = result[f"{split}-set"]
        overall = [values["overall-regurgitation-score"], values["overall-knowledge-score"]]
        rows.append([split, *map(_number, overall)])
        for task, terms in values.items():
            if isinstance(terms, dict):
                rows.append([f"  {task}", *(_number(terms.get(f"{m}-score")) for m in rows[0][1:])])
    rows.append([])
    for key, value in result.items():
        if not isinstance(value, dict | list):
            rows.append([key, _number(value)])
    print(table(rows))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _folder(field: str, name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise InputError(field, name, "is not a directory", "Check the path.")
    return folder


def _write(path: Path | None, record: Any) -> None:
    if path is not None:
        from unlearn_core.runs.files import write_json

        write_json(path, record)
