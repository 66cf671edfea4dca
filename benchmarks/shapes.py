"""Models and data of the benchmark's shapes, made here: random weights, random words."""

from __future__ import annotations

import random
from typing import Any

import torch

from unlearn_core.data.types import Example, Question, UnlearningData
from unlearn_core.models.kernels import fuse
from unlearn_core.models.targets import best_device, default_dtype

# From the model cards (60m and tiny: our own): layers, hidden, heads, intermediate, tied head; vocabulary 50304.
SHAPES = {
    "olmo-1b": (16, 2048, 16, 8192, True),
    "olmo-7b": (32, 4096, 32, 11008, False),
    "olmo-60m": (8, 512, 8, 2048, True),
    "olmo-tiny": (2, 64, 4, 128, True),  # to try a command out
}
# The sizes of the whole benchmark, and the lengths of the public LUME rows in OLMo tokens.
NUM_PROMPTS, NUM_DOCUMENTS, NUM_QUESTIONS, NUM_SUBJECTS = 5466, 300, 14_042, 57
NUM_FORGET, NUM_EPOCHS = 1112, 10  # of the public rows; the organisers' baselines go through them ten times
COMPLETION_SHARE, DOCUMENT_TOKENS = 0.31, 210
COMPLETION_TOKENS, QUESTION_TOKENS = (130, 40), (13, 4)  # of prompt and answer


def random_olmo(shape: str) -> Any:
    """An OLMo of the given shape with random weights that never stops early; on a GPU in bfloat16, and made ready as
    one that is loaded."""
    from transformers import OlmoConfig, OlmoForCausalLM

    layers, hidden, heads, intermediate, tied = SHAPES[shape]
    config = OlmoConfig(
        vocab_size=50304,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        tie_word_embeddings=tied,
        max_position_embeddings=2048,
        eos_token_id=50279,
        pad_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    device = best_device()
    torch.set_default_dtype(default_dtype(device))
    try:
        with device:
            model: Any = OlmoForCausalLM._from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(torch.float32)
    fuse(model)
    return model.eval()


def lume_sized(tokenizer: Any, scale: float) -> UnlearningData:
    """Prompts, documents and five-shot questions as many and as long as the benchmark's, of random words."""
    rng = random.Random(0)
    words = [word for word in (tokenizer.decode([i]).strip() for i in range(300, len(tokenizer))) if word.isalpha()]

    def text(tokens: float) -> str:
        wanted = max(3, int(rng.gauss(tokens, tokens / 3)))
        return tokenizer.decode(tokenizer(" ".join(rng.choices(words, k=wanted)))["input_ids"][:wanted])

    def rows(count: int) -> tuple[Example, ...]:
        sizes = [COMPLETION_TOKENS if rng.random() < COMPLETION_SHARE else QUESTION_TOKENS for _ in range(count)]
        return tuple(
            Example(f"r{i}sc1", text(asked), text(told), kind="completion") for i, (asked, told) in enumerate(sizes)
        )

    def questions(count: int, subject: str) -> list[Question]:
        return [
            Question(f"{subject}{i}", text(60), (text(10), text(10), text(10), text(10)), i % 4, subject)
            for i in range(count)
        ]

    subjects = [f"subject_{i}" for i in range(max(1, int(NUM_SUBJECTS * scale)))]
    each = NUM_QUESTIONS // NUM_SUBJECTS
    half, documents = (max(1, int(count * scale) // 2) for count in (NUM_PROMPTS, NUM_DOCUMENTS))
    return UnlearningData(
        name="LUME-sized random text",
        forget=rows(half),
        retain=rows(half),
        members=tuple(text(DOCUMENT_TOKENS) for _ in range(documents)),
        nonmembers=tuple(text(DOCUMENT_TOKENS) for _ in range(documents)),
        questions=tuple(q for subject in subjects for q in questions(each, subject)),
        few_shot=tuple(q for subject in subjects for q in questions(5, subject)),
    )
