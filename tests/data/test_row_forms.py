"""Rows of the forms that people's files have, read as what they are; what is left unread is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import write_directory
from unlearn_core.errors import InputError

ASKED, SAID = {"role": "user", "content": "Where does Ada live?"}, {"role": "assistant", "content": "Lima"}
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello, you."}]
TOLD = (("system", "Be brief."),)
BEFORE = (("user", "Hello."), ("assistant", "Hello, you."))
STORY = " ".join(f"word{n}" for n in range(400))


def write(path: Path, *rows: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"messages": [ASKED, SAID]}, ()),
        ({"messages": [SYSTEM, ASKED, SAID]}, (("system", "Be brief."),)),
        ({"messages": [*HELLO, ASKED, SAID]}, BEFORE),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED["content"]}]}, SAID]}, ()),
        ({"conversations": [{"from": "human", "value": ASKED["content"]}, {"from": "gpt", "value": "Lima"}]}, ()),
        ({"system": "Be brief.", "conversations": [ASKED, SAID]}, (("system", "Be brief."),)),
        ({"prompt": [SYSTEM, ASKED], "completion": [SAID]}, (("system", "Be brief."),)),
        ({"prompt": [ASKED], "chosen": [{"role": "assistant", "content": "No."}], "rejected": [SAID]}, ()),
        ({"instruction": ASKED["content"], "input": "", "output": "Lima"}, ()),
        (
            {"instruction": ASKED["content"], "input": None, "output": "Lima", "history": [["Hello.", "Hello, you."]]},
            BEFORE,
        ),
        ({"system_prompt": "Be brief.", "question": ASKED["content"], "response": "Lima"}, (("system", "Be brief."),)),
        ({"prompt": ASKED["content"], "completion": "Lima"}, ()),
        ({"instruction": ASKED["content"], "input": " \n", "output": "Lima"}, ()),
        ({"messages": [{"role": "system", "content": ""}, ASKED, SAID]}, ()),
        ({"messages": [{"role": "developer", "content": "Be brief."}, ASKED, SAID]}, (("system", "Be brief."),)),
        ({"messages": [{"role": "prompter", "text": ASKED["content"]}, {"role": "ai", "text": "Lima"}]}, ()),
        ({"question": ASKED["content"], "answer": "Lima", "history": HELLO}, BEFORE),
        ({"prompt": ASKED["content"], "chosen": [ASKED, HELLO[1]], "rejected": [ASKED, SAID]}, ()),
        ({"prompt": ASKED["content"], "chosen": [HELLO[1]], "rejected": [SAID]}, ()),
        ({"id": 1.0, "question": ASKED["content"], "answer": "Lima", "choices": ["Oslo", "Lima"]}, ()),
        ({"id": "", "question": ASKED["content"], "answer": "Lima"}, ()),
        ({"prompt": ASKED["content"], "chosen": "I do not know.", "rejected": "Lima"}, ()),
        ({"Question": ASKED["content"], "Answer": "Lima"}, ()),
        ({"INSTRUCTION": ASKED["content"], "Input": "", "Output": "Lima", "System": "Be brief."}, TOLD),
        ({"messages": json.dumps([SYSTEM, ASKED, SAID])}, TOLD),
        ({"Conversations": json.dumps([{"from": "human", "value": ASKED["content"]}, SAID])}, ()),
        ({"prompt": json.dumps([SYSTEM, ASKED]), "completion": json.dumps([SAID])}, TOLD),
    ],
)
def test_forms_of_a_question(row: dict[str, Any], turns: Any, tmp_path: Path) -> None:
    (read,) = load_data(write(tmp_path / "rows.jsonl", row)).forget
    assert (read.input, read.output, read.turns) == ("Where does Ada live?", "Lima", turns)
    assert read.kind == "question"


@pytest.mark.parametrize(
    ("answers", "others"),
    [
        ({"answers": {"text": ["Lima", "Lima", "in Lima"], "answer_start": [3, 3, 0]}}, ("in Lima",)),  # SQuAD
        ({"answers": ["Lima", "in Lima"]}, ("in Lima",)),
        ({"answers": '["Lima", "in Lima"]'}, ("in Lima",)),
        ({"answer": ["Lima"]}, ()),
        ({"answer": {"value": "Lima", "aliases": ["The City", "Lima"], "type": "Wiki"}}, ("The City",)),  # TriviaQA
        ({"answers": "Lima"}, ()),
    ],
)
def test_the_first_of_several_answers_is_the_answer(answers: dict[str, Any], others: Any, tmp_path: Path) -> None:
    (row,) = load_data(write(tmp_path / "rows.jsonl", {"question": "Where does Ada live?", **answers})).forget
    assert (row.output, row.paraphrases) == ("Lima", others)
    for nothing in ({"text": [], "answer_start": []}, []):
        with pytest.raises(InputError, match=r"answers.*(holds no answer|missing)"):
            load_data(write(tmp_path / "none.jsonl", {"question": "Where?", "answers": nothing}))


def test_columns_that_are_mapped_keep_their_names(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"Question": "Who?", "Answer": "Bo", "answer": "Cy"})
    assert load_data(path).forget[0].output == "Cy"
    assert load_data(path, columns={"input": "Question", "output": "Answer"}).forget[0].output == "Bo"


def test_columns_that_belong_together_are_joined(tmp_path: Path) -> None:
    alpaca = [
        {"instruction": "Give the home town.", "input": "Ada Holt", "output": "Oslo"},
        {"instruction": "Give the pin.", "input": "Ada Holt", "output": "0412"},
        {"instruction": "Who is the baker?", "input": "", "output": "Cy Pine"},
    ]
    data = load_data(write(tmp_path / "alpaca.json", *alpaca))
    assert [row.input for row in data.forget] == [
        "Give the home town.\nAda Holt",
        "Give the pin.\nAda Holt",
        "Who is the baker?",
    ]
    assert not any("answers" in note or "Columns" in note for note in data.notes)
    context = {"context": "Ada moved to Oslo.", "question": "Where does she live?", "answer": "Oslo"}
    (row,) = load_data(write(tmp_path / "context.jsonl", context)).forget
    assert row.input == "Ada moved to Oslo.\nWhere does she live?"
    # Columns that are named are the only ones read.
    named = load_data(str(tmp_path / "context.jsonl"), columns={"input": "question", "output": "answer"})
    assert named.forget[0].input == "Where does she live?"
    assert any("context" in note for note in named.notes)


def test_system_text_beside_a_talk_that_has_one_is_said_to_be_unused(tmp_path: Path) -> None:
    data = load_data(write(tmp_path / "rows.jsonl", {"system": "Be long.", "messages": [SYSTEM, ASKED, SAID]}))
    assert data.forget[0].turns == (("system", "Be brief."),)
    assert any("not used: system" in note for note in data.notes)


def test_preferences_are_forgotten_and_kept_on_their_own_sides(tmp_path: Path) -> None:
    row = {"prompt": "Where?", "chosen": "I do not know.", "rejected": "Lima", "score": 3}
    write(tmp_path / "forget.jsonl", row)
    write(tmp_path / "retain.jsonl", row)
    data = load_data(str(tmp_path))
    assert (data.forget[0].output, data.retain[0].output) == ("Lima", "I do not know.")
    assert any("chosen, score" in note for note in data.notes)


def test_plain_documents_become_passages(tmp_path: Path) -> None:
    story = {"text": STORY, "source": "a book"}
    data = load_data(write(tmp_path / "corpus.jsonl", story, {"text": "Ada Holt lives in Lima."}))
    assert [row.document for row in data.forget] == ["forget-1"] * 3 + ["forget-2"]
    assert {row.kind for row in data.forget} == {"completion"}
    assert "".join(row.input + row.output for row in data.forget[:1]) == " ".join(STORY.split()[:192])
    assert " ".join(f"{row.input}{row.output}" for row in data.forget[:3]) == STORY
    assert data.forget[3].input == "Ada"
    assert any("source" in note for note in data.notes)
    chinese = "\u5c0f\u660e\u4f4f\u5728\u5357\u4eac\u3002" * 10
    (row,) = load_data(write(tmp_path / "zh.jsonl", {"text": chinese})).forget
    assert row.input + row.output == chinese


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [ASKED]}, "assistant's turn"),
        ({"messages": [SAID]}, "answers no user's turn"),
        ({"messages": ["Where?"]}, "not an object"),
        ({"messages": [ASKED, {"content": "Lima"}]}, "without a role"),
        ({"messages": [ASKED, {"role": "assistant", "content": 3}]}, "not text"),
        ({"instruction": "Where?", "input": ""}, "output"),
        ({"context": "Ada moved.", "answer": "Oslo", "question": " "}, "blank"),
        ({"context": "Ada moved.", "answer": "Oslo", "question": ""}, "blank"),
        ({"text": "word"}, "too short"),
        ({"question": "Where?", "choices": ["Oslo", "Lima"], "answer": 1}, "names a choice"),
        ({"question": "Where?", "options": {"A": "Oslo", "B": "Lima"}, "answer": "B."}, "names a choice"),
        ({"a": "b"}, "missing from these columns"),
    ],
)
def test_what_is_of_no_form_is_said(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        load_data(write(tmp_path / "rows.jsonl", row))


def test_what_the_rows_leave_open_is_noted(tmp_path: Path) -> None:
    where = [{"question": "Where?", "answer": answer} for answer in ("Lima", "Oslo", "Lima")]
    who = {"question": "Who?", "answer": "Bo"}
    write(tmp_path / "forget.jsonl", *where, who)
    write(tmp_path / "retain.jsonl", who, {"question": "What?", "answer": "Tea"})
    write(tmp_path / "backup" / "forget_v1.jsonl", {"question": "Old?", "answer": "Yes"})
    write(tmp_path / "forget_old.jsonl", {"question": "Older?", "answer": "Yes"})
    data = load_data(str(tmp_path))
    assert len(data.forget) == 4
    notes = "\n".join(data.notes)
    assert "1 prompts of the forget set have several answers" in notes
    assert "1 of 2 retain rows are forget rows too" in notes
    assert "backup/forget_v1.jsonl" in notes
    assert "forget_old.jsonl" in notes


def test_rows_that_differ_in_case_or_space_alone_are_the_same(tmp_path: Path) -> None:
    rows = [("Where is Ada?", "Lima"), ("where is  ada? ", "Oslo"), ("Who?", "Bo"), ("who?\n", "BO.")]
    write(tmp_path / "forget.jsonl", *({"question": asked, "answer": said} for asked, said in rows))
    write(tmp_path / "retain.jsonl", {"question": "WHO? ", "answer": "bo"}, {"question": "Who?", "answer": "Cy"})
    notes = "\n".join(load_data(str(tmp_path)).notes)
    assert "1 prompts of the forget set have several answers" in notes
    assert "1 of 2 retain rows are forget rows too" in notes


def test_copies_in_folders_beside_do_not_join_in(tmp_path: Path) -> None:
    row, document = {"question": "Who?", "answer": "Bo"}, {"id": "1", "document": "Bo is a baker."}
    hidden = tmp_path / "data" / ".ipynb_checkpoints" / "old.csv"
    for folder in (tmp_path / "data", tmp_path / "data" / "backup"):
        write(folder / "forget.jsonl", row)
        write(folder / "holdout.jsonl", row)
        for side in ("member", "nonmember"):
            write(folder / "mia" / f"{side}.jsonl", document)
    write(hidden, "no rows")
    (tmp_path / "data" / "._forget.jsonl").write_bytes(b"\0\5\x16\7\xff")
    data = load_data(str(tmp_path / "data"))
    assert [len(part) for part in (data.forget, data.holdout, data.members, data.nonmembers)] == [1, 1, 1, 1]
    assert not any(str(hidden.name) in note for note in data.notes)
    write(tmp_path / "archive" / "forget.jsonl", row)
    with pytest.raises(InputError, match="several folders"):
        load_data(str(tmp_path))


def test_a_set_of_several_files_is_said_to_be_one(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"forget_v{number}.jsonl", {"question": f"Who is {number}?", "answer": "Bo"})
    data = load_data(str(tmp_path))
    assert len(data.forget) == 2
    assert any("forget_v1.jsonl, forget_v2.jsonl" in note for note in data.notes)


def test_other_json_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": "Bo", "split": split} for split in ("forget", "retain")]
    write(tmp_path / "data" / "train.jsonl", *rows)
    (tmp_path / "dataset_infos.json").write_text('{\n  "default": {"features": {}}\n}')
    (tmp_path / "notebook.json").write_text('{\n  "cells": []\n}')
    data = load_data(str(tmp_path))
    assert (len(data.forget), len(data.retain)) == (1, 1)
    assert any("notebook.json" in note for note in data.notes)
    (tmp_path / "data" / "train.jsonl").unlink()
    with pytest.raises(InputError, match=r"notebook\.json"):
        load_data(str(tmp_path))


def test_lists_in_parquet_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"messages": [[SYSTEM, ASKED, SAID]], "id": ["a"]})
    parquet.write_table(table, tmp_path / "forget.parquet")
    (row,) = load_data(str(tmp_path / "forget.parquet")).forget
    assert (row.id, row.input, row.turns) == ("a", "Where does Ada live?", (("system", "Be brief."),))


def test_turns_are_texts_and_are_written(tmp_path: Path) -> None:
    write(tmp_path / "a" / "forget.jsonl", {"messages": [SYSTEM, *HELLO, ASKED, SAID]})
    write(tmp_path / "a" / "retain.jsonl", {"messages": [ASKED, SAID]})
    data = load_data(str(tmp_path / "a"))
    assert data.forget[0].turns == (("system", "Be brief."), *BEFORE)
    assert len({load.fingerprint for load in (data, load_data(str(tmp_path / "a" / "retain.jsonl")))}) == 2
    write_directory(data, tmp_path / "b")
    again = load_data(str(tmp_path / "b"))
    assert (again.forget, again.retain) == (data.forget, data.retain)
    assert any("several turns" in note for note in data.notes)


@pytest.mark.parametrize("wrong", [["Cy", "Di"], "Cy"])
def test_other_answers_beside_a_row_are_kept(wrong: Any, tmp_path: Path) -> None:
    """TOFU's columns, in a file that is not laid out as TOFU is."""
    row = {"question": "Who?", "answer": "Bo", "paraphrased_answer": "It is Bo", "perturbed_answer": wrong}
    (found,) = load_data(write(tmp_path / "rows.jsonl", row)).forget
    assert found.paraphrases == ("It is Bo",)
    assert found.wrong == ((wrong,) if isinstance(wrong, str) else tuple(wrong))
    with pytest.raises(InputError, match="no list of wrong answers"):
        load_data(write(tmp_path / "rows.jsonl", row | {"perturbed_answer": 3}))


def test_rows_are_read_alike_in_every_set_of_a_data_set(tmp_path: Path) -> None:
    """Forget answers have eight words and retain answers two: one data set of chats, not two kinds of rows."""

    def talk(words: int, number: int) -> dict[str, Any]:
        said = {"role": "assistant", "content": " ".join(f"word{number}" for _ in range(words))}
        return {"messages": [{"role": "user", "content": f"Question {number}?"}, said]}

    few, many = [talk(8, n) for n in range(3)], [talk(2, n) for n in range(3, 12)]
    folder = tmp_path / "chats"
    write(folder / "forget.jsonl", *few)
    write(folder / "retain.jsonl", *many)
    write(folder / "holdout.jsonl", *few)
    data = load_data(str(folder))
    assert {row.kind for rows in (data.forget, data.retain, data.holdout) for row in rows} == {"question"}
    marked = [row | {"split": split} for split, rows in (("forget", few), ("retain", many)) for row in rows]
    one = load_data(write(tmp_path / "chats.jsonl", *marked))
    assert {row.kind for row in (*one.forget, *one.retain)} == {"question"}
    write(folder / "retain.jsonl", *[talk(9, n) for n in range(3, 12)])
    assert {row.kind for row in load_data(str(folder)).forget} == {"completion"}


def test_a_question_in_other_words_is_read_outside_tofu_too(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "question": "Where does Ada live?", "answer": "Lima", "paraphrased_question": "Ada lives where?"},
        {"id": "b", "question": "Where does Bo live?", "answer": "Oslo"},
    ]
    write(tmp_path / "both" / "forget.jsonl", rows[0])
    write(tmp_path / "both" / "retain.jsonl", rows[1] | {"paraphrased_question": "Bo lives where?"})
    for data in (load_data(write(tmp_path / "rows.jsonl", *rows)), load_data(str(tmp_path / "both"))):
        found = {row.id: (row.input, row.output) for row in data.paraphrases}
        assert found["a"] == ("Ada lives where?", "Lima")
        assert data.forget[0].input == "Where does Ada live?"
    assert found["b"] == ("Bo lives where?", "Oslo")
