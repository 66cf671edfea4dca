"""Folding events: the story at every moment, and the figures drawn of it."""

from __future__ import annotations

import json
import math

import plotly.graph_objects as go
import pytest

from unlearn_core.cli.table import judged
from unlearn_core.evaluation.verdict import Layer, Verdict
from unlearn_core.report.export.reproduce import command
from unlearn_core.report.kit.figure import figure
from unlearn_core.report.run.layer_table import layer_table
from unlearn_core.report.run.live.curves import decimate, facts_figure, loss_figure, unseen_level
from unlearn_core.report.run.live.progress import fraction, progress_panel, stage_title, telemetry
from unlearn_core.report.run.outcome import figures
from unlearn_core.report.run.verdict import said
from unlearn_core.report.runs.comparison import overlay_figure
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState


def test_a_story_that_has_not_begun() -> None:
    empty = RunState()
    assert (fraction(empty), empty.stage, empty.verdict, empty.spec) == (0.0, "", None, {})
    assert "Starting" in progress_panel(empty)
    assert "2 runs ahead" in progress_panel(empty, position=2)
    assert "begins in about 40 s" in progress_panel(empty, position=2, wait=40.0)
    assert not loss_figure(empty)["data"]


def test_the_bar_moves_forward_through_the_stages() -> None:
    told = RunState()
    told.add(ev.RunStarted({}, ("load", "unlearn", "save"), 10, "cpu"))
    seen = []
    for stage, done in (("load", 0), ("load", 1), ("unlearn", 0), ("unlearn", 5), ("save", 0), ("save", 9)):
        told.add(ev.StageProgress(stage, done, 1 if stage == "load" else 10))
        seen.append(fraction(told))
    assert seen == sorted(seen)
    assert 0.0 == seen[0] < seen[-1] < 1.0
    panel = progress_panel(told)
    assert 'role="progressbar"' in panel
    assert 'aria-live="polite"' in panel
    assert 'aria-current="step"' in telemetry(told)


def test_figures_are_valid_plotly_and_transparent(story: RunState) -> None:
    for drawn in (loss_figure(story), facts_figure(story), overlay_figure({"A": story})):
        checked = go.Figure(json.loads(drawn.to_json()))
        assert checked.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert checked.layout.uirevision
        assert checked.data
    with pytest.raises(ValueError, match="colour"):
        figure([{"type": "scatter", "line": {"colour": "red"}}], "loss", "Loss")
    with pytest.raises(ValueError, match="heigth"):
        figure([], "loss", "Loss", heigth=100)
    assert loss_figure(story)["data"][0]["y"] == (1.0, 2.0, 3.0)


def test_the_loss_chart_says_how_unlikely_unseen_text_is(story: RunState) -> None:
    assert unseen_level(story) == pytest.approx(3.0)
    assert loss_figure(story)["layout"]["shapes"][0]["y0"] == 3.0


def test_losses_that_are_not_finite_are_left_out(story: RunState) -> None:
    story.add(ev.Step(4, 4, {"forget": math.nan, "total": None}, 1e-3, 1.0, 900.0, 4.0))  # type: ignore[dict-item]
    assert loss_figure(story)["data"][0]["x"] == (1, 2, 3)


def test_names_of_facts_cannot_be_read_as_markup_by_plotly(story: RunState) -> None:
    names = [trace["name"] for trace in facts_figure(story)["data"]]
    assert "Where is &lt;a&gt;?" in names


def test_thinning_keeps_both_ends() -> None:
    thin = decimate(range(10_001), 400)
    assert len(thin) == 400
    assert (thin[0], thin[-1]) == (0, 10_000)
    assert decimate([1, 2], 400) == [1, 2]


def test_a_figure_stays_small() -> None:
    told = RunState()
    for step in range(1, 5_001):
        told.add(ev.Step(step, 5_000, {"forget": 1 / 3, "retain": 1 / 7, "total": -1 / 3}, 1e-3, 1, 1, 1))
    assert len(loss_figure(told).to_json()) < 30_000


def test_stages_without_a_title_are_shown_as_named() -> None:
    assert stage_title("weigh anchors") == "Weigh anchors"


def test_the_command_repeats_the_run() -> None:
    spec = RunSpec(method="npo", settings={"beta": 0.1}, steps=20, seed=3, data="my data.jsonl")
    line = command(spec.to_json())
    assert line == "lethe run --target demo --data 'my data.jsonl' --method npo --steps 20 --seed 3 --set beta=0.1"
    assert command({"prompt": "chat"}).endswith("--prompt chat")


def test_an_area_is_called_one_on_page_and_terminal_and_what_was_asked_is_called_prompts() -> None:
    layers = (Layer("membership", "leaks", 0.07, n=60), Layer("neighbours", "holds", 0.944, n=500))
    found = Verdict("Answers gone", "traces remain", "Of facts about others, 472 of 500 are kept.", layers=layers)
    assert "Membership AUC<" in layer_table(layers)
    assert "membership AUC  leaks" in judged(found.to_json())
    assert "of 500 prompts about others" in figures(found)
    assert said(found.summary) == "Of prompts about others, 472 of 500 are kept."
