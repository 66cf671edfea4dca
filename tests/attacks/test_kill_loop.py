"""kill -9 at random moments while weights and records are written: whole or absent, never half."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unlearn_core.errors import IntegrityError
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import check_complete

pytestmark = pytest.mark.slow

NUM_KILLS = 10
CHILD = """
import os, sys
from pathlib import Path
from unlearn_core.runs import events as ev
from unlearn_core.system.files import save_complete
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
store = RunStore(sys.argv[1])
print("ready", flush=True)
while True:
    run = store.create(RunSpec())
    store.append(run.id, ev.RunStarted({"method": "npo"}, ("save",), 1, "cpu"))
    def write(folder):
        for part in range(4):
            (folder / f"part-{part}").write_bytes(os.urandom(200_000))
    save_complete(store.folder(run.id) / "weights", write, {"weights_hash": run.id})
    store.append(run.id, ev.Finished({"label": "forgotten"}, {}, artifact="weights"))
    print(run.id, flush=True)
"""


def test_no_kill_leaves_half_a_run(tmp_path: Path) -> None:
    rng = random.Random(0)
    acknowledged: set[str] = set()
    for _ in range(NUM_KILLS):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.08))
        os.kill(child.pid, signal.SIGKILL)
        acknowledged |= {line.strip() for line in child.stdout.read().split("\n") if len(line) == 22}
        child.stdout.close()
        child.wait()
    store = RunStore(tmp_path)
    store.recover()
    records = {record.id: record for record in store.list_runs(limit=10_000)}
    assert acknowledged <= set(records)
    for record in records.values():
        json.loads((store.folder(record.id) / "run.json").read_text())
        assert record.status in ("finished", "interrupted")
        assert (record.id in acknowledged) <= (record.status == "finished")
        try:
            marker = check_complete(store.folder(record.id) / "weights", hashes=True)
        except IntegrityError:
            assert record.status == "interrupted"
        else:
            assert marker["weights_hash"] == record.id
