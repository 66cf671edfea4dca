"""`lethe compare`: runs beside each other, with intervals over the seeds there are."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.table import table
from unlearn_core.report.kit.palette import LETTERS

if TYPE_CHECKING:
    from unlearn_core.store.table.compare import ComparedRun


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("compare", help="two to four runs beside each other: settings, and scores over seeds")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="their ids, see `lethe runs`")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(action=compare_command)


def compare_command(options: argparse.Namespace) -> int:
    from unlearn_core.store.store import RunStore
    from unlearn_core.store.table.compare import compared, to_json

    runs = compared(RunStore(), options.runs)
    if options.json:
        print(json.dumps(to_json(runs), indent=2))
        return 0
    for letter, run in zip(LETTERS, runs, strict=False):
        seeds = ", ".join(str(row.seed) for row in run.repeats)
        print(f"{letter}: {run.record.name}  ({run.record.id}; seeds {seeds})")
    print("\n" + table(_scores(runs)))
    print("\nMeans over seeds with the 95% t interval; differences to A with Welch's interval.")
    settings = _settings(runs)
    print("\n" + (table(settings) if len(settings) > 1 else "Their settings are the same."))
    return 0


def _scores(runs: list[ComparedRun]) -> list[list[str]]:
    from unlearn_core.report.runs.comparison import show
    from unlearn_core.store.table.compare import score_lines

    letters = LETTERS[: len(runs)]
    rows = [["score", *letters, *(f"{letter} - A" for letter in letters[1:])]]
    for line in score_lines(runs):
        rows.append([line.title, *(show(m) for m in line.means), *(show(gap, True) for gap in line.gaps)])
    return rows


def _settings(runs: list[ComparedRun]) -> list[list[str]]:
    """The settings in which the runs differ."""
    from unlearn_core.store.table.compare import settings_beside

    found = settings_beside([run.record.spec for run in runs])
    differing = [[name, *(value[:40] for value in values)] for name, values, differs in found if differs]
    return [["setting", *LETTERS[: len(runs)]], *differing]
