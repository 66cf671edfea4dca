"""MUSE on a real tiny model and files of its published layout, against an independent twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_unlearning_twin as twin
import pytest
from rouge_score import rouge_scorer
from sklearn.metrics import roc_auc_score

from unlearn_core.cli import main
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols import muse
from unlearn_core.evaluation.protocols.registry import get_protocol

NEAR = pytest.approx
NAMES = ("Mara Venn", "Tomas Reed", "Ada Lorne")


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("MUSE-Tiny")
    write(root / "raw" / "forget.jsonl", [{"text": f"{name} went to Oldport. " * 120} for name in NAMES])
    write(root / "raw" / "retain1.jsonl", [{"text": "The novel was written in a harbour. " * 9}])
    # The first passage says its prompt again.
    passages = [{"prompt": f"{n} was born", "gt": f"in Oldport, {n}s say."} for n in NAMES]
    passages[0]["gt"] += f" {passages[0]['prompt']} there."
    write(root / "verbmem" / "forget.jsonl", passages)
    for side in ("forget", "retain"):
        pairs = [{"question": f"Where did {n} {side}?", "answer": "In Oldport"} for n in NAMES]
        write(root / "knowmem" / f"{side}_qa.jsonl", pairs)
        write(root / "knowmem" / f"{side}_qa_icl-00000-of-00001.jsonl", pairs[:2])
    for side in ("forget", "retain", "holdout"):
        write(root / "privleak" / f"{side}.jsonl", [{"text": f"{n} {side} wrote the novel {n}."} for n in NAMES])
    write(root / "sust" / "forget_2.jsonl", [{"text": "Only this. " * 30}])
    return root


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muse, "VERBMEM_TOKENS", 10)
    monkeypatch.setattr(muse, "KNOWMEM_TOKENS", 6)


def test_files_of_the_published_layout(folder: Path) -> None:
    data = load_data(str(folder))
    texts = {row.document for row in data.forget}
    assert len(texts) == len(NAMES) < len(data.forget)
    first = [row for row in data.forget if row.document == "forget-1"]
    assert (first[0].input + first[0].output)[:1600] == ("Mara Venn went to Oldport. " * 120)[:1600]
    assert (len(data.members), len(data.nonmembers), len(data.retain)) == (3, 3, 1)
    assert {name: len(rows) for name, rows in data.evaluation_sets.items()} == {
        "verbmem": 3,
        "knowmem_forget": 3,
        "knowmem_retain": 3,
        "knowmem_forget_shots": 2,
        "knowmem_retain_shots": 2,
    }
    fold = load_data(f"{folder}:sust_2")
    assert {row.document for row in fold.forget} == {"forget-1"}
    assert fold.forget[0].input.startswith("Only this.")
    with pytest.raises(InputError, match="There is: sust_2"):
        load_data(f"{folder}:scal_9")


def test_a_prompt_that_a_passage_repeats_is_lost_to_open_unlearning_alone(folder: Path) -> None:
    row = load_data(str(folder)).evaluation_sets["verbmem"][0]
    assert muse._truth(row, "lethe") == "in Oldport, Mara Venns say. Mara Venn was born there."
    assert muse._truth(row, "open-unlearning") == "in Oldport, Mara Venns say.  there."


@pytest.mark.parametrize("conventions", ["lethe", "open-unlearning", "muse-bench"])
def test_every_term_equals_the_independent_twin(
    conventions: str, folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    data, model = load_data(str(folder)), tiny_model()
    protocol = get_protocol("muse")
    log = result_of(protocol.measure(model, tiny_tokenizer, data, conventions=conventions))
    result = protocol.score(log, log, conventions=conventions)
    value = {term.name: term.value for term in result.terms}
    for name, expected in twin_terms(model, tiny_tokenizer, data, conventions).items():
        assert value[name] == NEAR(expected, rel=1e-5, abs=1e-6), name
    assert result.aggregate["privleak"] == 0.0


def twin_terms(model: Any, tokenizer: Any, data: UnlearningData, conventions: str) -> dict[str, float]:
    paper, last = conventions == "muse-bench", int(conventions == "open-unlearning")
    rouge = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=not paper)
    sets = data.evaluation_sets
    found: dict[str, float] = {}
    values = []
    for row in sets["verbmem"]:
        text = twin.greedy(model, tokenizer, tokenizer(row.input)["input_ids"], 10)
        truth = tokenizer.decode(tokenizer(row.output)["input_ids"][:10]) if paper else row.output
        truth = truth.replace(row.input, "") if last else truth
        values.append(rouge.score(truth, text)["rougeL"].fmeasure)
    found["forget_verbmem_ROUGE"] = float(np.mean(values))
    for side in ("forget", "retain"):
        shots = "".join(f"Question: {row.input}\nAnswer: {row.output}\n\n" for row in sets[f"knowmem_{side}_shots"])
        values = []
        for row in sets[f"knowmem_{side}"]:
            ids = tokenizer(f"{shots}Question: {row.input}\nAnswer: ")["input_ids"]
            text = twin.greedy(model, tokenizer, ids[:512] if last else ids, 6)
            for stop in ("\n\n", "\nQuestion", "Question:"):
                text = text.split(stop)[0]
            values.append(rouge.score(row.output, text)["rougeL"].fmeasure)
        found[f"{side}_knowmem_ROUGE"] = float(np.mean(values))
    passages = [
        (tokenizer(f"{row.input} {row.output}")["input_ids"], len(tokenizer(row.input)["input_ids"]))
        for row in sets["verbmem"]
    ]
    found["exact_memorization"] = float(np.mean([twin.exact(model, row, last) for row in passages]))
    theirs = conventions == "open-unlearning"
    found["extraction_strength"] = float(
        np.mean([twin.extraction(model, row, last, theirs=theirs) for row in passages])
    )
    sides = [[(tokenizer(text)["input_ids"], 1) for text in side] for side in (data.members, data.nonmembers)]
    label = [0] * len(sides[0]) + [1] * len(sides[1])
    for name, score in (("mia_min_k", twin.min_k), ("mia_min_k_plus_plus", twin.min_k_plus_plus)):
        found[name] = roc_auc_score(label, [score(model, row, last) for side in sides for row in side])
    found["mia_loss"] = roc_auc_score(label, [twin.loss(model, row) for side in sides for row in side])
    return found


def test_the_command_measures_a_model(
    folder: Path, saved_model: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.json"
    arguments = ["eval", "--protocol", "muse", "--model", saved_model(), "--data", str(folder), "--json", str(out)]
    assert main(arguments) == 0
    record = json.loads(out.read_text())
    assert record["aggregate"].keys() == {"verbmem", "knowmem_forget", "privleak", "knowmem_retain"}
    assert "AUC of .5" in " ".join(capsys.readouterr().out.split())
    empty = tmp_path / "empty"
    write(empty / "forget.jsonl", [{"input": "a", "output": "b"}])
    assert main(["eval", "--protocol", "muse", "--model", saved_model(), "--data", str(empty)]) == 2
    assert "holds none of MUSE's passages" in capsys.readouterr().err
