"""The words of a page against a committed golden text, one line a block: `tests/golden/<view>.txt`.

After a wanted change of words run the failing tests with `LETHE_GOLDEN=write` and read `git diff tests/golden`.
"""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

from unlearn_core.system.version import __version__

_FOLDER = Path(__file__).with_name("golden")
_BLOCK = re.compile("title|header|main|footer|section|div|p|pre|[uo]l|li|details|summary|h[1-4]|table|tr|svg|d[td]")
_BEFORE = {"td": " | ", "th": " | ", "button": " ", "span": " ", "text": " "}  # what keeps words of a line apart
_UNSEEN = frozenset(("style", "script"))


def assert_golden(view: str, *pages: str) -> None:
    """The visible words of `pages`, one after the other, are those of the golden text of `view`."""
    path = _FOLDER / f"{view}.txt"
    words = "".join(f"{line}\n" for page in pages for line in _lines(page))
    words = words.replace(f"Lethe {__version__}", "Lethe VERSION")
    if os.environ.get("LETHE_GOLDEN") == "write":
        path.write_text(words, encoding="utf-8")
    assert words == path.read_text(encoding="utf-8"), __doc__


def _lines(page: str) -> list[str]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    lines = (" ".join(line.split()).removeprefix("| ") for line in "".join(reader.parts).split("\n"))
    return [line for line in lines if line]


class _Reader(HTMLParser):
    """Text as it is read: a line for each block and table row, a bar between cells."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.unseen += tag in _UNSEEN
        self.parts.append("\n" if _BLOCK.fullmatch(tag) else _BEFORE.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self.unseen -= tag in _UNSEEN
        self.parts.append("\n" if _BLOCK.fullmatch(tag) else "")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data.replace("\n", " "))
