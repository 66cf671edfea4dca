"""Public-domain English by which harm to a model's language is seen: see `assets/text/SOURCE.md`."""

from __future__ import annotations

from functools import cache

from unlearn_core.system.assets import assets_directory


@cache
def general_sample() -> tuple[str, ...]:
    """Documents of about 2,000 characters, at least 20,000 tokens of SmolLM2 together."""
    text = (assets_directory() / "text" / "general.txt").read_text(encoding="utf-8")
    return tuple(text.strip().split("\n\n"))
