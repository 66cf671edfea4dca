"""Every path that only a GPU takes, checked once and timed: a table in some six minutes on an H200.

    python benchmarks/device_check.py                 on a GPU
    python benchmarks/device_check.py --dry           the same lines on the CPU, small: to try the script itself
    python benchmarks/device_check.py --only decode   one part: kernels, packed, decode, methods, train, large

A line says FAIL where something raised, and the others go on. The last parts make random models of OLMo's shapes;
nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from roofline import clock, matmul_rate, peak_memory
from shapes import lume_sized, random_olmo
from suite import _one_step, _our_steps

from unlearn_core import methods
from unlearn_core.data.encode import Encoded, encode_document, pad_id_of
from unlearn_core.data.sources import load_data
from unlearn_core.evaluation.progress import result_of
from unlearn_core.models.generation.cuda_graph import CudaGraphCache
from unlearn_core.models.generation.generate import generate, generate_all
from unlearn_core.models.inference import packed
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.models.targets import load_target
from unlearn_core.system.machine.gpu import empty_cache
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import unlearn
from unlearn_core.training.packing import gradients

BF16 = torch.bfloat16


class Check:
    """One run of the parts on `device`; small where it is `dry`."""

    def __init__(self, dry: bool) -> None:
        self.dry, self.device = dry, torch.device("cpu" if dry else "cuda")
        self.failed = 0

    def line(self, name: str, value: Any, note: str = "") -> None:
        shown = value if isinstance(value, str) else f"{value:,.4g}"
        print(f"{name:<52}{shown:>16}  {note}", flush=True)

    def attempt(self, name: str, work: Callable[[], Any]) -> Any:
        """What `work` gives, or a line that says where it failed."""
        try:
            return work()
        except Exception as error:  # each check stands for itself
            self.failed += 1
            at = traceback.extract_tb(error.__traceback__)[-1]
            self.line(name, "FAIL", f"{type(error).__name__}: {str(error)[:150]} ({at.filename}:{at.lineno})")
            return None
        finally:
            gc.collect()
            empty_cache()

    def kernels(self) -> None:
        """Flash attention over bounds against float32, and what a shape costs that was not seen before."""
        if not self.dry:
            self.line("device", torch.cuda.get_device_name(), f"torch {torch.__version__}")
        lengths = [17, 300, 1, 64, 129]
        bounds = torch.tensor([0, *lengths]).cumsum(0).to(self.device, torch.int32)
        flash = packed._one_by_one if self.dry else packed._flash
        for heads in ((16, 16, 16), (16, 4, 4)):
            torch.manual_seed(0)
            made = (
                torch.randn(sum(lengths), h, 128, device=self.device, dtype=BF16, requires_grad=True) for h in heads
            )
            states = list(made)
            got = flash(*states, bounds, max(lengths), None)
            exact = [state.detach().float().requires_grad_() for state in states]
            want = packed._one_by_one(*exact, bounds, max(lengths), None)
            slope = torch.randn_like(got)
            found = (got, *torch.autograd.grad(got, states, slope))
            wanted = (want, *torch.autograd.grad(want, exact, slope.float()))
            errors = [
                float((a.detach().float() - b.detach()).abs().max() / b.detach().abs().max())
                for a, b in zip(found, wanted, strict=True)
            ]
            self.line(f"flash over bounds, heads {heads[0]}/{heads[1]}: error", max(errors), "of out, dq, dk, dv")

    def packed(self) -> None:
        """Losses and gradients of flat sequences against padded ones and float32, by architecture."""
        from transformers import AutoConfig, AutoModelForCausalLM

        drawn = torch.Generator().manual_seed(0)
        lengths = [5, 90, 3, 140, 70, 71, 12, 44, 260, 33, 8, 19]
        ids = (torch.randint(2, 900, (n,), generator=drawn).tolist() for n in lengths)
        rows = [Encoded(tuple(row), len(row) // 2, i) for i, row in enumerate(ids)]
        sizes = {"vocab_size": 1000, "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
        method = methods.build("grad_diff", {}, 2)

        def slopes(model: Any) -> tuple[float, torch.Tensor]:
            layout = pack_parts(model, {"forget": rows[:6], "retain": rows[6:]}, 1)
            losses = gradients(model, method, None, layout)  # type: ignore[arg-type]
            found = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])
            model.zero_grad(set_to_none=True)
            return float(losses.total), found

        for arch in ("olmo", "olmo2", "llama", "qwen2"):
            torch.manual_seed(0)
            config = AutoConfig.for_model(arch, **sizes, intermediate_size=1024, num_key_value_heads=8)
            model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().to(self.device)
            with plain():
                loss32, wanted = slopes(model)
                half = model.to(BF16)
                padded, _ = slopes(half)
            loss, found = slopes(half)
            cosine = float(torch.cosine_similarity(wanted.double(), found.double(), 0))
            why = packed.why_padded(half)
            self.line(f"{arch}: gradient against float32, cosine", cosine, f"loss {loss32:.4f} {padded:.4f} {loss:.4f}")
            self.line(f"{arch}: sequences lie flat", str(why is None), why or "")

    def decode(self) -> None:
        """Texts of recorded steps against steps as they are, documents against the CPU, and the speed."""
        data = load_data("demo")
        prompts = [row.input for row in (*data.forget[:20], *data.retain[:20])]
        documents = (*data.members, *data.nonmembers)[:20]
        cpu = load_target("demo", device="cpu", dtype=torch.float32)
        rows = [encode_document(cpu.tokenizer, text, i) for i, text in enumerate(documents)]
        nll = [trace.nll for trace in all_traces(cpu.model, rows, pad_id_of(cpu.tokenizer))]
        for dtype in (torch.float32, BF16):
            target = load_target("demo", device=str(self.device), dtype=dtype)
            with patch.object(CudaGraphCache, "_record", autospec=True, side_effect=CudaGraphCache._record) as record:
                texts = generate_all(target.model, target.tokenizer, prompts, 64)
            with plain():
                eager = generate_all(target.model, target.tokenizer, prompts, 64)
            same = sum(a == b for a, b in zip(texts, eager, strict=True)) / len(texts)
            self.line(
                f"{str(dtype)[6:]}: texts of recorded steps as without", f"{same:.0%}", f"{record.call_count} records"
            )
            ours = [trace.nll for trace in all_traces(target.model, rows, pad_id_of(target.tokenizer))]
            gap = max(abs(a - b) for a, b in zip(ours, nll, strict=True))
            self.line(f"{str(dtype)[6:]}: NLL against the CPU, largest gap", gap, "nats per token")
        model, tokenizer = random_olmo("olmo-tiny" if self.dry else "olmo-1b"), cpu.tokenizer
        many = lume_sized(tokenizer, 0.01 if self.dry else 0.2)
        asked = [row.input for row in (*many.forget, *many.retain)][: 8 if self.dry else 1024]
        self._writes("1B shape", model, tokenizer, asked, 4 if self.dry else 128)

    def methods(self) -> None:
        """Two steps of every method on the bundled model in bfloat16."""
        data = load_data("demo")
        parts = ("forget", "retain", "holdout", "general")
        data = replace(data, **{name: getattr(data, name)[:8] for name in parts})
        names = ["npo", "lethe", "uld"] if self.dry else sorted(methods.REGISTRY)

        def train(name: str) -> bool:
            target = load_target("demo", device=str(self.device), dtype=BF16)
            run = unlearn(target.model, target.tokenizer, data, methods.build(name, {}, 2), probe_ids=())
            artifact = result_of(run)
            generate_all(artifact.model, target.tokenizer, [data.forget[0].input], 4)
            artifact.release()
            return True

        good = [self.attempt(name, lambda name=name: train(name)) for name in names]
        self.line("methods that train and write", f"{sum(map(bool, good))}/{len(good)}")

    def train(self) -> None:
        """OLMo-1B's shape: full weights in float32 at three batch sizes, and LoRA; share of the matrix rate."""
        tokenizer = load_target("demo", device="cpu").tokenizer
        model, data = (
            random_olmo("olmo-tiny" if self.dry else "olmo-1b"),
            lume_sized(tokenizer, 0.02 if self.dry else 0.06),
        )
        rate = 1e11 if self.dry else matmul_rate(self.device, BF16)
        self.line("bfloat16 matrix product", f"{rate / 1e12:,.1f} TFLOP/s")
        steps = 2 if self.dry else 10
        for size, adapter in ((24, "full"), (48, "full"), (96, "full"), (48, "lora")):
            if self.dry and size > 24 and adapter == "full":
                continue
            method = methods.build("grad_diff", {"learning_rate": 1e-6, "batch_size": 4 if self.dry else size}, steps)
            self.attempt(
                f"1B {adapter}, {size} forget rows", partial(self._steps, model, tokenizer, data, method, adapter, rate)
            )

    def large(self) -> None:
        """OLMo-7B's shape: LoRA, full weights and writing."""
        tokenizer = load_target("demo", device="cpu").tokenizer
        model, data = (
            random_olmo("olmo-tiny" if self.dry else "olmo-7b"),
            lume_sized(tokenizer, 0.02 if self.dry else 0.06),
        )
        for adapter, rate in (("lora", 1e-4), ("full", 1e-6)):
            size = {"batch_size": 4} if self.dry else {}
            method = methods.build("npo", {"learning_rate": rate, **size}, 2 if self.dry else 4)
            self.attempt(f"7B {adapter}", partial(self._steps, model, tokenizer, data, method, adapter, None))
        asked = [row.input for row in data.forget][: 4 if self.dry else 192]
        self.attempt("7B writing", lambda: self._writes("7B shape", model, tokenizer, asked, 4 if self.dry else 64))

    def _steps(self, model: Any, tokenizer: Any, data: Any, method: Any, adapter: str, rate: float | None) -> None:
        share = ""
        if rate is not None and adapter == "full":
            flops, tokens, _ = _one_step(model, tokenizer, data, method)
            share = f"{{:.0%}} of the matrix rate, {flops / tokens / 1e9:.1f} GFLOP a token; "
        with peak_memory(self.device) as peak:
            speeds = _our_steps(model, tokenizer, data, method, adapter)
        speed = statistics.median(speeds)
        share = share.format(flops / tokens * speed / rate) if share and rate else ""
        name = f"{'1B' if rate else '7B'} {adapter}, {method.batch_size} forget rows a step"
        self.line(name, f"{speed:,.0f} tok/s", f"{share}slowest {min(speeds):,.0f}; peak {peak.most / 1e9:.1f} GB")

    def _writes(self, name: str, model: Any, tokenizer: Any, asked: list[str], new: int) -> None:
        generate_all(model, tokenizer, asked[:4], 4)
        with peak_memory(self.device) as peak:
            began = clock()
            written = sum(batch.num_tokens for batch in generate(model, tokenizer, asked, new))
            seconds = clock() - began
        note = f"{seconds:.1f} s, peak {peak.most / 1e9:.1f} GB"
        self.line(f"{name}: {len(asked)} prompts x {new}", f"{written / seconds:,.0f} tok/s", note)


PARTS = ("kernels", "packed", "decode", "methods", "train", "large")


def plain() -> Any:
    """Without what only a GPU has."""
    return patch.dict(os.environ, LETHE_PLAIN_GPU="1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="small, on the CPU")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    check = Check(arguments.dry)
    for part in arguments.only or PARTS:
        began = time.perf_counter()
        check.attempt(part, getattr(check, part))
        print(f"-- {part}: {time.perf_counter() - began:.0f} s", flush=True)
    raise SystemExit(check.failed > 0)


if __name__ == "__main__":
    main()
