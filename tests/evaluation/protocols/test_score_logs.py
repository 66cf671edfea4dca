"""`lethe score --protocol` on stored logs: the reference implementation's own aggregates, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.evaluation.protocols.registry import get_protocol
from unlearn_core.evaluation.protocols.terms.row_log import parse_log, read_log

LOGS = Path(__file__).resolve().parents[4] / "shared" / "data" / "open_unlearning_logs"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason="the published logs are not here")
PAIRS = [
    ("tofu_Llama-3.2-1B-Instruct_full__evals_forget05", "tofu_Llama-3.2-1B-Instruct_retain95"),
    ("tofu_Llama-3.1-8B-Instruct_full__evals_forget10", "tofu_Llama-3.1-8B-Instruct_retain90"),
    ("muse_Llama-2-7b-hf_Books_target", "muse_Llama-2-7b-hf_Books_retrain"),
]


def log_of(name: str) -> Path:
    return LOGS / f"{name}__{name.split('_')[0].upper()}_EVAL.json"


@needs_logs
@pytest.mark.parametrize(("full", "retain"), PAIRS)
def test_every_published_aggregate_is_reproduced(full: str, retain: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    name = full.split("_")[0]
    for log, reference in ((full, retain), (retain, None)):
        arguments = ["score", "--protocol", name, str(log_of(log)), "--json", str(out)]
        arguments += [] if reference is None else ["--retain-model", str(log_of(reference))]
        assert main(arguments) == 0
        record = json.loads(out.read_text())
        assert record["reproduced"]["different"] == {}
        assert set(record["reproduced"]["equal"]) == set(read_log(log_of(log)).stored)
        assert {"name", "title", "split", "value", "n", "higher_is_better"} <= set(record["terms"][0])


@needs_logs
def test_a_retain_model_is_indistinguishable_from_itself() -> None:
    log = read_log(log_of(PAIRS[0][1]))
    result = get_protocol("tofu").score(log, log)
    assert result.aggregate["forget_quality"] == {"p_value": 1.0, "statistic": 0.0, "n": 200}
    assert result.aggregate["privleak"] == 0.0
    assert result.notes == ()


def small_log() -> dict[str, Any]:
    """Two rows of TOFU in the published shape."""
    losses = {"0": {"prob": 0.5, "avg_loss": 1.2}, "1": {"prob": 0.25, "avg_loss": 0.7}}
    wrong = {"1": {"prob": [0.1, 0.1], "avg_loss": [0.7, 0.7]}, "0": {"prob": [0.2, 0.2], "avg_loss": [2.0, 2.4]}}
    return {
        "forget_Q_A_PARA_Prob": {"agg_value": 0.375, "value_by_index": losses},
        "forget_Q_A_PERT_Prob": {"value_by_index": wrong},
        "forget_Q_A_ROUGE": {"value_by_index": {"0": {"ground_truth": "the old mill", "generation": "a mill"}}},
        "mia_min_k": {
            "forget": {"value_by_index": {"0": {"score": 1.0}, "1": {"score": 2.0}}},
            "holdout": {"value_by_index": {"0": {"score": 1.5}, "1": {"score": 3.0}}},
        },
        "somebody_elses": {"value_by_index": {"0": {"score": 0.5}}},
    }


def test_rows_are_paired_by_their_index_and_texts_are_scored_anew() -> None:
    result = get_protocol("tofu").score(parse_log(small_log()))
    value = {term.name: term.value for term in result.terms}
    assert value["forget_truth_ratio"] == pytest.approx((2.718281828**-1.0 + 1) / 2, abs=1e-6)
    assert value["forget_Q_A_ROUGE"] == pytest.approx(1 / 3)
    assert value["mia_min_k"] == 0.75
    assert value["somebody_elses"] == 0.5
    assert value["privleak"] == pytest.approx(-50.0)
    assert value["model_utility"] is None
    assert value["forget_quality"] is None
    assert len(result.notes) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "not a JSON object"),
        ("{", "not JSON"),
        ("{}", "holds no per-row values"),
        ('{"forget_Q_A_Prob": 3}', "not an object of per-row values"),
        ('{"forget_Q_A_Prob": {"value_by_index": [1]}}', "not an object of rows"),
        ('{"forget_Q_A_Prob": {"value_by_index": {"0": 1}}}', "not an object of values"),
        ('{"forget_Q_A_Prob": {"value_by_index": {"0": {"prob": {}}}}}', "is no number"),
    ],
)
def test_a_log_of_another_shape_is_one_sentence(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.json"
    path.write_text(text)
    assert main(["score", "--protocol", "tofu", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_conventions_a_benchmark_does_not_have_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--protocol", "tofu", "x.json", "--as", "nobody"]) == 2
    assert "Use lethe, open-unlearning" in capsys.readouterr().err
