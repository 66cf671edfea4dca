"""Recipes, masks and attacks against their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import RowKind, RowPart, StepBatch
from unlearn_core.methods.capabilities import LatentAttack
from unlearn_core.methods.losses import weighted_ascent
from unlearn_core.methods.objectives.global_weight import PRESETS
from unlearn_core.methods.objectives.recipes import retain_multiplier
from unlearn_core.methods.objectives.weighted import sensitivity
from unlearn_core.methods.wrappers import attribution, mix_with_noise, top_share
from unlearn_core.models.inference.forward import AnswerPredictions, mean_per_row, token_nll
from unlearn_core.training.latent import find_shift
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import unlearn
from unlearn_core.training.packing import head_of, pack_outputs
from unlearn_core.training.records import LoopStep
from unlearn_core.training.sharpness import perturbed


def part(count: int, token: int = 5) -> RowPart:
    rows = tuple(Encoded((1, 2, token, 7), 2, n) for n in range(count))
    return RowPart(rows, (RowKind("Task1", "question"),) * count)


@pytest.mark.parametrize("name", ["sugd", "agad"])
@pytest.mark.parametrize("steps", [1, 2, 5, 17, 60])
def test_phases_add_up_and_chunks_are_a_partition(name: str, steps: int) -> None:
    method: Any = methods.build(name, {"num_chunks": 4}, steps=steps)
    phases = method.phases({"forget": part(10), "retain": part(30)}, 0)
    assert sum(phase.method.steps for phase in phases) == steps
    assert all(phase.method.steps for phase in phases)
    chunks = [row for phase in phases for row in phase.rows.get("forget", ())]
    if chunks:
        assert sorted(chunks) == list(range(10))


def test_sugd_goes_through_the_retain_set_before_it_repeats() -> None:
    """Four chunks of 3 or 2 with 7 retain rows each: 14 or 21 of 70 at a time, 70 in all."""
    phases = methods.build("sugd", {"num_chunks": 4}).phases({"forget": part(10), "retain": part(70)}, 0)
    assert sorted(row for phase in phases for row in phase.rows["retain"]) == list(range(70))


def test_the_multiplier_of_the_constrained_update() -> None:
    """0.3 * 6^0 + 0.8 = 1.1, raised to 1.2; 0.3 * 6^0.5 + 0.8 = 1.53; 0.3 * 6 + 0.8 = 2.6, cut to 2.3."""
    assert [retain_multiplier(rise) for rise in (0.0, 0.5, 1.0, 1e9)] == [1.2, 1.5, 2.3, 2.3]


def test_only_early_mlps_train_under_the_constraint() -> None:
    method = methods.build("constrained_mlp", {"depth": 0.5})
    assert method.trains("model.layers.1.mlp.up_proj.weight", 4)
    for name in (
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "lm_head.weight",
    ):
        assert not method.trains(name, 4)


def test_sensitivity_by_hand() -> None:
    """Token 5 only in forget answers, 6 only in retain answers, 7 in both alike."""
    weight_V = sensitivity(part(2, 5), part(9, 6), 10)
    assert weight_V[5:8].tolist() == [1.0, 0.0, 0.5]


def test_equal_weights_are_gradient_ascent_and_scale_does_not_matter() -> None:
    nll_N = torch.tensor([1.0, 3.0])
    assert weighted_ascent(nll_N, torch.full((2,), 0.3)).item() == pytest.approx(-2.0)
    assert weighted_ascent(nll_N, torch.tensor([1.0, 0.0])).item() == pytest.approx(-1.0)


def test_attribution_by_hand() -> None:
    """|(2 - 3 / 0.5) * 0.25| = 1."""
    score = attribution(torch.tensor([2.0]), torch.tensor([0.25]), torch.tensor([3.0]), 0.5)
    assert score.tolist() == [1.0]


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_mask_keeps_its_share_of_the_highest_scores(share: float) -> None:
    scores = {"a": torch.rand(30, 2), "b": torch.rand(40)}
    mask = top_share(scores, share)
    flat = torch.cat([scores[name][mask[name]] for name in scores])
    assert len(flat) == round(100 * share)
    rest = torch.cat([scores[name][~mask[name]] for name in scores])
    assert not len(rest) or rest.max() <= flat.min()


def test_the_attack_stays_in_its_radius_and_leaves_gradients_alone(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    rows = [Encoded(tuple(range(5, 12)), 3, 0), Encoded(tuple(range(20, 25)), 2, 1)]
    shift_MD = find_shift(model, rows, 1, LatentAttack(0, 2.0, 4), seed=0)
    assert shift_MD.shape == (12, 32)
    assert all(own.norm() <= 2.0 + 1e-4 for own in shift_MD.split([7, 5]))
    assert all(p.grad is None for p in model.parameters())


def test_a_preset_brings_its_own_rate_unless_one_is_given() -> None:
    assert methods.build("global_weight").learning_rate == PRESETS["careful"][0]
    assert methods.build("global_weight", {"preset": "careless"}).learning_rate == PRESETS["careless"][0]
    assert methods.build("global_weight", {"learning_rate": 1e-5}).learning_rate == 1e-5


def test_sugd_of_a_set_against_itself_is_nothing_at_equal_factors() -> None:
    """Sequence means of lengths 1 and 2; the other factor is the difference: (2 - 1) mean NLL / 2."""
    part = AnswerPredictions(torch.randn(3, 5), torch.tensor([0, 3, 1]), torch.tensor([0, 1, 1]), torch.arange(2))
    mean = mean_per_row(token_nll(part), part).mean().item()
    for factor in (1.0, 2.0):
        losses = methods.build("sugd", {"retain_factor": factor}).losses(None, StepBatch(part, part))  # type: ignore[arg-type]
        assert losses.total.item() == pytest.approx((factor - 1) * mean / 2, abs=1e-6)


def test_each_chunk_of_sugd_begins_its_schedule_anew(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    method = methods.build("sugd", {"num_chunks": 3, "batch_size": 2, "retain_per_forget": 1}, steps=9)
    run = unlearn(tiny_model(), tiny_tokenizer, tiny_data, method, probe_ids=())
    rates = [record.learning_rate for record in run if isinstance(record, LoopStep)]
    assert rates == rates[:3] * 3
    assert len(set(rates[:3])) > 1


def test_the_attack_makes_the_answers_likelier_and_keeps_what_was_accumulated(
    tiny_model: Callable[..., Any],
) -> None:
    model = tiny_model()
    rows = [Encoded(tuple(range(5, 12)), 3, 0), Encoded(tuple(range(20, 25)), 2, 1)]
    layout = pack_parts(model, {"": rows}, 1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)

    def nll(rounds: int) -> float:
        shift_MD = find_shift(model, rows, 1, LatentAttack(0, 3.0, rounds), seed=0)
        with torch.no_grad():
            logits_NV = head_of(model)(pack_outputs(model, layout, 0, shift=(0, shift_MD))[0])
        return float(torch.nn.functional.cross_entropy(logits_NV, layout.labels_N))

    assert nll(8) < nll(1) - 0.1
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())


def test_a_sharpness_aware_gradient_is_taken_up_the_slope() -> None:
    """Loss w^2 at w = (3, 4): gradient (6, 8) of norm 10, so with radius 1 at (3.6, 4.8), where it is (7.2, 9.6)."""
    weights = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    weights.square().sum().backward()
    with perturbed([weights], 1.0):
        assert weights.tolist() == pytest.approx([3.6, 4.8])
        assert weights.grad is None
        weights.square().sum().backward()
    assert weights.tolist() == [3.0, 4.0]
    assert weights.grad is not None
    assert weights.grad.tolist() == pytest.approx([7.2, 9.6])


def test_noise_takes_a_share_of_every_matrix_and_leaves_vectors() -> None:
    """Of ones (300, 100): 0.9 of each and a deviation of 0.1 x 2 x sqrt(2 / 400)."""
    weights = {"matrix": torch.ones(300, 100), "norm": torch.ones(100)}
    mix_with_noise(weights, 0.1, 2.0, seed=0)
    assert float(weights["matrix"].mean()) == pytest.approx(0.9, abs=1e-3)
    assert float(weights["matrix"].std()) == pytest.approx(0.2 * (2 / 400) ** 0.5, rel=0.02)
    assert torch.equal(weights["norm"], torch.ones(100))
