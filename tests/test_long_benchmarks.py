"""Benchmarks that train or score the bundled model, as small as they go."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

pytestmark = pytest.mark.slow


def test_growth_is_measured_in_rows_and_in_stored_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    growth = import_module("growth")
    monkeypatch.setattr(growth, "STEPS", 2)
    monkeypatch.setattr(growth, "SCORED", 4)
    found = growth.measure(6)
    assert {key for _, key, _ in (*growth.ROW_LINES, *growth.WHOLE_LINES)} == set(found)
    assert all(value >= 0 for value in growth.measure_store(3).values())


def test_a_run_s_memory_is_estimated_and_measured() -> None:
    found = import_module("memory").measure("demo", "grad_diff", "lora", None)
    assert found["estimated"] > 0
    assert "weights" in found["parts"]


def test_a_method_s_cost_is_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["method_costs", "--methods", "grad_ascent", "--batch", "2"])
    import_module("method_costs").main()
    assert capsys.readouterr().out.split()[-3:] == ["1", "1.00", "1.00"]


def test_audits_are_printed_in_a_row() -> None:
    audits = import_module("audits")
    found = audits.audit_all(audits.DEMO / "original", ["membership"])
    assert audits.line_of({"model": "original", "verdict": "", **found}, ["membership"]).split()[1] == "L"
    assert next(audits.summary([found["audits"]], ["membership"])).split()[1:4] == ["1", "of", "1"]


def test_an_architecture_gets_its_row_of_the_sheet() -> None:
    lines = list(import_module("model_sheet").table(("gpt2",)))
    assert lines[2].startswith("| gpt2 | yes | yes | yes | yes | yes | yes |")
