"""A tokenizer's chat template, rendered under limits: it is a program that came with the model.

transformers keeps it from files and attributes, not from loops without end or from texts of gigabytes. So a
template is first tried in a process whose memory and time are limited; after that it is held to its time here.
A template that behaves at its trial and asks for memory at other words is not caught.

    python -m unlearn_core.data.chat_template SECONDS MEMORY    JSON of the template on standard input
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.system.limited import LimitReached, hold_to, limited, say

SECONDS, MEMORY = 5.0, 256 * 2**20  # for one conversation
_MAX_TEMPLATE = 256 * 1024  # characters
_IMPORTS = 120.0  # seconds that the child's imports may take on a busy machine
_TRIED: dict[str, str] = {}  # what was wrong with a template at its trial, "" for nothing
_MEND = "Choose the prompt format raw, or use a tokenizer with a plain template."


def applied(tokenizer: Any, template: str, turns: list[dict[str, str]], **settings: Any) -> str:
    """The conversation `turns` (role and content) put through `template`. `settings` are passed on to
    `apply_chat_template`. InputError for one that takes too long or too much memory; what it raises of its own,
    as for a conversation that it refuses, comes as it is."""
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    _try(template, tokens | settings, turns)
    try:
        with _within(SECONDS):
            text: str = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, **settings)
    except _TooSlow:
        raise _unusable(f"takes longer than {SECONDS:g} s") from None
    return text


def _try(template: str, settings: dict[str, object], turns: list[dict[str, str]]) -> None:
    """InputError unless a process of its own has rendered the template once."""
    if len(template) > _MAX_TEMPLATE:
        raise _unusable(f"is too long ({len(template):,} characters)")
    if template not in _TRIED:
        given = json.dumps({"template": template, "settings": settings, "turns": turns}).encode()
        try:
            with limited(__name__, SECONDS, MEMORY, seconds=_IMPORTS, line=1 << 20, given=given) as told:
                _TRIED[template] = "".join(kind for kind, _ in told)
        except LimitReached:
            _TRIED[template] = f"takes more than {SECONDS:g} s or {MEMORY >> 20} MiB"
    if _TRIED[template]:
        raise _unusable(_TRIED[template])


def _unusable(problem: str) -> InputError:
    return InputError("prompt", "the chat template", problem, _MEND)


class _TooSlow(BaseException):
    """Not an Exception, so that no template's filter catches it."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise _TooSlow in this thread when Python code still runs after `seconds`."""
    end, before = time.monotonic() + seconds, sys.gettrace()

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > end:
            raise _TooSlow
        return look

    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


def _serve(seconds: float, memory: int) -> None:
    """The child's side: an end, for a template that comes to one."""
    import jinja2
    from transformers.utils.chat_template_utils import render_jinja_template

    given = json.load(sys.stdin)
    hold_to(memory)
    with suppress(AttributeError, ValueError):  # a system without alarms
        signal.setitimer(signal.ITIMER_REAL, seconds)  # which ends this process
    with suppress(jinja2.TemplateError, TypeError, ValueError):  # what it raises of its own is told where it is used
        render_jinja_template([given["turns"]], chat_template=given["template"], **given["settings"])
    say("end")


if __name__ == "__main__":
    _serve(float(sys.argv[1]), int(sys.argv[2]))
