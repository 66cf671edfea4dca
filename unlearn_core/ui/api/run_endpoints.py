"""Runs for other programs: start, follow, list, label, compare, sweep, attack, and hand over.

`owner` is a secret of the caller's choosing; whoever knows it may stop, change and delete the run.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradio.data_classes import FileData

from unlearn_core.errors import InputError
from unlearn_core.jobs import sweep as sweeps
from unlearn_core.runs import events as ev
from unlearn_core.service.choices import Brought
from unlearn_core.service.studio import Studio
from unlearn_core.store.audit_record import read_audits
from unlearn_core.store.table.compare import compared, to_json
from unlearn_core.store.table.rows import PAGE, RunQuery

Answer = dict[str, Any]  # what an endpoint gives back, as JSON


class RunEndpoints:
    """Bound to a studio; every public method is one endpoint."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def start_run(
        self,
        target: str = "demo",
        data: str = "demo",
        method: str = "lethe",
        settings: dict[str, Any] | None = None,
        seed: int = 0,
        owner: str = "",
        adapter: str = "auto",
        retain_data: str = "",
        columns: dict[str, str] | None = None,
        mmlu: str = "",
        key: str = "",
        retain_model: str = "",
        prompt: str = "auto",
    ) -> Answer:
        """Queue a run; `owner` is a secret of your choosing that lets you stop it. Returns its id. Sent again
        with the same `key`, any text of yours, it starts no second run."""
        brought: Brought = {"data": data, "retain_data": retain_data, "columns": columns, "mmlu": mmlu}
        spec = self._studio.choices.spec(
            target, data, method, settings or {}, brought, seed, adapter, retain_model, prompt=prompt
        )
        return {"run_id": self._studio.submit(spec, owner, key)}

    def run_status(self, run_id: str, since: int = 0) -> Answer:
        """Status of a run and its events after byte offset `since`, without scores and audits, which have endpoints of
        their own; ask again with `offset`."""
        record = self._studio.store.get(run_id)
        if not 0 <= since < 2**53:
            raise InputError("since", since, "is no place in the events", "Use 0, or the `offset` told before.")
        events, offset = self._studio.store.read_events(run_id, since)
        told = [ev.to_json(event) for event in events if not isinstance(event, ev.Score | ev.AuditLogged)]
        ahead = self._studio.position(run_id)
        return {
            "status": record.status,
            "position": ahead,
            "offset": offset,
            "events": told,
            "wait_seconds": self._studio.worker.seconds_until(run_id),
        }

    def stop_run(self, run_id: str, owner: str = "") -> Answer:
        """Stop a run that `owner` started."""
        self._studio.worker.cancel(run_id, owner)
        return {"run_id": run_id, "stopping": True}

    def finish_run(self, run_id: str, owner: str = "", best: bool = False) -> Answer:
        """End the training of a run now; what is trained so far is kept and scored, with `best` the best
        weights that were watched."""
        self._studio.worker.finish_early(run_id, owner, best)
        return {"run_id": run_id, "finishing": True}

    def resume_run(self, run_id: str, owner: str = "") -> Answer:
        """Queue an interrupted run again; it goes on from its last checkpoint."""
        self._studio.worker.resume(run_id, owner)
        return {"run_id": run_id, "resumed": True}

    def scores(self, run_id: str) -> Answer:
        """Scores of the original, the unlearned and the retain-only model, and the verdict."""
        record = self._studio.store.shown(run_id)
        layers = (record.verdict or {}).get("layers", [])
        return {"scores": record.scores, "verdict": record.verdict, "layers": layers, "spec": record.spec}

    def list_runs(
        self,
        search: str = "",
        method: str = "",
        status: str = "",
        verdict: str = "",
        tag: str = "",
        sort: str = "created",
        descending: bool = True,
        offset: int = 0,
        limit: int = PAGE,
        owner: str = "",
    ) -> Answer:
        """One page of the runs that fit, and how many fit in all; on a shared server those of `owner`."""
        query = RunQuery(
            text=search,
            method=method,
            status=status,
            verdict=verdict,
            tag=tag,
            sort=sort,
            descending=descending,
            offset=offset,
            limit=limit,
            owner=self._studio.mine(owner),
        )
        rows, total = self._studio.store.rows(query)
        return {"runs": [asdict(row) for row in rows], "total": total}

    def rename_run(self, run_id: str, name: str, owner: str = "") -> Answer:
        """Give a run another name; "" gives it back the name it was started with."""
        return {"run_id": run_id, "name": self._studio.store.label(run_id, owner or None, name=name).name}

    def tag_run(self, run_id: str, tags: list[str], owner: str = "") -> Answer:
        """Replace the tags of a run; an empty list removes them."""
        record = self._studio.store.label(run_id, owner or None, tags=tags)
        return {"run_id": run_id, "tags": list(record.tags)}

    def delete_run(self, run_id: str, owner: str = "") -> Answer:
        """Remove a run that is over, with its weights."""
        self._studio.store.delete(run_id, owner or None)
        return {"run_id": run_id, "deleted": True}

    def delete_my_data(self, owner: str) -> Answer:
        """Stop and delete every run of `owner`, and delete what they uploaded; how many there were."""
        return asdict(self._studio.delete_mine(owner))

    def compare_runs(self, run_ids: list[str], owner: str = "") -> Answer:
        """Two to four runs: every setting, and every score with 95 % intervals over the seeds there are."""
        return to_json(compared(self._studio.store, run_ids, self._studio.mine(owner)))

    def score_wiped(self, run_id: str) -> Answer:
        """Score a copy of the run's target with random weights on its data: the floor of the comparison."""
        scored = self._studio.score_wiped(run_id)
        from unlearn_core.evaluation.progress import result_of

        return dict(result_of(scored).to_json())

    def sweep(
        self,
        target: str = "demo",
        data: str = "demo",
        method: str = "lethe",
        grid: dict[str, list[Any]] | None = None,
        seeds: list[int] | None = None,
        settings: dict[str, Any] | None = None,
        owner: str = "",
        adapter: str = "auto",
    ) -> Answer:
        """Queue a run for every combination of the grid's values and every seed; returns their tag."""
        base = self._studio.choices.spec(target, data, method, settings or {}, adapter=adapter)
        for name, values in (grid or {}).items():
            if not isinstance(values, list):
                raise InputError(name, values, "is not a list of values", "Write [0.1, 0.2].")
        specs = sweeps.grid(base, grid or {}, [0] if seeds is None else seeds)
        tag = self._studio.sweep(specs, owner or None)
        return self.sweep_status(tag, owner)

    def sweep_status(self, tag: str, owner: str = "") -> Answer:
        """The runs of a sweep in the order they were queued, how many are done, and the seconds left."""
        state = sweeps.state(self._studio.store, tag, self._studio.mine(owner))
        runs = [asdict(row) for row in state.rows]
        return {"tag": tag, "runs": runs, "done": state.done, "over": state.over, "seconds_left": state.seconds_left}

    def stop_sweep(self, tag: str, owner: str = "") -> Answer:
        """Stop every run of a sweep that is not over; how many there were."""
        return {"tag": tag, "stopped": sweeps.cancel(self._studio.worker, tag, owner or None)}

    def start_audits(
        self, run_id: str, audits: list[str] | None = None, budget_seconds: float = 90.0, owner: str = ""
    ) -> Answer:
        """Queue attacks on a finished run that `owner` started; no names mean all that fit the budget."""
        self._studio.attack(run_id, budget_seconds, audits, owner)
        return {"run_id": run_id}

    def audit_results(self, run_id: str) -> Answer:
        """Status, progress and results of the attacks on a run."""
        self._studio.store.get(run_id)
        record = read_audits(self._studio.store, run_id, self._studio.live.story(run_id))
        return {"status": "none"} if record is None else asdict(record)

    def stop_audits(self, run_id: str, owner: str = "") -> Answer:
        """Stop the attacks on a run; what they found stays."""
        self._studio.worker.cancel_audits(run_id, owner)
        return {"run_id": run_id, "stopping": True}

    def report(self, run_id: str, form: str = "html") -> Answer:
        """A run's report as a file to download: one offline page ("html") or data ("json"); or its result page for a
        static host ("site")."""
        return _file(self._studio.report(run_id, form))

    def export(self, run_id: str, kind: str = "weights") -> Answer:
        """A zip to download: "weights" or "adapter" with model card and report."""
        return _file(self._studio.export(run_id, kind))

    def push_to_hub(
        self, run_id: str, repo: str, kind: str = "weights", private: bool = True, owner: str = ""
    ) -> Answer:
        """Upload a run to the Hub repository owner/name with the server's HF_TOKEN; its address."""
        return {"url": self._studio.push(run_id, repo, kind, owner, private)}


def _file(path: Path) -> Answer:
    """A file in the form that Gradio copies into its cache and its clients download."""
    return FileData(path=str(path), orig_name=path.name, size=path.stat().st_size).model_dump()
