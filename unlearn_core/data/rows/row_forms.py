"""What a row asks and answers, by the columns that people's files have.

messages / conversations             a talk: its last answer, asked with everything said before it
instruction, input, output           Alpaca: instruction and input, where that is not empty
context / passage, question, answer  the question behind its context
answers                              a list, of which the first is the answer and the others are as right
prompt, chosen, rejected             preferences: `rejected` is to be forgotten, `chosen` to be kept
system, history                      what was said before, beside any of these
text / document / content            a plain document: passages of it, each to be continued from its beginning

A mapping of columns overrules all of this: then only the columns it names are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearn_core.data.rows.reader import Row, parse_json
from unlearn_core.data.rows.texts import COLUMNS, answers, check_text, column_of, text
from unlearn_core.data.scripts import has_no_spaces
from unlearn_core.errors import InputError
from unlearn_core.system.json_text import holds_more

Turns = tuple[tuple[str, str], ...]

_TALKS = ("messages", "conversations", "conversation")
_CONTEXTS = ("context", "passage")
_SYSTEMS = ("system", "system_prompt")
_DOCUMENTS = ("text", "document", "content")
_ROLES = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "bot", "model", "chatgpt", "ai"), "assistant"),
    "developer": "system",
}
# Read elsewhere, or what a row is called; a column of this name is not told as unused.
_LABELS = frozenset(("id", "task", "split", "kind", "subject", "topic", "document", "paraphrases", "wrong", "turns"))
_TOFU = frozenset(("paraphrased_question", "paraphrased_answer", "perturbed_answer", "paraphrased_perturbed_answer"))
_IN_LISTS = frozenset((*_TALKS, "prompt", "completion", "chosen", "rejected", "history", "answers"))
_KNOWN = {*_TALKS, *_CONTEXTS, *_SYSTEMS, *_DOCUMENTS, *_TOFU, *_IN_LISTS, *COLUMNS["input"], *COLUMNS["output"]}
_KNOWN |= {"instruction", "choices", "options", "id", "split"}
_PASSAGE, _BEGINNING = 192, 32  # words of a document's passage, and of its part that is given
_UNSPACED_WORD = 2  # characters taken for a word where a script has no spaces
_LOOKED_AT = 200  # rows whose columns are looked at


@dataclass(frozen=True, slots=True)
class PromptWithContext:
    """A prompt with what was said before it and its answer, and the columns they came from."""

    input: str
    output: str
    turns: Turns = ()
    used: frozenset[str] = frozenset()
    passage: int | None = None  # of a document, from 1
    aliases: tuple[str, ...] = ()  # answers that are as right as `output`


def as_known(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with known columns named as they are here (`Question` is `question`), and with the talks and lists that
    a file without lists, such as CSV, holds as JSON; columns that the mapping names stay as they are."""
    mapped = frozenset(columns.values())
    fields = dict[str, Any]()
    for name, value in row.fields.items():
        known = name if name in mapped or name.lower() not in _KNOWN else name.lower()
        known = name if known != name and (known in row.fields or known in fields) else known
        fields[known] = _unpacked(row, known, value) if known in _IN_LISTS and name not in mapped else value
    return replace(row, fields=fields)


def _unpacked(row: Row, column: str, value: object) -> object:
    """The turns or the answers that a text holds as JSON, else the value itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        if holds_more(value.encode("utf-8"), row.limits.max_rows):
            return value
        found = parse_json(row.where, value, row.limits)
    except (InputError, UnicodeEncodeError):
        return value
    turns = isinstance(found, list) and all(isinstance(one, dict) and ("role" in one or "from" in one) for one in found)
    return found if turns or column in ("answers", "history") else value


def read_forms(row: Row, split: str, columns: Mapping[str, str]) -> Sequence[PromptWithContext]:
    """What the row asks and answers, one for each passage of a document; InputError where it is of no form."""
    if "input" in columns or "output" in columns:
        return (_plain(row, columns, {}),)
    given = {name: value for name, value in row.fields.items() if not _is_empty(value)}
    lists = next((name for name in (*_TALKS, "prompt") if isinstance(given.get(name), list)), None)
    answer = _answer_column(given, split)
    if lists is None and answer in ("chosen", "rejected") and isinstance(given[answer], list):
        alone = len(given[answer]) == 1 and "prompt" in given  # without its prompt
        asked = [{"role": "user", "content": given["prompt"]}] if alone else []
        form = _talk(row, answer, [*asked, *given[answer]], None)
        return (replace(form, used=form.used | {"prompt"}),)
    if lists is not None:
        rest = given.get(answer) if answer else None
        return (_talk(row, lists, [*given[lists], *(rest if isinstance(rest, list) else [])], answer),)
    if answer is None and not any(name in row.fields for name in ("input", "question", "prompt", "instruction")):
        column = columns.get("document") or next((name for name in _DOCUMENTS if name in given), None)
        if column is not None:
            passages = tuple(_passages(check_text(row, column, given.get(column)), column))
            return passages or row.fail(column, given[column], "is too short a document", "Give a few words.")
    return (_plain(row, dict(columns) | ({"output": answer} if answer else {}), given),)


def unused_columns(rows: Sequence[Row], split: str, columns: Mapping[str, str]) -> list[str]:
    """Columns with something in them of which nothing is read, by the first rows."""
    found: dict[str, None] = {}
    for row in rows[:_LOOKED_AT]:
        used = {
            *_LABELS,
            *_TOFU,
            *columns.values(),
            *(name for form in read_forms(row, split, columns) for name in form.used),
        }
        found |= {str(name): None for name, value in row.fields.items() if name not in used and not _is_empty(value)}
    return [name or "one without a name" for name in found]


def _is_empty(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def num_words(words: str) -> float:
    """Words of a text; two characters count as one where a script has no spaces."""
    unspaced = sum(map(has_no_spaces, words))
    return len(words.split()) if not unspaced else max(len(words.split()), unspaced / _UNSPACED_WORD)


def _answer_column(given: Mapping[str, object], split: str) -> str | None:
    """The column of preferences that holds the answer, where the row has no other."""
    names = COLUMNS["output"]
    if "rejected" in given and "chosen" in given and not any(name in given for name in names):
        return "rejected" if split == "forget" else "chosen"
    return next((name for name in names if name in given), None)


def _plain(row: Row, columns: Mapping[str, str], given: Mapping[str, Any]) -> PromptWithContext:
    """A prompt in one column or in several that belong together, and an answer in one."""
    named = column_of(row, "output", columns) or ""
    if given and _names_a_choice(given, row.fields.get(named)):
        row.fail(named, given[named], "names a choice by its place, not by its words", "Write the words.")
    output, *others = answers(row, columns)
    used, aliases = {named}, tuple(others)
    if not given:  # the columns were named
        return PromptWithContext(text(row, "input", columns), output, used=frozenset(used), aliases=aliases)
    parts = [name for name in (*_CONTEXTS, "instruction") if isinstance(given.get(name), str) and given[name].strip()]
    asked = column_of(row, "input", columns)
    if asked is not None and (asked in given or asked == "question" or not parts):  # an empty `input` is none
        parts.append(asked)
    if not parts:
        text(row, "input", columns)  # says what is missing
    turns: list[tuple[str, str]] = []
    for name in _SYSTEMS:
        if isinstance(given.get(name), str) and given[name].strip():
            turns.append(("system", check_text(row, name, given[name])))
            used.add(name)
    for turn in given.get("history", ()) if isinstance(given.get("history"), list) else ():
        if isinstance(turn, list | tuple) and len(turn) == 2:
            said = [check_text(row, "history", part) for part in turn]
            turns += [("user", said[0]), ("assistant", said[1])]
            used.add("history")
        elif isinstance(turn, dict):
            turns.append(_turn(row, "history", turn))
            used.add("history")
    prompt = "\n".join(check_text(row, name, row.fields[name]) for name in parts)
    used |= {*parts, *((asked,) if asked else ())}
    return PromptWithContext(prompt, output, tuple(turns), frozenset(used), aliases=aliases)


def _names_a_choice(given: Mapping[str, Any], answer: object) -> bool:
    """Whether the answer is a letter or a number beside a column of choices, of which a prompt would hold none."""
    choices = given.get("choices", given.get("options"))
    if not isinstance(choices, list | dict) or answer in (choices if isinstance(choices, list) else choices.values()):
        return False
    return isinstance(answer, int) or re.fullmatch(r"\W*(\d+|[A-Za-z])\W*", str(answer)) is not None


def _talk(row: Row, column: str, said: Sequence[object], answer: str | None) -> PromptWithContext:
    """The last answer of a talk; every turn before the question comes before it."""
    turns = [_turn(row, column, turn) for turn in said if not _is_empty_system(turn)]
    if isinstance(row.fields.get(answer or ""), str):
        turns.append(("assistant", check_text(row, answer or "", row.fields[answer or ""])))
    if not turns or turns[-1][0] != "assistant":
        row.fail(column, turns[-1][1] if turns else "", "does not end with an assistant's turn", "Add the answer.")
    if len(turns) < 2 or turns[-2][0] != "user":
        row.fail(column, turns[-1][1], "answers no user's turn", "Put the question before the answer.")
    system = [("system", row.fields[name]) for name in _SYSTEMS if isinstance(row.fields.get(name), str)]
    before = [turn for turn in system if turn[1].strip()] if turns[0][0] != "system" else []
    used = frozenset({column, *(_SYSTEMS if before else ()), *((answer,) if answer else ())})
    return PromptWithContext(turns[-2][1], turns[-1][1], (*before, *turns[:-2]), used)


def _is_empty_system(turn: object) -> bool:
    """A system text that says nothing, as many tools write one."""
    if not isinstance(turn, dict) or turn.get("role", turn.get("from")) not in ("system", "developer"):
        return False
    return _is_empty(turn.get("content", turn.get("value", turn.get("text"))))


def _turn(row: Row, column: str, turn: object) -> tuple[str, str]:
    if not isinstance(turn, dict):
        row.fail(column, "", "holds a turn that is not an object", 'Write {"role": "user", "content": "..."}.')
    role = turn.get("role", turn.get("from"))
    said = turn.get("content", turn.get("value", turn.get("text")))
    if isinstance(said, list):  # parts, of which the texts are read
        said = "\n".join(str(part.get("text", "")) for part in said if isinstance(part, dict) and part.get("text"))
    if not isinstance(role, str) or not role:
        row.fail(column, "", "holds a turn without a role", 'Write {"role": "user", "content": "..."}.')
    return _ROLES.get(role.lower(), role.lower()), check_text(row, column, said)


def _passages(document: str, column: str) -> Iterator[PromptWithContext]:
    """A document in passages of `_PASSAGE` words: each one's beginning, and what follows it."""
    ends = [match.end() for match in re.finditer(r"\S+", document)]
    if num_words(document) > 2 * len(ends):  # without spaces: by characters
        ends = list(range(_UNSPACED_WORD, len(document) + 1, _UNSPACED_WORD))
        ends[-1:] = [len(document)]
    used, start = frozenset((column,)), 0
    for number, first in enumerate(range(0, len(ends), _PASSAGE), start=1):
        part = ends[first : first + _PASSAGE]
        cut = part[max(1, min(_BEGINNING, len(part) // 3)) - 1]
        beginning, rest = document[start:cut], document[cut : part[-1]]
        start = part[-1]
        if beginning.strip() and rest.strip():
            yield PromptWithContext(beginning.lstrip(), rest, (), used, number)
