"""A server with accounts lets nobody else in, and says what is wrong with them without a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from unlearn_core import limits
from unlearn_core.errors import InputError
from unlearn_core.service.studio import Studio
from unlearn_core.ui.app import build
from unlearn_core.ui.web.sign_in import accounts


def test_accounts_are_names_and_passwords() -> None:
    assert accounts("") == []
    assert accounts("ada:with:a colon in it, bo:correct horse battery") == [
        ("ada", "with:a colon in it"),
        ("bo", "correct horse battery"),
    ]


@pytest.mark.parametrize(
    "text", ["hunter2secretword", ":hunter2secretword", "ada:hunter2", "a:hunter2secret,a:hunter2secret"]
)
def test_what_is_no_account_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(InputError) as caught:
        accounts(text)
    assert "hunter2" not in str(caught.value)


def switch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Space sets whose card says `hf_oauth: true`, and a visitor whom Gradio takes from no Hub."""
    ada = {"sub": "42", "preferred_username": "ada", "name": "Ada", "profile": "", "picture": ""}
    signed = {"userinfo": ada, "access_token": "secret-of-ada", "scope": "openid"}
    monkeypatch.setattr("gradio.oauth._get_mocked_oauth_info", lambda: signed)
    monkeypatch.setenv("SPACE_ID", "somebody/lethe")
    for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setenv(name, "set")


@pytest.fixture
def on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A public server as a Space has it that offers sign-in; Gradio answers in the Hub's place."""
    from unlearn_core.ui.app import launch

    switch_on(monkeypatch)
    monkeypatch.setattr("unlearn_core.ui.app._warm_up", lambda studio: None)
    monkeypatch.setattr(Studio, "warm_up", lambda studio: None)  # no model is asked here
    monkeypatch.setitem(limits.ALLOWANCES, "question", limits.Allowance("questions", 2, 3600))
    with pytest.warns(UserWarning, match="OAuth"):
        page = launch(home=tmp_path, public=True, block=False)
    yield str(page.local_url).rstrip("/")
    page.close()


def test_an_account_of_the_hub_has_its_limits_to_itself_wherever_it_is(on_the_hub: str) -> None:
    def ask(session: str, cookie: str = "", origin: str = on_the_hub) -> str:
        body = {"data": ["", "", 4, 0.0, 0, "demo"], "session_hash": session}
        headers = {"Cookie": cookie, "Origin": origin}
        return httpx.post(f"{on_the_hub}/gradio_api/run/generate", json=body, headers=headers).text

    begun = httpx.get(f"{on_the_hub}/login/huggingface?_target_url=/")
    back = httpx.get(urljoin(on_the_hub, begun.headers["location"]))
    cookie, _, rest = back.headers["set-cookie"].partition(";")
    assert {"httponly", "secure"} <= set(rest.replace(" ", "").split(";"))
    assert "is empty" in ask("one", cookie)
    assert "is empty" in ask("two", cookie)
    assert "this limit is yours" in ask("three", cookie)
    for stranger in ("", "session=forged", cookie[:-4] + "aaaa"):
        assert "is empty" in ask(f"another {len(stranger)}", stranger)  # from the same address
    assert "Open Lethe's own page" in ask("one", cookie, "https://evil.example")


def test_a_public_page_offers_no_upload_and_a_space_offers_sign_in_and_to_be_duplicated(
    public_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered() -> tuple[bool, list[str]]:
        """Whether one can sign in, and where links to duplicate the page lead."""
        page = build(public_studio)
        public = {str(fn.api_name) for fn in page.fns.values() if fn.api_visibility == "public"}
        assert not any("login" in name for name in public)
        parts = page.blocks.values()
        assert not any(getattr(part, "elem_id", None) == "le-push" for part in parts)
        links = [str(part.link) for part in parts if getattr(part, "link", None)]
        return page.expects_oauth, [link for link in links if "duplicate" in link]

    switch_on(monkeypatch)
    copy = ["https://huggingface.co/spaces/somebody/lethe?duplicate=true"]
    with pytest.warns(UserWarning, match="OAuth"):
        assert offered() == (True, copy)
    monkeypatch.delenv("SPACE_ID")
    assert offered() == (False, [])


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
