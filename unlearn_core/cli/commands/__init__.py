"""The commands of `lethe`, one module each: its flags, the call of the core, and what it prints."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # where a command adds its parsers
