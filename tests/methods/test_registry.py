"""The registry: names, settings from text or numbers, declarations, and clear refusals."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import fields
from typing import Any

import pytest

from unlearn_core import methods
from unlearn_core.errors import InputError
from unlearn_core.methods import capabilities
from unlearn_core.methods.base import Traits

FIRST = {"grad_ascent", "grad_diff", "kl", "npo", "simnpo", "lethe"}


def test_the_first_methods_are_there_under_their_names() -> None:
    assert set(methods.REGISTRY) >= FIRST
    assert all(cls.info.name == name for name, cls in methods.REGISTRY.items())


@pytest.mark.parametrize("name", methods.REGISTRY)
def test_every_declaration_is_complete_and_survives_json(name: str) -> None:
    described = json.loads(json.dumps(methods.describe(methods.get(name))))
    for key in ("title", "family", "paper", "idea", "formula", "caution", "taxonomy", "cost", "needs"):
        assert described[key], key
    assert "forget" in described["needs"]
    for item in described["parameters"]:
        assert item["help"]
        assert item["type"] in ("int", "float", "str", "bool")
        if item["type"] in ("int", "float"):
            assert item["minimum"] <= item["default"] <= item["maximum"]


@pytest.mark.parametrize("cls", methods.METHODS)
def test_no_capability_or_trait_is_declared_where_the_loop_would_not_look(cls: type) -> None:
    abstract = [kind for _, kind in inspect.getmembers(capabilities, inspect.isabstract)]
    kinds = [kind for kind in abstract if kind.__module__ == capabilities.__name__]
    assert len(kinds) == 10
    for kind in kinds:
        assert issubclass(cls, kind) or not any(hasattr(cls, hook) for hook in kind.__abstractmethods__), kind
    assert not any(hasattr(cls, trait.name) for trait in fields(Traits))
    assert not inspect.isabstract(cls)


def test_settings_come_as_text_or_as_numbers() -> None:
    method: Any = methods.build("npo", {"beta": "0.2", "retain_weight": 1, "steps": "9"}, steps=5)
    assert (method.beta, method.retain_weight, method.steps) == (0.2, 1, 5)
    assert methods.build("lethe", {"retain_documents": "no"}).mix().retain_documents is False


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("npoo", {}, "method"),
        ("npo", {"bta": 1}, "settings"),
        ("npo", {"beta": "much"}, "beta"),
        ("npo", {"beta": -1}, "beta"),
        ("npo", {"beta": True}, "beta"),
        ("npo", {"beta": None}, "beta"),
        ("npo", {"beta": math.nan}, "beta"),
        ("npo", {"beta": "inf"}, "beta"),
        ("npo", {"steps": 1.5}, "steps"),
        ("npo", {"steps": 10**400}, "steps"),
        ("npo", {"learning_rate": 10**400}, "learning_rate"),
        ("lethe", {"retain_documents": 1}, "retain_documents"),
    ],
)
def test_bad_settings_are_refused_by_name(name: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        methods.build(name, settings)
    assert caught.value.field == field


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="Did you mean grad_diff"):
        methods.get("graddiff")
    with pytest.raises(InputError, match="Did you mean beta"):
        methods.build("npo", {"betta": 1})


def test_a_larger_forget_set_gets_as_many_passes_and_a_smaller_one_fewer_and_smaller_steps() -> None:
    method = methods.REGISTRY["npo"](steps=60, learning_rate=1e-3)
    assert [method.for_rows(rows).steps for rows in (1, 140, 280, 560, 1120)] == [18, 30, 60, 120, 240]
    rates = [method.for_rows(rows).learning_rate for rows in (1, 140, 280, 560)]
    assert rates == pytest.approx([0.3e-3, 0.5e-3, 1e-3, 1e-3])
    assert method.for_rows(280) == method
    lethe = methods.REGISTRY["lethe"]()
    assert lethe.for_rows(280) == lethe
    assert lethe.for_rows(70).retain_weight == pytest.approx(2 * lethe.retain_weight)
    assert lethe.for_rows(1).retain_weight == pytest.approx(4 * lethe.retain_weight)
    assert method.for_rows(1, given=("learning_rate", "steps")) == method
    assert method.for_rows(10**6, most=500).steps == 500
    assert methods.REGISTRY["npo"](steps=900).for_rows(10**6, most=500).steps == 900
