"""What generation_config.json asks is honoured in a batch as `model.generate` honours it, a prompt at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unlearn_core.models.generation.decoding import needs_own_loop, words_on
from unlearn_core.models.generation.generate import end_ids, generate_all, stream

PROMPTS = (
    "Who is Mara Venn?",
    "x",
    "What is the phone number of Tomas Reed, and where was he born?",
    "Oldport Oldport Oldport",
)
ARCHITECTURES = (("llama", {"num_key_value_heads": 2}), ("olmo2", {}), ("qwen2", {}), ("gpt2", {}))
ASKED: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.3},
    "suppressed": {"suppress_tokens": list(range(40, 90)), "begin_suppress_tokens": list(range(100, 200))},
    "banned": {"bad_words_ids": [[45], [50, 51]], "sequence_bias": [[[60], 2.0]]},
    "forced": {"forced_bos_token_id": 70, "forced_eos_token_id": 0},
    "lengths": {"min_new_tokens": 6, "exponential_decay_length_penalty": (3, 1.5), "eos_token_id": [0, 44, 45, 46]},
    "all": {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "suppress_tokens": [40], "min_new_tokens": 3},
}
LENGTH = 12


def as_it_is(model: Any, tokenizer: Any, prompt: str) -> str:
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    settings = {"max_new_tokens": LENGTH, "do_sample": False, "pad_token_id": 1}
    ends = sorted(end_ids(model, tokenizer))
    written = model.generate(ids, attention_mask=torch.ones_like(ids), eos_token_id=ends, **settings)
    text = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    return str(tokenizer.clean_up_tokenization(text))


@pytest.mark.parametrize(("arch", "settings"), ARCHITECTURES)
def test_batches_honour_the_configuration(arch: str, settings: Any, tiny_model: Any, tiny_tokenizer: Any) -> None:
    model = tiny_model(arch, **settings)
    plain = generate_all(model, tiny_tokenizer, PROMPTS, LENGTH)
    before = model.generation_config.to_dict()
    changed = []
    for name, asked in ASKED.items():
        model.generation_config.update(**asked)
        expected = [as_it_is(model, tiny_tokenizer, prompt) for prompt in PROMPTS]
        assert generate_all(model, tiny_tokenizer, PROMPTS, LENGTH) == expected, name
        streamed = [list(stream(model, tiny_tokenizer, prompt, LENGTH)) for prompt in PROMPTS[:2]]
        whole = [text.rstrip("\N{REPLACEMENT CHARACTER}") for text in expected[:2]]  # half a character is not shown
        assert [texts[-1] if texts else "" for texts in streamed] == whole, name
        assert all(key in words_on(model) for key in asked if key != "eos_token_id")
        changed.append(expected != plain)
        model.generation_config.update(**{key: before.get(key) for key in asked})
    assert sum(changed) > 3  # the settings do matter
    assert generate_all(model, tiny_tokenizer, PROMPTS, LENGTH) == plain
    assert words_on(model) == ""


@pytest.mark.parametrize("asked", [{"num_beams": 3}, {"stop_strings": ["e"]}])
def test_another_search_is_left_to_the_model(asked: dict[str, Any], tiny_model: Any, tiny_tokenizer: Any) -> None:
    model = tiny_model("llama")
    model.generation_config.update(**asked)
    assert needs_own_loop(model)
    ids = torch.tensor([tiny_tokenizer(PROMPTS[0])["input_ids"]])
    written = model.generate(
        ids, max_new_tokens=LENGTH, do_sample=False, pad_token_id=1, eos_token_id=0, tokenizer=tiny_tokenizer
    )
    expected = tiny_tokenizer.clean_up_tokenization(tiny_tokenizer.decode(written[0, ids.shape[1] :], True))
    assert generate_all(model, tiny_tokenizer, PROMPTS[:1], LENGTH) == [expected]
    assert list(stream(model, tiny_tokenizer, PROMPTS[0], LENGTH)) == [expected]


def test_sampling_that_is_not_honoured_is_said(tiny_model: Any) -> None:
    model = tiny_model("llama")
    model.generation_config.update(do_sample=True, temperature=0.6)
    assert "answers are greedy" in words_on(model)


def test_a_limit_of_seconds_is_said_and_cuts_no_answer(tiny_model: Any, tiny_tokenizer: Any) -> None:
    model = tiny_model("llama")
    plain = generate_all(model, tiny_tokenizer, PROMPTS, LENGTH)
    for beside in ({}, {"num_beams": 1, "stop_strings": ["\0"]}):  # the second is written by `model.generate`
        model.generation_config.update(max_time=1e-9, **beside)
        assert "max_time of 1e-09 s is not honoured" in words_on(model)
        assert generate_all(model, tiny_tokenizer, PROMPTS, LENGTH) == plain
