"""The memory that a run was estimated to add, and the memory it did add, for several settings.

    python benchmarks/memory.py [--sizes small,wide]
    python benchmarks/memory.py --sizes wide --dtype bfloat16 --settings npo:full
                                            a model loaded in bfloat16, whose weights train in float32

Each row is a training and a scoring in a fresh process on random weights of the named size; "off" is the
estimate over the measured peak, less one. On a CPU the peak is the growth of the resident memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# name: architecture, layers, hidden, intermediate, heads, vocabulary
SIZES = {
    "demo": ("olmo2", 4, 128, 512, 4, 3584),
    "small": ("llama", 6, 384, 1024, 6, 3584),
    "wide": ("olmo2", 4, 512, 2048, 8, 50304),
    "deep": ("qwen2", 16, 256, 1024, 4, 8192),
    "olmo-1b": ("olmo", 16, 2048, 8192, 16, 50304),
    "olmo-7b": ("olmo", 32, 4096, 11008, 32, 50304),
}
SETTINGS = [
    ("npo", "full"),
    ("kl", "full"),
    ("grad_ascent", "full"),
    ("lethe", "full"),
    ("npo", "lora"),
    ("kl", "lora"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="demo,small,wide,deep")
    parser.add_argument("--settings", default=",".join(map(":".join, SETTINGS)), help="METHOD:ADAPTER, ...")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on a GPU")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one.split(","), arguments.dtype)))
        return
    print(f"{'model':<10}{'method':<14}{'adapter':<8}{'estimated MB':>14}{'measured MB':>14}{'off':>8}")
    for size in arguments.sizes.split(","):
        for method, adapter in (setting.split(":") for setting in arguments.settings.split(",")):
            command = [sys.executable, __file__, "--one", f"{size},{method},{adapter}"]
            command += ["--dtype", arguments.dtype] if arguments.dtype else []
            out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
            found = json.loads(out.stdout.splitlines()[-1])
            off = found["estimated"] / found["measured"] - 1
            row = f"{found['estimated'] / 1e6:>14,.0f}{found['measured'] / 1e6:>14,.0f}{off:>8.0%}"
            print(f"{size:<10}{method:<14}{adapter:<8}{row}  {found['parts']}", flush=True)


def measure(size: str, method_name: str, adapter: str, wanted: str | None) -> dict[str, Any]:
    import torch
    from roofline import peak_memory
    from transformers import AutoConfig, AutoModelForCausalLM

    from unlearn_core import methods
    from unlearn_core.data.sources import load_data
    from unlearn_core.models.kernels import fuse
    from unlearn_core.models.shape import Shape
    from unlearn_core.models.targets import best_device, load_target
    from unlearn_core.training.loop import unlearn
    from unlearn_core.training.resources.estimate import Workload, estimate

    arch, layers, hidden, intermediate, heads, vocabulary = SIZES[size]
    config = AutoConfig.for_model(
        arch,
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=1,
        eos_token_id=0,
        bos_token_id=None,
    )
    device = best_device()
    dtype: torch.dtype = getattr(torch, wanted or ("bfloat16" if device.type == "cuda" else "float32"))
    tokenizer, data = load_target("demo", device="cpu").tokenizer, load_data("demo")
    method = methods.build(method_name, {"learning_rate": 1e-6}, 3)
    found = estimate(Shape(config, dtype, adapter), Workload(tokenizer, data), method, device=device.type)

    def build() -> Any:
        with device:
            made = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype).eval()
        fuse(made)
        return made

    tiny = load_target("demo", device=str(device)).model
    for _ in unlearn(tiny, tokenizer, data, method, adapter=adapter):  # libraries load once
        pass
    del tiny
    with peak_memory(device) as peak:
        model = build()
        for _ in unlearn(model, tokenizer, data, method, adapter=adapter):
            pass
    parts = {name: round(value / 1e6) for name, value in found.training.items()}
    return {"estimated": sum(found.training.values()), "measured": peak.added, "parts": parts}


if __name__ == "__main__":
    main()
