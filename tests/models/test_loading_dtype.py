"""In which type a model is loaded: what this machine is fast at, and what a run has kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unlearn_core.models import loading_dtype
from unlearn_core.models.adapters import apply_lora, lora_layers
from unlearn_core.models.artifacts import Adapter
from unlearn_core.models.files.adapter_folder import CONFIG, base_dtype_of
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.loading_dtype import LARGE, bfloat16_is_faster, default_dtype, matrix_rate
from unlearn_core.models.targets import load_target
from unlearn_core.service.answers import Answerer, original
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import MARKER

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("hardware", "times_as_fast", "faster"),
    [(True, 4.0, True), (True, 1.1, False), (True, 0.5, False), (False, 4.0, False)],
)
def test_a_cpu_takes_bfloat16_where_it_is_much_faster_at_it(
    monkeypatch: pytest.MonkeyPatch, hardware: bool, times_as_fast: float, faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    seconds = {torch.bfloat16: 1e-3 / times_as_fast, torch.float32: 1e-3}
    monkeypatch.setattr(loading_dtype, "_fastest_product", lambda dtype, times: seconds[dtype])
    bfloat16_is_faster.cache_clear()
    try:
        assert default_dtype(CPU, LARGE) == (torch.bfloat16 if faster else torch.float32)
        assert default_dtype(CPU, LARGE - 1) == torch.float32
    finally:
        bfloat16_is_faster.cache_clear()


def test_a_rate_is_one_that_this_machine_comes_to() -> None:
    assert 1e8 < matrix_rate(torch.float32) < 1e15


def test_what_a_run_kept_is_loaded_in_the_type_it_was_scored_in(
    saved_model: Callable[..., str], tmp_path: Path
) -> None:
    base = saved_model()
    model = load_target(base, dtype=torch.bfloat16).model
    before = weights_hash(model)
    artifact = Adapter(apply_lora(model, rank=4))
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.lora_B["lethe"].weight, std=0.05)
    artifact.settle()
    with artifact.as_saved():
        judged = weights_hash(model)
    artifact.save_adapter(tmp_path)
    folder = tmp_path / "lethe"
    record = json.loads((folder / CONFIG).read_text()) | {"base_model_name_or_path": base}
    (folder / CONFIG).write_text(json.dumps(record))
    assert base_dtype_of(folder) is None, "somebody else's adapter says nothing of the base"
    assert load_target(str(folder)).model.dtype == load_target(base).model.dtype == torch.float32

    (folder / MARKER).write_text("{}")
    kept = load_target(str(folder))
    assert (kept.model.dtype, kept.weights_hash) == (torch.bfloat16, judged)
    answers = Answerer(RunStore(tmp_path / "home"))
    beside = answers.model(original(base, "auto", str(folder)))
    assert (beside.model.dtype, beside.weights_hash) == (torch.bfloat16, before)
    again = tmp_path / "of another run"
    shutil.copytree(folder, again)
    assert answers.model(original(base, "auto", str(again))) is beside, "loaded once for all runs of one type"
