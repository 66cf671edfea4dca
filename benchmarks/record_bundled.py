"""Make the runs of the bundled model that ship: train, score and attack each, and pack what the store then holds.

    python benchmarks/record_bundled.py assets/recorded_runs [ID ...]

They train LoRA, so that the weights kept are an adapter in float32, whole, and a hundred kilobytes rather than
megabytes. Their order is that in which they were made: the last is listed first.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

# Id, title, and what `lethe run` is asked for: a collapse, a leak, a success.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "recorded-collapsed": ("The model broke", {"method": "grad_ascent"}),
    "recorded-leaking": ("Most is still told", {"method": "npo"}),
    "recorded-forgotten": ("Answers gone, traces remain", {"method": "lethe"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("ids", nargs="*", default=list(RUNS), help="default: all")
    options = parser.parse_args()
    for run_id in options.ids:
        with tempfile.TemporaryDirectory() as home:
            pack(make(Path(home), RUNS[run_id][1]), run_id, RUNS[run_id][0], options.out / run_id)


def make(home: Path, asked: dict[str, Any]) -> Path:
    """A run and the attacks on it; its folder in the store."""
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.store.audit_record import record_audits
    from unlearn_core.store.recorder import record
    from unlearn_core.store.store import RunStore

    store = RunStore(home)
    run_id = store.create(RunSpec(adapter="lora", **asked)).id
    for work in (record(RunSpec(adapter="lora", **asked), store, run_id=run_id), record_audits(run_id, store, None)):
        *_, last = work
        sys.stderr.write(f"{asked}: {last}\n"[:400])
    verdict = store.get(run_id).verdict or {}
    sys.stderr.write(f"{asked}: {verdict.get('headline')}\n")
    return store.folder(run_id)


def pack(run: Path, run_id: str, title: str, out: Path) -> None:
    """The folder `run` as it ships: under another id, nobody's process, the events packed, the adapter as weights."""
    from unlearn_core.models.adapter_folder import CONFIG, WEIGHTS
    from unlearn_core.store.index import HOUSE
    from unlearn_core.store.recorded_runs import EVENTS, PACKED
    from unlearn_core.system.files import MARKER, save_complete, write_json
    from unlearn_core.system.version import __version__

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, known in (("run.json", {"id": run_id, "owner": HOUSE, "process": {}}), ("audits.json", {"process": {}})):
        write_json(out / name, json.loads((run / name).read_text(encoding="utf-8")) | known)
    write_json(out / "labels.json", {"name": title, "tags": [f"recorded (Lethe {__version__})"]})
    (out / PACKED).write_bytes(lzma.compress((run / EVENTS).read_bytes(), preset=9))
    facts = json.loads((run / "weights" / MARKER).read_text(encoding="utf-8"))
    del facts["files"]

    def write(folder: Path) -> None:
        source = run / "weights" / "adapter" / "lethe"
        settings = json.loads((source / CONFIG).read_text(encoding="utf-8"))
        kept = {key: settings[key] for key in ("r", "lora_alpha", "target_modules", "peft_type", "task_type", "bias")}
        write_json(folder / CONFIG, kept | {"base_model_name_or_path": "demo"})
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)

    save_complete(out / "weights", write, facts)


if __name__ == "__main__":
    main()
