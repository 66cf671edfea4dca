"""Where a command's result goes: a table for eyes, or JSON on the standard output or in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from unlearn_core.errors import InputError
from unlearn_core.system.files import write_json


def print_or_write(name: str | None, record: object, show: Callable[[], object]) -> int:
    """Print `record` as JSON where `name` is -, else `show` it and write the JSON to the file `name`, if there is one.
    Returns the exit code."""
    if name == "-":
        print(json.dumps(record, indent=2))
        return 0
    show()
    if name is not None:
        write_json(Path(name), record)
    return 0


def check_file(name: str | None, flag: str = "--json") -> None:
    """Refuse a place for the result that cannot take it, before the work and not after."""
    if name is None or name == "-":
        return
    path = Path(name)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(flag, name, "cannot be written", "Name a file in a folder that exists.")


def check_folder(name: str) -> Path:
    """Refuse a file where a folder is meant."""
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise InputError("--out", name, "is a file", "Name a folder.")
    return folder
