"""What people write on a run, its name and its tags: how it is read, and what may be stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.system.files import read_json

MAX_NAME, MAX_TAG, MAX_TAGS = 80, 32, 10


def read_labels(folder: Path) -> dict[str, Any]:
    """What people wrote on a run: `name` and `tags`; nothing where there is no such file."""
    try:
        labels = read_json(folder / "labels.json")
    except (OSError, ValueError):
        return {}
    found = labels if isinstance(labels, dict) else {}
    tags = found.get("tags")
    return {"name": str(found.get("name") or ""), "tags": list(map(str, tags)) if isinstance(tags, list) else []}


def checked_name(name: str) -> str:
    """A run's name as it may be stored: one printable line."""
    flat = " ".join(str(name).split())
    if len(flat) > MAX_NAME or not flat.isprintable():
        raise InputError("name", name, "is not a name", f"Use at most {MAX_NAME} printable characters.")
    return flat


def checked_tags(tags: Sequence[str]) -> list[str]:
    """Tags without doubles, in order; each a short printable word or two without commas."""
    found = list(dict.fromkeys(" ".join(str(tag).split()) for tag in tags if str(tag).strip()))
    for tag in found:
        if len(tag) > MAX_TAG or "," in tag or not tag.isprintable():
            mend = f"Use at most {MAX_TAG} printable characters and no comma."
            raise InputError("tags", tag, "is not a tag", mend)
    if len(found) > MAX_TAGS:
        raise InputError("tags", len(found), "are too many", f"Use at most {MAX_TAGS}.")
    return found
