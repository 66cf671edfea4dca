"""The methods page says what the methods say of themselves, and finds them."""

from __future__ import annotations

import re

import pytest
from golden_page import assert_golden

from unlearn_core.methods import REGISTRY, describe
from unlearn_core.report.kit.markup import text
from unlearn_core.report.runs.methods import EVERY, NO_WEIGHT, allowed, families, method_note, methods_page

ALL = [describe(cls) for cls in REGISTRY.values()]


@pytest.mark.parametrize("method", ALL, ids=lambda method: method["name"])
def test_every_card_holds_the_declaration(method: dict) -> None:
    assert all(method[key] for key in ("idea", "formula", "paper", "cost"))
    for page in (methods_page([method]), method_note(method)):
        for key in ("idea", "formula", "paper", "caution"):
            assert text(method[key]) in page
        assert (NO_WEIGHT in page) != method["changes_weights"]
    for item in method["parameters"]:
        assert f"<code>{item['name']}</code>" in str(methods_page([method])).replace("<wbr>", "")


def test_the_words_of_a_card() -> None:
    assert_golden("methods", methods_page([describe(REGISTRY["npo"])]))


def test_a_family_and_words_find_their_methods() -> None:
    def found(family: str, words: str = "") -> list[str]:
        return re.findall(r'data-method="(\w+)"', methods_page(ALL, family, words))

    assert found(EVERY) == list(REGISTRY)
    assert set(families(ALL)) == {method["family"] for method in ALL}
    by_family = [name for family in families(ALL) for name in found(family)]
    assert sorted(by_family) == sorted(REGISTRY)
    assert found(EVERY, "Pawelczyk wrong") == ["icul"]
    assert "icul" not in found("gradient", "Pawelczyk")
    assert {m["name"] for m in ALL if m["family"] == "inference time"} <= set(found(EVERY, NO_WEIGHT))
    assert "0 methods" in methods_page(ALL, EVERY, "no such words")


def test_what_a_setting_takes_is_told_in_plain_figures() -> None:
    lethe = {item["name"]: allowed(item) for item in describe(REGISTRY["lethe"])["parameters"]}
    assert lethe["steps"] == "1 to 100,000"
    assert lethe["learning_rate"] == "0 to 1"
    assert lethe["retain_documents"] == "True or False"
