"""MMLU: the original's prompts, its files, and a shared prefix that changes no answer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from zoo import tiny

from unlearn_core.data.types import Question
from unlearn_core.errors import InputError, ResourceError
from unlearn_core.evaluation.metrics.utility import utility
from unlearn_core.evaluation.protocols.multiple_choice import mmlu, mmlu_files
from unlearn_core.evaluation.protocols.multiple_choice.mmlu_files import load_mmlu
from unlearn_core.evaluation.protocols.multiple_choice.mmlu_subjects import SUBCATEGORIES, grouped_accuracy
from unlearn_core.models.generation.shared_prefix import next_token_logits
from unlearn_core.system.grouped import grouped

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MMLU = SHARED / "mmlu"
needs_mmlu = pytest.mark.skipif(not MMLU.is_dir(), reason="MMLU is not here")
OPTIONS = ("one", "two", "three", "four")


def questions(subject: str, count: int, start: int = 0) -> list[Question]:
    return [
        Question(f"{subject}{n}", f"What is {n} of {subject}?" + " Say." * (n % 3), OPTIONS, n % 4, subject)
        for n in range(start, start + count)
    ]


def test_the_prompt_is_the_originals() -> None:
    shot, asked = questions("high_school_biology", 2)
    assert mmlu.letter_prompt(asked, [shot]) == (
        "The following are multiple choice questions (with answers) about  high school biology.\n\n"
        "What is 0 of high_school_biology?\nA. one\nB. two\nC. three\nD. four\nAnswer: A\n\n"
        "What is 1 of high_school_biology? Say.\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    )


def predicted(model, tokenizer, asked, shots, **settings) -> list[int]:
    found = {}
    for part in mmlu.predict(model, tokenizer, asked, shots, **settings):
        found |= dict(zip(part.indices, part.choices, strict=True))
    return [found[i] for i in range(len(asked))]


@pytest.mark.parametrize("arch", ["olmo2", "gpt_neox", "llama"])
def test_reusing_the_prefix_changes_no_answer(arch, tiny_model, tiny_tokenizer) -> None:
    model = tiny_model(arch, max_position_embeddings=2048)
    asked = questions("anatomy", 9, 5) + questions("law", 7, 5) + questions("alone", 1)
    shots = questions("anatomy", 5) + questions("law", 5)
    with_reuse = predicted(model, tiny_tokenizer, asked, shots)
    assert with_reuse == predicted(model, tiny_tokenizer, asked, shots, reuse=False)
    one_by_one = [predicted(model, tiny_tokenizer, [q], shots)[0] for q in asked]
    assert with_reuse == one_by_one


def test_reusing_the_prefix_keeps_the_logits(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("gpt_neox")
    rows = [mmlu._row(tiny_tokenizer, q, questions("law", 2)) for q in questions("law", 6, 2)]
    tables = []
    for reuse in (True, False):
        table = torch.empty(len(rows), 320)
        for places, logits in next_token_logits(model, rows, range(320), 1, reuse=reuse):
            table[places] = logits
        tables.append(table)
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-4, atol=1e-4)
    assert tables[0].std(dim=0).max() > 0.01  # the rows do differ


def test_likelihood_form_picks_the_likeliest_option_text(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("olmo2")
    asked = questions("x", 6)
    chosen = predicted(model, tiny_tokenizer, asked, [], form="likelihood")
    turned = [Question(q.id, q.question, q.choices[::-1], q.answer, q.subject) for q in asked]
    assert predicted(model, tiny_tokenizer, turned, [], form="likelihood") == [3 - c for c in chosen]


def test_long_prompts_lose_examples_not_the_question(tiny_tokenizer) -> None:
    asked, *shots = (Question(f"q{n}", "word " * 300, OPTIONS, 0, "x") for n in range(6))
    row = mmlu._row(tiny_tokenizer, asked, shots)
    assert len(row) <= mmlu.MAX_PROMPT_TOKENS
    assert tiny_tokenizer.decode(row).endswith("\nD. four\nAnswer:")


def test_the_summary_marks_chance() -> None:
    asked = questions("x", 40)
    always_a = utility(asked, [0] * 40)
    assert always_a.accuracy == 0.25
    assert not always_a.signal
    assert always_a.letters == {"A": 40, "B": 0, "C": 0, "D": 0}
    perfect = utility(asked, [q.answer for q in asked])
    assert perfect.signal
    assert perfect.interval[0] > 0.9
    assert utility([], []).accuracy is None


@needs_mmlu
def test_always_answering_d_is_no_signal_although_it_beats_a_quarter() -> None:
    _, asked = load_mmlu(str(MMLU))
    found = utility(asked, [3] * len(asked))
    assert found.interval[0] > 0.25
    assert found.one_letter == found.accuracy == pytest.approx(0.26891, abs=1e-5)
    assert not found.signal


def write(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize("headed", [True, False])
@pytest.mark.parametrize("place", ["", "data"])
def test_both_layouts_are_read(headed: bool, place: str, tmp_path) -> None:
    head = [["question", "choice0", "choice1", "choice2", "choice3", "answer"]] if headed else []
    answers = ["2", "0"] if headed else ["C", "A"]
    rows = [[f'Q, "{a}"\nline', "1", "NA", "", "d", a] for a in answers]
    write(tmp_path / place / "test" / "law_test.csv", head + rows)
    write(tmp_path / place / "dev" / "law_dev.csv", head + rows * 4)
    few_shot, asked = load_mmlu(str(tmp_path))
    assert [q.answer for q in asked] == [2, 0]
    assert asked[0].choices == ("1", "NA", "", "d")
    assert asked[0].subject == "law"
    assert len(few_shot) == 5


@pytest.mark.parametrize("row", [["q", "a", "b", "c", "d", "E"], ["q", "a", "b", "c", "d"], ["q"] * 6, ["q"] * 7])
def test_bad_rows_are_named(row: list[str], tmp_path) -> None:
    write(tmp_path / "law_test.csv", [row])
    with pytest.raises(InputError, match="record 1"):
        load_mmlu(str(tmp_path))


@pytest.mark.parametrize("ref", ["/no/such", "nosuch", "https://a/b", "a/../b", ""])
def test_what_is_no_source_is_refused(ref: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load_mmlu(ref)


def test_the_hub_data_set_is_read_through_datasets(tmp_path, monkeypatch) -> None:
    """`datasets` takes a local folder of the Hub's layout by the same name, so no network is needed."""
    import pyarrow as pa
    from pyarrow import parquet

    for part, count in (("dev", 6), ("test", 3)):
        columns = {
            "question": [f"{part} {n}?" for n in range(count)],
            "subject": ["law"] * count,
            "choices": [list(OPTIONS)] * count,
            "answer": [n % 4 for n in range(count)],
        }
        folder = tmp_path / "someone" / "mmlu" / "all"
        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), folder / f"{part}-00000-of-00001.parquet")
    config = "configs:\n- config_name: all\n  data_files:\n"
    config += "".join(f"  - split: {part}\n    path: all/{part}-*\n" for part in ("dev", "test"))
    (tmp_path / "someone" / "mmlu" / "README.md").write_text(f"---\n{config}---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    few_shot, asked = mmlu_files._from_hub("someone/mmlu")
    assert len(few_shot) == 5
    assert [(q.subject, q.answer, q.choices) for q in asked] == [("law", n, OPTIONS) for n in range(3)]


def test_the_hub_out_of_reach_and_foreign_data_are_messages(monkeypatch) -> None:
    def refuse(error: Exception):
        def load(*args: object, **kwargs: object) -> object:
            raise error

        return load

    for error, kind in ((ConnectionError("no route"), ResourceError), (ValueError("no config"), InputError)):
        monkeypatch.setattr("datasets.load_dataset", refuse(error))
        with pytest.raises(kind):
            load_mmlu("someone/mmlu@main")
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: {"dev": [], "test": [{"question": "q"}]})
    with pytest.raises(InputError, match="another form"):
        load_mmlu("someone/mmlu")
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: {"test": []})
    with pytest.raises(InputError, match="no split dev"):
        load_mmlu("someone/mmlu")


@needs_mmlu
def test_the_real_benchmark_is_whole() -> None:
    few_shot, asked = load_mmlu(str(MMLU))
    assert (len(few_shot), len(asked), len({q.subject for q in asked})) == (285, 14_042, 57)
    assert {q.subject for q in asked} == {s for part in SUBCATEGORIES.values() for s in part}
    constant = [utility(asked, [letter] * len(asked)).accuracy for letter in range(4)]
    assert constant == pytest.approx([0.22945, 0.24655, 0.25509, 0.26891], abs=1e-5)


@needs_mmlu
def test_the_groups_have_the_sizes_of_published_accuracies() -> None:
    """A published accuracy times its group's size is a whole number of questions."""
    import json

    _, asked = load_mmlu(str(MMLU))
    published = json.loads((SHARED / "official_runs" / "best_useful" / "metrics.json").read_text())
    ours = grouped_accuracy(grouped((q.subject, True) for q in asked))
    for part in ("subcat_acc", "cat_acc"):
        assert set(ours[part]) == set(published[part])
    for name, subjects in SUBCATEGORIES.items():
        size = sum(q.subject in subjects for q in asked)
        assert published["subcat_acc"][name] * size == pytest.approx(round(published["subcat_acc"][name] * size))


@pytest.mark.parametrize("arch", ["gpt2", "opt", "gptj"])
def test_a_question_longer_than_the_models_positions_loses_its_front(arch, tiny_tokenizer) -> None:
    model = tiny(arch)
    long = Question("q", "What is what? " * 60, ("one", "two", "three", "four"), 0)
    (answered,) = mmlu.predict(model, tiny_tokenizer, [long])
    ids = tiny_tokenizer(mmlu.letter_prompt(long, ()))["input_ids"][-128:]
    with torch.no_grad():
        logits_V = model(torch.tensor([ids])).logits[0, -1]
    letters = [tiny_tokenizer(f" {letter}")["input_ids"][-1] for letter in "ABCD"]
    assert answered.choices == (int(logits_V[letters].argmax()),)
