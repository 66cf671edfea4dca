"""The body of a request: when it has to be there, and its JSON looked at before Gradio parses it, for how much it
holds and what it names.

Gradio keeps what it is sent and fetches any address in a file record. Parsed, a body of empty objects takes a
hundred times its bytes, so its values are counted first.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fastapi.exceptions import HTTPException
from gradio import route_utils
from starlette.types import Message, Receive

from unlearn_core.limits import FILES_OF_AN_UPLOAD, IDENTIFIER_CHARACTERS
from unlearn_core.system.json_text import holds_more

_Parser = route_utils.GradioMultiPartParser
BODY_SECONDS = 120.0  # that a stranger's request may take to arrive
_SCHEME = re.compile(r"\s*(?:[a-z][a-z0-9+.-]+:|[/\\]{2})", re.IGNORECASE)  # one letter alone is a drive
_KEPT = ("session_hash", "event_id", "oauth_token")  # what Gradio keeps of a body for as long as it likes
_NOT_FETCHED = "A file is named by an address, and nothing is fetched here. Upload the file."


def names_an_address(text: object) -> bool:
    """Whether a file's name is an address of any scheme, which Gradio would fetch."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


def checked_body(raw: bytes, most: int | None, own: Collection[str]) -> tuple[bytes, tuple[int, str] | None]:
    """The body to pass on, and status and words where it goes no further.

    most: JSON values that it may hold, None for any number. own: the names that the page's own addresses have.
    What is not JSON is passed on as it is: the app says so.
    """
    if b"\0" in raw:
        return raw, (400, "The request is not UTF-8 text.")
    if most is not None and holds_more(raw, most):
        return raw, (413, f"The request holds too many values; send at most {most:,}.")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return raw, None
    if isinstance(body, dict):
        for key in _KEPT:
            if isinstance(body.get(key), str) and len(body[key]) > IDENTIFIER_CHARACTERS:
                return raw, (422, f"{key} is too long; use at most {IDENTIFIER_CHARACTERS} characters.")
    changed = False
    for record in _records(body):
        address = record.get("url")
        if names_an_address(record.get("path")) or (names_an_address(address) and not _is_own(str(address), own)):
            return raw, (422, _NOT_FETCHED)
        if address is not None:
            record["url"], changed = None, True  # the page's own name for a file; its path is what counts
    return (json.dumps(body).encode() if changed else raw), None


def _records(body: object) -> Iterator[dict[str, Any]]:
    """Every object that could be a file record, however deep; without recursion."""
    left = [body]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            if "path" in value or "url" in value:
                yield value
            left += value.values()


def _is_own(address: str, own: Collection[str]) -> bool:
    host = in_parts(address).netloc
    return bool(host) and host in own and "/file=" in address


def in_parts(address: str) -> SplitResult:
    """The parts of an address, all of them empty where it has not the form of one."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def in_time(receive: Receive) -> Receive:
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


def again(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives this body, and then what else there is to hear of the visitor."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


class _FewFiles(_Parser):
    """A form that is refused with 400 at its second file or its first field that is none. Gradio takes a thousand files
    in one, each a file and a folder on the disk for the price of one upload, and keeps all their names."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **{**settings, "max_files": FILES_OF_AN_UPLOAD, "max_fields": 0})


def take_few_files(public: bool) -> None:
    """For the page that is served by this process."""
    setattr(route_utils, "GradioMultiPartParser", _FewFiles if public else _Parser)  # noqa: B010
