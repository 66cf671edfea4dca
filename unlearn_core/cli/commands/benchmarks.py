"""`lethe score --protocol` and `lethe eval --protocol`: the terms of a benchmark, as a table and as JSON."""

from __future__ import annotations

import argparse
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_file, prepare, print_or_write
from unlearn_core.cli.table import table
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.base import Result
from unlearn_core.evaluation.protocols.references.reference import reference_log
from unlearn_core.evaluation.protocols.registry import get_protocol
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, read_log
from unlearn_core.evaluation.protocols.terms.tables import side_means

HARNESS = "lm-eval"


def eval_protocol(options: argparse.Namespace, columns: dict[str, str]) -> int:
    """Measure a model, and the one it is read against where that is no stored log; print and write the terms."""
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target

    protocol = get_protocol(options.protocol)
    conventions = protocol.convention(options.conventions)
    check_file(options.json)
    prepare()
    data = protocol.load(options.data, columns, options.retain)
    target = load_target(options.model)
    prompt = protocol.prompt_format(options.prompt, target.tokenizer)
    chosen = use_format(target.model, target.tokenizer, data, prompt)
    print(chosen.words, file=sys.stderr)
    with closing(ProgressLine()) as line:
        log = line.follow(protocol.measure(target.model, target.tokenizer, data, conventions=conventions))
        facts = {"model": options.model, "weights_hash": target.weights_hash, "data": data.fingerprint}
        del target  # one model in memory at a time
        reference = None
        if options.retain_model is not None:
            name = chosen.format.name
            work = reference_log(options.retain_model, protocol, data, prompt=name, conventions=conventions)
            reference = line.follow(work, "retain model, ")
    result = protocol.score(log, reference, conventions=conventions)
    record = result.to_json() | facts | {"prompt": chosen.format.name}
    return print_or_write(options.json, record, lambda: print(terms_table({"value": result})))


def eval_harness(options: argparse.Namespace) -> int:
    """Tasks of lm-evaluation-harness; `--data` may name a folder of task files of one's own."""
    from unlearn_core.evaluation.protocols.harness import harness_result
    from unlearn_core.models.targets import load_target

    if not options.task:
        raise InputError("--task", "", "is not given", "Name one or more tasks, like gsm8k.")
    check_file(options.json)
    prepare()
    target = load_target(options.model)
    include = None if options.data is None else Path(options.data)
    result = harness_result(target.model, target.tokenizer, options.task, include=include, limit=options.limit)
    record = result.to_json() | {"model": options.model, "weights_hash": target.weights_hash}
    return print_or_write(options.json, record, lambda: print(terms_table({"value": result})))


def score_log(options: argparse.Namespace) -> int:
    """The terms of a stored log, beside the aggregates that the log itself names."""
    protocol = get_protocol(options.protocol)
    conventions = protocol.convention(options.conventions)
    check_file(options.json)
    log = read_log(Path(options.directory))
    reference = None if options.retain_model is None else read_log(Path(options.retain_model))
    result = protocol.score(log, reference, conventions=conventions)
    record = {key: value for key, value in result.to_json().items() if key != "rows"}
    told = record["reproduced"] = reproduced(result, log)

    def show() -> None:
        print(terms_table({"value": result}))
        if told["equal"] or told["different"]:
            print(f"\nEqual to the log's own aggregates, to the last digit: {len(told['equal'])}.", file=sys.stderr)
        for name, (own, stored) in told["different"].items():
            print(f"  {name}: {own} here, {stored} in the log", file=sys.stderr)

    return print_or_write(options.json, record, show)


def reproduced(result: Result, log: RowLog) -> dict[str, Any]:
    """The log's own aggregates: the names of those that are equal, and of the others both figures."""
    own = {term.name: term.value for term in result.terms} | side_means(log)
    shared = {name: stored for name, stored in log.stored.items() if own.get(name) is not None}
    equal = [name for name, stored in shared.items() if own[name] == stored]
    different = {name: (own[name], stored) for name, stored in shared.items() if name not in equal}
    return {"equal": equal, "different": different}


def terms_table(results: dict[str, Result]) -> str:
    """One row a term, one column a result; an arrow says which way is better, = that the reference's is."""
    first = next(iter(results.values()))
    rows: list[list[str]] = [["term", "split", "n", *results]]
    values = {name: {term.name: term.value for term in result.terms} for name, result in results.items()}
    for term in first.terms:
        better = {True: "\u2191", False: "\u2193", None: "="}[term.higher_is_better]
        cells = [_figure(values[name].get(term.name)) for name in results]
        rows.append([f"{term.name} {better}", term.split or "-", str(term.n), *cells])
    notes = [textwrap.fill(note, 100) for note in first.notes]
    return "\n".join([table(rows), *notes])


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"
