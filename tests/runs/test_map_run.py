"""The map in a whole run: placed before the training, asked on the way, kept with the run, and read without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unlearn_core import RunSpec, RunStore
from unlearn_core.report.export.bundle import bundle
from unlearn_core.report.export.hub_export import site_html
from unlearn_core.report.export.page import report_html
from unlearn_core.runs import events as ev
from unlearn_core.store.recorder import record


def test_a_run_places_its_subjects_asks_them_and_keeps_both(memorised: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    settings = {"learning_rate": 3e-2, "batch_size": 6}  # ruins everything within a few steps
    spec = RunSpec(method="grad_ascent", steps=10, settings=settings, target=memorised.model, data=memorised.data)
    events = list(record(spec, store))
    kinds = [type(event) for event in events]
    assert kinds.index(ev.SubjectsPlaced) < kinds.index(ev.Step) < kinds.index(ev.SubjectsAsked)
    run_id = store.list_runs()[0].id
    found = bundle(store, run_id)
    kept = found.story.placed
    assert kept == events[kinds.index(ev.SubjectsPlaced)]
    assert kept is not None
    assert {subject.split for subject in kept.subjects} == {"forget", "retain"}
    mapped = json.loads(json.dumps(found.to_json()))["neighbourhood"]
    first, last = mapped["moments"][0], mapped["moments"][-1]
    assert all(told == of for told, of in first["told"].values())  # the original knows it all by heart
    assert sum(told for told, _ in last["told"].values()) < sum(told for told, _ in first["told"].values())
    assert "le-map-drawing" in report_html(found)
    assert "le-map-drawing" in site_html(found)
    again = store.create(spec).id
    for event in record(spec, store, run_id=again):
        if isinstance(event, ev.SubjectsPlaced):
            break
    assert event == kept  # the same original, the same places
    store.close()
