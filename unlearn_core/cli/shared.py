"""What many commands share: numbers refused in words that say what to write instead, what comes before a model is
loaded, and where a result goes: a table for eyes, or JSON on the standard output or in a file.
"""

from __future__ import annotations

import json
import logging
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from unlearn_core.errors import InputError, clip
from unlearn_core.system.files import write_json
from unlearn_core.system.machine.memory import keep_heap
from unlearn_core.system.machine.threads import use_cores


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{clip(text)} is not a whole number. Write digits only, like 7.") from None


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{clip(text)} is not a number. Write one like 0.001.") from None


def prepare() -> None:
    """Take cores and memory as a training does, and keep the terminal for Lethe's own words: silence the libraries'
    progress bars and warnings; downloads still show theirs."""
    use_cores(serving=False)
    keep_heap()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    theirs.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


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
