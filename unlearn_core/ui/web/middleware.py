"""What stands between the network and the page: sizes, foreign pages, foreign names, and headers.

Gradio limits the size of a file but not their number nor any other request, fetches any address that it is
given as a file, and lets a page of another site send requests to a server on this machine; a browser that is
tricked by DNS into taking another name for this machine even reads the answers. All of that is refused here,
before anything is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

import anyio.to_thread
from fastapi.exceptions import HTTPException, RequestValidationError
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlearn_core.errors import LetheError
from unlearn_core.limits import (
    CALLS_OF_AN_ADDRESS,
    IDENTIFIER_CHARACTERS,
    LARGE_AT_ONCE,
    LARGE_BYTES,
    LARGE_OF_ADDRESS,
    OPEN_OF_AN_ADDRESS,
    PAGES_OF_AN_ADDRESS,
    REQUEST_BYTES,
    REQUEST_VALUES,
    UPLOAD_BYTES,
)
from unlearn_core.service.quotas import Quotas
from unlearn_core.system.log import LOGGER
from unlearn_core.ui.web.error_handling import FAULTS
from unlearn_core.ui.web.request_body import again, checked_body, in_parts, in_time, names_an_address
from unlearn_core.ui.web.visitor import mark, network

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CALLS = ("/gradio_api/run/", "/gradio_api/api/")
_QUEUED = ("/gradio_api/queue/join", "/gradio_api/call/")
_FILES = ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/")
# The same for every visitor, so that a browser and a proxy may keep it.
_ASSETS = ("/assets/", "/static/", "/svelte/", "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/pwa_icon")
# What a page is drawn from: each takes up to 40 ms of work, in which nobody else is answered.
_PAGES = ("", "/config", "/gradio_api/info", "/gradio_api/openapi.json")
_UPLOADS = ("/gradio_api/upload", "/upload")
_LARGE = "lethe.large"  # in the scope of a request whose body is
_NOT_UNDERSTOOD = "What was sent cannot be used. The page's API view lists what each endpoint takes."
_NO_SUCH_CALL = "No call of this number is under way, or its answer was read. Start another with POST."
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Parts of Gradio that Lethe has no use for: fetching other addresses, editing the app, recordings, links.
_CLOSED = (
    "/proxy=",
    "/vibe-",
    "/undo-vibe",
    "/process_recording",
    "/stream",
    "/deep_link",
    "/component_server",
    "/dev/",
    "/custom_component",
    "/profiling",
    "/run-history",
)
_FRAMES = "frame-ancestors 'self'"
_FRAMES_ON_A_SPACE = "frame-ancestors 'self' https://huggingface.co"
# Gradio needs scripts in the page and templates made into functions; nothing needs another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; "
)


@dataclass(frozen=True)
class ProtectionRules:
    """What is let through. hosts: the names this server answers to, None for any. sizes: whether the limits
    for strangers hold. own_pages_only: whether only this page may send and read. signs_in: whether there
    are passwords to guess. framed: whether a Space's page may frame this one."""

    hosts: Collection[str] | None = None
    sizes: bool = False
    own_pages_only: bool = True
    signs_in: bool = False
    framed: bool = False


class ProtectionMiddleware:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, rules: ProtectionRules, quotas: Quotas) -> None:
        self.app, self.rules, self.quotas = app, rules, quotas
        self._open = Counter[str]()  # requests under way, by address
        self._large = Counter[str]()  # those whose body is large
        self._turns = WeakValueDictionary[str, asyncio.Semaphore]()
        hosts = ["*"] if rules.hosts is None else [name for name in rules.hosts if "*" not in name]  # no patterns
        hosts = [f"[{name}]" if ":" in name else name for name in hosts]
        self._host_check = TrustedHostMiddleware(_known_host, hosts, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send, headers = self._with_headers(scope, send), Headers(scope=scope)
        try:
            await self._host_check(scope, receive, _strange_host)
            self._check(scope, headers)
            with self._place(scope, headers):
                receive = await self._checked(scope, headers, receive)
                await self._in_turn(scope, receive, send)
        except _Refused as refused:
            await PlainTextResponse(f"{refused.words}\n", refused.code)(scope, receive, send)
        except ClientDisconnect:
            return  # gone before all of it was sent: there is nobody to answer

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's answer. Of those that take long to make, few are made for one address at a time, and the
        others' in between; how long it takes to read them is nobody else's business."""
        if not self.rules.sizes or get_route_path(scope).rstrip("/") not in _PAGES:
            await self._served(scope, receive, send)
            return
        turn = self._turns.setdefault(_address(scope), asyncio.Semaphore(PAGES_OF_AN_ADDRESS))
        await turn.acquire()
        over = contextlib.ExitStack()
        over.callback(turn.release)

        async def sending(message: Message) -> None:
            over.close()  # it is made
            await send(message)

        with over:
            await self._served(scope, receive, sending)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's answer; where it stumbles over what it was sent, words instead of a server error."""
        begun, faults = False, list[str]()
        FAULTS.set(faults)
        answer = _StatusCorrection(send, faults) if get_route_path(scope).startswith(_CALLS) else send

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await answer(message)

        try:
            await self.app(scope, receive, sending)
        except ClientDisconnect:
            raise
        except Exception as error:
            if begun and isinstance(error.__cause__, HTTPException):
                # A stream of events that nobody waits for ends in words, and then raises them as well.
                await answer({"type": "http.response.body", "body": b"", "more_body": False})
                return
            reference = secrets.token_hex(4)
            LOGGER.exception("a request could not be answered", extra={"facts": {"reference": reference}})
            if not begun:
                words = f"This request cannot be understood; the log has it under reference {reference}.\n"
                await PlainTextResponse(words, 400)(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """_Refused for a request that goes no further, by its address and its headers."""
        host, rules = headers.get("host", ""), self.rules
        path, origin = get_route_path(scope), headers.get("origin")
        if "\0" in path:
            raise _Refused(400, "The address holds a character that no address has.")
        if any(path.startswith((closed, f"/gradio_api{closed}")) for closed in _CLOSED):
            raise _Refused(404, "There is nothing here.")
        if rules.own_pages_only and origin is not None and not self._is_own(origin, host, headers):
            raise _Refused(403, "Another site's page may neither send nor read anything here. Open Lethe's own page.")
        if any(len(name) > IDENTIFIER_CHARACTERS for name in _identifiers(scope, path)):
            raise _Refused(400, f"A session, call or upload has a name of at most {IDENTIFIER_CHARACTERS} characters.")
        place = next((path.removeprefix(start) for start in _FILES if path.startswith(start)), "")
        if names_an_address(place):
            raise _Refused(403, "Nothing is fetched from another address here.")
        if scope["method"] in _SAFE_METHODS:
            if _follows_nothing(scope, path):
                raise _Refused(404, _NO_SUCH_CALL)
            return
        if rules.signs_in and path.rstrip("/") == "/login":
            self._spend("sign in", scope)
        if rules.sizes:
            self._check_amount(scope, headers, path)

    def _is_own(self, origin: str, host: str, headers: Headers) -> bool:
        there = in_parts(origin)
        if there.netloc in (host, headers.get("x-forwarded-host", host)):
            return True
        return self.rules.hosts is not None and there.hostname in set(self.rules.hosts) - LOOPBACK

    def _check_amount(self, scope: Scope, headers: Headers, path: str) -> None:
        """A body in chunks could grow for ever, whatever length is told beside; one with a length alone is as
        long as it says. What arrives is counted as it does: a length alone costs nothing."""
        told = headers.get("content-length")
        if "transfer-encoding" in headers:
            raise _Refused(411, "Say how long the request is (Content-Length).")
        if told is not None and not told.isdigit():
            raise _Refused(400, "Content-Length is not a number.")
        size, uploads = int(told or 0), _uploads(path)
        most = UPLOAD_BYTES if uploads else REQUEST_BYTES
        if size > most:
            raise _Refused(413, f"The request holds {size:,} bytes; send at most {most:,}.")
        self._spend("request", scope)
        if uploads:
            self._spend("file", scope)
        self._spend("upload" if uploads else "bytes", scope, 0, room=size)
        if path.startswith(_QUEUED) and _by_address(_queued(scope))[_address(scope)] >= CALLS_OF_AN_ADDRESS:
            raise _Refused(429, "Many calls from your network are waiting. Try again when some of them are done.")

    def _spend(self, kind: str, scope: Scope, amount: int = 1, room: int = 0) -> None:
        """Count it against the address it comes from."""
        try:
            self.quotas.take(kind, "", _address(scope), amount, room)
        except LetheError as error:
            raise _Refused(429, str(error)) from None

    @contextlib.contextmanager
    def _place(self, scope: Scope, headers: Headers) -> Iterator[None]:
        """One of the many that an address has: every request under way is an open file, and some never end. And one
        of the few that there are for large bodies, which lie in memory until they are answered, and what Gradio
        queues until it is its turn."""
        with contextlib.ExitStack() as places:
            if self.rules.sizes:
                address, path = _address(scope), get_route_path(scope)
                if self._open[address] >= OPEN_OF_AN_ADDRESS:
                    mend = "Close some pages, and try again."
                    raise _Refused(429, f"Your network has too many requests under way. {mend}")
                places.enter_context(_counting(self._open, address))
                if int(headers.get("content-length") or 0) > LARGE_BYTES and not _uploads(path):
                    queued = _queued(scope) if path.startswith(_QUEUED) else []
                    taken = self._large + _by_address(one for one in queued if _LARGE in one)
                    if taken[address] >= LARGE_OF_ADDRESS or taken.total() >= LARGE_AT_ONCE:
                        mend = "Send this one again in a moment."
                        raise _Refused(429, f"Large requests are taken one after another. {mend}")
                    scope[_LARGE] = True
                    places.enter_context(_counting(self._large, address))
            yield

    async def _checked(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """The body of a request, in time and counted; JSON is read whole and looked at first."""
        if self.rules.sizes:
            receive = self._counted(scope, in_time(receive))
        if scope["method"] in _SAFE_METHODS or _uploads(get_route_path(scope)):
            return receive
        try:
            body = await Request(scope, receive).body()
        except HTTPException as error:
            raise _Refused(error.status_code, str(error.detail)) from None
        host, origin = headers.get("host", ""), headers.get("origin", "")
        own = {host, headers.get("x-forwarded-host", host), in_parts(origin).netloc}
        given = (body, REQUEST_VALUES if self.rules.sizes else None, own)
        large = len(body) > LARGE_BYTES
        body, refused = await anyio.to_thread.run_sync(checked_body, *given) if large else checked_body(*given)
        if refused is not None:
            raise _Refused(*refused)
        scope["headers"] = [
            (name, str(len(body)).encode() if name == b"content-length" else value) for name, value in scope["headers"]
        ]
        return again(body, receive)

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        kind = "upload" if _uploads(get_route_path(scope)) else "bytes"

        async def receiving() -> Message:
            message = await receive()
            size = len(message.get("body", b""))
            if size:
                try:
                    self._spend(kind, scope, size)
                except _Refused as refused:
                    raise HTTPException(refused.code, refused.words) from None
            return message

        return receiving

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        frames = _FRAMES_ON_A_SPACE if self.rules.framed else _FRAMES
        private = not get_route_path(scope).startswith(_ASSETS)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"  # a run's address is the key to it
                if private:
                    headers["Cache-Control"] = "private, no-store"
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = _POLICY + frames
            await send(message)

        return sending


class _Refused(Exception):
    """Status and words for a request that goes no further."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


async def _known_host(scope: Scope, receive: Receive, send: Send) -> None:
    """What Starlette's check lets through goes on where it was asked."""


async def _strange_host(message: Message) -> None:
    """In place of Starlette's answer, which does not say what to do."""
    mend = "Open it by its own address, or list the name in LETHE_HOSTS."
    raise _Refused(421, f"This server does not answer to the name in the address. {mend}")


class _StatusCorrection:
    """Gradio answers 500 to every call that came to nothing. What could not be done as it was asked for is
    422 here, and says why; a fault of Lethe stays 500."""

    def __init__(self, send: Send, faults: list[str]) -> None:
        self.send, self.faults = send, faults
        self.held: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500 and not self.faults:
            self.held = {**message, "status": 422}
        elif self.held is None:
            await self.send(message)
        else:
            body = message["body"]
            with contextlib.suppress(ValueError):
                said = json.loads(body)
                if isinstance(said, dict) and said.get("error") is None:
                    body = json.dumps({**said, "error": _NOT_UNDERSTOOD}).encode()
            MutableHeaders(raw=self.held["headers"])["content-length"] = str(len(body))
            held, self.held = self.held, None
            await self.send(held)
            await self.send({**message, "body": body})


def _uploads(path: str) -> bool:
    return path.rstrip("/") in _UPLOADS


@contextlib.contextmanager
def _counting(under_way: Counter[str], address: str) -> Iterator[None]:
    under_way[address] += 1
    try:
        yield
    finally:
        under_way[address] -= 1
        if not under_way[address]:
            del under_way[address]


def _address(scope: Scope) -> str:
    peer = scope.get("client")
    return mark(network(peer[0] if peer else ""))


def _queued(scope: Scope) -> list[Scope]:
    """The requests whose calls wait in Gradio's queue or are carried out."""
    return [event.request.scope for event in list(scope["app"].get_blocks()._queue.event_ids_to_events.values())]


def _by_address(requests: Iterable[Scope]) -> Counter[str]:
    return Counter(map(_address, requests))


def _identifiers(scope: Scope, path: str) -> Iterator[str]:
    """What a request's address calls a session, a call or an upload: Gradio keeps it."""
    for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")):
        if name in ("session_hash", "upload_id", "event_id"):
            yield value
    if path.startswith("/gradio_api/heartbeat/"):
        yield path.removeprefix("/gradio_api/heartbeat/")


def _follows_nothing(scope: Scope, path: str) -> bool:
    """Whether the answer to a call is asked for that Gradio's queue does not know, or has given already: it
    would begin to answer, and only then say that there is nothing, or wait for ever."""
    if not path.startswith("/gradio_api/call/"):
        return False
    queue, event = scope["app"].get_blocks()._queue, path.rpartition("/")[2]
    unread = list(queue.pending_event_ids_session.values())
    return not any(event in known for known in (queue.event_ids_to_events, *unread))


def rules_for(host: str, public: bool, signed_in: bool, named: Collection[str], framed: bool) -> ProtectionRules:
    """A server on this machine alone answers to its own names; every other may be reached by any name.

    `named` are further names of this machine. A public page holds nothing that another site's page could
    misuse, unless visitors sign in.
    """
    private = host in LOOPBACK and not public
    hosts = LOOPBACK | set(named) if private else None
    return ProtectionRules(hosts, public, not public or signed_in, signed_in, framed)


def middleware(rules: ProtectionRules, quotas: Quotas) -> list[Middleware]:
    """For the `app_kwargs` of `launch`."""
    return [Middleware(ProtectionMiddleware, rules=rules, quotas=quotas)]


async def not_understood(_: Request, error: Exception) -> JSONResponse:
    """422 in words for a body or an address that does not have the form it should. FastAPI would send back
    what it was sent, and fails where that is no UTF-8."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{place}: {first['msg']}. {_NOT_UNDERSTOOD}"}, 422)


EXCEPTION_HANDLERS = {RequestValidationError: not_understood}  # for the `app_kwargs` of `launch`
