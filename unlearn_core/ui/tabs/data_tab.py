"""The data tab: look at the bundled world, name a folder or a Hub id, upload a file, or type facts in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from unlearn_core.data.rows.reader import SUFFIXES
from unlearn_core.errors import InputError, LetheError
from unlearn_core.evaluation.protocols.semeval import task_title
from unlearn_core.limits import FILE_BYTES, MIB
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.mend import problem_box
from unlearn_core.report.kit.samples import TYPED, sample_links
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.service.choices import DEMO_DATA, Brought
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, PRIVATE, TO_THE_TAB, heading, panel
from unlearn_core.ui.page import RunTab

_DEMO, _REF, _UPLOAD, _FACTS = _KINDS = ("Bundled world", "Folder, file or Hub id", "Upload", "Type facts")
_TITLES = {_UPLOAD: "Uploaded file", _FACTS: "Typed facts"}
_BRINGS, _GENERAL, _OTHER = "", "general", "other"
_RETAIN = [
    ("What the data brings, or the bundled people", _BRINGS),
    ("Bundled general facts", _GENERAL),
    ("Another file, folder or Hub id", _OTHER),
]
_BY_NAME = ""
_COLUMNS = {
    "input": "Prompt",
    "output": "Answer",
    "id": "Id",
    "task": "Task",
    "split": "Forget or retain",
}


@dataclass(frozen=True)
class _Form:
    """The inputs, in the order of `_Choice`."""

    kind: gr.Radio
    ref: gr.Textbox
    file: gr.File
    facts: gr.Textbox
    forms: gr.HTML  # beside an upload: what it may be
    example: gr.Button  # beside typed facts: two to start from
    retain: gr.Radio
    retain_ref: gr.Textbox
    mmlu: gr.Textbox
    kept: gr.State  # the upload last copied into the store: path and name
    columns: tuple[gr.Dropdown, ...]

    @property
    def inputs(self) -> list[Block]:
        return [
            self.kind,
            self.ref,
            self.file,
            self.facts,
            self.retain,
            self.retain_ref,
            self.mmlu,
            self.kept,
            *self.columns,
        ]


class _Choice:
    """What the form says."""

    def __init__(
        self,
        kind: str,
        ref: str,
        path: str | None,
        typed: str,
        retain: str,
        retain_ref: str,
        mmlu: str,
        kept: tuple[str, str],
        *columns: str | None,
    ) -> None:
        self.kind, self.path, self.typed, self.kept = kind, path, typed or "", kept
        self.ref, self.mmlu = (ref or "").strip(), (mmlu or "").strip()
        self.retain = (retain_ref or "").strip() if retain == _OTHER else retain
        if retain == _OTHER and not self.retain:
            raise InputError("retain", "", "is empty", "Name the retain set's file, folder or Hub id.")
        self.columns = {field: column for field, column in zip(_COLUMNS, columns, strict=True) if column}

    def data(self, studio: Studio, owner: str) -> str:
        """The `data` of a run spec; an upload is copied into the store once."""
        if self.kind == _REF:
            return self.ref
        if self.kind == _FACTS:
            return f"facts:{self.typed}"
        if self.kind == _DEMO:
            return "demo"
        if not self.path:
            raise InputError("file", "", "is not chosen yet", "Upload a file of rows.")
        if self.kept[0] != self.path:
            self.kept = (self.path, studio.data.keep_upload(Path(self.path), Path(self.path).name, owner))
        return self.kept[1]


def build_data_tab(studio: Studio, run: RunTab, tabs: gr.Tabs) -> None:
    """Choose and check data; a checked choice becomes the forget set of the main tab."""
    heading("What should be forgotten?", "Checked and counted before anything is trained.")
    with panel():
        form, mapping = _form(studio.public)
        with gr.Row():
            check = gr.Button("Check the data", scale=0, min_width=160)
            use = gr.Button("Use it as the forget set", variant="primary", scale=0, min_width=220, interactive=False)
    shown = gr.HTML(elem_id="le-preview")
    with gr.Row(elem_classes=["le-buttons"]):
        offer = gr.Button("Keep the bundled general facts", visible=False, size="sm", elem_id="le-offer-general")
    checked = gr.State({})

    def fields(chosen: str) -> tuple[object, ...]:
        visible = [gr.update(visible=chosen == name) for name in (*_KINDS[1:], _UPLOAD, _FACTS)]
        fresh = [gr.update(choices=_choices(()), value=_BY_NAME) for _ in _COLUMNS]
        return (
            *visible,
            gr.update(visible=chosen != _DEMO, value=_BRINGS),
            gr.update(visible=False),
            gr.update(interactive=False),
            gr.update(visible=False),
            "",
            gr.update(visible=False),
            *fresh,
        )

    def look(owner: str, target: str, *inputs: Any) -> tuple[object, ...]:
        """Everything the form names, read and checked; a mapping is offered where rows have columns."""
        names: tuple[str, ...] = ()
        found: Brought = {}
        missing_retain = False
        kept = inputs[7]
        try:
            choice = _Choice(*inputs)
            data = choice.data(studio, owner)
            kept = choice.kept
            names = studio.data.columns(data, owner)
            columns = {field: column for field, column in choice.columns.items() if column in names}
            preview = studio.data.preview(data, choice.retain or None, columns, choice.mmlu or None, owner, target)
            table = preview_table(preview)
            missing_retain = not preview["splits"]["retain"]["rows"]
            found = {"data": data, "retain_data": choice.retain, "columns": columns, "mmlu": choice.mmlu}
        except LetheError as error:
            table = problem_box(error)
        wanted = inputs[8:]
        dropdowns = [
            gr.update(choices=_choices(names), value=column if column in names else _BY_NAME) for column in wanted
        ]
        # The mapping is offered open where the rows have columns that could not be used as they are.
        opened = gr.update(visible=bool(names), open=bool(names and not found) or any(wanted))
        ready = gr.update(interactive=bool(found))
        return table, found, ready, gr.update(visible=missing_retain), kept, opened, *dropdowns

    def adopt(found: Brought, chosen: str) -> tuple[object, ...]:
        if "data" not in found:
            raise InputError("data", "", "has not been looked at yet", "Press Check the data first.")
        data = found["data"]
        title = shorten(data, 40) if chosen == _REF else _TITLES.get(chosen, chosen)
        choices = [DEMO_DATA] if data == "demo" else [DEMO_DATA, (title, data)]
        return gr.update(choices=choices, value=data), found, gr.Tabs(selected="run")

    form.kind.change(
        fields,
        form.kind,
        [
            form.ref,
            form.file,
            form.facts,
            form.forms,
            form.example,
            form.retain,
            form.retain_ref,
            use,
            offer,
            shown,
            mapping,
            *form.columns,
        ],
        **AT_ONCE,
    )
    form.retain.change(lambda how: gr.update(visible=how == _OTHER), form.retain, form.retain_ref, **AT_ONCE)
    asked = [run.session.owner, run.setup.target, *form.inputs]
    results = [shown, checked, use, offer, form.kept, mapping, *form.columns]
    for event in (check.click, form.file.upload, *(dropdown.input for dropdown in form.columns)):
        event(look, asked, results, **PRIVATE)
    offer.click(lambda: _GENERAL, None, form.retain, **AT_ONCE).then(look, asked, results, **PRIVATE)
    used = use.click(adopt, [checked, form.kind], [run.setup.data, run.setup.brought, tabs], **AT_ONCE)
    used.success(None, js=TO_THE_TAB, **AT_ONCE)


def _form(public: bool) -> tuple[_Form, gr.Accordion]:
    """Lay the inputs out; strangers may name nothing on this machine."""
    offered = [kind for kind in _KINDS if not (public and kind == _REF)]
    kind = gr.Radio(offered, value=_DEMO, label="Where it comes from")
    ref = gr.Textbox(
        label="Folder, file or Hub id",
        placeholder="data/semeval25 or owner/name@revision:forget05",
        visible=False,
        info="The organisers' layout, LUME, TOFU, or rows with id, input, output and task",
    )
    most = f", at most {FILE_BYTES // MIB} MB" if public else ""
    file = gr.File(
        label=f"A file of rows{most}",
        visible=False,
        elem_id="le-upload",
        file_types=[*SUFFIXES, ".txt"],
    )
    forms = gr.HTML(sample_links(), visible=False, elem_id="le-samples")
    facts = gr.Textbox(
        label="Facts, one a line: prompt => answer",
        lines=5,
        placeholder=TYPED,
        visible=False,
        elem_id="le-typed",
    )
    example = gr.Button("Fill in an example", size="sm", visible=False, scale=0, elem_id="le-example")
    example.click(lambda: TYPED, None, facts, **AT_ONCE)
    mapping = gr.Accordion("Which column is what", open=False, visible=False, elem_id="le-columns")
    with mapping, gr.Row():
        columns = tuple(
            gr.Dropdown(_choices(()), value=_BY_NAME, label=title, min_width=150) for title in _COLUMNS.values()
        )
    retain = gr.Radio(
        _RETAIN[:2] if public else _RETAIN,
        value=_BRINGS,
        label="Retain set",
        visible=False,
        info="What must be kept; measured and trained on",
    )
    retain_ref = gr.Textbox(label="Retain set: file, folder or Hub id", visible=False)
    mmlu = gr.Textbox(
        label="MMLU (optional)",
        visible=not public,
        placeholder="a folder with dev/ and test/, or cais/mmlu",
        info="Utility questions, five-shot; without them the data's own are asked",
    )
    form = _Form(kind, ref, file, facts, forms, example, retain, retain_ref, mmlu, gr.State(("", "")), columns)
    return form, mapping


def _choices(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("By its name", _BY_NAME), *((shorten(name, 40), name) for name in names)]


def preview_table(found: dict[str, Any]) -> Safe:
    """Counts and first rows of checked data."""
    notes = [tag("p", note, class_="le-warnings") for note in found["notes"]]
    return tag(
        "div",
        *(_split(name, part) for name, part in found["splits"].items()),
        tag("p", _others(found["other"]), class_="le-muted"),
        *notes,
        class_="le-card",
    )


def _split(name: str, part: dict[str, Any]) -> Safe:
    single = all(key.startswith("Task1/") for key in part["counts"])  # the task of rows that name none
    counts = ", ".join(f"{number:,} {_kind(key, single)}" for key, number in part["counts"].items())
    title = tag("h3", f"{name.capitalize()} set: {count(part['rows'], 'row')}")
    if not part["rows"]:
        return title
    shown = {"id": 24, "input": 220, "output": 160}  # characters of each
    rows = ([shorten(row[name], most) for name, most in shown.items()] for row in part["first"])
    first = table(("Id", "Input", "Gold answer"), rows, titled=False, class_="le-table le-rows")
    return join(title, tag("p", counts, class_="le-muted"), scrolled(first, f"First rows of the {name} set"))


def _kind(key: str, single: bool) -> str:
    task, kind = key.split("/")
    return f"{kind}s" if single else f"{kind}s of {task_title(task).lower()}"


def _others(other: dict[str, int]) -> str:
    titles = {
        "members": "member documents",
        "nonmembers": "never-trained documents",
        "questions": "utility questions",
        "paraphrases": "unseen phrasings",
        "holdout": "held-out rows",
        "general": "general rows",
        "neighbours": "neighbours",
    }
    return "Beside them: " + ", ".join(f"{number:,} {titles[name]}" for name, number in other.items()) + "."
