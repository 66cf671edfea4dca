"""Costs are linear where they must be, reproduce a published table, and come from an editable table."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.errors import InputError
from unlearn_core.runs.planning import costs
from unlearn_core.runs.planning.plan import Planner, plan, rate_of
from unlearn_core.runs.planning.timing import ThroughputCache
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
    """7 billion weights, gradients and two moments in float32, the old values in bfloat16: 9 x 13.8 GB."""
    spec = RunSpec(target="lume-7b", method="npo", adapter="full", steps=10)
    cost = plan(spec, tmp_path, on="H100 80GB")
    assert cost.memory == pytest.approx(9 * 13.78e9, rel=0.05)
    assert cost.seconds is not None
    assert cost.dollars == pytest.approx(cost.seconds / 3600 * 2.1)
    assert cost.retraining_flops == pytest.approx(6 * 6.888e9 * 2.46e12, rel=0.01)
    twice = plan(RunSpec(target="lume-7b", method="npo", adapter="full", steps=20), tmp_path, on="H100 80GB")
    assert cost.flops is not None
    assert twice.flops is not None
    assert cost.flops < twice.flops < 2 * cost.flops  # scoring is the same
    assert "training it again" in costs.sentence(cost.to_json())


def test_the_same_planner_reads_and_tokenises_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearn_core.runs import data as sources

    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps({"input": "Who keeps the key?", "output": "Ada."}) + "\n")
    read: list[str] = []
    real = sources.load_data
    monkeypatch.setattr(sources, "load_data", lambda name, **more: read.append(name) or real(name, **more))
    planner = Planner(tmp_path)
    spec = RunSpec(data=str(path), retain_data="general", method="npo", steps=100)
    small = planner.plan(replace(spec, settings={"batch_size": 2}))
    large = planner.plan(spec)
    lora = planner.plan(replace(spec, adapter="lora"))
    assert len(read) == 1
    assert lora.memory is not None
    assert small.memory < large.memory  # type: ignore[operator]
    assert small.flops < large.flops  # type: ignore[operator]
    assert lora.flops < large.flops  # type: ignore[operator]
    path.write_text(json.dumps({"input": "Who keeps the key now, and why?", "output": "Bo."}) + "\n")
    os.utime(path, ns=(1, 1))
    planner.plan(spec)
    assert len(read) == 2


@pytest.mark.parametrize(
    ("step", "holes", "kept", "mend"),
    [
        (900, 0, 50, "smaller batch size"),
        (400, 200, 50, "smaller batch size"),  # the allocator's holes lie among the activations and go with them
        (50, 0, 900, "Train LoRA"),
        (50, 0, 50, "smaller model"),
    ],
)
def test_too_little_memory_names_what_to_change(step: int, holes: int, kept: int, mend: str) -> None:
    parts = {"weights": 1000, "optimiser": kept, "activations, logits, gradients": step, "allocator": holes}
    cost = costs.Cost(None, None, sum(parts.values()), None, "this CPU", parts=parts)
    assert mend in str(costs.shortage(cost, cost.memory - 500))  # type: ignore[operator]
    assert costs.shortage(cost, 5000) is None


def test_a_subject_is_planned_for_before_the_model_is_asked(saved_model: Any, tmp_path: Path) -> None:
    """By the size of what a run that ships found; the method that takes an adapter alone is planned with one."""
    spec = RunSpec(target=str(saved_model()), subject="Marie Curie", method="lethe_pretrained")
    cost = plan(spec, tmp_path)
    assert cost.seconds
    assert cost.parts
    assert cost.parts["weights before the run"] == 0
    whole = plan(replace(spec, method="npo", adapter="full"), tmp_path)
    assert whole.parts
    assert whole.parts["weights before the run"] > 0


def test_small_and_large_models_have_rates_of_their_own(tmp_path: Path) -> None:
    assert rate_of(torch.float32) != rate_of(torch.bfloat16)
    ThroughputCache(tmp_path).write(rate_of(torch.float32), 1e12)
    told = plan(RunSpec(method="npo", steps=4), tmp_path)
    assert told.seconds == pytest.approx(told.flops / 1e12)
