"""Files made for one download: Gradio serves its own copy, so ours may go soon after."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from unlearn_core.limits import SCRATCH_BYTES
from unlearn_core.system.temp_files import keep_within, own_folder

KEPT_SECONDS = 600  # Gradio copies a file before its listener's answer is sent; this is ample


class Downloads:
    """Folders under one temporary folder, which goes when the server does. What all of them hold is bounded
    as the copies that Gradio keeps are."""

    def __init__(self, public: bool = False) -> None:
        self._most = SCRATCH_BYTES[public]
        self._place = tempfile.TemporaryDirectory(
            prefix="parcels-", dir=own_folder(Path(tempfile.gettempdir())), ignore_cleanup_errors=True
        )

    def folder(self) -> Path:
        """A new folder; those of earlier downloads are removed."""
        place = Path(self._place.name)
        for old in place.iterdir():
            with contextlib.suppress(OSError):  # another download removed it
                if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        keep_within(place, self._most)
        return Path(tempfile.mkdtemp(dir=place))

    def close(self) -> None:
        """Remove them all."""
        self._place.cleanup()
