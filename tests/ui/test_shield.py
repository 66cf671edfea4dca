"""What a server refuses before anything is parsed, sent to a real one over the network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from unlearn_core.limits import (
    ALLOWANCES,
    LARGE_BYTES,
    PAGES_OF_AN_ADDRESS,
    REQUEST_BYTES,
    UPLOAD_BYTES,
    Allowance,
)
from unlearn_core.service.quotas import Quotas
from unlearn_core.system.temp_files import for_gradio
from unlearn_core.ui.web.connections import HEADER_SECONDS, IdleConnectionCloser
from unlearn_core.ui.web.middleware import middleware, rules_for


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<h1>Lethe</h1>")


async def take(request: Request) -> JSONResponse:
    return JSONResponse(len(await request.body()))


async def broken(request: Request) -> HTMLResponse:
    raise ValueError("a path of this machine: /home/lethe")


def client(
    host: str = "127.0.0.1",
    public: bool = False,
    signed_in: bool = False,
    named: Any = (),
    allowances: Mapping[str, Allowance] = ALLOWANCES,
) -> TestClient:
    rules = rules_for(host, public, signed_in, named, framed=public)
    sent = [Route(path, take, methods=["POST"]) for path in ("/run", "/upload")]
    routes = [Route("/", page), *sent, Route("/broken", broken)]
    app = Starlette(routes=routes, middleware=middleware(rules, Quotas(allowances)))
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::1", "0"])
def test_another_name_for_this_machine_gets_no_answer(host: str) -> None:
    said = client().get("/", headers={"Host": host})
    assert said.status_code == 421
    assert "LETHE_HOSTS" in said.text
    assert client().post("/run", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"])
def test_its_own_names_are_answered(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


def test_a_name_that_was_listed_is_answered() -> None:
    known = client(named=["proxy.example", "fe80::1", "*", "a*b"])
    assert known.get("/", headers={"Host": "[fe80::1]:7860"}).status_code == 200
    assert known.get("/", headers={"Host": "other.example"}).status_code == 421  # a star is no name
    assert known.get("/", headers={"Host": "proxy.example"}).status_code == 200
    assert known.post("/run", headers={"Origin": "https://proxy.example"}).status_code == 200
    assert client("0.0.0.0").get("/", headers={"Host": "anything.example"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", "http://127.0.0.1"])
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


def test_a_forged_header_does_not_make_another_visitor() -> None:
    server = client("0.0.0.0", public=True, signed_in=True)
    codes = [server.post("/login", headers={"X-Forwarded-For": f"9.9.{n}.9"}).status_code for n in range(60)]
    assert codes[-1] == 429


def test_uploads_and_requests_are_counted_however_small() -> None:
    few = {
        kind: replace(one, amount=min(one.amount, 4)) if kind in ("file", "request") else one
        for kind, one in ALLOWANCES.items()
    }
    server = client("0.0.0.0", public=True, allowances=few)
    assert [server.post("/run", content=b"{}").status_code for _ in range(30)] == [200] * 20 + [429] * 10
    server = client("0.0.0.0", public=True, allowances={**few, "request": ALLOWANCES["request"]})
    assert [server.post("/upload", content=b"x").status_code for _ in range(30)] == [200] * 20 + [429] * 10


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"data": [' + b"{}," * 20_000 + b"{}]}", 413),
        (b"[" * 20_000, 413),
        (b'{"data": ["' + b'[{,\\"' * 20_000 + b'"]}', 200),  # text, however it looks
        ('{"data": []}'.encode("utf-16"), 400),
        (b'{"data": [], "session_hash": "' + b"x" * 65 + b'"}', 422),
        (b'{"data": [], "event_id": "' + b"x" * 65 + b'"}', 422),
        (b'{"data": [], "session_hash": "' + b"x" * 64 + b'"}', 200),
    ],
)
def test_what_would_take_memory_goes_no_further(body: bytes, code: int) -> None:
    assert client("0.0.0.0", public=True).post("/run", content=body).status_code == code
    if code == 413:
        assert client().post("/run", content=body).status_code == 200  # one's own machine


def test_few_large_requests_are_taken_at_once() -> None:
    """While one lies in memory, the next of the same address is told to wait."""
    import anyio

    release, inside = anyio.Event(), anyio.Event()

    async def slow(request: Request) -> JSONResponse:
        await request.body()
        inside.set()
        await release.wait()
        return JSONResponse("done")

    async def both() -> list[int]:
        rules = rules_for("0.0.0.0", True, False, (), framed=False)
        app = Starlette(routes=[Route("/run", slow, methods=["POST"])], middleware=middleware(rules, Quotas()))
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://lethe") as asking,
            anyio.create_task_group() as group,
        ):
            codes: list[int] = []

            async def send() -> None:
                codes.append((await asking.post("/run", content=b"x" * (LARGE_BYTES + 1))).status_code)

            group.start_soon(send)
            await inside.wait()
            await send()
            codes.append((await asking.post("/upload", content=b"x" * (LARGE_BYTES + 1))).status_code)
            release.set()
        async with httpx.AsyncClient(transport=transport, base_url="http://lethe") as asking:
            codes.append((await asking.post("/run", content=b"x" * (LARGE_BYTES + 1))).status_code)
        return codes

    assert anyio.run(both) == [429, 404, 200, 200]


@pytest.mark.parametrize(
    "scheme", ["http://", "https://", "HTTP://", "ftp://", "file://", "//", " http:", "data:", "s3:"]
)
def test_nothing_is_fetched_from_another_address(scheme: str) -> None:
    """By no door: the address of a file, and a file record in what is sent, in any depth."""
    for server in (client(), client("0.0.0.0", public=True)):
        for door in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/"):
            said = server.get(f"{door}{scheme}100.100.100.200/latest")
            assert (said.status_code, "fetched" in said.text) == (403, True)
        for key in ("path", "url"):
            record = {key: f"{scheme}files.example/a.jsonl", "meta": {"_type": "gradio.FileData"}}
            for data in ([record], [[{"deep": [record]}]]):
                said = server.post("/run", json={"data": data})
                assert (said.status_code, "fetched" in said.text) == (422, True)


@pytest.mark.parametrize("place", ["run", "api"])
def test_a_call_that_is_named_upload_is_none(place: str) -> None:
    """Gradio carries out what the body names, whatever the address says: what comes as JSON is looked at."""
    server = client("0.0.0.0", public=True)
    record = {"path": "http://files.example/a.jsonl", "meta": {"_type": "gradio.FileData"}}
    for end in ("", "/"):
        said = server.post(f"/gradio_api/{place}/upload{end}", json={"data": [record], "fn_index": 3})
        assert (said.status_code, "fetched" in said.text) == (422, True)
        said = server.post(f"/gradio_api/{place}/upload{end}", content=b"[" + b"{}," * 20_000 + b"{}]")
        assert said.status_code == 413


def test_a_page_in_a_folder_of_its_host_is_held_to_the_same() -> None:
    """Routes are found without the folder that GRADIO_ROOT_PATH names, so that is how they are guarded."""
    rules = rules_for("0.0.0.0", True, True, (), framed=False)
    server = TestClient(Starlette(middleware=middleware(rules, Quotas())), root_path="/lethe")
    assert server.get("/lethe/gradio_api/file=http://files.example/a").status_code == 403
    assert "There is nothing here." in server.get("/lethe/gradio_api/proxy=http://files.example/a").text
    assert server.get("/lethe/gradio_api/heartbeat/" + "x" * 65).status_code == 400
    assert server.post("/lethe/login").status_code == 404
    assert [server.post("/lethe/login").status_code for _ in range(60)][-1] == 429


def test_one_upload_is_one_file(served: tuple[str, str]) -> None:
    before = sum(path.is_file() for path in for_gradio().rglob("*"))
    for rest in ([("files", ("b.jsonl", b"{}"))] * 50, [("note", (None, b"x"))]):
        said = httpx.post(f"{served[0]}/gradio_api/upload", files=[("files", ("a.jsonl", b"[1]")), *rest])
        assert said.status_code == 400
    assert sum(path.is_file() for path in for_gradio().rglob("*")) <= before + 2


def _beside(send: Callable[[httpx.AsyncClient], Any], path: str, most: str, number: int) -> tuple[list[int], int]:
    """Status codes of so many requests that are sent together, and how many were answered at once. The limit
    `most` is two."""
    import anyio

    inside, together = 0, 0

    async def slow(request: Request) -> JSONResponse:
        nonlocal inside, together
        inside += 1
        together = max(together, inside)
        await anyio.sleep(0.02)
        inside -= 1
        return JSONResponse("done")

    async def all_of_them() -> list[int]:
        rules = rules_for("0.0.0.0", True, False, (), framed=False)
        app = Starlette(routes=[Route(path, slow)], middleware=middleware(rules, Quotas()))
        codes = []
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lethe") as asking,
            anyio.create_task_group() as group,
        ):

            async def one() -> None:
                codes.append((await send(asking)).status_code)

            for _ in range(number):
                group.start_soon(one)
        return codes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"unlearn_core.ui.web.middleware.{most}", 2)
        return anyio.run(all_of_them), together


def test_one_address_holds_so_many_requests() -> None:
    """Streams of events never end, and each is an open file of the server."""
    place = "/gradio_api/heartbeat/x"
    codes, _ = _beside(lambda asking: asking.get(place), place, "OPEN_OF_AN_ADDRESS", 5)
    assert sorted(codes) == [200, 200, 429, 429, 429]


@pytest.mark.parametrize("place", ["/", "/config", "/gradio_api/info"])
def test_the_page_is_made_few_times_at_once_for_one_address(place: str) -> None:
    codes, together = _beside(lambda asking: asking.get(place), place, "PAGES_OF_AN_ADDRESS", 5)
    assert (codes, together) == ([200] * 5, 2)


def test_whoever_reads_slowly_keeps_nobody_of_their_network_waiting() -> None:
    import anyio

    async def beside_a_slow_reader() -> int:
        rules = rules_for("0.0.0.0", True, False, (), framed=False)
        app = Starlette(routes=[Route("/", page)], middleware=middleware(rules, Quotas()))
        stuck = anyio.Event()

        async def never_read(message: Any) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await anyio.sleep_forever()

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}
        with anyio.fail_after(60):
            async with (
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lethe") as asking,
                anyio.create_task_group() as group,
            ):
                for _ in range(PAGES_OF_AN_ADDRESS):
                    group.start_soon(app, dict(scope), receive, never_read)
                await stuck.wait()
                code = (await asking.get("/")).status_code
                group.cancel_scope.cancel()
        return code

    assert anyio.run(beside_a_slow_reader) == 200


def test_a_large_call_has_its_place_until_it_was_carried_out() -> None:
    """Gradio answers as soon as it has queued a call, and keeps what was sent until its turn."""
    events: dict[str, Any] = {}

    async def join(request: Request) -> JSONResponse:
        events[str(len(events))] = SimpleNamespace(request=request)
        return JSONResponse("queued")

    rules = rules_for("0.0.0.0", True, False, (), framed=False)
    path = "/gradio_api/queue/join"
    app: Any = Starlette(routes=[Route(path, join, methods=["POST"])], middleware=middleware(rules, Quotas()))
    app.get_blocks = lambda: SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events=events))
    server, large = TestClient(app), b"x" * (LARGE_BYTES + 1)
    assert [server.post(path, content=large).status_code for _ in range(2)] == [200, 429]
    assert server.post(path, content=b"x").status_code == 200
    events.clear()
    assert server.post(path, content=large).status_code == 200


def test_the_pages_own_files_are_passed_on_without_their_address() -> None:
    record = {"path": "/uploads/x/a.jsonl", "url": "http://127.0.0.1:7860/gradio_api/file=/uploads/x/a.jsonl"}
    assert client().post("/run", json={"data": [record]}).json() == len(
        '{"data": [{"path": "/uploads/x/a.jsonl", "url": null}]}'
    )


@pytest.mark.parametrize("what", ["?session_hash=", "?upload_id=", "heartbeat"])
def test_names_of_sessions_are_short(what: str) -> None:
    place = "/gradio_api/heartbeat/" if what == "heartbeat" else f"/{what}"
    assert client().get(place + "x" * 65).status_code == 400


def test_another_port_of_this_machine_reads_nothing(served: tuple[str, str]) -> None:
    """Gradio lets every page of this machine read a server on it."""
    said = client().get("/", headers={"Origin": "http://localhost:9999"})
    assert said.status_code == 403
    assert client().get("/", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200


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


def test_a_connection_on_which_nothing_is_asked_is_closed(served: tuple[str, str]) -> None:
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


def test_headers_keep_the_page_to_itself() -> None:
    for public in (False, True):
        headers = client(public=public).get("/").headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert ("huggingface.co" in policy) == public
        assert "hf.space" not in policy  # anybody's page
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
    monkeypatch.setattr("unlearn_core.ui.web.middleware.BODY_SECONDS", 0.2)
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
