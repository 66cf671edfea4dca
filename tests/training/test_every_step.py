"""What a step of every trained method must not depend on, and that it lowers what it minimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import Edit
from unlearn_core.methods.capabilities import trains
from unlearn_core.training import layout, loop, packing
from unlearn_core.training.records import LoopStep

pytestmark = pytest.mark.slow

TRAINED = [name for name, cls in methods.REGISTRY.items() if not issubclass(cls, Edit)]
ATTACKED = ("adv_ga", "adv_npo", "lat")  # the attack starts at random for each step and place in the batch
ALL_ROWS = {"batch_size": 16, "learning_rate": 1e-3}  # every step sees the whole forget set
OWN: dict[str, dict[str, Any]] = {
    "sugd": {"num_chunks": 1},
    "agad": {"num_chunks": 1, "ascent_share": 0.5},
    "lethe": {"batch_size": 32},  # documents too
    "ties_merge": {"learning_rate": 1.0},  # its slopes are small, of sequence means behind a fresh adapter
    "jensun": {"learning_rate": 1.0},  # its slope fades where the refusal is unlikely
    "adv_ga": {"rounds": 1},
    "adv_npo": {"rounds": 1},
    "lat": {"rounds": 1},
    "sam": {"learning_rate": 0.1},  # by heart, the slope at the start is too small for a float32 loss to show
}
# Phases of two steps each, so that the first two minimise the same.
STEPS = {"agad": 4, "ties_merge": 4, "undo": 5}


@pytest.mark.parametrize("name", TRAINED)
def test_a_small_step_lowers_the_loss_whatever_order_packing_and_pieces(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain gradient steps: the second finds a lower total, the same seed gives the same weights bit for
    bit, and the first has the same losses and gradient with its rows reversed, padded and five at a time."""
    monkeypatch.setattr(loop, "make_optimiser", lambda parameters, rate, device: torch.optim.SGD(parameters, rate))
    method = methods.build(name, {**ALL_ROWS, **OWN.get(name, {})}, steps=STEPS.get(name, 2))

    def steps(count: int, **own: Any) -> tuple[list[LoopStep], Any]:
        model, found = memorised(), []
        run = loop.unlearn(model, tiny_tokenizer, tiny_data, method, probe_ids=(), **own)
        for record in run:
            if isinstance(record, LoopStep):
                found.append(record)
            if len(found) == count:
                break
        weights = snapshot(model)
        run.close()
        return found, weights

    (first, second), weights = steps(2)
    if name not in ATTACKED:
        assert second.losses["total"] < first.losses["total"]
    _, again = steps(2)
    assert same(weights, again)
    if method.traits.adapter != "lora":
        before, depth = snapshot(memorised()), 2
        changed = {key for key in before if not torch.equal(weights[key], before[key])}
        assert changed
        assert all(trains(method, key, depth) for key in changed if key != "lm_head.weight")  # tied
    if name not in ATTACKED:
        ordered = loop.BatchSampler.step
        monkeypatch.setattr(
            loop.BatchSampler, "step", lambda feed, n: {part: rows[::-1] for part, rows in ordered(feed, n).items()}
        )
    monkeypatch.setattr(layout, "can_pack", lambda model: False)
    (other,), _ = steps(1, micro_batch=5)
    assert other.losses == pytest.approx(first.losses, rel=1e-3, abs=1e-5)
    assert other.gradient_norm == pytest.approx(first.gradient_norm, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in TRAINED if methods.REGISTRY[name].traits.additive])
def test_a_step_taken_in_pieces_is_the_same_step(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = methods.build(name, ALL_ROWS, steps=1)

    def taken(piece_tokens: int) -> tuple[int, LoopStep]:
        monkeypatch.setattr(packing, "ACCUMULATION_TOKENS", piece_tokens)
        passes = []
        monkeypatch.setattr(loop, "gradients", lambda *given: passes.append(1) or packing.gradients(*given))
        run = loop.unlearn(memorised(), tiny_tokenizer, tiny_data, method, probe_ids=())
        step = next(record for record in run if isinstance(record, LoopStep))
        run.close()
        return len(passes), step

    (one, whole), (several, pieces) = taken(100_000), taken(40)
    assert one == 1
    assert several > 2
    assert pieces.tokens == whole.tokens
    assert pieces.losses == pytest.approx(whole.losses, rel=1e-4, abs=1e-6)
    assert pieces.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
