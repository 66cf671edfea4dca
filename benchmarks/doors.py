"""What one visitor may do to all others, tried at every door of a real public server with its real limits.

    python benchmarks/doors.py

Fetching addresses, memory by JSON, by calls that wait and by parquet, quadratic texts, files that are refused or
come many in one, forged addresses, announced bytes that never come, deletions while runs are under way, another's
upload, wrong counts of values, the page asked for by many connections, streams and headers that never end. Prints a
figure for each and exits with 1 where one is not what is promised.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from inspect import isfunction
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from app_server import MIB, Api, Watcher, served
from fuzz import look_at
from hostile import bomb

OWNER, OTHER = "the secret of visitor Ada", "the secret of visitor Bo"
Figure = tuple[str, bool]  # what was found, and whether it is as promised


class Doors:
    """One server, and what is tried at it, in this order, since the last of them use up what a visitor may."""

    def __init__(self, address: str, process: psutil.Process, place: Path) -> None:
        self.address, self.process, self.place = address, process, place
        self.api = Api(address)
        self.client, self.call = self.api.client, self.api.post
        where = urlsplit(address)
        self.host, self.port = str(where.hostname), int(where.port or 0)

    @property
    def memory(self) -> int:
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_info().rss for one in processes if one.is_running())

    def _files(self) -> int:
        """Bytes of all files among the temporary ones and the uploads."""
        places = [self.place / name for name in ("tmp", "gradio")] + [self.place / "home" / "uploads"]
        return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())

    def addresses(self) -> Figure:
        """Every door that Gradio fetches an address at."""
        asked = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as outside:
            outside.settimeout(0.2)
            url = f"http://127.0.0.1:{outside.getsockname()[1]}/a.jsonl"
            codes = [
                self.client.get(f"{door}{scheme}").status_code
                for door in ("/gradio_api/file=", "/gradio_api/file/")
                for scheme in (
                    url,
                    "http://100.100.100.200/latest",
                    "https://example.org/",
                    "ftp://example.org/x",
                    "//x/y",
                )
            ]
            for key in ("path", "url"):
                record = {key: url, "meta": {"_type": "gradio.FileData"}}
                for path in ("run/predict", "run/upload", "queue/join"):
                    body = {"data": [record], "fn_index": 3, "session_hash": "x"}
                    codes.append(self.client.post(f"/gradio_api/{path}", json=body).status_code)
            try:
                outside.accept()
                asked.set()
            except TimeoutError:
                pass
        refused = sum(400 <= code < 500 for code in codes)
        return f"{refused} of {len(codes)} refused, server asked: {asked.is_set()}", refused == len(
            codes
        ) and not asked.is_set()

    def json_memory(self) -> Figure:
        """Three bodies of empty objects, at the size that is allowed and beyond it."""
        before = self.process.memory_info().rss
        with Watcher(self.address) as watcher:
            for size in (11 * MIB, 6 * MIB, 6 * MIB):
                body = b'{"fn_index": 3, "session_hash": "x", "data": [' + b"{}," * (size // 3) + b"{}]}"
                self.client.post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
            time.sleep(1)
        grown = (self.process.memory_info().rss - before) / MIB
        return f"{grown:+.0f} MiB, slowest /health {max(watcher.seconds):.2f} s", grown < 100

    def queued_memory(self) -> Figure:
        """Thirty calls of 6 MiB, four bytes to a character once parsed, that wait behind others."""
        listeners = {one["api_name"]: one["id"] for one in self.client.get("/config").json()["dependencies"]}
        ask = {"fn_index": listeners["generate"], "session_hash": "waits"}
        for _ in range(6):
            self.client.post("/gradio_api/queue/join", json={**ask, "data": ["Who?", "", 256, 0.0, 0, "demo"]})
        before = self.process.memory_info().rss
        text = "a" * (6 * MIB) + "\N{GRINNING FACE}"
        body = json.dumps({**ask, "data": [text, "", 64, 0.0, 0, "demo"]}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        codes = [
            self.client.post("/gradio_api/queue/join", content=body, headers=headers).status_code for _ in range(30)
        ]
        grown = (self.process.memory_info().rss - before) / MIB
        return f"{codes.count(200)} of 30 taken, {grown:+.0f} MiB", grown < 300

    def many_keys(self) -> Figure:
        """Twenty thousand keys, the last of them twice."""
        content = "{" + ",".join(f'"k{number}":1' for number in range(20_000)) + ',"k19999":1}'
        began = time.perf_counter()
        said = self.call("upload_data", content=content, filename="a.jsonl", owner=OWNER)
        took = time.perf_counter() - began
        return f"{said.status_code} after {took:.2f} s", said.status_code == 422 and took < 2

    def parquet_memory(self) -> Figure:
        """A kilobyte that unpacks to 7 GB, looked at on the page; the children's memory is sampled."""
        sent = self.client.post("/gradio_api/upload", files={"files": ("a.parquet", bomb())}).json()[0]
        listeners = self.client.get("/config").json()["dependencies"]
        body = look_at([d for d in listeners if d["backend_fn"]], sent, "a.parquet")
        before, most, over = self.memory, [0], threading.Event()

        def sample() -> None:
            while not over.wait(0.02):
                try:
                    most[0] = max(most[0], self.memory)
                except psutil.Error:
                    continue

        thread = threading.Thread(target=sample)
        thread.start()
        said = self.client.post("/gradio_api/run/predict", json=body)
        over.set()
        thread.join()
        grown = (most[0] - before) / MIB
        told = "refused" if "le-problem" in said.text else "taken"
        return f"{told}, at most {grown:+.0f} MiB for a moment", told == "refused" and grown < 400

    def refused_files(self) -> Figure:
        """Six files that are refused, at the size that a request may have: what is left of them."""
        before = self._files()
        for _ in range(6):
            self.call("upload_data", content="x" * (6 * MIB), filename="a.jsonl", owner=OWNER)
        left = self._files() - before
        return f"{left:,} bytes left", left < 100_000

    def many_files(self) -> Figure:
        """Nine hundred files in one upload."""
        before = sum(path.is_file() for path in self.place.rglob("*"))
        many = [("files", (f"{number}.jsonl", str(number).encode())) for number in range(900)]
        code = self.client.post("/gradio_api/upload", files=many).status_code
        kept = sum(path.is_file() for path in self.place.rglob("*")) - before
        return f"{code}, {kept} kept", kept <= 2

    def another_upload(self) -> Figure:
        """What one visitor brought, asked for by another who knows its name."""
        name = self.call("upload_data", content="a => b", filename="a.txt", owner=OTHER).json()["data"][0]["data"]
        codes = [self.call("preview_data", data=name, owner=owner).status_code for owner in (OTHER, OWNER, "")] + [
            self.call("start_run", data=name, method="npo", owner=OWNER).status_code
        ]
        return f"its owner {codes[0]}, others {codes[1:]}", codes == [200, 422, 422, 422]

    def counts(self) -> Figure:
        """A call with too few and with too many values: what the server writes to its console of it."""
        secret = "a-secret-that-nobody-may-print"
        codes = []
        for data in ([secret], [secret] * 50):
            codes.append(self.client.post("/gradio_api/run/start_run", json={"data": data}).status_code)
            body = {"data": data, "fn_index": 5, "session_hash": "x"}
            codes.append(self.client.post("/gradio_api/run/predict", json=body).status_code)
        printed = (self.place / "output").read_text(encoding="utf-8", errors="replace")
        told = secret in printed or "Traceback" in printed
        return f"{codes}, printed: {told}", not told and set(codes) == {422}

    def kept_answers(self) -> Figure:
        """What a proxy or a browser may keep of a private answer."""
        paths = ("/", "/config", "/gradio_api/info", "/health")
        told = {self.client.get(path).headers.get("cache-control") for path in paths}
        frames = self.client.get("/").headers["content-security-policy"].partition("frame-ancestors")[2]
        return f"{sorted(map(str, told))}, frames{frames}", told == {"private, no-store"} and "hf.space" not in frames

    def many_pages(self) -> Figure:
        """The page's configuration asked for two hundred times at once."""
        lines = []
        with Watcher(self.address) as watcher:
            for _ in range(200):
                lines.append(socket.create_connection((self.host, self.port), timeout=30))
                lines[-1].sendall(b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(10)
        for line in lines:
            line.close()
        slowest = max(watcher.seconds)
        return f"slowest /health {slowest:.2f} s", slowest < 1

    def streams(self) -> Figure:
        """A thousand streams of events that never end, of one address."""
        lines = [socket.create_connection((self.host, self.port), timeout=30) for _ in range(1_000)]
        for number, line in enumerate(lines):
            line.sendall(f"GET /gradio_api/heartbeat/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answers = [line.recv(12) for line in lines]
        for line in lines:
            line.close()
        held = answers.count(b"HTTP/1.1 200")
        return f"{held} of 1,000 held", held < 300

    def announced_bytes(self) -> Figure:
        """Headers that announce megabytes and bring none; then an honest upload."""
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Length: 3000000\r\n"
        for _ in range(125):
            with socket.create_connection((self.host, self.port), timeout=30) as line:
                line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        said = self.client.post("/gradio_api/upload", files={"files": ("a.jsonl", b"{}")})
        told = said.text.strip()[:60]
        return f"the next upload: {said.status_code} {told}", said.status_code == 200 or "uploads (" in told

    def forged_addresses(self) -> Figure:
        """Starts that each claim to come from somewhere else."""
        taken = 0
        for number in range(17):
            data = {
                "data": "facts:a => b",
                "method": "npo",
                "settings": {"steps": 500},
                "owner": f"somebody number {number:03}",
            }
            said = self.call("start_run", headers={"X-Forwarded-For": f"9.9.9.{number}"}, **data)
            taken += said.status_code == 200
        return f"{taken} of 17 taken from one address", taken <= 3

    def deletions(self) -> Figure:
        """Forty-five deletions at once while those runs are under way."""
        with Watcher(self.address) as watcher, ThreadPoolExecutor(45) as together:
            began = time.perf_counter()
            list(
                together.map(
                    lambda n: self.call("delete_my_data", owner=f"somebody number {n % 17:03}").status_code, range(45)
                )
            )
            took = time.perf_counter() - began
            time.sleep(1)
        slowest = max(watcher.seconds)
        return f"all answered after {took:.1f} s, slowest /health {slowest:.2f} s", slowest < 1

    def small_uploads(self) -> Figure:
        """A hundred and twenty tiny files of one visitor."""
        codes = [
            self.call("upload_data", content="a => b", filename="a.txt", owner=OWNER).status_code for _ in range(120)
        ]
        mine = codes.count(200)
        return f"{mine} of 120 kept", mine < 120

    def slow_headers(self) -> Figure:
        """Forty connections whose headers never end: how many are open after half a minute."""
        lines = [socket.create_connection((self.host, self.port), timeout=5) for _ in range(40)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        end = time.monotonic() + 32
        while time.monotonic() < end:
            for line in lines:
                try:
                    line.sendall(b"X: y\r\n")
                except OSError:
                    continue
            time.sleep(2)
        still = sum(_is_open(line) for line in lines)
        for line in lines:
            line.close()
        return f"{still} of 40 open after 32 s", still == 0


def _is_open(line: socket.socket) -> bool:
    line.settimeout(0.1)
    try:
        return line.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def main() -> int:
    wrong = 0
    with (
        tempfile.TemporaryDirectory(prefix="lethe-doors-") as place,
        served(Path(place), lifted=False) as (address, one),
    ):
        doors = Doors(address, one, Path(place))
        doors.call("preview_data", data="facts:a => b")  # what is loaded once is loaded
        for name in (name for name, what in vars(Doors).items() if isfunction(what) and name[0] != "_"):
            found, promised = getattr(doors, name)()
            wrong += not promised
            print(f"{name.replace('_', ' '):<20}{'' if promised else 'NOT AS PROMISED: '}{found}", flush=True)
    print(f"{wrong} not as promised")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
