"""The command line: `lethe COMMAND`. Every command reads flags, calls the core, and prints.

Exit codes: 0 done, 1 a bug (the log has the traceback), 2 something to mend in what was asked,
130 cancelled with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from unlearn_core.errors import LetheError, in_plain_text, is_panic
from unlearn_core.system.machine.threads import wait_passively


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. No traceback reaches the terminal."""
    wait_passively()
    parser = build_parser()
    options = parser.parse_args(arguments)
    action = getattr(options, "action", None)
    if action is None:
        parser.print_help()
        return 2
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(action(options))
    except LetheError as error:
        print(f"lethe: {error}", file=sys.stderr)
        if error.rows:
            print(in_plain_text(error.rows), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlethe: cancelled", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away; say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        return _bug(error)


def build_parser() -> argparse.ArgumentParser:
    from unlearn_core.cli.commands import (
        audit,
        bench,
        compare,
        folds,
        inspect,
        knows,
        make,
        run,
        score,
        serve,
        share,
        traces,
    )
    from unlearn_core.system.version import __version__

    parser = argparse.ArgumentParser(prog="lethe", description="Make a language model forget, and see whether it did.")
    parser.add_argument("--version", action="version", version=f"lethe {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (run, audit, traces, inspect, knows, compare, score, make, bench, folds, serve, share):
        module.add_to(commands)
    return parser


def _terminate(signum: int, frame: FrameType | None) -> None:
    """A polite kill ends a command like Ctrl-C does: what was begun is recorded as cancelled."""
    from unlearn_core.runs.failure import Terminated

    raise Terminated


def _bug(error: BaseException) -> int:
    from unlearn_core.system.home import home_dir
    from unlearn_core.system.log import LOGGER, log_to

    reference = secrets.token_hex(4)
    try:
        home = home_dir()
        log_to(home)
    except LetheError as no_home:
        print(f"lethe: {no_home}", file=sys.stderr)
        return 1
    LOGGER.error("command failed", extra={"facts": {"reference": reference}}, exc_info=error)
    place = home / "log" / "lethe.log"
    print(f"lethe: something went wrong inside Lethe; see reference {reference} in {place}", file=sys.stderr)
    return 1
