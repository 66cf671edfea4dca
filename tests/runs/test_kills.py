"""kill -9 at random moments of a real run: a small helping of `benchmarks/faults.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = 4


def test_a_run_killed_at_any_moment_is_resumed_to_the_same_scores(memorised: Any) -> None:
    """The program checks the store, the checkpoints, the finished runs and the scores after every kill."""
    sizes = ["--kills", str(KILLS), "--steps", "4"]
    given = ["--target", memorised.model, "--data", memorised.data]
    done = subprocess.run(
        [sys.executable, "benchmarks/faults.py", *sizes, *given],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{KILLS} kills" in done.stdout
    assert "Failed checks: 0." in done.stdout
    assert "interrupted" in done.stdout
