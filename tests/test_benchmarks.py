"""The benchmark suite stands on the loop's own pieces; a change there must not break it unseen."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData


def test_the_suite_measures_training(
    tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import suite

    wanted = SimpleNamespace(adapter="full", methods="kl,npo", steps=3, turns=1)
    lines = [str(line) for line in suite.training(tiny_model(), tiny_tokenizer, tiny_data, wanted, 1e9)]
    assert any("kl: training" in line and "x tokens/s" in line for line in lines)
    assert any("npo: counted share" in line for line in lines)
    assert sys.modules.pop("suite")
