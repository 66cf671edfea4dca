"""The model that a result is read against: one that never saw the forget set, or what is stored of it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OWN, Protocol
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, read_log


def is_stored(ref: str) -> bool:
    """Whether `ref` names a file of stored per-row values rather than a model."""
    return ref.endswith(".json") and not Path(ref).is_dir()


def reference_log(
    ref: str, protocol: Protocol, data: UnlearningData, *, prompt: str = "auto", conventions: str = OWN
) -> Generator[Progress, None, RowLog]:
    """Yield Progress; returns the per-row values of the model `ref`, measured in the prompt format `prompt` or
    read from its file."""
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target

    if is_stored(ref):
        return read_log(Path(ref))
    target = load_target(ref)
    use_format(target.model, target.tokenizer, data, prompt)
    return (yield from protocol.measure(target.model, target.tokenizer, data, conventions=conventions))
