"""What a Space's builder reads must agree with what the project says it needs."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from unlearn_core.models.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]


def requirements(name: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    return {r.name.lower().replace("-", "_"): r for r in found}


def declared() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {r.name.lower().replace("-", "_"): r for r in map(Requirement, project["dependencies"])}


def test_the_space_installs_everything_pyproject_declares_but_gradio():
    space = requirements("requirements.txt")
    wanted = declared()
    assert set(space) == set(wanted) - {"gradio"}
    for name, requirement in space.items():
        if name == "torch":  # the Space pins one version inside pyproject's range
            (pin,) = requirement.specifier
            assert wanted[name].specifier.contains(pin.version)
        else:
            assert requirement.specifier == wanted[name].specifier


def test_the_pinned_development_set_satisfies_pyproject():
    pinned = requirements("requirements-dev.txt")
    for name, requirement in declared().items():
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), name


def test_the_readme_front_matter_fits_a_space():
    text = (ROOT / "README.md").read_text()
    match = re.match(r"---\n(.*?)\n---\n", text, re.S)
    assert match, "a Space needs front matter at the head of README.md"
    card = dict(line.split(": ", 1) for line in match.group(1).splitlines() if ": " in line)
    assert card["sdk"] == "gradio"
    assert card["sdk_version"] == str(requirements("requirements-dev.txt")["gradio"].specifier).strip("=")
    assert card["python_version"] == "3.12.12"
    assert (ROOT / card["app_file"]).exists()
    assert len(card["short_description"]) <= 60
    assert card["hf_oauth"] == "true"  # without it nobody can sign in
    (real,) = (target for target in CATALOGUE if target.name == "smollm2")
    assert card["models"] == f"[{real.ref}]"
    sources = "".join(path.read_text() for path in (ROOT / "unlearn_core").rglob("*.py"))
    for name in card["datasets"].strip("[]").split(", "):
        assert re.fullmatch(r"[\w-]+/[\w-]+", name)
        assert name in sources, f"nothing here reads {name}"


def test_a_space_is_told_where_its_picture_is():
    """The Hub takes whole addresses only, so the card that ships has none."""
    head = (ROOT / "README.md").read_text().split("---")[1]
    assert "thumbnail" not in head
    manual = (ROOT / "docs" / "manual.md").read_text()
    told = re.search(r"`thumbnail: (https://huggingface.co/spaces/OWNER/NAME/resolve/main/(\S+))`", manual)
    assert told
    picture = (ROOT / told[2]).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (1200, 630)
