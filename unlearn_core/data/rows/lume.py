"""What LUME's row ids say: `<document>sc1` completes a document, `<document>qa0` asks about it.

The official scorer drops an id's last character and reads what it then ends with. That rule holds for LUME's
own ids and rows that name its tasks: an id such as `disc0` beside no task of theirs says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from unlearn_core.data.types import Kind

_ENDING = re.compile(r"(?P<document>.+)(?P<topic>(?P<kind>sc|qa)\d)", re.DOTALL)
_KINDS: dict[str, Kind] = {"sc": "completion", "qa": "question"}
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID = re.compile(rf"(?P<document>{_UUID}|.*[\x22\d._:-])(?P<topic>(?P<kind>sc|qa)\d)", re.IGNORECASE | re.DOTALL)
_OFFICIAL = re.compile(rf"\x22?{_UUID}\x22?(?:sc|qa)\d", re.IGNORECASE)
_ENDINGS = {"completion": "sc0", "question": "qa0"}


def read_id(identity: str, official: bool = False) -> tuple[Kind, str, str] | None:
    """Kind, document and topic of a LUME row id, None where it is not of that form.

    official: the rows name the organisers' tasks too, so any stem is taken for the document's name.
    """
    match = (_ENDING if official else _ID).fullmatch(identity)
    return None if match is None else (_KINDS[match["kind"].lower()], match["document"], match["topic"])


def are_lume(identities: Iterable[str], official: bool = False) -> bool:
    """Whether every one of these ids is of LUME's form, so that the set is read by its rule."""
    return all(read_id(identity, official) is not None for identity in identities)


def are_official(identities: Iterable[str]) -> bool:
    """Whether these are rows of LUME itself: ids of its form that begin with a document's UUID."""
    return all(_OFFICIAL.fullmatch(identity) is not None for identity in identities)


def official_id(identity: str, kind: str) -> str:
    """The id under which the official scorer takes a row for what it is: an ending is added where it lacks."""
    found = read_id(identity)
    return identity if found is not None and found[0] == kind else f"{identity}-{_ENDINGS[kind]}"
