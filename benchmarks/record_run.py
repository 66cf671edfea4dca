"""Make a run that ships of a finished one: its adapter in bfloat16, what both models answer, hashes, the verdict.

    lethe run --target smollm2 --subject "Albert Einstein" --json einstein.json
    python benchmarks/record_run.py einstein.json assets/recorded/albert-einstein

The answers are those of the shipped adapter on the base as it is loaded, greedy and through the chat template.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

KEPT = ("spec", "layers", "verdict", "seconds", "changed", "subject")
TOKENS = 48
MOST_BYTES = 5_000_000  # of the adapter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="the result as `lethe run --json` wrote it, with its weights")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    result = json.loads(options.result.read_text(encoding="utf-8"))
    base = result["spec"]["target"]
    write_adapter(Path(result["weights"]) / "adapter" / "lethe", options.out / "adapter", base)
    record(result, base, options.out)


def write_adapter(source: Path, out: Path, base: str) -> None:
    """The adapter in bfloat16, beside a configuration that names its base and nothing of this machine."""
    import torch
    from safetensors.torch import load_file, save_file

    from unlearn_core.models.adapter_folder import CONFIG, WEIGHTS

    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(source / WEIGHTS).items()}
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    size = (out / WEIGHTS).stat().st_size
    assert size <= MOST_BYTES, f"the adapter takes {size:,} bytes"
    settings = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    kept = {"base_model_name_or_path": base, "peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none"}
    kept |= {name: settings[name] for name in ("r", "lora_alpha", "target_modules", "exclude_modules")}
    (out / CONFIG).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def record(result: dict[str, Any], base: str, out: Path) -> None:
    """`run.json`, with what the two models that will be loaded from here answer."""
    from unlearn_core.data.subject_sheet import SubjectSheet
    from unlearn_core.models.adapter_folder import WEIGHTS
    from unlearn_core.service.answers import Answerer, ModelLocation
    from unlearn_core.service.chat import Chat, ChatSubject, questions
    from unlearn_core.store.recorded_conversations import file_hash
    from unlearn_core.store.store import RunStore
    from unlearn_core.system.versions import library_versions

    sheet = SubjectSheet.from_json(result["subject"])
    places = {
        "original": ModelLocation(base, True, "chat"),
        "unlearned": ModelLocation(str(out / "adapter"), True, "chat"),
    }
    with tempfile.TemporaryDirectory() as home:
        chat = Chat(Answerer(RunStore(Path(home))))
        subject = ChatSubject(sheet.subject, (sheet.subject, *sheet.aliases), questions(sheet), places)
        answers = {}
        for question in subject.questions:
            *_, last = chat.reply(subject, [], question, TOKENS)
            answers[question] = last.answers
        base_hash = chat.answers.model(places["original"]).weights_hash
    found = {
        "result": {name: result[name] for name in KEPT if name in result} | {"versions": library_versions()},
        "answers": answers,
        "base": base,
        "base_hash": base_hash,
        "adapter_hash": file_hash(out / "adapter" / WEIGHTS),
    }
    (out / "run.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
