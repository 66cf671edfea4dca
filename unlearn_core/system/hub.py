"""How the Hugging Face Hub names a repository, and how its library says that no answer came."""

from __future__ import annotations

import re

REPOSITORY = r"\w[\w.-]{0,95}/\w[\w.-]{0,95}"
REVISION = r"@\w[\w./-]{0,95}"
HUB_ID = re.compile(rf"{REPOSITORY}({REVISION})?", re.ASCII)


def is_unreachable(error: Exception) -> bool:
    """Whether the Hub gave no answer: offline, no route, a server error. A copy on this machine may still do.

    An answer that says no (a gated or unknown repository) is to be told apart before.
    """
    from huggingface_hub import errors

    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return False  # the disk, not the network
    # The library's own error stands on its client's: httpx for one version, httpx2 for the next.
    client = errors.HfHubHTTPError.__bases__[0]
    named = (getattr(errors, name, client) for name in ("LocalEntryNotFoundError", "RevisionResolutionError"))
    return isinstance(error, (errors.HfHubHTTPError, client, *named, ConnectionError, TimeoutError))
