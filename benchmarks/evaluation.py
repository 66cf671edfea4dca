"""How long each part of an evaluation takes, batched against one at a time; `suite.py` prints it.

"One at a time" is the official script's way: one prompt, one document, one question per call, with
transformers' own `generate`. It is timed on an even sample and scaled to the whole. On bfloat16 batching may
change a rounding and with it a text: the share of equal results is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from roofline import clock

from unlearn_core.data.encode import encode_document, pad_id_of, prompt_ids
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.protocols.multiple_choice.mmlu import letter_ids, letter_prompt, predict
from unlearn_core.models.generation.generate import decode, end_ids, generate
from unlearn_core.models.inference.likelihood import traces


@dataclass
class Row:
    """One part of the evaluation."""

    part: str
    items: int
    batched: float  # seconds
    single: float  # seconds, scaled to all items
    tokens: int
    equal: float  # share of the sample whose result is the same


def measure_answers(model: Any, tokenizer: Any, rows: Sequence[Example], limit: int, size: int) -> Row:
    prompts = [row.input for row in rows]
    texts = [""] * len(prompts)

    def batched() -> int:
        written = 0
        for batch in generate(model, tokenizer, prompts, limit):
            written += batch.num_tokens
            for index, text in zip(batch.indices, batch.texts, strict=True):
                texts[index] = text
        return written

    def single(index: int) -> bool:
        ids = torch.tensor([prompt_ids(tokenizer, prompts[index])], device=model.device)
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            use_cache=True,
            pad_token_id=pad_id_of(tokenizer),
            eos_token_id=sorted(end_ids(model, tokenizer)),
        )
        return decode(tokenizer, [written[0, ids.shape[1] :].tolist()])[0] == texts[index]

    return compare("answers", len(prompts), batched, single, size)


def measure_documents(model: Any, tokenizer: Any, documents: Sequence[str], size: int) -> Row:
    encoded = [encode_document(tokenizer, document, i) for i, document in enumerate(documents)]
    losses = [0.0] * len(encoded)

    def batched() -> int:
        for batch in traces(model, encoded, pad_id_of(tokenizer)):
            for trace in batch:
                losses[trace.index] = trace.nll
        return sum(len(row.ids) for row in encoded)

    def single(index: int) -> bool:
        ids = torch.tensor([encoded[index].ids], device=model.device)
        return abs(float(model(ids, labels=ids).loss) - losses[index]) < 1e-2

    return compare("documents", len(documents), batched, single, size)


def measure_questions(model: Any, tokenizer: Any, data: UnlearningData, size: int) -> Row:
    chosen = [0] * len(data.questions)
    rows = [
        prompt_ids(tokenizer, letter_prompt(q, [shot for shot in data.few_shot if shot.subject == q.subject]))
        for q in data.questions
    ]
    letters = letter_ids(tokenizer)

    def batched() -> int:
        for part in predict(model, tokenizer, data.questions, data.few_shot):
            for index, choice in zip(part.indices, part.choices, strict=True):
                chosen[index] = choice
        return sum(map(len, rows))

    def single(index: int) -> bool:
        logits = model(torch.tensor([rows[index]], device=model.device)).logits[0, -1, letters]
        return int(logits.argmax()) == chosen[index]

    return compare("questions", len(rows), batched, single, size)


def compare(part: str, items: int, batched: Callable[[], int], single: Callable[[int], bool], size: int) -> Row:
    """Time `batched` on all items and `single` on an even sample of `size`, scaled."""
    start = clock()
    tokens = batched()
    all_seconds = clock() - start
    places = even_sample(range(items), size)
    start = clock()
    with torch.inference_mode():
        same = [single(place) for place in places]
    seconds = (clock() - start) * items / len(places)
    return Row(part, items, all_seconds, seconds, tokens, sum(same) / len(same))
