"""The page's actions as named endpoints, for `gradio_client`, plain HTTP and other programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.report.markup import text
from unlearn_core.runs import events as ev
from unlearn_core.ui.studio import Studio


def add_endpoints(studio: Studio) -> None:
    """Register them: runs, scores, questions, methods, audits."""

    def start_run(
        target: str = "demo", data: str = "demo", method: str = "lethe",
        settings: dict[str, Any] | None = None, seed: int = 0, owner: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Queue a run; `owner` is a secret of your choosing that lets you stop it. Returns its id."""
        with _people():
            return {
                "run_id": studio.submit(studio.spec(target, data, method, settings or {}, seed=seed), owner)
            }

    def run_status(run_id: str, since: int = 0) -> dict[str, Any]:
        """Status of a run and its events after byte offset `since`; ask again with `offset`."""
        with _people():
            record = studio.store.get(run_id)
            events, offset = studio.store.read_events(run_id, since)
            told = [ev.to_json(event) for event in events if not isinstance(event, ev.Score)]
            ahead = studio.position(run_id)
            return {"status": record.status, "position": ahead, "offset": offset, "events": told}

    def stop_run(run_id: str, owner: str = "") -> dict[str, Any]:
        """Stop a run that `owner` started."""
        with _people():
            studio.worker.cancel(run_id, owner)
            return {"run_id": run_id, "stopping": True}

    def scores(run_id: str) -> dict[str, Any]:
        """Scores of the original, the unlearned and the retain-only model, and the verdict."""
        with _people():
            record = studio.store.get(run_id)
            return {"scores": record.scores, "verdict": record.verdict, "spec": record.spec}

    def start_audits(
        run_id: str, audits: list[str] | None = None, budget_seconds: float = 90.0, owner: str = ""
    ) -> dict[str, Any]:
        """Queue attacks on a finished run that `owner` started; no names mean all that fit the budget."""
        with _people():
            studio.worker.submit_audits(run_id, budget_seconds, audits, owner)
            return {"run_id": run_id}

    def audit_results(run_id: str) -> dict[str, Any]:
        """Status, progress and results of the attacks on a run."""
        from unlearn_core.runs.audit_record import read_audits

        with _people():
            studio.store.get(run_id)
            record = read_audits(studio.store, run_id)
            return {"status": "none"} if record is None else asdict(record)

    def stop_audits(run_id: str, owner: str = "") -> dict[str, Any]:
        """Stop the attacks on a run; what they found stays."""
        with _people():
            studio.worker.cancel_audits(run_id, owner)
            return {"run_id": run_id, "stopping": True}

    def generate(prompt: str, run_id: str = "", max_new_tokens: int = 64) -> dict[str, str]:
        """Greedy answers of the original and, with a run, of the unlearned model."""
        with _people():
            return list(studio.ask(run_id, "demo", prompt, max_new_tokens=max_new_tokens))[-1]

    def list_methods() -> list[dict[str, Any]]:
        """Every method with its idea, paper and settings."""
        from unlearn_core.methods import REGISTRY, describe

        return [describe(cls) for cls in REGISTRY.values()]

    for fn in (
        start_run, run_status, stop_run, scores, list_methods, start_audits, audit_results, stop_audits,
    ):  # fmt: skip
        gr.api(fn, api_name=fn.__name__, queue=False)
    gr.api(generate, api_name="generate", concurrency_id="generate")


class _people:
    """Turns the errors meant for people into the kind that reaches a caller with its message."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LetheError):
            raise gr.Error(str(text(error)), print_exception=False) from None
