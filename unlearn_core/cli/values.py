"""Numbers on the command line, refused in words that say what to write instead."""

from __future__ import annotations

from argparse import ArgumentTypeError

from unlearn_core.errors import clip


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{clip(text)} is not a whole number. Write digits only, like 7.") from None


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{clip(text)} is not a number. Write one like 0.001.") from None
