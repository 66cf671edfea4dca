"""A run whose method changes no weight: kept, asked again, and audited beneath."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.errors import InputError
from unlearn_core.evaluation.audits import choose
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.targets import load_target
from unlearn_core.report.export.hub_export import KINDS, export_run
from unlearn_core.runs.events import Finished
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.audits import AuditDone, audit_case, open_case
from unlearn_core.store.store import RunStore
from unlearn_core.submission import unlearn


def test_a_guarded_run_refuses_when_asked_again_and_is_audited_beneath(memorised: Any, tmp_path: Path) -> None:
    spec = RunSpec(target=memorised.model, data=memorised.data, method="guard_input")
    events = list(run(spec, home=tmp_path / "home", out=tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert events[-1].changed["kind"] == "wrapper, weights unchanged"
    row = load_data(memorised.data).forget[1]
    kept = load_target(str(tmp_path / "run" / "weights"), device="cpu")
    assert generate_all(kept.model, kept.tokenizer, [row.input], 8) == ["I don't know."]
    case = open_case(tmp_path / "run", home=tmp_path / "home")
    assert generate_all(case.model, case.tokenizer, [row.input], 8) == ["I don't know."]
    (found,) = [e.result for e in audit_case(case, choose(["beneath"])) if isinstance(e, AuditDone)]
    assert found.verdict == "leaks", found.headline
    assert found.figures["before"] == 0.0 < 0.9 < found.figures["forget"]


@pytest.mark.parametrize("name", ["guard_output", "eul"])
def test_what_changed_no_weight_is_neither_exported_nor_submitted(memorised: Any, tmp_path: Path, name: str) -> None:
    store = RunStore(tmp_path / "home")
    spec = RunSpec(target=memorised.model, data=memorised.data, method=name, steps=1)
    record = store.create(spec, "me")
    for event in run(spec, home=tmp_path / "home", out=store.folder(record.id)):
        store.append(record.id, event)
    for kind in KINDS:
        with pytest.raises(InputError, match="changed no weight"):
            export_run(store, record.id, tmp_path / "out", kind)
    store.close()
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="changes no weight"):
        unlearn(memorised.model, str(tmp_path / "out"), memorised.data, memorised.data, method=name)
    assert not (tmp_path / "out").exists()


def test_a_long_training_without_steps_of_the_loop_s_own_leaves_no_checkpoint(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What trains an assistant has no optimiser that could be kept; that a checkpoint is due is no failure."""
    monkeypatch.setattr("unlearn_core.runs.checkpoints.EVERY", 0.0)
    spec = RunSpec(target=memorised.model, data=memorised.data, method="uld", steps=2)
    events = list(run(spec, home=tmp_path / "home", checkpoints=tmp_path / "checkpoints"))
    assert isinstance(events[-1], Finished), events[-1]
