"""Keep the terminal for Lethe's own words."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Silence the libraries' own progress bars and warnings; downloads still show theirs."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    theirs.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
