"""TOFU end to end on models of the bundled size: one that knows some authors by heart, and its own retain model.

    python benchmarks/tofu.py --data ../shared/data/tofu --out tofu_runs --authors 4 --retain-authors 4

Makes both models where they are not there yet (a few minutes), then unlearns with each method through
`unlearn_core.run`, as `lethe run --target --data --retain-model` does. One row a model: model utility, forget
quality (p), forget truth ratio, probability, ROUGE-L recall of the forget and of the retain set, min-40% AUC,
privleak, verdict, seconds of unlearning.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import unlearn_core
from unlearn_core.build import ModelShape, _texts, memorise, new_model, save_model, train_tokenizer
from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import subset_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.runs.state import RunState
from unlearn_core.training.memorise import Recipe

METHODS = ("grad_diff", "npo", "simnpo", "rmu", "lethe")
SHOWN = (
    "model_utility",
    "forget_quality",
    "forget_truth_ratio",
    "forget_Q_A_Prob",
    "forget_Q_A_ROUGE",
    "retain_Q_A_ROUGE",
    "mia_min_k",
    "privleak",
)


def subset(data: UnlearningData, authors: int, retain_authors: int) -> UnlearningData:
    """The first authors of each set; of the retain set those that have wrong answers beside the right one."""
    known = tuple(row for row in data.retain if row.wrong)
    few, more = subset_of(replace(data, retain=known), authors), subset_of(replace(data, retain=known), retain_authors)
    return replace(few, retain=more.retain, paraphrases=_reworded(data, (*few.forget, *more.retain)))


def _reworded(data: UnlearningData, rows: tuple[Example, ...]) -> tuple[Example, ...]:
    ids = {row.id for row in rows}
    return tuple(row for row in data.paraphrases if row.id in ids)


def models(data: UnlearningData, out: Path, seed: int, epochs: int) -> tuple[Path, Path]:
    """The model that knows the data and the one that knows its retain set, both from the same fresh weights."""
    base, full, retain = out / "base", out / "full", out / "retain"
    if not (base / "config.json").exists():
        shape = ModelShape(vocabulary=4096, positions=1024)
        tokenizer = train_tokenizer(_texts(data), shape)
        save_model(new_model(shape, tokenizer, seed), tokenizer, base)
    for folder, known in ((full, data), (retain, replace(data, forget=(), members=()))):
        if not (folder / "build.json").exists():
            for part in memorise(str(base), known, folder, recipe=Recipe(num_epochs=epochs), seed=seed):
                last = part
            print(f"{folder.name}: {last.step} steps, {last.seconds:.0f} s, loss {last.loss:.3f}", flush=True)
    return full, retain


def rows(
    full: Path, retain: Path, methods: list[str], settings: dict[str, Any], seed: int, home: Path, steps: int | None
) -> Iterator[dict[str, Any]]:
    """The original and the retain model once, then one row a method."""
    shown: set[str] = set()
    for method in methods:
        spec = unlearn_core.RunSpec(
            target=str(full),
            data=str(full / "data"),
            method=method,
            settings=settings,
            seed=seed,
            steps=steps,
            retain_model=str(retain),
            save=False,
        )
        state = RunState.of(unlearn_core.run(spec, home=home))
        if state.failure is not None:
            yield {"model": method, "error": state.failure.message}
        if (end := state.finished) is None:
            continue
        for model in ("original", "retain_only"):
            if model not in shown and model in state.scored:
                shown.add(model)
                yield {"model": model, **figures(state.scored[model])}
        yield {
            "model": method,
            **figures(state.scored["unlearned"]),
            "seconds": end.seconds.get("unlearning"),
            "verdict": end.verdict["headline"],
        }


def figures(scores: dict[str, Any]) -> dict[str, float | None]:
    """The terms that are shown, of the benchmark in a run's scores."""
    values = {term["name"]: term["value"] for term in scores["benchmark"]["terms"]}
    return {name: values.get(name) for name in SHOWN}


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    if "error" in row:
        return f"{row['model']:<12} {row['error']}"
    numbers = " ".join("       -" if row[n] is None else f"{row[n]:>8.3g}" for n in SHOWN)
    seconds = row.get("seconds")
    return f"{row['model']:<12} {numbers} {'' if seconds is None else f'{seconds:6.1f} s'}  {row.get('verdict', '')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of TOFU's files")
    parser.add_argument("--out", type=Path, required=True, help="where the models and runs go")
    parser.add_argument("--authors", type=int, default=4, help="forget authors; as many are held out")
    parser.add_argument("--retain-authors", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--settings", type=json.loads, default={}, help="of the methods, as JSON")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = subset(load_data(str(options.data)), options.authors, options.retain_authors)
    print(f"{len(data.forget)} forget, {len(data.retain)} retain, {len(data.holdout)} held out rows", flush=True)
    full, retain = models(data, options.out, options.seed, options.epochs)
    print(f"{'':<12} " + " ".join(f"{name[-8:]:>8}" for name in SHOWN))
    home = options.out / "home"
    for row in rows(full, retain, options.methods, options.settings, options.seed, home, options.steps):
        print(line(row), flush=True)


if __name__ == "__main__":
    main()
