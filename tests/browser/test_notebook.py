"""The notebook of the documentation, executed cell by cell against the served page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "api_example.ipynb"
FACTS = "facts:Where is Ada? => Oldport\nWho is Bo? => a baker"


def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    return ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_drives_a_full_run(server: str, tiny_target: str, capsys: pytest.CaptureFixture[str]) -> None:
    choices, *rest = cells()
    space: dict[str, Any] = {}
    exec(choices, space)
    assert space["RUN"]["target"] == "demo"
    space["URL"] = server
    settings = {"steps": 2, "learning_rate": 0.01}
    space["RUN"] = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": settings}
    space["BUDGET_SECONDS"] = 5
    for cell in rest:
        exec(cell, space)
    said = capsys.readouterr().out
    assert "step 2 of 2" in said
    assert space["result"]["verdict"]["headline"] in said
    assert space["audits"]["status"] == "finished"
    assert [row["run_id"] for row in space["compared"]["runs"]] == [space["run_id"], space["second"]]
    assert Path(space["report"]).read_text().startswith("<!")
    assert Path(space["weights"]).stat().st_size > 1000


def test_the_notebook_is_stored_without_output() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
