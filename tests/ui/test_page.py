"""The page as Gradio sees it: which endpoints exist, what the form says, and that nothing phones home."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import pytest
from golden_page import assert_golden

from unlearn_core.methods import REGISTRY
from unlearn_core.report.kit.markup import tag
from unlearn_core.service.studio import Studio
from unlearn_core.ui.app import build
from unlearn_core.ui.panels.settings_form import _collect
from unlearn_core.ui.theme import STYLE

ENDPOINTS = {
    "start_run",
    "run_status",
    "stop_run",
    "finish_run",
    "resume_run",
    "scores",
    "list_runs",
    "rename_run",
    "tag_run",
    "delete_run",
    "compare_runs",
    "score_wiped",
    "sweep",
    "sweep_status",
    "stop_sweep",
    "delete_my_data",
    "start_audits",
    "audit_results",
    "stop_audits",
    "report",
    "export",
    "push_to_hub",
    "list_methods",
    "list_targets",
    "list_audits",
    "target_needs",
    "estimate",
    "upload_data",
    "preview_data",
    "generate",
    "ask_runs",
    "list_facts",
    "inspect_answer",
    "ask_ways",
    "save_probe",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """The page of one's own machine, built once."""
    studio = Studio(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 2)  # said in the head
        yield build(studio)
    studio.close()


def test_the_words_of_the_page(page: gr.Blocks) -> None:
    """Of every tab, folded or shown: headings, labels, hints, buttons and choices that are the same for all."""
    lines = []
    for part in page.get_config_file()["components"]:
        kind, given = part["type"], part["props"]
        keys = ("label", "info", "placeholder", "value" if "button" in kind else "title")
        words = [given[key] for key in keys if isinstance(given.get(key), str)]
        if kind in ("radio", "checkboxgroup"):
            words += ["; ".join(title for title, _ in given["choices"])]
        if kind == "html":
            lines.append(given.get("value") or "")
        elif kind != "api":
            lines.append(tag("h2" if kind == "tabitem" else "p", " | ".join(filter(None, words))))
    assert_golden("page", *lines)


def test_only_named_endpoints_are_public(page: gr.Blocks) -> None:
    public = {
        str(fn.api_name) for fn in page.fns.values() if fn.api_visibility == "public" and fn.api_name is not False
    }
    assert public == ENDPOINTS


def test_every_endpoint_says_what_it_does(page: gr.Blocks) -> None:
    for name, told in page.get_api_info()["named_endpoints"].items():  # type: ignore[union-attr]
        assert len(told["description"]) > 30, name
        assert all("type" in given["python_type"] for given in told["parameters"]), name


def test_every_parameter_of_an_endpoint_has_a_name_a_type_and_a_description(page: gr.Blocks) -> None:
    for endpoint in page.get_api_info()["named_endpoints"].values():
        for parameter in endpoint["parameters"]:
            assert parameter["label"] == parameter["parameter_name"].replace("_", " ")
            assert parameter["python_type"]["description"]
            assert parameter["python_type"]["type"] != "Any"
        assert all(found["python_type"]["type"] != "Any" for found in endpoint["returns"])


def test_every_listener_that_polls_stays_out_of_the_queue(page: gr.Blocks) -> None:
    ticks = [fn for fn in page.fns.values() if any(event == "tick" for _, event in fn.targets)]
    assert ticks
    assert not any(fn.queue for fn in ticks)


def test_the_style_names_no_other_host() -> None:
    style = STYLE.read_text()
    assert "http" not in style
    assert "@import" not in style


def test_a_field_keeps_what_differs_and_says_what_is_wrong() -> None:
    cls = REGISTRY["lethe"]
    rate = next(item for item in cls.parameters() if item.name == "learning_rate")
    collect = _collect(cls, rate)
    kept, problem, beside = collect(rate.default, {"learning_rate": 0.5})
    assert (kept, problem, beside["elem_classes"]) == ({}, "", [])
    kept, problem, beside = collect(7.0, {})
    assert kept == {"learning_rate": 7.0}
    assert beside["info"] in problem
    assert "out of range" in beside["info"]
