"""A conversation with the original and the unlearned model at once, and where each would still say the name.

No Gradio in here, so that it can be tested without a page.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unlearn_core.data.subject_sheet import SubjectSheet
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.run.answers.chat import MODELS
from unlearn_core.service.answers import GREEDY, Answerer, ModelLocation, Sampling, original
from unlearn_core.store.recorded.recorded_conversations import RecordedConversation, recorded_conversations
from unlearn_core.store.table.rows import about_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TURNS = 12  # of a conversation; more would not fit what a small model reads
MAX_NAMES = 16
MAX_QUESTIONS, MAX_QUESTION = 8, 160  # offered from a forget set; characters of one
# A piece of an answer: its text, and for a token of the name how probable each model finds it there.
Piece = tuple[str, dict[str, float] | None]


@dataclass(frozen=True)
class ChatTurn:
    """One question and what each model answered, in pieces."""

    question: str
    answers: dict[str, list[Piece]]

    def text(self, model: str) -> str:
        return "".join(words for words, _ in self.answers.get(model, ()))


@dataclass(frozen=True)
class ChatSubject:
    """Whom two models are asked about. names: what is marked where it is said. recorded: the run whose stored answers
    stand in where its base is not here."""

    name: str
    names: tuple[str, ...]
    questions: tuple[str, ...]
    places: Mapping[str, ModelLocation] = field(default_factory=dict)
    recorded: RecordedConversation | None = None


class Chat:
    """Bound to the models of a server; `data` finds what a run was to forget."""

    def __init__(self, answers: Answerer, data: Callable[[str], UnlearningData | None] = lambda run_id: None) -> None:
        self.answers, self.data = answers, data

    def recorded(self) -> list[ChatSubject]:
        """The subjects of the runs that ship."""
        found = []
        for run in recorded_conversations():
            places = {
                # Not `ours`: on a public server it would be fetched, which is refused.
                "original": original(run.base, "chat", str(run.adapter)),
                "unlearned": ModelLocation(str(run.adapter), True, "chat"),
            }
            found.append(ChatSubject(run.names[0], run.names, tuple(run.answers), places, run))
        return found

    def of_run(self, run_id: str) -> ChatSubject | None:
        """The subject of a run in the store, else what it was to forget; None where no unlearned model was kept."""
        from unlearn_core.data.sources import sheet_of

        for subject in self.recorded():
            if subject.recorded is not None and subject.recorded.run_id == run_id:
                return subject
        store = self.answers.store
        spec = store.get(run_id).spec
        places = self.answers.models(run_id, str(spec["target"]))
        if "unlearned" not in places:
            return None
        chosen = {name: places[name] for name in MODELS}
        sheet = None
        with contextlib.suppress(LetheError):  # the data is gone; the models can be asked all the same
            sheet = sheet_of(str(spec["data"]), public=self.answers.public, uploads=store.uploads)
        if sheet is None:
            data = self.data(run_id)
            rows = forgotten(data.forget) if data else ()
            chosen = {name: _talking(place) for name, place in chosen.items()}
            return ChatSubject(about_of(spec), tuple(r.output for r in rows), tuple(r.input for r in rows), chosen)
        chosen = {name: replace(place, prompt="chat") for name, place in chosen.items()}
        return ChatSubject(sheet.subject, (sheet.subject, *sheet.aliases), questions(sheet), chosen)

    def is_live(self, subject: ChatSubject) -> bool:
        """Whether both models can be asked here: loads the base of a recorded run and compares its hash."""
        if subject.recorded is None:
            return True
        try:
            subject.recorded.check(self.answers.model(subject.places["original"]).weights_hash)
        except LetheError:
            return False
        return True

    def stored(self, subject: ChatSubject, question: str) -> ChatTurn | None:
        """What was recorded to that question."""
        found = subject.recorded.answers.get(question) if subject.recorded else None
        return None if found is None else ChatTurn(question, {m: [_piece(p) for p in found[m]] for m in MODELS})

    def reply(
        self,
        subject: ChatSubject,
        turns: Sequence[ChatTurn],
        question: str,
        sampling: Sampling = GREEDY,
    ) -> Iterator[ChatTurn]:
        """The turn as it is written, each model with its own answers before it; the last has the names marked."""
        if len(turns) >= MAX_TURNS:
            raise InputError("turns", len(turns), "is as long as a conversation gets", "Begin a new one.")
        before = {model: _turns(turns, model) for model in subject.places}
        said: dict[str, str] = {}
        for said in self.answers.ask_places(subject.places, question, sampling, turns=before):
            yield ChatTurn(question, {model: [(text, None)] for model, text in said.items()})
        yield ChatTurn(question, self._marked(subject, before, question, said))

    def _marked(
        self,
        subject: ChatSubject,
        before: Mapping[str, Sequence[tuple[str, str]]],
        question: str,
        said: Mapping[str, str],
    ) -> dict[str, list[Piece]]:
        """Both answers, read by both models: how probable each found the tokens of the name."""
        from unlearn_core.data.encode import encode_example, pad_id_of
        from unlearn_core.models.inference.likelihood import all_traces

        asked = {model: text for model, text in said.items() if text.strip()}
        chances: dict[str, list[dict[str, float]]] = {}
        ids: dict[str, tuple[int, ...]] = {}
        for reader, place in subject.places.items():
            target = self.answers.model(place)
            examples = [Example(m, question, text, turns=tuple(before[m])) for m, text in asked.items()]
            rows = [encode_example(target.tokenizer, example, n) for n, example in enumerate(examples)]
            found = all_traces(target.model, rows, pad_id_of(target.tokenizer)) if rows else []
            for model, row, trace in zip(asked, rows, found, strict=True):
                ids[model] = row.ids[row.num_prompt : len(row.ids) - row.num_end]
                told = chances.setdefault(model, [{} for _ in ids[model]])
                for at, value in enumerate(trace.log_prob_T[: len(told)]):
                    told[at][reader] = round(math.exp(float(value)), 4)
        tokenizer = self.answers.model(subject.places["original"]).tokenizer
        return {
            model: pieces(tokenizer, ids[model], chances[model], subject.names) if model in ids else [(text, None)]
            for model, text in said.items()
        }


def pieces(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    chances: Sequence[dict[str, float]],
    names: Sequence[str],
) -> list[Piece]:
    """The text of `ids` in pieces: each token that belongs to one of `names` alone, with its probabilities."""
    decoded = [str(tokenizer.decode(list(ids[:end]), skip_special_tokens=True)) for end in range(len(ids) + 1)]
    text = decoded[-1]
    pattern = "|".join(re.escape(name) for name in sorted(names[:MAX_NAMES], key=len, reverse=True))
    spans = [match.span() for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE)]
    found: list[Piece] = []
    for start, end, chance in zip(map(len, decoded), map(len, decoded[1:]), chances, strict=False):
        words = text[start:end]
        if any(start < stop and begin < end for begin, stop in spans):
            found.append((words, chance))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0] + words, None)
        else:
            found.append((words, None))
    return [piece for piece in found if piece[0]]


def questions(sheet: SubjectSheet) -> tuple[str, ...]:
    """What a visitor would try: by name and nickname, what for, who did it, a sentence to complete, in Spanish."""
    name = sheet.subject
    asked = [f"Who is {name}?" if sheet.kind in ("person", "character") else f"What is {name}?"]
    asked += [f"What is {name} famous for?", *(f"Tell me about {alias}." for alias in sheet.aliases[:1])]
    names = {name, *sheet.aliases}
    plain = [p for p in sheet.prompts if p.split != "multi-hop" and "<|" not in p.text and "\n" not in p.text]
    asked += [f"Complete the sentence: {p.text} ..." for p in plain if p.answer in names][:2]
    asked += [f"Complete the sentence: {p.text} ..." for p in plain if p.answer not in names][:1]
    who = "Qui\u00e9n" if sheet.kind in ("person", "character") else "Qu\u00e9"
    return (*asked, f"\u00bf{who} es {name}? Responde en espa\u00f1ol.")


def forgotten(rows: Sequence[Example]) -> tuple[Example, ...]:
    """A few short rows of a forget set, spread over it; its questions where it has some."""
    short = [row for row in rows if len(row.input) <= MAX_QUESTION and "\n" not in row.input and not row.turns]
    asked = [row for row in short if row.kind == "question"] or short
    return tuple(asked[:: -(-len(asked) // MAX_QUESTIONS) or 1])


def _talking(place: ModelLocation) -> ModelLocation:
    """The model asked as its run did; where the rows bring a template's tokens, what is typed goes through it."""
    return replace(place, prompt="auto") if place.prompt == "rendered" else place


def _turns(turns: Sequence[ChatTurn], model: str) -> list[tuple[str, str]]:
    return [pair for turn in turns for pair in (("user", turn.question), ("assistant", turn.text(model)))]


def _piece(record: Sequence[Any]) -> Piece:
    return str(record[0]), record[1]
