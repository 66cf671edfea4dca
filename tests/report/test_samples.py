"""The sample files are read as they are by what reads uploads."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.report.kit.samples import TYPED, files, sample_links


@pytest.mark.parametrize("name", list(files()))
def test_every_sample_is_a_forget_set_of_four_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(files()[name].encode())
    found = load_data(str(path), retain="general")
    assert len(found.forget) == 4
    said = " ".join(f"{row.input} {row.output}" for row in found.forget)
    assert "Oppburgh" in said
    assert name in sample_links()


def test_the_typed_example_is_read_too() -> None:
    assert [row.output for row in load_data(f"facts:{TYPED}").forget] == ["Oppburgh", "1962-08-28"]
