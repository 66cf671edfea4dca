"""The benchmarks by name; each is imported when it is asked for, since measuring one needs torch."""

from __future__ import annotations

from importlib import import_module

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.base import Protocol

_PACKAGE = "unlearn_core.evaluation.protocols"
PROTOCOLS: dict[str, str] = {  # name -> module and class
    "tofu": "tofu.Tofu",
    "muse": "muse.Muse",
    "rwku": "rwku.Rwku",
    "wmdp": "multiple_choice.letters.Wmdp",
    "mmlu": "multiple_choice.letters.Mmlu",
}
SEMEVAL, AUTO = "semeval", "auto"  # SemEval's terms are part of every Scores


def get_protocol(name: str) -> Protocol:
    """The benchmark called `name`; InputError where there is none."""
    if name not in PROTOCOLS:
        raise InputError("protocol", name, "is unknown", f"Use one of {', '.join(PROTOCOLS)}.")
    module, _, entry = PROTOCOLS[name].rpartition(".")
    found: Protocol = getattr(import_module(f"{_PACKAGE}.{module}"), entry)()
    return found


def protocol_for(name: str, data: UnlearningData) -> Protocol | None:
    """The benchmark a run is scored by besides SemEval's terms; with "auto" the one whose rows the data holds."""
    if name == SEMEVAL:
        return None
    if name != AUTO:
        return get_protocol(name)
    return next((protocol for protocol in map(get_protocol, PROTOCOLS) if protocol.fits(data)), None)
