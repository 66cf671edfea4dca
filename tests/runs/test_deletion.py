"""Everything of one visitor goes when they say so, nobody else's does, and nobody waits for a run to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core.errors import InputError
from unlearn_core.jobs.deletion import Deleter
from unlearn_core.jobs.expiry import Deleted
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

ADA, BO = "a secret of ada's that nobody guesses", "a secret of bo's that nobody guesses"


class Stubborn:
    """A run that stops when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self, spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        self.let_go.wait()
        while not options["control"].cancelled:
            yield ev.StageProgress("unlearn", 0, 1)


def finished(store: RunStore, owner: str) -> str:
    run = store.create(RunSpec(data=f"facts:the words of {owner} => a"), owner).id
    store.append(run, ev.Finished({"label": "unchanged"}, {"load": 1.0}))
    return run


def uploaded(store: RunStore, tmp_path: Path, owner: str) -> Path:
    path = tmp_path / "given.txt"
    path.write_text(f"the words of {owner} => a")
    folder = store.uploads / store.keep_upload(path, path.name, owner).removeprefix("upload:")
    path.unlink()
    return folder


def test_ones_own_data_goes_and_nobody_elses(tmp_path: Path) -> None:
    stubborn = Stubborn()
    store = RunStore(tmp_path, shared=True)
    worker = Worker(store, public=True, runner=stubborn)
    deleter = Deleter(store, worker)
    theirs, kept = finished(store, BO), uploaded(store, tmp_path, BO)
    mine, upload = finished(store, ADA), uploaded(store, tmp_path, ADA)
    under_way = [worker.submit(RunSpec(method="npo"), ADA) for _ in range(2)]
    for nobody in ("", "another secret that fits nothing"):
        assert deleter.delete(nobody) == Deleted(0, 0)
    assert deleter.delete(ADA) == Deleted(3, 1)  # and the run at work has not stopped yet
    assert store.list_runs(owner=ADA) == []
    assert deleter.delete(ADA) == Deleted(0, 0)
    for run_id in (mine, *under_way):
        with pytest.raises(InputError, match="here for you"):
            store.owned(run_id, ADA)
        with pytest.raises(InputError, match="here for you"):
            store.get(run_id)  # nor by its link
    assert not upload.exists()
    stubborn.let_go.set()
    until(lambda: not any(store.folder(run_id).exists() for run_id in (mine, *under_way)))
    assert store.get(theirs).status == "finished"
    assert kept.exists()
    worker.close()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert f"the words of {BO}".encode() in left
    assert f"the words of {ADA}".encode() not in left
    assert mine.encode() not in left


def test_what_was_stopping_when_the_server_ended_goes_at_the_next_start(tmp_path: Path) -> None:
    store = RunStore(tmp_path, shared=True)
    run = store.create(RunSpec(), ADA).id
    store.doom(run)
    assert RunStore(tmp_path, shared=True).recover() == []
    assert store.folder(run).exists()  # its process still runs
    store.append(run, ev.Cancelled())
    RunStore(tmp_path, shared=True).recover()
    assert not store.folder(run).exists()
