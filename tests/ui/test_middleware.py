"""What the middleware refuses before anything is parsed, asked of a small app behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from unlearn_core.limits import ALLOWANCES, LARGE_BYTES, PAGES_OF_AN_ADDRESS, REQUEST_BYTES, UPLOAD_BYTES, Allowance
from unlearn_core.service.quotas import Quotas
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


def guarded(*routes: Route) -> Starlette:
    """These routes behind what guards a public server."""
    rules = rules_for("0.0.0.0", True, False, (), framed=False)
    return Starlette(routes=routes, middleware=middleware(rules, Quotas()))


def asking_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lethe")


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
    release, inside = anyio.Event(), anyio.Event()

    async def slow(request: Request) -> JSONResponse:
        await request.body()
        inside.set()
        await release.wait()
        return JSONResponse("done")

    async def both() -> list[int]:
        app = guarded(Route("/run", slow, methods=["POST"]))
        async with asking_of(app) as asking, anyio.create_task_group() as group:
            codes: list[int] = []

            async def send() -> None:
                codes.append((await asking.post("/run", content=b"x" * (LARGE_BYTES + 1))).status_code)

            group.start_soon(send)
            await inside.wait()
            await send()
            codes.append((await asking.post("/upload", content=b"x" * (LARGE_BYTES + 1))).status_code)
            release.set()
        async with asking_of(app) as asking:
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


def _beside(send: Callable[[httpx.AsyncClient], Any], path: str, most: str, number: int) -> tuple[list[int], int]:
    """Status codes of so many requests that are sent together, and how many were answered at once. The limit
    `most` is two."""
    inside, together = 0, 0

    async def slow(request: Request) -> JSONResponse:
        nonlocal inside, together
        inside += 1
        together = max(together, inside)
        await anyio.sleep(0.02)
        inside -= 1
        return JSONResponse("done")

    async def all_of_them() -> list[int]:
        codes = []
        async with asking_of(guarded(Route(path, slow))) as asking, anyio.create_task_group() as group:

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
    async def beside_a_slow_reader() -> int:
        app = guarded(Route("/", page))
        stuck = anyio.Event()

        async def never_read(message: Any) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await anyio.sleep_forever()

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}
        with anyio.fail_after(60):
            async with asking_of(app) as asking, anyio.create_task_group() as group:
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

    path = "/gradio_api/queue/join"
    app: Any = guarded(Route(path, join, methods=["POST"]))
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


def test_another_port_of_this_machine_reads_nothing() -> None:
    """Gradio lets every page of this machine read a server on it."""
    said = client().get("/", headers={"Origin": "http://localhost:9999"})
    assert said.status_code == 403
    assert client().get("/", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200


def test_headers_keep_the_page_to_itself() -> None:
    for public in (False, True):
        headers = client(public=public).get("/").headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert ("huggingface.co" in policy) == public
        assert "hf.space" not in policy  # anybody's page
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_a_guesser_of_passwords_is_slowed_down() -> None:
    server = client("0.0.0.0", public=True, signed_in=True)
    codes = [server.post("/login").status_code for _ in range(60)]
    assert codes[0] == 404  # there is no such route in this small app: it got through
    assert codes[-1] == 429
    open_to_all = client("0.0.0.0", public=True)
    assert {open_to_all.post("/login").status_code for _ in range(60)} == {404}


def test_a_fault_on_the_way_in_tells_nothing() -> None:
    said = client().get("/broken")
    assert said.status_code == 400
    assert "/home/lethe" not in said.text
    assert "cannot be understood" in said.text
