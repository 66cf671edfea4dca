"""Colours that everybody can tell apart: contrast on both pages, and distance for colour-blind eyes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from unlearn_core.report.kit import palette
from unlearn_core.system.assets import assets_directory

PAGES = ("#ffffff", "#141a21")  # what charts are drawn on, light and dark (ui/theme.py)
# Linear RGB as each kind of colour-blindness sees it (Machado et al. 2009, severity 1.0).
EYES = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
VERDICTS = {name: color for name, (color, _) in palette.VERDICTS.items()}
GROUPS = {
    "models": palette.MODELS,
    "sets": palette.SETS,
    "verdicts": VERDICTS,
    "runs": dict(zip(palette.LETTERS, palette.RUNS, strict=True)),
}
DISTANCE = 12  # CIE 1976; 2 can just be seen side by side


def linear(color: str) -> np.ndarray:
    part = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = _TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(c) @ _TO_XYZ[1]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("group", GROUPS)
def test_every_colour_stands_out_on_the_light_and_the_dark_page(group: str) -> None:
    low = {name: min(contrast(color, page) for page in PAGES) for name, color in GROUPS[group].items()}
    assert min(low.values()) >= 3.0, low


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("eyes", EYES)
def test_colours_of_one_chart_differ_for_every_eye(group: str, eyes: str) -> None:
    seen = {name: lab(np.array(EYES[eyes]) @ linear(color)) for name, color in GROUPS[group].items()}
    apart = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2)}
    assert min(apart.values()) >= DISTANCE, apart


def test_a_model_has_one_colour_everywhere() -> None:
    style = (assets_directory() / "style.css").read_text(encoding="utf-8")
    for name in ("original", "unlearned", "retain_only"):
        assert f"--le-{name.replace('_', '-')}: {palette.MODELS[name]};" in style
    for name, color in palette.SETS.items():
        assert f"--le-{name}: {color};" in style
    assert not {color for name, color in VERDICTS.items() if name != "unchanged"} & set(palette.MODELS.values())


def test_shapes_tell_verdicts_apart_too() -> None:
    assert len({shape for _, shape in palette.VERDICTS.values()}) == len(palette.VERDICTS)
