"""Around every listener and endpoint: what cannot be text is refused, and every error ends in words.

Gradio calls listeners with whatever was sent, hides an error it does not know behind no message at all, and
answers 500 even for those it does. Here a person's mistake gets its message, a fault of Lethe's a reference
into the log, and the shield is told which of the two it was.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gradio as gr
from pydantic import ConfigDict, ValidationError, validate_call

from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.markup import text
from unlearn_core.runs.failure import failed

Function = Callable[..., Any]
# What the request under way came to: the shield lays a list down, the guard writes into it.
REFUSED: ContextVar[list[str] | None] = ContextVar("refused", default=None)
_DEEPEST = 32  # lists within lists
_SEE_API = "The page's API view lists what each endpoint takes."


def guard(page: gr.Blocks) -> None:
    """Wrap every function of the page."""
    for listener in page.fns.values():
        if listener.fn is not None:
            listener.fn = guarded(listener.fn)


def guarded(fn: Function) -> Function:
    """`fn` whose errors all end in a message that is shown, escaped."""
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def told(*given: Any, **named: Any) -> Iterator[Any]:
            with _in_words():
                check_text([*given, *named.values()])
                yield from fn(*given, **named)

        return told

    @functools.wraps(fn)
    def called(*given: Any, **named: Any) -> Any:
        with _in_words():
            check_text([*given, *named.values()])
            return fn(*given, **named)

    return called


def typed(fn: Function) -> Function:
    """`fn` that takes only what its annotations say; InputError names the field that is something else."""
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(fn)

    @functools.wraps(fn)
    def called(*given: Any, **named: Any) -> Any:
        try:
            return checked(*given, **named)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            names, place = list(inspect.signature(fn).parameters), first["loc"][0] if first["loc"] else ""
            field = names[place] if isinstance(place, int) and place < len(names) else str(place)
            problem = f"cannot be used ({first['msg']})"
            raise InputError(field, first["input"], problem, _SEE_API) from None

    return called


def check_text(value: Any, depth: int = 0) -> None:
    """InputError where some text in `value` is none that can be written down, or it is nested too deeply."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError("text", value, "holds half of a surrogate pair", "Send it as UTF-8.") from None
    elif isinstance(value, dict | list | tuple):
        if depth > _DEEPEST:
            raise InputError("input", type(value).__name__, "is nested too deeply", "Send plain values.")
        for item in value if not isinstance(value, dict) else [*value, *value.values()]:
            check_text(item, depth + 1)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except gr.Error as error:
        _note(str(error.message))
        raise
    except Exception as error:
        known = isinstance(error, LetheError)
        words = str(error) if known else failed(error).message
        if known:
            _note(words)
        raise gr.Error(str(text(words)), print_exception=False) from None


def _note(words: str) -> None:
    refused = REFUSED.get()
    if refused is not None:
        refused.append(words)
