"""A rendered chat is read by its last question."""

from __future__ import annotations

import pytest

from unlearn_core.data.last_turn import last_turn

CHATML = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWho is Ada?<|im_end|>\n<|im_start|>assistant\n"
LLAMA = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWho is Ada?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        (CHATML, "Who is Ada?"),
        (f"{CHATML}Ada", "Who is Ada? … Ada"),
        (LLAMA, "Who is Ada?"),
        (f"{LLAMA}Ada is", "Who is Ada? … Ada is"),
        ("<start_of_turn>user\nWho is Ada?<end_of_turn>\n<start_of_turn>model\n", "Who is Ada?"),
        ("<s>[INST] Who is Ada? [/INST]", "Who is Ada?"),
        ("<s>[INST] Who is Ada? [/INST] Ada", "Who is Ada? … Ada"),
        ("Who is Ada?", "Who is Ada?"),
        ("a < b and b > a, user\n", "a < b and b > a, user\n"),
        ("<|im_start|>", "<|im_start|>"),
        ("", ""),
    ],
)
def test_the_last_question_and_what_is_begun(prompt: str, read: str) -> None:
    assert last_turn(prompt) == read
