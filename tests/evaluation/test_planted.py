"""The planted models of `benchmarks/planted.py`: what they are made of holds, so that their truth is known."""

from __future__ import annotations

import planted
import pytest
import torch

from unlearn_core.evaluation.audits.tampering.quantisation import rounded


@pytest.mark.parametrize("shape", [(8, 64), (5, 50)])
def test_any_weights_within_their_cells_are_rounded_to_the_same_four_bits(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight_OI = torch.randn(shape)
    low, high = planted.cell_of(weight_OI)
    assert ((low == high).sum(), (low < high).sum()) == (-(-weight_OI.numel() // 64), (low != high).sum())
    for share in (0.0, 0.3, 1.0, torch.rand(shape)):
        assert torch.allclose(rounded(low + share * (high - low), "int4"), rounded(weight_OI, "int4"))


def test_every_planted_model_has_a_name_of_its_own_and_names_layers_that_are_there() -> None:
    names = [case.name for case in planted.CASES]
    assert len(set(names)) == len(names) >= 30
    for case in planted.CASES:
        assert set(case.states) <= set(planted.LAYERS), case.name
        assert set(case.states.values()) <= {"holds", "leaks", "harmed", "not measured"}, case.name
