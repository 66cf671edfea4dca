"""Seconds and tokens per second of a full evaluation, batched against one at a time, in one run.

    python benchmarks/evaluation.py                   the bundled model on the CPU; on a GPU both OLMo shapes
    python benchmarks/evaluation.py --shape olmo-1b   OLMo-1B-shaped random weights (needs a GPU)
    python benchmarks/evaluation.py --shape olmo-60m --scale 0.02
                                                      the same on a CPU: weights larger than its caches
    python benchmarks/evaluation.py --data shared/data/semeval25 --mmlu shared/data/mmlu
                                                      the bundled model on the benchmark's own data

"One at a time" is the official script's way: one prompt, one document, one question per call, with
transformers' own `generate`. It is timed on an even sample and scaled to the whole. The OLMo shapes have
random weights and no reason to stop, so every answer is 256 tokens long: the longest case. On bfloat16
batching may change a rounding and with it a text: the share of equal texts is printed, on a GPU as the
column, on a CPU as a line of its own.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from shapes import SHAPES, lume_sized, random_olmo

from unlearn_core.data.encode import encode_document, pad_id_of, prompt_ids
from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.protocols.multiple_choice.mmlu import letter_ids, letter_prompt, load_mmlu, predict
from unlearn_core.models.generation.generate import decode, end_ids, generate
from unlearn_core.models.inference.likelihood import traces
from unlearn_core.models.targets import load_target


@dataclass
class Row:
    """One line of the table."""

    part: str
    items: int
    batched: float  # seconds
    single: float  # seconds, scaled to all items
    tokens: int
    equal: float  # share of the sample whose result is the same

    def __str__(self) -> str:
        ratio = self.single / self.batched
        rate = f"{self.tokens / self.batched:9,.0f}"
        return (
            f"{self.part:<12}{self.items:>7}{self.batched:>11.1f}{self.single:>13.1f}{ratio:>8.1f}x"
            f"{rate}{self.tokens / self.single:>11,.0f}{self.equal:>9.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("demo", *SHAPES), action="append")
    parser.add_argument("--sample", type=int, default=None, help="prompts timed one at a time")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the LUME-sized work to do")
    parser.add_argument("--data", default="demo", help="for the bundled model: another data set")
    parser.add_argument("--mmlu", help="for the bundled model: MMLU instead of the data's own questions")
    arguments = parser.parse_args()
    shapes = arguments.shape or (["olmo-1b", "olmo-7b"] if torch.cuda.is_available() else ["demo"])
    for shape in shapes:
        run(shape, arguments)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def run(shape: str, arguments: argparse.Namespace) -> None:
    demo = load_target("demo", device="cpu")
    tokenizer: Any = demo.tokenizer
    if shape == "demo":
        model, data = demo.model, named_data(arguments)
    else:
        model, data = random_olmo(shape), lume_sized(tokenizer, arguments.scale)
    size = arguments.sample or (60 if shape == "demo" else 8)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    place = torch.cuda.get_device_name() if model.device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"\n{shape}: {parameters / 1e6:,.1f} M parameters, {str(model.dtype)[6:]}, {place}")
    titles = (
        ("batched s", 11),
        ("one by one s", 13),
        ("ratio", 9),
        ("tok/s", 9),
        ("one by one", 11),
        ("equal", 9),
    )
    print(f"{'part':<12}{'items':>7}" + "".join(f"{title:>{width}}" for title, width in titles))
    measure_answers(model, tokenizer, even_sample(data.forget, 8), data.max_new_tokens, 4)  # warm up
    rows = [
        measure_answers(model, tokenizer, (*data.forget, *data.retain), data.max_new_tokens, size),
        measure_documents(model, tokenizer, (*data.members, *data.nonmembers), size),
        measure_questions(model, tokenizer, data, size * 2),
    ]
    total = Row(
        "all",
        sum(row.items for row in rows),
        sum(row.batched for row in rows),
        sum(row.single for row in rows),
        sum(row.tokens for row in rows),
        min(row.equal for row in rows),
    )
    for row in (*rows, total):
        print(row)
    if model.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    else:
        some = even_sample((*data.forget, *data.retain), size)
        row = measure_answers(model.to(torch.bfloat16), tokenizer, some, data.max_new_tokens, size)
        print(f"bfloat16: {row.equal:.1%} of {row.items} answers equal those of one at a time")


def named_data(arguments: argparse.Namespace) -> UnlearningData:
    """The data that the arguments name, `--scale` of its rows, documents and questions."""
    data = load_data(arguments.data)
    if arguments.mmlu:
        few_shot, questions = load_mmlu(arguments.mmlu)
        data = replace(data, few_shot=few_shot, questions=questions)

    def part(rows: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(even_sample(rows, max(1, int(len(rows) * arguments.scale))))

    return replace(
        data,
        forget=part(data.forget),
        retain=part(data.retain),
        members=part(data.members),
        nonmembers=part(data.nonmembers),
        questions=part(data.questions),
    )


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


def clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
