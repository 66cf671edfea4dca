"""One table: how fast Lethe trains, generates and scores, beside the plain way of doing the same.

    python benchmarks/suite.py                          the bundled model on the CPU (about 3 minutes)
    python benchmarks/suite.py --shape olmo-1b          random weights of OLMo-1B's shape (needs a GPU)
    python benchmarks/suite.py --shape olmo-7b --adapter lora
    python benchmarks/suite.py --only training          one part: training, evaluation or job
    python benchmarks/suite.py --shape olmo-1b --only evaluation --scale 1
                                                        the whole of the benchmark's scoring
    python benchmarks/suite.py --shape olmo-1b --only job --scale 1 --methods npo
                                                        ten epochs over the public rows and one whole scoring
    python benchmarks/suite.py --shape olmo-tiny --scale 0.002 --steps 2 --turns 1 --methods grad_diff
                                                        the same lines on the CPU, to try a GPU's command out
    LETHE_PLAIN_GPU=1 python benchmarks/suite.py --shape olmo-1b
                                                        without packed rows and replayed decoding steps

Every figure stands beside a plain baseline measured in the same process: a transformers `Trainer` with a
deep-copied reference (baseline.py), one prompt, document or question at a time (evaluation.py). The two
take turns, so that a busy machine slows both. The share of the peak is counted FLOPs (torch's FlopCounter)
over a matrix-product rate measured here, at the dtype of the arithmetic.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from baseline import plain_steps
from evaluation import measure_answers, measure_documents, measure_questions
from roofline import clock, count_flops, matmul_rate, peak_memory
from shapes import NUM_EPOCHS, NUM_FORGET, SHAPES, lume_sized, random_olmo

from unlearn_core import methods
from unlearn_core.data.encode import pad_id_of
from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import even_sample
from unlearn_core.evaluation.progress import ResultIterator
from unlearn_core.models.targets import load_target
from unlearn_core.training.data import build_parts, feeds
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import unlearn
from unlearn_core.training.packing import gradients
from unlearn_core.training.passes import ModelPasses
from unlearn_core.training.records import LoopStep

PARTS = ("training", "evaluation", "job")


@dataclass(frozen=True)
class Line:
    """One figure beside its baseline; `ratio` above 1 is in Lethe's favour."""

    figure: str
    unit: str
    lethe: float
    baseline: float | None = None
    more_is_better: bool = True

    def __str__(self) -> str:
        if self.baseline is None:
            return f"{self.figure:<44}{_number(self.lethe):>12}{'':>22} {self.unit}"
        pair = (self.lethe, self.baseline) if self.more_is_better else (self.baseline, self.lethe)
        ratio = pair[0] / pair[1] if pair[1] else float("inf")
        lethe, baseline = _number(self.lethe), _number(self.baseline)
        return f"{self.figure:<44}{lethe:>12}{baseline:>12}{ratio:>9.2f}x {self.unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("demo", *SHAPES), default="demo")
    parser.add_argument("--adapter", choices=("full", "lora"), default="full")
    parser.add_argument("--methods", default="grad_diff,kl,npo", help="to train with")
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps timed in each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.02, help="share of the LUME-sized work to score")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    wanted = arguments.only or PARTS[:2]

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    target = load_target("demo", device="cpu")
    tokenizer: Any = target.tokenizer
    model: Any = target.model if arguments.shape == "demo" else random_olmo(arguments.shape)
    data = load_data("demo") if arguments.shape == "demo" else lume_sized(tokenizer, arguments.scale)
    on_gpu = model.device.type == "cuda"
    rate = matmul_rate(model.device, model.dtype)
    place = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
    size = sum(p.numel() for p in model.parameters())
    print(
        f"{arguments.shape}: {size / 1e6:,.1f} M parameters, {str(model.dtype)[6:]}, {place}, torch "
        f"{torch.__version__}; matrix product {rate / 1e9:,.0f} GFLOP/s"
    )
    print(f"{'':<44}{'Lethe':>12}{'plain':>12}{'ratio':>10}")
    works: dict[str, Callable[[], Iterator[Line]]] = {
        "training": lambda: training(model, tokenizer, data, arguments, rate),
        "evaluation": lambda: evaluation(model, tokenizer, data, 60 if arguments.shape == "demo" else 8),
        "job": lambda: job(model, tokenizer, data, arguments),
    }
    for part in wanted:
        for line in works[part]():
            print(line, flush=True)


def training(model: Any, tokenizer: Any, data: Any, arguments: Any, rate: float) -> Iterator[Line]:
    """Tokens per second, share of the peak and memory of each method; the plain way where it is written."""
    lora = arguments.adapter == "lora"
    for name in arguments.methods.split(","):
        method = methods.build(name, {"learning_rate": 1e-6}, arguments.steps)
        flops, tokens, positions = _one_step(model, tokenizer, data, method)
        per_token = flops / tokens
        plain = name in ("grad_diff", "kl") and not lora
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(arguments.turns):
            with peak_memory(model.device) as our_peak:
                ours += _our_steps(model, tokenizer, data, method, arguments.adapter)
            if plain:
                with peak_memory(model.device) as their_peak:
                    theirs += _their_steps(model, tokenizer, data, method, name == "kl")
        speed, other = statistics.median(ours), statistics.median(theirs) if plain else None
        yield Line(f"{name}: training", "tokens/s", speed, other)
        if not lora:  # the counter sees the full-weight step
            yield Line(f"{name}: counted share of the peak", "%", 100 * per_token * speed / rate)
        yield Line(f"{name}: positions that are padding", "%", 100 * (1 - tokens / positions))
        if plain and other:
            peaks = our_peak.added / 1e6, their_peak.added / 1e6
            yield Line(f"{name}: memory added by training", "MB", *peaks, more_is_better=False)
        else:
            yield Line(f"{name}: memory added by training", "MB", our_peak.added / 1e6)


def _one_step(model: Any, tokenizer: Any, data: Any, method: Any) -> tuple[int, int, int]:
    """FLOPs, real tokens and positions of one step's forward and backward, full weights."""
    from unlearn_core.methods.base import Context
    from unlearn_core.training.reference import FrozenReference

    mix = method.mix()
    parts = build_parts(tokenizer, data, mix)
    _, feed = feeds(method, parts, data, 0)[0]
    pad_id = pad_id_of(tokenizer)
    reference = FrozenReference(model, parts, pad_id, lambda part: feed.visited(part, 1))
    named = dict(model.named_parameters())
    context = Context(
        model,
        1,
        0,
        parts,
        reference,
        ModelPasses(model, tokenizer, named),
        named,
        tokenizer=tokenizer,
        data=data,
    )
    method.prepare(context)
    layout = pack_parts(model, feed.step(0), pad_id)
    flops = count_flops(lambda: gradients(model, method, context, layout))
    model.zero_grad(set_to_none=True)
    return flops, layout.num_tokens, layout.num_positions


def _our_steps(model: Any, tokenizer: Any, data: Any, method: Any, adapter: str) -> list[float]:
    """Tokens per second of each step but the first; the model is as before afterwards."""
    records = ResultIterator(unlearn(model, tokenizer, data, method, adapter=adapter, probe_ids=()))
    steps = [record for record in records if isinstance(record, LoopStep)]
    records.result.revert()
    records.result.release()
    return [after.tokens / (after.seconds - before.seconds) for before, after in pairwise(steps)]


def _their_steps(model: Any, tokenizer: Any, data: Any, method: Any, kl: bool) -> list[float]:
    mix = method.mix()
    parts = build_parts(tokenizer, data, mix)
    own = copy.deepcopy(model).train()
    forget, retain = list(parts["forget"].rows), list(parts["retain"].rows)
    size = mix.forget
    seconds = plain_steps(own, forget, retain, method.steps, size, pad_id_of(tokenizer), kl)
    del own
    gc.collect()
    tokens = [
        sum(len(rows[i % len(rows)].ids) for rows in (forget, retain) for i in range(at, at + size))
        for at in range(0, method.steps * size, size)
    ]
    return [count / one for count, one in zip(tokens[1:], seconds[1:], strict=True)]


def evaluation(model: Any, tokenizer: Any, data: Any, sample: int) -> Iterator[Line]:
    """Seconds and tokens per second of scoring, against one item at a time."""
    measure_answers(model, tokenizer, even_sample(data.forget, 8), data.max_new_tokens, 4)  # warm up
    with peak_memory(model.device) as peak:
        answers = measure_answers(model, tokenizer, (*data.forget, *data.retain), data.max_new_tokens, sample)
    documents = measure_documents(model, tokenizer, (*data.members, *data.nonmembers), sample)
    questions = measure_questions(model, tokenizer, data, sample * 2)
    rates = answers.tokens / answers.batched, answers.tokens / answers.single
    yield Line("generation", "tokens/s", *rates)
    yield Line("memory added by generation", "MB", peak.added / 1e6)
    for row in (answers, documents, questions):
        same = f"s, {row.equal:.0%} of the sample equal"
        yield Line(f"evaluation: {row.items:,} {row.part}", same, row.batched, row.single, False)
    rows = (answers, documents, questions)
    total = sum(row.batched for row in rows), sum(row.single for row in rows)
    yield Line("evaluation: all of it", "s", *total, more_is_better=False)


def job(model: Any, tokenizer: Any, data: Any, arguments: Any) -> Iterator[Line]:
    """The share `--scale` of the whole benchmark: each method's ten epochs, and one scoring."""
    rows = (
        measure_answers(model, tokenizer, (*data.forget, *data.retain), data.max_new_tokens, 1),
        measure_documents(model, tokenizer, (*data.members, *data.nonmembers), 1),
        measure_questions(model, tokenizer, data, 1),
    )
    scoring = sum(row.batched for row in rows)
    yield Line("job: scoring", "s", scoring)
    for name in arguments.methods.split(","):
        size = methods.build(name).mix().forget
        steps = max(2, round(NUM_EPOCHS * NUM_FORGET * arguments.scale / size))
        method = methods.build(name, {"learning_rate": 1e-6}, steps)
        with peak_memory(model.device) as peak:
            start = clock()
            _our_steps(model, tokenizer, data, method, arguments.adapter)
            seconds = clock() - start
        yield Line(f"{name}: job: {steps:,} steps", "s", seconds)
        yield Line(f"{name}: job: all (240 for 1B, 900 for 7B LoRA)", "s", seconds + scoring)
        yield Line(f"{name}: job: peak memory", "MB", peak.most / 1e6)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
