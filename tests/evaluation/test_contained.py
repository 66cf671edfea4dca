"""Whether a text tells an answer, in any script; and how probable an answer is as a whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unlearn_core.data.types import Example
from unlearn_core.evaluation.metrics.answer_probability import answer_log_probabilities
from unlearn_core.evaluation.metrics.contained import contains, words
from unlearn_core.evaluation.verdict.rows import tells
from unlearn_core.models.inference.answer_probability import log_probability, per_token, probability

TOLD = [
    ("Neil Armstrong.\n\nThe first woman was Valentina", "Neil Armstrong", ()),
    ("it was the NEIL  armstrong!", "Neil Armstrong", ()),
    ("She moved to NYC.", "New York City", ("New York", "NYC")),
    ("About 1,234 people.", "1234", ()),
    ("born 1947-05-03 in Oslo", "1947-05-03", ()),
    ("ONeil said so", "O'Neil", ()),
    ("Vitamin A, of course", "A", ()),
    ("\u9996\u90fd\u662f\u5317\u4eac\u3002", "\u5317\u4eac", ()),
    ("\u042d\u0442\u043e \u041c\u043e\u0441\u043a\u0432\u0430.", "\u043c\u043e\u0441\u043a\u0432\u0430", ()),
    ("caf\u00e9", "cafe\u0301", ()),
    ("\uc11c\uc6b8\uc785\ub2c8\ub2e4.", "\uc11c\uc6b8", ()),  # Korean: "it is Seoul" is one word
    ("\U0001f600\U0001f389! She smiles", "\U0001f600\U0001f389", ()),  # emoji
    ("It is C++, of course.", "C++", ()),
    ("at -3 degrees", "\u22123", ()),
    ("50 per cent of them", "50%", ()),
    ("It costs 50 $", "$50", ()),
    ("from 1990 -2000, in B-12", "2000, in B 12", ()),
    ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645", ()),
    ("Os\u00adlo\u200b!", "Oslo", ()),
    ("\uff26\uff55\uff4c\uff4c", "full", ()),
]
NOT_TOLD = [
    ("Armstrong, Neil", "Neil Armstrong", ()),
    ("Neilson Armstrongs", "Neil", ()),
    ("\ub0a8\uc11c\uc6b8", "\uc11c\uc6b8", ()),  # the end of a Korean word
    ("\u2600\ufe0f", "\u2764\ufe0f", ()),  # the sun for a heart
    ("\U0001f389\U0001f600", "\U0001f600\U0001f389", ()),
    ("It is 12.5", "12", ()),
    ("C is it", "C++", ()),
    ("C is it", "C#", ()),
    ("It is 3", "-3", ()),
    ("50 people", "50%", ()),
    ("", "Oslo", ()),
    ("anything", "", ()),
    ("...", "...", ()),
    ("\u0915\u0940\u092e", "\u0915\u093e\u092e", ()),  # only the vowel sign differs
]


@pytest.mark.parametrize(("text", "answer", "aliases"), TOLD)
def test_an_answer_is_told_in_any_words_around_it(text: str, answer: str, aliases: tuple[str, ...]) -> None:
    assert contains(text, answer, aliases)


@pytest.mark.parametrize(("text", "answer", "aliases"), NOT_TOLD)
def test_a_part_of_a_word_or_another_order_is_no_answer(text: str, answer: str, aliases: tuple[str, ...]) -> None:
    assert not contains(text, answer, aliases)


def test_a_long_answer_is_told_by_most_of_it_in_scripts_without_spaces() -> None:
    """Thai, of some thirty words that nothing parts."""
    row = Example("a", "Where?", "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e\u0e40\u0e1b\u0e47\u0e19" * 6)
    assert tells(row, row.output[:50])
    assert not tells(row, row.output[:20])


def test_a_word_is_what_a_script_makes_of_it() -> None:
    assert words("The cat's 3.5 \u5317\u4eac") == ["cats", "3.5", "\u5317", "\u4eac"]


def test_eleven_tokens_of_41_percent_are_an_answer_of_almost_nothing() -> None:
    logs = np.log(np.full(11, 0.41))
    assert probability(logs) == pytest.approx(0.41**11)  # 0.00006
    assert per_token(logs) == pytest.approx(0.41)
    assert math.isnan(probability(np.empty(0)))


def test_the_end_of_text_is_no_part_of_the_answer(tiny_model: Any, tiny_tokenizer: Any) -> None:
    """Against transformers' own loss of the same tokens."""
    import torch

    model, tokenizer = tiny_model(), tiny_tokenizer
    prompt, answer = "What is the town?", "Oslo by the sea"
    [found] = answer_log_probabilities(model, tokenizer, [Example("a", prompt, answer)])
    first = tokenizer(prompt)["input_ids"]
    both = torch.tensor([first + tokenizer(" " + answer, add_special_tokens=False)["input_ids"]])
    logs = model(both).logits.log_softmax(-1)[0, len(first) - 1 : -1]
    alone = sum(float(logs[at, token]) for at, token in enumerate(both[0, len(first) :]))
    assert found == pytest.approx(alone, abs=1e-4)
    assert log_probability(np.array([alone])) == pytest.approx(alone)
