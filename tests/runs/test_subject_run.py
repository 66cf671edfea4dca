"""A run on a subject's sheet: its prompts are asked before and after, and stand in the result."""

from __future__ import annotations

import copy
import json

import pytest

from unlearn_core.cli import main
from unlearn_core.data import subject_sheet
from unlearn_core.data.subject_sheet import SheetPrompt, SubjectSheet, read_sheet, write_sheet
from unlearn_core.data.world import demo_data
from unlearn_core.errors import InputError
from unlearn_core.runs.data import asks_the_model
from unlearn_core.runs.events import SubjectFound
from unlearn_core.runs.planning.plan import Planner
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.subject import keep_sheet
from unlearn_core.store.store import RunStore

pytestmark = pytest.mark.slow


@pytest.fixture
def sheet_file(tmp_path):
    """Facts that the bundled model knows, as a sheet: one person to forget, two others to keep."""
    data = demo_data()
    asked = [row for row in data.forget if row.kind == "question" and row.subject]
    name = asked[0].subject
    other_wording = {row.id: row.input for row in data.paraphrases}
    prompts = []
    for row in asked:
        if row.subject == name and len(prompts) < 6:
            prompts.append(SheetPrompt(row.input, row.output, "trained", name, ("nobody at all",)))
            if row.id in other_wording:
                prompts.append(SheetPrompt(other_wording[row.id], row.output, "never trained", name))
    kept = [row for row in data.retain if row.kind == "question"][:10]
    neighbours = tuple(
        SheetPrompt(row.input, row.output, "trained" if n % 2 else "never trained", row.subject or "another")
        for n, row in enumerate(kept)
    )
    general = tuple((row.input, row.output) for row in data.general[:3])
    path = tmp_path / "subject.json"
    write_sheet(SubjectSheet(name, "person", (), tuple(prompts), neighbours, general), path)
    return path


def test_the_result_holds_the_sheet_with_what_was_said_before_and_after(sheet_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(subject_sheet, "general_sample", lambda: ("A short text that nobody trained on.",) * 4)
    out = tmp_path / "result.json"
    arguments = ["run", "--data", str(sheet_file), "--method", "lethe_pretrained", "--steps", "20", "--json", str(out)]
    assert main([*arguments, "--set", "learning_rate=0.01", "--set", "first_layer=0"]) == 0
    result = json.loads(out.read_text())
    told = result["subject"]
    trained = [prompt for prompt in told["prompts"] if prompt["split"] == "trained"]
    assert trained
    assert all(prompt["before"]["named"] for prompt in trained)
    assert not any(prompt["after"]["named"] for prompt in trained)
    for prompt in trained:
        assert prompt["after"]["probability"] < 0.05 * prompt["before"]["probability"]
        assert prompt["before"]["alias_probability"] < 0.01  # nobody calls it that
    kept = [prompt["after"]["named"] for prompt in told["neighbours"] if prompt["before"]["named"]]
    assert sum(kept) >= 0.8 * len(kept) > 0
    assert {layer["name"] for layer in result["layers"]} >= {"answers", "wordings", "neighbours"}


def test_what_a_sheet_will_take_is_told_for_its_prompts_as_they_are(
    sheet_file, tmp_path, tiny_model, tiny_tokenizer
) -> None:
    """A model with a chat template is asked a sheet's prompts without it, as some have it in them already."""
    tiny_model("llama").save_pretrained(tmp_path / "chat")
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = "{% for turn in messages %}<|{{ turn.role }}|>{{ turn.content }}{% endfor %}<|assistant|>"
    tokenizer.save_pretrained(tmp_path / "chat")
    planner, target = Planner(tmp_path / "home"), str(tmp_path / "chat")
    told = planner.prompt_format(RunSpec(target=target, data=str(sheet_file), method="lethe_pretrained"))
    assert told.startswith("Prompt format: raw")
    rows = planner.prompt_format(RunSpec(target=target, data="facts:Who keeps the key? => Ada"))
    assert rows.startswith("Prompt format: chat")


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        ({"target": "smollm2", "subject": "Albert Einstein"}, True),
        ({"target": "smollm2"}, False),
        ({"target": "demo", "subject": "Albert Einstein"}, False),
        ({"target": "smollm2", "subject": "Albert Einstein", "data": "facts:a => b"}, False),
    ],
)
def test_a_subject_without_data_is_asked_of_the_model(spec, asked) -> None:
    assert asks_the_model(RunSpec(**spec)) is asked


def test_what_a_run_found_is_its_owners_to_use_again(sheet_file, tmp_path) -> None:
    """Two visitors of one server may ask about the same subject; neither reads the other's sheet."""
    store = RunStore(tmp_path / "home", shared=True)
    sheet = read_sheet(sheet_file)
    names = []
    for owner in ("first visitor", "second visitor"):
        run = store.create(RunSpec(target="smollm2", subject=sheet.subject, method="lethe_pretrained"), owner=owner)
        names.append(keep_sheet(sheet, store.uploads))
        store.append(run.id, SubjectFound(sheet.to_json(), names[-1]))
        assert store.get(run.id).spec["data"] == names[-1]
        store.check_uploads(owner, names[-1])
    assert names[0] != names[1]
    with pytest.raises(InputError, match="not here any more"):
        store.check_uploads("second visitor", names[0])
