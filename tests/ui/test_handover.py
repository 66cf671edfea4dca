"""Handing a run over from the page: who may, what is refused, and that no file stays behind."""

from __future__ import annotations

import os
import time

import pytest

from unlearn_core.errors import InputError
from unlearn_core.service.downloads import KEPT_SECONDS, Downloads
from unlearn_core.service.studio import Studio


def finished(studio: Studio, owner: str) -> str:
    run = studio.submit(studio.choices.spec("demo", "demo", "lethe", {}), owner)
    assert studio.worker.wait(run)
    return run


def test_a_report_is_a_file_and_a_run_without_weights_says_why_it_exports_none(studio: Studio) -> None:
    run = finished(studio, "me")
    assert run in studio.report(run, "json").read_text()
    assert run in studio.report(run, "site").read_text()
    with pytest.raises(InputError, match="html, json or site"):
        studio.report(run, "pdf")
    with pytest.raises(Exception, match="missing"):
        studio.export(run)


def test_one_uploads_on_ones_own_machine_only(
    studio: Studio, public_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "unlearn_core.report.export.hub_export.push_run", lambda store, run, repo, **_: asked.append(repo) or repo
    )
    run = finished(studio, "me")
    assert studio.push(run, "me/gone", "weights", "another browser") == "me/gone"
    with pytest.raises(InputError, match="public server"):
        public_studio.push(finished(public_studio, "me" * 8), "me/gone", "weights", "me" * 8)
    assert asked == ["me/gone"]


def test_old_parcels_go() -> None:
    parcels = Downloads()
    old, new = parcels.folder(), parcels.folder()
    os.utime(old, (0, time.time() - KEPT_SECONDS - 1))
    parcels.folder()
    assert not old.exists()
    assert new.exists()
