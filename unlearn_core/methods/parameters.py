"""How a method declares a hyperparameter: its range and help text, from which form and flags are made.

A dataclass field made by `parameter` carries them; `declared` reads them back, `check` and `parse` hold values to them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unlearn_core.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter as the form and the flags need it."""

    name: str
    type: type
    default: Any
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    help: str


def parameter(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its range and help text."""
    told = {"minimum": minimum, "maximum": maximum, "choices": choices, "help": help}
    return field(default=default, metadata=told)


def declared(cls: type) -> tuple[Parameter, ...]:
    """The hyperparameters of a method's class, in the order they were declared."""
    types = {"float": float, "int": int, "str": str, "bool": bool}
    return tuple(
        Parameter(f.name, types[str(f.type)], f.default, **f.metadata)
        for f in dataclasses.fields(cls)
        if "help" in f.metadata
    )


def check(item: Parameter, value: Any) -> None:
    """Raise InputError unless `value` fits the parameter's type, range and choices."""
    wanted = f"Use {_range(item)}."
    types = (float, int) if item.type is float else (item.type,)  # exact: True is no number here
    fits = type(value) in types and value == value  # NaN differs from itself
    usual = item.name, "default"
    if not fits:
        raise InputError(item.name, value, f"is not a {_KIND[item.type]}", wanted, usual)
    if item.choices and value not in item.choices:
        raise InputError(item.name, value, "is not one of the choices", wanted, usual)
    below = item.minimum is not None and value < item.minimum
    if below or (item.maximum is not None and value > item.maximum):
        raise InputError(item.name, value, "is out of range", wanted, usual)


def parse(item: Parameter, text: str) -> Any:
    """The value written in `text` (a flag, a form field), or InputError."""
    try:
        if item.type is bool:
            return _BOOLS[text.strip().lower()]
        return item.type(text)
    except (ValueError, KeyError, OverflowError):
        raise InputError(item.name, text, f"is not a {_KIND[item.type]}", f"Use {_range(item)}.") from None


_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KIND = {float: "number", int: "whole number", str: "word", bool: "yes or no"}


def _range(item: Parameter) -> str:
    if item.choices:
        return "one of " + ", ".join(item.choices)
    if item.type is bool:
        return "true or false"
    if item.minimum is None and item.maximum is None:
        return f"a {_KIND[item.type]}"
    return f"a {_KIND[item.type]} from {item.minimum:g} to {item.maximum:g}"
