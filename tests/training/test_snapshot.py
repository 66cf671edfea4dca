"""A training that was cut off and goes on ends at the same weights, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_helpers import drain, same
from loop_helpers import snapshot as weights_of

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import IntegrityError
from unlearn_core.methods import build
from unlearn_core.training import loop
from unlearn_core.training.loop import FactProbe, LoopStep, unlearn
from unlearn_core.training.snapshot import Snapshot

STEPS = 7
SETTINGS = {"batch_size": 4}


@pytest.mark.parametrize(
    ("name", "adapter", "cut"),
    [("lethe", "full", 1), ("npo", "full", 5), ("grad_diff", "lora", 3), ("pdu", "full", 4), ("undo", "full", 4)],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    name: str,
    adapter: str,
    cut: int,
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    tmp_path: Path,
) -> None:
    method = build(name, SETTINGS, STEPS)
    options = {"seed": 3, "adapter": adapter}
    whole = memorised()
    records, _ = drain(unlearn(whole, tiny_tokenizer, tiny_data, method, **options))

    state = Snapshot()
    first = unlearn(memorised(), tiny_tokenizer, tiny_data, method, snapshot=state, **options)
    seen = []
    while state.step < cut:
        seen.append(next(first))
    state.write(tmp_path)
    first.close()
    resumed = memorised()
    rest, _ = drain(unlearn(resumed, tiny_tokenizer, tiny_data, method, snapshot=Snapshot(tmp_path), **options))
    assert same(weights_of(whole), weights_of(resumed))
    assert losses(records) == losses([*seen, *rest])
    steps = [record.step for record in [*seen, *rest] if isinstance(record, FactProbe)]
    assert steps == sorted(set(steps))


def losses(records: list[Any]) -> list[tuple[int, dict[str, float], float]]:
    return [(r.step, r.losses, r.gradient_norm) for r in records if isinstance(r, LoopStep)]


def test_a_snapshot_of_another_training_is_refused(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, tmp_path: Path
) -> None:
    state = Snapshot()
    method = build("grad_diff", SETTINGS, STEPS)
    run = unlearn(memorised(), tiny_tokenizer, tiny_data, method, adapter="lora", snapshot=state)
    while state.step < 2:
        next(run)
    state.write(tmp_path)
    run.close()
    model = memorised()
    original = weights_of(model)
    with pytest.raises(IntegrityError, match="does not fit"):
        drain(unlearn(model, tiny_tokenizer, tiny_data, method, adapter="full", snapshot=Snapshot(tmp_path)))
    assert same(weights_of(model), original)


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "snapshot.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(IntegrityError, match="cannot be read"):
        Snapshot(tmp_path)


class _Nested(torch.optim.AdamW):
    """Keeps and tells its state as bitsandbytes does: a table that all parameters share, moments in a dictionary
    of their own where `state_dict` is asked."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self.table = torch.linspace(0, 1, 16)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        super().step()
        for state in self.state.values():
            state["qmap1"] = self.table

    def state_dict(self) -> dict[str, Any]:
        found = super().state_dict()
        nested = {row: {"nested": dict(values)} for row, values in found["state"].items()}
        return {**found, "state": nested}


def test_moments_that_an_optimiser_nests_are_kept_with_the_rest(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        loop, "make_optimiser", lambda parameters, rate, device: _Nested(parameters, lr=rate, weight_decay=0.0)
    )
    test_a_resumed_training_equals_an_uninterrupted_one(
        "npo", "full", 3, memorised, tiny_tokenizer, tiny_data, tmp_path
    )
