"""The project as a Space has it: another user, a checkout that cannot be written, a home that can."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SHIPPED = ("app.py", "README.md", "requirements.txt", "pyproject.toml", "unlearn_core", "assets")
USER = "nobody"
# May read what belongs to others (this interpreter may lie in somebody's home), but write nothing of theirs.
CAPABILITY = "-all,+dac_read_search"
READ_ONLY = (f"--inh-caps={CAPABILITY}", f"--ambient-caps={CAPABILITY}", f"--bounding-set={CAPABILITY}")


@dataclass(frozen=True)
class Space:
    url: str
    checkout: Path
    home: Path


def as_another_user() -> list[str]:
    """What to put before a command so that it runs as an unprivileged user; skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a program as another user")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv: sudo apt-get install util-linux")
    user = pwd.getpwnam(USER)
    plain = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    for prefix in ([*plain, "--bounding-set=-all"], [*plain, *READ_ONLY]):
        ours = f"import sys, gradio_client; sys.exit(sys.base_prefix != {sys.base_prefix!r})"
        command = [*prefix, sys.executable, "-c", ours]
        tried = subprocess.run(command, capture_output=True, check=False)
        if tried.returncode == 0:
            return prefix
    pytest.skip(f"{USER} may not run {sys.executable}")


@pytest.fixture(scope="module")
def space() -> Iterator[Space]:
    prefix = as_another_user()
    place = Path(tempfile.mkdtemp(prefix="lethe-space-"))
    try:
        checkout, home = pack_parts(place)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "SYSTEM": "spaces",
            "SPACE_ID": "somebody/lethe",
            "PORT": str(port),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [*prefix, sys.executable, "app.py"]
        child = subprocess.Popen(
            command, cwd=checkout, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert child.stdout is not None
        try:
            said = next(line for line in child.stdout if "Lethe is ready" in line)
            assert f":{port}" in said
            yield Space(f"http://127.0.0.1:{port}", checkout, home)
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait() == 0
            child.stdout.close()
    finally:
        shutil.rmtree(place)


def pack_parts(place: Path) -> tuple[Path, Path]:
    """A checkout that belongs to root and cannot be written, and a home that belongs to the other user."""
    place.chmod(0o755)
    checkout, home = place / "app", place / "home"
    checkout.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, checkout / name)
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (home / "tmp").mkdir(parents=True)
    for path in (home, home / "tmp"):
        shutil.chown(path, USER)
    return checkout, home


def test_a_visitor_makes_the_model_forget_and_asks_it(space: Space) -> None:
    from gradio_client import Client

    assert "Lethe" in httpx.get(space.url, timeout=60).text
    files = {path: path.stat().st_mtime_ns for path in space.checkout.rglob("*")}
    client, owner = Client(space.url, verbose=False), secrets.token_urlsafe(16)
    begun = client.predict(
        data="facts:Where does Ada Venn live? => In Oldport",
        retain_data="general",
        settings={"steps": 2},
        owner=owner,
        api_name="/start_run",
    )
    run_id, offset = begun["run_id"], 0
    while (status := client.predict(run_id, offset, api_name="/run_status"))["status"] != "finished":
        assert status["status"] in ("queued", "running"), status
        offset = status["offset"]
        time.sleep(0.1)
    answers = client.predict("Where does Ada Venn live?", run_id, 8, api_name="/generate")
    assert set(answers) == {"original", "unlearned"}  # the bundled retain-only model never learned without these facts
    assert (space.home / ".cache" / "lethe" / "runs" / run_id / "weights").is_dir()
    assert {path: path.stat().st_mtime_ns for path in space.checkout.rglob("*")} == files


def test_nothing_is_written_outside_the_home(space: Space) -> None:
    user = pwd.getpwnam(USER).pw_uid
    elsewhere = [
        path
        for place in (Path(tempfile.gettempdir()), Path("/var/tmp"), ROOT)
        for path in place.glob("*")
        if path.lstat().st_uid == user and not path.is_relative_to(space.home.parent)
    ]
    assert elsewhere == []
