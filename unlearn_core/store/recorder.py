"""A run that is also written down: the store is one subscriber of the iterator."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from unlearn_core.runs.events import Cancelled, Event
from unlearn_core.runs.failure import Terminated, failed
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.store import RunStore
from unlearn_core.system.machine import distributed


def record(
    spec: RunSpec,
    store: RunStore,
    *,
    run_id: str | None = None,
    out: str | Path | None = None,
) -> Generator[Event]:
    """`run(spec)`, with every event appended to the store before it is yielded.

    run_id: a run made with `store.create`, None to make one. out: the folder that gets `weights/`, None
    for the run's own. Closing the iterator, or Ctrl-C, records the run as cancelled; a team that the
    launcher ends, as it does when one process dies, is interrupted.
    """
    if run_id is None:
        run_id = store.create(spec).id
    if out is not None:
        store.kept_in(run_id, Path(out))
    state = RunState()
    events = run(
        spec,
        home=store.home,
        out=out or store.folder(run_id),
        checkpoints=store.checkpoints(run_id),
    )
    try:
        for event in events:
            state = store.append(run_id, event)
            yield event
    except BaseException as error:
        if state.end is None:
            stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
            stopped = stopped and not (isinstance(error, Terminated) and distributed.size() > 1)
            store.append(run_id, Cancelled(state.step) if stopped else failed(error))
        raise
