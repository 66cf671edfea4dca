"""Tokens per second of Lethe's step for pretrained models, beside a plain peft + transformers Trainer on the same rows.

    python benchmarks/adapter_speed.py --subject "Albert Einstein" --steps 8

The plain loop is what a reader of the two libraries' front pages would write: LoRA of the same rank on all
linear layers, cross-entropy on every position, AdamW, padded batches; in float32, and in bfloat16 weights.
All see the same sequences in the same process, one after the other; what is compared is tokens a second of
thread time, so that a busy machine disturbs them alike. Lethe's first step, which computes what the frozen
layers put out, is left out, as it is paid once.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

from unlearn_core.data.encode import encode_example
from unlearn_core.evaluation.progress import result_of
from unlearn_core.knowledge.find import find
from unlearn_core.methods import build
from unlearn_core.models.inference.prompting import use_format
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2")
    parser.add_argument("--subject", default="Albert Einstein")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    target = load_target(options.target)
    data = result_of(find(target.model, target.tokenizer, options.subject)).data()
    use_format(target.model, target.tokenizer, data, "raw")
    ours = lethe(target, data, options.steps)
    print(f"Lethe: {ours:.0f} tokens a thread-second")
    for dtype in (torch.float32, torch.bfloat16):
        plain = trainer(load_target(options.target, dtype=dtype), data, max(2, options.steps // 4))
        print(f"plain peft + Trainer, {dtype}: {plain:.0f}; Lethe is {ours / plain:.1f} times as fast", flush=True)


def lethe(target: Any, data: Any, steps: int) -> float:
    """Tokens a thread-second from the second step on, when the frozen layers' states are kept."""
    tokens, began = 0, 0.0
    work = unlearn(target.model, target.tokenizer, data, build("lethe_pretrained", steps=steps))
    for record in work:
        if isinstance(record, LoopStep):
            if record.step == 1:
                began = time.process_time()
            else:
                tokens += record.tokens
            if record.step == steps:
                seconds = time.process_time() - began
    return tokens / seconds


def trainer(target: Any, data: Any, steps: int) -> float:
    """The same rows by the two libraries alone."""
    size = build("lethe_pretrained").mix()
    rows = [*data.forget[: size.forget], *data.retain[: size.retain // 2], *data.general[: size.retain // 2]]
    items = [{"input_ids": list(encode_example(target.tokenizer, row).ids)} for row in rows] * steps
    collate = DataCollatorForLanguageModeling(target.tokenizer, mlm=False)
    model = get_peft_model(target.model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    arguments = TrainingArguments(
        output_dir="unused",
        max_steps=steps,
        per_device_train_batch_size=len(rows),
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    began = time.process_time()
    Trainer(model=model, args=arguments, train_dataset=items, data_collator=collate).train()
    return sum(len(item["input_ids"]) for item in items) / (time.process_time() - began)


if __name__ == "__main__":
    main()
