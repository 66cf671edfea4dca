"""Rows as open-unlearning puts them to a model, counted by hand, and texts against `model.generate` with its mask."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core.data.encode import encode_example
from unlearn_core.data.prompt_format import named, put_on
from unlearn_core.data.types import Example, Prompt
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols.base import OPEN_UNLEARNING
from unlearn_core.evaluation.protocols.terms.open_unlearning_rows import encode_theirs, their_prompt_ids
from unlearn_core.evaluation.protocols.terms.passes import AnswerReader

# Turns end in end of text and a line break, as ChatML's do.
TURNS = (
    "{% for m in messages %}{{ m.role + ':' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ROW = Example("1", "Who wrote it?", "Mara did")


@pytest.fixture
def tokenizer(tiny_tokenizer: Any) -> Any:
    """Without a padding token, so that end of text is the padding."""
    found = copy.deepcopy(tiny_tokenizer)
    found.pad_token = None
    found.chat_template = TURNS
    return found


def asked_in(tokenizer: Any, name: str) -> Any:
    put_on(tokenizer, named(name, tokenizer))
    return tokenizer


def test_the_space_of_a_tag_takes_the_first_word_s_loss(tokenizer: Any) -> None:
    asked_in(tokenizer, "qa")
    whole = tokenizer("Question: Who wrote it?\nAnswer: Mara did")["input_ids"]
    bare = tokenizer("Question: Who wrote it?\nAnswer:")["input_ids"]
    asked = tokenizer("Question: Who wrote it?\nAnswer: ")["input_ids"]
    assert len(asked) == len(bare) + 1
    theirs, ours = encode_theirs(tokenizer, ROW), encode_example(tokenizer, ROW)
    assert theirs.ids == ours.ids == (*whole, tokenizer.eos_token_id)
    assert (theirs.num_prompt, ours.num_prompt) == (len(asked), len(bare))
    assert their_prompt_ids(tokenizer, ROW.prompt) == asked


def test_what_stands_behind_a_turn_is_labelled_and_ended_again(tokenizer: Any) -> None:
    asked_in(tokenizer, "chat")
    end, line = tokenizer.eos_token_id, tokenizer("\n")["input_ids"]
    theirs, ours = encode_theirs(tokenizer, ROW), encode_example(tokenizer, ROW)
    said = tokenizer("Mara did")["input_ids"]
    assert list(ours.ids[ours.num_prompt :]) == [*said, end]
    assert list(theirs.ids[theirs.num_prompt :]) == [*said, end, *line, end]


def test_a_long_row_between_tags_is_cut_and_ended(tokenizer: Any) -> None:
    asked_in(tokenizer, "inst")
    long = Example("1", "Who?", "Mara did. " * 200)
    assert len(encode_theirs(tokenizer, long).ids) == 513
    assert encode_theirs(tokenizer, long).ids[-1] == tokenizer.eos_token_id


def test_formats_it_does_not_have_stay_ours(tokenizer: Any) -> None:
    asked_in(tokenizer, "raw")
    assert encode_theirs(tokenizer, ROW, 3) == encode_example(tokenizer, ROW, 3)


def test_texts_and_gradients_come_from_a_pass_that_hides_the_padding(
    tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    asked_in(tokenizer, "chat")
    model = tiny_model()
    reader = AnswerReader(model, tokenizer, OPEN_UNLEARNING)
    ids = torch.tensor([their_prompt_ids(tokenizer, Prompt(ROW.input))])
    mask = (ids != tokenizer.eos_token_id).long()
    assert mask.sum() < mask.numel()
    texts = []
    for seen in (mask, torch.ones_like(mask)):
        out = model.generate(ids, attention_mask=seen, max_new_tokens=8, do_sample=False, pad_token_id=0)
        texts.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    assert texts[0] != texts[1]
    assert result_of(reader.answer("texts", [ROW.prompt], 8)) == texts[:1]

    (row,) = reader.encode([ROW])
    whole = torch.tensor([row.ids])
    logits = model(whole, attention_mask=(whole != tokenizer.eos_token_id).long()).logits[0, row.num_prompt - 1 : -2]
    torch.nn.functional.cross_entropy(logits, whole[0, row.num_prompt : -1]).backward()
    expected = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).mean()
    model.zero_grad()
    (norm,) = result_of(reader.gradient_norms("gradients", [row]))
    assert norm == pytest.approx(float(expected), rel=1e-4)
