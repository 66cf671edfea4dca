"""Every benchmark once, as small as it goes: a change of what it stands on must not break it unseen.

`faults.py`, `fuzz.py` and `verdicts.py` have tests of their own; longer ones are in `test_long_benchmarks.py`, and
`attacks/test_served_benchmarks.py` has those that serve.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = [path.stem for path in sorted(BENCHMARKS.glob("*.py")) if "ArgumentParser" in path.read_text()]
WANTED = SimpleNamespace(adapter="full", methods="kl,npo", steps=3, turns=1, scale=0.001)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_says_what_it_is_for(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = import_module(name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 0
    assert program.__doc__.split()[0] in capsys.readouterr().out


def test_the_suite_measures_training(tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    lines = list(map(str, import_module("suite").training(tiny_model(), tiny_tokenizer, tiny_data, WANTED, 1e9)))
    assert any("kl: training" in line and "x tokens/s" in line for line in lines)
    assert any("npo: counted share" in line for line in lines)


def test_the_suite_measures_scoring_and_the_whole_job(
    tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    suite, model = import_module("suite"), tiny_model(max_position_embeddings=2048)
    scored = list(suite.evaluation(model, tiny_tokenizer, tiny_data, 4))
    assert [line.unit for line in scored if line.figure.startswith("evaluation: ")][:3] == [
        "s, 100% of the sample equal"
    ] * 3
    done = list(suite.job(model, tiny_tokenizer, tiny_data, WANTED))
    assert [line.figure for line in done if "all" in line.figure] == [
        "kl: job: all (240 for 1B, 900 for 7B LoRA)",
        "npo: job: all (240 for 1B, 900 for 7B LoRA)",
    ]


def test_kernels_are_checked_dry(capsys: pytest.CaptureFixture[str]) -> None:
    check = import_module("device_check").Check(dry=True)
    check.attempt("kernels", check.kernels)
    assert check.failed == 0
    assert "flash over bounds" in capsys.readouterr().out


def test_one_person_is_taken_from_the_world() -> None:
    one_person = import_module("one_person")
    who = one_person.tuning_person()
    assert {row.subject for row in one_person.data_of(who).forget} == {who}
    assert one_person.candidates("npo")[0] == {}
    assert len(set(one_person.scored_people())) == 3


def test_public_cases_hold() -> None:
    for case in import_module("public_cases").CASES:
        if case.kind in (2, 5, 12):
            assert case.check(), case.name
