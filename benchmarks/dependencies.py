"""Known vulnerabilities of what Lethe is installed with: `python benchmarks/dependencies.py`.

Asks pip-audit (`pip install pip-audit`, best in an environment of its own) about every pinned package; it
needs the network's vulnerability services. Whether or not they answer, the pins and the least versions are
held against the advisories listed here, which touch what Lethe does: serving files and loading models.

Exit code 0: asked, and nothing known. 1: something is known. 2: the services could not be asked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "requirements-dev.txt"
# Package, advisory, the first version without it.
ADVISORIES = (
    ("gradio", "CVE-2023-34239", "3.33"),
    ("gradio", "CVE-2024-1561", "4.13"),
    ("gradio", "GHSA-576c-3j53-r9jj", "5.0"),
    ("gradio", "CVE-2026-28416 (GHSA-jmh7-g254-2cq9)", "6.6"),
    ("gradio", "CVE-2026-28414", "6.7"),
    ("gradio", "CVE-2026-28415", "6.25"),
    ("gradio", "GHSA-3xvj-7669-6whx", "6.25"),
    ("gradio", "GHSA-qqr5-x4m8-g4gq", "6.25"),
    ("gradio", "GHSA-2mr9-9r47-px2g", "6.25"),
    ("starlette", "CVE-2026-48710", "1.0.1"),
    ("transformers", "CVE-2024-3568", "4.38"),
    ("transformers", "CVE-2026-1839", "5.0"),
    ("transformers", "CVE-2026-4372", "5.3"),
    ("torch", "CVE-2025-32434", "2.6"),
)
# Packages that would run code that a model's configuration names.
NEVER = ("kernels",)


def pins() -> dict[str, str]:
    """Exact versions by package."""
    found = re.findall(r"^([\w.-]+)==([\w.+]+)", PINNED.read_text(encoding="utf-8"), re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}


def floors() -> dict[str, str]:
    """The least versions that an installation may have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [re.fullmatch(r"([\w-]+)>=([\w.]+)", line) for line in project["dependencies"]]
    return {match[1].replace("_", "-"): match[2] for match in wanted if match}


def known(versions: dict[str, str]) -> list[str]:
    """The advisories that these versions fall under, and what must not be installed at all."""
    found = [
        f"{package} {versions[package]}: {advisory}, fixed in {fixed}"
        for package, advisory, fixed in ADVISORIES
        if package in versions and Version(versions[package]) < Version(fixed)
    ]
    return found + [f"{name} must not be installed" for name in NEVER if name in versions]


def ask() -> tuple[int, list[str]]:
    """What pip-audit says of the pins: how many packages it could look up, and what it found."""
    program = shutil.which("pip-audit")
    if program is None:
        return 0, []
    command = [
        program,
        "--requirement",
        str(PINNED),
        "--no-deps",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return 0, []
    asked = [package for package in packages if "vulns" in package]
    return len(asked), [f"{p['name']} {p['version']}: {v['id']}" for p in asked for v in p["vulns"]]


def main() -> int:
    listed = known(pins()) + known(floors())
    print(f"{len(ADVISORIES)} advisories listed here: {len(listed)} apply")
    asked, found = ask()
    number = len(pins())
    print(f"pip-audit looked up {asked} of {number} pinned packages: {len(found)} vulnerabilities")
    for line in (*listed, *found):
        print("KNOWN", line)
    if listed or found:
        return 1
    if asked < number:
        print("The vulnerability services could not be asked about all of them; try again with a network.")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
