"""The run store: one folder per run, which page, command line and notebooks all read.

    run.json       the RunRecord: spec, status, scores; a view of the events, replaced whole
    owner          whose it is, as a hash, so that a damaged record can be deleted
    labels.json    what people wrote on it: a name and tags; theirs, so that no writer of the run is disturbed
    events.jsonl   every event of the run and of audits of it, appended; a torn last line is ignored
    weights/       the unlearned weights, renamed into place with a completeness marker
    checkpoints/   where the training stood last, until the run is over

One writer per run, any number of readers in any process. A reload, a second viewer and a restart
lose nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.data.sources import UPLOAD
from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError, clip
from unlearn_core.evaluation.verdict.types import word_of
from unlearn_core.runs import events as ev
from unlearn_core.runs.checkpoints import FOLDER as CHECKPOINTS
from unlearn_core.runs.checkpoints import newest_step
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store import uploads
from unlearn_core.store.labels import checked_name, checked_tags, read_labels
from unlearn_core.store.migrate import bring_up_to_date, clear_halves, earlier_audits
from unlearn_core.store.record import RunRecord, fields_of_event, fields_of_state, plain
from unlearn_core.store.table.index import HOUSE, OWNER, Index, read_owner
from unlearn_core.store.table.rows import RunQuery, RunRow, checked_record
from unlearn_core.system.files import (
    append_line,
    check_complete,
    disk_errors,
    is_alive,
    mend_torn_line,
    private_folder,
    read_json,
    read_lines,
    remove_whole,
    this_process,
    write_json,
)
from unlearn_core.system.home import home_dir
from unlearn_core.system.log import LOGGER, note, short

if TYPE_CHECKING:
    from unlearn_core.store.table.rows import RecordJson

OPEN = ("queued", "running")
OVER = ("finished", "failed", "cancelled")
_NEW = ".new-"  # before the id of a run that is being made
WEIGHTS = "weights"
_DOOMED = "doomed"  # in the folder of a run that is deleted as soon as it has stopped
_RUN_ID = re.compile(r"[\w-]{16,64}", re.ASCII)
_MAX_KNOWN = 4  # states of runs that are written to, kept between two events; one holds every generation
_INTERRUPTED = "Lethe stopped while this run was under way. Resume it to get its result."


@dataclass
class _Known:
    """What a run has come to, as far as its log was read, and what run.json was told of that."""

    state: RunState
    offset: int = 0
    told: RecordJson = field(default_factory=dict)


class RunStore:
    """Runs on disk under a home directory (default: see `home_dir`).

    shared: strangers use it too, so that a run nobody owns is nobody's to change. open_to_all: whoever uses it may
    change every run, as on one's own machine, whose browsers and command line are all the same person's.
    """

    def __init__(self, home: str | Path | None = None, shared: bool = False, open_to_all: bool = False) -> None:
        self.home, self.shared, self.open_to_all = home_dir(home), shared, open_to_all
        bring_up_to_date(self.home)
        self.runs = self.home / "runs"
        self.uploads = self.home / "uploads"
        with disk_errors(self.home):
            for folder in (self.runs, self.uploads, self.home / "cache", self.home / "log"):
                private_folder(folder)
        self._index = Index(self.home / "cache" / "index.sqlite", self.runs)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._appending = threading.Lock()
        self._reopening = threading.Lock()

    def create(self, spec: RunSpec, owner: str | None = None) -> RunRecord:
        """A new queued run. Whoever knows the `owner` token may stop and delete it."""
        record = RunRecord(
            id=_new_id(),
            spec=spec.to_json(),
            status="queued",
            created=time.time(),
            owner=owner_hash(owner),
            process=this_process(self.home),
        )
        folder = self.runs / f"{_NEW}{record.id}"  # a listing sees the run with its record or not at all
        try:
            with disk_errors(folder):
                folder.mkdir(parents=True)
                (folder / OWNER).write_text(record.owner, encoding="ascii")
                write_json(folder / "run.json", plain(record))
                folder.rename(self.runs / record.id)
        except ResourceError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        note("run queued", run=record.id)
        return record

    def append(self, run_id: str, event: ev.Logged) -> RunState:
        """Record one event, in run.json too where it changes what that says. Returns the run's state, which goes on
        with its next event."""
        line = ev.to_json(event)
        if isinstance(event, ev.RunStarted):  # read by whoever has the run's link
            line["spec"] = uploads.handed_on(self.uploads, line["spec"])
        elif isinstance(event, ev.SubjectFound):
            line = uploads.handed_on(self.uploads, line)
        with self._appending:
            append_line(self.folder(run_id) / "events.jsonl", json.dumps(line, allow_nan=False))
            if isinstance(event, ev.SubjectFound) and event.data.startswith(UPLOAD):
                self._take_in(run_id, event.data)
            known = self._followed(run_id)
            self._bring_up(run_id, known, fields_of_event(event, self.home))
        _log(run_id, event)
        return known.state

    def state(self, run_id: str) -> RunState:
        """What a run and the audits of it have come to."""
        known = _Known(self.new_state(run_id))
        self._follow(run_id, known)
        return known.state

    def new_state(self, run_id: str) -> RunState:
        """What a run's events are added to: nothing, but for audits that an earlier version recorded elsewhere."""
        return RunState(audits=earlier_audits(self.folder(run_id)))

    def _follow(self, run_id: str, known: _Known) -> None:
        events, known.offset = self.read_events(run_id, known.offset)
        for event in events:
            known.state.add(event)

    def _followed(self, run_id: str) -> _Known:
        """What a run has come to until now, by its log; kept for its next event."""
        known = self._known.get(run_id)
        if known is None:
            known = self._known[run_id] = _Known(self.new_state(run_id))
        self._known.move_to_end(run_id)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        self._follow(run_id, known)
        return known

    def _bring_up(self, run_id: str, known: _Known, stamps: RecordJson) -> None:
        """Make run.json say what the run has come to, and `stamps` where an event brought some."""
        told = fields_of_state(known.state)
        if stamps or told != known.told:
            self._change(run_id, told | stamps)
            known.told = told

    def _take_in(self, run_id: str, data: str) -> None:
        """Give what a run found its data in, an upload from here on, to whoever owns the run."""
        record = self.get(run_id)
        uploads.give(self.uploads, data, record.owner)
        self._change(run_id, {"spec": {"data": data}})

    def _change(self, run_id: str, changes: RecordJson) -> None:
        """Change run.json: parts of spec, scores and costs are put beside what they hold, the rest is replaced, and
        nothing is written that stands there already. An upload that the spec names stays what it is, because the
        events hold its file's name only. The checkpoints of a run that is over go first: killed in between, it reads
        as open, and `recover` comes back here."""
        if changes.get("status") in OVER:
            with contextlib.suppress(OSError):
                remove_whole(self.checkpoints(run_id))
        with self._lock:
            record = self._read(run_id)
            merged: dict[str, Any] = {
                key: {**getattr(record, key), **changes[key]} for key in ("spec", "scores", "costs") if key in changes
            }
            if "spec" in merged:
                merged["spec"] |= {
                    key: value
                    for key, value in record.spec.items()
                    if isinstance(value, str) and value.startswith(UPLOAD)
                }
            changed = replace(record, **{**changes, **merged})
            if changed != record:
                self._write(changed)

    def get(self, run_id: str) -> RunRecord:
        """The record of a run; one InputError for every id that names none, IntegrityError for a damaged one.
        A run whose process died reads as interrupted."""
        if (self.folder(run_id) / _DOOMED).exists():
            raise _unknown(run_id)
        return self._as_it_is(self._read(run_id))

    def shown(self, run_id: str) -> RunRecord:
        """The same as it is handed on: uploads by the names of their files."""
        record = self.get(run_id)
        return replace(record, spec=uploads.handed_on(self.uploads, record.spec))

    def _read(self, run_id: str) -> RunRecord:
        folder = self.folder(run_id)
        try:
            record = checked_record(read_json(folder / "run.json"), run_id)
        except (OSError, ValueError):
            if not folder.is_dir():
                raise _unknown(run_id) from None
            mend = "Delete it; what else it has lies in its folder."
            raise IntegrityError("run", clip(run_id, 64), "has a damaged record", mend) from None
        labels = read_labels(folder)
        return RunRecord.from_json(record | {"title": labels.get("name", ""), "tags": tuple(labels.get("tags", ()))})

    def _as_it_is(self, record: RunRecord) -> RunRecord:
        if record.status in OPEN and not self._alive(record):
            return replace(record, status="interrupted", message=_INTERRUPTED)
        return record

    def read_events(self, run_id: str, since: int = 0) -> tuple[list[ev.Logged], int]:
        """The events after byte offset `since`, and the offset to ask with next time."""
        lines, offset = read_lines(self.folder(run_id) / "events.jsonl", since)
        events = []
        for line in lines:
            try:
                events.append(ev.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a line torn by a kill, or an event of a later version
        return events, offset

    def list_runs(
        self, *, owner: str | None = None, status: str | None = None, limit: int = 200, house: bool = False
    ) -> list[RunRecord]:
        """Records newest first; only those of one `owner` token where it is given, with `house` beside the
        recorded ones."""
        owned = None if owner is None else owner_hash(owner)
        return [self._as_it_is(record) for record in self._select(owned, status, limit, house)]

    def _select(self, owned: str | None, status: str | None, limit: int, house: bool = False) -> list[RunRecord]:
        found = self._index.select(owner=owned, status=status, limit=limit, house=house)
        return [RunRecord.from_json(row) for row in found]

    def rows(self, query: RunQuery) -> tuple[list[RunRow], int]:
        """One page of short rows, and how many runs match in all."""
        rows, total = self._index.rows(query)
        return [replace(row, status=self._status(row)) if row.status in OPEN else row for row in rows], total

    def _status(self, row: RunRow) -> str:
        try:
            return self.get(row.id).status
        except LetheError:  # deleted meanwhile
            return row.status

    def values(self, column: str, owner: str | None = None) -> list[tuple[str, int]]:
        """What occurs in a text column of the rows, with the number of runs, the most recent first."""
        return self._index.values(column, None if owner is None else owner_hash(owner))

    def label(
        self,
        run_id: str,
        owner: str | None = None,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        operator: bool = False,
    ) -> RunRecord:
        """Rename a run or replace its tags, at any time, for its owner; None leaves a part as it is.
        `operator` is whoever has this home on disk: every run is theirs."""
        if not operator:
            self.owned(run_id, owner)
        folder = self.folder(run_id)
        with self._lock:
            labels = read_labels(folder)
            if name is not None:
                labels["name"] = checked_name(name)
            if tags is not None:
                labels["tags"] = checked_tags(tags)
            write_json(folder / "labels.json", labels)
            with contextlib.suppress(OSError):
                os.utime(folder / "run.json")  # so that every index notices
        return self.get(run_id)

    def folder(self, run_id: str) -> Path:
        """The folder of a run; InputError for what is not a run id, before the disk is touched."""
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            raise _unknown(run_id)
        return self.runs / run_id

    def weights(self, run_id: str) -> Path:
        """The folder of a run's complete weights, or IntegrityError."""
        record = self.get(run_id)
        folder = Path(record.out or self.folder(run_id)) / WEIGHTS
        spec = check_complete(folder).get("spec") or {}
        if record.out and any(spec.get(key) != record.spec.get(key) for key in ("target", "data", "method", "seed")):
            raise IntegrityError("weights", run_id, "were replaced by another run's in their folder", "Run again.")
        return folder

    def kept_in(self, run_id: str, out: Path) -> None:
        """Say that the run's weights go into another folder than its own."""
        self._change(run_id, {"out": str(Path(out).absolute())})

    def owned(self, run_id: str, owner: str | None) -> RunRecord:
        """The record, if `owner` may stop and delete the run; otherwise the answer for an unknown id."""
        self._check_owner(run_id, owner)
        return self.get(run_id)

    def _check_owner(self, run_id: str, owner: str | None) -> None:
        folder = self.folder(run_id)
        whose = read_owner(folder)
        anybody = self.open_to_all or (not whose and not self.shared)
        if whose == HOUSE and not anybody:
            problem = "ships with Lethe, and is everybody's to look at"
            raise InputError("run", clip(run_id, 64), problem, "Make a run of your own; that one is yours to change.")
        if not folder.is_dir() or not (anybody or (owner and whose and hmac.compare_digest(whose, owner_hash(owner)))):
            raise _unknown(run_id)

    def checkpoints(self, run_id: str) -> Path:
        """The folder that keeps where the training of a run stands."""
        return self.folder(run_id) / CHECKPOINTS

    def reopen(self, run_id: str) -> RunRecord:
        """Make an interrupted run a queued one again; InputError for a run in any other state."""
        with self._reopening:
            record = self.get(run_id)
            if record.status != "interrupted":
                mend = "Only a run that was interrupted can be resumed."
                raise InputError("run", run_id, f"is {record.status}", mend)
            mend_torn_line(self.folder(run_id) / "events.jsonl")
            self.append(run_id, ev.Resumed(newest_step(self.checkpoints(run_id))))
        return self.get(run_id)

    def delete(self, run_id: str, owner: str | None = None, *, operator: bool = False) -> None:
        """Remove a run and everything of it."""
        folder = self.folder(run_id)
        if operator and not folder.is_dir():
            raise _unknown(run_id)
        if not operator:
            self._check_owner(run_id, owner)
        with contextlib.suppress(IntegrityError):  # damaged: nobody writes to it
            if self._as_it_is(self._read(run_id)).status in OPEN:
                raise InputError("run", run_id, "is still under way", "Stop it first.")
        # Gone from every listing in one step, even if removing the files is cut short.
        doomed = folder.with_name(f".deleted-{run_id}")
        with disk_errors(folder):
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        with self._appending:
            self._known.pop(run_id, None)

    def forget_deleted(self) -> None:
        """Leave nothing of deleted runs in the index's files; costs a look at every run."""
        self._index.forget_deleted()

    def keep_upload(self, source: Path, filename: str = "", owner: str | None = None) -> str:
        """Copy a visitor's file into the store; the name that a spec's `data` takes, `upload:TOKEN`."""
        return uploads.keep(self.uploads, source, filename, owner_hash(owner))

    def check_uploads(self, owner: str | None, *names: str | None) -> None:
        """InputError for an upload that is somebody else's, the same as for one that is not there."""
        for name in names:
            if self.shared and name and name.startswith(UPLOAD):
                uploads.check_owner(self.uploads, name, owner_hash(owner))

    def drop_upload(self, name: str) -> None:
        """Remove what `keep_upload` kept under this name."""
        uploads.drop(self.uploads, name)

    def recover(self) -> list[str]:
        """Mark runs whose process died as interrupted and clear what it left half-written; the ids. Called
        when a server starts."""
        self._sweep()
        found = []
        for record in [one for status in OPEN for one in self._select(None, status, 1_000_000)]:
            try:
                if not self._alive(record) and self._settle(record.id) == "interrupted":
                    found.append(record.id)
            except Exception:  # one run keeps no server from its start
                LOGGER.exception("a run could not be settled", extra={"facts": {"run": short(record.id)}})
        return found

    def _settle(self, run_id: str) -> str:
        """Write down how a run ended whose process is no more; its status."""
        folder = self.folder(run_id)
        clear_halves(folder)
        mend_torn_line(folder / "events.jsonl")
        with self._appending:
            known = self._followed(run_id)
            if known.state.end is not None:  # it came to its end and no further
                self._bring_up(run_id, known, fields_of_event(known.state.end, self.home))
        if known.state.end is None:
            self.append(run_id, ev.Failed(_INTERRUPTED, kind="interrupted"))
        return self._read(run_id).status

    def doom(self, run_id: str) -> None:
        """Make a run nobody's and unknown to everybody, to be deleted when it has stopped: by whoever waits for
        that, or the next start."""
        folder = self.folder(run_id)
        with self._lock, disk_errors(folder):
            (folder / _DOOMED).touch()
            (folder / OWNER).write_text("", encoding="ascii")
            self._write(replace(self._read(run_id), owner=""))

    def _sweep(self) -> None:
        """Remove runs that were being deleted, and such as were never begun; one begun just now is left."""
        for folder in self.runs.glob(".deleted-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for mark in self.runs.glob(f"[!.]*/{_DOOMED}"):
            with contextlib.suppress(LetheError):  # still at work in another process
                self.delete(mark.parent.name, operator=True)
        for folder in self.runs.glob(f"{_NEW}*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > 60:
                    shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self._index.close()

    def _alive(self, record: RunRecord) -> bool:
        try:
            last_sign = (self.folder(record.id) / "events.jsonl").stat().st_mtime
        except OSError:
            last_sign = record.created
        return is_alive(record.process, last_sign, self.home)

    def _write(self, record: RunRecord) -> None:
        write_json(self.folder(record.id) / "run.json", plain(record))


def owner_hash(token: str | None) -> str:
    """What the store keeps of an owner's token: enough to check it, not to use it; "" for no token, which
    as a limit of a listing lets nothing through."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest() if token else ""


def _log(run_id: str, event: ev.Logged) -> None:
    """One line for each event that changes what a run is; names and numbers of ours only."""
    if isinstance(event, ev.RunStarted):
        note("run started", run=run_id, method=event.spec.get("method"), steps=event.num_steps)
    elif isinstance(event, ev.Finished):
        note(
            "run finished",
            run=run_id,
            verdict=word_of(event.verdict),
            seconds=round(sum(event.seconds.values()), 1),
        )
    elif isinstance(event, ev.Failed):
        note("run failed", run=run_id, kind=event.kind)
    elif isinstance(event, ev.Cancelled):
        note("run cancelled", run=run_id, step=event.step)
    elif isinstance(event, ev.Resumed):
        note("run resumed", run=run_id, step=event.step)


def _new_id() -> str:
    """128 random bits; never with a dash in front, which a command line takes for a flag."""
    found = secrets.token_urlsafe(16)
    return found if found[0] != "-" else _new_id()


def _unknown(run_id: object) -> InputError:
    return InputError("run", clip(run_id, 64), "is not a run that is here for you", "Check the link.")
