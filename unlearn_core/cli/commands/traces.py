"""`lethe traces`: what single neurons of a run's model write, as words, before and after."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.shared import check_file, prepare, print_or_write, whole_number
from unlearn_core.cli.table import table
from unlearn_core.errors import InputError

if TYPE_CHECKING:
    from unlearn_core.evaluation.traces import Trace

_SHOWN = 4  # words of each vector in the terminal


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "traces",
        help="see which neurons a run changed, by the words they write",
        description=__doc__,
        epilog="Example: lethe traces RUN_ID --vectors 20 --csv traces.csv",
    )
    parser.add_argument("run", metavar="RUN", help="a run's id (see `lethe runs`)")
    parser.add_argument("--vectors", type=whole_number, default=12, metavar="N", help="of each set (default: 12)")
    parser.add_argument("--json", metavar="FILE", help="write them as JSON (- for stdout)")
    parser.add_argument("--csv", metavar="FILE", help="write them as a table")
    parser.set_defaults(action=traces_command)


def traces_command(options: argparse.Namespace) -> int:
    if not 1 <= options.vectors <= 1000:
        raise InputError("--vectors", options.vectors, "is out of range", "Use 1 to 1000.")
    check_file(options.json)
    check_file(options.csv, "--csv")
    from unlearn_core.report.kit.csvfile import to_csv
    from unlearn_core.report.run.traces import HEADER, cells, reading
    from unlearn_core.store.traces import run_traces

    prepare()
    found = run_traces(options.run, count=options.vectors)
    records = [asdict(trace) for trace in found]
    if options.csv is not None:
        Path(options.csv).write_text(to_csv(HEADER, [cells(trace) for trace in found]), encoding="utf-8")
    head = ["set", "layer", "neuron", "cosine", "moved", "words kept", "before", "after"]
    rows = [head, [], *map(_row, found)]
    return print_or_write(options.json, {"traces": records}, lambda: print(table(rows), reading(found), sep="\n\n"))


def _row(trace: Trace) -> list[str]:
    words = [" ".join(repr(word)[1:-1] for word in each[:_SHOWN]) for each in (trace.before, trace.after)]
    numbers = [f"{trace.cosine:.3f}", f"{trace.distance:.3f}", f"{trace.overlap:.3f}"]
    return [trace.split, str(trace.layer), str(trace.neuron), *numbers, *words]
