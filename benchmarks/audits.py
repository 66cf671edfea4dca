"""What each audit says of every method of the gallery, and of models that never knew the forget set.

    python benchmarks/audits.py                          every method of assets/gallery/demo.json
    python benchmarks/audits.py --methods lethe,npo      some of them (at defaults if not in it)
    python benchmarks/audits.py --seeds 0,1,2            over several seeds, one after the other
    python benchmarks/audits.py --retain-seeds 1,2,3     retain-only models of other seeds: all should hold
    python benchmarks/audits.py --into BOARD.json        put what --out holds into this leaderboard, and measure nothing

Rows are models, columns are audits: L(eaks), h(olds), - (not applicable), with the figure of the forgotten
rows and, after the stroke, the highest control. Below them, for each audit, in how many of the models it found a
leak, and how far beyond the controls it went at most (with the interval of that model): over retain-only models
of other seeds these are its false alarms. A method has the settings that won its tuning.
The bundled retain-only model is what audits compare with; it is a row of its own for orientation.

Models and results are kept in --out: what is there already is printed and not done again, also where a method has
changed since, so a new version needs a new folder. A method takes about a minute on two cores and a seed, a
retain-only model about ten.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.evaluation.audits import REGISTRY, AuditCase, AuditResult, choose
from unlearn_core.runs.run import run
from unlearn_core.runs.series.boards import read_board, require_comparable
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.audits import run_audits
from unlearn_core.system.files import append_line, json_lines, write_json

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "assets" / "demo"
MARKS = {"leaks": "L", "holds": "h"}
RESULTS = "audits.jsonl"
NAME, WIDTH = 20, 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, default=ROOT / "assets" / "gallery" / "demo.json")
    parser.add_argument("--methods", help="comma-separated; default: all of the gallery")
    parser.add_argument("--audits", help="comma-separated; default: all")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--retain-seeds", default="", help="audit retain-only models of these seeds instead")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "audits")
    parser.add_argument("--into", type=Path, help="put what was measured into this leaderboard, and measure nothing")
    options = parser.parse_args()
    if options.into is not None:
        write_json(options.into, with_audits(read_board(options.into), options.out), for_people=True)
        return

    names = options.audits.split(",") if options.audits else None
    audits = [audit.info.name for audit in choose(names)]
    heads = "".join(f"{name:>{WIDTH}}" for name in audits)
    print(f"{'model':<{NAME}}{heads}{'leaks':>7}{'s':>6}  verdict")
    if options.retain_seeds:
        models = retain_only(map(int, options.retain_seeds.split(",")), options.out)
    else:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        models = unlearned(gallery(options.gallery, options.methods), seeds, options.out)
    listed: list[list[dict[str, Any]]] = []
    options.out.mkdir(parents=True, exist_ok=True)
    known = results(options.out)
    for name, folder, verdict in models:
        found = known.get(folder.name)
        if found is None or not set(audits) <= {audit["name"] for audit in found["audits"]}:
            found = {"model": name, "weights": str(folder), "verdict": verdict, **audit_all(folder, audits)}
            append_line(options.out / RESULTS, json.dumps(found))
        print(line_of(found | {"model": name}, audits), flush=True)
        if name not in ("retain_only", "original"):
            listed.append(found["audits"])
    print(*summary(listed, audits), sep="\n")


def results(out: Path) -> dict[str, dict[str, Any]]:
    """What is in `out`, by the name of the folder of the weights; a line of earlier versions has the file's date."""
    kept = out / RESULTS
    if not kept.exists():
        return {}
    changed = datetime.fromtimestamp(kept.stat().st_mtime, UTC).date().isoformat()
    return {Path(line["weights"]).name: {"made": changed} | line for line in json_lines(kept)}


def with_audits(board: dict[str, Any], out: Path) -> dict[str, Any]:
    """`board` with what all audits found, by `out`, of its methods at its settings and of its reference models."""
    bundled = json.loads((DEMO / "manifest.json").read_text())
    weights = {name: model["weights_hash"] for name, model in bundled["models"].items()}
    measured = {"target": "demo", "data_fingerprint": bundled["data_fingerprint"], "weights": weights}
    require_comparable(board, measured | {"scores": board.get("scores")})  # audits have nothing to do with scores
    found = {folder: short for folder, line in results(out).items() if (short := in_short(line))}
    if not found:
        raise InputError("--out", str(out), "holds no model with all audits", "Audit some methods first.")
    references = {name: found[name] for name in board["scores"] if name in found}
    rows = []
    for row in board["methods"]:
        begin = folder_name(row["method"], row["settings"], "")
        seeds = {name.removeprefix(begin): short for name, short in found.items() if name.startswith(begin)}
        numbered = {seed: seeds[seed] for seed in sorted(filter(str.isdecimal, seeds), key=int)}
        rows.append(row | {"audits": {"settings": row["settings"], "seeds": numbered}} if numbered else row)
    return board | {"methods": rows, "audits": board.get("audits", {}) | {"rows": AuditCase.max_rows, **references}}


def in_short(line: dict[str, Any]) -> dict[str, Any] | None:
    """How many audits apply to a model and which leak; None where not all were done."""
    verdicts = {audit["name"]: audit["verdict"] for audit in line["audits"]}
    if not set(REGISTRY) <= set(verdicts):
        return None
    judged = [name for name in REGISTRY if verdicts[name] in MARKS]
    return {"made": line["made"], "applied": len(judged), "leaks": [n for n in judged if verdicts[n] == "leaks"]}


def summary(listed: list[list[dict[str, Any]]], audits: list[str]) -> Iterator[str]:
    """A line for each audit over the results of several models."""
    for name in audits:
        rows = [AuditResult.from_json(row) for results in listed for row in results if row["name"] == name]
        judged = [row for row in rows if row.verdict in MARKS]
        leaks = sum(row.verdict == "leaks" for row in judged)
        told = [row.figures for row in judged if "beyond" in row.figures]
        most = max(told, key=lambda figures: figures["beyond"], default=None)
        ends = "{beyond:+.2f} ({beyond_low:+.2f} to {beyond_high:+.2f})".format(**most) if most else "-"
        yield f"{name:<{NAME}}{leaks:>4} of {len(judged)} leak; at most {ends} beyond"


def gallery(path: Path, methods: str | None) -> dict[str, dict[str, Any]]:
    """Settings by method: those of the leaderboard at `path`."""
    tuned = {row["method"]: row["settings"] for row in json.loads(path.read_text())["methods"]}
    return {name: tuned.get(name, {}) for name in (methods.split(",") if methods else tuned)}


def unlearned(methods: dict[str, dict[str, Any]], seeds: Sequence[int], out: Path) -> Iterator[tuple[str, Path, str]]:
    """The bundled original unlearned by each method: its name and seed, the folder of its weights, its verdict."""
    yield "retain_only", DEMO / "retain_only", ""
    yield "original", DEMO / "original", ""
    for seed, (name, settings) in product(seeds, methods.items()):
        folder, told = out / folder_name(name, settings, seed), f"{name} {seed}"
        if not (folder / "verdict").exists():
            spec = RunSpec(method=name, settings=settings, seed=seed)
            made = RunState.of(run(spec, home=out / "home", out=folder))
            if made.verdict is None:
                problem = made.failure.message if made.failure else made.status
                print(f"{told:<{NAME}} not made: {problem}", flush=True)
                continue
            (folder / "verdict").write_text(str(made.verdict["word"]))
        yield told, folder, (folder / "verdict").read_text()


def folder_name(method: str, settings: dict[str, Any], seed: int | str) -> str:
    told = re.sub(r"[^\w.]+", "-", json.dumps(settings, sort_keys=True)).strip("-")
    return f"{method}-{told}-{seed}"


def retain_only(seeds: Iterable[int], out: Path) -> Iterator[tuple[str, Path, str]]:
    """The bundled base taught everything but the forget set, in another order and from another seed."""
    from unlearn_core.build import WorldRecipe, save_model
    from unlearn_core.data.world import make_world, memorise_epoch
    from unlearn_core.models.targets import load_target
    from unlearn_core.training.memorise import Trainer

    world = make_world(0)
    for seed in seeds:
        folder = out / f"retain_only-{seed}"
        if not folder.exists():
            base = load_target(str(DEMO / "base"), device="cpu")
            trainer = Trainer(base.model, base.tokenizer, replace(WorldRecipe().memorise, seed=seed))
            for _ in trainer.run(
                lambda epoch: memorise_epoch(world, epoch, include_forget=False),
                checkpoint=folder.with_suffix(".checkpoint"),
            ):
                pass
            save_model(base.model, base.tokenizer, folder)
        yield f"retain_only {seed}", folder, ""


def audit_all(folder: Path, audits: list[str]) -> dict[str, Any]:
    """Results of all audits of the weights in `folder`, without a time limit."""
    state = RunState.of(run_audits(folder, None, audits=audits))
    if state.failure is not None:
        raise SystemExit(f"{folder.name}: {state.failure.message}")
    assert state.audits is not None
    made = datetime.now(UTC).date().isoformat()
    return {"made": made, "audits": list(state.audits.results.values()), "seconds": state.audits.seconds}


def line_of(found: dict[str, Any], audits: list[str]) -> str:
    results = {audit["name"]: AuditResult.from_json(audit) for audit in found["audits"]}
    judged = [results[name] for name in audits if results[name].verdict in MARKS]
    leaks = f"{sum(result.verdict == 'leaks' for result in judged)}/{len(judged)}"
    cells = "".join(f"{_cell(results[name]):>{WIDTH}}" for name in audits)
    return f"{found['model']:<{NAME}}{cells}{leaks:>7}{found['seconds']:>6.0f}  {found['verdict']}"


def _cell(result: AuditResult) -> str:
    if result.verdict not in MARKS:
        return "-"
    control = f"{result.control:.2f}" if result.control is not None else "-"
    return f"{MARKS[result.verdict]} {result.figures['forget']:.2f}/{control}"


if __name__ == "__main__":
    main()
