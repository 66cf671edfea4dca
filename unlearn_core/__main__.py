"""`python -m unlearn_core` is `lethe`."""

from __future__ import annotations

import sys

from unlearn_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
