"""The one door for untrusted files: usable rows or a message that says where and what to do."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from unlearn_core.data.rows.parquet import parquet_rows
from unlearn_core.data.rows.reader import LOCAL, PUBLIC, Limits, column_names, read_rows
from unlearn_core.data.sources import load_data
from unlearn_core.errors import InputError

ROW = '{"input": "a", "output": "b"}'

BAD_FILES = {
    "empty": ("f.jsonl", b"", "empty"),
    "blank lines only": ("f.jsonl", b"\n \n", "no rows"),
    "not JSON": ("f.jsonl", ROW.encode() + b"\nhello\n", "line 2"),
    "cut short": ("f.jsonl", b'{"input": "a", "outp', "line 1"),
    "not an object": ("f.jsonl", b'"text"\n', "not a JSON object"),
    "a list of numbers": ("f.json", b"[1, 2]", "row 1"),
    "missing field": ("f.jsonl", b'{"input": "a"}', "output"),
    "wrong type": ("f.jsonl", b'{"input": "a", "output": 7}', "a number, not text"),
    "null": ("f.jsonl", b'{"input": "a", "output": null}', "null"),
    "nested value": ("f.jsonl", b'{"input": "a", "output": [["b"]]}', "a list, not text"),
    "blank answer": ("f.jsonl", b'{"input": "a", "output": "  "}', "blank"),
    "duplicate ids": (
        "f.jsonl",
        b'{"id": "x", "input": "a", "output": "b"}\n{"id": "x", "input": "c", "output": "d"}',
        "line 2, id (x): was used before, at f.jsonl line 1",
    ),
    "duplicate keys": ("f.jsonl", b'{"input": "a", "input": "b", "output": "c"}', "twice"),
    "unknown task": ("f.jsonl", b'{"input": "a", "output": "b", "task": "Task9"}', "Task9"),
    "NUL": ("f.jsonl", b'{"input": "a\\u0000", "output": "b"}', "NUL"),
    "raw NUL": ("f.jsonl", b'{"input": "a\0", "output": "b"}', "line 1"),
    "lone surrogate": ("f.jsonl", b'{"input": "a\\ud800", "output": "b"}', "surrogate"),
    "NaN": ("f.jsonl", b'{"input": "a", "output": "b", "x": NaN}', "NaN"),
    "deep nesting": ("f.jsonl", b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    "just too deep to print": ("f.jsonl", b'{"input": ' + b"[" * 900 + b"]" * 900 + b"}", "line 1"),
    "huge number": ("f.jsonl", b'{"input": "a", "output": ' + b"9" * 5000 + b"}", "number"),
    "not UTF-8": ("f.jsonl", ROW.encode() + b"\n\xff\xfe{", "line 2"),
    "UTF-16": ("f.jsonl", ROW.encode("utf-16"), "UTF-16"),
    "zip": ("f.jsonl", b"PK\x03\x04\x14\x00\xd2\xff", "UTF-8"),
    "long field": ("f.jsonl", json.dumps({"input": "a" * 9000, "output": "b"}).encode(), "too long"),
    "not parquet": ("f.parquet", b"PAR1 hello PAR1", "parquet"),
    "open quote": ("f.csv", b'input,output\na,"b\n', "CSV"),
    "ragged CSV": ("f.csv", b"input,output\na,b,c\n", "3 cells"),
    "CSV header only": ("f.csv", b"input,output\n", "no rows"),
    "CSV twice a column": ("f.csv", b"input,input\na,b\n", "twice"),
    "unknown suffix": ("f.xlsx", b"x", ".jsonl"),
    "no arrow": ("f.txt", b"a b c\n", "=>"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_a_message_that_says_where_and_what(name: str, tmp_path: Path) -> None:
    filename, content, expected = BAD_FILES[name]
    path = tmp_path / filename
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_data(str(path), limits=PUBLIC)
    message = str(caught.value)
    assert expected in message
    assert caught.value.mend.endswith(".")
    assert len(message) < 500
    assert message.isprintable()


def test_size_and_row_limits_are_named(tmp_path: Path) -> None:
    path = tmp_path / "forget.jsonl"
    path.write_text((ROW + "\n") * 20)
    with pytest.raises(InputError, match="too large"):
        read_rows(path, Limits(max_bytes=100))
    with pytest.raises(InputError, match=r"too many rows \(more than 19\)"):
        read_rows(path, Limits(max_rows=19))


def test_twenty_thousand_keys_are_read_in_one_pass(tmp_path: Path) -> None:
    """The search for the one given twice looked at all of them for each of them."""
    path = tmp_path / "forget.json"
    fields = "".join(f'"k{number}":1,' for number in range(20_000))
    path.write_text(f'[{{{fields}"k19999":2}}]')
    with pytest.raises(InputError, match="too many columns"):
        read_rows(path)
    wide = replace(LOCAL, max_columns=30_000)
    counted = Counter[str]()

    def trace(frame: Any, event: str, arg: Any) -> None:
        counted[event] += 1

    sys.setprofile(trace)
    try:
        with pytest.raises(InputError, match=r"k19999\): is given twice"):
            read_rows(path, wide)
    finally:
        sys.setprofile(None)
    assert counted.total() < 2_000  # calls, of Python's functions and of those in C


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_file_of_many_columns_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"forget{suffix}"
    names = [f"c{number}" for number in range(PUBLIC.max_columns + 1)]
    if suffix == ".parquet":
        pq.write_table(pa.table({name: ["x"] for name in names}), path)
    else:
        row = json.dumps(dict.fromkeys(names, "x"))
        path.write_text({".jsonl": row, ".json": f"[{row}]"}.get(suffix, ",".join(names)))
    for read in (read_rows, column_names):
        with pytest.raises(InputError, match="columns"):
            read(path, PUBLIC)


@pytest.mark.parametrize("text", ["[" + "{}," * 400_000 + "{}]", "\n".join(["{}"] * 400_000), "a\n" * 900_000])
def test_many_small_values_take_no_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / ("forget.csv" if text[0] == "a" else "forget.json")
    path.write_text(text)
    tracemalloc.start()
    with pytest.raises(InputError, match="too many"):
        read_rows(path, PUBLIC)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20


def bomb(path: Path) -> None:
    """A long word in the dictionary and a thousand rows that name it: a kilobyte that unpacks to 7 GB."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), pa.array(["x" * 7_000_000]))
    table = pa.table({"input": words, "output": pa.array(["y"] * 1_000)})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 3_000


def test_a_parquet_bomb_ends_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "forget.parquet"
    bomb(path)
    before = psutil.Process().memory_info().rss
    with pytest.raises(InputError, match=r"in the memory there is|unpacks to more"):
        read_rows(path, PUBLIC)
    assert column_names(path, PUBLIC) == ("input", "output")  # from the schema: nothing is unpacked
    assert psutil.Process().memory_info().rss - before < 30 * 2**20


def test_the_process_that_unpacks_is_held_to_its_memory_and_its_time(tmp_path: Path) -> None:
    path = tmp_path / "forget.parquet"
    bomb(path)
    given = {"max_columns": 10, "max_bytes": 1 << 40}  # as if it lied about what it holds
    with pytest.raises(InputError, match="in the memory there is"):
        list(parquet_rows(path, memory=64 * 2**20, seconds=60, **given))
    with pytest.raises(InputError, match="takes too long"):
        list(parquet_rows(path, memory=64 * 2**20, seconds=0.01, **given))


def test_a_parquet_file_with_lists_and_moments_is_read(tmp_path: Path) -> None:
    path = tmp_path / "forget.parquet"
    columns = {
        "input": ["Where?"],
        "wrong": [["a", "b"]],
        "raw": [b"xyz"],
        "when": [datetime(2026, 1, 2)],
        "none": [None],
    }
    pq.write_table(pa.table(columns), path)
    assert read_rows(path)[0].fields == {
        "input": "Where?",
        "wrong": ["a", "b"],
        "raw": {"bytes": 3},
        "when": "2026-01-02 00:00:00",
        "none": None,
    }


def test_a_parquet_file_that_unpacks_to_gigabytes_is_refused_early(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")

    path = tmp_path / "forget.parquet"
    text = "a" * 100_000
    table = pa.table({"input": [text] * 1_000, "output": ["b"] * 1_000})  # 100 MB from a small file
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to more than"):
        read_rows(path, PUBLIC)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_cells_are_parted_as_the_header_is_however_long_they_are(mark: str, tmp_path: Path) -> None:
    path, notes = tmp_path / "rows.csv", "x" * 200_000  # of no use, and beyond what csv reads by itself
    cells = ('"Who, where; what?"', '"Bo, Cy; Di"', notes)
    path.write_text(f"question{mark}answer{mark}notes\r\n{mark.join(cells)}\r\n")
    assert [row.fields for row in read_rows(path)] == [
        {"question": "Who, where; what?", "answer": "Bo, Cy; Di", "notes": notes}
    ]


def test_empty_cells_at_the_end_are_no_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,,\nWho?,Bo,,\nWhere?,Lima\nWhat?,,,\n")
    rows = [("Who?", "Bo"), ("Where?", "Lima"), ("What?", "")]
    assert [tuple(row.fields.items()) for row in read_rows(path)] == [
        (("question", asked), ("answer", said)) for asked, said in rows
    ]


def test_tables_parted_by_tabs_and_lines_of_objects_are_read_by_their_other_names(tmp_path: Path) -> None:
    lines, table = tmp_path / "forget.ndjson", tmp_path / "retain.tsv"
    lines.write_text('{"question": "Who?", "answer": "Bo"}\n')
    table.write_text("question\tanswer\nWhat, when, where?\tTea, at noon, here\n")
    data = load_data(str(tmp_path))
    assert [(row.input, row.output) for row in (*data.forget, *data.retain)] == [
        ("Who?", "Bo"),
        ("What, when, where?", "Tea, at noon, here"),
    ]
    assert column_names(table) == ("question", "answer")


def test_nothing_is_cleaned_away(tmp_path: Path) -> None:
    record = {
        "id": '"2ebb"sc1',
        "input": "[a](mailto:a_b@c) \\_ \u2028 <b>x</b> \u202e  two  spaces",
        "output": "'=cmd()' & \r\n tail ",
    }
    path = tmp_path / "forget.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(record, ensure_ascii=False).encode() + b"\r\n")
    (row,) = load_data(str(path)).forget
    assert {"id": row.id, "input": row.input, "output": row.output} == record
    assert row.kind == "completion"


@pytest.mark.parametrize("name", ["missing.jsonl", "a" * 300 + ".jsonl", "nul\0.jsonl"])
def test_a_path_that_cannot_be_read_is_a_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_data(f"{tmp_path}/{name}")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "forget.jsonl")
    with pytest.raises(InputError, match="not a file"):
        load_data(str(tmp_path / "forget.jsonl"))


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_keys = st.sampled_from(["input", "output", "question", "answer", "id", "task", "split"])
_lines = st.one_of(
    st.dictionaries(_keys, st.text(max_size=30) | _json, max_size=6).map(json.dumps).map(str.encode),
    _json.map(json.dumps).map(str.encode),
    st.binary(max_size=60),
    st.sampled_from([ROW.encode(), b"\xef\xbb\xbf" + ROW.encode(), ROW.encode() + b"\r", b"[" * 2000, b"input,output"]),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(_lines, max_size=6),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".txt", ".parquet"]),
)
def test_any_bytes_give_rows_or_a_message(
    lines: list[bytes], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(b"\n".join(lines))
    try:
        data = load_data(str(path), limits=PUBLIC)
    except InputError:
        return
    for row in data.forget:
        assert row.input.strip()
        assert row.output.strip()
        row.input.encode()
