"""The games played in a home, one line each: which level, how many questions, and whether it was broken.

No text of anybody is kept here: no question, no answer, no owner and no run.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from unlearn_core.system.files import append_line, disk_errors, json_lines, mend_torn_line, read_lines, write_text

FILE = "games.jsonl"
MAX_BYTES = 256 * 1024  # beyond them the older half goes
MAX_NAME = 120  # characters
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Level:
    """A method on a target: how often it was played and broken, and the fewest questions that it took."""

    method: str
    target: str
    played: int
    broken: int
    fewest: int | None


def note_game(home: Path, method: str, target: str, asked: int, broken: bool) -> None:
    """Write a game down that is over. Of a target on disk the last part of its path is kept."""
    name = target_name(target)
    line = json.dumps({"method": method[:MAX_NAME], "target": name[:MAX_NAME], "asked": asked, "broken": broken})
    path = home / FILE
    with _LOCK, disk_errors(path):
        mend_torn_line(path)
        append_line(path, line)
        if path.stat().st_size > MAX_BYTES:
            lines, _ = read_lines(path)
            newest = b"\n".join(lines[len(lines) // 2 :]).decode("utf-8", "replace")
            write_text(path, newest + "\n")


def levels(home: Path) -> list[Level]:
    """The levels played in this home, the most often broken first. A damaged line is left out."""
    games: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for game in json_lines(home / FILE):
        try:
            method, target, asked, broken = (game[key] for key in ("method", "target", "asked", "broken"))
        except (KeyError, TypeError):
            continue  # written by somebody else
        if isinstance(method, str) and isinstance(target, str) and type(asked) is int and isinstance(broken, bool):
            games[method, target].append(asked if broken else None)
    found = []
    for (method, target), asked_of in games.items():
        won = [asked for asked in asked_of if asked is not None]
        found.append(Level(method, target, len(asked_of), len(won), min(won, default=None)))
    return sorted(found, key=lambda one: (-one.broken, one.fewest or 0, -one.played, one.method, one.target))


def target_name(target: str) -> str:
    """The last part of a path; any other name as it is: one of the Hub has one slash at most and none in front."""
    path = target.replace("\\", "/")
    is_path = path != target or path.startswith(("/", ".", "~")) or path.count("/") > 1
    return path.rstrip("/").rsplit("/", 1)[-1] if is_path else target
