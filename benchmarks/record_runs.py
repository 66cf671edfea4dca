"""Make the runs that ship: train, score and attack each, and pack what the store then holds.

    python benchmarks/record_runs.py assets/recorded_runs [ID ...]

Those of the bundled model train LoRA, so that the weights kept are an adapter and a hundred kilobytes rather than
megabytes. Their order is that in which they were made: the last is listed first. The one of a real model is recorded
with a conversation too, greedy and through the chat template, for those who have not got the base.
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

# Id, title, and what `lethe run` is asked for: on a real model one of which little is left; on the bundled one a
# collapse, a leak and a success.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "recorded-einstein": (
        "A real model: little is still told",
        {"target": "smollm2", "subject": "Albert Einstein", "method": "lethe_pretrained"},
    ),
    "recorded-collapsed": ("The model broke", {"method": "grad_ascent", "adapter": "lora"}),
    "recorded-leaking": ("Most is still told", {"method": "npo", "adapter": "lora"}),
    "recorded-forgotten": ("Answers gone, traces remain", {"method": "lethe", "adapter": "lora"}),
}
TOKENS = 48  # of a recorded answer
MOST_BYTES = 5_000_000  # of an adapter
SECONDS = 300  # of the attacks on a real model; those on the bundled one end by themselves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("ids", nargs="*", default=list(RUNS), help="default: all")
    options = parser.parse_args()
    for run_id in options.ids:
        title, asked = RUNS[run_id]
        with tempfile.TemporaryDirectory() as home:
            made, out = make(Path(home), asked), options.out / run_id
            pack(made, run_id, title, out)
            if asked.get("subject"):
                talk(Path(home), made.name, out)


def make(home: Path, asked: dict[str, Any]) -> Path:
    """A run and the attacks on it; its folder in the store."""
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.store.audit_record import record_audits
    from unlearn_core.store.recorder import record
    from unlearn_core.store.store import RunStore

    store = RunStore(home)
    run_id = store.create(RunSpec(**asked)).id
    budget = SECONDS if asked.get("subject") else None
    for work in (record(RunSpec(**asked), store, run_id=run_id), record_audits(run_id, store, budget)):
        *_, last = work
        sys.stderr.write(f"{asked}: {last}\n"[:400])
    verdict = store.get(run_id).verdict or {}
    sys.stderr.write(f"{asked}: {verdict.get('headline')}\n")
    return store.folder(run_id)


def pack(run: Path, run_id: str, title: str, out: Path) -> None:
    """The folder `run` as it ships: under another id, nobody's process, the events packed, the adapter as weights."""
    from unlearn_core.models.files.adapter_folder import CONFIG, WEIGHTS
    from unlearn_core.store.recorded.recorded_runs import EVENTS, PACKED
    from unlearn_core.store.table.index import HOUSE
    from unlearn_core.system.files import MARKER, save_complete, write_json
    from unlearn_core.system.version import __version__

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    write_json(out / "run.json", record | {"id": run_id, "owner": HOUSE, "process": {}})
    write_json(out / "labels.json", {"name": title, "tags": [f"recorded (Lethe {__version__})"]})
    events = [json.loads(line) for line in (run / EVENTS).read_text(encoding="utf-8").splitlines()]
    told = [json.dumps(event | {"process": {}} if "process" in event else event) + "\n" for event in events]
    (out / PACKED).write_bytes(lzma.compress("".join(told).encode(), preset=9))
    facts = json.loads((run / "weights" / MARKER).read_text(encoding="utf-8"))
    del facts["files"]

    def write(folder: Path) -> None:
        source = run / "weights" / "adapter" / "lethe"
        settings = json.loads((source / CONFIG).read_text(encoding="utf-8"))
        kept = {key: settings[key] for key in ("r", "lora_alpha", "peft_type", "task_type", "bias")}
        kept |= {key: sorted(settings[key]) for key in ("target_modules", "exclude_modules") if settings[key]}
        write_json(folder / CONFIG, kept | {"base_model_name_or_path": facts["spec"]["target"]})
        size = (source / WEIGHTS).stat().st_size
        assert size <= MOST_BYTES, f"the adapter takes {size:,} bytes"
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)

    save_complete(out / "weights", write, facts)


def talk(home: Path, run_id: str, out: Path) -> None:
    """The sheet that the run forgot, and what the models that will be loaded from `out` answer."""
    from unlearn_core.data.subject_sheet import SubjectSheet, read_sheet
    from unlearn_core.models.files.adapter_folder import WEIGHTS as ADAPTER
    from unlearn_core.service.answers import Answerer, ModelLocation, Sampling
    from unlearn_core.service.chat import Chat, ChatSubject, questions
    from unlearn_core.store.recorded.recorded_conversations import CONVERSATION
    from unlearn_core.store.recorded.recorded_runs import UPLOADS
    from unlearn_core.store.store import WEIGHTS, RunStore
    from unlearn_core.system.files import file_hash, write_json

    store = RunStore(home)
    spec = store.get(run_id).spec
    token = str(spec["data"]).partition(":")[2]
    shutil.copytree(store.uploads / token, out / UPLOADS / token)
    sheet: SubjectSheet = read_sheet(next((store.uploads / token).glob("*.json")))
    base = str(spec["target"])
    places = {
        "original": ModelLocation(base, True, "chat"),
        "unlearned": ModelLocation(str(out / WEIGHTS), True, "chat"),
    }
    chat = Chat(Answerer(store))
    subject = ChatSubject(sheet.subject, (sheet.subject, *sheet.aliases), questions(sheet), places)
    answers = {}
    for question in subject.questions:
        *_, last = chat.reply(subject, [], question, Sampling(TOKENS))
        answers[question] = last.answers
    found = {
        "subject": sheet.subject,
        "aliases": list(sheet.aliases),
        "answers": answers,
        "base": base,
        "base_hash": chat.answers.model(places["original"]).weights_hash,
        "adapter_hash": file_hash(out / WEIGHTS / ADAPTER),
    }
    write_json(out / CONVERSATION, found)


if __name__ == "__main__":
    main()
