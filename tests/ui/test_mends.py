"""The button inside an error: which errors have one, what it says, and that it is nothing but data."""

from __future__ import annotations

import pickle

import pytest

from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.jobs.worker import Worker
from unlearn_core.methods import build
from unlearn_core.report.kit.markup import tag
from unlearn_core.report.kit.mend import problem_box
from unlearn_core.report.run.outcome import outcome
from unlearn_core.runs.events import Failed, from_json, to_json
from unlearn_core.runs.failure import failed
from unlearn_core.runs.planning.costs import Cost, shortage
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.service.studio import Studio
from unlearn_core.training.records import StepDiverged
from unlearn_core.ui.common import problem
from unlearn_core.ui.panels.mend_panel import with_setting


def raised(call: object, *given: object, **named: object) -> LetheError:
    with pytest.raises(LetheError) as caught:
        call(*given, **named)  # type: ignore[operator]
    return caught.value


def test_what_the_form_refuses_says_how_the_page_can_mend_it(studio: Studio, public_studio: Studio) -> None:
    worker: Worker = public_studio.worker
    found = {
        "Put learning rate back": raised(build, "npo", {"learning_rate": 1e9}),
        "Use 0 as seed": raised(studio.choices.spec, "demo", "demo", "npo", {}, seed=1.5),
        "Use the bundled model": raised(worker.submit, RunSpec(target="HuggingFaceTB/SmolLM2-135M", data="demo")),
        "Open Data": raised(studio.data.columns, "no/such/file.jsonl"),
    }
    for words, error in found.items():
        box = problem_box(error)
        assert f">{words}</button>" in box
        assert error.mend.split(".")[0].replace("`", "") in box.striptags()


def test_a_run_too_large_is_offered_lora_or_a_smaller_batch() -> None:
    lora = Cost(1.0, 1.0, 9_000, 0.0, "cpu", parts={"optimiser": 8_000, "activations, logits, gradients": 10})
    batch = Cost(1.0, 1.0, 9_000, 0.0, "cpu", parts={"activations, logits, gradients": 8_000})
    hopeless = Cost(1.0, 1.0, 9_000, 0.0, "cpu", parts={"weights": 9_000})
    told = [shortage(cost, 4_000) for cost in (lora, batch, hopeless)]
    assert [error and error.action for error in told] == [("adapter", "lora"), ("batch_size", "half"), None]


def test_the_action_survives_the_runs_own_process_and_its_events() -> None:
    error = ResourceError("memory", "one sequence", "does not fit", "Use LoRA.", ("adapter", "lora"))
    assert pickle.loads(pickle.dumps(error)).action == ("adapter", "lora")
    diverged = pickle.loads(pickle.dumps(StepDiverged(3, "nan", None)))
    assert ">Halve the learning rate</button>" in problem_box(diverged)
    end = failed(error)
    assert from_json(to_json(end)) == end
    assert from_json({"event": "Failed", "message": "Of a version that knew no actions."}).action is None
    assert ">Train LoRA</button>" in outcome(RunState(end=end))
    assert "<button" not in outcome(RunState(end=Failed("Nothing to be done.")))


def test_no_text_of_an_error_becomes_markup() -> None:
    box = problem_box(InputError("<b>", "<i>", "is <u>", "<s>.", ('x" onclick="alert(1)', "<script>")))
    assert "<script" not in box
    assert '" onclick' not in box


def test_what_stands_between_backticks_is_drawn_as_code_in_box_and_message() -> None:
    error = InputError("rows.txt line 2", "x", "has no `=>` between", "Write `<b> => c`, or one ` alone.")
    for shown in (problem_box(error), problem("Not read", error).message):
        assert "<code>=&gt;</code> between" in shown
        assert "<code>&lt;b&gt; =&gt; c</code>, or one &#96; alone" in shown
    assert "`=>`" in str(error)  # of a terminal
    assert "<code>" not in tag("p", title=error)
    assert "<code>" in outcome(RunState(end=failed(error)))


def test_a_setting_is_put_back_halved_or_set_and_nothing_else_changes() -> None:
    before = {"batch_size": 9, "learning_rate": 1.0}
    assert with_setting("npo", before, "learning_rate", "default") == {"batch_size": 9}
    assert with_setting("npo", before, "batch_size", "half") == {"batch_size": 4, "learning_rate": 1.0}
    assert with_setting("npo", {"batch_size": 1}, "batch_size", "half") == {"batch_size": 1}
    assert with_setting("npo", before, "learning_rate", "half") == {"batch_size": 9, "learning_rate": 0.5}
    assert with_setting("npo", before, "steps", "30") == before | {"steps": 30}
    assert with_setting("npo", before, "no_such", "30") == before
    assert with_setting("no_such", before, "steps", "30") == before
