"""What a server refuses before anything is parsed, sent to a real one over the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from unlearn_core.limits import REQUEST_BYTES, UPLOAD_BYTES
from unlearn_core.ui.quotas import Quotas
from unlearn_core.ui.scratch import for_gradio
from unlearn_core.ui.shield import middleware, rules_for


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<h1>Lethe</h1>")


async def take(request: Request) -> JSONResponse:
    return JSONResponse(len(await request.body()))


async def broken(request: Request) -> HTMLResponse:
    raise ValueError("a path of this machine: /home/lethe")


def client(
    host: str = "127.0.0.1", public: bool = False, signed_in: bool = False, named: Any = ()
) -> TestClient:
    rules = rules_for(host, public, signed_in, named, framed=public)
    sent = [Route(path, take, methods=["POST"]) for path in ("/run", "/upload")]
    routes = [Route("/", page), *sent, Route("/broken", broken)]
    app = Starlette(routes=routes, middleware=middleware(rules, Quotas()))
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::1", "0"]
)
def test_another_name_for_this_machine_gets_no_answer(host: str) -> None:
    said = client().get("/", headers={"Host": host})
    assert said.status_code == 421
    assert "LETHE_HOSTS" in said.text
    assert client().post("/run", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"])
def test_its_own_names_are_answered(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


def test_a_name_that_was_listed_is_answered() -> None:
    known = client(named=["proxy.example"])
    assert known.get("/", headers={"Host": "proxy.example"}).status_code == 200
    assert known.post("/run", headers={"Origin": "https://proxy.example"}).status_code == 200
    assert client("0.0.0.0").get("/", headers={"Host": "anything.example"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9999", "http://127.0.0.1"]
)
def test_another_sites_page_sends_nothing(origin: str) -> None:
    for server in (client(), client("0.0.0.0"), client(public=True, signed_in=True)):
        assert server.post("/run", headers={"Origin": origin}).status_code == 403
    assert client().post("/run", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client().post("/run").status_code == 200  # a program, not a page


def test_what_strangers_send_has_a_bearable_size() -> None:
    server = client("0.0.0.0", public=True)
    assert server.post("/run", content=b"x" * 1000).json() == 1000
    large = server.post("/run", content=b"x" * (REQUEST_BYTES + 1))
    assert large.status_code == 413
    assert f"{REQUEST_BYTES:,}" in large.text
    assert server.post("/upload", content=b"x" * (UPLOAD_BYTES + 1)).status_code == 413
    assert server.post("/run", content=iter([b"x"])).status_code == 411  # no length, so no end
    assert client().post("/run", content=b"x" * (UPLOAD_BYTES + 1)).status_code == 200


def test_an_upload_flood_runs_dry() -> None:
    server = client("0.0.0.0", public=True)
    codes = [server.post("/upload", content=b"x" * UPLOAD_BYTES).status_code for _ in range(40)]
    assert codes[0] == 200
    assert codes[-1] == 429
    assert codes.count(200) * UPLOAD_BYTES <= 200 * 2**20


def test_headers_keep_the_page_to_itself() -> None:
    for public in (False, True):
        headers = client(public=public).get("/").headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert ("huggingface.co" in policy) == public
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


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
    "/etc/passwd", "../../../../etc/passwd", "..%2f..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd",
    "~/.bashrc", "app.py", "./pyproject.toml", "unlearn_core/errors.py", "file:///etc/passwd",
    "http://127.0.0.1:1/x", "http://169.254.169.254/latest", "\\\\host\\share", "//etc/passwd",
    "/proc/self/environ", "{home}/cache/index.sqlite", "{home}/runs", "{home}/log/lethe.log", "/tmp",
    "C:\\windows\\win.ini", "/etc/passwd%00.jsonl",
]  # fmt: skip
ROUTES = ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/static/", "/assets/")


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


def test_a_request_that_trickles_in_loses_its_place(
    served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn_core.ui.shield.BODY_SECONDS", 0.2)
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


def test_a_guesser_of_passwords_is_slowed_down() -> None:
    server = client("0.0.0.0", public=True, signed_in=True)
    codes = [server.post("/login").status_code for _ in range(60)]
    assert codes[0] == 404  # there is no such route in this small app: it got through
    assert codes[-1] == 429
    open_to_all = client("0.0.0.0", public=True)
    assert {open_to_all.post("/login").status_code for _ in range(60)} == {404}


@pytest.mark.parametrize("place", ["vibe-edit", "process_recording", "proxy=http://a.example", "deep_link"])
def test_what_lethe_does_not_use_is_closed(served: tuple[str, str], place: str) -> None:
    assert httpx.post(f"{served[0]}/gradio_api/{place}").status_code == 404


def test_a_fault_on_the_way_in_tells_nothing() -> None:
    said = client().get("/broken")
    assert said.status_code == 400
    assert "/home/lethe" not in said.text
    assert "cannot be understood" in said.text
