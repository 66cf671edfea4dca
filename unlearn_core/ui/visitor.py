"""Who is asking: a page and a network address, each as a hash under a key that dies with this process.

Neither is stored anywhere; they only tell visitors apart while their quotas are counted.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping

from gradio.context import LocalContext

from unlearn_core.ui.sign_in import hub_account

_KEY = secrets.token_bytes(32)


def visitor() -> tuple[str, str]:
    """Page (the account where there is one) and address of the request being answered; "" for neither.

    An account at the Hub stands for the address too: it is the same wherever its owner is, and no other's.
    """
    request = LocalContext.request.get(None)
    if request is None:
        return "", ""
    if account := hub_account(request):
        return mark(f"hub {account}"), mark(f"hub {account}")
    page = getattr(request, "username", None) or request.session_hash or ""
    client = getattr(request, "client", None)
    return mark(str(page)), mark(address_of(request.headers, getattr(client, "host", None)))


def mark(text: str) -> str:
    """What stands for `text` in this process and tells nothing of it; "" for ""."""
    return hmac.new(_KEY, text.encode("utf-8", "replace"), "sha256").hexdigest()[:16] if text else ""


def address_of(headers: Mapping[str, str], peer: str | None) -> str:
    """The visitor's network address. Behind a proxy on a private network it is the last public address that
    proxies wrote down; what stands before that may be the visitor's own invention."""
    if peer is None or _is_public(peer):
        return peer or ""
    for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
        if _is_public(hop.strip()):
            return hop.strip()
    return peer


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False
