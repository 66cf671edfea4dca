"""The verdict of a run that was scored before, drawn anew from what the store holds: its scores, its attacks, and
what players got out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.verdict import Verdict, attacked, verdict
from unlearn_core.evaluation.verdict.forget_layers import PLAYERS
from unlearn_core.runs.events import Judged
from unlearn_core.store.game.finds import played
from unlearn_core.store.store import RunStore

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson


def rejudge(store: RunStore, run_id: str, audits: Sequence[AuditJson], weights_hash: str) -> Verdict | None:
    """Judge a run with what attacks on its weights found, and keep that as its verdict; None where the run was
    never scored, or the attacked weights are not the ones that were."""
    found = judged(store, run_id, audits, weights_hash)
    if found is not None:
        store.append(run_id, Judged(found.to_json()))
    return found


def judged(store: RunStore, run_id: str, audits: Sequence[AuditJson], weights_hash: str) -> Verdict | None:
    """As `rejudge`, with nothing kept."""
    scores = store.state(run_id).scores
    if not {"original", "unlearned"} <= set(scores) or scores["unlearned"].weights_hash != weights_hash:
        return None
    found = played(store.folder(run_id), weights_hash)
    results = [*(row for row in audits if row.get("name") != PLAYERS), *([found] if found else ())]
    return verdict(scores["original"], scores["unlearned"], scores.get("retain_only"), results)


def verdict_of_weights(store: RunStore, audits: Sequence[AuditJson], weights_hash: str) -> Verdict:
    """The verdict on weights in a folder: that of the run here that made and scored them, if there is one."""
    for record in store.list_runs(status="finished", limit=1_000_000):
        if record.scores.get("unlearned", {}).get("weights_hash") == weights_hash:
            found = judged(store, record.id, audits, weights_hash)
            if found is not None:
                return found
    return attacked(audits)
