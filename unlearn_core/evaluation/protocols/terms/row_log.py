"""Per-row values of one model on one benchmark, in the shape of open-unlearning's evaluation logs.

    {measure: {"agg_value": ..., "value_by_index": {"0": {"prob": ..., "avg_loss": ...}, ...}}}
    {attack:  {"forget": {"value_by_index": ...}, "holdout": {...}, "auc": ...}}

Ours are written in the same shape, so that a stored log of either kind can be scored, and compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError

SIDES = ("forget", "holdout")
_MEND = "Give a log that `lethe eval --protocol` or open-unlearning wrote."
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RowLog:
    """`rows`: measure -> row index -> values. `sides`: attack -> forget or holdout -> row index -> values.
    `stored`: the aggregates that the file itself names, by path ("mia_loss", "mia_loss/forget")."""

    rows: Mapping[str, Rows] = field(default_factory=dict)
    sides: Mapping[str, Mapping[str, Rows]] = field(default_factory=dict)
    stored: Mapping[str, float] = field(default_factory=dict)

    def values(self, measure: str, key: str) -> list[Any]:
        """The values under `key` of one measure, in the order of its rows; rows without one are left out."""
        return _column(self.rows.get(measure, {}), key)

    def pairs(self, first: str, second: str, key: str) -> tuple[list[Any], list[Any]]:
        """The values of two measures on the rows that both have, in the order of the first."""
        others = self.rows.get(second, {})
        found = [
            (values[key], others[index][key])
            for index, values in self.rows.get(first, {}).items()
            if values.get(key) is not None and others.get(index, {}).get(key) is not None
        ]
        return [one for one, _ in found], [other for _, other in found]

    def side(self, attack: str, side: str) -> list[float]:
        """The scores of one side of an attack."""
        return _column(self.sides.get(attack, {}).get(side, {}), "score")

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {name: {"value_by_index": dict(rows)} for name, rows in self.rows.items()}
        for name, sides in self.sides.items():
            record[name] = {side: {"value_by_index": dict(rows)} for side, rows in sides.items()}
        return record


def read_log(path: Path) -> RowLog:
    """The log in `path`: one of open-unlearning's, or the `rows` of a result of ours."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("log", str(path), f"cannot be read ({error.strerror})", "Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise InputError("log", path.name, f"is not JSON ({type(error).__name__})", _MEND) from None
    if isinstance(record, dict) and isinstance(record.get("rows"), dict) and "protocol" in record:
        record = record["rows"]
    if not isinstance(record, dict):
        raise InputError("log", path.name, "is not a JSON object of measures", _MEND)
    return parse_log(record, path.name)


def parse_log(record: Mapping[str, Any], name: str = "log") -> RowLog:
    """A log from its JSON; InputError names the measure that has another shape."""
    rows: dict[str, Rows] = {}
    sides: dict[str, dict[str, Rows]] = {}
    stored: dict[str, float] = {}
    for measure, entry in record.items():
        if not isinstance(entry, dict):
            raise InputError(f"{name}, {measure}", entry, "is not an object of per-row values", _MEND)
        for place, part in _parts(measure, entry):
            number = part.get("agg_value")
            if isinstance(number, int | float) and not isinstance(number, bool):
                stored[place] = float(number)
            if "value_by_index" not in part:
                continue
            found = _checked(part["value_by_index"], f"{name}, {place}")
            if "/" in place:
                sides.setdefault(measure, {})[place.split("/")[1]] = found
            else:
                rows[measure] = found
    if not rows and not sides:
        raise InputError("log", name, "holds no per-row values", _MEND)
    return RowLog(rows, sides, stored)


def _parts(measure: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield measure, entry
    for side in SIDES:
        if isinstance(entry.get(side), dict):
            yield f"{measure}/{side}", entry[side]


def _checked(rows: object, where: str) -> Rows:
    if not isinstance(rows, dict):
        raise InputError(where, type(rows).__name__, "is not an object of rows by index", _MEND)
    for index, values in rows.items():
        if values is not None and not isinstance(values, dict):
            raise InputError(f"{where}, row {index}", values, "is not an object of values", _MEND)
        for key, value in (values or {}).items():
            if not _usable(value):
                raise InputError(f"{where}, row {index}, {key}", value, "is no number, list of numbers or text", _MEND)
    return {str(index): values for index, values in rows.items() if values is not None}


def _usable(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _column(rows: Rows, key: str) -> list[Any]:
    found = (values.get(key) for values in rows.values())
    return [value for value in found if value is not None]
