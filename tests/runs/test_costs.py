"""Costs are linear where they must be, reproduce a published table, and come from an editable table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearn_core.errors import InputError
from unlearn_core.runs import costs
from unlearn_core.runs.plan import plan
from unlearn_core.runs.spec import RunSpec


@pytest.mark.parametrize(
    ("name", "queries_per_second", "dollars"),
    [("A40 48GB", 1.01, 32.7), ("A100 80GB", 2.74, 25.4), ("H100 80GB", 4.90, 17.9)],
)
def test_the_prices_give_the_published_costs(name: str, queries_per_second: float, dollars: float) -> None:
    """Xia et al. 2024, Table IV: 10 epochs of about 15,000 queries at the printed rate."""
    seconds = 10 * 15_000 / queries_per_second
    assert costs.money(seconds, costs.device(name)) == pytest.approx(dollars, rel=0.02)


def test_money_is_linear_in_time_price_and_devices() -> None:
    one = costs.Device("one", 2.0, 80, 100.0)
    dear = costs.Device("dear", 4.0, 80, 100.0)
    assert costs.money(3600, one) == 2.0
    assert costs.money(7200, one) == costs.money(3600, dear) == costs.money(3600, one, number=2) == 4.0
    assert costs.money(None, one) is None
    assert costs.money(3600, costs.Device("free to fill in", None, None, None)) is None


def test_a_table_in_the_home_goes_before_the_one_that_ships(tmp_path: Path) -> None:
    row = {"name": "mine", "usd_per_hour": 9.0, "memory_gb": 1, "tflops": 1}
    (tmp_path / "prices.json").write_text(json.dumps({"devices": [row]}))
    assert costs.device("MINE", tmp_path).usd_per_hour == 9.0
    with pytest.raises(InputError, match="not in the price table"):
        costs.device("H100 80GB", tmp_path)
    (tmp_path / "prices.json").write_text("[]")
    with pytest.raises(InputError, match="not a price table"):
        costs.devices(tmp_path)


def test_a_plan_needs_no_weights_and_names_the_whole_cost(tmp_path: Path) -> None:
    """7 billion weights in bfloat16, their old values, gradients and two moments: 5 x 13.8 GB."""
    spec = RunSpec(target="lume-7b", method="npo", adapter="full", steps=10)
    cost = plan(spec, tmp_path, on="H100 80GB")
    assert cost.memory == pytest.approx(5 * 13.78e9, rel=0.05)
    assert cost.seconds is not None
    assert cost.dollars == pytest.approx(cost.seconds / 3600 * 2.1)
    assert cost.retraining_flops == pytest.approx(6 * 6.888e9 * 2.46e12, rel=0.01)
    twice = plan(RunSpec(target="lume-7b", method="npo", adapter="full", steps=20), tmp_path, on="H100 80GB")
    assert cost.flops is not None
    assert twice.flops is not None
    assert cost.flops < twice.flops < 2 * cost.flops  # scoring is the same
    assert "training it again" in costs.sentence(cost.to_json())
