"""`lethe audit`: attack an unlearned model, progress on stderr, the leakage card on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_file, number, prepare, print_or_write
from unlearn_core.cli.table import judged, number_or_dash, table
from unlearn_core.errors import InputError
from unlearn_core.evaluation.verdict import Verdict
from unlearn_core.runs.audit_record import AuditRecord

if TYPE_CHECKING:
    from unlearn_core.store.store import RunStore


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "audit",
        help="attack an unlearned model and see what leaks",
        description=__doc__,
        epilog="Example: lethe audit RUN_ID --audits relearning,quantisation --json leakage.json",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's id, or a folder with weights")
    parser.add_argument("--audits", metavar="A,B", help="which (default: all); see --list")
    parser.add_argument("--budget", type=number, metavar="SECONDS", help="do what fits this time (default: no limit)")
    parser.add_argument("--target", metavar="REF", help="what a folder's weights were made from")
    parser.add_argument("--data", metavar="REF", help="the data a folder's weights were made with")
    parser.add_argument("--list", action="store_true", help="list the audits and what each does")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON (- for stdout)")
    parser.set_defaults(action=audit_command)


def audit_command(options: argparse.Namespace) -> int:
    if options.list:
        return _list(options.json == "-")
    if not options.run:
        raise InputError("RUN", "", "is missing", "Name a run (see `lethe runs`) or a folder with weights.")
    check_file(options.json)

    from unlearn_core.evaluation.audits import choose
    from unlearn_core.store.audit_record import record_audits
    from unlearn_core.store.audits import run_audits
    from unlearn_core.store.store import RunStore
    from unlearn_core.system.log import log_to

    names = options.audits.split(",") if options.audits is not None else None
    choose(names)  # a misspelt name is said before anything is loaded
    prepare()
    store = RunStore()
    log_to(store.home)
    if Path(options.run).expanduser().is_dir():
        events = run_audits(options.run, options.budget, audits=names, target=options.target, data=options.data)
    else:
        store.weights(options.run)
        events = record_audits(options.run, store, options.budget, audits=names)
    line = ProgressLine()
    line.show("load", 0, 1)
    state = line.follow_events(events)
    if state.failure is not None:
        print(f"lethe: {state.failure.message}", file=sys.stderr)
        return 2
    audits = state.audits or AuditRecord()
    result: dict[str, Any] = {"audits": list(audits.results.values()), "skipped": audits.skipped}
    result |= {"weights_hash": audits.weights_hash, "seconds": audits.seconds}
    found = _verdict(options.run, store, result)
    result |= {"verdict": found, "layers": found["layers"]}
    return print_or_write(options.json, result, lambda: print(_card(result), judged(found), sep="\n\n"))


def _verdict(run: str, store: RunStore, result: dict[str, Any]) -> dict[str, Any]:
    """The verdict after the attacks: what the store keeps of a run, or what is known of a folder's weights."""
    from unlearn_core.store.verdicts import verdict_of_weights

    if Path(run).expanduser().is_dir():
        return verdict_of_weights(store, result["audits"], result.get("weights_hash", "")).to_json()
    return Verdict.from_json(store.get(run).verdict or {}).to_json()


def _card(result: dict[str, Any]) -> str:
    """One row per audit, then a sentence for each."""
    from unlearn_core.evaluation.audits import AuditResult

    rows: list[list[str]] = [["audit", "verdict", "forgotten", "control", "seconds"], []]
    sentences = []
    for found in result["audits"]:
        audit = AuditResult.from_json(found)
        figures = [number_or_dash(audit.figures.get("forget")), number_or_dash(audit.control)]
        rows.append([audit.name, audit.verdict, *figures, f"{audit.seconds:.1f}"])
        sentences.append((audit.name, audit.headline))
    for name, reason in result["skipped"].items():
        rows.append([name, "skipped", "-", "-", "-"])
        sentences.append((name, reason))
    leaks = sum(found["verdict"] == "leaks" for found in result["audits"])
    judged = sum(found["verdict"] != "not applicable" for found in result["audits"])
    told = [textwrap.fill(f"{name}: {words}", 100, subsequent_indent="    ") for name, words in sentences]
    end = f"Leaks in {leaks} of {judged} audits. Took {result.get('seconds', 0.0):.1f} s."
    return "\n".join(["", table(rows), "", *told, "", end])


def _list(as_json: bool) -> int:
    from unlearn_core.evaluation.audits import describe

    if as_json:
        print(json.dumps(describe(), indent=2))
        return 0
    for audit in describe():
        print(f"{audit['name']}  {audit['title']}")
        print(textwrap.fill(audit["idea"], 100, initial_indent="    ", subsequent_indent="    "))
        print(f"    source: {audit['source']}\n")
    return 0
