"""The model card of an unlearned model: what was done, how it was judged, and the scores as metadata that
the Hub reads (model-index).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unlearn_core.evaluation.protocols.base import Term
from unlearn_core.evaluation.protocols.semeval import listed
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import Verdict
from unlearn_core.report.export.bundle import RunReport
from unlearn_core.report.kit.format import capitalised, score
from unlearn_core.report.run.layer_table import FIGURES, TITLES, figures
from unlearn_core.report.run.verdict import said
from unlearn_core.system.hub import REPOSITORY

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_HUB_ID = re.compile(REPOSITORY, re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~-])")


def model_card(found: RunReport, adapter: bool = False) -> str:
    """The README.md of an export: YAML front matter in the Hub's format, then a page for people."""
    from huggingface_hub import ModelCardData

    spec, target = found.spec, str(found.spec.get("target", ""))
    name = found.record.name
    tags = ["machine-unlearning", "lethe", f"method:{spec.get('method')}"]
    results = _results(found)
    data = ModelCardData(
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=tags,
        base_model=target.partition("@")[0] if _HUB_ID.fullmatch(target.partition("@")[0]) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_body(found, adapter)}"


def _results(found: RunReport) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    scores = found.story.scores.get("unlearned")
    if scores is None:
        return []
    named = [(term.name, _title(term), term.value) for term in _totals_first(scores)]
    dataset = str(found.spec.get("data", ""))
    shown = "typed facts" if dataset.startswith("facts:") else dataset
    kind = shown if _HUB_ID.fullmatch(shown) else "lethe"
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Machine unlearning",
            dataset_type=kind,
            dataset_name=shown,
            metric_type=metric,
            metric_name=title,
            metric_value=round(float(value), 6),
        )
        for metric, title, value in named
        if value is not None
    ]


def _body(found: RunReport, adapter: bool) -> str:
    spec, verdict = found.spec, found.record.verdict or {}
    found_verdict = Verdict.from_json(verdict)
    lines = [
        f"# {_plain(found.record.name)}",
        "",
        f"A model made to forget a chosen data set with the method `{_code(spec.get('method'))}`, by Lethe. "
        + ("This is a LoRA adapter for the target model named below." if adapter else ""),
        "",
        f"**Verdict: {_plain(found_verdict.headline if verdict else 'not judged')}.** "
        + _plain(said(found_verdict.summary)),
        "",
        *_layers(found_verdict),
        *(f"- {_plain(said(reason))}" for reason in found_verdict.reasons),
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
        *(f"- {_plain(name)}: `{_code(value)}`" for name, value in {**found.hashes, **found.versions}.items()),
        "",
        "`lethe_report.json` beside this file holds the whole report; `lethe run lethe_report.json` repeats the run.",
        "",
    ]
    return "\n".join(lines)


def _layers(verdict: Verdict) -> list[str]:
    """The layers as a table in Markdown; nothing for a verdict of a version without them."""
    if not verdict.layers:
        return []
    rows = [[TITLES[layer.name][0], layer.state, *figures(layer)] for layer in verdict.layers]
    return [*_markdown(["Layer", "State", *FIGURES], rows), ""]


def _attacked(found: RunReport) -> str:
    if not found.audits:
        return "No attack was tried on these weights."
    told = [f"{_plain(row.get('name'))}: {_plain(row.get('verdict'))}" for row in found.audits]
    return "Attacks tried: " + "; ".join(told) + "."


def _table(scores: dict[str, Scores]) -> list[str]:
    models = [model for model in ("original", "unlearned", "retain_only") if model in scores]
    values = {model: {term.name: term.value for term in listed(scores[model]).terms} for model in models}
    rows = [
        [term.name if term.split else _title(term), *(_value(values[m].get(term.name)) for m in models)]
        for term in (_totals_first(scores[models[0]]) if models else ())
    ]
    return _markdown(["", *(model.replace("_", "-") for model in models)], rows)


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return [" | ".join(["", *cells, ""]).strip() for cells in (head, ["---"] * len(head), *rows)]


def _totals_first(scores: Scores) -> list[Term]:
    return sorted(listed(scores).terms, key=lambda term: bool(term.split))


def _title(term: Term) -> str:
    """The name of a total with what the Hub's readers need to know of it."""
    return capitalised(term.title) + (f" ({term.formula})" if term.formula else "")


def _value(value: float | None) -> str:
    if value is not None and (not 0 <= value <= 1 or 0 < value < 1e-3):
        return f"{value:.3g}"
    return score(value, 3)


def _plain(value: object) -> str:
    """Any text as one line of Markdown that says what it says and does nothing."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def _code(value: object) -> str:
    """Text for inside backticks: it cannot end them."""
    return " ".join(str(value).replace("`", "'").split())
