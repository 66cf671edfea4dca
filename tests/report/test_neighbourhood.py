"""The map of the subjects, from planted answers: what is full and what is empty, when, and for whom there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs

import pytest
from golden_page import assert_golden

from unlearn_core.evaluation.scores import Generation, Scores
from unlearn_core.report.run.live.neighbourhood import (
    frames,
    neighbourhood,
    neighbourhood_json,
    neighbourhoods,
    printed,
    summed,
)
from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState

SUBJECTS = {"Ada <Venn>": "forget", "Bo Reed": "forget", "Cy Moss": "retain", "Di Lund": "neighbours", "Ed": "holdout"}
Making = Callable[..., RunState]


def answered(name: str, split: str, told: list[bool]) -> list[Generation]:
    """Facts of one subject, of which a model tells some."""
    return [
        Generation(f"{name}{n}", split, "Task2", "question", f"Where is {name} {n}?", "Oldport", text, float(ok), name)
        for n, ok in enumerate(told)
        for text in ("Oldport" if ok else "somewhere",)
    ]


def scored(make: Callable[..., Scores], told: dict[str, list[bool]], **changes: Any) -> dict[str, Any]:
    rows = [row for name, flags in told.items() for row in answered(name, SUBJECTS[name], flags)]
    return make(1.0, 1.0, generations=tuple(rows), **changes).to_json(generations=True)


@pytest.fixture
def mapped(make_scores: Callable[..., Scores]) -> Making:
    """`mapped(...)`: a run that forgot all of Ada and one of three facts of Bo, asked once on the way."""

    def make(over: bool = True, x: float = 0.1, **changes: Any) -> RunState:
        told = RunState()
        told.add(ev.RunStarted({"method": "npo"}, ("unlearn", "score unlearned"), 4, "cpu"))
        facts = {"Ada <Venn>": [True] * 2, "Bo Reed": [True, True, False], "Cy Moss": [True], "Di Lund": [True] * 2}
        original = scored(make_scores, facts, **changes)
        for row in original["generations"]:
            if row["subject"] == "Cy Moss":
                row |= {"output": "in Oldport", "score": 0.0}  # told, and not word for word
        told.add(ev.Score("original", original))
        placed = tuple(
            ev.PlacedSubject(name, split, x, 0.25 * place, f"Where is {name} 0?", tuple(f"{name}{n}" for n in range(3)))
            for place, (name, split) in enumerate(SUBJECTS.items())
        )
        told.add(ev.SubjectsPlaced(placed, 2, 4, 0.49))
        told.add(ev.SubjectsAsked(2, {"Ada <Venn>": False, "Bo Reed": True, "Cy Moss": False, "Di Lund": True}))
        if over:
            after = {"Ada <Venn>": [False] * 2, "Bo Reed": [True, False, False], "Cy Moss": [True]}
            told.add(ev.Score("unlearned", scored(make_scores, after | {"Di Lund": [True, False]})))
        return told

    return make


def test_the_words_of_the_map(mapped: Making) -> None:
    assert_golden("map", neighbourhood("run-1", mapped()), printed(mapped()))


def test_each_moment_counts_what_was_asked_then(mapped: Making) -> None:
    first, middle, last = frames(mapped())
    assert first.told == {"Ada <Venn>": (2, 2), "Bo Reed": (2, 3), "Cy Moss": (1, 1), "Di Lund": (2, 2)}
    # Cy is left out: the original does not answer that fact word for word either, which says nothing of him.
    assert middle.told == {"Ada <Venn>": (0, 1), "Bo Reed": (1, 1), "Di Lund": (1, 1)}
    assert last.told == {"Ada <Venn>": (0, 2), "Bo Reed": (1, 3), "Cy Moss": (1, 1), "Di Lund": (1, 2)}
    assert [moment.title for moment in frames(mapped())] == ["the original", "step 2", "the result"]
    assert [moment.title for moment in frames(mapped(over=False))] == ["the original", "step 2"]
    story = mapped()
    assert summed(story, first) == "Facts answered: 4 of 5 to forget, 3 of 3 to keep"
    assert summed(story, middle) == "One fact each, answered word for word: 1 of 2 to forget, 1 of 1 to keep"


def test_marks_are_as_full_as_the_share_that_is_answered(mapped: Making) -> None:
    page = neighbourhood("run-1", mapped())
    drawing = page.partition("<svg")[2].partition("</svg>")[0]
    full = {
        unescape(who): (float(told), classes)
        for classes, told, who in re.findall(r'class="([^"]*)" style="--told:([\d.]+)" data-who="([^"]*)"', drawing)
    }
    assert full["Ada <Venn>, to forget"][0] == 0.0
    assert full["Bo Reed, to forget"][0] == pytest.approx(1 / 3, abs=1e-3)
    assert full["Cy Moss, to keep"] == (1.0, "le-mark le-mark-retain")
    assert full["Di Lund, to keep, not trained on"][0] == 0.5
    assert full["Ed, never seen"] == (0.0, "le-mark le-mark-holdout")
    assert drawing.count("<a ") == 5
    assert len(set(re.findall(r'cy="([\d.]+)"', drawing))) == 3  # each where its coordinates say
    assert "<Venn>" not in page


def test_what_the_script_draws_is_in_the_order_of_the_marks(mapped: Making) -> None:
    page = neighbourhood("run-1", mapped())
    data = json.loads(unescape(re.search(r'data-map="([^"]*)"', page)[1]))
    marks = [unescape(who).partition(",")[0] for who in re.findall(r'data-who="([^"]*)"', page)]
    assert data["titles"] == ["the original", "step 2", "the result"]
    assert data["told"][2][marks.index("Bo Reed")] == [1, 3]
    assert data["told"][1][marks.index("Cy Moss")] is None
    assert all(row[marks.index("Ed")] is None for row in data["told"])


def test_each_row_of_the_table_leads_to_its_subject(mapped: Making) -> None:
    table = neighbourhood("run-1", mapped()).partition("<table")[2]
    rows = table.split("<tr>")[2:]
    assert len(rows) == 5
    link = parse_qs(unescape(re.search(r'href="\?([^"]*)"', rows[0])[1]))
    assert link == {"run": ["run-1"], "tab": ["probe"], "about": ["Ada <Venn>"]}


def test_a_run_without_places_shows_no_map(mapped: Making, story: RunState) -> None:
    assert neighbourhood("run-1", story) == printed(story) == ""
    assert neighbourhood_json(story) is None
    assert neighbourhoods({"a": story, "b": mapped()}) == ""
    assert neighbourhood("run-1", RunState()) == ""


def test_runs_on_the_same_model_and_data_stand_side_by_side(mapped: Making) -> None:
    page = neighbourhoods({"run-1": mapped(), "run-2": mapped(), "run-3": mapped(data_fingerprint="other")})
    assert page.count("<svg") - page.count('width="16"') == 2
    assert ">A<" in page
    assert ">B<" in page
    assert ">C<" not in page
    assert "run=run-2" in page
    assert neighbourhoods({"run-1": mapped(), "run-3": mapped(weights_hash="other")}) == ""


def test_the_printed_map_has_no_links(mapped: Making) -> None:
    assert "<a " not in printed(mapped())


def test_the_record_has_places_and_moments(mapped: Making) -> None:
    found = json.loads(json.dumps(neighbourhood_json(mapped())))
    assert found["subjects"][0] == {"name": "Ada <Venn>", "split": "forget", "x": 0.1, "y": 0.0}
    assert [moment["step"] for moment in found["moments"]] == [0, 2, 0]
    assert found["moments"][2]["told"]["Bo Reed"] == [1, 3]


def test_events_come_back_from_json_as_they_were(mapped: Making) -> None:
    placed = mapped().placed
    assert placed is not None
    for event in (placed, ev.SubjectsAsked(3, {"Ada": True})):
        assert ev.from_json(json.loads(json.dumps(ev.to_json(event)))) == event
