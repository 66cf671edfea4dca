"""What the page does, without the page."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from golden_page import assert_golden

from unlearn_core.errors import InputError
from unlearn_core.report.run.run_header import run_header
from unlearn_core.report.runs.runs_table import runs_table
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import Sampling
from unlearn_core.service.studio import Studio
from unlearn_core.service.titles import id_mark
from unlearn_core.store.store import RunRecord
from unlearn_core.store.table.rows import RunQuery, RunRow
from unlearn_core.ui.api.model_endpoints import ModelEndpoints
from unlearn_core.ui.tabs.compare_tab import run_choice
from unlearn_core.ui.tabs.data_tab import preview_table


def test_the_untouched_form_is_a_run(studio: Studio) -> None:
    spec = studio.choices.spec("demo", "demo", "lethe", {})
    assert (spec.target, spec.data, spec.method, spec.adapter, spec.settings) == (
        "demo",
        "demo",
        "lethe",
        None,
        {},
    )


def test_steps_of_the_form_are_steps_of_the_run(studio: Studio) -> None:
    spec = studio.choices.spec("demo", "demo", "npo", {"steps": 7, "beta": 0.2}, None, 3, "lora")
    assert (spec.steps, spec.settings, spec.seed, spec.adapter) == (7, {"beta": 0.2}, 3, "lora")


def test_what_was_chosen_beside_the_data_goes_with_that_data_only(studio: Studio) -> None:
    beside = {
        "data": "facts:a => b",
        "retain_data": "general",
        "columns": {"input": "q"},
        "mmlu": "cais/mmlu",
    }
    spec = studio.choices.spec("demo", "facts:a => b", "npo", {}, beside)
    assert (spec.retain_data, spec.columns, spec.mmlu) == ("general", {"input": "q"}, "cais/mmlu")
    other = studio.choices.spec("demo", "demo", "npo", {}, beside)
    assert (other.retain_data, other.columns, other.mmlu) == (None, {}, None)


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("method", ("demo", "demo", "no-such", {})),
        ("learning_rate", ("demo", "demo", "lethe", {"learning_rate": 7.0})),
        ("steps", ("demo", "demo", "lethe", {"steps": 0})),
        ("seed", ("demo", "demo", "lethe", {}, None, 0.5)),
        ("seed", ("demo", "demo", "lethe", {}, None, None)),
        ("target", ("", "demo", "lethe", {})),
        ("data", ("demo", None, "lethe", {})),
    ],
)
def test_a_wrong_field_is_named(studio: Studio, field: str, form: tuple[object, ...]) -> None:
    with pytest.raises(InputError) as caught:
        studio.choices.spec(*form)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_viewer_gets_only_what_is_new(studio: Studio) -> None:
    run = studio.submit(studio.choices.spec("demo", "demo", "lethe", {}), "me")
    assert studio.worker.wait(run)
    first, second = studio.live.view(run), studio.live.view(run)
    assert first.over
    assert first.versions == second.versions
    assert first.parts["losses"] is second.parts["losses"]  # drawn once, shared by all who look


def test_on_ones_own_machine_every_browser_may_stop_every_run(studio: Studio) -> None:
    run = studio.submit(studio.choices.spec("demo", "demo", "lethe", {}), "me")
    assert all(studio.may_stop(run, owner) for owner in ("me", "another browser", ""))


def test_the_words_of_the_head_of_a_run(studio: Studio, public_studio: Studio) -> None:
    """Of one's own and, where strangers meet, of somebody else's."""
    spec = RunSpec(subject="Ferek Rudlow", seed=3)
    titles = [each.title_of(each.store.create(spec, "me").id, "you") for each in (studio, public_studio)]
    assert_golden("run_header", *(run_header(replace(title, created=time.time() - 7200)) for title in titles))


def test_a_request_that_is_sent_again_and_a_double_click_start_one_run(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn_core.service.studio.DOUBLE_CLICK", 600.0)  # a busy machine may take its time
    spec, other = studio.choices.spec("demo", "demo", "lethe", {}), studio.choices.spec("demo", "demo", "npo", {})
    first = studio.submit(spec, "me", key="mine")
    assert studio.submit(spec, "me", key="mine") == first
    assert studio.submit(spec, "you", key="mine") != first
    clicked = studio.submit(spec, "me", shown=first)
    assert clicked == first
    assert studio.submit(other, "me", shown=first) != first
    assert studio.submit(spec, "you", shown=first) != first
    earlier = studio.store.get(first).created - 3600.0
    with monkeypatch.context() as clock:
        clock.setattr("unlearn_core.service.studio.time.time", lambda: earlier)
        assert studio.submit(spec, "me", shown=first) != first
    monkeypatch.setattr("unlearn_core.service.studio.DOUBLE_CLICK", 0.0)
    assert studio.submit(spec, "me", shown=first) != first


def test_an_unknown_run_takes_no_place_among_those_watched(studio: Studio) -> None:
    with pytest.raises(InputError):
        studio.live.story("no-such-run-at-all")
    assert not studio.live._watched


def test_strangers_are_offered_the_bundled_model_only(public_studio: Studio) -> None:
    assert [name for _, name in public_studio.choices.targets()] == ["demo"]
    spec = public_studio.choices.spec("/etc", "demo", "lethe", {})
    with pytest.raises(InputError, match="not offered"):
        public_studio.submit(spec, "me")
    with pytest.raises(InputError):
        public_studio.data.preview("/etc/passwd", None)


@pytest.mark.parametrize(
    ("field", "prompt", "sampling"),
    [
        ("prompt", " ", Sampling()),
        ("prompt", "x" * 5000, Sampling()),
        ("tokens", "Where?", Sampling(0)),
        ("tokens", "Where?", Sampling(10_000)),
        ("temperature", "Where?", Sampling(temperature=9.0)),
    ],
)
def test_a_question_that_cannot_be_asked_is_explained(
    studio: Studio, field: str, prompt: str, sampling: Sampling
) -> None:
    with pytest.raises(InputError) as caught:
        list(studio.answers.ask("", "demo", prompt, sampling))
    assert caught.value.field == field


def test_typed_facts_are_counted_and_shown_as_text(studio: Studio) -> None:
    table = preview_table(studio.data.preview("facts:Where is <b>Ada</b>? => Oldport", "general"))
    assert "Forget set: 1 row" in table
    assert "&lt;b&gt;Ada" in table


def test_the_list_of_runs_links_to_each_and_escapes_names() -> None:
    spec = {"target": "demo", "data": "d", "method": "npo", "name": "<i>x"}
    scores = {"unlearned": {"final_score": -1.0, "utility": 0.5}}
    record = RunRecord("a" * 22, spec, "finished", 100.0, scores=scores)
    table = runs_table([RunRow.of(asdict(record), {})], now=7400.0)
    assert f'href="?run={record.id}"' in table
    assert "&lt;i&gt;x" in table
    assert "-1" not in table
    assert "No runs yet" in runs_table([], now=0.0)


@pytest.mark.parametrize(
    ("spec", "about"),
    [
        ({"data": "demo", "subject": "Tasset Falfell"}, "Tasset Falfell"),
        ({"data": "facts:Where is Ada? => Oldport"}, "Where is Ada?"),
        ({"data": "facts:# two\nWhere is Ada? => Oldport\n\nWho is Bo? => a baker"}, "Where is Ada? and 1 more"),
        ({"data": "tofu/forget10", "subject": None}, "tofu/forget10"),
        ({"data": "facts:"}, "facts:"),
    ],
)
def test_a_run_is_listed_and_offered_by_what_it_forgets(studio: Studio, spec: dict[str, str], about: str) -> None:
    run = studio.store.create(RunSpec(**spec), "me").id
    rows, _ = studio.store.rows(RunQuery(text=about.split()[0]))
    assert [row.about for row in rows] == [about]
    assert f"/ {about}<" in runs_table(rows, now=rows[0].created)
    assert (f", {about} (seed" in run_choice(rows[0])) == (about != spec["data"])
    studio.store.append(run, ev.Finished({"label": "unchanged", "summary": ""}, {"load": 1.0}, "weights"))
    assert f" on {about} (" in studio.run_choices(studio.attackable("me"))[0][0]


def test_people_read_titles_where_a_record_has_names(studio: Studio) -> None:
    run, titles = studio.store.create(RunSpec(method="npo"), "me").id, studio.titles()
    (found,), _ = studio.store.rows(RunQuery(ids=(run,)))
    row, title = titles.row(found), titles.methods["npo"]
    assert (row.name, row.method, row.target) == (title, title, titles.targets["demo"])
    assert titles.record(studio.store.get(run)).name == title
    studio.store.label(run, "me", name="A name of its own")
    (found,), _ = studio.store.rows(RunQuery(ids=(run,)))
    assert titles.row(found).name == "A name of its own"
    assert id_mark(run) == run[:6]
    assert id_mark("recorded-forgotten") == "recorded"


def test_the_columns_of_a_file_can_be_mapped(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("Frage,Antwort,Rest\nWo?,Bonn,x\n")
    assert studio.data.columns(str(path)) == ("Frage", "Antwort", "Rest")
    with pytest.raises(InputError, match="missing from these columns"):
        studio.data.preview(str(path), None)
    shown = studio.data.preview(str(path), "general", {"input": "Frage", "output": "Antwort"})
    assert shown["splits"]["forget"]["first"][0]["input"] == "Wo?"
    assert shown["splits"]["retain"]["rows"] > 100
    (tmp_path / "set").mkdir()
    path.rename(tmp_path / "set" / "forget.csv")
    assert studio.data.columns(str(tmp_path / "set")) == ("Frage", "Antwort", "Rest")
    assert studio.data.columns("facts:a => b") == studio.data.columns("demo") == ()


def test_a_target_says_what_it_needs_or_why_it_cannot_be(
    studio: Studio, public_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert studio.choices.target_note("demo") == ""
    bundled = studio.choices.target_note("demo:retain_only")
    assert "million parameters" in bundled
    assert "free here" in bundled
    assert "neither a model" in studio.choices.target_note("/no/<b>such")
    assert "<b>" not in studio.choices.target_note("/no/<b>such")
    assert "not one of the models offered here" in public_studio.choices.target_note("/etc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = studio.choices.target_note("lume-7b")
    assert "needs a GPU with 141 GB for full weights" in offline  # 124.0 GB: docs/scale.md
    assert "Hub cannot be reached" in offline


def test_an_interrupted_run_can_be_resumed_by_whoever_started_it(studio: Studio) -> None:
    record = studio.store.create(RunSpec(method="npo"), "mine")
    studio.store.append(record.id, ev.Failed("Lethe stopped.", kind="interrupted"))
    assert studio.may_resume(record.id, "mine")
    studio.worker.resume(record.id, "mine")
    assert studio.worker.wait(record.id)
    assert studio.store.get(record.id).status == "finished"
    assert not studio.may_resume(record.id, "mine")


def test_the_form_is_told_what_its_run_would_take(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearn_core.models.files import model_files

    told, fits = studio.choices.forecast("demo", "demo", "npo", {"steps": 5})
    assert fits
    assert "GB of memory" in told
    assert "Training it again without the data" in told
    assert "Prompt format: raw." in told
    form = ("demo", "demo", "npo", {"steps": 5}, None, 0, "auto", "", "")
    assert "Prompt format: qa." in studio.choices.forecast(*form, "qa")[0]
    assert studio.choices.spec(*form, "qa").prompt == "qa"
    refused, _ = studio.choices.forecast(*form, "chat")  # the bundled model has no chat template
    assert "le-problem" in refused
    assert "chat" in refused
    assert studio.choices.forecast("demo", "demo", "npo", {"steps": 50})[0] != told
    assert studio.choices.forecast("demo", "demo", "npo", {"steps": 0}) == ("", True)  # said at the field
    monkeypatch.setattr(model_files, "free_memory", lambda device: 1)
    told, fits = studio.choices.forecast("demo", "demo", "npo", {"steps": 5})
    assert "le-problem" in told
    assert not fits


@pytest.mark.parametrize("processes", [0, 2**31])
def test_an_estimate_for_no_number_of_devices_is_refused(studio: Studio, processes: int) -> None:
    with pytest.raises(InputError, match="no number of devices"):
        ModelEndpoints(studio).estimate(processes=processes)


def test_an_estimate_for_more_devices_than_there_are_positions(studio: Studio) -> None:
    many = ModelEndpoints(studio).estimate(data="facts:a => b", method="npo", processes=1_024)
    assert many["memory"] > 0


def test_the_page_offers_every_prompt_format() -> None:
    from unlearn_core.data.prompt_format import PROMPTS
    from unlearn_core.ui.panels.setup_panel import PROMPT_FORMATS

    assert tuple(value for _, value in PROMPT_FORMATS) == PROMPTS
