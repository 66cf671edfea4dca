"""The comparison of methods: the same budget for each, chosen on documents that are not scored, resumable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import Generation, Scores
from unlearn_core.methods import REGISTRY
from unlearn_core.runs.series import bench as module
from unlearn_core.runs.series.bench import LEADERBOARD, TRIALS, TUNING_SEED, Trial, bench, chosen, figures, leaderboard


def scores_of(right: dict[str, int]) -> Scores:
    """Six forget and six retain documents of one question; `right` of each set, the last, are exact."""
    rows = []
    for split in ("forget", "retain"):
        for n in range(6):
            score = float(n >= 6 - right[split])
            task = f"Task{n // 2 + 1}"
            rows.append(Generation(f"{split}-{n}qa0", split, task, "question", "?", "a", "b", score))
    losses = {"member_losses": [1.0] * 6, "nonmember_losses": [1.0] * 6}
    return Scores({}, [], None, None, None, 0.5, -1.0, "hash", details=ScoreDetails(**losses), generations=tuple(rows))


def test_tuning_and_scored_documents_are_apart_and_together_all() -> None:
    """Documents 0 and 3 of each set tune; of the other four, the last three answer: worst task 1, then 1."""
    scores = scores_of({"forget": 3, "retain": 3})
    before = replace(scores, details=replace(scores.details, nonmember_losses=[0.5, 1.5]))
    found = {tuning: figures(scores, tuning, before, None) for tuning in (True, False)}
    assert found[True]["forget_knowledge"] == 1.0  # document 3
    assert found[True]["retain_knowledge"] == 0.0  # document 0
    assert found[False]["forget_knowledge"] == 1.0
    assert found[False]["retain_knowledge"] == 0.0
    assert found[False]["mia_auc"] == 0.5
    assert found[False]["unseen_rise"] == 0.0


def test_a_wreck_never_wins_the_tuning() -> None:
    wreck = Trial("a", {}, 0, tuning={"task_aggregate": 0.0, "mia_score": 1.0, "retain_knowledge": 0.0})
    weak = Trial("a", {"x": 1}, 0, tuning={"task_aggregate": 0.2, "mia_score": 0.1, "retain_knowledge": 0.9})
    failed = Trial("a", {"x": 2}, 0, failure="diverged")
    assert chosen([wreck, weak, failed]) is weak


def test_the_defaults_stay_unless_another_setting_is_clearly_better() -> None:
    def tried(x: int, mia: float) -> Trial:
        found = {"task_aggregate": 0.9, "mia_score": mia, "retain_knowledge": 1.0}
        return Trial("a", {"x": x} if x else {}, 0, tuning=dict(found))

    assert chosen([tried(0, 0.90), tried(1, 0.91), tried(2, 0.80)]).settings == {}
    assert chosen([tried(0, 0.90), tried(1, 0.91), tried(2, 0.95)]).settings == {"x": 2}


def test_the_leaderboard_leaves_tuning_runs_out_and_gives_the_spread() -> None:
    runs = [
        Trial("a", {}, seed, 2.0, "forgotten", None, {"final_score": score})
        for seed, score in ((TUNING_SEED, 0.1), (0, 0.8), (1, 0.6))
    ]
    before = Trial("a", {"x": 1}, 0, 2.0, "forgotten", None, {"final_score": 0.3})  # another choice then
    (row,) = leaderboard([*runs, before])
    assert row["num_seeds"] == 2
    assert row["figures"]["final_score"]["mean"] == pytest.approx(0.7)
    assert row["figures"]["final_score"]["spread"] == pytest.approx(2**0.5 / 10)


def test_forgetting_comes_before_a_good_score_in_the_leaderboard() -> None:
    trials = [
        Trial("a", {}, 0, 2.0, "over-forgotten", None, {"final_score": 0.99}),
        Trial("b", {}, 0, 2.0, "forgotten", None, {"final_score": 0.6}),
        Trial("c", {}, 0, 2.0, "forgotten", None, {"final_score": 0.9}),
    ]
    assert [row["method"] for row in leaderboard(trials)] == ["c", "b", "a"]


def test_no_method_gets_more_than_three_settings_to_choose_from() -> None:
    for cls in REGISTRY.values():
        assert cls.candidates()[0] == {}
        assert len(cls.candidates()) <= 3
        rates = [item.default for item in cls.parameters() if item.name == "learning_rate"]
        if rates and rates[0]:  # at 0 a preset sets it
            assert len(cls.candidates()) == 3
        for settings in cls.candidates():
            cls(**settings)


def test_a_bench_runs_resumes_and_prints(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    short = ({"steps": 2}, {"steps": 3}, {"steps": 4})
    monkeypatch.setattr(REGISTRY["grad_diff"], "candidates", classmethod(lambda cls: short))
    out = tmp_path / "bench"
    arguments = ["--target", memorised.model, "--data", memorised.data, "--seeds", "2", "--out", str(out)]
    assert main(["bench", "--methods", "grad_diff", *arguments]) == 0
    assert "grad_diff" in capsys.readouterr().out
    lines = (out / TRIALS).read_text().splitlines()
    assert len(lines) == 5
    board = json.loads((out / LEADERBOARD).read_text())
    assert board["methods"][0]["num_seeds"] == 2
    assert board["weights"]["original"]
    monkeypatch.setattr(module, "run", None)  # what is at hand is not run again
    again = list(bench(["grad_diff"], out, target=memorised.model, data=memorised.data, num_seeds=2))
    assert [done for done, _, _ in again] == [1, 2, 3, 4, 5]


def test_a_bad_bench_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for arguments, field in (
        (["--methods", "npoo", "--out", str(tmp_path)], "method (npoo)"),
        (["--seeds", "0", "--out", str(tmp_path)], "--seeds (0)"),
        (["--out", str(tmp_path / "file")], "--out"),
    ):
        assert main(["bench", *arguments]) == 2
        assert field in capsys.readouterr().err
