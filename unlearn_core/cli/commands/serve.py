"""`lethe serve`: the page."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import NoReturn

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.shared import whole_number
from unlearn_core.errors import InputError


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("serve", help="open the page in a browser")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=whole_number, default=None, help="default: the first free one from 7860")
    parser.add_argument("--public", action="store_true", help="for strangers: bundled model, own data only")
    parser.add_argument("--open", action="store_true", help="open a browser window")
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true",
        help="offer every endpoint as a tool of a Model Context Protocol server (needs the package mcp)",
    )
    parser.set_defaults(action=serve_command)


def serve_command(options: argparse.Namespace) -> int:
    port = options.port
    for name in ("GRADIO_SERVER_PORT", "PORT"):
        port = port if port is not None else _port_of(name)
    if port is not None and not 1 <= port <= 65535:
        raise InputError("--port", port, "is not a port", "Use 1 to 65535.")
    from unlearn_core.system.machine.memory import importing

    with importing():
        from unlearn_core.ui.app import launch

    try:
        launch(options.host, port, options.public, options.open, mcp=options.mcp, recorded=True)
    except KeyboardInterrupt:  # being told to end is how a server ends
        _leave()
    return 0


def _leave() -> NoReturn:
    """End at once: all there is to keep is kept. Python would first take every library apart, which takes up
    to 25 s on a busy machine, and whoever asked for an end kills after ten."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _port_of(name: str) -> int | None:
    """The port that an environment variable names, None where it is not set."""
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdigit():
        raise InputError(name, text, "is not a port", "Use 1 to 65535.")
    return int(text)
