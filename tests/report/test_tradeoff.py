"""Runs as marks between forgetting and keeping."""

from __future__ import annotations

from unlearn_core.report.runs.tradeoff import tradeoff_figure
from unlearn_core.store.table.rows import RunRow


def _row(name: str, forget: float) -> RunRow:
    record = {"id": name, "created": 0.0, "status": "finished", "spec": {"method": name}}
    scores = {"unlearned": {"aggregated_terms": [forget] * 6 + [1.0] * 6}}
    return RunRow.of({**record, "scores": scores}, {})


def test_letters_stand_in_the_order_of_their_marks() -> None:
    """A on the lowest mark gets the lowest place, so that no line crosses another."""
    rows = [_row("low", 0.1), _row("middle", 0.2), _row("high", 0.9)]
    figure = tradeoff_figure(rows, [], "retain", {"low": "A", "middle": "B", "high": "C"})
    notes = sorted(figure["layout"]["annotations"], key=lambda note: note["ay"])
    assert [note["text"] for note in notes] == ["<b>C</b>", "<b>B</b>", "<b>A</b>"]
    assert [note["y"] for note in notes] == [0.9, 0.2, 0.1]
