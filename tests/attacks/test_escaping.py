"""Markup, templates and formulas as name, prompt, answer, tag and error, put through everything that shows
them: pages, plots, reports, cards and tables hold them as text."""

from __future__ import annotations

import ast
import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.errors import InputError
from unlearn_core.evaluation.scores import Generation, Scores
from unlearn_core.report.export.bundle import bundle
from unlearn_core.report.export.card import model_card
from unlearn_core.report.export.hub_export import write_report
from unlearn_core.report.kit.csvfile import to_csv
from unlearn_core.report.run.live.curves import facts_figure, loss_figure
from unlearn_core.report.run.live.fade import replay
from unlearn_core.report.run.live.neighbourhood import neighbourhood, neighbourhoods, printed
from unlearn_core.report.run.live.progress import progress_panel
from unlearn_core.report.run.live.watched import alarm, singles, watch_panel
from unlearn_core.report.run.verdict import summary
from unlearn_core.report.runs.runs_table import csv_columns, csv_rows, runs_table
from unlearn_core.report.runs.settings_table import settings_table
from unlearn_core.report.runs.tradeoff import tradeoff_figure, tradeoff_table
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery
from unlearn_core.ui.tabs.data_tab import preview_table
from unlearn_core.ui.tabs.probe_tab import columns

UI = Path(__file__).parents[2] / "unlearn_core" / "ui"
PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<iframe srcdoc=x>",
    "<form action=//x><input>",
    "<details open ontoggle=alert(1)>",
    "<svg/onload=alert(1)>",
    "</p></div><style>*{display:none}</style>",
    "<a href=javascript:alert(1)>x</a>",
    '"><b onclick=x>',
    "{{7*7}} ${7*7}",
    "![x](https://evil.example/x)",
    "=cmd|' /C calc'!A1",
    "@SUM(A1)",
    "-2+3",
    "+1",
)
NEVER = {"script", "iframe", "img", "form", "style", "object", "embed", "link", "base"}


class Markup(HTMLParser):
    """What a browser would make of a text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attributes]


def is_inert(text: str, own: frozenset[str] = frozenset()) -> None:
    """No element or attribute that could do anything; `own` are those the page itself brings."""
    made = Markup(text)
    assert not (set(made.tags) & NEVER) - own
    assert not [name for name, _ in made.attributes if name.startswith("on")]
    links = [value for name, value in made.attributes if name in ("href", "src", "action")]
    assert not [link for link in links if link.startswith(("https://evil", "javascript:"))]


def told(store: RunStore, payload: str) -> tuple[str, RunState]:
    """A finished run in which every text is the payload."""
    spec = RunSpec(method="npo", data=f"facts:{payload} => {payload}", name=payload[:80])
    run_id = store.create(spec, "owner").id
    store.label(run_id, "owner", name=payload[:80], tags=[payload.replace(",", "")[:32]])
    facts = (ev.WatchedFact("a", payload, payload, 0.5, "forget"), ev.WatchedFact("b", payload, payload, 0.9, "retain"))
    events: list[ev.Event] = [
        ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu"),
        ev.Warned(payload),
        ev.FactProbe(0, facts),
        ev.StageProgress("unlearn", 0, 1, payload),
        ev.Step(1, 1, {"total": 1.0}, 1e-3, 1.0, 1.0, 1.0),
        ev.FactAnswers(1, ({"id": "a", "split": "forget", "text": payload},)),
        ev.FactProbe(1, facts),
        ev.CanaryAlert(1, payload, 0.9, 0.1, True),
        ev.Finished({"label": "forgotten", "summary": payload, "reasons": [payload]}, {}),
    ]
    story = RunState()
    for event in events:
        store.append(run_id, event)
        story.add(event)
    return run_id, story


@pytest.mark.parametrize("payload", PAYLOADS)
def test_whatever_people_write_is_shown_as_text(payload: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "home")
    run_id, story = told(store, payload)
    rows, _ = store.rows(RunQuery())
    first = {"id": payload, "task": "Task1", "input": payload, "output": payload}
    counted = {"rows": 1, "counts": {"Task1/question": 1}, "first": [first]}
    preview = {"splits": {"forget": counted, "retain": counted}, "other": {}, "notes": [payload]}
    shown = [
        progress_panel(story),
        watch_panel(story),
        singles(story),
        alarm(story),
        replay(story),
        summary(story),
        runs_table(rows, 1e9),
        settings_table(rows),
        tradeoff_table(rows, []),
        preview_table(preview),
        columns({"original": payload}, done=True),
    ]
    for html in shown:
        is_inert(html)
        assert "{{" not in html
    for figure in (
        loss_figure(story),
        facts_figure(story),
        tradeoff_figure(rows, [], "retain", {}),
    ):
        for words in texts(figure.to_dict()):
            assert "<" not in words.replace("<extra></extra>", "").replace("<br>", ""), words
    html, plain = write_report(store, run_id, tmp_path / "report")
    is_inert(html.read_text(encoding="utf-8"), own=frozenset({"style"}))
    assert payload in texts(json.loads(plain.read_text(encoding="utf-8")))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_subjects_of_a_map_are_named_as_text(payload: str) -> None:
    story, other = RunState(), RunState()
    row = Generation(payload, "forget", "Task1", "question", payload, payload, payload, 1.0)
    scores = Scores({}, [], None, None, None, None, -1.0, "w", generations=(row,)).to_json(generations=True)
    placed = tuple(
        ev.PlacedSubject(payload + name, "forget", 0.5, 0.5, payload, (payload,)) for name in ("", " 1", " 2")
    )
    for event in (ev.Score("original", scores), ev.SubjectsPlaced(placed, 1, 2, 0.5), ev.Score("unlearned", scores)):
        story.add(event)
        other.add(event)
    for html in (neighbourhood("run", story), neighbourhoods({"a": story, "b": other}), printed(story)):
        assert "le-mark" in html
        is_inert(html)
        assert "{{" not in html


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_card_holds_no_markup_and_a_table_no_formula(payload: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "home")
    run_id, _ = told(store, payload)
    card = model_card(bundle(store, run_id))
    prose = "".join(part for part in card.split("```")[::2])
    prose = "".join(part for part in prose.split("`")[::2])
    assert payload.startswith(("=", "@", "-", "+", "{")) or payload not in prose.partition("\n---\n")[2]
    is_inert(prose.replace("\\<", "&lt;").replace("\\>", "&gt;"))
    rows, _ = store.rows(RunQuery())
    for cells in csv.reader(io.StringIO(to_csv(csv_columns(rows), csv_rows(rows)))):
        for cell in cells:
            assert not cell.startswith(("=", "+", "@", "\t")), cell
            assert not cell.startswith("-") or cell[1:].replace(".", "").isdigit(), cell


def texts(value: Any) -> list[str]:
    """Every text in a figure."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [words for item in items for words in texts(item)]


def test_an_error_is_escaped_on_its_way_to_the_page() -> None:
    import gradio as gr

    from unlearn_core.ui.web.error_handling import guarded

    def fails() -> None:
        raise InputError("name", PAYLOADS[0], "is not a name", "Use letters.")

    with pytest.raises(gr.Error) as caught:
        guarded(fails)()
    is_inert(str(caught.value.message))
    assert "&lt;img" in str(caught.value.message)


def test_a_program_gets_an_error_as_it_is_written() -> None:
    """The page takes a message for HTML; who calls an endpoint reads text."""
    import gradio as gr

    from unlearn_core.ui.web.error_handling import QuietBlocks, guard

    def fails() -> dict[str, int]:
        raise InputError("name", '<img src=x onerror="alert(1)">', "is no name", "Use letters.")

    with QuietBlocks() as page:
        gr.api(fails, api_name="fails")
        gr.Button().click(fails, None, gr.JSON())
    guard(page)
    for listener, told in zip(page.fns.values(), (True, False), strict=True):
        with pytest.raises(gr.Error) as failed:
            listener.fn()
        assert ("<img" in failed.value.message) is told


@pytest.mark.parametrize("path", sorted(UI.glob("*.py")), ids=lambda path: path.stem)
def test_the_page_is_never_given_markup_made_by_hand(path: Path) -> None:
    """gr.HTML takes what `tag` made; messages take fixed words, counts, or what `text` escaped."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("gr.") and node.args):
            continue
        name, given = ast.unparse(node.func), node.args[0]
        assert name != "gr.Markdown", f"{path.name}:{node.lineno}"
        if name == "gr.HTML":
            assert not isinstance(given, ast.JoinedStr | ast.BinOp), f"{path.name}:{node.lineno}"
        if name in ("gr.Error", "gr.Info", "gr.Warning"):
            parts = given.values if isinstance(given, ast.JoinedStr) else [given]
            for part in parts:
                inner = ast.unparse(part.value if isinstance(part, ast.FormattedValue) else part)
                safe = inner.startswith(("count(", "str(text(", "str(tag(")) or isinstance(part, ast.Constant)
                assert safe or inner.isupper() or inner == "told", f"{path.name}:{node.lineno}: {inner}"
