"""The scores of the original, the retain-only model and every method's defaults on one target.

    python benchmarks/methods.py [--target demo] [--data demo] [--methods lethe,npo] [--seed 0] [--set k=v]

Prints one row a model: task aggregate, forget and retain questions answered (worst task), forget and
retain texts recited (ROUGE-L recall, mean), unseen phrasings (forget, retain), membership inference (AUC,
score), utility, final score, seconds of unlearning, and the verdict.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = (
    "task",
    "fgt QA",
    "ret QA",
    "fgt text",
    "ret text",
    "new fgt",
    "new ret",
    "AUC",
    "MIA",
    "utility",
    "final",
)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--target", default="demo")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--methods", default="grad_ascent,grad_diff,kl,npo,simnpo,lethe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every method")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    import torch

    from unlearn_core.runs.spec import RunSpec

    torch.set_num_threads(arguments.threads)
    settings = dict(item.split("=", 1) for item in arguments.set)
    print(f"{'':14}" + "".join(f"{name:>9}" for name in COLUMNS) + "   train s  verdict")
    shown: set[str] = set()
    with tempfile.TemporaryDirectory() as home:
        for method in arguments.methods.split(","):
            spec = RunSpec(
                target=arguments.target,
                data=arguments.data,
                method=method,
                seed=arguments.seed,
                settings=settings,
                save=False,
            )
            for name, scores, seconds, verdict in results(spec, Path(home)):
                label = method if name == "unlearned" else name
                if label not in shown:
                    shown.add(label)
                    cells = "".join(f"{cell:>9}" for cell in row(scores))
                    print(f"{label:14}{cells}{seconds:>10}  {verdict}", flush=True)


def results(spec: Any, home: Path) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Name, scores, training seconds and verdict of each model one run scores."""
    from unlearn_core.runs.run import run
    from unlearn_core.runs.state import RunState

    state = RunState.of(run(spec, home=home))
    for model, scores in state.scored.items():
        if model != "unlearned":
            yield model, scores, "", ""
    if state.failure is not None:
        print(f"{spec.method:14} {state.failure.message}")
    if state.finished is not None:
        seconds, verdict = state.finished.seconds["unlearn"], state.finished.verdict["word"]
        yield "unlearned", state.scored["unlearned"], f"{seconds:.1f}", verdict


def row(scores: dict[str, Any]) -> list[str]:
    """The table's cells; a dash where the data has no such rows."""
    terms = scores["terms"]

    def of(split: str, metric: str) -> list[float]:
        ends = [value for name, value in terms.items() if name.startswith(split) and name.endswith(metric)]
        return [value for value in ends if value is not None]

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    unseen = scores["details"].get("paraphrases") or {}
    cells = (
        scores["task_aggregate"],
        max(of("forget", "knowledge"), default=None),
        min(of("retain", "knowledge"), default=None),
        mean(of("forget", "regurgitation")),
        mean(of("retain", "regurgitation")),
        unseen.get("forget"),
        unseen.get("retain"),
        scores["mia_auc"],
        scores["mia_score"],
        scores["utility"],
        scores["final_score"],
    )
    return ["-" if cell is None else f"{cell:.3f}" for cell in cells]


if __name__ == "__main__":
    main()
