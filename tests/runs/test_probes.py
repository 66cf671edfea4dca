"""Probes kept with a run: they come back as they were, once each, and bad ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core.errors import InputError
from unlearn_core.store import saved_probes as probes
from unlearn_core.store.saved_probes import SavedProbe, find_probe, read_probes, save_probe


def test_a_probe_comes_back_by_its_id_and_is_kept_once(tmp_path: Path) -> None:
    one = SavedProbe("Who is <b>Bo</b>?", "a baker", temperature=0.5, template=True)
    first, second = save_probe(tmp_path, one), save_probe(tmp_path, one)
    assert first == second == one.id
    save_probe(tmp_path, SavedProbe("Who is Bo?"))
    assert find_probe(tmp_path, first) == one
    assert len(read_probes(tmp_path)) == 2


def test_what_cannot_be_kept_or_found_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="empty"):
        save_probe(tmp_path, SavedProbe(" "))
    with pytest.raises(InputError, match="too long"):
        save_probe(tmp_path, SavedProbe("x" * 5000))
    with pytest.raises(InputError, match="not a probe of this run"):
        find_probe(tmp_path, "../../etc")
    monkeypatch.setattr(probes, "MAX_PROBES", 1)
    save_probe(tmp_path, SavedProbe("one"))
    with pytest.raises(InputError, match="does not fit"):
        save_probe(tmp_path, SavedProbe("two"))
