"""One odd record stops nothing: each run stands by itself, is listed as damaged, deleted and let expire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.jobs.expiry import Deleted, expire
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery

ADA = "a secret of ada's that nobody guesses"


def _with(**fields: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


ODD: dict[str, Callable[[Path], Any]] = {
    "a seed beyond every integer of a data base": lambda path: _with(spec={**RunSpec().to_json(), "seed": 2**70})(path),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "cut short": lambda path: path.write_text(path.read_text()[:40]),
    "empty": lambda path: path.write_text(""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "gone": Path.unlink,
    "a list": lambda path: path.write_text("[1, 2]"),
    "another run's": _with(id="x" * 22),
    "a time that is text": _with(created="yesterday"),
    "a time that is none": _with(created=1e300),
    "a status that is none": _with(status="glorious"),
    "scores that are a list": _with(scores=[1]),
    "a score that is text": _with(scores={"unlearned": {"final_score": "high"}}),
    "a score that is a list": _with(scores={"unlearned": {"task_aggregate": [1]}}),
    "terms that are text": _with(scores={"unlearned": {"aggregated_terms": "abc"}}),
    "a spec that is text": _with(spec="demo"),
    "settings that are text": _with(spec={"method": "npo", "settings": "x"}),
    "seconds that are text": _with(seconds={"load": "long"}),
    "a verdict that is text": _with(verdict="good"),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_record_stops_nothing(tmp_path: Path, odd: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    store = RunStore(tmp_path, shared=True)
    good, bad = store.create(RunSpec(), ADA).id, store.create(RunSpec(), ADA).id
    store.append(good, ev.Cancelled())
    ODD[odd](store.folder(bad) / "run.json")
    os.utime(store.folder(bad), (1_000_000, 1_000_000))
    store = RunStore(tmp_path, shared=True)
    assert store.recover() == []
    states = {record.id: record.status for record in store.list_runs(owner=ADA)}
    assert states == {good: "cancelled", bad: "damaged"}
    assert {row.id: row.status for row in store.rows(RunQuery())[0]} == states
    with pytest.raises(IntegrityError, match="damaged"):
        store.get(bad)
    with pytest.raises(InputError, match="here for you"):
        store.delete(bad, "somebody else's secret")
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    assert main(["runs"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert expire(store, days=7) == Deleted(1, 0)  # by the time of its folder
    assert [record.id for record in store.list_runs()] == [good]


def test_the_owner_deletes_a_damaged_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path, shared=True)
    run = store.create(RunSpec(), ADA).id
    (store.folder(run) / "run.json").write_text("{")
    store.delete(run, ADA)
    assert store.list_runs() == []
    with pytest.raises(InputError, match="here for you"):
        store.get(run)


@pytest.mark.parametrize("name", ["labels.json", "events.jsonl", "audits.json", "probes.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[5]", '{"tags": 5, "name": [1]}', '"x"'])
def test_nor_does_another_odd_file_of_a_run(tmp_path: Path, name: str, text: str) -> None:
    from unlearn_core.runs.audit_record import AuditRecord
    from unlearn_core.store.audit_record import read_audits
    from unlearn_core.store.saved_probes import read_probes

    store = RunStore(tmp_path)
    run = store.create(RunSpec()).id
    (store.folder(run) / name).write_text(text)
    assert store.get(run).status == "queued"
    assert store.rows(RunQuery())[0][0].status == "queued"
    assert store.read_events(run)[0] == []
    assert (read_audits(store, run) or AuditRecord()).results == {}
    assert read_probes(store.folder(run)) == []


@pytest.mark.parametrize("number", [-1, 0, 2**31, 10**30, "5", None])
def test_nor_does_a_process_of_an_odd_number(tmp_path: Path, number: Any) -> None:
    store = RunStore(tmp_path)
    run = store.create(RunSpec()).id
    process = json.loads((store.folder(run) / "run.json").read_text())["process"] | {"pid": number}
    _with(status="running", process=process)(store.folder(run) / "run.json")
    assert [row.status for row in store.rows(RunQuery())[0]] == ["interrupted"]
    assert store.recover() == [run]


def test_a_run_of_a_process_that_is_no_more_reads_as_interrupted(tmp_path: Path) -> None:
    """For everybody who looks, before a server comes that writes it down."""
    made = (
        "from unlearn_core.store.store import RunStore; from unlearn_core.runs.spec import RunSpec;"
        "from unlearn_core.runs import events as ev; import sys; store = RunStore(sys.argv[1]);"
        "run = store.create(RunSpec()).id; store.append(run, ev.RunStarted({}, ('load',), 1, 'cpu')); print(run)"
    )
    run = subprocess.run([sys.executable, "-c", made, str(tmp_path)], capture_output=True, text=True, check=True)
    store = RunStore(tmp_path)
    assert store.get(run.stdout.strip()).status == "interrupted"
    assert [record.status for record in store.list_runs()] == ["interrupted"]
    assert [row.status for row in store.rows(RunQuery())[0]] == ["interrupted"]
    assert '"running"' in (store.folder(run.stdout.strip()) / "run.json").read_text()


def test_a_full_disk_interrupts_a_run_and_keeps_where_it_stood(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = store.create(RunSpec()).id
    store.append(run, ev.RunStarted({}, ("load",), 1, "cpu"))
    place = store.checkpoints(run)
    place.mkdir()
    store.append(run, ev.Failed("The disk is full.", kind="disk_full"))
    assert store.get(run).status == "interrupted"
    assert place.exists()
    assert store.reopen(run).status == "queued"


def test_a_home_that_was_there_keeps_what_is_in_it_from_other_accounts(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("runs", "uploads", "cache", "log"):
        (tmp_path / name).mkdir(mode=0o755)
    RunStore(tmp_path)
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
