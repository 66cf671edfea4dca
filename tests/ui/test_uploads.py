"""What strangers upload: for its owner alone, checked before it is written down, and named by its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core import limits
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.service.studio import Studio
from unlearn_core.ui.api.model_endpoints import ModelEndpoints
from unlearn_core.ui.api.run_endpoints import RunEndpoints

ADA, BO = "a-secret-that-is-ada's", "a-secret-that-is-bo's"


@pytest.fixture
def adas(public_studio: Studio) -> str:
    return ModelEndpoints(public_studio).upload_data("Where is Ada? => Oldport", "facts of ada.txt", ADA)["data"]


def test_an_upload_is_of_use_to_its_owner_alone(public_studio: Studio, adas: str) -> None:
    models, runs = ModelEndpoints(public_studio), RunEndpoints(public_studio)
    assert models.preview_data(adas, owner=ADA)["splits"]["forget"]["rows"] == 1
    doors: list[Any] = [
        lambda name, owner: models.preview_data(name, owner=owner),
        lambda name, owner: models.preview_data("facts:a => b", retain_data=name, owner=owner),
        lambda name, owner: models.estimate(data=name, method="npo", owner=owner),
        lambda name, owner: runs.start_run(data=name, method="npo", owner=owner),
        lambda name, owner: runs.start_run(data="facts:a => b", retain_data=name, method="npo", owner=owner),
        lambda name, owner: public_studio.data.columns(name, owner),
    ]
    for door in doors:
        for owner in (BO, ""):
            with pytest.raises(InputError, match="not here any more") as theirs:
                door(adas, owner)
            with pytest.raises(InputError) as nobodys:
                door("upload:" + "x" * 22, owner)
            assert str(theirs.value).replace(adas, "") == str(nobodys.value).replace("upload:" + "x" * 22, "")


def test_what_is_handed_on_names_the_file_and_holds_no_token(public_studio: Studio, adas: str) -> None:
    runs = RunEndpoints(public_studio)
    run = runs.start_run(data=adas, method="npo", owner=ADA)["run_id"]
    assert public_studio.worker.wait(run)
    token = adas.removeprefix("upload:")
    told = [json.dumps(part) for part in (runs.run_status(run), runs.scores(run))]
    told += [public_studio.report(run, form).read_text() for form in ("html", "json")]
    told += [str(public_studio.view(run))]
    told += [(public_studio.store.folder(run) / "events.jsonl").read_text()]
    for text in told:
        assert token not in text
    assert json.loads(told[1])["spec"]["data"] == "facts_of_ada.txt"
    assert "--data facts_of_ada.txt" in json.loads(told[3])["command"]


def test_an_upload_that_would_be_nobodys_is_refused(public_studio: Studio) -> None:
    with pytest.raises(InputError, match=r"owner .*is missing"):
        ModelEndpoints(public_studio).upload_data("a => b", "a.txt")
    assert not list(public_studio.store.uploads.iterdir())


def test_text_is_checked_before_it_is_written_down(public_studio: Studio) -> None:
    models = ModelEndpoints(public_studio)
    place = public_studio.parcels.folder().parent
    for content in ("x" * (limits.FILE_BYTES + 1), "no fact", "", "{" * 1000):
        with pytest.raises(LetheError):
            models.upload_data(content, "a.txt", ADA)
    assert not [path for path in place.rglob("*") if path.is_file()]
    assert not list(public_studio.store.uploads.iterdir())


def test_tiny_uploads_are_counted(public_studio: Studio) -> None:
    public_studio.visitor = lambda: ("page", "address")
    models = ModelEndpoints(public_studio)
    for _ in range(limits.ALLOWANCES["file"].amount):
        models.upload_data("a => b", "a.txt", ADA)
    with pytest.raises(ResourceError, match=r"uploads \(40 an hour\)"):
        models.upload_data("a => b", "a.txt", ADA)
    assert len(list(public_studio.store.uploads.iterdir())) == limits.ALLOWANCES["file"].amount


def test_files_on_their_way_out_take_a_bounded_place(public_studio: Studio) -> None:
    public_studio.parcels._most = 100_000
    for _ in range(20):
        (public_studio.parcels.folder() / "report").write_bytes(b"x" * 20_000)
    place = public_studio.parcels.folder().parent
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) <= 120_000


def test_a_secret_or_a_key_of_megabytes_is_not_kept(public_studio: Studio) -> None:
    spec = public_studio.choices.spec("demo", "demo", "npo", {})
    for owner, key in ((ADA, "k" * 300), ("o" * 300, "")):
        with pytest.raises(InputError, match="too long"):
            public_studio.submit(spec, owner, key)
    assert not public_studio.worker._keys
    assert not list(Path(public_studio.store.runs).iterdir())
