"""The lesson of the published runs: counted from the shipped table, safe, and sorted as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from golden_page import assert_golden

from unlearn_core.evaluation.protocols.references.published import PUBLISHED, PublishedRun, read_runs
from unlearn_core.report.runs.published import ORDERS, lesson, published_figure, published_table, source
from unlearn_core.system.assets import assets_directory


@pytest.fixture(scope="module")
def runs() -> list[PublishedRun]:
    return read_runs(assets_directory() / PUBLISHED)


def test_the_shipped_table_is_whole_and_names_its_source(runs: list[PublishedRun]) -> None:
    assert len(runs) == 153
    assert sum(run.task_aggregate == 0 for run in runs) == 119
    assert sum(run.foreign_mmlu for run in runs) == 66
    assert all(run.collapsed for run in runs[:9])
    source = (assets_directory() / PUBLISHED).with_name("SOURCE.md").read_text()
    assert "Apache-2.0" in source
    assert "CCM_at_semeval2025task4" in source


def test_the_words_of_lesson_and_table(runs: list[PublishedRun]) -> None:
    assert_golden("published", lesson(runs), published_table(runs[:12]), source())


def test_wrecks_are_marked_and_can_be_left_out(runs: list[PublishedRun]) -> None:
    whole = published_table(runs)
    assert whole.count("<tr") == 154
    assert whole.count("le-wreck") == sum(run.collapsed for run in runs)
    assert whole.index("0.424") < whole.index("0.395")
    rest = published_table(runs, ORDERS[1])
    assert "le-wreck" not in rest
    assert "<td>10</td>" in rest  # keeps its place by the official score
    kept = str(published_table(runs, ORDERS[2])).replace("<wbr>", "")
    assert kept.index(max(runs, key=lambda run: run.retained).name) < kept.index(runs[0].name)


def test_every_run_is_in_the_figure_and_names_are_text(runs: list[PublishedRun]) -> None:
    hostile = replace(runs[0], name="<img src=x onerror=alert(1)>{{1}}")
    figure = published_figure([hostile, *runs[1:]]).to_dict()
    assert sum(len(trace["x"]) for trace in figure["data"]) == 153
    assert "<img" not in str(figure)
    assert "<img" not in published_table([hostile])
