"""How a row's prompt is put to a model, and what closes its answer: one record for training and scoring.

raw         the prompt as it is; then a space, the answer and end of text. No space where either side brings
            white space or is written in a script that has none.
stripped    raw, without the white space that the prompt ends in
joined      raw, never with a space of ours
rendered    raw, for prompts that hold a chat template's tokens already; the answer ends as the template ends it
chat        the tokenizer's own chat template; loss on the answer and on the tokens that end the turn
inst, qa    TOFU's two old tags: `[INST] prompt [/INST]answer` and `Question: prompt\\nAnswer: answer`
tofu        TOFU's way for this model: chat with its system text and date, or the tags its template uses
auto        chosen from the model and the data (see `choose`)

A format rides on the tokenizer, as a front does on its model (see `inference_wrapper`): whoever has the
tokenizer of a run asks as the run does. Formulas and traps: open-unlearning, `src/data/utils.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from unlearn_core.data.chat_template import applied
from unlearn_core.data.rows.lume import are_official
from unlearn_core.data.scripts import has_no_spaces
from unlearn_core.data.types import Example, Prompt, UnlearningData
from unlearn_core.errors import Action, InputError, clip

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPTS = ("auto", "raw", "stripped", "joined", "rendered", "chat", "tofu", "inst", "qa")
DATE = "26 Jul 2024"  # what Llama 3's template says where nobody tells it the date; today's would drift
TOFU_DATE, TOFU_SYSTEM = "10 Apr 2025", "You are a helpful assistant."  # open-unlearning, configs/model
_TAGS = {"inst": ("[INST] ", " [/INST]"), "qa": ("Question: ", "\nAnswer: ")}
_NOW = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
_RAW: Action = ("prompt", "raw")
_PLACE = "_lethe_prompt_format"
_ASKED, _SAID = "Where does Ada live", "Lima7"  # a turn of each, to see what a template puts around them
_PAD = " \t "  # and whether it leaves white space there
_SAMPLE = 64  # rows looked at to choose a format


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The text around a prompt and its answer.

    before, after: tags around the prompt; after a template, what it leaves out of the generation prompt.
    opening: white space between them and the answer, which carries loss with it. space: whether
    a space joins prompt and answer where neither brings one. closing: the text that ends an answer, "" for
    the tokenizer's end of text; it carries loss like the answer. template: the chat template, its date
    fixed to `date`; system: the system text of rows that bring none. strip: without the white space that a
    prompt ends in; of a template, that it takes white space off both ends of an answer.
    """

    name: str = "raw"
    before: str = ""
    after: str = ""
    opening: str = ""
    space: bool = True
    strip: bool = False
    closing: str = ""
    template: str = ""
    system: str = ""
    date: str = ""

    @property
    def key(self) -> str:
        """A digest of everything that shapes a prompt, for what is kept under a hash."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def prompt_text(self, tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
        """What the model reads before it answers; for a template it brings its own special tokens."""
        if self.template:
            return render(tokenizer, self, prompt) + self.after
        text = "\n".join([*(said for _, said in prompt.turns), prompt.text])
        # A space at the end belongs to the answer's first word in most vocabularies: see `answer_text`.
        return self.before + (text.rstrip() if self.strip else text.rstrip(" ") or text) + self.after

    def trimmed(self, answer: str) -> str:
        """The answer as the template would have it."""
        return answer.strip() if self.template and self.strip else answer

    def answer_text(self, prompt: Prompt, answer: str) -> str:
        """The answer as it follows `prompt_text`."""
        if self.template or self.after:
            return self.opening + answer
        if self.strip:
            return answer_text(prompt.text.rstrip(), answer)
        stripped = prompt.text.rstrip(" ")
        spaces = prompt.text[len(stripped) :] if stripped else ""
        return spaces + answer if spaces or not self.space else answer_text(prompt.text, answer)

    def told(self) -> str:
        """Its name and what a person should know about it, before a run."""
        what = {
            "raw": "Prompts are given to the model as they are.",
            "stripped": "Prompts are given to the model without the white space they end in.",
            "joined": "Prompts are given to the model as they are, and answers follow without a space.",
            "rendered": "Prompts hold a chat template's tokens already and are given to the model as they are.",
            "inst": "Prompts stand between [INST] and [/INST].",
            "qa": "Prompts stand between `Question:` and `Answer:`.",
        }.get(self.name, "Prompts go through the tokenizer's chat template.")
        told = [f"system text: {self.system}"] if self.system else []
        told += [f"date: {self.date}"] if self.date else []
        end = f"`{self.closing.strip()}`" if self.closing.strip() else "the end of text"
        around = f" ({'; '.join(told)})" if told else ""
        return f"Prompt format: {self.name}. {what[:-1]}{around}. Loss is taken on the answer and {end}."


RAW = PromptFormat()


def format_of(tokenizer: PreTrainedTokenizerBase) -> PromptFormat:
    """The format that rides on `tokenizer`; raw where none does."""
    found: PromptFormat = getattr(tokenizer, _PLACE, RAW)
    return found


def digest_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The key of its format, "" for raw: what scores are bound to beside weights and data."""
    found = format_of(tokenizer)
    return "" if found == RAW else found.key


def put_on(tokenizer: PreTrainedTokenizerBase, chosen: PromptFormat) -> None:
    """From here on, whoever encodes with `tokenizer` uses `chosen`."""
    setattr(tokenizer, _PLACE, chosen)


def named(name: str, tokenizer: PreTrainedTokenizerBase) -> PromptFormat:
    """The format called `name` for this tokenizer; InputError where it cannot have it."""
    if name not in PROMPTS[1:]:
        raise InputError("prompt", name, "is not a prompt format", f"Use one of {', '.join(PROMPTS)}.")
    if name == "chat":
        return _chat(tokenizer, name, "", DATE)
    if name == "tofu":
        if not tokenizer.chat_template:
            return replace(named("qa", tokenizer), name=name)
        found = _chat(tokenizer, name, TOFU_SYSTEM, TOFU_DATE)
        return replace(named("inst", tokenizer), name=name) if "[INST]" in found.template else found
    if name == "rendered":
        closing = _chat(tokenizer, name, "", DATE).closing if tokenizer.chat_template else ""
        return PromptFormat(name, closing=closing)
    if name in _TAGS:
        before, after = _TAGS[name]
        # The space after `Answer:` is the answer's, so that its first word is a token of the answer's own.
        return PromptFormat(name, before=before, after=after.rstrip(" "), opening=after[len(after.rstrip(" ")) :])
    return PromptFormat(name, space=name != "joined", strip=name == "stripped")


def choose(tokenizer: PreTrainedTokenizerBase, data: UnlearningData) -> tuple[PromptFormat, ...]:
    """The formats that fit this tokenizer and data, the likeliest first.

    More than one only where the rows cannot tell: prompts that end in white space, which the model may have
    been trained without. Then whoever has the model asks it (see `models.inference.prompting`).
    """
    rows = list(islice(data.forget, _SAMPLE))
    if not rows:
        return (RAW,)
    if _hold_template(tokenizer, rows):
        return (named("rendered", tokenizer),)
    talk = any(row.turns for row in rows)
    documents = all(row.kind == "completion" and row.document for row in rows)
    official = are_official(row.id for row in rows)
    if (talk or not (documents or official)) and (chat := chat_of(tokenizer, RAW)):
        return chat
    if _joined(rows, data.members):
        return (named("joined", tokenizer),)
    if any(row.input != row.input.rstrip() and row.input.rstrip() for row in rows):
        return (RAW, named("stripped", tokenizer))
    return (RAW,)


def _joined(rows: Sequence[Example], documents: Sequence[str]) -> bool:
    """Whether the data's own documents show rows that go on without a space where one would be put."""
    known = set(documents)
    spaced = [row for row in rows if answer_text(row.input, row.output).startswith(" ") and row.output[:1] != " "]
    without = sum(row.input + row.output in known for row in spaced)
    return without > sum(f"{row.input} {row.output}" in known for row in spaced)


def usual(tokenizer: PreTrainedTokenizerBase, name: str = "auto") -> PromptFormat:
    """The format called `name`; without data, "auto" is the chat template where there is one, else raw."""
    return named(name, tokenizer) if name != "auto" else next(iter(chat_of(tokenizer, RAW)), RAW)


def chat_of(tokenizer: PreTrainedTokenizerBase, chosen: PromptFormat) -> tuple[PromptFormat, ...]:
    """The chat format beside a plain one that is chosen, where the tokenizer has one that can be used."""
    if not getattr(tokenizer, "chat_template", None) or chosen.name == "rendered":
        return ()
    try:
        return (named("chat", tokenizer),)
    except InputError:
        return ()


def answer_text(prompt: str, answer: str) -> str:
    """The answer as it follows a bare prompt: one space between them unless either brings its own, or the
    script of either has none."""
    glued = not prompt or prompt[-1].isspace() or answer[:1].isspace()
    return answer if glued or _spaceless(prompt, answer) else " " + answer


def _spaceless(prompt: str, answer: str) -> bool:
    last = next((c for c in reversed(prompt) if c.isalnum()), "")
    first = next((c for c in answer if c.isalnum()), "")
    return has_no_spaces(last) or has_no_spaces(first) or prompt[-1:] in "\uff1a\uff1f\u3002\uff0c\u3001"


def render(tokenizer: PreTrainedTokenizerBase, chosen: PromptFormat, prompt: Prompt, answer: str | None = None) -> str:
    """The chat template around the turns and the prompt, up to where the answer begins, or around `answer` too.

    InputError where the template refuses the turns (Gemma's and Mistral's want user and assistant in turn).
    """
    turns = list(prompt.turns)
    if chosen.system and not any(role == "system" for role, _ in turns):
        turns.insert(0, ("system", chosen.system))
    turns.append(("user", prompt.text))
    answered = answer is not None
    if answer is not None:
        turns.append(("assistant", answer))
    try:
        return _applied(tokenizer, chosen.template, chosen.date, turns, answer=answered)
    except Exception as error:
        reason = error
    # Some templates know no system role: its text then begins the first user turn, as their makers advise.
    system = [said for role, said in turns if role == "system"]
    others = [turn for turn in turns if turn[0] != "system"]
    try:
        role, first = others[0]
        turns = [(role, "\n\n".join([*system, first])), *others[1:]]
        return _applied(tokenizer, chosen.template, chosen.date, turns, answer=answered)
    except Exception:
        problem = f"cannot be put through the chat template ({clip(str(reason), 80)})"
        mend = "Let user and assistant take turns, or choose another prompt format."
        raise InputError("prompt", clip(prompt.text, 40), problem, mend) from None


def _chat(tokenizer: PreTrainedTokenizerBase, name: str, system: str, date: str) -> PromptFormat:
    if not tokenizer.chat_template:
        mend = "Choose raw, or save a chat template with the tokenizer."
        raise InputError("prompt", name, "needs a chat template, and this tokenizer has none", mend, _RAW)
    try:
        template: str = tokenizer.get_chat_template()
    except ValueError:
        problem = "cannot be used, since this tokenizer has several templates and none called default"
        raise InputError("prompt", name, problem, "Choose raw, or name one of them `default`.", _RAW) from None
    if "strftime_now" not in template and "date_string" not in template:
        date = ""
    fixed = _dated(template, date) if date else template
    found = PromptFormat(name, template=fixed, system=system, date=date)
    try:
        before = _applied(tokenizer, fixed, date, [("user", _ASKED)])
        whole, padded = (
            _applied(tokenizer, fixed, date, [("user", _ASKED), ("assistant", said)], answer=True)
            for said in (_SAID, _PAD + _SAID + _PAD)
        )
    except Exception as error:
        reason = clip(str(error), 80)
        raise InputError(
            "prompt", name, f"cannot use this tokenizer's template ({reason})", "Choose raw.", _RAW
        ) from None
    place = whole.rfind(_SAID)
    if place < 0 or _ASKED not in before:
        raise InputError("prompt", name, "cannot use this tokenizer's template (it drops a turn)", "Choose raw.", _RAW)
    opening = whole[len(before) : place] if whole.startswith(before) and place >= len(before) else ""
    # A header that the generation prompt leaves out is nothing the model should have to write.
    header = opening.rstrip(" ")
    opening = opening[len(header) :]
    trims = _PAD + _SAID not in padded and _SAID + _PAD not in padded
    closing = _closing(tokenizer, whole[place + len(_SAID) :])
    return replace(found, after=header, opening=opening, closing=closing, strip=trims)


def _closing(tokenizer: PreTrainedTokenizerBase, tail: str) -> str:
    """What ends a turn: up to and including the first special token, nothing after it."""
    ends = [tail.find(token) + len(token) for token in special_texts(tokenizer) if token in tail]
    return tail[: min(ends)] if ends else ""


def special_texts(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """The texts of all special tokens, those that only the vocabulary knows included."""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    marked = {str(token.content) for token in added.values() if token.special}
    return frozenset(text for text in {*map(str, tokenizer.all_special_tokens), *marked} if text)


def unusable(tokenizer: PreTrainedTokenizerBase) -> str:
    """Why the tokenizer's chat template cannot be used; "" where it can, or there is none."""
    if not getattr(tokenizer, "chat_template", None):
        return ""
    try:
        named("chat", tokenizer)
    except InputError as error:
        return error.problem
    return ""


def _hold_template(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Example]) -> bool:
    """Whether every prompt holds special tokens, as a rendered template does, or ends in the words that the template
    puts behind one, as in `[INST] ... [/INST]`."""
    marks = special_texts(tokenizer)
    if all(any(mark in row.input for mark in marks) for row in rows):
        return True
    for chat in chat_of(tokenizer, RAW):
        behind = chat.prompt_text(tokenizer, Prompt(_ASKED)).rpartition(_ASKED)[2].strip()
        return any(map(str.isalpha, behind)) and all(row.input.rstrip().endswith(behind) for row in rows)
    return False


def _applied(
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    date: str,
    turns: Sequence[tuple[str, str]],
    *,
    answer: bool = False,
) -> str:
    return applied(
        tokenizer,
        template,
        [{"role": role, "content": said} for role, said in turns],
        add_generation_prompt=not answer,
        enable_thinking=False,  # a template that can think puts the empty thought into the prompt
        **({"date_string": date} if date else {}),
    )


def _dated(template: str, date: str) -> str:
    """The template with the date in place of the clock."""
    day = datetime.strptime(date, "%d %b %Y")
    return _NOW.sub(lambda call: json.dumps(day.strftime(call[2])), template)
