"""Optional sign-in: who may use this server, from the environment, so that no password is on a command line.

LETHE_SIGN_IN="ada:a long password,bo:another long password"
"""

from __future__ import annotations

import os

from unlearn_core.errors import InputError

VARIABLE = "LETHE_SIGN_IN"
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
