"""`lethe run`: one run, its progress on stderr, its scorecard on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_file, check_folder, prepare, print_or_write, whole_number
from unlearn_core.cli.table import judgement, scorecard
from unlearn_core.data.prompt_format import PROMPTS
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.registry import AUTO, PROTOCOLS, SEMEVAL
from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.data import usual_method
from unlearn_core.runs.spec import ADAPTERS, RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.runs.trackers import TRACKERS, tracked
from unlearn_core.system.files import finite

if TYPE_CHECKING:
    from unlearn_core.store.store import RunStore

# Flag name -> field of the spec, where they differ.
_FIELDS = (
    "target",
    "data",
    "subject",
    "retain_model",
    "protocol",
    "method",
    "steps",
    "seed",
    "adapter",
    "mmlu",
    "prompt",
    "keep_best",
    "name",
)


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="forget a data set and judge the result",
        description=__doc__,
        epilog="Example: lethe run --target demo --data demo --method npo --set beta=0.1 --json result.json",
    )
    spec_flags(parser)
    parser.add_argument("--out", metavar="DIR", help="keep the weights in DIR/weights (default: the run store)")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run (see `lethe runs`); takes no spec"
    )
    parser.add_argument("--track", choices=TRACKERS, help="also send the curves to a tracker (its extra: trackers)")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON (- for stdout)")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would take")
    parser.set_defaults(action=run_command)
    estimate = commands.add_parser(
        "estimate",
        help="say what a run would take: time, memory, FLOPs, money",
        epilog="Example: lethe estimate --target lume-7b --method npo --adapter full --on 'H200 141GB'",
    )
    spec_flags(estimate)
    estimate.add_argument("--on", metavar="DEVICE", help="a row of the price table (default: this machine)")
    estimate.add_argument("--processes", type=whole_number, default=1, metavar="N", help="devices to share")
    estimate.add_argument("--json", action="store_true", help="as JSON")
    estimate.set_defaults(action=estimate_command)


def spec_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say what a run is."""
    parser.add_argument("spec", nargs="?", metavar="SPEC.json", help="a spec to start from; flags overrule it")
    parser.add_argument("--target", metavar="REF", help="demo, a local directory or a Hub id (default: demo)")
    parser.add_argument("--data", metavar="REF", help="demo, a file, a directory or a Hub id (default: demo)")
    parser.add_argument(
        "--subject",
        metavar="NAME",
        help="forget only the rows of the data about NAME; without data, what the model itself knows of NAME",
    )
    parser.add_argument("--retain", metavar="REF", help="a separate retain set, or `general`")
    parser.add_argument(
        "--retain-model", metavar="REF|FILE", help="a model that never saw the forget set, or its stored scores"
    )
    parser.add_argument(
        "--protocol",
        choices=(AUTO, SEMEVAL, *PROTOCOLS),
        help="the benchmark to score by (default: the one whose data it is)",
    )
    parser.add_argument("--method", metavar="NAME", help="see `lethe methods` (default: lethe)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a method's parameter")
    parser.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="name a column")
    parser.add_argument("--mmlu", metavar="REF", help="MMLU questions for the utility score")
    parser.add_argument("--steps", type=whole_number, metavar="N", help="optimiser steps (default: the method's)")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="seed (default: 0)")
    parser.add_argument("--adapter", choices=ADAPTERS, help="what to train (default: by model size)")
    parser.add_argument("--prompt", choices=PROMPTS, help="how prompts are put to the model (default: auto)")
    parser.add_argument(
        "--keep-best",
        action="store_true",
        default=None,
        help="end with the best weights watched on the way (forgetting against canaries), not the last",
    )
    parser.add_argument("--name", metavar="TEXT", help="what to call the run")


def estimate_command(options: argparse.Namespace) -> int:
    spec = spec_of(options)
    if options.processes < 1:
        raise InputError("--processes", options.processes, "is no number of devices", "Use 1 or more.")
    from unlearn_core.models.files.model_files import free_memory
    from unlearn_core.models.targets import best_device
    from unlearn_core.runs.planning.costs import sentence, shortage
    from unlearn_core.runs.planning.plan import Planner
    from unlearn_core.system.home import home_dir

    prepare()
    planner = Planner(home_dir())
    cost = planner.plan(spec, on=options.on, processes=options.processes)
    if options.json:
        print(json.dumps(cost.to_json(), indent=2))
        return 0
    print(sentence(cost.to_json()))
    if told := planner.prompt_format(spec):
        print(told)
    for purpose, size in (cost.parts or {}).items():
        print(f"  {purpose:<32}{size / 1e9:>9.2f} GB")
    if options.on is None and (short := shortage(cost, free_memory(best_device()))):
        print(f"warning: {short}")
    return 0


def run_command(options: argparse.Namespace) -> int:
    if options.dry_run:
        return estimate_command(argparse.Namespace(**vars(options) | {"on": None, "processes": 1, "json": False}))
    spec = spec_of(options) if options.resume is None else None
    check_file(options.json)
    out = output_folder(options.out)

    from unlearn_core.methods import build
    from unlearn_core.system.machine import distributed

    if spec is not None:  # a misspelt setting is said before anything is stored
        build(spec.method, spec.settings, spec.steps)
    prepare()
    distributed.join()
    try:
        if distributed.rank() > 0:
            return _help_along()
        return _lead(spec, options, out)
    finally:
        distributed.leave()


def _help_along() -> int:
    """The part of a process that shares in a run another one records."""
    from unlearn_core.runs.run import run
    from unlearn_core.system.machine import distributed

    job: _Job | None = distributed.broadcast(None)
    if job is None:
        return 2
    spec, _, checkpoints = job
    return 2 if RunState.of(run(spec, checkpoints=checkpoints)).failure else 0


_Job = tuple[RunSpec, str, Path]  # what is run, the run's id, and where its checkpoints lie


def _job(spec: RunSpec | None, run_id: str | None, store: RunStore) -> _Job:
    """A new run, or an interrupted one that goes on; the other processes of a team hear of it."""
    from unlearn_core.system.machine import distributed

    job = None
    try:
        if spec is None:
            store.recover()  # the run may have been killed a moment ago
            spec = RunSpec.from_json(store.reopen(run_id or "").spec)
        else:
            run_id = store.create(spec).id
        job = spec, run_id or "", store.checkpoints(run_id or "")
    finally:
        distributed.broadcast(job)  # nothing, where it cannot be begun: then they need not wait
    return job


def _lead(spec: RunSpec | None, options: argparse.Namespace, out: Path | None) -> int:
    from unlearn_core.store.recorder import record
    from unlearn_core.store.store import RunStore
    from unlearn_core.system.log import log_to

    store = RunStore()
    log_to(store.home)
    spec, run_id, _ = _job(spec, options.resume, store)
    events = record(spec, store, run_id=run_id, out=out)
    if options.track is not None:
        events = tracked(events, options.track, spec, store.folder(run_id) / "tracker")
    state = ProgressLine().follow_events(events)
    if state.failure is not None:
        print(f"lethe: {state.failure.message}", file=sys.stderr)
        return 2
    result = result_json(state)
    where = (out or store.folder(run_id)) / "weights"
    result["run"] = run_id
    result["weights"] = str(where) if spec.save else None

    def show() -> None:
        print(scorecard(result, result["verdict"]))
        if "unlearned" in result:
            before = Scores.from_json(result["original"]) if "original" in result else None
            print(judgement(None, Scores.from_json(result["unlearned"]), before))
        print(f"\nTook {sum(result['seconds'].values()):.1f} s. " + (f"Weights: {where}" if spec.save else ""))

    return print_or_write(options.json, result, show)


def result_json(state: RunState) -> dict[str, Any]:
    """What `--json` writes of a run that is over."""
    result: dict[str, Any] = {
        "spec": {**state.spec, "prompt": state.prompt.name} if state.prompt else state.spec,
        "notes": [told.message for told in state.messages],
    }
    if state.estimated:
        result["estimate"] = state.estimated
    result |= state.scored
    if state.kept is not None:
        result["kept"] = asdict(state.kept)
    if (end := state.finished) is not None:
        result |= {"verdict": end.verdict, "seconds": end.seconds, "changed": end.changed, "cost": end.cost}
        result["layers"] = end.verdict["layers"]
    if state.subject is not None:
        from unlearn_core.runs.subject import subject_json

        told = {model: asdict(said) for model, said in state.subject_answers.items()}
        result["subject"] = subject_json(state.subject.sheet, told)
    found: dict[str, Any] = finite(result)
    return found


def spec_of(options: argparse.Namespace) -> RunSpec:
    """The run that the flags of `spec_flags` say."""
    record = _spec_file(options.spec) if options.spec else {}
    for name in _FIELDS:
        if getattr(options, name) is not None:
            record[name] = getattr(options, name)
    if options.retain is not None:
        record["retain_data"] = options.retain
    if "method" not in record:
        record["method"] = usual_method(RunSpec.from_json(record))
    for flag, field in (("set", "settings"), ("column", "columns")):
        pairs = dict(pair(flag, text) for text in getattr(options, flag))
        if pairs:
            record[field] = {**record.get(field, {}), **pairs}
    return RunSpec.from_json(record)


def _spec_file(name: str) -> dict[str, Any]:
    from unlearn_core.data.rows.reader import LOCAL, read_text

    try:
        record = json.loads(read_text(Path(name), LOCAL))
    except (ValueError, RecursionError):
        raise InputError("spec", name, "is not JSON", 'Write {"method": "npo", ...}.') from None
    if not isinstance(record, dict):
        raise InputError("spec", name, "is not a JSON object", 'Write {"method": "npo", ...}.')
    if record.get("kind") == "lethe report" and isinstance(record.get("spec"), dict):
        return dict(record["spec"])  # a report repeats its run
    return record


def pair(flag: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--{flag}", text, "is not KEY=VALUE", "Write, for example, --set beta=0.1.")
    return key.strip(), value.strip()


def output_folder(name: str | None) -> Path | None:
    """Refuse a folder that holds weights of somebody else's."""
    if name is None:
        return None
    folder = check_folder(name)
    weights = folder / "weights"
    if weights.exists() and not (weights / "complete.json").exists():
        problem = "already holds a `weights` that no run wrote"
        raise InputError("--out", name, problem, "Name another folder.")
    return folder
