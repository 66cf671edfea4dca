"""`lethe folds`: MUSE's forget sets one after another, growing (scal) or as separate requests (sust)."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.commands.benchmarks import terms_table
from unlearn_core.cli.commands.run import output_folder, result_json, spec_flags, spec_of
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_file, prepare, print_or_write


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "folds",
        help="MUSE's forget sets one after another: scalability, sustainability",
        description=__doc__,
        epilog="Example: lethe folds --kind sust --target MODEL --data MUSE-News --method npo --out folds",
    )
    spec_flags(parser)
    parser.add_argument("--kind", required=True, choices=("scal", "sust"), help="grow the set, or go on from the last")
    parser.add_argument("--out", required=True, metavar="DIR", help="keep each fold's weights in DIR/FOLD/weights")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON (- for stdout)")
    parser.set_defaults(action=folds_command)


def folds_command(options: argparse.Namespace) -> int:
    spec, out = spec_of(options), output_folder(options.out)
    assert out is not None
    check_file(options.json)
    from unlearn_core.evaluation.protocols.semeval import listed_record
    from unlearn_core.runs.series.folds import fold_specs
    from unlearn_core.store.recorder import record
    from unlearn_core.store.store import RunStore

    prepare()
    store = RunStore()
    told: dict[str, Any] = {}
    for name, fold, folder in fold_specs(spec, options.kind, out):
        run_id = store.create(fold).id
        state = ProgressLine().follow_events(record(fold, store, run_id=run_id, out=folder))
        if state.failure is not None:
            print(f"lethe: {name}: {state.failure.message}", file=sys.stderr)
            return 2
        told[name] = {**result_json(state), "run": run_id, "weights": str(folder / "weights")}

    def show() -> None:
        print(terms_table({name: listed_record(found["unlearned"]) for name, found in told.items()}))
        for name, found in told.items():
            print(f"{name}: {found['verdict']['headline']}. Weights: {found['weights']}")

    return print_or_write(options.json, told, show)
