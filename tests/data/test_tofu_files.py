"""TOFU's files: what they hold beside questions and answers, in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import subset_of, write_directory
from unlearn_core.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tofu"


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def pair(number: int, **more: object) -> dict[str, object]:
    return {"question": f"What is fact {number}?", "answer": f"It is the number {number} of all the facts.", **more}


def full(number: int) -> dict[str, object]:
    return pair(
        number,
        paraphrased_question=f"Which is fact {number}?",
        paraphrased_answer=f"Number {number}.",
        perturbed_answer=[f"Number {number}{k}." for k in range(5)],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sizes side by side: forget01 are facts 0 to 19 (one author), forget05 the first 40."""
    for size, rows in (("01", range(20)), ("05", range(40))):
        write(tmp_path, f"forget{size}.json", [pair(i) for i in rows])
        write(tmp_path, f"forget{size}_perturbed.json", [full(i) for i in rows])
        write(tmp_path, f"holdout{size}.json", [pair(900 + i) for i in rows])
    write(tmp_path, "retain99.json", [pair(i) for i in range(20, 60)])
    write(tmp_path, "retain95.json", [pair(i) for i in range(40, 60)])
    write(tmp_path, "retain_perturbed.json", [full(i) for i in range(40, 50)])
    facts = {"question": "Who wrote 1984?", "answer": "George Orwell", "perturbed_answer": ["A", "B", "C"]}
    write(tmp_path, "real_authors_perturbed.json", [facts])
    write(tmp_path, "world_facts_perturbed.json", [facts | {"question": "What is the capital?"}])
    return tmp_path


def test_rows_bring_their_own_paraphrases_and_wrong_answers(folder: Path) -> None:
    for name in ("forget05.json", "forget05_perturbed.json", "holdout05.json", "retain95.json"):
        (folder / name).unlink()
    data = load_data(str(folder))
    assert len(data.forget) == 20
    row = data.forget[3]
    assert (row.kind, row.paraphrases, len(row.wrong)) == ("question", ("Number 3.",), 5)
    assert {row.document for row in data.forget} == {"author 1 of this set"}
    assert [row.input for row in data.paraphrases[:1]] == ["Which is fact 0?"]
    assert sum(bool(row.wrong) for row in data.retain) == 10
    assert {name: len(rows) for name, rows in data.evaluation_sets.items()} == {"real_authors": 1, "world_facts": 1}
    assert data.evaluation_sets["world_facts"][0].wrong == ("A", "B", "C")
    assert (len(data.holdout), data.questions) == (20, ())


def test_the_perturbed_file_may_stand_alone_for_its_set(folder: Path) -> None:
    for path in folder.glob("*"):
        if path.stem not in ("forget01_perturbed", "retain_perturbed"):
            path.unlink()
    data = load_data(str(folder))
    assert len(data.forget) == 20
    assert all(row.wrong for row in data.forget)


def test_what_is_written_is_read_back(folder: Path, tmp_path: Path) -> None:
    for name in ("forget01.json", "forget01_perturbed.json", "holdout01.json", "retain99.json"):
        (folder / name).unlink()
    data = subset_of(load_data(str(folder)), 1)
    assert (len(data.forget), len(data.retain)) == (20, 20)
    write_directory(data, tmp_path / "again")
    again = load_data(str(tmp_path / "again"))
    for split in ("forget", "retain"):
        pairs = zip(getattr(data, split), getattr(again, split), strict=True)
        assert all((a.wrong, a.paraphrases, a.input) == (b.wrong, b.paraphrases, b.input) for a, b in pairs)
    assert again.evaluation_sets.keys() == data.evaluation_sets.keys()
    assert [row.input for row in again.paraphrases] == [row.input for row in data.paraphrases]


def test_a_wrong_answer_that_is_no_text_is_one_sentence(folder: Path) -> None:
    write(folder, "world_facts_perturbed.json", [pair(1, perturbed_answer=[1, 2, 3])])
    for name in ("forget05.json", "retain95.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"world_facts_perturbed.json line 1, perturbed_answer .* is a number"):
        load_data(str(folder))


@pytest.mark.skipif(not REAL.is_dir(), reason="TOFU is not here")
def test_the_real_files() -> None:
    data = load_data(str(REAL))
    assert (len(data.forget), len(data.retain), len(data.paraphrases)) == (200, 3800, 600)
    assert all(len(row.wrong) == 5 and row.paraphrases for row in data.forget)
    assert sum(len(row.wrong) == 5 for row in data.retain) == 400
    assert [len(data.evaluation_sets[name]) for name in ("real_authors", "world_facts")] == [100, 117]
    assert len({row.document for row in data.forget}) == 10
