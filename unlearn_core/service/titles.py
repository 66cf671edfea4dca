"""What methods, models and data are called where people read of them: a record has their names alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from unlearn_core.report.kit.format import short_method, shorten
from unlearn_core.store.game.games import target_name
from unlearn_core.store.store import RunRecord
from unlearn_core.store.table.rows import RunRow, about_of

DATA_TITLES = {"demo": "Bundled world (synthetic)"}


@dataclass(frozen=True)
class Titles:
    """Titles by name; what has none is called by its name."""

    methods: Mapping[str, str]
    targets: Mapping[str, str]

    @property
    def short(self) -> Titles:
        """The same with the short titles of methods."""
        return replace(self, methods={name: short_method(title) for name, title in self.methods.items()})

    @property
    def called(self) -> dict[str, str]:
        """Titles of methods and targets together, to search in."""
        return {**self.targets, **self.methods}

    def method(self, name: object) -> str:
        return self.methods.get(str(name), str(name))

    def target(self, name: object) -> str:
        return self.targets.get(str(name), shorten(target_name(str(name)), 40))

    def about(self, record: RunRecord) -> str:
        """What a run forgets, in short."""
        found = about_of(record.spec)
        return DATA_TITLES.get(found, found)

    def row(self, row: RunRow) -> RunRow:
        """The row as it is read; a run without a name of its own is called by its method."""
        data, about = (DATA_TITLES.get(words, words) for words in (row.data, row.about))
        method = self.method(row.method)
        name = method if row.name == row.method else row.name
        return replace(row, name=name, method=method, target=self.target(row.target), data=data, about=about)

    def record(self, record: RunRecord) -> RunRecord:
        """The record as it is read beside others."""
        spec, method = record.spec, self.method(record.spec.get("method"))
        data = DATA_TITLES.get(str(spec.get("data")), spec.get("data"))
        told = {"method": method, "target": self.target(spec.get("target")), "data": data}
        name = method if record.name == spec.get("method") else record.name
        return replace(record, spec={**spec, **told}, title=name)


def id_mark(run_id: str) -> str:
    """What tells runs of one name apart: the head of the id, or that it ships with Lethe."""
    return "recorded" if run_id.startswith("recorded-") else run_id[:6]
