"""What audits found stands beside a leaderboard's methods: as measured, not when stale, the fewest leaks first."""

from __future__ import annotations

import copy
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.errors import InputError
from unlearn_core.evaluation.audits import REGISTRY
from unlearn_core.report.runs.leaderboard import board_table
from unlearn_core.runs.series.audited import audits_of, audits_of_reference
from unlearn_core.runs.series.bench import board_order
from unlearn_core.runs.series.boards import merged
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.files import append_line, read_json, write_json

SHIPPED = assets_directory() / "gallery" / "demo.json"


def record(out: Path, folder: str, leaks: tuple[str, ...] = (), done: tuple[str, ...] = tuple(REGISTRY)) -> None:
    """A line as `benchmarks/audits.py` keeps it; nothing stands before these weights that could be taken off."""
    verdicts = {name: "leaks" if name in leaks else "holds" for name in done} | {"beneath": "not applicable"}
    audits = [{"name": name, "verdict": verdict} for name, verdict in verdicts.items()]
    line = {"model": folder.partition("-")[0], "weights": f"/elsewhere/{folder}", "made": "2027-01-01"}
    append_line(out / "audits.jsonl", json.dumps(line | {"audits": audits}))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The bundled world's leaderboard of three methods, without audits."""
    found = read_json(SHIPPED)
    found.pop("audits", None)
    rows = {row["method"]: row for row in found["methods"]}
    for row in rows.values():
        row.pop("audits", None)
    found["methods"] = [rows[name] for name in ("lethe", "npo", "idk")]
    path = tmp_path / "board.json"
    write_json(path, found, for_people=True)
    return path


def put(board: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The leaderboard with what `out` holds."""
    monkeypatch.setattr(sys, "argv", ["audits", "--out", str(out), "--into", str(board)])
    import_module("audits").main()
    found: dict[str, Any] = read_json(board)
    return found


def test_what_was_measured_joins_the_rows_and_nothing_else_changes(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, "retain_only")
    record(tmp_path, "original", ("membership", "paraphrase"))
    record(tmp_path, "lethe--0", ("membership",))
    record(tmp_path, "lethe--0")  # the last one counts
    record(tmp_path, "npo-learning_rate-0.002-10", ("probes", "distance"))
    record(tmp_path, "npo-learning_rate-0.002-2", ("distance",))
    record(tmp_path, "npo-learning_rate-0.01-0", ("suffix",))  # other settings
    record(tmp_path, "idk--0", done=("membership",))  # not all audits
    before = board.read_text()
    found = put(board, tmp_path, monkeypatch)
    lethe, npo, idk = found["methods"]
    assert lethe["audits"] == {"settings": {}, "seeds": {"0": {"made": "2027-01-01", "applied": 15, "leaks": []}}}
    assert list(npo["audits"]["seeds"]) == ["2", "10"]
    audited = audits_of(npo)
    assert audited is not None
    assert (audited.leaks, audited.applied, audited.counts) == (1.5, 15, (1, 2))
    assert audited.which == {"distance": 2, "probes": 1}
    assert audits_of(idk) is None
    reference = audits_of_reference(found, "original")
    assert reference is not None
    assert reference.which == {"membership": 1, "paraphrase": 1}

    del found["audits"], lethe["audits"], npo["audits"]
    write_json(board, found, for_people=True)
    assert board.read_text() == before


def test_more_seeds_join_later_and_a_method_that_is_not_there_keeps_its_audits(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    record(tmp_path / "first", "lethe--0")
    record(tmp_path / "second", "idk--0")
    first = put(board, tmp_path / "first", monkeypatch)
    record(tmp_path / "first", "lethe--1", ("probes",))
    assert list(put(board, tmp_path / "first", monkeypatch)["methods"][0]["audits"]["seeds"]) == ["0", "1"]
    second = put(board, tmp_path / "second", monkeypatch)
    assert second["methods"][0]["audits"] != first["methods"][0]["audits"]
    assert ["audits" in row for row in second["methods"]] == [True, False, True]


def test_a_row_whose_settings_changed_or_that_was_measured_anew_is_not_audited(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, "lethe--0")
    found = put(board, tmp_path, monkeypatch)
    anew = copy.deepcopy(found)
    del anew["methods"][0]["audits"]
    assert "audits" not in merged(found, anew, board_order)["methods"][0]
    found["methods"][0]["settings"] = {"steps": 50}
    assert audits_of(found["methods"][0]) is None
    assert "0 of 15" not in board_table(found)


def test_nothing_joins_another_leaderboard_and_an_empty_folder_is_told(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no model with all audits"):
        put(board, tmp_path, monkeypatch)
    record(tmp_path, "lethe--0")
    other = tmp_path / "one_person.json"
    other.write_bytes((SHIPPED.parent / "one_person.json").read_bytes())
    with pytest.raises(InputError, match="for another kind"):
        put(other, tmp_path, monkeypatch)
