"""`lethe report` and `lethe export`: hand a stored run over as files or to the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError


def add_to(commands: Any) -> None:
    report = commands.add_parser("report", help="one offline HTML file about a run, and the same as JSON")
    report.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    report.add_argument("--out", metavar="DIR", default=".", help="where the two files go (default: here)")
    report.set_defaults(action=report_command)
    export = commands.add_parser("export", help="weights or adapter with model card, to a folder or the Hub")
    export.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    export.add_argument("--out", metavar="DIR", help="a new or empty folder")
    export.add_argument("--hub", metavar="REPO", help="owner/name; the token is read from HF_TOKEN")
    export.add_argument("--kind", choices=("weights", "adapter"), default="weights")
    export.add_argument("--open-to-all", action="store_true", help="make the Hub repository public")
    export.set_defaults(action=export_command)


def report_command(options: argparse.Namespace) -> int:
    from unlearn_core.report.export import write_report
    from unlearn_core.runs.store import RunStore

    for path in write_report(RunStore(), options.run, Path(options.out)):
        print(path)
    return 0


def export_command(options: argparse.Namespace) -> int:
    if (options.out is None) == (options.hub is None):
        raise InputError("export", "", "has no single goal", "Give either --out DIR or --hub REPO.")
    from unlearn_core.report.export import export_run, push_run
    from unlearn_core.runs.store import RunStore

    store = RunStore()
    if options.out is not None:
        print(export_run(store, options.run, Path(options.out), options.kind))
    else:
        private = not options.open_to_all
        print(push_run(store, options.run, options.hub, kind=options.kind, private=private))
    return 0
