"""The model card of an unlearned model: what was done, how it was judged, and the scores as metadata that
the Hub reads (model-index).
"""

from __future__ import annotations

import re
from typing import Any

from unlearn_core.evaluation.scores import TERM_NAMES, Scores
from unlearn_core.report.bundle import Bundle
from unlearn_core.report.format import score

_METRICS = (
    ("task_aggregate", "Task aggregate (harmonic mean of 12 terms)"),
    ("mia_score", "Membership score (1 - 2 |AUC - 0.5|)"), ("mia_auc", "Membership AUC (0.5 is best)"),
    ("utility", "Utility (four-option questions)"), ("final_score", "Final score (SemEval-2025 Task 4)"),
)  # fmt: skip
_HUB_ID = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~-])")


def model_card(found: Bundle, adapter: bool = False) -> str:
    """The README.md of an export: YAML front matter in the Hub's format, then a page for people."""
    from huggingface_hub import ModelCardData

    spec, target = found.spec, str(found.spec.get("target", ""))
    name = found.record.name
    tags = ["machine-unlearning", "lethe", f"method:{spec.get('method')}"]
    results = _results(found)
    data = ModelCardData(
        library_name="peft" if adapter else "transformers", pipeline_tag="text-generation", tags=tags,
        base_model=target.partition("@")[0] if _HUB_ID.fullmatch(target.partition("@")[0]) else None,
        model_name=name if results else None, eval_results=results or None,
    )  # fmt: skip
    return f"---\n{data.to_yaml()}\n---\n\n{_body(found, adapter)}"


def _results(found: Bundle) -> list[Any]:
    from huggingface_hub import EvalResult

    scores = found.story.scores.get("unlearned")
    if scores is None:
        return []
    named = [(name, title, getattr(scores, name)) for name, title in _METRICS]
    named += [(term, f"Plain mean of {term}", scores.terms.get(term)) for term in TERM_NAMES]
    dataset = str(found.spec.get("data", ""))
    shown = "typed facts" if dataset.startswith("facts:") else dataset
    kind = shown if _HUB_ID.fullmatch(shown) else "lethe"
    return [
        EvalResult(
            task_type="text-generation", task_name="Machine unlearning", dataset_type=kind,
            dataset_name=shown, metric_type=metric, metric_name=title, metric_value=round(float(value), 6),
        )
        for metric, title, value in named
        if value is not None and not (metric == "final_score" and value == -1)
    ]  # fmt: skip


def _body(found: Bundle, adapter: bool) -> str:
    spec, verdict = found.spec, found.record.verdict or {}
    lines = [
        f"# {_plain(found.record.name)}",
        "",
        f"A model made to forget a chosen data set with the method `{_code(spec.get('method'))}`, by Lethe. "
        + ("This is a LoRA adapter for the target model named below." if adapter else ""),
        "",
        f"**Verdict: {_plain(verdict.get('label', 'not judged'))}.** {_plain(verdict.get('summary', ''))}",
        "",
        *(f"- {_plain(reason)}" for reason in verdict.get("reasons", ())),
        "",
        "Unlearning is approximate: what no longer shows may still be in the weights. " + _attacked(found),
        "",
        "## Scores",
        "",
        *_table(found.story.scores),
        "",
        "Forget terms are plain means: 1 means nothing was forgotten, 0 that all was. Scores on Lethe's "
        "bundled world are not comparable with the leaderboard of SemEval-2025 Task 4.",
        "",
        "## How it was made",
        "",
        f"```\n{_code(found.to_json()['command'])}\n```",
        "",
        *(
            f"- {_plain(name)}: `{_code(value)}`"
            for name, value in {**found.hashes, **found.versions}.items()
        ),
        "",
        "`lethe_report.json` beside this file holds the whole report; `lethe run lethe_report.json` repeats "
        "the run.",
        "",
    ]
    return "\n".join(lines)


def _attacked(found: Bundle) -> str:
    if not found.audits:
        return "No attack was tried on these weights."
    told = [f"{_plain(row.get('name'))}: {_plain(row.get('verdict'))}" for row in found.audits]
    return "Attacks tried: " + "; ".join(told) + "."


def _table(scores: dict[str, Scores]) -> list[str]:
    models = [model for model in ("original", "unlearned", "retain_only") if model in scores]
    rows = [[title, *(_value(name, scores[m]) for m in models)] for name, title in _METRICS]
    rows += [[term, *(score(scores[m].terms.get(term), 3) for m in models)] for term in TERM_NAMES]
    head = ["", *(model.replace("_", "-") for model in models)]
    return [" | ".join(["", *cells, ""]).strip() for cells in (head, ["---"] * len(head), *rows)]


def _value(name: str, scores: Scores) -> str:
    value = getattr(scores, name)
    return score(None if name == "final_score" and value == -1 else value, 3)


def _plain(value: object) -> str:
    """Any text as one line of Markdown that says what it says and does nothing."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def _code(value: object) -> str:
    """Text for inside backticks: it cannot end them."""
    return " ".join(str(value).replace("`", "'").split())
