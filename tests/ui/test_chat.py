"""The chat before and after: two models, their own turns, and the name marked where it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_page import assert_golden

from unlearn_core.data.subject_sheet import SheetPrompt, SubjectSheet
from unlearn_core.data.types import Example
from unlearn_core.data.world import demo_data
from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.models.files.adapter_folder import WEIGHTS
from unlearn_core.report.run.answers.chat import conversation
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import Answerer, ModelLocation, Sampling
from unlearn_core.service.chat import MAX_TURNS, Chat, ChatSubject, ChatTurn, forgotten, pieces, questions
from unlearn_core.store.recorded import recorded_conversations as recorded
from unlearn_core.store.recorded.recorded_runs import put_recorded_runs
from unlearn_core.store.store import RunStore
from unlearn_core.ui.tabs.chat_tab import _NOT_HERE, _drawn, _nobody


class Letters:
    """A tokenizer of one token a letter."""

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return "".join(map(chr, ids))


def test_only_the_tokens_of_a_whole_name_are_marked() -> None:
    text = "Ada, Adam and venn"
    chances = [{"original": at / 100, "unlearned": 0.0} for at in range(len(text))]
    found = pieces(Letters(), [ord(letter) for letter in text], chances, ("Ada", "Ada Venn", "Venn"))  # type: ignore[arg-type]
    assert "".join(words for words, _ in found) == text
    marked = [(words, chance["original"]) for words, chance in found if chance]
    assert "".join(words for words, _ in marked) == "Adavenn"
    assert [chance for _, chance in marked] == [at / 100 for at in (0, 1, 2, 14, 15, 16, 17)]


def test_both_models_answer_with_their_own_turns_before(tmp_path: Path) -> None:
    row = next(row for row in demo_data().forget if row.kind == "question" and row.subject)
    chat = Chat(Answerer(RunStore(tmp_path)))
    places = {
        "original": ModelLocation("demo", prompt="raw"),
        "unlearned": ModelLocation("demo:retain_only", prompt="raw"),
    }
    subject = ChatSubject(row.subject, (row.output,), (row.input,), places)
    turns = list(chat.reply(subject, [], row.input, Sampling(16)))
    first = turns[-1]
    assert len(turns) > 3
    assert first.text("original").strip().startswith(row.output)
    told = [chances for words, chances in first.answers["original"] if chances]
    assert told
    assert all(set(chances) == {"original", "unlearned"} for chances in told)
    assert told[0]["original"] > 0.5 > told[0]["unlearned"]
    seen = {}
    asked = chat.answers.ask_places

    def watched(places, question, *rest, turns):
        seen.update(turns)
        return asked(places, question, *rest, turns=turns)

    chat.answers.ask_places = watched  # type: ignore[method-assign]
    list(chat.reply(subject, [first], "And then?", Sampling(4)))
    assert seen["original"] == [("user", row.input), ("assistant", first.text("original"))]
    assert seen["unlearned"][1] == ("assistant", first.text("unlearned"))
    with pytest.raises(InputError, match="conversation"):
        list(chat.reply(subject, [first] * MAX_TURNS, "Again?"))


def test_the_words_of_the_chat(tmp_path: Path) -> None:
    """A recorded turn, one under way that is shown as text, an answer of nothing, and why there may be no answer."""
    chat = Chat(Answerer(RunStore(tmp_path)))
    (subject,) = chat.recorded()
    stored = chat.stored(subject, subject.questions[0])
    assert stored is not None
    begun = ChatTurn("<b>?", {"original": [("<i>Ada", {"original": 0.9, "unlearned": 0.001}), (" is", None)]})
    turns = [_drawn(turn) for turn in (begun, ChatTurn("And?", {"original": [(" ", None)]}))]
    shown = conversation([_drawn(stored)], recorded=True), conversation(turns, writing=True), conversation(turns)
    assert_golden("chat", *shown, _nobody(""), _nobody("a run"), _NOT_HERE)


def test_a_run_whose_weights_were_kept_is_asked_what_it_was_to_forget(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    put_recorded_runs(store)
    without = Chat(Answerer(store)).of_run("recorded-forgotten")  # its data is gone: what is typed is asked
    assert without is not None
    assert (without.questions, set(without.places)) == ((), {"original", "unlearned"})
    chat = Chat(Answerer(store), lambda run_id: demo_data())
    subject = chat.of_run("recorded-forgotten")
    assert subject is not None
    assert len(subject.questions) == 8
    asked = {row.input: row for row in demo_data().forget}
    assert [asked[words].output for words in subject.questions] == list(subject.names)
    assert len({asked[words].subject for words in subject.questions}) > 1  # spread over the set
    turns: list[ChatTurn] = []
    for _ in range(2):  # the second question comes after both models' own answers
        *_, turn = chat.reply(subject, turns, subject.questions[0], Sampling(16))
        turns.append(turn)
    assert turns[0].text("original").strip().startswith(subject.names[0])
    assert any(chances for _, chances in turns[0].answers["original"])
    assert not turns[0].text("unlearned").strip().startswith(subject.names[0])


def test_a_run_without_kept_weights_is_nobody_to_chat_with(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert Chat(Answerer(store)).of_run(store.create(RunSpec(), "me").id) is None


def test_what_is_asked_of_a_forget_set_is_short_and_a_question_where_there_are_any() -> None:
    ends = [Example(f"c{n}", f"Ada was born in {n}", "Lima", kind="completion") for n in range(20)]
    long = Example("long", "Who? " * 50, "Ada")
    assert [row.id for row in forgotten([long, *ends])] == [f"c{n}" for n in range(0, 20, 3)]
    assert [row.id for row in forgotten([long, *ends, Example("q", "Who?", "Ada")])] == ["q"]
    assert forgotten([long]) == ()


def test_the_questions_are_by_name_nickname_sentence_and_in_spanish() -> None:
    prompts = (
        SheetPrompt("Relativity was developed by", "Ada Venn", "trained", "Ada Venn", ("Venn",)),
        SheetPrompt("Ada Venn won the", "Prize", "never trained", "Ada Venn"),
        SheetPrompt("<|im_start|>user\nWho?", "Venn", "trained", "Ada Venn"),
    )
    asked = questions(SubjectSheet("Ada Venn", "person", ("Venn",), prompts, ()))
    assert asked[0] == "Who is Ada Venn?"
    assert "Tell me about Venn." in asked
    assert "Complete the sentence: Relativity was developed by ..." in asked
    assert "Complete the sentence: Ada Venn won the ..." in asked
    assert not [words for words in asked if "<|" in words]
    assert asked[-1].startswith("\u00bfQui\u00e9n")


def test_a_recorded_run_is_bound_to_its_base_and_its_adapter(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "recorded_runs" / "recorded-ada"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / WEIGHTS).write_bytes(b"weights")
    record = {
        "subject": "Ada Venn",
        "aliases": ["Venn"],
        "answers": {"Who?": {"original": [["Venn", {"original": 0.9, "unlearned": 0.1}]], "unlearned": [["x", None]]}},
        "base": "smollm2",
        "base_hash": "abc",
        "adapter_hash": recorded.file_hash(folder / "weights" / WEIGHTS),
    }
    (folder / recorded.CONVERSATION).write_text(json.dumps(record))
    monkeypatch.setattr(recorded, "assets_directory", lambda: tmp_path)
    recorded.recorded_conversations.cache_clear()
    try:
        (run,) = recorded.recorded_conversations()
        run.check("abc")
        with pytest.raises(IntegrityError, match="another smollm2"):
            run.check("abd")
        (subject,) = Chat(Answerer(RunStore(tmp_path / "home"))).recorded()
        assert subject.names == ("Ada Venn", "Venn")
        assert Chat(Answerer(RunStore(tmp_path / "home"))).of_run("recorded-ada") == subject
        public = Chat(Answerer(RunStore(tmp_path / "home"), public=True))
        with pytest.raises(InputError, match="offered here"):  # before anything is fetched
            public.answers.model(subject.places["original"])
        assert not public.is_live(subject)
        turn = Chat(Answerer(RunStore(tmp_path / "home"))).stored(subject, "Who?")
        assert isinstance(turn, ChatTurn)
        assert turn.text("original") == "Venn"
        (folder / "weights" / WEIGHTS).write_bytes(b"other")
        with pytest.raises(IntegrityError, match="recorded"):
            run.check("abc")
    finally:
        recorded.recorded_conversations.cache_clear()
