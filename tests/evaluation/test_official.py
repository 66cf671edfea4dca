"""The organisers' files to the digit: three real runs, quirks, and the verdicts they deserve."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols import official
from unlearn_core.evaluation.protocols.references.published import LEADERBOARD, read_runs
from unlearn_core.evaluation.scores import Generation

RUNS = Path(__file__).resolve().parents[3] / "shared" / "data" / "official_runs"
needs_runs = pytest.mark.skipif(not RUNS.is_dir(), reason="the organisers' files are not here")
NAMES = ("best_useful", "collapsed_top_score", "no_change")


@needs_runs
@pytest.mark.parametrize("name", NAMES)
def test_real_runs_are_reproduced_to_the_last_bit(name: str) -> None:
    text = (RUNS / name / "evaluation_results.jsonl").read_text()
    stored = json.loads(text)
    rows = official.read_generations(RUNS / name)
    result = official.official_result(rows, stored["mia_loss_acc"], stored["mmlu_average"])
    assert json.dumps(result) == text.strip()


@needs_runs
@pytest.mark.parametrize(
    ("name", "label"),
    [("collapsed_top_score", "collapsed"), ("no_change", "unchanged"), ("best_useful", "under-forgotten")],
)
def test_the_verdict_sees_what_the_score_hides(name: str, label: str) -> None:
    stored = json.loads((RUNS / name / "evaluation_results.jsonl").read_text())
    verdict = official.verdict_of_official(stored, official.read_generations(RUNS / name))
    assert verdict.word == label
    assert official.verdict_of_official(stored).word == label
    assert any("no signal" in reason for reason in verdict.reasons)
    assert verdict.reasons
    assert verdict.limiting_term is not None


@needs_runs
def test_the_best_published_runs_are_wrecks() -> None:
    runs = read_runs(RUNS / "runs.csv")
    assert len(runs) == 153
    assert [run.final for run in runs] == sorted((run.final for run in runs), reverse=True)
    assert all(run.collapsed for run in runs[:9])
    assert 0 < Counter(run.collapsed for run in runs)[True] < 153


@needs_runs
def test_mmlu_and_membership_files_complete_the_result(tmp_path) -> None:
    for side, losses in (("member", (1.0, 2.0)), ("nonmember", (1.5, 3.0))):
        rows = [(f"{side}{i}", loss) for i, loss in enumerate(losses)]
        official.write_losses(tmp_path, side, rows)
    result = official.score_directory(
        RUNS / "best_useful", tmp_path / "mia_results", RUNS / "best_useful" / "metrics.json"
    )
    assert result["mia_loss_acc"] == 0.75
    assert result["mmlu_average"] == 0.27531690642358636
    assert result["aggregate-score"] == pytest.approx((0.31615817957358483 + 0.5 + 0.27531690642358636) / 3)
    alone = official.score_directory(RUNS / "best_useful")
    assert alone["aggregate-score"] == -1
    assert "mia_loss_acc" not in alone


@needs_runs
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_result_stands_in_for_losses_and_mmlu(name: str) -> None:
    """With the AUC and MMLU of the stored file the command computes the whole of it again."""
    path = RUNS / name / "evaluation_results.jsonl"
    stored = json.loads(path.read_text())
    result, scores = official.score_files(RUNS / name, path, path)
    assert result == stored
    assert official.differences(result, stored) == (list(stored), [])
    assert scores.aggregated_terms == stored["aggregated-terms"]
    assert official.differences({**result, "mia_loss_acc": 0.1}, stored)[1] == ["mia_loss_acc"]


@needs_runs
def test_the_command_calls_the_leader_collapsed_and_names_a_foreign_metric_file(tmp_path, capsys) -> None:
    from unlearn_core.cli import main

    folder = RUNS / "collapsed_top_score"
    stored = str(folder / "evaluation_results.jsonl")
    out = tmp_path / "r.json"
    assert main(["score", str(folder), "--mia", stored, "--mmlu", stored, "--json", str(out)]) == 0
    shown = capsys.readouterr()
    assert "Verdict: collapsed" in shown.out
    assert "not language" in " ".join(shown.out.split())
    assert "mia_final_score" in shown.err
    assert "Different" not in shown.err
    assert "different checkpoints" in shown.err
    record = json.loads(out.read_text())
    assert record["verdict"]["word"] == "collapsed"
    assert record["result"]["aggregate-score"] == 0.4238029439301144
    assert any(remark["topic"] == "Language" and remark["caution"] for remark in record["remarks"])


def rows(split: str, outputs: dict[str, tuple[str, str]]) -> list[Generation]:
    return [Generation(id, split, "Task1", "", "in", gold, out, 0.0) for id, (gold, out) in outputs.items()]


def test_quirks_of_the_csv_round_trip(tmp_path) -> None:
    """An empty generation becomes `nan`; ids with quotes, several ranks and odd texts survive."""
    forget = rows("forget", {'"x"qa0': ("nan", ""), 'a"b"sc1': ("nan words", ""), "cqa9": ('A,b\n"c"', 'a,B\n"C"')})
    retain = rows(
        "retain",
        {"dqa0": ("NA", "nan"), "esc1": ("caf\u00e9 \u2603 x", "\u2603 caf\u00e9"), "other": ("z", "z")},
    )
    official.write_generations(tmp_path, "forget", forget[:2], [0.5, 0.25])
    (tmp_path / "forget_0.csv").rename(tmp_path / "forget_1.csv")
    official.write_generations(tmp_path, "forget", forget[2:], [1.0])
    official.write_generations(tmp_path, "retain", retain, [0.5] * 3)
    scored = official.read_generations(tmp_path)
    assert [g.id for g in scored if g.split == "forget"] == ["cqa9", '"x"qa0', 'a"b"sc1']
    by_id = {g.id: g for g in scored}
    assert by_id['"x"qa0'].output == "nan"
    assert by_id['"x"qa0'].score == 1.0
    assert by_id['a"b"sc1'].score == 0.5  # "nan" is one of the two gold words
    assert by_id["cqa9"].score == 1.0
    assert by_id["dqa0"].gold == "nan"  # pandas takes NA for missing too
    result = official.score_directory(tmp_path)
    assert result["forget-set"]["overall-knowledge-score"] == 1.0
    assert len(result["aggregated-terms"]) == 4


def test_a_written_result_reads_back(tmp_path) -> None:
    result = {"aggregated-terms": [0.1, 1 / 3], "aggregate-score": -1}
    path = official.write_result(result, tmp_path / "new")
    assert path.name == "evaluation_results.jsonl"
    assert json.loads(path.read_text()) == result
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "forget_0.csv"),
        ({"forget_0.csv": "id,task\n1,2\n"}, "no column"),
        ({"forget_0.csv": ""}, "not CSV"),
        ({"forget_0.csv": 'a,"b\n'}, "not CSV|no column"),
    ],
)
def test_bad_files_are_named(files: dict[str, str], words: str, tmp_path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        official.score_directory(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"average_acc": "x"}', '{"average_acc": true}', '{"average_acc": 3}']
)
def test_bad_mmlu_files_are_named(text: str, tmp_path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(InputError, match="average_acc"):
        official.read_mmlu(path)


def test_leaderboard_entries_are_the_mean_of_their_parts() -> None:
    for entry in LEADERBOARD:
        parts = (entry.task_aggregate, entry.mia_score, entry.mmlu)
        if None not in parts:
            assert entry.final == pytest.approx(sum(parts) / 3, abs=0.002)


def test_a_carriage_return_in_an_output_stays_in_its_row(tmp_path: Path) -> None:
    """pandas takes a lone carriage return for the end of a row, unless the cell is quoted."""
    rows = [
        Generation(f"a-{i}qa0", "forget", "Task1", "question", "q", "gold", text, 0.0)
        for i, text in enumerate(("one\rtwo", "three\r\nfour", 'say "x"\r', "plain"))
    ]
    official.write_generations(tmp_path, "forget", rows, [0.5] * 4)
    official.write_generations(tmp_path, "retain", rows, [0.5] * 4)
    found = [row for row in official.read_generations(tmp_path) if row.split == "forget"]
    assert [row.output for row in found] == [row.output for row in rows]
    assert [row.id for row in found] == [row.id for row in rows]
