"""A secret of a run asked of its unlearned model once other rows were taught again: the hardest ask of a game.

    for at in relearned("RUN_ID", home, secret): ...

The steps are those of the relearning audit, on a copy in memory; nothing is written.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.data.types import Example, Prompt
from unlearn_core.store.audits import open_case
from unlearn_core.system.machine.memory import release_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.evaluation.audits import AuditCase

MAX_TOKENS = 48  # of an answer


@dataclass(frozen=True, slots=True)
class Relearned:
    """How far it is (0..1), on how many rows; at its end what the model said, and where that is the answer what the
    retain-only model said when it was taught alike."""

    fraction: float
    taught: int
    said: str | None = None
    never: str | None = None


def relearned(run_id: str, home: Path, secret: Example, public: bool = False) -> Generator[Relearned]:
    """Teach, ask, and ask the retain-only model alike; the last one has what was said. Raises what goes wrong."""
    case: AuditCase | None = None
    try:
        case = open_case(run_id, home=home, public=public)
        yield from _of(case, secret)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # they hold the models
        raise
    finally:
        case = None
        release_memory()


def _of(case: AuditCase, secret: Example) -> Iterator[Relearned]:
    from unlearn_core.evaluation.audits.tampering.relearning import ask_relearned
    from unlearn_core.evaluation.game import says, to_teach
    from unlearn_core.models.inference.inference_wrapper import beneath

    rows, asked = to_teach(secret, case.data), Prompt(secret.input, secret.turns)
    said: dict[str, str] = {}

    def teach(name: str, model: PreTrainedModel) -> Generator[float, None, None]:
        said[name] = yield from ask_relearned(case, model, rows, asked, MAX_TOKENS)

    yield Relearned(0.0, len(rows))
    for name, model in (("unlearned", case.weights), ("never", case.retain_only)):
        if model is None or (name == "never" and not says(secret, "", said["unlearned"])):
            continue
        with beneath(case.model), contextlib.closing(teach(name, model)) as work:
            for fraction in work:
                yield Relearned(fraction, len(rows))
    yield Relearned(1.0, len(rows), said["unlearned"], said.get("never"))
