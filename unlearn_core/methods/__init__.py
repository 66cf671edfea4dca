"""Every unlearning method, by the name a user picks it with."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.methods.base import Method
from unlearn_core.methods.inference_time.eul import EUL
from unlearn_core.methods.inference_time.guardrails import ICUL, GuardInput, GuardOutput, GuardPrompt
from unlearn_core.methods.inference_time.uld import ULD
from unlearn_core.methods.lethe import Lethe
from unlearn_core.methods.lethe_pretrained import LethePretrained
from unlearn_core.methods.objectives.alternatives import AltPO
from unlearn_core.methods.objectives.balanced import PDU, NGDiff
from unlearn_core.methods.objectives.contrastive import PCGU
from unlearn_core.methods.objectives.global_weight import GlobalWeight
from unlearn_core.methods.objectives.gradient import GradAscent, GradDiff, KLMinimisation
from unlearn_core.methods.objectives.jensun import JensUn
from unlearn_core.methods.objectives.preference import NPO, SimNPO
from unlearn_core.methods.objectives.recipes import AGAD, SUGD, AdapterNPO, ConstrainedMLP
from unlearn_core.methods.objectives.refusal import DPO, IDK, Undial
from unlearn_core.methods.objectives.representation import RMU, AdaptiveRMU
from unlearn_core.methods.objectives.weighted import CEU, FPGA, WGA, SatImp
from unlearn_core.methods.parameters import parse
from unlearn_core.methods.weights.arithmetic import PEMLora, TaskVector
from unlearn_core.methods.weights.ia3 import PEMIA3
from unlearn_core.methods.weights.merging import TiesMerge
from unlearn_core.methods.weights.pruning import SelectivePruning
from unlearn_core.methods.weights.repselect import RepSelect
from unlearn_core.methods.weights.revs import REVS
from unlearn_core.methods.weights.sku import SKU
from unlearn_core.methods.wrappers import AdvGA, AdvNPO, LatentTraining, Masked, SharpnessAware, Undo

# In the order in which they are listed; each is picked by the name in its `info`.
METHODS: tuple[type[Method], ...] = (
    Lethe,
    LethePretrained,
    GradAscent,
    GradDiff,
    KLMinimisation,
    NPO,
    SimNPO,
    NGDiff,
    WGA,
    SatImp,
    CEU,
    PDU,
    DPO,
    IDK,
    Undial,
    JensUn,
    TaskVector,
    PEMLora,
    PEMIA3,
    TiesMerge,
    SKU,
    EUL,
    ULD,
    SelectivePruning,
    PCGU,
    REVS,
    RepSelect,
    ICUL,
    GuardPrompt,
    GuardInput,
    GuardOutput,
    FPGA,
    AltPO,
    RMU,
    AdaptiveRMU,
    AdvGA,
    AdvNPO,
    LatentTraining,
    SharpnessAware,
    Undo,
    Masked,
    SUGD,
    AGAD,
    ConstrainedMLP,
    AdapterNPO,
    GlobalWeight,
)
REGISTRY: dict[str, type[Method]] = {cls.info.name: cls for cls in METHODS}


def get(name: str) -> type[Method]:
    """The method class called `name`; InputError names what comes close."""
    if name not in REGISTRY:
        raise InputError("method", name, "is not a method", _suggest(str(name), list(REGISTRY)))
    return REGISTRY[name]


def build(name: str, settings: Mapping[str, Any] | None = None, steps: int | None = None) -> Method:
    """The method with its settings, given as text or as numbers; `steps` overrules its own default.

    Raises InputError for an unknown method or setting, and for a value of the wrong type or out of range.
    """
    cls = get(name)
    known = {item.name: item for item in cls.parameters()}
    values: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key not in known:
            raise InputError("settings", key, f"is not a parameter of {name}", _suggest(key, list(known)))
        values[key] = parse(known[key], value) if isinstance(value, str) else value
    if steps is not None:
        values["steps"] = steps
    return cls(**values)


def describe(cls: type[Method]) -> dict[str, Any]:
    """A method's declaration, JSON-ready: what the form, `lethe methods --json` and the docs show."""
    info = dataclasses.asdict(cls.info)
    info["needs"] = sorted(cls.info.needs)
    info["changes_weights"] = cls.info.changes_weights
    info["parameters"] = [
        {**dataclasses.asdict(item), "type": item.type.__name__, "choices": list(item.choices)}
        for item in cls.parameters()
    ]
    return info


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}? All: {', '.join(known)}."
    return f"Use one of {', '.join(known)}."
