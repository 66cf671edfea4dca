"""Copies of uploads and downloads: each process its own folder, none outlives it, and there is a bound."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from unlearn_core.system.files import start_of
from unlearn_core.system.temp_files import keep_within, own_folder


def test_what_a_killed_process_left_goes_and_what_a_living_one_keeps_stays(tmp_path: Path) -> None:
    """The first folder of a process names it; others are named here after processes that live or do not."""
    ours = own_folder(tmp_path)
    place = ours.name.split("-")[1]
    other = subprocess.Popen(["sleep", "600"])
    start = start_of(other.pid)
    assert start is not None
    alive = f"lethe-{place}-{other.pid}-{start:.0f}-abc"
    reused = f"lethe-{place}-{other.pid}-{start - 1:.0f}-abc"
    elsewhere = f"lethe-{int(place, 16) ^ 1:08x}-{other.pid}-1-abc"
    strange = f"lethe-{place}-somebody-else's"
    for name in (alive, reused, elsewhere, strange):
        (tmp_path / name / "gradio").mkdir(parents=True)
        (tmp_path / name / "gradio" / "upload.jsonl").write_text("{}")
    left = lambda: {folder.name for folder in tmp_path.iterdir()}  # noqa: E731
    own_folder.cache_clear()
    again = own_folder(tmp_path)
    assert left() == {ours.name, again.name, alive, elsewhere, strange}
    other.kill()
    other.wait()
    own_folder.cache_clear()
    last = own_folder(tmp_path)
    assert left() == {ours.name, again.name, last.name, elsewhere, strange}
    own_folder.cache_clear()


def test_the_oldest_files_go_first_and_the_newest_stays(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "new", "old", "oldest")):
        path = tmp_path / name / "upload.jsonl"
        path.parent.mkdir()
        path.write_bytes(b"x" * 40_960)
        os.utime(path, (time.time() - age, time.time() - age))
    names = lambda: {path.parent.name for path in tmp_path.rglob("*.jsonl")}  # noqa: E731
    assert keep_within(tmp_path, 10**6) == 4 * 40_960
    assert keep_within(tmp_path, 100_000) <= 100_000
    assert names() == {"newest", "new"}
    keep_within(tmp_path, 10**6, files=1)
    assert names() == {"newest"}
    keep_within(tmp_path, 0)
    assert names() == {"newest"}  # it may be the one that somebody waits for
    os.utime(tmp_path / "old", (0, 0))
    keep_within(tmp_path, 10**6)
    assert not (tmp_path / "old").exists()  # empty for long
    assert (tmp_path / "new").exists()
