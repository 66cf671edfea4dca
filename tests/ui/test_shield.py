"""What a public server refuses before anything is parsed, sent to a real one over the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from unlearn_core.limits import UPLOAD_BYTES
from unlearn_core.system.temp_files import for_gradio
from unlearn_core.ui.web.connections import HEADER_SECONDS, IdleConnectionCloser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A public server: its address and its home."""
    from unlearn_core.ui.app import launch

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn_core.ui.app._warm_up", lambda studio: None)  # no model is asked here
        page = launch(home=home, public=True, block=False)
    yield str(page.local_url).rstrip("/"), str(home)
    page.close()


PLACES = [
    "/etc/passwd",
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "~/.bashrc",
    "app.py",
    "./pyproject.toml",
    "unlearn_core/errors.py",
    "file:///etc/passwd",
    "http://127.0.0.1:1/x",
    "http://169.254.169.254/latest",
    "\\\\host\\share",
    "//etc/passwd",
    "/proc/self/environ",
    "{home}/cache/index.sqlite",
    "{home}/runs",
    "{home}/log/lethe.log",
    "/tmp",
    "C:\\windows\\win.ini",
    "/etc/passwd%00.jsonl",
]
ROUTES = ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/static/", "/assets/")


def test_what_arrived_is_charged_and_not_what_was_announced(served: tuple[str, str]) -> None:
    """Announced bytes that never come would else use up what all visitors have together."""
    where = urlsplit(served[0])
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {UPLOAD_BYTES}\r\n"
    for _ in range(20):
        with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=60) as line:
            line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
    assert httpx.post(f"{served[0]}/gradio_api/upload", files={"files": ("a.jsonl", b"{}")}).status_code == 200


def test_a_length_beside_chunks_counts_for_nothing(served: tuple[str, str]) -> None:
    """The server reads the chunks, however long they are."""
    where = urlsplit(served[0])
    head = f"POST /gradio_api/run/list_methods HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
    body = b'c\r\n{"data": []}\r\n0\r\n\r\n'
    for both in ("Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"):
        with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=60) as line:
            line.sendall(f"{head}{both}\r\n\r\n".encode() + body)
            assert line.recv(1000).split(b" ")[1] == b"411"


def test_one_upload_is_one_file(served: tuple[str, str]) -> None:
    before = sum(path.is_file() for path in for_gradio().rglob("*"))
    for rest in ([("files", ("b.jsonl", b"{}"))] * 50, [("note", (None, b"x"))]):
        said = httpx.post(f"{served[0]}/gradio_api/upload", files=[("files", ("a.jsonl", b"[1]")), *rest])
        assert said.status_code == 400
    assert sum(path.is_file() for path in for_gradio().rglob("*")) <= before + 2


def test_only_assets_are_kept_on_the_way(served: tuple[str, str]) -> None:
    with httpx.Client(base_url=served[0]) as asking:
        kept = {
            p: asking.get(p).headers.get("cache-control", "") for p in ("/", "/config", "/gradio_api/info", "/health")
        }
        assert set(kept.values()) == {"private, no-store"}
        said = asking.post("/gradio_api/run/list_methods", json={"data": []})
        assert said.headers["cache-control"] == "private, no-store"
        sent = asking.post("/gradio_api/upload", files={"files": ("a.jsonl", b"{}")}).json()[0]
        assert asking.get(f"/gradio_api/file={sent}").headers["cache-control"] == "private, no-store"
        assert "no-store" not in asking.get("/theme.css").headers.get("cache-control", "")


def test_a_connection_on_which_nothing_is_asked_is_closed() -> None:
    """Headers that never end, and a keep-alive that says nothing; a request at work stays."""

    class Line:
        def __init__(self, cycle: Any) -> None:
            self.cycle, self.closed = cycle, 0
            self.loop, self.transport = self, self

        def close(self) -> None:
            self.closed += 1

        def call_soon_threadsafe(self, function: Any) -> None:
            function()

    done, at_work = SimpleNamespace(response_complete=True), SimpleNamespace(response_complete=False)
    lines = [Line(None), Line(done), Line(at_work), busy := Line(done)]
    closer = IdleConnectionCloser(
        SimpleNamespace(should_exit=True, server_state=SimpleNamespace(connections=set(lines)))
    )
    for now in range(0, int(HEADER_SECONDS) + 6, 5):
        busy.cycle = SimpleNamespace(response_complete=True)  # asked something in between
        closer.close_idle(now)
    assert [line.closed for line in lines] == [1, 1, 0, 0]


def test_too_few_or_too_many_values_are_counted_and_not_told(
    served: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "a-secret-of-a-visitor"
    with httpx.Client(base_url=served[0], timeout=120) as asking:
        for data in ([secret], [secret] * 40):
            said = asking.post("/gradio_api/run/start_run", json={"data": data})
            assert said.status_code == 422
            assert "This call takes 13 values" in said.text
        listeners = [
            d for d in asking.get("/config").json()["dependencies"] if d["backend_fn"] and len(d["inputs"]) > 1
        ]
        for listener in listeners[:6]:
            body = {"fn_index": listener["id"], "data": [secret], "session_hash": "x"}
            assert asking.post("/gradio_api/run/predict", json=body).status_code == 422
    told = capfd.readouterr()
    assert secret not in told.out + told.err
    assert "Traceback" not in told.err


def test_a_value_that_is_no_choice_is_not_told(served: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """The queue prints the errors of Gradio's own components, which name the value."""
    secret = "a-secret-of-a-visitor"
    with httpx.Client(base_url=served[0], timeout=120) as asking:
        page = asking.get("/config").json()
        kinds = {one["id"]: one["type"] for one in page["components"]}
        queued = [d for d in page["dependencies"] if d["backend_fn"] and d["queue"]]
        listener = next(d for d in queued if "radio" in [kinds[i] for i in d["inputs"]])
        body = {"fn_index": listener["id"], "data": [secret] * len(listener["inputs"]), "session_hash": "choices"}
        assert asking.post("/gradio_api/queue/join", json=body).status_code == 200
        answer = asking.get("/gradio_api/queue/data?session_hash=choices").text
    assert "process_completed" in answer
    told = capfd.readouterr()
    assert secret not in told.out + told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("said", [1e308, "x", [1], None])
def test_what_a_component_says_of_an_event_may_be_anything(served: tuple[str, str], said: Any) -> None:
    with httpx.Client(base_url=served[0], timeout=120) as asking:
        listeners = [d for d in asking.get("/config").json()["dependencies"] if d["backend_fn"]]
        told = [d for d in listeners if d["api_name"] in ("use", "order", "pick")]
        assert told
        for listener in told:
            body = {"fn_index": listener["id"], "data": [None] * len(listener["inputs"]), "event_data": said}
            assert asking.post("/gradio_api/run/predict", json=body).status_code != 500


def test_no_file_is_served_but_those_made_for_a_download(served: tuple[str, str]) -> None:
    address, home = served
    with httpx.Client(base_url=address) as asking:
        for place in PLACES:
            for route in ROUTES:
                answer = asking.get(route + place.format(home=home))
                assert answer.status_code in (400, 403, 404, 405), (route, place, answer.status_code)
                assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("POST", "/gradio_api/queue/join", b"\xff\xfe", 422, "body"),
        ("POST", "/gradio_api/run/list_methods", b"\xff", 422, "body"),
        ("POST", "/gradio_api/queue/join", b'{"data": "\xff"}', 422, "body"),
        ("GET", "/gradio_api/call/generate/nobody-asked", b"", 404, "Start another"),
        ("GET", "/gradio_api/call/v2/generate/nobody-asked", b"", 404, "Start another"),
        ("GET", "/gradio_api/queue/data?session_hash=nobody", b"", 200, "session_not_found"),
    ],
)
def test_what_cannot_be_read_or_is_not_there_is_said_and_is_no_fault(
    served: tuple[str, str], method: str, path: str, body: bytes, code: int, words: str
) -> None:
    address, home = served
    said = httpx.request(method, address + path, content=body)
    assert (said.status_code, words in said.text) == (code, True), said.text
    assert "could not be answered" not in (Path(home) / "log" / "lethe.log").read_text()


def test_a_call_is_followed_by_its_number_once(served: tuple[str, str]) -> None:
    calls = f"{served[0]}/gradio_api/call/export"
    number = httpx.post(calls, json={"data": ["no-such-run", "weights"]}, timeout=120).json()["event_id"]
    assert "event: error" in httpx.get(f"{calls}/{number}", timeout=120).text
    assert httpx.get(f"{calls}/{number}").status_code == 404


def test_a_request_that_trickles_in_loses_its_place(served: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn_core.ui.web.request_body.BODY_SECONDS", 0.2)
    where = urlsplit(served[0])
    kinds = {"run/list_methods": "application/json", "upload": "multipart/form-data; boundary=x"}
    for path, kind in kinds.items():
        head = f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: {kind}\r\n"
        with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=60) as line:
            line.sendall(f"{head}Content-Length: 100\r\n\r\n--x".encode())
            assert b" 408 " in line.recv(1000).split(b"\r\n")[0]


def test_an_upload_lies_in_the_folder_of_this_process(served: tuple[str, str]) -> None:
    sent = httpx.post(f"{served[0]}/gradio_api/upload", files={"files": ("a.jsonl", b"{}")}).json()
    assert for_gradio() in Path(sent[0]).parents


@pytest.mark.parametrize("place", ["vibe-edit", "process_recording", "proxy=http://a.example", "deep_link"])
def test_what_lethe_does_not_use_is_closed(served: tuple[str, str], place: str) -> None:
    assert httpx.post(f"{served[0]}/gradio_api/{place}").status_code == 404
