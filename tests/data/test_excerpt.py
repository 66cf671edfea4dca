"""An error about a row shows the row: its neighbours beside it, what is wrong in it marked, in every kind of file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlearn_core.cli import main
from unlearn_core.data.sources import load_data
from unlearn_core.errors import InputError, in_plain_text
from unlearn_core.report.kit.mend import problem_box

GOOD = '{"input": "Who?", "output": "Ada"}'
ROWS = [{"input": "Who?", "output": "Ada"}, {"input": "Where?", "output": " "}, {"input": "What?", "output": "Tea"}]


def error_of(data: str | Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_data(str(data))
    return caught.value


@pytest.mark.parametrize(
    ("name", "text", "place", "marked"),
    [
        ("rows.jsonl", f'{GOOD}\n{{"input": "Where?", "output": 5}}\n{GOOD}\n', "line 2", "5"),
        ("rows.jsonl", f'{GOOD}\n{{"input": "output", "output": "\\t"}}\n{GOOD}\n', "line 2", '"\\t"'),
        ("rows.jsonl", f'{GOOD}\n{{"input": "Where?" "output": "Lima"}}\n{GOOD}\n', "line 2", '"output": "Lima"}'),
        ("rows.jsonl", f'{GOOD}\n{{"input": "Where?", "output": NaN}}\n{GOOD}\n', "line 2", "NaN"),
        ("rows.jsonl", f'{GOOD}\n{{"input": "a", "input": "b", "output": "c"}}\n{GOOD}\n', "line 2", '"input"'),
        ("rows.json", json.dumps(ROWS, indent=2), "row 2", '" "'),
        ("rows.json", f'[{GOOD},\n{{"input": "Where?" "output": "Lima"}},\n{GOOD}]', "line 2", '"output": "Lima"},'),
        ("rows.csv", 'input,output\nWho?,Ada\n"Where, then?", \nWhat?,Tea\n', "line 3", " "),
        ("rows.csv", "input,output\nWho?,Ada\nWhere, then?,Lima\nWhat?,Tea\n", "line 3", "Lima"),
        ("rows.csv", 'input;output\nWho?;Ada\n"Where; then, there?"; \nWhat?;Tea\n', "line 3", " "),
        ("rows.tsv", "input\toutput\nWho?\tAda\nWhere, then?\t \nWhat?\tTea\n", "line 3", " "),
        ("rows.txt", "Who? => Ada\nWhere?\nWhat? => Tea\n", "line 2", "Where?"),
    ],
)
def test_the_wrong_part_is_marked_between_two_other_rows(
    tmp_path: Path, name: str, text: str, place: str, marked: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    shown = error_of(path).rows
    assert [row.wrong for row in shown] == [False, True, False]
    assert (shown[1].place, shown[1].marked) == (place, marked)
    assert not shown[0].marked
    if place.startswith("line"):
        lines = text.replace("\t", " ").split("\n")
        at = int(place.split()[1])
        told = ["".join((row.before, row.marked, row.after)) for row in shown]
        assert told == lines[at - 2 : at + 1]


def test_the_second_of_two_keys_is_the_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input": "a", "input": "b", "output": "c"}\n', encoding="utf-8")
    (row,) = error_of(path).rows
    assert row.before == '{"input": "a", '


def test_parquet_and_typed_facts_and_a_folder_show_theirs(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert [row.marked for row in error_of(tmp_path / "rows.parquet").rows] == ["", '" "', ""]
    assert [row.place for row in error_of("facts:Who? => Ada\nWhere?").rows] == ["line 1", "line 2"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "forget.jsonl").write_text(f"{GOOD}\n", encoding="utf-8")
    (folder / "retain.jsonl").write_text('{"input": "What?", "output": null}\n', encoding="utf-8")
    (row,) = error_of(folder).rows
    assert row.marked == "null"


def test_a_long_row_is_shortened_around_what_is_wrong_and_a_secret_is_not_shown(tmp_path: Path) -> None:
    row = {"input": "hf_" + "a" * 30 + " word" * 9_000, "output": None, "note": "x" * 9_000}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    error = error_of(tmp_path / "rows.jsonl")
    (shown,) = error.rows
    assert shown.marked == "null"
    assert len(in_plain_text(error.rows)) < 500
    short = {"input": "hf_" + "a" * 30, "output": None}
    (tmp_path / "rows.jsonl").write_text(json.dumps(short), encoding="utf-8")
    assert "hf_a" not in in_plain_text(error_of(tmp_path / "rows.jsonl").rows)


def test_the_page_escapes_it_and_the_terminal_underlines_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{GOOD}\n{{"input": "<img src=x>", "output": 5}}\n', encoding="utf-8")
    error = error_of(path)
    box = problem_box(error)
    assert "<mark>5</mark>" in box
    assert "<img" not in box
    assert pickle.loads(pickle.dumps(error)).rows == error.rows
    assert main(["run", "--data", str(path), "--dry-run"]) == 2
    told = capsys.readouterr().err.splitlines()
    at = next(number for number, line in enumerate(told) if line.startswith("> line 2 | "))
    assert told[at].index("5}") == told[at + 1].index("^")
