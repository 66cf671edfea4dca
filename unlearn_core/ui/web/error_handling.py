"""Around every listener and endpoint: what cannot be text is refused, and every error ends in words.

Gradio calls listeners with whatever was sent, hides an error it does not know behind no message at all, and
answers 500 even for those it does. Here a person's mistake gets its message, a fault of Lethe's a reference
into the log, and the shield is told of the faults.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlockFunction
from gradio.components.api_component import Api
from pydantic import ConfigDict, ValidationError, validate_call

from unlearn_core.errors import InputError, LetheError, is_panic
from unlearn_core.report.kit.markup import text
from unlearn_core.runs.failure import failed

Function = Callable[..., Any]
# What went wrong inside Lethe in this request: the shield lays a list down, the guard writes into it.
FAULTS: ContextVar[list[str] | None] = ContextVar("faults", default=None)
_DEEPEST = 32  # lists within lists
_SEE_API = "The page's API view lists what each endpoint takes."


class QuietBlocks(gr.Blocks):
    """A page that prints nothing of what strangers send. Gradio writes the inputs of a call with too few of
    them, or with such as a component cannot use, to the console: secrets among them."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """gr.Error unless there are as many as the function takes; where more were sent too."""
        if len(inputs) != len(block_fn.inputs):
            raise _unusable(f"This call takes {len(block_fn.inputs)} values, not {len(inputs)}.")

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *given: Any, **named: Any) -> Any:
        """The inputs as the function takes them; gr.Error for such as no component can use."""
        for field, value in zip(block_fn.inputs, inputs, strict=False):
            if isinstance(field, gr.Slider) and value is None:  # its number was deleted, and not left since
                words = f"{field.label} is empty. Enter a number from {field.minimum:g} to {field.maximum:g}."
                raise gr.Error(escaped(words), print_exception=False)
        try:
            return await super().preprocess_data(block_fn, inputs, *given, **named)
        except gr.Error as error:  # a component's own, which names the value; the queue prints it where it may
            error.print_exception = False
            raise
        except Exception:
            raise _unusable("What was sent cannot be used.") from None

    async def postprocess_data(self, *given: Any, **named: Any) -> Any:
        """What a function returned as the page takes it; where it cannot be taken, that is a fault of ours."""
        try:
            return await super().postprocess_data(*given, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise _fault(error) from None


def guard(page: gr.Blocks, home: Path | None = None) -> None:
    """Wrap every function of the page. No message names the folder `home`."""
    for listener in page.fns.values():
        if listener.fn is not None:
            words = str if any(isinstance(part, Api) for part in listener.outputs) else escaped
            listener.fn = guarded(listener.fn, listener.inputs, home, words)


def escaped(words: str) -> str:
    """`words` as the page shows them: it takes an error's message for HTML."""
    return str(text(words))


def guarded(
    fn: Function,
    inputs: Sequence[Block] = (),
    home: Path | None = None,
    words: Callable[[str], str] = escaped,
) -> Function:
    """`fn` whose errors all end in a message; `inputs` are the components that its first arguments come from.
    words: how a message is written: escaped where the page shows it, as it is where a program reads it."""
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def told(*given: Any, **named: Any) -> Iterator[object]:
            with _in_words(home, words):
                yield from fn(*_checked(given, inputs), **named)

        return told

    @functools.wraps(fn)
    def called(*given: Any, **named: Any) -> Any:
        with _in_words(home, words):
            return fn(*_checked(given, inputs), **named)

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


def _checked(given: tuple[object, ...], inputs: Sequence[Block]) -> list[object]:
    check_text(given)
    own = [_as_its_kind(one, component) for one, component in zip(given, inputs, strict=False)]
    return [*own, *given[len(own) :]]


def _as_its_kind(value: object, component: Any) -> object:
    """What Gradio lets through unseen: a choice is one word or number, choices are a list of them, and what
    the browser keeps for us is text."""
    if isinstance(component, gr.BrowserState):
        return value if isinstance(value, str) else ""
    if isinstance(component, gr.CheckboxGroup) or getattr(component, "multiselect", False):
        alike = value is None or (isinstance(value, list) and all(map(_is_plain, value)))
    elif isinstance(component, gr.Dropdown | gr.Radio):
        alike = _is_plain(value)
    else:
        return value
    if not alike:
        raise InputError(str(component.label), value, "is none of the choices", "Choose from the list.")
    return value


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def check_text(value: object, depth: int = 0) -> None:
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
def _in_words(home: Path | None, words: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except LetheError as error:
        told = str(error).replace(str(home), "(home)") if home else str(error)
        raise gr.Error(words(told), print_exception=False) from None
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _fault(error, words) from None


def _unusable(words: str) -> gr.Error:
    return gr.Error(f"{words} {_SEE_API}", print_exception=False)


def _fault(error: BaseException, words: Callable[[str], str] = escaped) -> gr.Error:
    """What a visitor is told of a fault of Lethe's; the log has it."""
    told, faults = failed(error).message, FAULTS.get()
    if faults is not None:
        faults.append(told)
    return gr.Error(words(told), print_exception=False)
