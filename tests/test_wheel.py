"""What `pip install` brings is enough: a wheel, installed into an empty folder, makes the bundled model forget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel of this checkout unpacks it, without its dependencies."""
    from hatchling.build import build_wheel

    folder = tmp_path_factory.mktemp("wheel")
    here = Path.cwd()
    os.chdir(ROOT)  # a build backend is asked from the project's folder (PEP 517)
    try:
        name = build_wheel(str(folder))
    finally:
        os.chdir(here)
    with ZipFile(folder / name) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_runs_the_main_job_from_any_folder(installed: Path, tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("LETHE_ASSETS", "PYTHONPATH")}
    (tmp_path / "facts.jsonl").write_text(json.dumps({"input": "What is the capital of France?", "output": "Paris"}))
    asked = ["--method", "grad_ascent", "--steps", "2", "--data", "facts.jsonl", "--json", "result.json"]
    command = [sys.executable, "-m", "unlearn_core", "run", *asked]
    given = {**kept, "PYTHONPATH": str(installed), "LETHE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["spec"]["target"] == "demo"


_RECORDED = "recorded_runs/recorded-forgotten/events.jsonl.xz"


def test_the_wheel_holds_what_the_page_draws_with(installed: Path) -> None:
    for part in ("style.css", "demo/manifest.json", "gallery/demo.json", "published/runs.csv", _RECORDED):
        assert (installed / "unlearn_core" / "assets" / part).is_file()
