"""Serve the page. A Space runs this file; on your own machine `lethe serve` does the same."""

from __future__ import annotations

import os

from unlearn_core.ui.app import launch

ON_SPACE = bool(os.environ.get("SPACE_ID"))

if __name__ == "__main__":
    launch(host="0.0.0.0" if ON_SPACE else "127.0.0.1", public=ON_SPACE)
