"""The run store keeps every run through kills, full disks, torn lines and strangers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.errors import InputError, IntegrityError, ResourceError
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system import files, home

STARTED = ev.RunStarted({"method": "npo"}, ("load",), 3, "cpu")
STEP = ev.Step(1, 3, {"total": 1.0}, 1e-3, 0.5, 100.0, 0.1)
SCORE = ev.Score("original", {"terms": {"a": float("nan")}, "utility": 0.5, "generations": [{"id": "x"}]})
FINISHED = ev.Finished({"label": "forgotten"}, {"load": 1.0}, artifact="weights")


def test_a_run_reads_back_as_it_was_written(store: RunStore) -> None:
    run = store.create(RunSpec(method="npo"), owner="me")
    assert store.get(run.id).status == "queued"
    for event in (STARTED, STEP, SCORE, FINISHED):
        store.append(run.id, event)
    events, offset = store.read_events(run.id)
    assert events[0] == STARTED
    assert events[-1] == FINISHED
    assert events[2].scores["generations"] == [{"id": "x"}]  # type: ignore[union-attr]
    assert store.read_events(run.id, offset) == ([], offset)
    record = store.get(run.id)
    assert (record.status, record.verdict, record.num_steps) == ("finished", {"label": "forgotten"}, 3)
    assert record.scores == {"original": {"terms": {"a": None}, "utility": 0.5}}


def test_a_reader_follows_a_run_from_its_last_offset(store: RunStore) -> None:
    run = store.create(RunSpec())
    store.append(run.id, STARTED)
    _, offset = store.read_events(run.id)
    store.append(run.id, STEP)
    assert store.read_events(run.id, offset)[0] == [STEP]


def test_a_torn_last_line_waits_and_then_is_skipped(store: RunStore) -> None:
    run = store.create(RunSpec())
    store.append(run.id, STARTED)
    path = store.folder(run.id) / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event": "Step", "st')
    assert store.read_events(run.id)[0] == [STARTED]
    files.mend_torn_line(path)
    store.append(run.id, FINISHED)
    assert store.read_events(run.id)[0] == [STARTED, FINISHED]


def test_runs_of_another_process_appear_and_a_lost_index_is_rebuilt(store: RunStore) -> None:
    first = store.create(RunSpec(name="one"))
    other = RunStore(store.home)
    second = other.create(RunSpec(name="two"))
    assert [r.id for r in store.list_runs()] == [second.id, first.id]
    other.append(second.id, ev.Cancelled(3))
    assert [r.id for r in store.list_runs(status="cancelled")] == [second.id]
    for damage in (b"not a database" * 1_000, b""):
        store.close()
        (store.home / "cache" / "index.sqlite").write_bytes(damage)
        for name in ("index.sqlite-wal", "index.sqlite-shm"):
            (store.home / "cache" / name).unlink(missing_ok=True)
        store = RunStore(store.home)
        assert len(store.list_runs()) == 2


def test_the_index_works_where_sqlite_cannot(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def connect(path: str, **options: Any) -> sqlite3.Connection:
        if path != ":memory:":
            raise sqlite3.OperationalError("disk I/O error")
        return real(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    run = store.create(RunSpec())
    assert [r.id for r in RunStore(store.home).list_runs()] == [run.id]


def test_an_index_that_another_process_holds_locked_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **rest: real(path, **rest | {"timeout": 0.1}))
    store = RunStore(tmp_path)
    run = store.create(RunSpec())
    store.list_runs()
    index = store.home / "cache" / "index.sqlite"
    holder = real(index, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    before = index.stat().st_ino
    for reader in (store, RunStore(store.home)):
        later = reader.create(RunSpec())
        assert {record.id for record in reader.list_runs()} >= {run.id, later.id}
    assert index.stat().st_ino == before
    holder.execute("COMMIT")
    assert holder.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    holder.close()


def test_a_run_that_came_to_its_end_and_no_further_is_finished(store: RunStore) -> None:
    """Killed between the last event and the record that tells of it."""
    run = store.create(RunSpec())
    store.append(run.id, STARTED)
    path = store.folder(run.id) / "run.json"
    before = json.loads(path.read_text())
    store.append(run.id, FINISHED)
    before["process"]["pid"] = 2**22 + 1
    path.write_text(json.dumps(before))
    again = RunStore(store.home)
    assert again.get(run.id).status == "interrupted"  # as far as the record goes
    assert again.recover() == []
    assert again.get(run.id).status == "finished"
    assert again.get(run.id).verdict == {"label": "forgotten"}


def test_a_run_killed_while_its_checkpoints_go_leaves_none(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(RunSpec())
    store.append(run.id, STARTED)
    step = store.checkpoints(run.id) / "12"
    step.mkdir(parents=True)
    (step / "model.safetensors").touch()

    def killed(folder: Path, **_: Any) -> None:
        raise KeyboardInterrupt  # as far as files go, a kill before the first of them is gone

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store.append(run.id, FINISHED)
    assert not store.checkpoints(run.id).exists()  # no half under its name
    path = store.folder(run.id) / "run.json"
    path.write_text(path.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{2**22 + 1}'))
    again = RunStore(store.home)
    assert again.recover() == []
    assert again.get(run.id).status == "finished"
    assert [one.name for one in again.folder(run.id).iterdir() if one.name.startswith(".")] == []


def test_halves_of_a_killed_writer_are_cleared_away(store: RunStore) -> None:
    run, other = store.create(RunSpec()), store.create(RunSpec())
    path = store.folder(run.id) / "run.json"
    path.write_text(path.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{2**22 + 1}'))
    for record in (run, other):
        (store.folder(record.id) / ".weights.12ab34cd").mkdir()
    begun = store.runs / ".new-12ab34cd12ab34cd12ab34"
    begun.mkdir()
    assert store.recover() == [run.id]
    assert not (store.folder(run.id) / ".weights.12ab34cd").exists()
    assert (store.folder(other.id) / ".weights.12ab34cd").exists()  # its writer is alive
    assert begun.exists()
    os.utime(begun, (0, 0))
    store.recover()
    assert not begun.exists()


def test_only_the_owner_may_delete_and_a_stranger_learns_nothing(store: RunStore) -> None:
    run = store.create(RunSpec(), owner="secret")
    store.append(run.id, ev.Cancelled())
    with pytest.raises(InputError) as stranger:
        store.delete(run.id, owner="guess")
    with pytest.raises(InputError) as unknown:
        store.get("x" * 22)
    assert str(stranger.value).replace(run.id, "") == str(unknown.value).replace("x" * 22, "")
    assert "secret" not in (store.folder(run.id) / "run.json").read_text()
    store.delete(run.id, owner="secret")
    assert store.list_runs() == []
    assert not list(store.runs.iterdir())


def test_whoever_has_the_home_may_label_and_delete_every_run(store: RunStore) -> None:
    run = store.create(RunSpec(), owner="secret")
    store.append(run.id, ev.Cancelled())
    with pytest.raises(InputError):
        store.label(run.id, name="mine")
    assert store.label(run.id, name="mine", operator=True).name == "mine"
    store.delete(run.id, operator=True)
    assert store.list_runs() == []


@pytest.mark.parametrize("run_id", ["", "..", "../../etc", "a/b", "x" * 200, "\0" * 20, "id\n" * 8])
def test_an_id_that_is_none_never_reaches_the_disk(store: RunStore, run_id: str) -> None:
    for call in (store.get, store.folder, store.read_events, store.weights, store.delete):
        with pytest.raises(InputError, match="not a run"):
            call(run_id)


def test_a_running_run_is_not_deleted(store: RunStore) -> None:
    run = store.create(RunSpec())
    with pytest.raises(InputError, match="still under way"):
        store.delete(run.id)


CHILD = """
import sys, time
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
store = RunStore(sys.argv[1])
run = store.create(RunSpec())
store.append(run.id, ev.RunStarted({}, (), 10**6, "cpu"))
print(run.id, flush=True)
for step in range(10**6):
    store.append(run.id, ev.Step(step, 10**6, {"total": 1.0}, 1e-3, 1.0, 1.0, 1.0))
    print(step, flush=True)
"""


def test_kill_9_leaves_an_interrupted_run_with_every_acknowledged_event(store: RunStore) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(store.home)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    acknowledged = [int(child.stdout.readline()) for _ in range(20)][-1]
    assert store.recover() == []  # alive: left alone
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert store.recover() == [run_id]
    assert store.recover() == []
    assert store.get(run_id).status == "interrupted"
    events, _ = store.read_events(run_id)
    steps = [event.step for event in events if isinstance(event, ev.Step)]
    assert steps[: acknowledged + 1] == list(range(acknowledged + 1))
    assert isinstance(events[-1], ev.Failed)


def test_a_number_taken_over_by_another_process_is_not_the_run(store: RunStore) -> None:
    run = store.create(RunSpec())
    path = store.folder(run.id) / "run.json"
    record = json.loads(path.read_text())
    record["process"]["start"] -= 100
    files.write_json(path, record)
    assert store.recover() == [run.id]


def full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class SafetensorError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_every_form_of_a_full_disk_is_one_error(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="is full"), files.disk_errors(tmp_path):
        raise error


def test_a_full_disk_leaves_the_old_record_and_the_next_write_works(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(RunSpec())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="disk"):
            store.append(run.id, STARTED)
    assert store.get(run.id).status == "queued"
    assert sorted(p.name for p in store.folder(run.id).iterdir()) == ["events.jsonl", "owner", "run.json"]
    store.append(run.id, STARTED)
    assert store.get(run.id).status == "running"


def test_a_run_that_found_no_room_leaves_nothing_behind(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="is full"):
            store.create(RunSpec())
    assert list(store.runs.iterdir()) == []
    assert store.list_runs() == []


def test_weights_are_believed_only_when_complete(store: RunStore) -> None:
    run = store.create(RunSpec())
    folder = store.folder(run.id) / "weights"

    def write(target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"w" * 100)

    with pytest.raises(IntegrityError):
        store.weights(run.id)
    with pytest.raises(ResourceError):
        files.save_complete(folder, full, {})
    assert not folder.exists()
    files.save_complete(folder, write, {"weights_hash": "abc"})
    files.save_complete(folder, write, {"weights_hash": "def"})  # written over as a whole
    assert files.check_complete(store.weights(run.id), hashes=True)["weights_hash"] == "def"
    assert [p.name for p in store.folder(run.id).iterdir() if p.name.startswith(".")] == []
    (folder / "model.safetensors").write_bytes(b"v" * 100)
    with pytest.raises(IntegrityError, match="hash"):
        files.check_complete(folder, hashes=True)
    (folder / "model.safetensors").write_bytes(b"w" * 50)
    with pytest.raises(IntegrityError, match="size"):
        store.weights(run.id)


def test_a_home_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="LETHE_HOME"):
        RunStore(tmp_path / "file" / "home")


def test_a_space_keeps_its_runs_on_the_mounted_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETHE_HOME", raising=False)
    monkeypatch.setenv("SPACE_ID", "somebody/lethe")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(home, "PERSISTENT", tmp_path / "data" / "lethe")
    assert home.home_dir() == tmp_path / "data" / "lethe"
    (tmp_path / "no-mount").write_text("")
    monkeypatch.setattr(home, "PERSISTENT", tmp_path / "no-mount" / "lethe")
    assert home.home_dir() == tmp_path / "cache" / "lethe"


def test_an_upload_keeps_its_bytes_and_loses_its_path(store: RunStore, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"input": "q", "output": "a"}')
    ref = store.keep_upload(source, "../../.e v<i>l.jsonl")
    from unlearn_core.data.sources import load_data

    assert load_data(ref, public=True, uploads=store.uploads).forget[0].output == "a"
    (kept,) = store.uploads.rglob("*.jsonl")
    assert kept.name == "e_v_i_l.jsonl"


def test_a_list_of_runs_reads_the_index_and_no_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [store.create(RunSpec()).id for _ in range(3)]
    monkeypatch.setattr(store, "_read", None)
    assert [record.id for record in store.list_runs()] == ids[::-1]
