"""No advisory that Lethe's benchmark names applies to what is pinned or to the least that is allowed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def audit() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "dependencies.py"))


def test_nothing_known_applies(audit: dict[str, Any]) -> None:
    pins, floors = audit["pins"](), audit["floors"]()
    assert {"gradio", "transformers"} <= pins.keys()  # torch is installed in its own way
    assert {"gradio", "transformers", "torch"} <= floors.keys()
    assert audit["known"](pins) == []
    assert audit["known"](floors) == []


def test_what_is_known_is_found(audit: dict[str, Any]) -> None:
    old = {"gradio": "6.6.1", "transformers": "5.2.0", "torch": "2.8", "kernels": "0.1"}
    found = " ".join(audit["known"](old))
    assert "CVE-2026-4372" in found
    assert "CVE-2026-28414" in found
    assert "CVE-2026-28416" not in found
    assert "torch" not in found
    assert "kernels must not be installed" in found
