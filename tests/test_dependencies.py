"""No advisory that Lethe's benchmark names applies to what is pinned or to the least that is allowed, the lock
file holds a hash for everything that is pinned, and what is declared is what is imported."""

from __future__ import annotations

import ast
import re
import runpy
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def audit() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "dependencies.py"))


def test_nothing_known_applies(audit: dict[str, Any]) -> None:
    pins, floors = audit["pins"](), audit["floors"]()
    assert {"gradio", "transformers"} <= pins.keys()  # torch is installed in its own way
    assert {"gradio", "transformers", "torch"} <= floors.keys()
    assert audit["known"](pins) == []
    assert audit["known"](floors) == []


def test_what_is_known_is_found(audit: dict[str, Any]) -> None:
    old = {"gradio": "6.6.1", "transformers": "5.2.0", "torch": "2.8", "kernels": "0.1"}
    found = " ".join(audit["known"](old))
    assert "CVE-2026-4372" in found
    assert "CVE-2026-28414" in found
    assert "CVE-2026-28416" not in found
    assert "torch" not in found
    assert "kernels must not be installed" in found


def test_the_lock_has_a_hash_for_every_file_of_what_is_pinned(audit: dict[str, Any]) -> None:
    pins = audit["pins"]()
    assert pins.pop("torch")  # from the index that serves the hardware
    entries = re.split(r"^(?=[\w])", "".join(re.findall(r"^[^#].*\n", LOCK, re.M)), flags=re.M)[1:]
    locked = {}
    for entry in entries:
        head, *hashes = entry.replace("\\", "").split()
        name, version = head.split("==")
        locked[name.lower().replace("_", "-")] = version
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), name
    assert locked == pins
    assert "://" not in LOCK  # files are known by their hashes, wherever they come from


def test_the_lock_is_whole(audit: dict[str, Any]) -> None:
    """Installed without their dependencies, the packages need no other."""
    pins = audit["pins"]()
    for name in pins.keys() - {"torch"}:  # it comes from an index of its own, with what it needs
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert needed.name.lower().replace("_", "-") in pins, f"{name} needs {needed.name}"


def imported() -> set[str]:
    """The packages of others that the core imports, at the top of a file or inside a function, by module name."""
    found = set()
    for path in (ROOT / "unlearn_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names - {"unlearn_core"}


def module(line: str) -> str:
    """The module of a requirement, which mostly has its package's name."""
    name = Requirement(line).name.lower().replace("-", "_")
    return {"scikit_learn": "sklearn"}.get(name, name)


def test_what_is_declared_is_imported_and_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = project["optional-dependencies"]
    used, needed = imported(), {module(line) for line in project["dependencies"]}
    extras = {module(line) for name in more if name != "dev" for line in more[name]}
    assert needed - used == set()
    assert used - needed - extras == {"spaces"}  # which a ZeroGPU Space brings
    assert extras - used == {"tensorboard"}  # which torch imports for its writer
