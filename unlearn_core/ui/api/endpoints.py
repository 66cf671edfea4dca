"""The page's actions as named endpoints, for `gradio_client`, plain HTTP and other programs."""

from __future__ import annotations

import inspect
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
# What loads a model or writes large files waits in the queue, with what shares its place there.
_QUEUED = {
    "read": ("preview_data", "target_needs", "estimate"),
    "export": ("report", "export", "push_to_hub"),
    "generate": ("generate", "ask_runs", "inspect_answer", "ask_ways", "score_wiped"),
}


def add_endpoints(studio: Studio) -> None:
    """Register every public method of both classes under its name; what is not queued answers at once."""
    places = {name: place for place, names in _QUEUED.items() for name in names}
    page = get_blocks_context()
    assert page is not None
    for bound in (RunEndpoints(studio), ModelEndpoints(studio)):
        for name in vars(type(bound)):
            if not name.startswith("_"):
                fn = typed(getattr(bound, name))
                gr.api(fn, api_name=name, queue=name in places, concurrency_id=places.get(name))
                _describe(page.fns[max(page.fns)])


def _describe(listener: Any) -> None:
    """Name and describe what an endpoint takes and gives; Gradio calls them 1st, 2nd, and Any."""
    taken = list(inspect.signature(listener.fn).parameters)
    for name, part in zip(taken, listener.inputs, strict=True):
        part.label = name.replace("_", " ")
        part._api_info = {**part._api_info, "additional_description": PARAMETERS[name]}
    for part in listener.outputs:
        part.label = "result"
        part._api_info = {"type": "object", "description": "JSON as the description says"} | part._api_info
