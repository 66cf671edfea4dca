"""The runs that ship: they are what they say, everybody's to look at, and nobody's to change on a shared server."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from unlearn_core.data.sources import sheet_of
from unlearn_core.data.world import demo_data
from unlearn_core.errors import InputError
from unlearn_core.evaluation.verdict.types import word_of
from unlearn_core.jobs.expiry import Deleted, expire
from unlearn_core.models.files.adapter_folder import WEIGHTS
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.targets import load_target
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import Answerer
from unlearn_core.service.chat import Chat
from unlearn_core.service.recover import Recover
from unlearn_core.service.studio import Studio
from unlearn_core.store.audit_record import read_audits
from unlearn_core.store.game.finds import read_finds
from unlearn_core.store.recorded.recorded_runs import PACKED, put_recorded_runs
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.durations import usual_seconds
from unlearn_core.store.table.rows import RunQuery, about_of
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.files import file_hash
from unlearn_core.system.home import home_dir

SHIPPED = assets_directory() / "recorded_runs"
MOST_BYTES = 6_000_000  # of all of them
SUCCESS, LEAK, COLLAPSE = "recorded-forgotten", "recorded-leaking", "recorded-collapsed"
REAL = "recorded-einstein"
ROWS = 40  # of each run that are asked again
STRANGER = "a secret of a stranger"


@pytest.fixture
def store(store: RunStore) -> RunStore:
    put_recorded_runs(store)
    return store


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "public", public=True)
    put_recorded_runs(made.store)
    yield made
    made.close()


def test_they_are_a_success_a_leak_a_collapse_and_one_of_a_real_model_and_all_were_attacked(store: RunStore) -> None:
    found = {record.id: record for record in store.list_runs()}
    words = {run_id: word_of(record.verdict) for run_id, record in found.items()}
    assert words[COLLAPSE] == "collapsed"
    assert words[LEAK] == "under-forgotten"
    layers = {layer["name"]: layer for layer in (found[SUCCESS].verdict or {})["layers"]}
    assert layers["answers"]["state"] == layers["neighbours"]["state"] == "holds"
    for run_id in found:
        attacks = read_audits(store, run_id)
        assert attacks is not None
        assert attacks.status == "finished"
        assert attacks.weights_hash == found[run_id].scores["unlearned"]["weights_hash"]
        assert any(tag.startswith("recorded") for tag in found[run_id].tags)
    assert next(iter(store.list_runs())).id == SUCCESS  # listed first
    assert words[SUCCESS] in found[SUCCESS].name  # its title says no better than its verdict


def test_their_weights_give_the_recorded_answers(store: RunStore) -> None:
    for run_id in (SUCCESS, LEAK, COLLAPSE):
        record = store.get(run_id)
        events, _ = store.read_events(record.id)
        (scored,) = [event.scores for event in events if isinstance(event, ev.Score) and event.model == "unlearned"]
        told = [row for row in scored["generations"] if row["kind"] == "question"][::20][:ROWS]
        target = load_target(str(store.weights(record.id)), device="cpu")
        written = generate_all(
            target.model, target.tokenizer, [row["input"] for row in told], demo_data().max_new_tokens
        )
        same = [words.strip() == row["output"].strip() for words, row in zip(written, told, strict=True)]
        assert sum(same) >= 0.95 * len(same), record.id  # another processor may round one near tie otherwise


def test_the_real_models_run_brings_its_subject_and_is_talked_about_as_recorded(store: RunStore) -> None:
    sheet = sheet_of(str(store.get(REAL).spec["data"]), uploads=store.uploads)
    assert sheet is not None
    assert sheet.subject == about_of(store.get(REAL).spec) == "Albert Einstein"
    subject = Chat(Answerer(store)).of_run(REAL)
    assert subject is not None
    assert subject.recorded is not None
    assert subject.recorded.adapter_hash == file_hash(subject.recorded.adapter / WEIGHTS)
    told = [subject.recorded.answers[question] for question in subject.questions]
    assert "Einstein" in "".join(words for words, _ in told[0]["original"])
    shutil.rmtree(next(store.uploads.glob("*")))
    put_recorded_runs(store)  # as when a server starts
    assert sheet_of(str(store.get(REAL).spec["data"]), uploads=store.uploads) == sheet


def test_they_are_small_and_tell_nothing_of_the_machine_that_made_them(store: RunStore) -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < MOST_BYTES
    for record in store.list_runs():
        assert record.process == {}
        for name in ("run.json", "events.jsonl", "audits.json"):
            told = (store.folder(record.id) / name).read_text(encoding="utf-8")
            assert re.search(r'"/\w+/', told) is None


def test_what_was_deleted_stays_deleted_and_nothing_is_put_twice(store: RunStore) -> None:
    store.delete(LEAK, operator=True)
    store.label(SUCCESS, name="mine now", operator=True)
    put_recorded_runs(store)
    assert {record.id: record.name for record in store.list_runs()}.keys() == {SUCCESS, COLLAPSE, REAL}
    assert store.get(SUCCESS).name == "mine now"


def test_on_ones_own_machine_they_can_be_deleted(tmp_path: Path) -> None:
    own = RunStore(tmp_path, open_to_all=True)
    put_recorded_runs(own)
    own.delete(LEAK, STRANGER)
    assert len(own.list_runs()) == 3


def test_a_stranger_sees_and_questions_them_and_changes_none(public: Studio) -> None:
    store = public.store
    rows, total = store.rows(RunQuery(owner=public.mine(STRANGER)))
    assert total == 4
    assert {row.id for row in rows} == {record.id for record in public.attackable(STRANGER, 10)}
    assert store.rows(RunQuery(owner=public.mine("")))[1] == 4  # without a secret too
    assert Recover(public).begin(SUCCESS, STRANGER, 0).secret.output
    for seed in range(8):  # some of its prompts are rendered by the chat template: no question to a player
        assert "\n" not in Recover(public).begin(REAL, STRANGER, seed).secret.input
    for change in (
        lambda: store.delete(SUCCESS, STRANGER),
        lambda: store.label(SUCCESS, STRANGER, name="mine"),
        lambda: public.attack(SUCCESS, 10.0, ["sampling"], STRANGER),
        lambda: public.attack(SUCCESS, 10.0, ["sampling"], "house"),  # what stands in place of a hash is no secret
    ):
        with pytest.raises(InputError, match="ships with Lethe"):
            change()
    assert public.delete_mine(STRANGER) == Deleted(0, 0)
    assert not public.may_stop(SUCCESS, STRANGER)
    assert public.title_of(SUCCESS, STRANGER).whose == "recorded"
    assert len(store.list_runs()) == 4


def test_what_a_stranger_gets_out_of_one_does_not_change_its_verdict(public: Studio) -> None:
    recover, before = Recover(public), public.store.get(LEAK).verdict
    for seed in range(10):
        game = recover.begin(LEAK, STRANGER, seed)
        *_, played = recover.ask(game, game.secret.input, "", STRANGER)
        if played.game.broken:
            break
    assert played.game.broken
    assert not played.probe
    assert read_finds(public.store.folder(LEAK)) == []
    assert public.store.get(LEAK).verdict == before


def test_they_neither_expire_nor_stand_for_runs_made_here(store: RunStore) -> None:
    assert usual_seconds(store, RunSpec(adapter="lora")) is None  # another machine's times foretell nothing here
    assert expire(store, time.time() + 10_000 * 86_400, most=0) == Deleted(0, 0)


def test_one_whose_weights_are_damaged_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(assets_directory() / "recorded_runs", tmp_path / "assets" / "recorded_runs")
    monkeypatch.setenv("LETHE_ASSETS", str(tmp_path / "assets"))
    weights = tmp_path / "assets" / "recorded_runs" / LEAK / "weights" / "adapter_model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    (tmp_path / "assets" / "recorded_runs" / COLLAPSE / PACKED).write_bytes(b"torn")
    store = RunStore(tmp_path / "home")
    put_recorded_runs(store)
    assert [record.id for record in store.list_runs()] == [SUCCESS, REAL]
    assert not list(store.runs.glob(".*"))  # nothing half-made is left


def test_a_home_that_never_served_a_page_has_none(tmp_path: Path) -> None:
    assert RunStore(home_dir(tmp_path)).list_runs() == []
