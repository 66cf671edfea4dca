"""A server with accounts lets nobody else in, and says what is wrong with them without a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from unlearn_core.errors import InputError
from unlearn_core.ui.sign_in import accounts


def test_accounts_are_names_and_passwords() -> None:
    assert accounts("") == []
    assert accounts("ada:with:a colon in it, bo:correct horse battery") == [
        ("ada", "with:a colon in it"), ("bo", "correct horse battery"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["hunter2secretword", ":hunter2secretword", "ada:hunter2", "a:hunter2secret,a:hunter2secret"]
)
def test_what_is_no_account_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(InputError) as caught:
        accounts(text)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from unlearn_core.ui.app import launch

    monkeypatch.setenv("LETHE_SIGN_IN", "ada:correct horse battery")
    monkeypatch.setattr("unlearn_core.ui.app._warm_up", lambda studio: None)
    page = launch(home=tmp_path, public=True, block=False)
    yield str(page.local_url).rstrip("/")
    page.close()


def test_only_who_signed_in_is_served(served: str) -> None:
    listed = ("/gradio_api/run/list_methods", {"json": {"data": []}})
    with httpx.Client(base_url=served) as visitor:
        for path in (
            "/config",
            "/gradio_api/info",
            "/gradio_api/openapi.json",
            "/gradio_api/file=/etc/passwd",
        ):
            assert visitor.get(path).status_code == 401, path
        assert visitor.post(listed[0], **listed[1]).status_code == 401
        assert visitor.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
        assert visitor.post("/login", data={"username": "ada", "password": "wrong"}).status_code == 400
        elsewhere = {"Origin": "https://evil.example"}
        right = {"username": "ada", "password": "correct horse battery"}
        assert visitor.post("/login", data=right, headers=elsewhere).status_code == 403
        assert visitor.post("/login", data=right).status_code == 200
        assert visitor.post(listed[0], **listed[1]).status_code == 200
        assert visitor.post(listed[0], headers=elsewhere, **listed[1]).status_code == 403
