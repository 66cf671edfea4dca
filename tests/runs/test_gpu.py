"""What the project does where a GPU is, or is said to be: shown on the CPU. The rest: training/test_pretend_gpu.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.cli import main
from unlearn_core.data.encode import Encoded
from unlearn_core.data.sources import load_data
from unlearn_core.models import hashing, targets
from unlearn_core.models.building import holding
from unlearn_core.models.inference import packed
from unlearn_core.models.inference.forward import device_of
from unlearn_core.models.loading_dtype import matrix_rate
from unlearn_core.runs import events
from unlearn_core.runs import run as run_module
from unlearn_core.runs.planning import costs
from unlearn_core.runs.planning.plan import plan
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.audits import AuditsPlanned, audit_case, open_case
from unlearn_core.system.machine import gpu
from unlearn_core.system.machine.memory import present_memory, release_memory
from unlearn_core.training.distributed import sharded
from unlearn_core.training.layout import pack_parts


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch that says there is a GPU, as ZeroGPU's does in every process, where what touches it fails."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    matrix_rate.cache_clear()
    yield
    matrix_rate.cache_clear()


def test_a_page_on_zerogpu_never_touches_the_gpu(said: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(target="demo", method="npo", steps=4)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    with pytest.raises((AssertionError, RuntimeError)):  # this build of torch has no GPU to ask
        plan(spec, tmp_path)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert plan(spec, tmp_path).seconds
    assert costs.RunMeter().cost(costs.device(None, tmp_path)).memory
    assert present_memory()
    assert targets.load_target("demo").model.device.type == "cpu"
    release_memory()


def test_memory_that_is_not_given_back_hides_nothing(said: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a recording that failed torch before 2.12 refuses to empty its cache."""

    def refuse() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    gpu.empty_cache()


def test_inputs_go_where_a_model_computes_and_not_where_its_weights_rest(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharded weights that rest on the host between turns; torch's meta device stands for the GPU."""
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    monkeypatch.setattr("torch.distributed.fsdp.fully_shard", lambda module, **_: module)
    model = tiny_model("llama")
    away = type(model.__class__.__name__, (type(model),), {"device": torch.device("meta")})
    home = model.__class__
    model.__class__ = away
    sharded.shard(model, sharded.settings())
    model.__class__ = home  # the weights are on the host again
    assert device_of(model).type == "meta"
    layout = pack_parts(model, {"forget": [Encoded((5, 6, 7), 1, 0), Encoded((8, 9), 1, 1)]}, 1, limit=1)
    tensors = (layout.labels_N, layout.row_N, layout.index_S, *(pack.input_ids_BT for pack in layout.packs))
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_weights_at_hand_are_not_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is under way holds the model of which the estimate speaks."""
    target = targets.load_target("demo")
    loaded = sum(p.numel() * p.element_size() for p in target.model.parameters())
    monkeypatch.setattr("unlearn_core.runs.planning.plan.resident_memory", lambda: loaded + 500_000_000)
    made = run_module._Run(RunSpec(steps=4), tmp_path, None, run_module.Control(), False, None)
    (told,) = made._estimated(target, load_data("demo"))
    assert isinstance(told, events.CostEstimate)
    assert told.cost["memory"] - sum(told.cost["parts"].values()) == 500_000_000


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, None), ({"attn_logit_softcapping": 50.0}, "capped"), ({"v_head_dim": 4}, "not as wide")],
)
def test_flat_attention_is_refused_where_it_would_compute_something_else(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], reason: str | None
) -> None:
    monkeypatch.setattr(packed, "tuned", lambda device: True)
    monkeypatch.setattr(packed, "_fault", lambda *_: None)
    model = tiny_model("llama")
    for name, value in settings.items():
        setattr(model.config, name, value)
    found = packed.why_padded(model)
    assert reason in found if reason else found is None


def test_sequences_longer_than_a_sliding_window_do_not_lie_flat(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows in a model whose layers see everything, and in one whose layers see eight positions."""
    monkeypatch.setattr(packed, "tuned", lambda device: True)
    monkeypatch.setattr(packed, "_fault", lambda *_: None)
    rows = [Encoded(tuple(range(5, 5 + length)), 1, length) for length in (12, 6, 9)]
    shapes = []
    for window in (None, 8):
        model = tiny_model("mistral", sliding_window=window)
        shapes.append(tuple(pack_parts(model, {"forget": rows}, 1).packs[0].input_ids_BT.shape))
    assert shapes == [(1, 27), (3, 12)]


def test_a_copy_holds_the_very_tensors_and_draws_nothing(tiny_model: Callable[..., Any]) -> None:
    """A copy of a large model that was allocated and drawn first took its memory twice, in float32."""
    model = tiny_model("llama", tie_word_embeddings=False).to(torch.bfloat16)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    made = holding(model, state)
    assert torch.equal(torch.get_rng_state(), before)
    held = made.state_dict()
    assert all(held[name].data_ptr() == value.data_ptr() for name, value in state.items())
    ids = torch.arange(8)[None]
    assert torch.equal(made(ids).logits, model(ids).logits)


def test_weights_are_hashed_once_a_load_and_once_a_training(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14 GB of a 7B model were read again for what was known."""
    read = hashing._tensors
    hashed: list[str] = []
    monkeypatch.setattr(hashing, "_tensors", lambda *given: (hashed.append("whole"), read(*given))[1])
    spec = RunSpec(target=memorised.model, data=memorised.data, method="npo", steps=2, adapter="full")
    last = list(run_module.run(spec, home=tmp_path / "home", out=tmp_path))[-1]
    assert isinstance(last, events.Finished), last
    assert len(hashed) == 2  # the original when it was loaded, and the unlearned one
    hashed.clear()
    weights = tmp_path / run_module.WEIGHTS
    case = open_case(weights, home=tmp_path / "home", target=memorised.model, data=memorised.data)
    planned = next(audit_case(case, []))
    assert isinstance(planned, AuditsPlanned)
    assert len(hashed) == 2  # the unlearned one, and the original beside it
    assert planned.weights_hash == json.loads((weights / "complete.json").read_text())["weights_hash"]


def test_an_estimate_of_an_adapter_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """LoRA takes no moments for the weights it leaves alone."""
    found = []
    for adapter in ("full", "lora"):
        assert main(["estimate", "--target", "lume-1b", "--adapter", adapter, "--on", "H200 141GB", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    full, lora = found
    assert lora["memory"] < full["memory"]
