"""`lethe methods`, `lethe target`, `lethe runs`, `lethe probe`: look at what there is."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.shared import prepare, whole_number
from unlearn_core.cli.table import table
from unlearn_core.data.prompt_format import PROMPTS, put_on, usual
from unlearn_core.errors import InputError, LetheError

if TYPE_CHECKING:
    from unlearn_core.models.targets import Target
    from unlearn_core.store.store import RunRecord, RunStore
    from unlearn_core.store.table.rows import RecordJson, RunRow


def add_to(commands: Commands) -> None:
    methods = commands.add_parser("methods", help="list the unlearning methods and their parameters")
    methods.add_argument("name", nargs="?", help="only this one, in full")
    methods.add_argument("--json", action="store_true", help="as JSON")
    methods.set_defaults(action=methods_command)
    runs = commands.add_parser(
        "runs",
        help="list, show, name, tag or delete past runs",
        epilog="Example: lethe runs RUN --name 'beta halved' --tag keep --tag beta",
    )
    runs.add_argument("run", nargs="?", metavar="RUN", help="show this run")
    runs.add_argument("--delete", action="store_true", help="delete it")
    runs.add_argument("--name", metavar="TEXT", help="rename it")
    runs.add_argument(
        "--tag", action="append", metavar="TAG", help="without RUN: list those so tagged; with it: its tags"
    )
    runs.add_argument("--untag", action="store_true", help="remove its tags")
    runs.add_argument("--search", default="", metavar="WORDS", help="in name, tags, method, target and data")
    runs.add_argument("--json", action="store_true", help="as JSON")
    runs.add_argument("--limit", type=whole_number, default=20, help="how many to list (default: 20)")
    runs.set_defaults(action=runs_command)
    target = commands.add_parser("target", help="what a target needs, and how one that is here behaves")
    target.add_argument("ref", nargs="?", metavar="REF", help="one of those listed, a directory or a Hub id")
    target.set_defaults(action=target_command)
    probe = commands.add_parser("probe", help="ask a model something and read its answer")
    probe.add_argument("prompt", help="what to ask")
    probe.add_argument("--target", default="demo", metavar="REF", help="which model (default: demo)")
    probe.add_argument("--run", metavar="RUN", help="the unlearned model of this run, beside its original")
    probe.add_argument(
        "--format", dest="prompt_format", choices=PROMPTS, default="auto", help="how the prompt is put to the model"
    )
    probe.add_argument("--max-new-tokens", type=whole_number, default=64, metavar="N")
    probe.set_defaults(action=probe_command)


def methods_command(options: argparse.Namespace) -> int:
    from unlearn_core.methods import REGISTRY, describe, get
    from unlearn_core.report.runs.methods import NO_WEIGHT, allowed, facts

    chosen = [get(options.name)] if options.name else list(REGISTRY.values())
    described = [describe(cls) for cls in chosen]
    if options.json:
        print(json.dumps(described, indent=2))
        return 0
    for method in described:
        hides = "" if method["changes_weights"] else f"  ({NO_WEIGHT})"
        print(f"{method['name']}  ({method['family']})  {method['title']}{hides}")
        print(_wrapped(method["idea"]))
        if options.name:
            for title, words in facts(method):
                print(_wrapped(f"{title.lower()}: {words}"))
            rows = [[f"    {p['name']}", f"{p['default']}", allowed(p), p["help"]] for p in method["parameters"]]
            print("\n".join(f"{a:<24} {b:<8} {c:<20} {d}" for a, b, c, d in rows))
        else:
            print(_wrapped(f"paper: {method['paper']}"))
            print(_wrapped(", ".join(f"{p['name']}={p['default']}" for p in method["parameters"])))
        print()
    return 0


def _wrapped(words: str) -> str:
    return textwrap.fill(words, 100, initial_indent="    ", subsequent_indent="      ")


def target_command(options: argparse.Namespace) -> int:
    from unlearn_core.models.catalogue import CATALOGUE
    from unlearn_core.models.estimate import estimate_target

    if options.ref is None:
        for info in CATALOGUE:
            print(f"{info.name:<9} {info.title}: {info.needs}. {info.note}")
        print("Or a local directory, or owner/name[@revision] on the Hub: safetensors only, no remote code.")
        return 0
    prepare()
    found = estimate_target(options.ref)
    print("\n".join(found.sentences()))
    if found.download or found.load > found.free:
        return 0  # nothing is fetched, and nothing forced into memory, to look at it
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.model_sheet import sentences

    print("\n" + "\n".join(sentences(load_target(options.ref))))
    return 0


def runs_command(options: argparse.Namespace) -> int:
    from unlearn_core.evaluation.protocols.semeval import listed_record
    from unlearn_core.store.store import RunStore

    store = RunStore()
    if options.run:
        return _one_run(store, options)
    for flag in ("delete", "name", "untag"):
        if getattr(options, flag):
            raise InputError("run", "", "is not named", f"Write `lethe runs RUN --{flag}`.")
    records = _found(store, options)
    if options.json:
        print(json.dumps([_plain(record) for record in records], indent=2))
        return 0
    if not records:
        filtered = options.search or options.tag
        print("No run fits." if filtered else f"No runs yet in {store.home}. Start one with `lethe run`.")
        return 0
    rows = [["run", "when", "status", "name", "tags", "method", "target", "data", "total"]]
    for record in records:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        totals = listed_record(record.scores.get("unlearned", {})).totals
        total = totals[-1].value if totals else None
        shown = "-" if total is None else f"{total:.3f}"
        spec, tags = record.spec, ", ".join(record.tags)
        what = [str(spec.get(key, "-")) for key in ("method", "target", "data")]
        rows.append([record.id, when, record.status, record.name, tags, *what, shown])
    print(table([[cell.replace("\n", " ")[:40] for cell in row] for row in rows]))
    return 0


def _found(store: RunStore, options: argparse.Namespace) -> list[RunRecord]:
    """The newest runs that carry every tag asked for."""
    from unlearn_core.store.table.rows import MAX_PAGE, RunQuery

    first, *others = options.tag or [""]
    limit = min(max(1, options.limit), MAX_PAGE)
    rows, _ = store.rows(RunQuery(text=options.search, tag=first, limit=MAX_PAGE if others else limit))
    return [_record(store, row) for row in rows if set(others) <= set(row.tags)][:limit]


def _record(store: RunStore, row: RunRow) -> RunRecord:
    """The record behind a row; of a damaged run what the row says."""
    from unlearn_core.store.store import RunRecord

    try:
        return store.get(row.id)
    except LetheError:
        return RunRecord(row.id, {"name": row.name}, row.status, row.created)


def _one_run(store: RunStore, options: argparse.Namespace) -> int:
    """Change a run where that is asked for, else show it."""
    if options.delete:
        store.delete(options.run, operator=True)
        return 0
    record = store.get(options.run)
    tags = options.tag or ([] if options.untag else None)
    if options.name is not None or tags is not None:
        store.label(options.run, name=options.name, tags=tags, operator=True)
        record = store.get(options.run)
    if options.json:
        print(json.dumps([_plain(record)], indent=2))
        return 0
    from unlearn_core.cli.table import scorecard

    print(f"{record.id}  {record.status}  {json.dumps(record.spec)}")
    print(f"name: {record.name}" + (f"  tags: {', '.join(record.tags)}" if record.tags else ""))
    print(record.message or scorecard(record.scores, record.verdict))
    return 0


def _plain(record: RunRecord) -> RecordJson:
    return {key: value for key, value in asdict(record).items() if key not in ("owner", "process")}


def probe_command(options: argparse.Namespace) -> int:
    from unlearn_core.models.targets import load_target
    from unlearn_core.store.store import RunStore

    if not 1 <= options.max_new_tokens <= 4096:
        raise InputError("--max-new-tokens", options.max_new_tokens, "is out of range", "Use 1 to 4096.")
    refs, asked = [("", options.target)], options.prompt_format
    if options.run:
        store = RunStore()
        spec = store.get(options.run).spec
        original = str(spec["target"])
        asked = asked if asked != "auto" else str(spec.get("prompt", "raw"))
        refs = [("original: ", original), ("unlearned: ", str(store.weights(options.run)))]
    prepare()
    for label, ref in refs:
        print(label, end="", flush=True)
        target = load_target(ref)
        put_on(target.tokenizer, usual(target.tokenizer, asked))
        _say(target, options.prompt, options.max_new_tokens)
    return 0


def _say(target: Target, prompt: str, max_new_tokens: int) -> None:
    from unlearn_core.models.generation.generate import stream

    shown = ""
    for text in stream(target.model, target.tokenizer, prompt, max_new_tokens):
        if text.startswith(shown):
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text
    print()
