"""The model that a result is read against: one that never saw the forget set, or what is stored of it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OWN, Protocol
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, read_log
from unlearn_core.evaluation.scores import Scores

_MEND = "Give what `lethe eval --json` wrote of the retain model on the same data, or an evaluation log."


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


def read_stored(
    ref: str, data: UnlearningData, public: bool = False, prompt: str = ""
) -> tuple[Scores | None, RowLog | None]:
    """The scores of ours in the file `ref`, or its per-row values; InputError where they are of other data, or of
    prompts in another format than the one whose digest is `prompt`."""
    if public:
        raise InputError("retain_model", Path(ref).name, "is not offered here", "Leave it out.", ("retain_model", ""))
    path = Path(ref)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError("retain_model", ref, problem, "Check the path.") from None
    except (ValueError, RecursionError):
        raise InputError("retain_model", path.name, "is not JSON", _MEND) from None
    if not isinstance(record, dict) or "aggregated_terms" not in record:
        return None, read_log(path)
    try:
        scores = Scores.from_json(record)
    except TypeError:
        raise InputError("retain_model", path.name, "holds scores of another form", _MEND) from None
    if scores.data_fingerprint != data.fingerprint:
        raise InputError("retain_model", path.name, "was scored on other data", _MEND)
    if scores.prompt != prompt:
        mend = "Score it with the same --prompt."
        raise InputError("retain_model", path.name, "was scored with prompts in another format", mend)
    return scores, None
