"""Work carried out in a process apart, so that a page that is served never waits for a training step.

    for event in ChildProcess(home).iterate(run, spec, home=home): ...

is `run(spec, home=home)`, computed by one child process that is kept for the next piece of work. Values
come back through a pipe. Closing the iterator closes it there; the child ends with this process, however
that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from unlearn_core.errors import LetheError, is_panic
from unlearn_core.runs.control import Control
from unlearn_core.system.log import log_to
from unlearn_core.system.machine.memory import importing, keep_heap
from unlearn_core.system.machine.threads import wait_passively

Value = TypeVar("Value")
_GIVES_WAY = 5  # how much nicer the child is: it has all cores while nobody asks the page for anything


class ProcessEnded(Exception):
    """The system or somebody ended the child in the middle of its work."""


class ChildProcess:
    """One child process, started when it is first needed, and again if it died. Does one thing at a time."""

    def __init__(self, home: Path, words: bool = True) -> None:
        """home: where the child's log goes. words: whether it holds the words of errors (see `log`)."""
        self._home, self._words = home, words
        self._child: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()
        self._number = 0

    def start(self) -> None:
        """Let the child begin with its imports before there is work for it."""
        with self._busy:
            self._running()

    def iterate(
        self,
        function: Callable[..., Generator[Value]],
        *given: object,
        control: Control | None = None,
        **named: object,
    ) -> Generator[Value]:
        """What `function(*given, **named)` yields. Function, arguments and values must be picklable.

        control: buttons that reach the function as its own `control`. Raises what it raises, and
        ProcessEnded if the child is killed.
        """
        with self._busy:
            child = self._running()
            self._number += 1
            over = False
            try:
                self._send(child, "do", (self._number, function, given, named, control is not None))
                while True:
                    kind, value = self._receive(child)
                    over = kind == "end"
                    if over and value is not None:
                        raise value
                    if over:
                        return
                    if control is not None and control.finishing:
                        self._send(child, "best" if control.keeping_best else "finish", self._number)
                    yield value
            finally:
                if not over and self._child is child:
                    self._stop(child, control)

    def close(self) -> None:
        """End the child, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            wait_passively()
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(self._home), str(int(self._words))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
            )
        return self._child

    def _stop(self, child: subprocess.Popen[bytes], control: Control | None) -> None:
        """Close the iterator over there, and wait until it is closed."""
        with contextlib.suppress(ProcessEnded):
            if control is not None and control.pausing:
                self._send(child, "pause", self._number)
            self._send(child, "stop", self._number)
            while self._receive(child)[0] != "end":
                pass

    def _send(self, child: subprocess.Popen[bytes], kind: str, value: object) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(pickle.dumps((kind, value)))
            child.stdin.flush()
        except (OSError, ValueError):  # gone, or closed by another thread
            raise self._ended(child) from None

    def _receive(self, child: subprocess.Popen[bytes]) -> tuple[str, Any]:
        assert child.stdout is not None
        try:
            kind, value = pickle.load(child.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            raise self._ended(child) from None
        return kind, value

    def _ended(self, child: subprocess.Popen[bytes]) -> ProcessEnded:
        code = child.wait()
        if self._child is child:
            self.close()
        return ProcessEnded(f"ended with code {code}")


class _Child:
    """The other side: work comes in on standard input, values go out on what was standard output."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopped = 0  # the number of the last piece of work that was stopped
        self._control = Control()
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no value
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def serve(self) -> None:
        _warm_up()
        while True:
            number, function, given, named, wants_control = self._work.get()
            if wants_control:
                named["control"] = self._control
            self._send("end", self._carry_out(number, function, given, named))

    def _carry_out(
        self,
        number: int,
        function: Callable[..., Generator[object]],
        given: tuple[object, ...],
        named: dict[str, object],
    ) -> Exception | None:
        try:
            with contextlib.closing(function(*given, **named)) as values:
                for value in values:
                    self._send("value", value)
                    if self._stopped >= number:
                        break
        except LetheError as error:
            return error
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            return RuntimeError(traceback.format_exc())  # for the log of whoever asked
        return None

    def _listen(self) -> None:
        """Orders arrive at any time; when nobody can give any more, there is nobody left to work for."""
        try:
            while True:
                kind, value = pickle.load(sys.stdin.buffer)
                if kind == "do":
                    self._control = Control()
                    self._work.put(value)
                elif kind == "stop":
                    self._stopped = value
                elif kind == "pause":
                    self._control.pause()
                elif kind == "finish":
                    self._control.finish_early()
                elif kind == "best":
                    self._control.keep_best()
        finally:  # also where an order cannot be read: whoever gave it waits for an answer
            os._exit(0)

    def _send(self, kind: str, value: object) -> None:
        self._out.write(pickle.dumps((kind, value)))
        self._out.flush()


def _warm_up() -> None:
    with importing():
        from unlearn_core.runs.run import run  # noqa: F401
        from unlearn_core.system.machine.threads import use_cores
        from unlearn_core.training.loop import unlearn  # noqa: F401

    use_cores(serving=False)
    keep_heap()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and a polite kill are for the one that gives the orders,
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which ends this process when it has kept what there is
    if hasattr(os, "nice"):
        os.nice(_GIVES_WAY)
    log_to(Path(sys.argv[1]), "runs", words=sys.argv[2] == "1")
    _Child().serve()
