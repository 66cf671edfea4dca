"""Who is asking: a page and a network address, each as a hash under a key that dies with this process.

Neither is stored anywhere; they only tell visitors apart while their quotas are counted.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from gradio.context import LocalContext

from unlearn_core.ui.web.sign_in import hub_account

_KEY = secrets.token_bytes(32)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PROXIES = "FORWARDED_ALLOW_IPS"
_OF_A_SPACE = "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"


def visitor() -> tuple[str, str]:
    """Page (the account where there is one) and address of the request being answered; "" for neither.

    An account at the Hub stands for the address too: it is the same wherever its owner is, and no other's.
    """
    request = LocalContext.request.get(None)
    if request is None:
        return "", ""
    if account := hub_account(request):
        return mark(f"hub {account}"), mark(f"hub {account}")
    # A tool of the Model Context Protocol is called with the plain request, which has no page.
    page = getattr(request, "username", None) or getattr(request, "session_hash", None) or ""
    client = getattr(request, "client", None)
    return mark(str(page)), mark(network(getattr(client, "host", None) or ""))


def mark(text: str) -> str:
    """What stands for `text` in this process and tells nothing of it; "" for ""."""
    return hmac.new(_KEY, text.encode("utf-8", "replace"), "sha256").hexdigest()[:16] if text else ""


def network(address: str) -> str:
    """The part of a network address that one subscriber has: an IPv4 address, or the first half of an IPv6 one.

    Where an IPv6 address only wraps an IPv4 one (mapped, 6to4, Teredo, NAT64), that one is whose it is: a 6to4
    subscriber has 65,536 first halves.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
    if found in _NAT64:
        wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    if wrapped is not None:
        return str(wrapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


@contextmanager
def proxies_trusted() -> Iterator[None]:
    """While a public page is launched: whose word is taken for where a request comes from (uvicorn reads it).

    FORWARDED_ALLOW_IPS lists the addresses and networks of an operator's own proxies; without it nobody's
    word is, but on a Space, which is reached through its proxies on a private network only.
    """
    set_by_hand = os.environ.get(_PROXIES)
    if set_by_hand is None:
        os.environ[_PROXIES] = _OF_A_SPACE if os.environ.get("SPACE_ID") else ""
    try:
        yield
    finally:
        if set_by_hand is None:
            os.environ.pop(_PROXIES, None)
