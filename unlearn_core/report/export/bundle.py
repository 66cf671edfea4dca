"""Everything that is known of one run, gathered once for the report, its JSON and the model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn_core.report.export.reproduce import command
from unlearn_core.report.run.answers.sidebyside import items, splits
from unlearn_core.report.run.live.neighbourhood import neighbourhood_json
from unlearn_core.runs.state import RunState
from unlearn_core.store.audit_record import read_audits
from unlearn_core.store.store import RunRecord, RunStore
from unlearn_core.system.files import finite

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson
    from unlearn_core.runs.spec import SpecJson

SAMPLES = 6  # prompts shown of each kind


@dataclass(frozen=True)
class RunReport:
    """A run's record, its events folded, and the audits of its weights."""

    record: RunRecord
    story: RunState
    audits: tuple[AuditJson, ...]

    @property
    def spec(self) -> SpecJson:
        return self.story.spec or self.record.spec

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights of each scored model, and of the data."""
        found = {f"weights, {model}": scores.weights_hash for model, scores in self.story.scores.items()}
        data = {scores.data_fingerprint for scores in self.story.scores.values()} - {""}
        return found | ({"data": sorted(data)[0]} if data else {})

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries the run was made with; empty for runs that did not record them."""
        return self.story.started.versions if self.story.started else {}

    @property
    def cost(self) -> dict[str, Any]:
        """What the run took: seconds by stage, steps, tokens per second while training, and the device."""
        steps = self.story.steps
        rates = sorted(step.tokens_per_second for step in steps)
        return {
            "seconds": dict(self.record.seconds),
            "steps": steps[-1].step if steps else 0,
            "median_tokens_per_second": rates[len(rates) // 2] if rates else None,
            "device": self.story.started.device if self.story.started else "",
        }

    def to_json(self) -> dict[str, Any]:
        """The report as data; `RunSpec.from_json(report["spec"])` repeats the run."""
        story = self.story
        scores = {model: finite(found.to_json()) for model, found in story.scores.items()}
        return {
            "kind": "lethe report",
            "version": 1,
            "run": self.record.id,
            "name": self.record.name,
            "tags": list(self.record.tags),
            "created": self.record.created,
            "status": self.record.status,
            "spec": self.spec,
            "command": command(self.spec),
            "hashes": self.hashes,
            "versions": self.versions,
            "cost": self.cost,
            "verdict": self.record.verdict,
            "layers": (self.record.verdict or {}).get("layers", []),
            "changed": story.finished.changed if story.finished else {},
            "scores": scores,
            "kept": self.record.kept,
            "audits": list(self.audits),
            "notes": story.notes,
            "message": self.record.message,
            "neighbourhood": neighbourhood_json(story),
            "samples": _samples(story),
        }


def bundle(store: RunStore, run_id: str) -> RunReport:
    """Gather a run; InputError for an unknown one."""
    record, story = store.shown(run_id), store.state(run_id)
    audits = read_audits(store, run_id, story)
    found = [] if audits is None else audits.results.values()
    return RunReport(record, story, tuple(row for row in found if isinstance(row, dict)))


def _samples(story: RunState) -> list[dict[str, Any]]:
    rows = []
    for split in splits(story.scores):
        for item in items(story.scores, split)[:SAMPLES]:
            said = {model: {"output": row.output, "score": row.score} for model, row in item.answers.items()}
            asked = {"split": split, "task": item.row.task, "input": item.row.input, "gold": item.row.gold}
            rows.append({**asked, "answers": said})
    return rows
