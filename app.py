"""Serve the page. A Space runs this file; on your own machine `lethe serve` does the same."""

from __future__ import annotations

import os
import sys

from unlearn_core.cli import main

ON_SPACE = bool(os.environ.get("SPACE_ID"))

if __name__ == "__main__":
    if ON_SPACE:
        os.environ.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")
    sys.exit(main(["serve", "--public"] if ON_SPACE else ["serve"]))
