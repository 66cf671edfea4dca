"""The log says what happened, one JSON object a line, and quotes nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system.log import LOGGER, log_to

SECRET = "Mara-Venn-lives-in-Oldport"


def fails(spec: RunSpec, **_: Any) -> Iterator[ev.Event]:
    yield ev.RunStarted(spec.to_json(), ("unlearn",), 3, "cpu")
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"could not read {SECRET}") from error


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "log" / "lethe.log").read_text().splitlines()]


@pytest.mark.parametrize("public", [True, False])
def test_a_run_can_be_followed_and_in_public_no_word_of_it_is_kept(public: bool, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    worker = Worker(store, runner=fails, public=public)
    spec = RunSpec(method="npo", data=f"facts:{SECRET} => {SECRET}", name=SECRET, target="demo")
    run_id = worker.submit(spec, owner=f"{SECRET} and more")
    assert worker.wait(run_id)
    worker.close()
    told = lines(tmp_path)
    of_run = [line for line in told if line.get("run") == run_id[:8]]
    assert [line["event"] for line in of_run] == ["run queued", "run started", "run failed"]
    assert of_run[1]["method"] == "npo"
    (error,) = [line for line in told if line["event"] == "unforeseen error"]
    assert error["reference"] in store.get(run_id).message
    assert [cause["type"] for cause in error["errors"]] == ["ValueError", "KeyError"]
    assert error["errors"][0]["at"][-1].endswith("fails")
    text = (tmp_path / "log" / "lethe.log").read_text()
    assert (SECRET in text) != public
    assert run_id not in text


def test_the_console_gets_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_to(tmp_path, words=False, console=True)
    try:
        raise OSError(SECRET)
    except OSError:
        LOGGER.exception("something failed")
    log_to(tmp_path)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line == lines(tmp_path)[-1]
    assert line["level"] == "error"
    assert SECRET not in json.dumps(line)
