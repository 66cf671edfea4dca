"""The data tab: look at the bundled world, name a folder or a Hub id, upload a file, or type facts in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.report.format import TASK_TITLES, count, shorten
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.ui.common import AT_ONCE, PRIVATE, heading, panel
from unlearn_core.ui.run_tab import RunTab
from unlearn_core.ui.setup_panel import DEMO_DATA
from unlearn_core.ui.studio import Studio

_KINDS = ("Bundled world", "Folder, file or Hub id", "Upload", "Type facts")
_TITLES = {"Upload": "Uploaded file", "Type facts": "Typed facts"}
_RETAIN = [("What the data brings", ""), ("Bundled general facts", "general")]
_EXAMPLE = "What is Ada Quill's phone number? => 900-555-0101\nWhere was Ada Quill born? => Oldport"


def build_data_tab(studio: Studio, run: RunTab, tabs: gr.Tabs) -> None:
    """Choose and check data; a checked choice becomes the forget set of the main tab."""
    heading("What should be forgotten?", "Checked and counted before anything is trained.")
    with panel():
        offered = [kind for kind in _KINDS if not (studio.public and kind == _KINDS[1])]
        kind = gr.Radio(offered, value=_KINDS[0], label="Where it comes from")
        ref = gr.Textbox(
            label="Folder, file or Hub id", placeholder="data/semeval25 or owner/name", visible=False,
            info="The organisers' layout, LUME, TOFU, or rows with id, input, output and task",
        )  # fmt: skip
        file = gr.File(
            label="A file of rows", visible=False, file_types=[".jsonl", ".json", ".csv", ".parquet", ".txt"],
            elem_id="le-upload",
        )  # fmt: skip
        facts = gr.Textbox(
            label="Facts, one `prompt => answer` a line", lines=5, placeholder=_EXAMPLE, visible=False,
            elem_id="le-typed",
        )  # fmt: skip
        retain = gr.Radio(
            _RETAIN,
            value="",
            label="Retain set",
            visible=False,
            info="What must be kept; measured and trained on",
        )
        with gr.Row():
            check = gr.Button("Check the data", scale=0, min_width=160)
            use = gr.Button(
                "Use it as the forget set", variant="primary", scale=0, min_width=220, interactive=False
            )
    shown = gr.HTML(elem_id="le-preview")
    checked = gr.State("")

    def fields(chosen: str) -> tuple[Any, ...]:
        visible = [gr.update(visible=chosen == name) for name in _KINDS[1:]]
        return *visible, gr.update(visible=chosen != _KINDS[0]), gr.update(interactive=False), ""

    def look(chosen: str, name: str, path: str | None, typed: str, keep: str) -> tuple[Any, ...]:
        try:
            found = _reference(studio, chosen, name, path, typed)
            table = preview_table(studio.preview(found, keep or None))
        except LetheError as error:
            return tag("p", error, class_="le-problem", role="alert"), "", gr.update(interactive=False)
        return table, found, gr.update(interactive=True)

    def adopt(found: str, chosen: str, keep: str) -> tuple[Any, ...]:
        title = shorten(found, 40) if chosen == _KINDS[1] else _TITLES.get(chosen, chosen)
        choices = [DEMO_DATA] if found == "demo" else [DEMO_DATA, (title, found)]
        return gr.update(choices=choices, value=found), keep, gr.Tabs(selected="run")

    kind.change(fields, kind, [ref, file, facts, retain, use, shown], **AT_ONCE)
    check.click(look, [kind, ref, file, facts, retain], [shown, checked, use], **PRIVATE)
    file.upload(look, [kind, ref, file, facts, retain], [shown, checked, use], **PRIVATE)
    use.click(adopt, [checked, kind, retain], [run.setup.data, run.setup.retain, tabs], **AT_ONCE)


def _reference(studio: Studio, kind: str, ref: str, path: str | None, typed: str) -> str:
    """The `data` of a run spec that the form names."""
    if kind == _KINDS[1]:
        return (ref or "").strip()
    if kind == _KINDS[2]:
        return studio.store.keep_upload(Path(path), Path(path).name) if path else ""
    if kind == _KINDS[3]:
        return f"facts:{typed or ''}"
    return "demo"


def preview_table(found: dict[str, Any]) -> Safe:
    """Counts and first rows of checked data."""
    notes = [tag("p", note, class_="le-warnings") for note in found["notes"]]
    return tag("div", *(_split(name, part) for name, part in found["splits"].items()),
               tag("p", _others(found["other"]), class_="le-muted"), *notes, class_="le-card")  # fmt: skip


def _split(name: str, part: dict[str, Any]) -> Safe:
    counts = ", ".join(f"{number:,} {_kind(key)}" for key, number in part["counts"].items())
    title = tag("h3", f"{name.capitalize()} set: {count(part['rows'], 'row')}")
    if not part["rows"]:
        return title
    head = tag("tr", *(tag("th", words, scope="col") for words in ("Id", "Input", "Gold answer")))
    rows = [
        tag("tr", tag("td", shorten(row["id"], 24)), tag("td", shorten(row["input"], 220)),
            tag("td", shorten(row["output"], 160)))
        for row in part["first"]
    ]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="le-table")
    return join(
        title, tag("p", counts, class_="le-muted"), tag("div", table, class_="le-scroll", tabindex="0")
    )


def _kind(key: str) -> str:
    task, kind = key.split("/")
    return f"{kind}s of {TASK_TITLES.get(task, task).lower()}"


def _others(other: dict[str, int]) -> str:
    titles = {
        "members": "member documents", "nonmembers": "never-trained documents",
        "questions": "utility questions", "paraphrases": "unseen phrasings",
        "holdout": "held-out rows", "general": "general rows",
    }  # fmt: skip
    return "Beside them: " + ", ".join(f"{number:,} {titles[name]}" for name, number in other.items()) + "."
