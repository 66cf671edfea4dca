"""The page's actions as named endpoints, for `gradio_client`, plain HTTP and other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from unlearn_core.ui.guarded import typed
from unlearn_core.ui.model_endpoints import ModelEndpoints
from unlearn_core.ui.run_endpoints import RunEndpoints
from unlearn_core.ui.studio import Studio

_Endpoint = Callable[..., Any]


def add_endpoints(studio: Studio) -> None:
    """Register them under their functions' names. What loads a model or writes large files is queued, the
    rest answers at once."""
    runs, models = RunEndpoints(studio), ModelEndpoints(studio)
    at_once: tuple[_Endpoint, ...] = (
        runs.start_run, runs.run_status, runs.stop_run, runs.finish_run, runs.resume_run, runs.scores,
        runs.list_runs, runs.rename_run, runs.tag_run, runs.delete_run, runs.compare_runs,
        runs.sweep, runs.sweep_status, runs.stop_sweep, runs.delete_my_data,
        runs.start_audits, runs.audit_results, runs.stop_audits,
        models.list_methods, models.list_targets, models.list_audits, models.upload_data, models.list_facts,
        models.save_probe,
    )  # fmt: skip
    queued: dict[str, tuple[_Endpoint, ...]] = {  # by what shares a place in the queue
        "read": (models.preview_data, models.target_needs, models.estimate),
        "export": (runs.report, runs.export, runs.push_to_hub),
        "generate": (models.generate, models.ask_runs, models.inspect_answer, models.ask_ways,
                     runs.score_wiped),
    }  # fmt: skip
    for fn in at_once:
        gr.api(typed(fn), api_name=fn.__name__, queue=False)
    for place, fns in queued.items():
        for fn in fns:
            gr.api(typed(fn), api_name=fn.__name__, concurrency_id=place)
