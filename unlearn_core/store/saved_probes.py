"""Questions saved to a run, so that a link brings them back: `?run=ID&probe=ID`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from unlearn_core.errors import InputError, too_long
from unlearn_core.system.files import read_json, write_json

FILE = "probes.json"
MAX_PROBES = 200
MAX_TEXT = 4000  # characters


@dataclass(frozen=True, slots=True)
class SavedProbe:
    """A prompt with the gold answer to look at ("" for none) and how the models are to answer it."""

    prompt: str
    answer: str = ""
    split: str = "forget"  # forget, retain or general: whether the answer ought to be gone
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    template: bool = False  # whether the tokenizer's chat template goes around the prompt

    @property
    def id(self) -> str:
        """Twelve hex digits of what is asked: the same probe has the same link."""
        told = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def save_probe(folder: Path, probe: SavedProbe) -> str:
    """Keep `probe` in the run's folder; its id. Raises InputError for an empty prompt and a full run."""
    if not probe.prompt.strip():
        raise InputError("prompt", probe.prompt, "is empty", "Type a question.")
    if max(len(probe.prompt), len(probe.answer)) > MAX_TEXT:
        raise too_long("prompt", probe.prompt, MAX_TEXT)
    kept = {one.id: one for one in read_probes(folder)}
    if probe.id not in kept and len(kept) >= MAX_PROBES:
        raise InputError("probe", probe.prompt, "does not fit", f"A run keeps {MAX_PROBES} probes.")
    kept[probe.id] = probe
    write_json(folder / FILE, [asdict(one) for one in kept.values()])
    return probe.id


def read_probes(folder: Path) -> list[SavedProbe]:
    """The saved probes, oldest first; none where nothing was saved."""
    try:
        return [SavedProbe(**row) for row in read_json(folder / FILE)]
    except (OSError, ValueError, TypeError):
        return []


def find_probe(folder: Path, probe_id: str) -> SavedProbe:
    """The probe of a link. Raises InputError when the run has none of this id."""
    for probe in read_probes(folder):
        if probe.id == probe_id:
            return probe
    raise InputError("probe", probe_id, "is not a probe of this run", "Ask anew and save it.")
