"""The house's plan, held: arrows point one way, Gradio lives in one room, no folder is crowded, importing is light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "unlearn_core"
# Left to right; a room imports only itself and rooms to its left.
ROOMS = (
    "errors",
    "limits",
    "system",
    "data",
    "models",
    "methods",
    "training",
    "evaluation",
    "knowledge",
    "build",
    "runs",
    "store",
    "jobs",
    "submission",
    "report",
    "service",
    "ui",
    "cli",
)
MOST_FILES = 15  # of Python, in one folder
ONLY = {"gradio": {"ui"}, "plotly": {"report"}, "argparse": {"cli"}}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module a file names in an import, at the top or inside a function."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            module = node.module or ""
            found += (module, *(f"{module}.{alias.name}" for alias in node.names if module == "unlearn_core"))
    return tuple(found)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or room(path) in ROOMS]


def test_every_room_has_its_place() -> None:
    assert {room(path) for path in files()} <= set(ROOMS)


def test_an_arrow_never_points_up() -> None:
    wrong = []
    for path in files():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "unlearn_core" or len(parts) < 2 or parts[1] not in ROOMS:
                continue
            if ROOMS.index(parts[1]) > ROOMS.index(room(path)):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_a_library_stays_in_the_room_it_belongs_to() -> None:
    wrong = []
    for path in files():
        for name in imports(path):
            allowed = ONLY.get(name.split(".")[0])
            if allowed is not None and room(path) not in allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_no_folder_holds_more_files_than_can_be_taken_in_at_a_glance() -> None:
    folders = Counter(str(path.parent.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*.py"))
    assert {folder: number for folder, number in folders.items() if number > MOST_FILES} == {}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    importlib.import_module(module)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys; from unlearn_core import RunSpec, InputError, load_data, RunStore, Worker\n"
        "import unlearn_core.runs.events, unlearn_core.cli\n"
        "heavy = {'torch', 'transformers', 'accelerate', 'gradio', 'plotly', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    import unlearn_core

    for name in unlearn_core.__all__:
        assert getattr(unlearn_core, name) is not None
    with pytest.raises(AttributeError):
        _ = unlearn_core.nothing_of_this_name
