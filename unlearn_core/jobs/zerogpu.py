"""A run on a Space with ZeroGPU: inside one call of a function that the platform carries out on a GPU.

The platform forks a process for the call and ends it afterwards. Nothing that happens in there comes back but
what the call yields: the events, and the weights (with the adapter, where there is one) as bytes, which are
stored on this side. Anywhere else the decorator leaves the function as it is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_core.errors import IntegrityError, LetheError
from unlearn_core.runs.control import Control
from unlearn_core.runs.events import TERMINAL, Event, Failed, StageProgress
from unlearn_core.runs.failure import failed
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.durations import same_seconds
from unlearn_core.system.files import check_complete, disk_errors, save_complete

DEVICE = "ZeroGPU 48GB"  # in the price table
# The platform counts these one and a half times: 80 s are a visitor's whole day without an account.
LEAST_SECONDS, MOST_SECONDS = 20, 80
# Before anything was measured here: seconds to load and score, of a step however small, and what is spare.
_START, _STEP, _MARGIN = 12.0, 0.06, 1.3
_PIECE_BYTES = 8 * 2**20
_GO_ON = "Resume the run to go on where it stands."


@dataclass(frozen=True)
class ZeroGpuJob:
    """What the other process is told; folders by name, because the disk is the same on both sides."""

    spec: RunSpec
    home: str
    public: bool
    checkpoints: str
    orders: str  # a folder: an order is a file in it


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file of the weights; the parts of a file come in order."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class WeightsDelivered:
    """Every piece was sent; what the marker of the weights says."""

    marker: dict[str, Any]


class _Orders(Control):
    """Buttons that reach another process by way of the disk."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self._folder = Path(folder)

    def give(self, order: str) -> None:
        (self._folder / order).touch()

    def was_given(self, order: str) -> bool:
        return (self._folder / order).exists()


def available() -> bool:
    """Whether this is a Space with ZeroGPU and its package is there."""
    return _gpu() is not None


def _gpu() -> Callable[..., Any] | None:
    """The platform's decorator; asked for nowhere else, because its package changes how torch works."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return None
    try:
        import spaces
    except ImportError:
        return None
    decorator: Callable[..., Any] = spaces.GPU
    return decorator


def seconds(job: ZeroGpuJob) -> int:
    """The time on the GPU to ask for: what such runs took here, else what the spec amounts to."""
    wanted = 1.1 * _START + 60 * _STEP
    try:
        with closing(RunStore(job.home)) as store:
            wanted = same_seconds(store, job.spec) or _estimated(job)
    except LetheError:
        pass  # the run itself will say what is wrong with the spec
    return round(min(max(_MARGIN * wanted, LEAST_SECONDS), MOST_SECONDS))


def _estimated(job: ZeroGpuJob) -> float:
    from unlearn_core.methods import build
    from unlearn_core.runs.planning.plan import plan

    found = plan(job.spec, Path(job.home), on=DEVICE, public=job.public)
    method = build(job.spec.method, job.spec.settings, job.spec.steps)
    return _START + _STEP * method.steps + (found.seconds or 0.0)


def _on_gpu(job: ZeroGpuJob) -> Generator[Event | FilePart | WeightsDelivered]:
    """The run, in the process that has the GPU."""
    import torch

    from unlearn_core.runs.run import WEIGHTS, run

    os.environ.pop("SPACES_ZERO_GPU", None)  # in here the GPU is an ordinary one
    torch.set_num_threads(1)  # a fork has none of the threads that the library thinks it has
    with tempfile.TemporaryDirectory() as out:
        events = run(
            job.spec,
            home=job.home,
            out=out,
            control=_Orders(job.orders),
            public=job.public,
            checkpoints=job.checkpoints,
        )
        with closing(events):
            for event in events:
                yield event
                if isinstance(event, StageProgress) and event.stage == "save" and event.done == event.total:
                    yield from _pieces(Path(out) / WEIGHTS)


def _pieces(folder: Path) -> Iterator[FilePart | WeightsDelivered]:
    marker = check_complete(folder)
    for name in marker["files"]:
        with (folder / name).open("rb") as file:
            while data := file.read(_PIECE_BYTES):
                yield FilePart(name, data)
    yield WeightsDelivered(marker)


_decorate = _gpu()
# The platform looks for a decorated function before the page is launched.
on_gpu = _decorate(duration=seconds)(_on_gpu) if _decorate else _on_gpu


def run_on_gpu(
    spec: RunSpec, *, home: Path, out: Path, control: Control, public: bool, checkpoints: Path
) -> Generator[Event]:
    """`runs.run.run` by way of the platform; the weights end up in `out` all the same."""
    end: Event | None = None
    with tempfile.TemporaryDirectory(dir=out, prefix=".gpu.") as folder:
        orders = _Orders(folder)
        staging = Path(folder) / "pieces"
        events = on_gpu(ZeroGpuJob(spec, str(home), public, str(checkpoints), folder))
        try:
            for event in events:
                if isinstance(event, FilePart):
                    _take(event, staging)
                elif isinstance(event, WeightsDelivered):
                    _store(staging, out, event.marker)
                elif isinstance(event, TERMINAL):
                    end = event  # told once the call is over and the GPU given back
                else:
                    if control.finishing:
                        (orders.keep_best if control.keeping_best else orders.finish_early)()
                    yield event
        except Exception as error:
            end = _refused(error)
        finally:
            if control.pausing:
                orders.pause()
            events.close()
    if end is not None:
        yield end


def _take(piece: FilePart, staging: Path) -> None:
    path = staging / piece.path
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(piece.data)


def _store(staging: Path, out: Path, marker: dict[str, Any]) -> None:
    from unlearn_core.runs.run import WEIGHTS

    def write(partial: Path) -> None:
        for path in staging.iterdir():
            path.rename(partial / path.name)

    facts = {key: value for key, value in marker.items() if key != "files"}
    save_complete(out / WEIGHTS, write, facts)
    if check_complete(out / WEIGHTS)["files"] != marker["files"]:
        raise IntegrityError("weights", "", "arrived otherwise than they were sent", "Run again.")


def _refused(error: Exception) -> Failed:
    """In the platform's own words where it has some: no GPU is free, or the visitor's time is used up."""
    title = str(getattr(error, "title", ""))
    if not title.startswith("ZeroGPU"):
        return failed(error)
    return Failed(f"{title}: {str(getattr(error, 'message', '')).rstrip('. ')}. {_GO_ON}", kind="interrupted")
