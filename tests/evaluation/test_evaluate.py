"""The whole evaluation on tiny real models: parts, progress, missing data, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import DivergedError
from unlearn_core.evaluation.evaluate import EvaluationSettings, _asked, evaluate
from unlearn_core.evaluation.metrics.answer_traces import AnswerTraces
from unlearn_core.evaluation.progress import Progress, ResultIterator
from unlearn_core.evaluation.protocols import official
from unlearn_core.evaluation.protocols.official_inference import infer, row_losses
from unlearn_core.evaluation.scores import PARAPHRASE, TERM_NAMES, Scores
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.likelihood import traces


def finish(steps: Any) -> tuple[list[Progress], Scores]:
    work = ResultIterator(steps)
    return list(work), work.result


def test_everything_is_scored_and_progress_reaches_its_total(tiny_model, tiny_tokenizer, tiny_data) -> None:
    model = tiny_model("olmo2")
    seen, scores = finish(evaluate(model, tiny_tokenizer, tiny_data))
    assert seen[-1].done == seen[-1].total
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert {step.stage for step in seen} == {"answers", "documents", "questions", "likelihoods"}
    assert set(scores.terms) == set(TERM_NAMES)
    assert None not in scores.terms.values()
    assert scores.weights_hash == weights_hash(model)
    assert scores.data_fingerprint == tiny_data.fingerprint
    assert scores.mia_score == pytest.approx(1 - 2 * abs(scores.mia_auc - 0.5))
    assert scores.final_score == pytest.approx((scores.task_aggregate + scores.mia_score + scores.utility) / 3)
    assert len(scores.generations) == 24 + 12 + 1  # and one general fact, which enters no score
    details = scores.details
    assert details.missing == []
    assert len(details.member_losses) == 6
    assert 0 <= details.auc_interval[0] <= details.auc_interval[1] <= 1
    assert sum(details.utility.letters.values()) == 8
    assert set(details.attacks) == {"loss", "zlib", "min_k", "min_k_plus"}
    assert details.attacks["loss"] == pytest.approx(scores.mia_auc)
    assert 0 <= details.extraction_strength["forget"] <= details.exact_memorisation["forget"] <= 1
    assert len(details.truth_ratios["forget"]) > 0


def test_an_answer_measured_in_several_roles_passes_the_model_once(
    tiny_model, tiny_tokenizer, tiny_data, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[Any] = []

    def recorded(model: Any, rows: list[Any], *rest: Any, **named: Any) -> Any:
        passed.append(rows)
        return traces(model, rows, *rest, **named)

    monkeypatch.setattr("unlearn_core.evaluation.evaluate.traces", recorded)
    finish(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data))
    answers = passed[-1]
    assert len(answers) == len({(row.ids, row.num_prompt) for row in answers})
    assert len(answers) < len(AnswerTraces.plan(tiny_data, 90))


def test_scores_survive_json(tiny_model, tiny_tokenizer, tiny_data) -> None:
    _, scores = finish(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data))
    record = json.loads(json.dumps(scores.to_json(generations=True)))
    assert Scores.from_json(record).generations == scores.generations
    assert Scores.from_json(record).terms == scores.terms


def test_missing_parts_are_none_and_named(tiny_model, tiny_tokenizer) -> None:
    data = UnlearningData("little", forget=(Example("aqa1", "Who?", "Me", "Task2"),), max_new_tokens=4)
    _, scores = finish(evaluate(tiny_model("olmo2"), tiny_tokenizer, data))
    assert scores.terms["forget/Task2/knowledge"] == 0.0
    assert sum(value is None for value in scores.terms.values()) == 11
    assert (scores.task_aggregate, scores.mia_auc, scores.mia_score, scores.utility) == (None,) * 4
    assert scores.final_score == -1.0
    assert scores.details.partial_aggregate == 1.0
    assert len(scores.details.missing) == 4


def test_a_model_that_knows_the_answers_scores_full_marks(tiny_model, tiny_tokenizer, tiny_data) -> None:
    """Ask for exactly what the model writes: every term 1, aggregate 0."""
    model = tiny_model("olmo2")
    _, first = finish(evaluate(model, tiny_tokenizer, tiny_data))
    told = {(g.split, g.id): g.output for g in first.generations}
    rows = {
        split: tuple(replace(row, output=told[split, row.id] or "x") for row in getattr(tiny_data, split))
        for split in ("forget", "retain")
    }
    _, scores = finish(evaluate(model, tiny_tokenizer, replace(tiny_data, **rows)))
    assert all(v == 1.0 for name, v in scores.terms.items() if name.endswith("knowledge"))
    assert scores.task_aggregate == 0.0
    assert scores.details.limiting_term.startswith("forget/")


def test_a_loss_that_is_not_a_number_is_an_error(tiny_model, tiny_tokenizer, tiny_data) -> None:
    model = tiny_model("olmo2")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not a number"):
        finish(evaluate(model, tiny_tokenizer, tiny_data))


def test_closing_early_restores_training_mode(tiny_model, tiny_tokenizer, tiny_data) -> None:
    model = tiny_model("olmo2").train()
    steps = evaluate(model, tiny_tokenizer, tiny_data)
    next(steps)
    assert not model.training
    steps.close()
    assert model.training


def test_the_same_model_gets_the_same_scores(tiny_model, tiny_tokenizer, tiny_data) -> None:
    runs = [finish(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data))[1] for _ in range(2)]
    assert replace(runs[0], seconds={}) == replace(runs[1], seconds={})


def test_switching_the_extras_off_leaves_the_protocol(tiny_model, tiny_tokenizer, tiny_data) -> None:
    settings = EvaluationSettings(paraphrases=False, beyond=False)
    _, scores = finish(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data, settings=settings))
    assert scores.task_aggregate is not None
    assert scores.details.attacks == {}
    assert scores.details.paraphrases == {"forget": None, "retain": None}


def test_inference_leaves_the_organisers_files(tiny_model, tiny_tokenizer, tiny_data, tmp_path) -> None:
    """What is read back from the files is what was scored; the stored NLL is that of the joined text."""
    model = tiny_model("olmo2")
    _, (scores, result) = finish(infer(model, tiny_tokenizer, tiny_data, tmp_path))
    assert result["aggregated-terms"] == scores.aggregated_terms
    assert result["aggregate-score"] == pytest.approx(scores.final_score)
    again = official.score_directory(tmp_path, mmlu=tmp_path / "metrics.json")
    assert again["mia_loss_acc"] == scores.mia_auc
    assert again["aggregate-score"] == result["aggregate-score"]
    row = tiny_data.forget[0]
    prompt, joined = (torch.tensor([tiny_tokenizer(t)["input_ids"]]) for t in (row.input, row.input + row.output))
    labels = joined.clone()
    labels[:, : prompt.shape[1]] = -100
    with torch.no_grad():
        expected = float(model(joined, labels=labels).loss)
    _, losses = finish(row_losses(model, tiny_tokenizer, [row], "losses"))
    assert losses == [pytest.approx(expected, rel=1e-4)]


def test_another_wording_is_of_the_set_that_has_its_answer_where_both_count_alike(tiny_data: UnlearningData) -> None:
    """Both sets have a row 0; one wording has the answer of the kept one, one of neither, as written by hand."""
    forget, retain = Example("0", "Where is Ada?", "Oldport"), Example("0", "Where is Bo?", "Westbury")
    reworded = (replace(forget, input="Ada is where?"), replace(retain, input="Bo is where?"))
    loose = Example("0", "And Ada?", "In Oldport")
    data = replace(tiny_data, forget=(forget,), retain=(retain,), paraphrases=(*reworded, loose))
    asked = {row.input: split for split, row in _asked(data, paraphrases=True) if split.endswith(PARAPHRASE)}
    assert asked == {
        "Ada is where?": "forget" + PARAPHRASE,
        "Bo is where?": "retain" + PARAPHRASE,
        "And Ada?": "forget" + PARAPHRASE,
    }
