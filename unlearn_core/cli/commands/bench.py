"""`lethe bench`: every method on one target, tuned alike and compared over seeds."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_folder, prepare, whole_number
from unlearn_core.cli.table import table
from unlearn_core.errors import InputError


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "bench",
        help="tune and compare methods over seeds",
        description=__doc__,
        epilog="Example: lethe bench --methods lethe,npo,simnpo --seeds 3 --out bench",
    )
    parser.add_argument("--methods", default="all", metavar="NAMES", help="comma-separated, or all")
    parser.add_argument("--target", default="demo", metavar="REF")
    parser.add_argument("--data", default="demo", metavar="REF")
    parser.add_argument("--seeds", type=whole_number, default=5, metavar="N", help="scored runs (default: 5)")
    parser.add_argument("--out", required=True, metavar="DIR", help="trials and leaderboard; goes on there")
    parser.add_argument("--into", metavar="FILE", help="a leaderboard that the methods join, measured alike before")
    parser.set_defaults(action=bench_command)


def bench_command(options: argparse.Namespace) -> int:
    if options.seeds < 1:
        raise InputError("--seeds", options.seeds, "is not a number from 1", "Use a larger number.")
    out = check_folder(options.out)
    from unlearn_core.methods import REGISTRY, get
    from unlearn_core.runs.series.bench import LEADERBOARD, REFERENCES, bench, board_order
    from unlearn_core.runs.series.boards import merged, read_board, require_comparable
    from unlearn_core.system.files import read_json, write_json

    into = Path(options.into) if options.into else None
    board = read_board(into) if into else None
    names = list(REGISTRY) if options.methods == "all" else options.methods.split(",")
    for name in names:
        get(name)
    prepare()
    began = time.monotonic()
    with closing(ProgressLine()) as line:
        work = bench(names, out, target=options.target, data=options.data, num_seeds=options.seeds)
        for done, total, trial in work:
            left = (time.monotonic() - began) * (total - done) / done
            line.show(trial.method, done, total, trial.failure or trial.verdict, left)
            if board and done == 1 and (out / REFERENCES).exists():  # not after hours
                require_comparable(board, read_json(out / REFERENCES))
    found = read_json(out / LEADERBOARD)
    if into and board:
        write_json(into, merged(board, found, board_order), for_people=True)
    print(leaderboard_table(found))
    return 0


def leaderboard_table(board: dict[str, Any]) -> str:
    """The leaderboard as text: mean over seeds, and the spread where there is one."""
    from unlearn_core.runs.series.bench import COLUMNS

    rows: list[list[str]] = [["", *COLUMNS.values(), "s", "verdict"]]
    for name, found in board["scores"].items():
        rows.append([name, *(_cell(found.get(key), None) for key in COLUMNS), "", ""])
    rows.append([])
    for row in board["methods"]:
        cells = [_cell(**row["figures"][key]) for key in COLUMNS]
        rows.append([row["method"], *cells, f"{row['seconds']:.1f}", " ".join(row["verdicts"])])
    return table(rows)


def _cell(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" + ("" if spread is None else f"\u00b1{spread:.3f}")
