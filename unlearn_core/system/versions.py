"""Which versions a run was computed with, so that a report can say so."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from unlearn_core.system.version import __version__

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "numpy")


def library_versions() -> dict[str, str]:
    """Versions of Lethe, Python and the libraries that decide the numbers; absent ones are left out."""
    found = {"lethe": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
