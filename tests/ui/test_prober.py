"""The work behind the Probe tab: the neurons of a run whose weights were kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.errors import InputError
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.prober import Prober
from unlearn_core.service.studio import Studio
from unlearn_core.system.files import save_complete


def test_neurons_are_read_once_the_weights_are_kept(
    studio: Studio, tiny_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    target, data = tmp_path / "target", tmp_path / "data"
    tiny_model().save_pretrained(target)
    tiny_tokenizer.save_pretrained(target)
    data.mkdir()
    for split in ("forget", "retain"):
        rows = [{"input": f"Who is {split} {n}?", "output": f"{split} {n}"} for n in range(3)]
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = RunSpec(target=str(target), data=str(data))
    run = studio.store.create(spec, "me").id
    prober = Prober(studio)
    for place in ("", run):
        with pytest.raises(InputError, match="no unlearned model yet"):
            prober.traces(place, str(target))
    save_complete(
        studio.store.folder(run) / "weights",
        lambda to: shutil.copytree(target, to, dirs_exist_ok=True),
        {"spec": spec.to_json()},
    )
    studio.store.append(run, ev.Finished({"label": "unchanged", "summary": ""}, {"load": 1.0}, "weights"))
    found = prober.traces(run, str(target))
    assert {(trace.split, trace.distance) for trace in found} == {("forget", 0.0), ("retain", 0.0)}
