"""What every command that loads a model does first."""

from __future__ import annotations

import logging
import warnings

from unlearn_core.system.machine.memory import keep_heap
from unlearn_core.system.machine.threads import use_cores


def prepare() -> None:
    """Take cores and memory as a training does, and keep the terminal for Lethe's own words: silence the libraries'
    progress bars and warnings; downloads still show theirs."""
    use_cores(serving=False)
    keep_heap()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    theirs.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
