#!/usr/bin/env python3
"""One command to set Lethe up and open it, one to test it; needs only Python 3.11+ and its venv module.

    python3 start.py            set up, then open the app on the bundled model
    python3 start.py test       set up, then lint, type-check and run every test
    python3 start.py check      the same without the tests
    python3 start.py shell ...  set up, then run any command inside the environment, e.g. `lethe run`

The environment lives in `.venv`; it is made once and made anew only when the pinned set-up changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PINNED = ROOT / "requirements-dev.txt"
STAMP = VENV / "lethe-setup"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever runs this may have any Python)
        print(f"Lethe needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
        return 2
    command = arguments[0] if arguments else "app"
    actions = {"app": app, "test": test, "check": check, "shell": shell}
    if command not in actions:
        print(__doc__)
        return 2
    set_up()
    return actions[command](arguments[1:])


def set_up() -> None:
    """Make the environment, unless the one at hand was made from exactly this set-up."""
    wanted = hashlib.sha256(
        PINNED.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()
    ).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    started = time.monotonic()
    print("Setting up Lethe in .venv (once; a few minutes, mostly downloads) ...", flush=True)
    run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--requirement", str(PINNED)])
    run([*pip, "--no-deps", "--editable", str(ROOT)])
    STAMP.write_text(wanted)
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)


def app(arguments: list[str]) -> int:
    return subprocess.call([str(BIN / "lethe"), "serve", *arguments], cwd=ROOT)


def check(arguments: list[str]) -> int:
    """Lint, format, types and the direction of imports: what `make check` runs."""
    python = str(BIN / "python")
    steps = (
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy"],
        [python, "-m", "pytest", "tests/test_imports.py", "--durations=0"],
    )
    codes = [subprocess.call(step, cwd=ROOT) for step in steps]
    return next((code for code in codes if code), 0)


def test(arguments: list[str]) -> int:
    install_browser()
    started = time.monotonic()
    failed = check([])
    # A process per core, one thread each: whole files go to a process, so that they share their fixtures.
    workers = str(min(4, os.cpu_count() or 1))
    command = [str(BIN / "python"), "-m", "pytest", "-n", workers, "--dist", "loadfile", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    failed = subprocess.call(command, cwd=ROOT, env=environment) or failed  # negative: ended by a signal
    result = "FAILED" if failed else "all passed"
    print(f"Checks and tests took {time.monotonic() - started:.0f} s: {result}.")
    return failed


def shell(arguments: list[str]) -> int:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    program = shutil.which(arguments[0], path=environment["PATH"]) if arguments else None
    if program is None:
        print("Name a command to run, for example: python3 start.py shell lethe methods")
        return 2
    return subprocess.call([program, *arguments[1:]], env=environment)


def install_browser() -> None:
    """The page is tested in a real Chromium; take it from Debian when we may, else say what to install."""
    if any(shutil.which(name) for name in BROWSERS):
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("Installing Chromium for the browser tests ...", flush=True)
        run(["apt-get", "update", "-qq"])
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], env=quiet)
        return
    print(
        "No Chromium found: the browser tests will be skipped.\n"
        "Install it to run them, for example: sudo apt-get install chromium"
    )


def run(command: list[str], env: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    if result.returncode:
        sys.exit(f"Set-up stopped: `{' '.join(command)}` failed with code {result.returncode} (see above).")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
