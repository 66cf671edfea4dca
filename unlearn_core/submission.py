"""The organisers' entry point of SemEval-2025 Task 4: one call, one hour, one checkpoint.

    from unlearn_core.submission import unlearn
    unlearn(model_path, output_path, forget_dir, retain_dir)

A whole checkpoint lies at `output_path` from the first save on and is replaced as training goes on, so
that running out of time costs the last minutes and not the submission. Not covered yet: choosing among
the checkpoints by their scores on a held-out part.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

TIME_BUDGET = 55 * 60.0  # seconds for training; the rest of the hour is for loading and saving
SAVE_EVERY = 10 * 60.0


def unlearn(
    model_path: str,
    output_path: str,
    forget_dir: str,
    retain_dir: str,
    *,
    method: str = "lethe",
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    seconds: float = TIME_BUDGET,
    save_every: float = SAVE_EVERY,
) -> None:
    """Make the model at `model_path` forget the rows in `forget_dir` and write it to `output_path`.

    `seconds` bounds the training from the moment of the call. Raises LetheError for unusable input, a
    loss that is not finite, or a full disk; an earlier checkpoint then stays where it is.
    """
    from unlearn_core.data.sources import load_data
    from unlearn_core.methods import build
    from unlearn_core.models.adapters import plain_state
    from unlearn_core.models.checkpoint import write_checkpoint
    from unlearn_core.models.targets import load_target
    from unlearn_core.training.loop import unlearn as train
    from unlearn_core.training.records import LoopStep

    began = saved = time.monotonic()
    chosen = build(method, settings)
    data = load_data(forget_dir, retain=retain_dir)
    target = load_target(model_path)
    out = Path(output_path)
    records = train(
        target.model, target.tokenizer, data, chosen, seed=seed, probe_ids=(),
        stop=lambda: time.monotonic() - began > seconds,
    )  # fmt: skip
    while True:
        try:
            record = next(records)
        except StopIteration as stop:
            stop.value.save(out, target.tokenizer)
            return
        if isinstance(record, LoopStep) and time.monotonic() - saved > save_every:
            write_checkpoint(target.model, plain_state(target.model), out, target.tokenizer)
            saved = time.monotonic()
