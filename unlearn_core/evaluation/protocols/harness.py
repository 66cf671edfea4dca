"""Any task of lm-evaluation-harness (GSM8K, TruthfulQA, BBH, HellaSwag ...) on a model that is loaded here.

The harness is an optional extra (`pip install lethe-unlearning[eval]`); tasks, prompts and scores are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.base import Result, Term

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "lm-eval"  # also the name on the command line


def harness_result(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
) -> Result:
    """The harness's numbers, one term a task and metric; InputError for a task it does not have.

    `include` is a folder of task files of one's own; `limit` asks no more than so many questions a task.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError:
        mend = "Install it with `pip install lm-eval`, or with the extra `eval`."
        raise InputError("--protocol", NAME, "needs lm-evaluation-harness, which is not installed", mend) from None
    manager = TaskManager(include_path=None if include is None else str(include))
    unknown = [task for task in tasks if not manager.match_tasks([task])]
    if unknown:
        raise InputError("--task", unknown[0], "is not a task of lm-evaluation-harness", "See `lm_eval --tasks list`.")
    found: dict[str, Any] = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer),
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        bootstrap_iters=0,
    )
    terms = [term for task, values in found["results"].items() for term in _terms(task, values, found)]
    versions = {task: str(version) for task, version in found.get("versions", {}).items()}
    return Result(NAME, tuple(terms), {term.name: term.value for term in terms} | {"versions": versions})


def _terms(task: str, values: dict[str, Any], found: dict[str, Any]) -> list[Term]:
    count = int(found.get("n-samples", {}).get(task, {}).get("effective", 0))
    better = found.get("higher_is_better", {}).get(task, {})
    return [
        Term(f"{task}/{metric}", f"{task}, {metric}", "utility", float(value), count, better.get(metric.split(",")[0]))
        for metric, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and "stderr" not in metric and "," in metric
    ]
