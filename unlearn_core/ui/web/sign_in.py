"""Optional sign-in, of two kinds, both from the environment.

LETHE_SIGN_IN="ada:a long password,bo:another long password": only these are let in, and no password is on a
command line. OAUTH_CLIENT_ID, which a Space sets whose card says `hf_oauth: true`: visitors may sign in with
their account at the Hub, and what they take is then counted for that account.
"""

from __future__ import annotations

import importlib.util
import os
import time

import gradio as gr

from unlearn_core.errors import InputError
from unlearn_core.ui.common import AT_ONCE

VARIABLE = "LETHE_SIGN_IN"
_SET_BY_THE_SPACE = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
SHORTEST = 12  # characters of a password


def accounts(text: str | None = None) -> list[tuple[str, str]]:
    """Names and passwords; none where the variable is not set. InputError, without the password, for what
    is no account."""
    text = os.environ.get(VARIABLE, "") if text is None else text
    found: dict[str, str] = {}
    for number, part in enumerate((part for part in text.split(",") if part.strip()), start=1):
        name, colon, password = part.strip().partition(":")
        mend = f"Write name:password, with commas between, and at least {SHORTEST} characters a password."
        if not colon or not name.strip():
            raise InputError(VARIABLE, f"account {number}", "has no name before a colon", mend)
        if len(password) < SHORTEST:
            raise InputError(VARIABLE, name, "has too short a password", mend)
        if name.strip() in found:
            raise InputError(VARIABLE, name, "is named twice", "Name every account once.")
        found[name.strip()] = password
    return list(found.items())


def offers_hub() -> bool:
    """Whether visitors may sign in with their account at the Hub: on a Space that has it switched on, where
    what Gradio needs for it is installed (a Space's builder does)."""
    if not all(os.environ.get(name) for name in ("SPACE_ID", *_SET_BY_THE_SPACE)):
        return False
    needed = ("itsdangerous", "authlib") if gr.utils.get_space() else ("itsdangerous",)
    return all(importlib.util.find_spec(name) for name in needed)


def hub_button(page: gr.Blocks) -> None:
    """The button that signs in and out; it says who is signed in."""
    button = gr.LoginButton(
        "Sign in with Hugging Face",
        "Sign out ({})",
        size="sm",
        variant="secondary",
        scale=0,
        min_width=230,
        elem_id="le-sign-in",
    )
    button.load_event_to_attach = None  # as Gradio would wire it, it is an endpoint with a spinner
    page.load(button._check_login_status, None, button, **AT_ONCE)


def hub_account(request: object) -> str:
    """The account at the Hub that the visitor of a Gradio request is signed in with, as the number that it
    has there; "" for none."""
    scope = getattr(getattr(request, "request", None), "scope", None) or {}
    signed = scope.get("session", {}).get("oauth_info") or {}
    if signed.get("expires_at", 0) < time.time():
        return ""
    return str(signed.get("userinfo", {}).get("sub", ""))
