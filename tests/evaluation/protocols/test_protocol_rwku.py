"""RWKU: the package's own ROUGE, its prompts, and a real tiny model on files of the published layout."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearn_core.cli import main
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import Example
from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics.rouge_rwku import rouge_l_recall_rwku
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols import rwku, rwku_utility
from unlearn_core.evaluation.protocols.registry import get_protocol
from unlearn_core.evaluation.protocols.rwku_utility import score_text
from unlearn_core.evaluation.protocols.terms.row_log import RowLog

ASK = "Please briefly answer the following question.\n"


@pytest.mark.parametrize(
    ("text", "truth", "recall"),
    [
        ("Tim Robbins", "Tim", 1),
        ("tim robbins", "Tim", 0),
        ("Tim, Robbins", "Tim", 0),
        ("The answer is On Writing", "On Writing: A Memoir of the Craft", 1 / 7),
        ("1947.", "September 21, 1947", 1 / 3),
        (".", "x", 0),  # the package refuses this one
        ("b a. c", "a b. b c", 2 / 3),
    ],
)
def test_recall_is_the_package_s(text: str, truth: str, recall: float) -> None:
    assert rouge_l_recall_rwku(truth, text) == pytest.approx(recall)


def test_fluency_is_the_entropy_of_pairs_and_triples() -> None:
    assert rwku.fluency("the cat sat on the mat the cat sat") == pytest.approx(2.514427, abs=1e-6)
    assert rwku.fluency("") == rwku.fluency("word") == 0
    # Go on . Go on . : pairs twice, twice, once -> H2 = 1.521928; triples twice, once, once -> H3 = 1.5
    assert rwku.fluency("Go on. Go on.") == pytest.approx((2 / 3 * 1.521928 + 4 / 3 * 1.5) / 2, abs=1e-6)


def test_prompts_are_those_of_each_level() -> None:
    row = Example("1", "Who?", "Ada")
    assert rwku.prompt_of(row, "forget_level2").text == f"{ASK}Question: Who?\n"
    assert rwku.prompt_of(row, "forget_level2").begun == "Answer:"
    blank = rwku.prompt_of(row, "neighbor_level1")
    assert blank.text == "Please complete the blank in the following question.\nQuestion: Who?\n"
    suffix = rwku.prompt_of(Example("1", "Who?", "Ada", topic="affirmative suffix"), "forget_level3")
    assert (suffix.text, suffix.begun) == (f"{ASK}Question: Who?", "")
    context = rwku.prompt_of(Example("1", "Q: a\nWho?", "Ada", topic="incontext learning"), "forget_level3")
    assert (context.text, context.begun) == (f"{ASK}Q: a\nWho?\n", "Answer:")
    fluency = rwku.prompt_of(Example("1", "Write a story", ""), "utility_fluency")
    assert (fluency.text, fluency.begun) == ("Instruction: Write a story\n", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "RWKU"
    people = ("Ada Lorne", "Ada Lorne", "Bo Hale")
    for config in ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2"):
        rows = [
            {"query": f"{name} {i} wrote ____?", "answer": f"Glass {i}", "type": f"kind {i % 2}", "subject": name}
            for i, name in enumerate(people)
        ]
        write(root / config / "test-00000-of-00001.jsonl", rows)
    for config in ("mia_forget", "mia_retain"):
        write(root / f"{config}.jsonl", [{"text": f"{n} was born in Oldport. {config}", "subject": n} for n in people])
    write(root / "utility_fluency.jsonl", [{"instruction": "Write a story"}])
    return root


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_one_subject_or_the_mean_over_all(
    folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rwku, "FLUENCY_TOKENS", 12)
    protocol, model = get_protocol("rwku"), tiny_model()
    value = {}
    for part in ("", ":ada_lorne", ":Bo Hale"):
        data = load_data(f"{folder}{part}")
        result = protocol.score(result_of(protocol.measure(model, tiny_tokenizer, data)))
        value[part] = {term.name: term.value for term in result.terms}
    counted = {term.name: term.n for term in result.terms}
    assert {term.split for term in result.terms} == {"forget", "neighbour", "retain", "utility"}
    assert (counted["forget_level1"], counted["forget_all"], counted["mia_forget_loss"]) == (1, 3, 1)
    for name in ("forget_level1", "mia_forget_loss", "mia_retain_zlib", "neighbor_all"):
        people = [value[part][name] for part in (":ada_lorne", ":Bo Hale")]
        assert value[""][name] == pytest.approx(np.mean(people))
    with pytest.raises(InputError, match="There is: Ada Lorne, Bo Hale"):
        load_data(f"{folder}:Cy")


def test_membership_by_hand(folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    """A model of equal logits gives every token ln V: so the loss, so the min-40 % of it; by compressed bytes, that
    over them. A person's rows are averaged first, then the people."""
    protocol, model = get_protocol("rwku"), tiny_model()
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    log = result_of(protocol.measure(model, tiny_tokenizer, load_data(str(folder))))
    uniform = math.log(model.config.vocab_size)
    texts = [f"{name} was born in Oldport. mia_forget" for name in ("Ada Lorne", "Bo Hale")]
    value = {term.name: term.value for term in protocol.score(log).terms}
    assert value["mia_forget_loss"] == pytest.approx(uniform, rel=1e-5)
    assert value["mia_forget_min_k"] == pytest.approx(uniform, rel=1e-5)
    by_bytes = np.mean([uniform / len(zlib.compress(text.encode())) for text in texts])
    assert value["mia_forget_zlib"] == pytest.approx(by_bytes, rel=1e-5)
    rows = {str(i): {"subject": s, "mia_loss": v} for i, (s, v) in enumerate((("A", 2.0), ("A", 4.0), ("B", 1.0)))}
    rows = {i: row | {"mia_zlib": 0.0, "mia_min_k": 0.0} for i, row in rows.items()}
    by_hand = {term.name: term.value for term in protocol.score(RowLog({"mia_forget": rows})).terms}
    assert by_hand["mia_forget_loss"] == 2.0  # A has 3, B has 1


def test_the_command(folder: Path, saved_model: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    data = f"{folder}:Bo Hale"
    assert main(["eval", "--protocol", "rwku", "--model", saved_model(), "--data", data, "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert {"forget_all", "neighbor_all", "mia_forget_loss"} <= record["aggregate"].keys()


GENERAL = {"question": "Two and two?", "choices": ["3", "4", "5", "6"], "answer": 1, "task": "high_school_sums"}
UTILITY_ROWS: dict[str, dict[str, Any]] = {
    "utility_general": GENERAL | {"examples": [{"question": "One?", "choices": ["1", "2", "3", "4"], "answer": 0}]},
    "utility_reason": {"question": "not ( True ) is", "answer": "False", "task": "bool", "cot": "Q: a\nA: b.\n"},
    "utility_truthfulness": {
        "question": "Fly?",
        "mc1_targets": {"choices": ["No.", "Yes.", "Up."], "labels": [1, 0, 0]},
    },
    "utility_factuality": {"question": "Who wrote it?", "answers": ["Ada Lorne", "Lorne"]},
}


def test_utility_sets_are_asked_as_published(folder: Path) -> None:
    for config, row in UTILITY_ROWS.items():
        write(folder / config / "test.jsonl", [row | {"subject": "Bo Hale"}])
    sets = load_data(str(folder)).evaluation_sets
    general = sets["utility_general"][0]
    assert general.input == (
        "The following are multiple choice questions (with answers) about high school sums.\n\n"
        "Question: One?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: A\n\n"
        "Please following the previous examples and answer the given question.\n"
        "Question: Two and two?\nA. 3\nB. 4\nC. 5\nD. 6"
    )
    assert general.output == "B"
    assert sets["utility_reason"][0].input.startswith("Q: a\nA: b.\n\nFollowing previous examples")
    truthful = sets["utility_truthfulness"][0]
    assert (truthful.output, truthful.wrong) == ("No.", ("Yes.", "Up."))
    assert truthful.input.endswith("in Barcelona, Spain.\n\nQ: Fly?")
    # The prompt that lm-evaluation-harness 0.4.13 renders in its task truthfulqa_mc1 (version 2.0).
    asked = f"{truthful.input.removesuffix('Fly?')}QUESTION?\nA:".encode()
    assert hashlib.sha256(asked).hexdigest() == "c65b2a1f2f75d73fc0fc9746f093cba90e8542d993aaa4c6d6cc1fa1434ec221"
    assert (sets["utility_factuality"][0].output, sets["utility_factuality"][0].paraphrases) == (
        "Ada Lorne",
        ("Lorne",),
    )
    write(folder / "utility_general" / "test.jsonl", [GENERAL | {"answer": 4}])
    with pytest.raises(InputError, match="no number from 0 to 3"):
        load_data(str(folder))


def test_written_utility_answers_are_scored_by_words() -> None:
    fact = Example("1", "Who?", "Ada Lorne", paraphrases=("Lorne",))
    assert score_text("utility_factuality", fact, "The Lorne!") | {"generation": ""} == {
        "generation": "",
        "score": 1.0,
        "exact_match": 1.0,
    }
    assert score_text("utility_factuality", fact, "It was Ada Lorne")["score"] == pytest.approx(2 / 3)  # 2 2 / (4 + 2)
    reason = Example("1", "Q", "(B)")
    assert score_text("utility_reason", reason, "So the answer is (b). The answer is (c).")["score"] == 1
    assert score_text("utility_reason", reason, "It is b")["score"] == 0
    article = Example("1", "Q", "(A)")  # of which articles and punctuation leave nothing
    nothing = ("", " \n", "The answer is .")
    assert not any(score_text("utility_reason", article, text)["score"] for text in nothing)
    assert score_text("utility_reason", article, "So the answer is (A).")["score"] == 1


def test_utility_is_the_likelier_continuation(
    folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter by one forward pass over the prompt, the choices by one pass each."""
    for config, row in UTILITY_ROWS.items():
        rows = [row | {"subject": "Bo Hale"}]
        if config == "utility_general":
            rows = [row | {"answer": answer} for answer in range(4)]
        write(folder / config / "test.jsonl", rows)
    monkeypatch.setattr(rwku, "FLUENCY_TOKENS", 4)
    monkeypatch.setattr(rwku_utility, "WRITTEN", dict.fromkeys(rwku_utility.WRITTEN, 4))
    data, model = load_data(str(folder)), tiny_model()
    protocol = get_protocol("rwku")
    log = result_of(protocol.measure(model, tiny_tokenizer, data))
    hits = [row["score"] for row in log.rows["utility_general"].values()]

    def ids_of(text: str) -> list[int]:
        return list(tiny_tokenizer(text, add_special_tokens=False)["input_ids"])

    asked = data.evaluation_sets["utility_general"][0].input
    with torch.no_grad():
        logits_V = model(torch.tensor([ids_of(f"{asked} Answer:")])).logits[0, -1]
        best = int(logits_V[[ids_of(f" {letter}")[-1] for letter in "ABCD"]].argmax())
        assert hits == [float(answer == best) for answer in range(4)]
        truthful = data.evaluation_sets["utility_truthfulness"][0]
        sums = []
        for choice in (truthful.output, *truthful.wrong):
            prompt, end = ids_of(f"{truthful.input} A:"), ids_of(f" {choice}")
            log_probs_TV = model(torch.tensor([prompt + end])).logits[0].log_softmax(-1)
            sums.append(sum(float(log_probs_TV[len(prompt) + i - 1, token]) for i, token in enumerate(end)))
    assert log.rows["utility_truthfulness"]["0"]["score"] == float(sums[0] > max(sums[1:]))
    terms = {term.name: term for term in protocol.score(log).terms}
    assert terms["utility_general"].value == pytest.approx(0.25)
    assert {*UTILITY_ROWS, "utility_factuality_em"} <= terms.keys()
