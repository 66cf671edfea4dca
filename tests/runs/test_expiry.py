"""What strangers leave: it goes by age, by size, and when its owner says so; nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.errors import InputError
from unlearn_core.runs import events as ev
from unlearn_core.runs.expiry import Gone, Keeper, delete_everything_of, expire
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.store import RunStore
from unlearn_core.runs.worker import Worker

DAY = 86_400
ADA, BO = "a secret that is ada's", "a secret that is bo's"
ROWS = b'{"input": "Where?", "output": "Here"}\n'


def finished(store: RunStore, owner: str = ADA, size: int = 0) -> str:
    run_id = store.create(RunSpec(method="npo", data=f"facts:Who? => the words of {owner}"), owner).id
    store.append(run_id, ev.Finished({"label": "forgotten"}, {}))
    (store.folder(run_id) / "weights.bin").write_bytes(b"x" * size)
    return run_id


def uploaded(store: RunStore, tmp_path: Path, owner: str = ADA) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    return store.uploads / store.keep_upload(path, path.name, owner).removeprefix("upload:")


def test_what_is_old_goes_and_what_is_under_way_stays(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run_id, open_id = finished(store), store.create(RunSpec(method="npo"), ADA).id
    upload = uploaded(store, tmp_path)
    assert expire(store, time.time() + 6.9 * DAY) == Gone(0, 0)
    assert expire(store, time.time() + 7.1 * DAY) == Gone(1, 1)
    assert [record.id for record in store.list_runs()] == [open_id]
    assert not upload.exists()
    assert not (store.runs / run_id).exists()


def test_the_oldest_go_first_where_there_is_too_much(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first, second = (finished(store, size=100_000) for _ in range(2))
    upload = uploaded(store, tmp_path)
    os.utime(upload, (1, 1))
    assert expire(store, days=1e6, most=150_000) == Gone(1, 1)
    assert not upload.exists()
    assert [record.id for record in store.list_runs()] == [second]
    assert first != second


def test_ones_own_data_goes_at_once_and_nobody_elses(tmp_path: Path) -> None:
    def endless(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        while not options["control"].cancelled:
            yield ev.StageProgress("unlearn", 0, 1)
            options["control"]._cancel.wait(0.01)

    store = RunStore(tmp_path, shared=True)
    worker = Worker(store, public=True, runner=endless)
    theirs, kept = finished(store, BO), uploaded(store, tmp_path, BO)
    mine, gone = finished(store, ADA), uploaded(store, tmp_path, ADA)
    assert len(store.list_runs()) == 2  # the index has read them
    under_way = [worker.submit(RunSpec(method="npo"), ADA) for _ in range(2)]
    for nobody in ("", "another secret that fits nothing"):
        assert delete_everything_of(nobody, store, worker) == Gone(0, 0)
    assert delete_everything_of(ADA, store, worker) == Gone(3, 1)
    for run_id in (mine, *under_way):
        with pytest.raises(InputError):
            store.get(run_id)
    assert store.get(theirs).status == "finished"
    assert kept.exists()
    assert not gone.exists()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert f"the words of {BO}".encode() in left
    assert f"the words of {ADA}".encode() not in left
    assert mine.encode() not in left
    worker.close()


def test_the_keeper_looks_at_once_and_ends_when_told(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    upload = uploaded(store, tmp_path)
    os.utime(upload, (1, 1))
    keeper = Keeper(store)
    for _ in range(1000):
        if not upload.exists():
            break
        time.sleep(0.01)
    keeper.close()
    assert not upload.exists()
    assert not keeper._thread.is_alive()
