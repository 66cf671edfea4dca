"""The Model Context Protocol server: off unless asked for, and a clear message where it cannot be on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from unlearn_core.cli import main
from unlearn_core.ui import app


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page is launched with, instead of launching it."""
    given: dict[str, Any] = {}

    def launch(page: gr.Blocks, **settings: Any) -> None:
        given.update(settings)
        page.local_url, page.server_port = "http://127.0.0.1:1/", 1

    monkeypatch.setattr(gr.Blocks, "launch", launch)
    monkeypatch.setattr(app, "_until_told_to_end", lambda: None)
    monkeypatch.setattr(app, "_warm_up", lambda studio: None)
    return given


def known(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    real = importlib.util.find_spec
    found = importlib.util.find_spec("json") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: found if name == "mcp" else real(name, *rest))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))


def test_it_is_off_unless_asked_for(launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_MCP_SERVER", raising=False)
    assert main(["serve"]) == 0
    assert launched["mcp_server"] is False


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_it_is_switched_on(
    way: str, launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(monkeypatch, installed=True)
    if way == "environment":
        monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    assert main(["serve", *(["--mcp"] if way == "flag" else [])]) == 0
    assert launched["mcp_server"] is True
    assert "http://127.0.0.1:1/gradio_api/mcp/" in capsys.readouterr().out


def test_without_its_package_it_says_what_to_do(
    launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(monkeypatch, installed=False)
    assert main(["serve", "--mcp"]) == 2
    assert "needs the package mcp, which is not installed" in capsys.readouterr().err
    assert not launched
