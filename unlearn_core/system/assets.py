"""Where the bundled models, boards and styles lie: beside the package in a checkout, within it once installed."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def assets_directory() -> Path:
    """LETHE_ASSETS where it is set, else the `assets` of this checkout or of this installation."""
    named = os.environ.get("LETHE_ASSETS")
    if named:
        return Path(named)
    beside = _PACKAGE.parent / "assets"
    return beside if (beside / "demo").is_dir() else _PACKAGE / "assets"
