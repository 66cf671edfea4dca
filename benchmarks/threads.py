"""One thread, two, or those that a run chooses: on an idle machine, and beside one busy process.

    python benchmarks/threads.py [--steps 20] [--turns 1]

Each case is the default run's training in a process of its own, as the page starts it. The cases take turns, so
that whatever else the machine does falls on all of them; the figure is the best of the turns, and what stands in
brackets is its ratio to one thread beside the same neighbour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

CASES = ("1", "2", "chosen")
BUSY = "while True: pass"
TRAIN = """
import sys, time
from unlearn_core.system.machine.threads import use_cores, wait_passively
wait_passively()
import torch
use_cores(serving=False)
from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import unlearn
target, data = load_target("demo"), load_data("demo")
method = methods.build("lethe", {"steps": int(sys.argv[1])})
began = time.perf_counter()
for _ in unlearn(target.model, target.tokenizer, data, method, probe_ids=()):
    pass
print(time.perf_counter() - began, torch.get_num_threads())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--turns", type=int, default=1)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n\n| neighbour | {' | '.join(CASES)} |")
    print("|---" * (len(CASES) + 1) + "|")
    for neighbour in ("none", "one busy process"):
        busy = subprocess.Popen([sys.executable, "-c", BUSY]) if neighbour != "none" else None
        try:
            found: dict[str, list[tuple[float, int]]] = {case: [] for case in CASES}
            for _ in range(options.turns):
                for case in CASES:
                    found[case].append(train(case, options.steps))
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        best = {case: min(times) for case, times in found.items()}
        cells = [f"{best[case][0]:.1f} s ({best[case][0] / best['1'][0]:.2f})" for case in CASES]
        print(f"| {neighbour} | {' | '.join(cells)}, ended with {best['chosen'][1]} |", flush=True)


def train(case: str, steps: int) -> tuple[float, int]:
    """Seconds of the training, and the threads it ended with."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "KMP_"))}
    if case != "chosen":
        environment["OMP_NUM_THREADS"] = case
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(steps)], env=environment, capture_output=True, text=True, check=True
    )
    seconds, threads = done.stdout.split()[-2:]
    return float(seconds), int(threads)


if __name__ == "__main__":
    main()
