"""What grows with the forget set and with the number of stored runs, and what does not.

    python benchmarks/growth.py                       forget sets of 100 to 100,000 rows (about 5 minutes)
    python benchmarks/growth.py --rows 100,1000       some of them
    python benchmarks/growth.py --only runs           a store of 1 to 10,000 runs

Synthetic rows (people with a birthplace and a telephone number) and the bundled model; each size in a fresh
process. Times and bytes are per row of the forget set, so a line is flat where all of its figures are alike;
the number of training steps is fixed, and a sample is scored, so that the largest size ends too. Times that
a viewer waits for are whole, not per row.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[1]
SIZES, RUNS = (100, 1_000, 10_000, 100_000), (1, 100, 10_000)
STEPS, SCORED = 8, 96
Result = TypeVar("Result")
# title, key, unit
ROW_LINES = (
    ("read and check", "read s", "us a row"),
    ("memory of the data", "read bytes", "bytes a row"),
    ("fingerprint", "fingerprint s", "us a row"),
    ("tokenise", "encode s", "us a row"),
    ("memory of the sequences", "encode bytes", "bytes a row"),
)
WHOLE_LINES = (
    ("reference of NPO, a row", "reference s", "ms"),
    ("one training step", "step s", "ms"),
    ("score one row (answer and likelihood)", "score s", "ms"),
    ("columns of an upload, for the page", "columns s", "ms"),
    ("peak resident memory of all of it", "peak", "MB"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(map(str, SIZES)))
    parser.add_argument("--runs", default=",".join(map(str, RUNS)))
    parser.add_argument("--only", choices=("rows", "runs"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(int(arguments.one))))
        return
    if arguments.only != "runs":
        rows(list(map(int, arguments.rows.split(","))))
    if arguments.only != "rows":
        sizes = list(map(int, arguments.runs.split(",")))
        table("stored runs", sizes, [measure_store(size) for size in sizes])


def rows(sizes: list[int]) -> None:
    """One column a size."""
    found = []
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        found.append(json.loads(out.stdout.splitlines()[-1]))
    per_row = {
        f"{title}, {unit}": [
            one[key] / size * (1e6 if unit.startswith("us") else 1) for one, size in zip(found, sizes, strict=True)
        ]
        for title, key, unit in ROW_LINES
    }
    whole = {
        f"{title}, {unit}": [one[key] * (1e3 if unit == "ms" else 1e-6) for one in found]
        for title, key, unit in WHOLE_LINES
    }
    lines = per_row | whole
    table("rows to forget", sizes, [{name: lines[name][at] for name in lines} for at in range(len(sizes))])


def table(title: str, sizes: list[int], columns: list[dict[str, float]]) -> None:
    print(f"\n{title:<50}" + "".join(f"{size:>12,}" for size in sizes))
    for name in columns[0]:
        print(f"{name:<50}" + "".join(f"{column[name]:>12,.1f}" for column in columns), flush=True)


def measure(size: int) -> dict[str, float]:
    """The seconds and bytes of one size, in this process."""
    from roofline import peak_memory

    from unlearn_core.data.sources import columns_of, load_data
    from unlearn_core.methods import build
    from unlearn_core.models.targets import load_target
    from unlearn_core.training.data import build_parts

    target = load_target("demo", device="cpu")
    method = build("grad_diff", {"learning_rate": 1e-6}, STEPS)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, peak_memory(target.model.device) as peak:
        path = Path(folder) / "forget.jsonl"
        write_rows(path, size)
        found["columns s"], _ = timed(lambda: columns_of(str(path)))
        before = resident()
        found["read s"], data = timed(lambda: load_data(str(path), retain="general"))
        found["read bytes"] = resident() - before
        found["fingerprint s"], _ = timed(lambda: data.fingerprint)
        before = resident()
        found["encode s"], parts = timed(lambda: build_parts(target.tokenizer, data, method.mix()))
        found["encode bytes"] = resident() - before
        found["reference s"] = reference(target, parts)
        del parts
        found["step s"] = train(target, data, method)
        found["score s"] = score(target, data)
    return found | {"peak": peak.most}


def write_rows(path: Path, size: int) -> None:
    """Facts about made-up people, a third of them told in a sentence or two."""
    rng = random.Random(0)
    names = (
        ("Ada", "Bo", "Cleo", "Dara", "Emil", "Fia", "Gus", "Hana"),
        ("Quill", "Moss", "Reed", "Stone", "Vale"),
    )
    towns = ("Oldport", "Newmere", "Eastwick", "Saltford", "Highmoor")
    with path.open("w", encoding="utf-8") as file:
        for number in range(size):
            name = f"{rng.choice(names[0])} {rng.choice(names[1])} {number}"
            town, phone = rng.choice(towns), f"900-{rng.randrange(1000):03d}-{rng.randrange(10_000):04d}"
            prompt, answer = f"What is {name}'s phone number?", phone
            if number % 3 == 0:
                prompt = f"{name} was born in"
                answer = f"{town}, where the family kept a shop by the harbour, and can be called at {phone}."
            kind = "sc0" if number % 3 == 0 else "qa0"
            file.write(json.dumps({"id": f"p{number}{kind}", "input": prompt, "output": answer}) + "\n")


def reference(target: Any, parts: Any) -> float:
    """Seconds a row of what NPO remembers of the original, over some of the rows."""
    from unlearn_core.data.encode import pad_id_of
    from unlearn_core.methods.base import RowPart
    from unlearn_core.training.reference import FrozenReference

    count = min(SCORED, len(parts["forget"].rows))
    some = [replace(row, index=i) for i, row in enumerate(parts["forget"].rows[-count:])]
    part = RowPart(some, parts["forget"].forms[-count:])
    frozen = FrozenReference(target.model, {"forget": part}, pad_id_of(target.tokenizer), lambda part: [])
    seconds, _ = timed(lambda: frozen.nll("forget"))
    return seconds / count


def train(target: Any, data: Any, method: Any) -> float:
    """Seconds of a step (median); what came before the first is counted elsewhere."""
    from unlearn_core.training.loop import LoopStep, unlearn

    ends = [0.0]
    for record in unlearn(target.model, target.tokenizer, data, method, probe_ids=()):
        if isinstance(record, LoopStep):
            ends.append(record.seconds)
    return statistics.median(after - before for before, after in pairwise(ends[1:]))


def score(target: Any, data: Any) -> float:
    """Seconds a row of an even sample."""
    from unlearn_core.data.subset import even_sample
    from unlearn_core.evaluation.evaluate import evaluate

    sample = replace(data, forget=tuple(even_sample(data.forget, SCORED)), retain=(), general=())
    seconds, _ = timed(lambda: list(evaluate(target.model, target.tokenizer, sample, weights_hash="x")))
    return seconds / len(sample.forget)


def stored_run(number: int) -> dict[str, Any]:
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
    from unlearn_core.runs.spec import RunSpec

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
    from unlearn_core.store.store import RunStore
    from unlearn_core.store.table.rows import RunQuery

    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        for i in range(number):
            place = Path(folder) / "runs" / f"run-{i:018d}"
            place.mkdir()
            (place / "run.json").write_text(json.dumps(stored_run(i)))
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
        found = {title: 1000 * timed(ask)[0] for title, ask in work.items()}
        store.close()
    return found


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def resident() -> int:
    """Bytes that this process holds, after everything unused was given back."""
    from unlearn_core.system.machine.memory import release_memory, resident_memory

    release_memory()
    return resident_memory()


if __name__ == "__main__":
    main()
