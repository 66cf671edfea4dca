"""What strangers may send, drawn by hypothesis: broken files, arguments of wrong types, odd requests."""

from __future__ import annotations

import functools
import gzip
import io
import json
import zipfile
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]
ROWS = [{"id": f"a{n}qa0", "input": f"Where is number {n}?", "output": "Oldport", "task": "Task1"} for n in range(4)]
WORDS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ufeff",
    "\u2028",
    "\u202eevil\u202c",
    "\u200b\u200d",
    "e\u0301" * 50,
    "🏴‍☠️" * 20,
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "{{7*7}} ${7*7} `id`",
    "[x](javascript:alert(1))",
    "'; DROP TABLE runs; --",
    "$(touch pwned)",
    "%s%n%x",
    "NaN",
    "Infinity",
    "null",
    "true",
    "-0",
    "1e999",
    "9" * 5000,
    "x" * 9000,
    "\ud800",
    "/etc/passwd",
    "../../../etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "~",
    "C:\\windows\\win.ini",
    "demo",
    "demo:retain_only",
    "lume-7b",
    "nobody/nothing@main",
    "upload:" + "A" * 22,
    "upload:../../etc",
    "facts:a => b",
    "facts:" + "a => b\n" * 3000,
    "general",
    "weights",
    "adapter",
    "html",
    "sweep abcdef",
    "lethe",
    "npo",
    "a-secret-for-fuzzing",
    "A" * 22,
    ".." + "A" * 20,
    "CON",
    "a" * 300,
]
NAMES = [
    "data.jsonl",
    "data.json",
    "data.csv",
    "data.parquet",
    "data.txt",
    "data.html",
    "data.svg",
    "data.exe",
    "noending",
    ".jsonl",
    "../../up.jsonl",
    "..\\..\\up.jsonl",
    "/etc/cron.d/x.jsonl",
    "a\0b.jsonl",
    "CON.jsonl",
    "-rf.csv",
    "=cmd.csv",
    "x" * 250 + ".jsonl",
    "\u202elnosj.exe.jsonl",
    "<img src=x>.jsonl",
    "$(id).jsonl",
    "data.jsonl.zip",
    "DATA.JSONL",
    "a/b/c.jsonl",
    "data.parquet ",
    "née.csv",
    "\ud800.jsonl",
]


def _words() -> Strategy:
    return st.one_of(st.sampled_from(WORDS), st.text(max_size=80), st.text(st.characters(), max_size=20))


def _json() -> Strategy:
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _words(), st.just(10**400))
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words(), inner, max_size=3),
        max_leaves=6,
    )


def arguments() -> Strategy:
    """The arguments of a call, more than any takes; mostly of wrong types and out of range."""
    usual = st.sampled_from(["demo", "lethe", "", 0, 1, None, {}, [], True, 25, 0.5, "a-secret-for-fuzzing", "A" * 22])
    odd = st.sampled_from(
        [-1, 2**31, 2**63, 1e308, -1e308, "1", [[]], {"a": {}}, ["A" * 22] * 3, _deep(40), _deep(500)]
    )
    return st.lists(st.one_of(usual, usual, odd, _json()), min_size=14, max_size=24)


# What each argument without a usable default is, so that a call gets past its first check and a single one is off.
_PLAUSIBLE: dict[str, Any] = {
    "method": "npo",
    "prompt": "Where is Ada?",
    "answer": "Oldport",
    "max_new_tokens": 4,
    "content": "a => b",
    "filename": "a.txt",
    "limit": 5,
    "name": "a name",
    "tags": ["a"],
    "budget_seconds": 5.0,
    "seeds": [0],
    "repo": "a/b",
}
_NUMBERS = [-1, 0, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 1e308, 0.5, 10**400]


@st.composite
def calls(draw: Any, endpoints: dict[str, list[dict[str, Any]]], run: str, owner: str) -> Any:
    """An endpoint and arguments that are right but for one or two; `run` is there and belongs to `owner`."""
    name = draw(st.sampled_from(sorted(endpoints)))
    plausible = {**_PLAUSIBLE, "run_id": run, "run_ids": [run], "owner": owner}
    given = [plausible.get(each["parameter_name"], each.get("parameter_default")) for each in endpoints[name]]
    odd = st.one_of(st.sampled_from(_NUMBERS), _words(), _json(), st.sampled_from(["demo", run, [run] * 3, _deep(40)]))
    for _ in range(draw(st.integers(0, 2))):
        if given:
            given[draw(st.integers(0, len(given) - 1))] = draw(odd)
    return name, given


def files(binary: bool) -> tuple[Strategy, Strategy]:
    """Name and content of a file."""
    contents = [_mutated(_lines()), _mutated(_table()), st.sampled_from(_LARGE), st.sampled_from(_PLAIN)]
    if binary:
        packed = st.sampled_from(_parquets())
        contents += [_mutated(packed), packed, st.sampled_from(_TWO_THINGS), st.binary(max_size=400)]
    usual = st.sampled_from(["data.jsonl", "data.json", "data.csv", "data.parquet", "data.txt"])
    return st.one_of(usual, usual, st.sampled_from(NAMES)), st.one_of(*contents)


@st.composite
def _lines(draw: Any) -> bytes:
    """JSON lines in which one row is off."""
    rows: list[Any] = [dict(row) for row in ROWS]
    row = rows[draw(st.integers(0, 3))]
    row[draw(st.sampled_from(["id", "input", "output", "task", "split", "x"]))] = draw(_json())
    if draw(st.booleans()):
        row.pop(draw(st.sampled_from(sorted(row))))
    text = "\n".join(json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-7", "shift-jis"]))
    return text.encode(encoding, "replace" if encoding != "utf-8" else "surrogatepass")


@st.composite
def _table(draw: Any) -> bytes:
    """A CSV with odd cells."""
    cells = [[draw(_words()) for _ in range(draw(st.integers(1, 4)))] for _ in range(3)]
    lines = [b"input,output", *(",".join(map(str, row)).encode("utf-8", "surrogatepass") for row in cells)]
    return b"\r\n".join(lines)


@st.composite
def _mutated(draw: Any, base: Strategy) -> bytes:
    """The content with some bytes changed, cut off or doubled."""
    content = bytearray(draw(base))
    for _ in range(draw(st.integers(0, 3))):
        if not content:
            break
        at = draw(st.integers(0, len(content) - 1))
        what = draw(st.sampled_from(["flip", "cut", "double", "zero", "insert"]))
        if what == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del content[at:]
        elif what == "double":
            content += content[at:][:10_000]
        elif what == "zero":
            content[at : at + 4] = b"\0\0\0\0"
        else:
            content[at:at] = draw(st.binary(max_size=8))
    return bytes(content)


def _deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def _row(value: str) -> bytes:
    return b'{"input": "Where?", "output": ' + value.encode() + b"}\n"


_PLAIN = [
    b"",
    b"\n",
    b" " * 1000,
    b"\0" * 1000,
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf",
    b"[",
    b"[]",
    b"{}",
    b"null",
    b"[[]]",
    b"[1,2]",
    b'"text"',
    b"{" * 5000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    _row("NaN"),
    _row("-Infinity"),
    _row("1e999"),
    _row("1" * 5000),
    _row('"\\ud800"'),
    _row('"\\u0000"'),
    _row('"a\u2028b"'),
    _row('"x"') * 3000,
    b'{"input": "a", "input": "b", "output": "c"}',
    b"a,b\n1",
    b'a,"b',
    b"a,a\n1,2",
    b"input,output\n=1+1,@x\n",
    b"a => b",
    b"a => \0",
    b"=> b",
    b"no arrow",
    b"# only a comment",
    b"\r\r\r",
    b"a => b\n" * 3000,
]
_LARGE = [
    _row('"' + "x" * 1_900_000 + '"'),
    b"x" * 2_000_000,
    b"[" * 2_000_000,
    b"1," * 900_000,
    b"\n" * 2_000_000,
    b'{"a":1}\n' * 240_000,
    _row('"y"') * 50_000,
    b'"' * 2_000_000,
    b"a," * 1_000_000 + b"\n",
    b"x" * 3_000_000,
    b'{"' + b'k":1,"' * 300_000 + b'z":1}',
    b"a => b\n" * 250_000,
    b"[" + b"{}," * 600_000 + b"{}]",
    b"{}\n" * 600_000,
    b"{" + b",".join(b'"k%d":1' % number for number in range(20_000)) + b',"k19999":1}',
    b"a,b\n" + b"1,2\n" * 400_000,
    "\U0001f9e8".encode() * 500_000,
]


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../up.jsonl", b"0" * 1_000_000)
    return made.getvalue()


_TWO_THINGS = [
    _zip(),
    _row('"x"') + _zip(),
    gzip.compress(b"0" * 5_000_000),
    b"\x89PNG\r\n\x1a\n" + _row('"x"'),
    b"PAR1" + _row('"x"') + b"PAR1",
    b"<html><script>alert(1)</script>" + _row('"x"'),
    b"%PDF-1.7\n" + _row('"x"'),
    b"<svg onload=alert(1) xmlns='http://www.w3.org/2000/svg'/>",
    b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    b"#!/bin/sh\ntouch pwned\n",
    b"GIF89a" + b"\0" * 100,
    (2**40).to_bytes(8, "little") + b"{}",
]


@functools.cache
def bomb() -> bytes:
    """Parquet with a long word in its dictionary and a thousand rows that name it: a kilobyte that unpacks to 7 GB."""
    import pyarrow as pa

    words = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), pa.array(["x" * 7_000_000]))
    table = pa.table({"input": words, "output": ["y"] * 1_000})
    return _written(table, compression="zstd", store_schema=False)


def _written(table: Any, **options: Any) -> bytes:
    from pyarrow import parquet

    made = io.BytesIO()
    parquet.write_table(table, made, **options)
    return made.getvalue()


@functools.cache
def _parquets() -> list[bytes]:
    """Honest parquet, and parquet that is small here and large there."""
    import pyarrow as pa

    honest = pa.table({key: [row[key] for row in ROWS] for key in ROWS[0]})
    many = pa.table({"input": pa.array(["a"] * 500_000), "output": pa.array(["b"] * 500_000)})
    wide = pa.table({"input": ["x" * 200_000] * 1500, "output": ["y"] * 1500})
    columns = pa.table({f"c{number}": ["x"] for number in range(3000)})
    nested = pa.table({"input": [[["x"]]], "output": [{"a": {"b": 1}}]})
    odd = pa.table({"input": [b"\xff\xfe"], "output": [None], "id": pa.array([1], pa.uint64())})
    dates = pa.table({"input": pa.array([2**60], pa.timestamp("us")), "output": pa.array([1.5], pa.float16())})
    none = pa.table({"input": pa.array([], pa.string()), "output": pa.array([], pa.string())})
    tables = [(t, "zstd") for t in (honest, many, wide, columns, nested, odd, dates, none)] + [(honest, "snappy")]
    return [bomb(), *(_written(table, compression=how) for table, how in tables)]


_PATHS = [
    "/",
    "/config",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/queue/status",
    "/gradio_api/upload",
    "/gradio_api/upload_progress?upload_id=x",
    "/gradio_api/reset",
    "/gradio_api/cancel",
    "/gradio_api/call/generate",
    "/gradio_api/call/generate/x",
    "/gradio_api/run/nothing",
    "/gradio_api/run/predict",
    "/gradio_api/heartbeat/x",
    "/gradio_api/component_server",
    "/gradio_api/stream/x",
    "/gradio_api/process_recording",
    "/gradio_api/vibe-edit",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=",
    "/gradio_api/file=http://100.100.100.200/latest/meta-data",
    "/gradio_api/file=HTTPS://example.org/x",
    "/gradio_api/file/http://100.64.0.1/",
    "/gradio_api/file=ftp://example.org/x",
    "/gradio_api/file=//example.org/x",
    "/gradio_api/heartbeat/" + "x" * 300,
    "/gradio_api/queue/data?session_hash=" + "x" * 300,
    "/gradio_api/upload_progress?upload_id=" + "x" * 300,
    "/gradio_api/proxy=http://127.0.0.1/",
    "/gradio_api/deep_link",
    "/gradio_api/app_id",
    "/gradio_api/startup-events",
    "/gradio_api/custom_component/x/y/z/a.js",
    "/static/../../etc/passwd",
    "/assets/%2e%2e/%2e%2e/etc/passwd",
    "/svelte/x",
    "/theme.css",
    "/login",
    "/logout",
    "/token",
    "/user",
    "/runs",
    "/monitoring",
    "/monitoring/x",
    "/manifest.json",
    "/metrics",
    "/operations",
    "/pwa_icon/512",
    "/robots.txt",
    "/favicon.ico",
    "/?run=../../etc",
    "/?run=%00&probe=%ff",
    "/?__theme=<script>",
    "/%00",
    "/%ff%fe",
    "//evil.example/",
    "/gradio_api/call/v2/generate",
    "/docs",
    "/x" * 2000,
]
_BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff",
    b'{"data": null}',
    b'{"data": []}',
    b'{"data": [], "fn_index": 99999}',
    b'{"data": [], "fn_index": -1, "session_hash": "x"}',
    b'{"data": [1], "fn_index": "x"}',
    b'{"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "fn_index": 3}',
    b'{"data": [{"url": "http://169.254.169.254/", "meta": {"_type": "gradio.FileData"}}], "fn_index": 3}',
    b'{"data": [{"path": "http://100.100.100.200/", "meta": {"_type": "gradio.FileData"}}], "fn_index": 3}',
    b'{"data": [[{"a": {"path": "https://example.org/a.jsonl"}}]], "fn_index": 3, "session_hash": "x"}',
    b'{"data": [' + b"{}," * 50_000 + b'{}], "fn_index": 3, "session_hash": "x"}',
    b'{"data": [' + b'{"":[]},' * 20_000 + b'{}], "fn_index": 3}',
    b'{"data": [], "fn_index": 3, "session_hash": "' + b"x" * 5000 + b'"}',
    '{"data": [], "fn_index": 3}'.encode("utf-16"),
    b"[" * 100_000,
    b'{"data": [' + b"[" * 5000,
    b'{"data": ["\\ud800"], "fn_index": 1}',
    b"a=b&c=d",
    b"--x\r\nContent-Disposition: form-data; name=files; filename=a.jsonl\r\n\r\nx\r\n--x--\r\n",
    b"--x\r\n" * 5000,
]
ROUTES: tuple[Strategy, ...] = (
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]),
    st.one_of(st.sampled_from(_PATHS * 2), st.text("abc./%~0", max_size=30).map("/".__add__)),
    st.one_of(st.sampled_from(_BODIES), st.binary(max_size=200)),
    st.sampled_from(
        [
            {},
            {"Content-Type": "application/json"},
            {"Content-Type": "multipart/form-data; boundary=x"},
            {"Content-Type": "multipart/form-data"},
            {"Content-Type": "text/plain"},
            {"Origin": "https://evil.example"},
            {"Host": "evil.example"},
            {"X-Forwarded-For": "x, , 1.2.3.4.5"},
            {"Cookie": "access-token=x; " * 50},
            {"Range": "bytes=0-99999999999"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "javascript"},
            {"Accept-Language": b"\xff" * 50},
            {"Content-Type": "application/json; charset=utf-16"},
        ]
    ),
)
