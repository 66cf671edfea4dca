"""What stands between the network and the page: sizes, foreign pages, foreign names, and headers.

Gradio limits the size of a file but not their number nor any other request, and lets a page of another
site send requests to a server on this machine; a browser that is tricked by DNS into taking another name for
this machine even reads the answers. All of that is refused here, before anything is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi.exceptions import HTTPException, RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlearn_core.errors import LetheError
from unlearn_core.limits import REQUEST_BYTES, UPLOAD_BYTES
from unlearn_core.runs.log import LOGGER
from unlearn_core.ui.guarded import FAULTS
from unlearn_core.ui.quotas import Quotas
from unlearn_core.ui.visitor import address_of, mark

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CALLS = ("/gradio_api/run/", "/gradio_api/api/")
BODY_SECONDS = 120.0  # that a stranger's request may take to arrive
_NOT_UNDERSTOOD = "What was sent cannot be used. The page's API view lists what each endpoint takes."
_NO_SUCH_CALL = "No call of this number is under way, or its answer was read. Start another with POST."
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Parts of Gradio that Lethe has no use for: fetching other addresses, editing the app, recordings, links.
_CLOSED = (
    "/proxy=", "/vibe-", "/undo-vibe", "/process_recording", "/stream", "/deep_link", "/component_server",
    "/dev/", "/custom_component", "/profiling", "/run-history",
)  # fmt: skip
_FRAMES = "frame-ancestors 'self'"
_FRAMES_ON_A_SPACE = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
# Gradio needs scripts in the page and templates made into functions; nothing needs another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; "
)


@dataclass(frozen=True)
class Rules:
    """What is let through. hosts: the names this server answers to, None for any. sizes: whether the limits
    for strangers hold. own_pages_only: whether only this page may send anything. signs_in: whether there
    are passwords to guess. framed: whether a Space's page may frame this one."""

    hosts: Collection[str] | None = None
    sizes: bool = False
    own_pages_only: bool = True
    signs_in: bool = False
    framed: bool = False


class Shield:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, rules: Rules, quotas: Quotas) -> None:
        self.app, self.rules, self.quotas = app, rules, quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope, Headers(scope=scope))
        if refused is not None:
            code, words = refused
            await PlainTextResponse(words + "\n", code)(scope, receive, self._with_headers(send))
            return
        receive = _in_time(receive) if self.rules.sizes else receive
        await self._served(scope, receive, self._with_headers(send))

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's answer; where it stumbles over what it was sent, words instead of a server error."""
        begun, faults = False, list[str]()
        FAULTS.set(faults)
        answer = _Mended(send, faults) if str(scope["path"]).startswith(_CALLS) else send

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await answer(message)

        try:
            await self.app(scope, receive, sending)
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

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and words for a request that goes no further."""
        host, rules = headers.get("host", ""), self.rules
        if rules.hosts is not None and _name(f"//{host}") not in rules.hosts:
            mend = "Open it by its own address, or list the name in LETHE_HOSTS."
            return 421, f"This server does not answer to the name in the address. {mend}"
        path = str(scope["path"])
        if "\0" in path:
            return 400, "The address holds a character that no address has."
        if any(path.startswith((closed, f"/gradio_api{closed}")) for closed in _CLOSED):
            return 404, "There is nothing here."
        if scope["method"] in _SAFE_METHODS:
            return (404, _NO_SUCH_CALL) if _follows_nothing(scope, path) else None
        origin = headers.get("origin")
        if rules.own_pages_only and origin is not None and not self._is_own(origin, host, headers):
            return 403, "Another site's page may not send anything here. Open Lethe's own page."
        if rules.signs_in and path.rstrip("/") == "/login":
            return self._spend("sign in", scope, headers, 1)
        return self._too_much(scope, headers) if rules.sizes else None

    def _is_own(self, origin: str, host: str, headers: Headers) -> bool:
        if urlsplit(origin).netloc in (host, headers.get("x-forwarded-host", host)):
            return True
        return self.rules.hosts is not None and _name(origin) in set(self.rules.hosts) - LOOPBACK

    def _too_much(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """A body without a length could grow for ever; one with a length is as long as it says."""
        told = headers.get("content-length")
        if told is None:
            chunked = "transfer-encoding" in headers
            return (411, "Say how long the request is (Content-Length).") if chunked else None
        if not told.isdigit():
            return 400, "Content-Length is not a number."
        size, uploads = int(told), str(scope["path"]).rstrip("/").endswith("/upload")
        most = UPLOAD_BYTES if uploads else REQUEST_BYTES
        if size > most:
            return 413, f"The request holds {size:,} bytes; send at most {most:,}."
        return self._spend("upload", scope, headers, size) if uploads else None

    def _spend(self, kind: str, scope: Scope, headers: Headers, amount: int) -> tuple[int, str] | None:
        """Count it against the address it comes from."""
        peer = scope.get("client")
        try:
            self.quotas.take(kind, "", mark(address_of(headers, peer[0] if peer else None)), amount)
        except LetheError as error:
            return 429, str(error)
        return None

    def _with_headers(self, send: Send) -> Send:
        frames = _FRAMES_ON_A_SPACE if self.rules.framed else _FRAMES

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"  # a run's address is the key to it
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = _POLICY + frames
            await send(message)

        return sending


class _Mended:
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


def _in_time(receive: Receive) -> Receive:
    """`receive` that gives up, with 408, on a body that trickles in for ever to hold a place."""
    end = asyncio.get_running_loop().time() + BODY_SECONDS
    whole = False

    async def receiving() -> Message:
        nonlocal whole
        if whole:  # from here on it only tells that the visitor left
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"The request did not arrive within {BODY_SECONDS:.0f} s.") from None
        whole = not message.get("more_body", False)
        return message

    return receiving


def _follows_nothing(scope: Scope, path: str) -> bool:
    """Whether the answer to a call is asked for that Gradio's queue does not know, or has given already: it
    would begin to answer, and only then say that there is nothing, or wait for ever."""
    if not path.startswith("/gradio_api/call/"):
        return False
    queue, event = scope["app"].get_blocks()._queue, path.rpartition("/")[2]
    unread = list(queue.pending_event_ids_session.values())
    return not any(event in known for known in (queue.event_ids_to_events, *unread))


def _name(address: str) -> str:
    """The host's name in an address, without its port; "" where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def rules_for(host: str, public: bool, signed_in: bool, named: Collection[str], framed: bool) -> Rules:
    """A server on this machine alone answers to its own names; every other may be reached by any name.

    `named` are further names of this machine. A public page holds nothing that another site's page could
    misuse, unless visitors sign in.
    """
    private = host in LOOPBACK and not public
    hosts = LOOPBACK | set(named) if private else None
    return Rules(hosts, public, not public or signed_in, signed_in, framed)


def middleware(rules: Rules, quotas: Quotas) -> list[Any]:
    """For the `app_kwargs` of `launch`."""
    from starlette.middleware import Middleware

    return [Middleware(Shield, rules=rules, quotas=quotas)]


async def not_understood(_: Request, error: Exception) -> JSONResponse:
    """422 in words for a body or an address that does not have the form it should. FastAPI would send back
    what it was sent, and fails where that is no UTF-8."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{place}: {first['msg']}. {_NOT_UNDERSTOOD}"}, 422)


EXCEPTION_HANDLERS = {RequestValidationError: not_understood}  # for the `app_kwargs` of `launch`
