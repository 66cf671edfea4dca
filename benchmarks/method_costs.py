"""What a step of every method takes, in steps of plain fine-tuning on the same forget sequences.

    python benchmarks/method_costs.py [--target demo] [--data demo] [--methods npo,lethe] [--batch 8]

Counts floating-point operations on the target itself (see `training/flops.py`) and prints one row a method:
what it declares, what was counted, and the ratio. Sequences of unlike length are allowed for: a step is
compared with fine-tuning on its own. What is done once, before the first step, is left out.
"""

from __future__ import annotations

import argparse
import copy


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--target", default="demo")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--methods", default="all")
    parser.add_argument("--batch", type=int, default=8, help="forget sequences in a step")
    arguments = parser.parse_args()

    from unlearn_core.data.sources import load_data
    from unlearn_core.methods import REGISTRY, get
    from unlearn_core.models.targets import load_target
    from unlearn_core.training.resources.flops import CostMeter

    target, data = load_target(arguments.target), load_data(arguments.data)
    meter = CostMeter(lambda: copy.deepcopy(target.model), target.tokenizer, data, arguments.batch)
    names = list(REGISTRY) if arguments.methods == "all" else arguments.methods.split(",")
    print(f"{'':18}{'declared':>9}{'counted':>9}{'ratio':>7}")
    for name in names:
        declared, counted = get(name).info.cost, meter.relative(name)
        ratio = f"{counted / declared:.2f}" if counted else "-"
        print(f"{name:18}{declared:>9g}{counted:>9.2f}{ratio:>7}", flush=True)


if __name__ == "__main__":
    main()
