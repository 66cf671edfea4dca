"""TOFU on a real tiny model, against an independent twin of open-unlearning's evaluator."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_unlearning_twin as twin
import pytest
import torch
from by_heart import learn
from rouge_score import rouge_scorer
from scipy.stats import hmean, ks_2samp
from sklearn.metrics import roc_auc_score

from unlearn_core.cli import main
from unlearn_core.data.encode import encode_example
from unlearn_core.data.subset import write_directory
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols import tofu
from unlearn_core.evaluation.protocols.registry import get_protocol
from unlearn_core.evaluation.protocols.terms.row_log import parse_log

NEAR = pytest.approx
NEW = 12
ROUGE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


def rows(split: str, count: int, wrong: int, *, paraphrased: bool) -> tuple[Example, ...]:
    names = ("Mara Venn", "Tomas Reed", "Ada Lorne", "Bo Hale", "Cy Penn", "Di Orr")
    return tuple(
        Example(
            f"{split}-{i}",
            f"Where in {split} was {name} born?",
            f"{name} was born in Oldport {i}.",
            paraphrases=(f"It is Oldport {i} where {name} was born.",) if paraphrased else (),
            wrong=tuple(f"{name} was born in {place}." for place in ("Rome", "Lima", "Oslo", "Bern", "Kyiv")[:wrong]),
        )
        for i, name in enumerate(names[:count])
    )


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tofu, "MAX_NEW_TOKENS", NEW)


@pytest.fixture(scope="module")
def data() -> UnlearningData:
    return UnlearningData(
        name="small tofu",
        forget=rows("forget", 5, 5, paraphrased=True),
        retain=(Example("plain", "Who is it?", "Nobody."), *rows("retain", 4, 5, paraphrased=True)),
        holdout=rows("holdout", 4, 0, paraphrased=False),
        evaluation_sets={
            "real_authors": rows("authors", 3, 3, paraphrased=False),
            "world_facts": rows("facts", 2, 3, paraphrased=False),
        },
    )


@pytest.fixture(scope="module")
def models(tiny_model: Callable[..., Any], tiny_tokenizer: Any, data: UnlearningData) -> tuple[Any, Any]:
    """One that half knows the rows, so that recall and memorisation are not all 0, and one without the forget set."""
    kept = [*data.retain[:3], *(rows[0] for rows in data.evaluation_sets.values())]
    return tuple(
        taught(tiny_model(seed=seed), tiny_tokenizer, known)
        for seed, known in ((0, [*data.forget[:3], *kept]), (1, kept))
    )


def taught(model: Any, tokenizer: Any, known: Sequence[Example]) -> Any:
    """The model after it has learned some rows nearly by heart."""
    learn(model, tokenizer, known, until=0.05)
    return model.eval()


def log_of(model: Any, tokenizer: Any, data: UnlearningData, conventions: str = "lethe") -> Any:
    return result_of(get_protocol("tofu").measure(model, tokenizer, data, conventions=conventions))


def twin_terms(model: Any, tokenizer: Any, data: UnlearningData, last: int, theirs: bool) -> dict[str, Any]:
    """Every term of open-unlearning by its own road: rows, then numpy, scipy, scikit-learn and rouge_score."""

    def row(example: Example, answer: str | None = None) -> twin.Row:
        found = encode_example(tokenizer, example if answer is None else replace(example, output=answer))
        return list(found.ids), found.num_prompt

    found: dict[str, Any] = {}
    retain = [example for example in data.retain if example.wrong]
    sets = {"forget": data.forget, "retain": retain, "ra": data.evaluation_sets["real_authors"]}
    sets["wf"] = data.evaluation_sets["world_facts"]
    for prefix, examples in sets.items():
        own = [twin.loss(model, row(e)) for e in examples]
        found[f"{prefix}_Q_A_Prob"] = np.mean(np.exp(-np.array(own)))
        texts = [twin.greedy(model, tokenizer, row(e)[0][: row(e)[1]], NEW) for e in examples]
        pairs = zip(examples, texts, strict=True)
        found[f"{prefix}_Q_A_ROUGE"] = np.mean([ROUGE.score(e.output, text)["rougeL"].recall for e, text in pairs])
        right = [twin.loss(model, row(e, e.paraphrases[0])) for e in examples] if examples[0].paraphrases else own
        wrong = np.array([[twin.loss(model, row(e, w)) for w in e.wrong] for e in examples])
        ratios = np.exp(-wrong.mean(-1)) / (np.exp(-np.array(right)) + 1e-10)
        if prefix == "forget":
            found["ratios"] = ratios
            found["forget_truth_ratio"] = np.mean(np.minimum(ratios, 1 / (ratios + 1e-10)))
        else:
            found[f"{prefix}_Truth_Ratio"] = np.mean(np.maximum(0, 1 - ratios))
        if prefix in ("ra", "wf"):
            p, w = np.exp(-np.array(own)), np.exp(-wrong).sum(-1)
            found[f"{prefix}_Q_A_Prob_normalised"] = np.mean(p / (p + w + 1e-10))
    nine = ["retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"]
    nine += [f"{p}_{t}" for p in ("ra", "wf") for t in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")]
    found["model_utility"] = hmean([found[name] for name in nine])
    found["exact_memorization"] = np.mean([twin.exact(model, row(e), last) for e in data.forget])
    strengths = [twin.extraction(model, row(e), last, theirs=theirs) for e in data.forget]
    found["extraction_strength"] = np.mean(strengths)
    sides = (data.forget, data.holdout)
    label = [0] * len(data.forget) + [1] * len(data.holdout)
    attacks: dict[str, Callable[[Example], float]] = {
        "mia_loss": lambda e: twin.loss(model, row(e)),
        "mia_zlib": lambda e: twin.zlib_score(model, row(e), " " + e.output),
        "mia_min_k": lambda e: twin.min_k(model, row(e), last),
        "mia_min_k_plus_plus": lambda e: twin.min_k_plus_plus(model, row(e), last),
        "mia_gradnorm": lambda e: twin.gradnorm(model, row(e), last),
    }
    for name, score in attacks.items():
        found[name] = roc_auc_score(label, [score(e) for side in sides for e in side])
    return found


@pytest.mark.parametrize("conventions", ["lethe", "open-unlearning"])
def test_every_term_equals_the_independent_twin(
    conventions: str, models: tuple[Any, Any], tiny_tokenizer: Any, data: UnlearningData
) -> None:
    theirs = conventions == "open-unlearning"
    logs = [log_of(model, tiny_tokenizer, data, conventions) for model in models]
    result = get_protocol("tofu").score(logs[0], logs[1], conventions=conventions)
    value = {term.name: term.value for term in result.terms}
    ours, retain = (twin_terms(model, tiny_tokenizer, data, 1, theirs) for model in models)
    assert min(ours[name] for name in ("forget_Q_A_ROUGE", "exact_memorization")) > 0.05
    for name, expected in ours.items():
        if name != "ratios":
            assert value[name] == NEAR(expected, rel=1e-5, abs=1e-6), name
    quality = ks_2samp(ours["ratios"], retain["ratios"])
    assert result.aggregate["forget_quality"]["p_value"] == NEAR(quality.pvalue)
    assert result.aggregate["forget_quality"]["statistic"] == NEAR(quality.statistic)
    leak = (retain["mia_min_k"] - ours["mia_min_k"]) / (1 - retain["mia_min_k"] + 1e-10) * 100
    assert value["privleak"] == NEAR(leak)


def test_a_log_is_the_same_after_a_trip_through_a_file(models: Any, tiny_tokenizer: Any, data: UnlearningData) -> None:
    log = log_of(models[0], tiny_tokenizer, data)
    result = get_protocol("tofu").score(log, log)
    again = get_protocol("tofu").score(parse_log(result.to_json()["rows"]), log)
    assert again.terms == result.terms
    assert again.aggregate["forget_quality"] == {"p_value": 1.0, "statistic": 0.0, "n": 5}
    assert again.aggregate["privleak"] == 0.0


def test_gradients_leave_no_trace(models: Any, tiny_tokenizer: Any, data: UnlearningData) -> None:
    model = models[0]
    model.requires_grad_(False)
    log_of(model, tiny_tokenizer, data)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    model.requires_grad_(True)


def test_without_held_out_rows_there_is_no_membership(models: Any, tiny_tokenizer: Any, data: UnlearningData) -> None:
    log = log_of(models[0], tiny_tokenizer, replace(data, holdout=()))
    result = get_protocol("tofu").score(log)
    assert not log.sides
    assert result.aggregate["privleak"] is None


def test_data_without_wrong_answers_is_refused(models: Any, tiny_tokenizer: Any, tiny_data: UnlearningData) -> None:
    with pytest.raises(InputError, match="has no wrong answers"):
        log_of(models[0], tiny_tokenizer, tiny_data)


def test_the_reference_hides_prompt_tokens_that_equal_its_padding(
    models: Any, tiny_tokenizer: Any, data: UnlearningData
) -> None:
    """Where a prompt holds the padding token, open-unlearning's losses are those of a masked pass, ours are not."""

    marked = replace(data, forget=tuple(replace(row, input=f"<pad>{row.input}<pad>") for row in data.forget))
    encoded = encode_example(tiny_tokenizer, marked.forget[0])
    assert tiny_tokenizer.pad_token_id in encoded.ids
    ids = torch.tensor([encoded.ids])
    expected = {}
    for name, mask in (("lethe", None), ("open-unlearning", (ids != tiny_tokenizer.pad_token_id).long())):
        logits = models[0](ids, attention_mask=mask).logits[0, encoded.num_prompt - 1 : -1]
        expected[name] = torch.nn.functional.cross_entropy(logits, ids[0, encoded.num_prompt :]).item()
        log = log_of(models[0], tiny_tokenizer, marked, name)
        assert log.rows["forget_Q_A_Prob"]["0"]["avg_loss"] == NEAR(expected[name], rel=1e-5)
    assert expected["lethe"] != NEAR(expected["open-unlearning"], rel=1e-3)


def test_the_command_measures_a_model_against_another(
    saved_model: Callable[..., str], data: UnlearningData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a model or with what is stored of it as the reference, the same result."""
    write_directory(data, tmp_path / "data")
    ours, retain = saved_model(), saved_model(seed=1)
    arguments = ["eval", "--protocol", "tofu", "--data", str(tmp_path / "data"), "--model"]
    assert main([*arguments, retain, "--json", str(tmp_path / "retain.json")]) == 0
    record = json.loads((tmp_path / "retain.json").read_text())
    assert record["forget_quality"] is None
    results = []
    for reference in (retain, str(tmp_path / "retain.json")):
        assert main([*arguments, ours, "--retain-model", reference, "--json", str(tmp_path / "o.json")]) == 0
        results.append(json.loads((tmp_path / "o.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["protocol"] == "tofu"
    assert results[0]["forget_quality"].keys() == {"p_value", "statistic", "n"}
    assert results[0]["model_utility"] == results[0]["aggregate"]["model_utility"]
    capsys.readouterr()
    assert main(["score", "--protocol", "tofu", str(tmp_path / "o.json"), "--retain-model", reference]) == 0
    assert "model_utility" in capsys.readouterr().out
