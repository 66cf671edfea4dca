"""Finished runs that ship with Lethe, on the bundled and on a real model: a first visitor finds some to look at,
ask and attack.

    assets/recorded_runs/ID/            a run's folder as the store keeps it, its events packed, its weights an adapter
    assets/recorded_runs/ID/uploads/    its data, where that was found by asking the model

They are copied into a home when a page is first served from it, and are the house's: everybody sees them, they
never expire, and on a shared server nobody can change or delete them. One that was deleted stays deleted.
"""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tempfile
from pathlib import Path

from unlearn_core.errors import LetheError
from unlearn_core.store.recorded.recorded_conversations import CONVERSATION
from unlearn_core.store.store import WEIGHTS, RunStore
from unlearn_core.store.table.index import HOUSE, OWNER
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.files import check_complete, disk_errors, read_json, write_json
from unlearn_core.system.log import LOGGER

EVENTS, PACKED, UPLOADS = "events.jsonl", "events.jsonl.xz", "uploads"
_BROUGHT = "recorded_runs.json"  # in a home: the ids of those that were ever put there


def put_recorded_runs(store: RunStore) -> None:
    """Copy those that this home never had; one that cannot be copied keeps no server from its start."""
    brought = _brought(store.home)
    for source in sorted((assets_directory() / "recorded_runs").glob("recorded-*")):
        if (store.runs / source.name).exists():
            _put_data(source, store)
            continue
        if source.name in brought:  # and deleted
            continue
        try:
            _put_data(source, store)
            _put(source, store.runs)
            brought.append(source.name)
            write_json(store.home / _BROUGHT, brought)
        except (OSError, LetheError, lzma.LZMAError):
            LOGGER.exception("a recorded run could not be put into the home", extra={"facts": {"run": source.name}})


def _put(source: Path, runs: Path) -> None:
    """The run in `source` as a folder of `runs`; IntegrityError where its weights are not those that were packed."""
    check_complete(source / WEIGHTS, hashes=True)
    with disk_errors(runs), tempfile.TemporaryDirectory(prefix=".new-", dir=runs) as place:
        made = Path(place) / source.name
        shutil.copytree(source, made, ignore=shutil.ignore_patterns(PACKED, UPLOADS, CONVERSATION))
        (made / EVENTS).write_bytes(lzma.decompress((source / PACKED).read_bytes()))
        (made / OWNER).write_text(HOUSE, encoding="ascii")
        made.rename(runs / source.name)


def _put_data(source: Path, store: RunStore) -> None:
    """Its data among the uploads, again where they have expired."""
    for data in (source / UPLOADS).glob("*"):
        with contextlib.suppress(OSError):  # the run can be looked at without
            shutil.copytree(data, store.uploads / data.name, dirs_exist_ok=True)


def _brought(home: Path) -> list[str]:
    try:
        return [str(name) for name in read_json(home / _BROUGHT)]
    except (OSError, ValueError, TypeError):
        return []
