"""The rows that visitors bring: kept where they can be read, and shown as they were understood."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, LetheError
from unlearn_core.runs.spec import RunSpec

if TYPE_CHECKING:
    from unlearn_core.service.studio import Studio


class VisitorData:
    """Bound to a studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def keep_upload(self, path: Path, filename: str, owner: str = "") -> str:
        """Keep a visitor's file of rows that can be read; the name that a run takes as `data`. On a shared
        server InputError without an `owner`, for whom alone it is kept."""
        from unlearn_core.data.rows.reader import LOCAL, PUBLIC, check_file

        if self._studio.store.shared and not owner:
            problem = "is missing, and a file on this server is kept for its owner alone"
            raise InputError("owner", owner, problem, "Choose a secret and send it with each call that uses the file.")
        check_file(path, PUBLIC if self._studio.public else LOCAL)
        self._studio.spend("file")
        self._studio.spend("upload", path.stat().st_size)
        name = self._studio.store.keep_upload(path, filename, owner or None)
        try:
            self.columns(name, owner)
        except LetheError:
            self._studio.store.drop_upload(name)
            raise
        return name

    def keep_text(self, content: str, filename: str, owner: str = "") -> str:
        """`keep_upload` for the text of a file, which is written down for as long as that takes only."""
        from unlearn_core.data.rows.reader import LOCAL, PUBLIC, check_size

        raw = content.encode("utf-8", "replace")
        check_size(filename, len(raw), PUBLIC if self._studio.public else LOCAL)
        folder = self._studio.parcels.folder()
        try:
            (folder / "data").write_bytes(raw)
            return self.keep_upload(folder / "data", filename, owner)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def preview(
        self,
        data: str,
        retain: str | None,
        columns: dict[str, str] | None = None,
        mmlu: str | None = None,
        owner: str = "",
        target: str = "none yet",
    ) -> dict[str, Any]:
        """Counts and first rows of what the names stand for on this target, after every check; uploads are for
        their `owner`."""
        self._studio.store.check_uploads(owner, data, retain)
        self._studio.warm_up()
        from unlearn_core.data.sources import preview
        from unlearn_core.runs.data import load_for, with_questions

        self._studio.spend("look")
        spec = RunSpec(target=target, data=data, retain_data=retain, columns=columns or {})
        loaded = load_for(spec, public=self._studio.public, uploads=self._studio.store.uploads)
        return preview(with_questions(loaded, mmlu, self._studio.public))

    def columns(self, data: str, owner: str = "") -> tuple[str, ...]:
        """The columns of the rows that `data` names."""
        self._studio.store.check_uploads(owner, data)
        self._studio.warm_up()
        from unlearn_core.data.sources import columns_of

        return columns_of(data, public=self._studio.public, uploads=self._studio.store.uploads)
