"""A run on one thread and on two, which pass the model side by side: on an idle machine, and beside one busy process.

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

CASES = ("1", "2")
BUSY = "while True: pass"
TRAIN = """
import sys, tempfile
from pathlib import Path
from unlearn_core.system.machine.threads import use_cores, wait_passively
wait_passively()
use_cores(serving=False)
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
with tempfile.TemporaryDirectory() as folder:
    state = RunState.of(run(RunSpec(settings={"steps": int(sys.argv[1])}), home=Path(folder)))
print(state.finished.seconds["unlearn"])
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
            found: dict[str, list[float]] = {case: [] for case in CASES}
            for _ in range(options.turns):
                for case in CASES:
                    found[case].append(train(case, options.steps))
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        best = {case: min(times) for case, times in found.items()}
        cells = [f"{best[case]:.1f} s ({best[case] / best['1']:.2f})" for case in CASES]
        print(f"| {neighbour} | {' | '.join(cells)} |", flush=True)


def train(threads: str, steps: int) -> float:
    """Seconds of the training."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "KMP_"))}
    if threads == "1":
        environment["OMP_NUM_THREADS"] = threads
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(steps)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
