"""MMLU and WMDP by the likelihood of the letter, against the harness's own steps one question at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.cli import main
from unlearn_core.data.types import Question, UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols.multiple_choice.letters import harness_prompt
from unlearn_core.evaluation.protocols.registry import get_protocol
from unlearn_core.evaluation.protocols.terms.row_log import RowLog


def test_the_prompt_is_the_harness_s() -> None:
    question = Question("q", " Which one? ", ("None", "two", "three", "four"), 1, "bio")
    assert harness_prompt(question, "biology") == (
        "The following are multiple choice questions (with answers) about biology.\n\n"
        "Which one?\nA. None\nB. two\nC. three\nD. four\nAnswer:"
    )


def one_at_a_time(model: Any, tokenizer: Any, prompt: str) -> list[float]:
    """`lm_eval.models.huggingface.HFLM.loglikelihood` in its plainest form."""
    found = []
    for letter in "ABCD":
        context = tokenizer(prompt)["input_ids"]
        whole = tokenizer(f"{prompt} {letter}")["input_ids"]
        with torch.no_grad():
            log_probs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        places = range(len(context), len(whole))
        found.append(sum(float(log_probs[place - 1, whole[place]]) for place in places))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "wmdp"
    root.mkdir()
    for subject, count in (("bio", 5), ("cyber", 3)):
        rows = [
            {"question": f"What is {subject} {i}?", "choices": ["None", "two", f"{i}", "four"], "answer": i % 4}
            for i in range(count)
        ]
        (root / f"wmdp_{subject}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_the_answers_are_the_harness_s_and_the_average_is_micro(
    folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    protocol, model = get_protocol("wmdp"), tiny_model()
    data = protocol.load(str(folder), {}, None)
    log = result_of(protocol.measure(model, tiny_tokenizer, data))
    hits = []
    for question in data.questions:
        about = {"bio": "biology", "cyber": "cybersecurity"}[question.subject]
        expected = one_at_a_time(model, tiny_tokenizer, harness_prompt(question, about))
        row = log.rows[f"wmdp_{question.subject}"][question.id]
        assert row["log_likelihoods"] == pytest.approx(expected, rel=1e-5)
        hits.append(expected.index(max(expected)) == question.answer)
        assert row["score"] == hits[-1]
    result = protocol.score(log)
    value = {term.name: term.value for term in result.terms}
    assert value == {"wmdp_bio": sum(hits[:5]) / 5, "wmdp_cyber": sum(hits[5:]) / 3, "wmdp": sum(hits) / 8}
    assert result.aggregate["wmdp"] == value["wmdp"]
    assert sum(result.aggregate["letters"].values()) == 8


def test_the_group_of_the_published_rates_is_micro() -> None:
    counts = {"bio": (1273, 0.64), "chem": (408, 0.45), "cyber": (1987, 0.44)}
    rows = {
        f"wmdp_{name}": {str(i): {"score": float(i < n * rate), "predicted": "A"} for i in range(n)}
        for name, (n, rate) in counts.items()
    }
    value = get_protocol("wmdp").score(RowLog(rows)).aggregate["wmdp"]
    assert value == pytest.approx(0.510523, abs=4e-4)  # whole questions, so not the rates to the last digit


def test_without_a_beginning_of_text_as_the_older_harness(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    """A tokenizer that puts a token in front is given none by harnesses up to 0.4.8."""
    import copy

    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 0)])
    data = UnlearningData("q", (), questions=(Question("q", "What?", ("a", "b", "c", "d"), 0, "bio"),))
    found = {}
    for how in ("lethe", "lm-eval-0.4.8"):
        log = result_of(get_protocol("wmdp").measure(tiny_model(), tokenizer, data, conventions=how))
        found[how] = log.rows["wmdp_bio"]["q"]["log_likelihoods"]
    plain = result_of(get_protocol("wmdp").measure(tiny_model(), tiny_tokenizer, data))
    assert found["lm-eval-0.4.8"] == pytest.approx(plain.rows["wmdp_bio"]["q"]["log_likelihoods"])
    assert found["lethe"] != pytest.approx(found["lm-eval-0.4.8"])


def test_the_command_on_files_of_either_benchmark(
    folder: Path, saved_model: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = saved_model(), tmp_path / "o.json"
    mmlu = tmp_path / "mmlu" / "test"
    mmlu.mkdir(parents=True)
    (mmlu / "college_physics_test.csv").write_text("What?,None,b,c,d,A\nWhich?,a,b,c,d,D\n")
    assert main(["eval", "--protocol", "mmlu", "--model", model, "--data", str(mmlu.parent), "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert [(term["name"], term["n"]) for term in record["terms"]] == [("mmlu_college_physics", 2), ("mmlu", 2)]
    assert main(["eval", "--protocol", "wmdp", "--model", model, "--data", str(folder), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["wmdp"] is not None
    (folder / "wmdp_bio.jsonl").write_text('{"question": "a", "choices": ["x"], "answer": 0}')
    assert main(["eval", "--protocol", "wmdp", "--model", model, "--data", str(folder)]) == 2
    assert "is not a list of four options" in capsys.readouterr().err


def test_the_option_none_stays_none(tmp_path: Path) -> None:
    from unlearn_core.evaluation.protocols.multiple_choice.mmlu_files import load_mmlu

    (tmp_path / "x_test.csv").write_text("What?,None,NA,nan,0.10,A\n")
    assert load_mmlu(str(tmp_path))[1][0].choices == ("None", "NA", "nan", "0.10")
