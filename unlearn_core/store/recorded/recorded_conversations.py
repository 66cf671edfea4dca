"""Conversations about the runs on a real model that ship with Lethe: what both models answered.

    assets/recorded_runs/ID/conversation.json    the subject, the answers, and the hashes of base and adapter
    assets/recorded_runs/ID/weights/             the run's adapter, which names its base

They are shown as recorded. Their models can be asked anew where the very base is at hand that they were made
from: its weights and the adapter's file must have the hashes that the record states.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearn_core.errors import IntegrityError
from unlearn_core.models.files.adapter_folder import WEIGHTS
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.files import file_hash

CONVERSATION = "conversation.json"


@dataclass(frozen=True)
class RecordedConversation:
    """One run that was talked with. names: of its subject, the usual one first. answers: by question, what each model
    answered, in pieces (see `service.chat`)."""

    run_id: str
    folder: Path
    names: tuple[str, ...]
    answers: dict[str, dict[str, list[Any]]]
    base: str
    base_hash: str
    adapter_hash: str

    @property
    def adapter(self) -> Path:
        return self.folder / "weights"

    def check(self, base_hash: str) -> None:
        """IntegrityError where the base at hand, or the adapter, is not what was recorded."""
        if base_hash != self.base_hash:
            problem = f"is another {self.base} than the one that this run was recorded with"
            mend = "Its recorded answers are shown; to ask anew, let LETHE_SMOLLM2 name the GGUF file of the record."
            raise IntegrityError("target", base_hash[:12], problem, mend)
        if file_hash(self.adapter / WEIGHTS) != self.adapter_hash:
            raise IntegrityError("adapter", self.run_id, "is not the file that was recorded", "Install Lethe anew.")


@cache
def recorded_conversations() -> tuple[RecordedConversation, ...]:
    """All that are in this installation, by the ids of their runs."""
    found = []
    for path in sorted((assets_directory() / "recorded_runs").glob(f"*/{CONVERSATION}")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.append(
            RecordedConversation(
                path.parent.name,
                path.parent,
                (record["subject"], *record["aliases"]),
                record["answers"],
                record["base"],
                record["base_hash"],
                record["adapter_hash"],
            )
        )
    return tuple(found)
