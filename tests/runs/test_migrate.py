"""An older home is brought up to date, a newer one refused; a copy of a home, made at any time, opens."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from unlearn_core import __version__
from unlearn_core.cli import main
from unlearn_core.errors import InputError
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.migrate import MARK, VERSION
from unlearn_core.store.store import RunStore

DONE = ev.Finished({"label": "forgotten"}, {"load": 1.0})


def first_version(home: Path) -> str:
    """Make a home as the first version left it, with a run that was killed while it wrote; the id of another
    that is finished."""
    store = RunStore(home)
    run, killed = store.create(RunSpec(name="kept")), store.create(RunSpec())
    store.append(run.id, DONE)
    store.append(killed.id, ev.Failed("Lethe stopped.", kind="interrupted"))
    for half in (".run.json.12ab34cd", "checkpoints/.3.12ab34cd/snapshot.safetensors", ".weights.12ab34cd/x"):
        path = store.folder(killed.id) / half
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    store.close()
    (home / MARK).unlink()
    shutil.rmtree(home / "cache")
    with sqlite3.connect(home / "index.sqlite") as old:
        old.executescript("CREATE TABLE runs (id TEXT, record TEXT); PRAGMA user_version = 2;")
    old.close()
    (home / "log").mkdir(exist_ok=True)
    (home / "log" / "lethe.log").write_text("2026-11-20 ERROR run failed: ValueError: my secret sentence\n")
    return run.id


def test_a_home_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    run_id = first_version(tmp_path)
    store = RunStore(tmp_path)
    assert json.loads((tmp_path / MARK).read_text()) == {"version": VERSION, "lethe": __version__}
    assert {record.status for record in store.list_runs()} == {"finished", "interrupted"}
    assert store.get(run_id).name == "kept"
    assert [event for event in store.read_events(run_id)[0] if isinstance(event, ev.Finished)] == [DONE]
    assert not (tmp_path / "index.sqlite").exists()
    assert not list(tmp_path.glob("log/*"))
    assert not list(tmp_path.rglob(".*"))


def test_a_migration_that_was_cut_short_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_version(tmp_path)
    unlink = Path.unlink

    def stop(self: Path, missing_ok: bool = False) -> None:
        if self.name == "lethe.log":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", stop)
    with pytest.raises(KeyboardInterrupt):
        RunStore(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / MARK).exists()
    assert len(RunStore(tmp_path).list_runs()) == 2
    assert not list(tmp_path.glob("log/*"))


def test_a_home_of_a_later_version_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    RunStore(tmp_path).close()
    (tmp_path / MARK).write_text(json.dumps({"version": VERSION + 1, "lethe": "9.8.7"}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as refused:
        RunStore(tmp_path)
    for part in ("9.8.7", str(VERSION + 1), __version__, f"up to version {VERSION}", "LETHE_HOME"):
        assert part in str(refused.value)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    assert main(["runs"]) == 2
    assert "9.8.7" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_copy_made_while_a_run_is_under_way_opens(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "home")
    done, under_way = store.create(RunSpec()), store.create(RunSpec())
    store.append(done.id, DONE)
    store.append(under_way.id, ev.RunStarted({"method": "npo"}, ("unlearn",), 9, "cpu"))
    shutil.copytree(store.home, tmp_path / "copy", ignore=shutil.ignore_patterns("cache", "log"))
    copy = RunStore(tmp_path / "copy")
    assert copy.get(done.id).status == "finished"
    assert copy.recover() == [under_way.id]  # here nobody works on it
    assert store.recover() == []
    assert store.get(under_way.id).status == "running"
    assert copy.read_events(done.id)[0] == [DONE]
