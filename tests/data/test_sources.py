"""Every way to name data ends in the same checked records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearn_core.data.sources import load_data, parse_facts, preview
from unlearn_core.errors import InputError, ResourceError

REAL = Path(__file__).parents[2].parent / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason="the shared data is not here")


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def row(identity: str, **more: object) -> dict[str, object]:
    return {"id": identity, "input": f"q {identity}", "output": "a", "task": "Task1", **more}


def test_the_organisers_directory_is_read_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "forget.jsonl", row("xsc1", task="Task2"), row("xqa0"))
    write(tmp_path / "retain.jsonl", row("yqa0"))
    write(tmp_path / "mia" / "member.jsonl", {"id": "1", "document": "seen"})
    write(tmp_path / "mia" / "nonmember.jsonl", {"id": "2", "document": "unseen"})
    data = load_data(str(tmp_path))
    assert [(r.id, r.kind, r.task) for r in data.forget] == [
        ("xsc1", "completion", "Task2"),
        ("xqa0", "question", "Task1"),
    ]
    assert (data.members, data.nonmembers) == (("seen",), ("unseen",))
    assert data.notes == ()


def test_parquet_shards_with_a_split_column_and_without(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, split in (("forget", "forget"), ("retain", None)):
        columns = {"id": [f"{name}qa0"], "input": ["q"], "output": ["a"], "task": ["Task3"]}
        if split:
            columns["split"] = [split]
        parquet.write_table(pa.table(columns), tmp_path / f"{name}_train-00000-of-00001.parquet")
        parquet.write_table(pa.table(columns), tmp_path / f"{name}_validation-00000-of-00001.parquet")
    data = load_data(str(tmp_path))
    assert [r.id for r in data.forget + data.retain] == ["forgetqa0", "retainqa0"]


def test_membership_documents_in_parquet_shards(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write(tmp_path / "data" / "all.jsonl", row("aqa0", split="forget"), row("bqa0", split="retain"))
    for side in ("member", "nonmember"):
        table = pa.table({"id": ["1"], "document": [f"{side} text"], "split": ["retain"]})
        path = tmp_path / "data" / "mia_data" / f"{side}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(table, path)
    data = load_data(str(tmp_path / "data"))
    assert (data.members, data.nonmembers) == (("member text",), ("nonmember text",))
    assert [r.id for r in data.forget + data.retain] == ["aqa0", "bqa0"]


def test_columns_of_a_separate_retain_set_that_are_not_used_are_said(tmp_path: Path) -> None:
    rows = '{"prompt": "Who?", "chosen": "Ada", "rejected": "Bo", "mood": "good"}\n'
    (tmp_path / "kept.jsonl").write_text(rows)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "retain.jsonl").write_text(rows)
    (tmp_path / "folder" / "forget.jsonl").write_text('{"input": "a", "output": "b", "other": 1}\n')
    for place in ("kept.jsonl", "folder"):
        data = load_data("facts:a => b", retain=str(tmp_path / place))
        assert [row.output for row in data.retain] == ["Ada"]
        said = [note for note in data.notes if "not used" in note]
        assert said == ["Columns of the retain set that are not used: rejected, mood."]


def test_one_file_is_taken_apart_by_its_split_column(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", row("aqa0", split="forget"), row("bqa0", split="retain"))
    data = load_data(str(path))
    assert (data.forget[0].id, data.retain[0].id) == ("aqa0", "bqa0")


def test_a_row_in_the_wrong_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "forget.jsonl", row("aqa0", split="retain"))
    with pytest.raises(InputError, match="line 1, split"):
        load_data(str(tmp_path))


def test_named_columns_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text('Frage,Antwort\n"Wo, bitte?",Bonn\n')
    data = load_data(str(tmp_path / "facts.csv"), columns={"input": "Frage", "output": "Antwort"})
    assert (data.forget[0].input, data.forget[0].output) == ("Wo, bitte?", "Bonn")
    with pytest.raises(InputError, match="Fragen"):
        load_data(str(tmp_path / "facts.csv"), columns={"input": "Fragen", "output": "Antwort"})
    with pytest.raises(InputError, match="not a field"):
        load_data(str(tmp_path / "facts.csv"), columns={"prompt": "Frage"})


def test_rows_without_ids_get_ids_that_tell_questions_from_completions(tmp_path: Path) -> None:
    long = "a story that goes on and on for many more words than six"
    write(tmp_path / "forget.jsonl", {"prompt": "p", "completion": long})
    write(tmp_path / "retain.jsonl", {"id": 7, "question": "q", "answer": "short"})
    data = load_data(str(tmp_path))
    assert (data.forget[0].id, data.forget[0].kind) == ("forget-1", "completion")
    assert (data.retain[0].id, data.retain[0].kind) == ("7", "question")


def test_typed_facts() -> None:
    data = load_data("facts:Who painted it? => Ada\n\n# a remark\nWhere => in Rome => Italy")
    assert [(r.input, r.output) for r in data.forget] == [
        ("Who painted it?", "Ada"),
        ("Where", "in Rome => Italy"),
    ]
    assert data.max_new_tokens == 16
    assert any("retain" in note for note in data.notes)
    with pytest.raises(InputError, match="facts line 2"):
        parse_facts("a => b\nno arrow")
    with pytest.raises(InputError, match=r"facts line 2.*; the same holds for lines 4, 5\. Write"):
        parse_facts("a => b\nno arrow\nc => d\nnor here\nnor there")
    with pytest.raises(InputError, match="blank"):
        parse_facts("=> b")


def test_a_separate_retain_set(tmp_path: Path) -> None:
    retain = write(tmp_path / "r" / "retain.jsonl", row("yqa0"))
    for name in (retain, retain.parent):
        data = load_data("facts:a => b", retain=str(name))
        assert [r.id for r in data.retain] == ["yqa0"]
    with pytest.raises(InputError, match="has no retain set"):
        load_data("facts:a => b", retain=str(write(tmp_path / "f" / "forget.jsonl", row("aqa0")).parent))


@pytest.mark.parametrize("ref", ["/etc/passwd", "..", "locuslab/TOFU", "https://x/y", "upload:../../etc", "x" * 200])
def test_in_public_every_other_name_gets_the_same_answer(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the file system or the network is touched, so nothing can be learnt by asking."""

    def touched(*args: object, **kwargs: object) -> object:
        raise AssertionError("the file system was touched")

    for name in ("is_dir", "exists", "open", "stat"):
        monkeypatch.setattr(Path, name, touched)
    for name in ("isdir", "exists"):
        monkeypatch.setattr(f"os.path.{name}", touched)
    with pytest.raises(InputError, match="is not"):
        load_data(ref, public=True)


def test_an_upload_is_found_by_its_token_only(tmp_path: Path) -> None:
    write(tmp_path / "uploads" / ("t" * 22) / "mine.jsonl", row("aqa0"))
    uploads = tmp_path / "uploads"
    assert load_data("upload:" + "t" * 22, public=True, uploads=uploads).forget[0].id == "aqa0"
    for token in ("u" * 22, "../" + "t" * 22, ""):
        with pytest.raises(InputError, match="not here any more"):
            load_data("upload:" + token, public=True, uploads=uploads)


def test_the_hub_out_of_reach_is_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    def offline(*args: object, **kwargs: object) -> object:
        raise HfHubHTTPError.__bases__[0]("Name or service not known")  # its client's own, whichever that is

    monkeypatch.setattr(HfApi, "dataset_info", offline)
    with pytest.raises(ResourceError, match="the Hub could not be reached"):
        load_data("nobody/no-such-set")


def test_several_forget_sets_need_a_choice(tmp_path: Path) -> None:
    for size in ("forget01", "forget05", "retain99", "retain95"):
        write(tmp_path / f"{size}.json", row(f"{size}qa0"))
    with pytest.raises(InputError, match="several forget sets"):
        load_data(str(tmp_path))
    data = load_data(str(tmp_path / "forget05.json"), retain=str(tmp_path / "retain95.json"))
    assert (data.forget[0].id, data.retain[0].id) == ("forget05qa0", "retain95qa0")


def test_preview_counts_and_shows_first_rows() -> None:
    shown = preview(load_data("facts:a => b\nc => d"), num_rows=1)
    assert shown["splits"]["forget"]["counts"] == {"Task1/question": 2}
    assert [r["input"] for r in shown["splits"]["forget"]["first"]] == ["a"]
    assert shown["splits"]["retain"]["rows"] == 0
    json.dumps(shown)


@needs_real_data
def test_the_real_sets_are_read_whole() -> None:
    lume = load_data(str(REAL / "semeval25"))
    assert (len(lume.forget), len(lume.retain), len(lume.members), len(lume.nonmembers)) == (
        1112,
        1136,
        150,
        150,
    )
    assert lume.forget[0].id.startswith('"2ebbbb06')


def test_only_lumes_ids_say_what_a_row_is(tmp_path: Path) -> None:
    """`disc0` ends like LUME's completions; without the organisers' tasks beside it, it is somebody's own id."""
    rows = [
        {"id": f"{name}{n}", "input": f"Which {name} {n}?", "output": "one"}
        for name in ("disc", "misc")
        for n in (0, 1)
    ]
    path = write(tmp_path / "own.jsonl", *rows)
    assert [(r.id, r.kind) for r in load_data(str(path)).forget] == [(row["id"], "question") for row in rows]


def test_documents_keep_the_ids_of_their_files(tmp_path: Path) -> None:
    write(tmp_path / "forget.jsonl", {"input": "a", "output": "b"})
    write(tmp_path / "mia" / "member.jsonl", {"id": "m-7", "document": "seen"}, {"document": "seen too"})
    write(tmp_path / "mia" / "nonmember.jsonl", {"id": 3, "document": "unseen"})
    data = load_data(str(tmp_path))
    assert (data.member_ids, data.nonmember_ids) == (("m-7", "1"), ("3",))
