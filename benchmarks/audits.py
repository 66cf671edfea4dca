"""What each audit says of the runs of several methods on the bundled world, and how long it takes.

    python benchmarks/audits.py [--methods simnpo,npo,...] [--audits a,b]

Rows are audits, columns are models: L(eaks), h(olds), - (not applicable) with the figure of the forgotten
rows and, after the stroke, the highest control. The last row is seconds for all of a model's audits.
"""

from __future__ import annotations

import argparse
import time

from unlearn_core.data.sources import load_data
from unlearn_core.evaluation.audits import AuditResult, Case, choose
from unlearn_core.methods import build
from unlearn_core.models.targets import Target, load_target
from unlearn_core.training.loop import unlearn

METHODS = "lethe,simnpo,npo,grad_diff,idk"
MARKS = {"leaks": "L", "holds": "h", "not applicable": "-"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--audits")
    options = parser.parse_args()
    audits = choose(options.audits.split(",") if options.audits else None)
    models = ["original", "retain_only", *filter(None, options.methods.split(","))]
    print(f"{'model':<14}" + "".join(f"{audit.info.name:>16}" for audit in audits) + f"{'seconds':>10}")
    for name in models:
        target = _model(name)
        case = Case(
            target.model, target.tokenizer, load_data("demo"), load_target("demo").model,
            load_target("demo:retain_only").model,
        )  # fmt: skip
        began = time.perf_counter()
        cells = [_cell(_result(audit.run(case))) for audit in audits]
        seconds = time.perf_counter() - began
        print(f"{name:<14}" + "".join(f"{cell:>16}" for cell in cells) + f"{seconds:>10.1f}", flush=True)


def _model(name: str) -> Target:
    """The bundled models by name, or the original unlearned by a method at its defaults."""
    if name == "retain_only":
        return load_target("demo:retain_only")
    target = load_target("demo")
    if name != "original":
        for _ in unlearn(target.model, target.tokenizer, load_data("demo"), build(name), seed=0):
            pass
    return target


def _result(run: object) -> AuditResult:
    while True:
        try:
            next(run)  # type: ignore[call-overload]
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def _cell(result: AuditResult) -> str:
    if result.verdict == "not applicable":
        return "-"
    control = f"{result.control:.2f}" if result.control is not None else "-"
    return f"{MARKS[result.verdict]} {result.figures['forget']:.2f}/{control}"


if __name__ == "__main__":
    main()
