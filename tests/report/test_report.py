"""The report, its JSON and the model card: offline, whole, escaped, and enough to repeat the run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from golden_page import assert_golden

from unlearn_core.errors import InputError, IntegrityError, ResourceError
from unlearn_core.evaluation.scores import TERM_NAMES
from unlearn_core.report.export.bundle import RunReport, bundle
from unlearn_core.report.export.card import model_card
from unlearn_core.report.export.hub_export import export_run, push_run, site_html, write_report, write_site
from unlearn_core.report.export.page import report_html
from unlearn_core.report.kit.csvfile import csv_link, to_csv
from unlearn_core.report.kit.figure import figure
from unlearn_core.report.kit.svg import figure_svg
from unlearn_core.report.run.live.curves import facts_figure, loss_figure
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.store import RunRecord, RunStore
from unlearn_core.system.files import save_complete

EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(1)> [a](http://evil) {{7*7}}"


@pytest.fixture
def run(store: RunStore, story: Any) -> str:
    """A finished run whose texts are hostile, with weights, and an audit."""
    spec = RunSpec(method="npo", settings={"beta": 0.5}, seed=3, name=EVIL[:60], data=f"facts:{EVIL} => {EVIL}")
    made = store.create(spec)
    store.append(made.id, ev.RunStarted(spec.to_json(), ("load", "unlearn"), 3, "cpu", versions={"torch": "9.9"}))
    store.append(made.id, ev.Warned(EVIL))
    for model in ("original", "unlearned"):
        record = story.scores[model].to_json(generations=True)
        record["generations"] = [{**row, "output": EVIL, "input": EVIL} for row in record["generations"]]
        store.append(made.id, ev.Score(model, record))
    for event in (*story.probes, *story.steps):
        store.append(made.id, event)
    store.append(made.id, ev.CostEstimate({"seconds": 5.0, "flops": 2e12, "memory": 410_000_000}))
    cost = {"seconds": 3.5, "flops": None, "memory": 390_000_000}
    store.append(made.id, ev.Finished(story.verdict, {"load": 1.0, "unlearn": 2.5}, "weights", cost=cost))
    audit = {
        "name": "relearning",
        "verdict": "leaks",
        "headline": EVIL,
        "figures": {"auc": 0.5},
        "seconds": 2.0,
    }
    (store.folder(made.id) / "audits.json").write_text(json.dumps({"results": {"relearning": audit}}))
    save_complete(store.folder(made.id) / "weights", _weights, {})
    return made.id


def _weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"w" * 64)
    (folder / "config.json").write_text("{}")
    (folder / "adapter" / "lethe").mkdir(parents=True)
    (folder / "adapter" / "lethe" / "adapter_config.json").write_text('{"base_model_name_or_path": "/secret/place"}')
    (folder / "adapter" / "lethe" / "adapter_model.safetensors").write_bytes(b"a" * 16)


@pytest.fixture
def plain(story: RunState) -> RunReport:
    """A finished run with nothing hostile in it, of a day and a name that stay."""
    spec = RunSpec(method="npo", settings={"beta": 0.5}, seed=3, name="First try").to_json()
    seconds = {"load": 1.0, "unlearn": 2.5}
    cost = {"seconds": 3.5, "flops": None, "memory": 390_000_000}
    verdict = story.verdict
    story.started = ev.RunStarted(spec, ("load", "unlearn"), 3, "cpu", versions={"torch": "9.9"})
    story.add(ev.Warned("Synthetic: every person is invented."))
    story.add(ev.CostEstimate({"seconds": 5.0, "flops": 2e12, "memory": 410_000_000}))
    story.add(ev.Finished(verdict, seconds, cost=cost))
    record = RunRecord("golden-run-00001", spec, "finished", 1767225600.0, verdict=verdict, seconds=seconds)
    figures = {"forget": 0.31, "holdout": 0.02, "retain_only": 0.05}
    audit = {"name": "relearning", "verdict": "leaks", "headline": "31% come back.", "figures": figures, "seconds": 3.0}
    return RunReport(replace(record, tags=("first",)), story, (audit,))


def test_the_words_of_report_and_result_page(plain: RunReport) -> None:
    assert_golden("run_report", report_html(plain))
    assert_golden("site", site_html(plain))
    card = model_card(plain).partition("\n---\n")[2]  # what precedes it is metadata in the Hub's own layout
    assert_golden("model_card", card.replace("\n", "<p>"))


class Page(HTMLParser):
    """What a browser would fetch, and which elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_the_report_is_one_file_that_asks_for_nothing(store: RunStore, run: str, tmp_path: Path) -> None:
    html, plain = write_report(store, run, tmp_path / "out")
    text = html.read_text()
    page = Page()
    page.feed(text)
    assert "Content-Security-Policy" in text
    assert all(link.startswith(("data:text/csv", "#")) for link in page.fetched)  # the numbers behind the charts
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert page.tags.count("svg") >= 2
    assert EVIL not in text
    assert json.loads(plain.read_text())["spec"]["settings"] == {"beta": 0.5}
    assert text.count("<tr") > 14


def test_the_json_holds_what_the_page_shows_and_repeats_the_run(store: RunStore, run: str) -> None:
    told = bundle(store, run).to_json()
    assert RunSpec.from_json(told["spec"]).seed == 3
    assert set(told["scores"]) == {"original", "unlearned"}
    assert told["audits"][0]["name"] == "relearning"
    assert told["cost"]["steps"] == 3
    assert told["cost"]["seconds"] == {"load": 1.0, "unlearn": 2.5}
    assert told["samples"][0]["answers"]["unlearned"]["output"] == EVIL
    json.dumps(told, allow_nan=False)


def test_a_run_without_an_end_has_a_report_too(store: RunStore, tmp_path: Path) -> None:
    made = store.create(RunSpec(method="npo"))
    html, _ = write_report(store, made.id, tmp_path)
    assert "it has no verdict" in html.read_text()


def test_the_page_for_a_static_host_is_the_result_page_in_one_file(store: RunStore, run: str, tmp_path: Path) -> None:
    text = write_site(store, run, tmp_path / "made" / "site").read_text()
    assert (tmp_path / "made" / "site" / "index.html").is_file()
    page = Page()
    page.feed(text)
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith(("data:text/csv", "#")) for link in page.fetched)
    assert EVIL not in text


def test_audits_as_the_audit_record_writes_them_are_read(store: RunStore, run: str) -> None:
    record = {
        "status": "finished",
        "results": {"gcg": {"name": "gcg", "verdict": "clean", "headline": "0 of 9"}},
    }
    (store.folder(run) / "audits.json").write_text(json.dumps(record))
    assert [row["name"] for row in bundle(store, run).audits] == ["gcg"]
    (store.folder(run) / "audits.json").write_text("{half")
    assert bundle(store, run).audits == ()


def test_figures_become_valid_svg_with_their_names(story: Any) -> None:
    for shown, lines in ((loss_figure(story), 3), (facts_figure(story), 3)):
        drawn = ElementTree.fromstring(figure_svg(shown))
        assert drawn.get("aria-label") == shown["layout"]["meta"]
        assert len(drawn.findall("path")) == lines
        for node in drawn.iter():
            assert "nan" not in " ".join(node.attrib.values()).lower()
    assert "nothing was recorded" in figure_svg(figure([], "loss", "Loss"))


def test_the_card_has_metadata_the_hub_reads(store: RunStore, run: str) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card(bundle(store, run)))
    assert card.data.library_name == "transformers"
    assert card.data.base_model is None  # `demo` is no Hub id
    results = {row.metric_type: row.metric_value for row in card.data.eval_results}
    assert results["final_score"] == 0.5
    assert results["utility"] == 0.7
    assert set(TERM_NAMES) <= set(results)
    outside = re.sub(r"```.*?```", "", card.text, flags=re.DOTALL)  # a fenced block is inert
    assert "<script>" not in outside
    assert "](http" not in outside


def test_weights_are_exported_whole_with_card_and_report(store: RunStore, run: str, tmp_path: Path) -> None:
    out = export_run(store, run, tmp_path / "there" / "model")
    names = {path.name for path in out.iterdir()}
    assert names == {
        "model.safetensors",
        "config.json",
        "README.md",
        "lethe_report.html",
        "lethe_report.json",
    }
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    with pytest.raises(InputError, match="there already"):
        export_run(store, run, out)


def test_an_adapter_is_exported_without_this_machines_paths(store: RunStore, run: str, tmp_path: Path) -> None:
    out = export_run(store, run, tmp_path / "adapter", "adapter")
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "demo"
    assert (out / "adapter_model.safetensors").exists()
    assert "library_name: peft" in (out / "README.md").read_text()


def test_what_cannot_be_exported_says_why(store: RunStore, tmp_path: Path, run: str) -> None:
    bare = store.create(RunSpec()).id
    with pytest.raises(IntegrityError, match="missing"):
        export_run(store, bare, tmp_path / "a")
    with pytest.raises(InputError, match="cannot be exported"):
        export_run(store, run, tmp_path / "a", "everything")
    save_complete(store.folder(bare) / "weights", lambda f: (f / "x").write_bytes(b"1"), {})
    with pytest.raises(InputError, match="lora"):
        export_run(store, bare, tmp_path / "a", "adapter")


class FakeHub:
    """Takes what HfApi takes and keeps it in memory."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.repos, self.files = error, {}, {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool, repo_type: str) -> None:
        if self.error:
            raise self.error
        self.repos[repo_id] = private

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        assert repo_id in self.repos
        self.files = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}
        return SimpleNamespace(repo_url=f"https://hub.test/{repo_id}")


def test_a_run_is_pushed_with_its_card(store: RunStore, run: str) -> None:
    hub = FakeHub()
    assert push_run(store, run, "me/gone", api=hub) == "https://hub.test/me/gone"
    assert hub.repos == {"me/gone": True}
    assert hub.files["model.safetensors"] == b"w" * 64
    assert b"model-index" in hub.files["README.md"]


def test_the_hubs_refusals_are_words(store: RunStore, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    httpx = import_module(HfHubHTTPError.__bases__[0].__module__.split(".")[0])  # the client that it is built on
    with pytest.raises(ResourceError, match="cannot be reached"):
        push_run(store, run, "me/gone", api=FakeHub(httpx.ConnectError("no route")))
    with pytest.raises(ResourceError, match="cannot be reached"):
        push_run(store, run, "me/gone", api=FakeHub(OfflineModeIsEnabled("offline")))
    with pytest.raises(InputError, match="owner/name"):
        push_run(store, run, "no name", api=FakeHub(HFValidationError("bad")))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match="HF_TOKEN"):
        push_run(store, run, "me/gone")


def test_csv_runs_nothing_in_a_spreadsheet() -> None:
    table = to_csv(["name", "score"], [["=1+1", -0.5], ["@x", None], ['a,b"c', 1], ["-2", True]])
    assert table.splitlines() == ["name,score", "'=1+1,-0.5", "'@x,", '"a,b""c",1', "'-2,True"]
    link = csv_link("a.csv", ["x"], [["<b>"]])
    assert re.search(r'href="data:text/csv[^"<>]*"', link)
