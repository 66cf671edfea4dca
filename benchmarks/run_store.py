"""How long the page has to wait for its store; `growth.py` prints it.

Fills a temporary home with runs whose records are as large as real ones, then times what the page asks.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery


def record(number: int) -> dict[str, Any]:
    """A finished run; the details are about as many bytes as those of a run on the bundled model."""
    scores = {
        "aggregated_terms": [number % 100 / 100] * 6 + [0.9] * 6,
        "task_aggregate": 0.5,
        "mia_score": 0.5,
        "utility": 0.6,
        "final_score": number % 97 / 97,
        "weights_hash": "w" * 64,
        "data_fingerprint": "d" * 64,
        "details": {"losses": [number / 7 + i for i in range(400)]},
    }
    spec = RunSpec(method=("npo", "lethe", "kl")[number % 3], seed=number % 5, steps=100 + number % 7)
    return {
        "id": f"run-{number:018d}",
        "spec": spec.to_json(),
        "status": "finished",
        "created": 1e9 + number,
        "owner": "",
        "scores": {"original": scores, "unlearned": scores},
        "verdict": {"label": "forgotten"},
        "seconds": {"unlearn": 10.0},
    }


def measure_store(number: int) -> dict[str, float]:
    """Milliseconds of what a page asks of a store of `number` runs."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        for i in range(number):
            place = Path(folder) / "runs" / f"run-{i:018d}"
            place.mkdir()
            (place / "run.json").write_text(json.dumps(record(i)))
        last = f"run-{number - 1:018d}"
        work: dict[str, Callable[[], object]] = {
            "first listing (the index is built), ms": lambda: store.rows(RunQuery()),
            "a page of 25, newest first, ms": lambda: store.rows(RunQuery()),
            "the last page, by score, ms": lambda: store.rows(
                RunQuery(sort="total:final_score", offset=max(0, number - 25))
            ),
            "text and method filter, ms": lambda: store.rows(RunQuery(text="demo", method="npo")),
            "1,000 points of the plot, ms": lambda: store.rows(RunQuery(limit=1000)),
            "choices of one filter, ms": lambda: store.values("method"),
            "open one run, ms": lambda: store.get(last),
            "a live page's tick (events since the last), ms": lambda: store.read_events(last),
            "another server starts (marks dead runs), ms": store.recover,
        }
        found = {title: _milliseconds(ask) for title, ask in work.items()}
        store.close()
    return found


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
