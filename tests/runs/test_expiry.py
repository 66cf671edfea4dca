"""What strangers leave: it goes by age, by size, and when its owner says so; nothing else does."""

from __future__ import annotations

import os
import time
from pathlib import Path

from waiting import until

from unlearn_core.jobs.expiry import CLOCK, Deleted, ExpiryThread, SteadyClock, expire
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import write_json

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
    assert expire(store, time.time() + 6.9 * DAY) == Deleted(0, 0)
    assert expire(store, time.time() + 7.1 * DAY) == Deleted(1, 1)
    assert [record.id for record in store.list_runs()] == [open_id]
    assert not upload.exists()
    assert not (store.runs / run_id).exists()


def test_the_oldest_go_first_where_there_is_too_much(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first, second = (finished(store, size=100_000) for _ in range(2))
    upload = uploaded(store, tmp_path)
    os.utime(upload, (1, 1))
    assert expire(store, days=1e6, most=150_000) == Deleted(1, 1)
    assert not upload.exists()
    assert [record.id for record in store.list_runs()] == [second]
    assert first != second


def test_the_keeper_looks_at_once_and_ends_when_told(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    upload = uploaded(store, tmp_path)
    os.utime(upload, (1, 1))
    write_json(tmp_path / CLOCK, {"seen": time.time(), "even": 86_400.0})
    keeper = ExpiryThread(store)
    keeper.start()
    until(lambda: not upload.exists())
    keeper.close()
    keeper.join()


class Time:
    """A time of day that can be set, and one that nobody sets."""

    def __init__(self) -> None:
        self.day, self.ticks = 1_800_000_000.0, 500.0

    def passes(self, seconds: float) -> None:
        self.day += seconds
        self.ticks += seconds

    def at(self, home: Path) -> SteadyClock:
        return SteadyClock(home, lambda: self.day, lambda: self.ticks)


def test_a_clock_that_jumps_deletes_nothing(tmp_path: Path) -> None:
    """To 2040 and back: whatever it says, nothing goes for its age until it has gone evenly for a day."""
    time_ = Time()
    clock = time_.at(tmp_path)
    looks = []
    for _ in range(24 + 1):
        looks.append(clock.look())
        time_.passes(3_600)
    assert looks == [False] * 24 + [True]
    time_.day += 14 * 365 * 86_400
    assert not clock.look()
    time_.passes(600)
    assert not clock.look()
    time_.day -= 14 * 365 * 86_400
    assert not clock.look()
    time_.passes(86_400 - 600)
    assert not time_.at(tmp_path).look()  # a restart keeps what was counted
    time_.passes(1_200)
    assert time_.at(tmp_path).look()
    time_.passes(30 * 86_400)
    assert not time_.at(tmp_path).look()  # asleep for a month, or a wrong clock: that cannot be told


def test_uploads_are_few_however_small(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    kept = [uploaded(store, tmp_path) for _ in range(5)]
    for number, folder in enumerate(kept):
        os.utime(folder, (time.time() - 100 + number,) * 2)
    run = finished(store)
    assert expire(store, uploads=2) == Deleted(0, 3)
    assert [folder.exists() for folder in kept] == [False] * 3 + [True] * 2
    assert store.get(run)
