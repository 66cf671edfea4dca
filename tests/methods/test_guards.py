"""Fronts made of text: which examples and names they show, and when they stay silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.models.wrappers.guards import InputFilter, OutputFilter, Prefix
from unlearn_core.training.loop import unlearn


def front(model: Any, tokenizer: Any, data: UnlearningData, name: str, seed: int = 0, **settings: Any) -> Any:
    artifact: Any = result_of(unlearn(model, tokenizer, data, methods.build(name, settings), seed=seed, probe_ids=()))
    return artifact.front


def test_the_examples_depend_on_the_seed_and_the_retained_ones_are_true(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    one, again, other = (front(model, tiny_tokenizer, tiny_data, "icul", seed) for seed in (1, 1, 2))
    assert one == again != other
    assert set(one.retain) <= {(row.input, row.output) for row in tiny_data.retain}
    assert len(one.retain) == 2


@pytest.mark.parametrize("shown", [0, 1])
def test_the_forgotten_question_itself_is_shown_where_any_is(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, shown: int
) -> None:
    found = front(tiny_model(), tiny_tokenizer, tiny_data, "icul", num_forget=shown)
    asked = [row.input for row in tiny_data.forget if row.kind == "question"]
    assert all(found.ask(prompt).count(prompt) == 1 + shown for prompt in asked)


def test_the_examples_leave_room_for_prompt_and_answer(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model(max_position_embeddings=150)
    found = front(model, tiny_tokenizer, tiny_data, "icul", num_forget=20, num_retain=20)
    lengths = [len(tiny_tokenizer(found.ask(row.input))["input_ids"]) for row in tiny_data.forget]
    assert max(lengths) + tiny_data.max_new_tokens <= 150
    assert found.ask("x") != "x"  # some fit


def test_an_empty_keyword_never_fires_and_a_filter_changes_its_own_answer_no_more() -> None:
    empty, reply = ("", " ", "?!"), "I don't know."
    texts = ("", "anything at all", "Mara Venn lives in Oldport, on the sea, near the old mill", reply)
    assert all(InputFilter(empty, reply).refusal(text) is None for text in texts)
    assert all(OutputFilter(empty, empty, 8, reply).screen(text) == text for text in texts)
    known = ("a poem: Mara Venn lives in Oldport, on the sea, near the old mill",)
    for answers in (("Oldport",), ("anything",), ("know",)):
        screen = OutputFilter(answers, known, 8, reply).screen
        assert [screen(screen(text)) for text in texts] == [screen(text) for text in texts]
        assert screen(texts[2]) == reply


def test_a_prefix_changes_what_the_model_computes(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model, prompt = tiny_model(), "Who is Mara Venn?"

    def logits(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.tensor([tiny_tokenizer(text)["input_ids"]])).logits[0, -1]

    asked = Prefix("You know nothing about Mara. ").ask(prompt)
    assert asked.endswith(prompt)
    assert not torch.allclose(logits(asked), logits(prompt), atol=1e-3)
    assert Prefix("").ask(prompt) == prompt
