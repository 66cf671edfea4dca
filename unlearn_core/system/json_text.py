"""How much a JSON text holds, counted without parsing it: small texts can unpack to a hundred times their size."""

from __future__ import annotations

import re

_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def holds_more(raw: bytes, most: int) -> bool:
    """Whether `raw` may hold more than `most` values, names of fields not counted."""
    return _marks(raw) >= most and _marks(_TEXT.sub(b"", raw)) >= most


def _marks(raw: bytes) -> int:
    """Before every value but the first of a text stands one of these."""
    return raw.count(b"[") + raw.count(b"{") + raw.count(b",")
