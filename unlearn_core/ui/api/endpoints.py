"""The page's actions as named endpoints, for `gradio_client`, plain HTTP and other programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import get_blocks_context

from unlearn_core.service.studio import Studio
from unlearn_core.ui.api.model_endpoints import ModelEndpoints
from unlearn_core.ui.api.run_endpoints import RunEndpoints
from unlearn_core.ui.web.error_handling import typed

# What every parameter of an endpoint means; the same name means the same everywhere.
PARAMETERS = {
    "answer": 'the gold answer, "" for none',
    "audits": "names of the attacks (see list_audits), null for all that fit",
    "best": "keep the best weights that were watched rather than the last ones",
    "budget_seconds": "seconds that the attacks may take together, by estimate; one under way is finished",
    "columns": "field name to column of a file whose columns have other names",
    "content": "the text of a data file",
    "data": "demo, a name from upload_data, facts:PROMPT => ANSWER, a path or a Hub id",
    "descending": "the largest or newest first",
    "device": 'a device to count for, for example H100; "" for this machine',
    "filename": "what the file is called; its ending says its form",
    "form": "html or json",
    "grid": "setting to the values that it takes",
    "key": "any text of yours: the same key starts no second run",
    "kind": "weights, adapter or gguf",
    "limit": "rows at most",
    "max_new_tokens": "tokens that an answer may have",
    "method": "a method's name (see list_methods)",
    "mmlu": 'a folder or Hub id of MMLU questions, "" for none',
    "name": "the run's new name",
    "offset": "rows to skip",
    "owner": "a secret of your choosing; whoever knows it may stop, change and delete the run",
    "private": "whether the repository is for you alone",
    "processes": "devices that share the work",
    "prompt": "what is asked; for start_run and estimate, the prompt format",
    "repo": "owner/name on the Hub",
    "retain_data": 'a retain set where the data brings none, "" for none',
    "retain_model": 'a model that never saw the forget set, "" for none',
    "run_id": "a run's id",
    "run_ids": "ids of runs",
    "search": "words in name, tag, method, model or data",
    "seed": "a whole number; the same gives the same run",
    "seeds": "seeds of the sweep",
    "settings": "the method's settings that differ from its defaults, and steps",
    "since": "byte offset in the events: 0, or the one told before",
    "sort": "the column to sort by",
    "split": "forget, retain or general",
    "status": 'a status, "" for any',
    "tag": "the tag of a sweep",
    "tags": "words, at most 10",
    "target": "a listed model (see list_targets), a path or a Hub id",
    "temperature": "0 is greedy",
    "verdict": 'a verdict\'s word, "" for any',
    "adapter": "auto, full or lora",
}
_Endpoint = Callable[..., Any]


def add_endpoints(studio: Studio) -> None:
    """Register them under their functions' names. What loads a model or writes large files is queued, the
    rest answers at once."""
    runs, models = RunEndpoints(studio), ModelEndpoints(studio)
    at_once: tuple[_Endpoint, ...] = (
        runs.start_run,
        runs.run_status,
        runs.stop_run,
        runs.finish_run,
        runs.resume_run,
        runs.scores,
        runs.list_runs,
        runs.rename_run,
        runs.tag_run,
        runs.delete_run,
        runs.compare_runs,
        runs.sweep,
        runs.sweep_status,
        runs.stop_sweep,
        runs.delete_my_data,
        runs.start_audits,
        runs.audit_results,
        runs.stop_audits,
        models.list_methods,
        models.list_targets,
        models.list_audits,
        models.upload_data,
        models.list_facts,
        models.save_probe,
    )
    queued: dict[str, tuple[_Endpoint, ...]] = {  # by what shares a place in the queue
        "read": (models.preview_data, models.target_needs, models.estimate),
        "export": (runs.report, runs.export, runs.push_to_hub),
        "generate": (models.generate, models.ask_runs, models.inspect_answer, models.ask_ways, runs.score_wiped),
    }
    for fn in at_once:
        gr.api(typed(fn), api_name=fn.__name__, queue=False)
    for place, fns in queued.items():
        for fn in fns:
            gr.api(typed(fn), api_name=fn.__name__, concurrency_id=place)
    page = get_blocks_context()
    assert page is not None
    names = {fn.__name__ for fn in (*at_once, *(fn for fns in queued.values() for fn in fns))}
    for listener in page.fns.values():
        if listener.api_name in names:
            _describe(listener)


def _describe(listener: Any) -> None:
    """Name and describe what an endpoint takes and gives; Gradio calls them 1st, 2nd, and Any."""
    taken = list(inspect.signature(listener.fn).parameters)
    for name, part in zip(taken, listener.inputs, strict=True):
        part.label = name.replace("_", " ")
        part._api_info = {**part._api_info, "additional_description": PARAMETERS[name]}
    for part in listener.outputs:
        part.label = "result"
        part._api_info = {"type": "object", "description": "JSON as the description says"} | part._api_info
