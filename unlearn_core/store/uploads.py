"""Files that visitors gave: one folder each, named by a random token, with its owner's hash beside it.

uploads/<token>/<name>    the file
uploads/<token>/.owner    whose it is: on a shared server nobody else may use it
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.data.sources import UPLOAD
from unlearn_core.errors import InputError
from unlearn_core.system.files import disk_errors

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson

OWNER = ".owner"
_GONE = "an upload that was deleted"
_TOKEN = re.compile(r"[\w-]{16,64}", re.ASCII)


def keep(folder: Path, source: Path, filename: str, owner: str) -> str:
    """Copy a file into `folder`; the name that a spec's `data` takes, `upload:TOKEN`. owner: a hash."""
    token = secrets.token_urlsafe(16)
    stem = re.sub(r"[^\w.-]+", "_", Path(filename or source.name).name, flags=re.ASCII).lstrip(".")[-80:]
    place = folder / token
    with disk_errors(place):
        place.mkdir(parents=True)
        (place / OWNER).write_text(owner, encoding="ascii")
        shutil.copyfile(source, place / (stem or "data.jsonl"))
    return f"{UPLOAD}{token}"


def give(folder: Path, name: str, owner: str) -> None:
    """Say whose a file is that a run made there."""
    token = name.removeprefix(UPLOAD)
    if _TOKEN.fullmatch(token) and (folder / token).is_dir():
        with disk_errors(folder / token):
            (folder / token / OWNER).write_text(owner, encoding="ascii")


def drop(folder: Path, name: str) -> None:
    """Remove what `keep` kept under this name."""
    token = name.removeprefix(UPLOAD)
    if _TOKEN.fullmatch(token):
        shutil.rmtree(folder / token, ignore_errors=True)


def is_of(place: Path, owner: str) -> bool:
    """Whether the upload in the folder `place` belongs to this hash."""
    try:
        whose = (place / OWNER).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False
    return bool(owner) and hmac.compare_digest(whose, owner)


def check_owner(folder: Path, name: str, owner: str) -> None:
    """InputError unless `name` is an upload of this hash; what is not there and what is another's look alike."""
    token = name.removeprefix(UPLOAD)
    if not _TOKEN.fullmatch(token) or not is_of(folder / token, owner):
        raise InputError("data", name, "is not here any more", "Upload the file again.", ("tab", "data"))


def handed_on(folder: Path, spec: SpecJson) -> SpecJson:
    """A run's spec without tokens: an upload by the name of its file. Its fingerprint stands with the scores."""
    uploads = {key: value for key, value in spec.items() if isinstance(value, str) and value.startswith(UPLOAD)}
    return {**spec, **{key: _file(folder, name) for key, name in uploads.items()}}


def _file(folder: Path, name: str) -> str:
    token = name.removeprefix(UPLOAD)
    with contextlib.suppress(OSError):
        if _TOKEN.fullmatch(token):
            return next((path.name for path in (folder / token).iterdir() if path.name != OWNER), _GONE)
    return _GONE
