"""From any error to the last event of a run: words for people, and the traceback to the log only."""

from __future__ import annotations

import secrets

from unlearn_core.errors import DivergedError, LetheError, ResourceError, is_panic
from unlearn_core.runs.events import Failed
from unlearn_core.system.files import is_disk_full
from unlearn_core.system.log import LOGGER
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.memory import is_out_of_memory

_ALONE = "The processes of this run were ended. Resume it to get its result."


class Terminated(KeyboardInterrupt):
    """The system asks for an end: to a process alone like Ctrl-C, to a team often since one of it died."""


def failed(error: BaseException) -> Failed:
    """What to show for `error`: its own words if it is meant for people, else a reference into the log."""
    if isinstance(error, LetheError):
        return Failed(error.sentence, kind=_kind(error), action=error.action)
    if isinstance(error, Terminated) or distributed.is_lost(error):
        return Failed(_ALONE, kind="interrupted")
    if is_disk_full(error):
        return Failed(
            "The disk is full. Free some space or delete old runs, then resume the run.", "disk_full", ("tab", "runs")
        )
    if is_out_of_memory(error):
        mend = "Use a smaller batch_size, the lora adapter or a smaller model."
        return Failed(f"The memory of this machine was not enough. {mend}", "out_of_memory", ("adapter", "lora"))
    if is_panic(error):
        mend = "Use the tokenizer that the model was trained with, or other data."
        return Failed(f"The tokenizer of this model gave up on the text. {mend}")
    reference = secrets.token_hex(4)
    LOGGER.error("unforeseen error", extra={"facts": {"reference": reference}}, exc_info=error)
    return Failed(f"Something went wrong inside Lethe; the log has it under reference {reference}.")


def _kind(error: LetheError) -> str:
    if isinstance(error, DivergedError):
        return "diverged"
    if error.__cause__ is not None and is_disk_full(error.__cause__):
        return "disk_full"
    if isinstance(error, ResourceError):
        return {"disk": "disk_full", "memory": "out_of_memory"}.get(error.field, "error")
    return "error"
