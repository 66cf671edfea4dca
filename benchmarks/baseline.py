"""The plain way to train: transformers' `Trainer`, two padded forwards with every logit, a deep copy.

This is how open-unlearning builds gradient difference; written here so that Lethe's own loop is measured
against it in the same process. With its KL retain loss (`kl`) the copy is asked at every step; without, it
is only kept.
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from roofline import clock
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from unlearn_core.data.encode import Encoded, collate


class Pairs(torch.utils.data.Dataset):
    """Forget row i beside retain row i, over and over."""

    def __init__(self, forget: list[Encoded], retain: list[Encoded], length: int) -> None:
        self.forget, self.retain, self.length = forget, retain, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> tuple[Encoded, Encoded]:
        return self.forget[i % len(self.forget)], self.retain[i % len(self.retain)]


class PlainGradDiff(Trainer):
    """-NLL(forget) + NLL(retain), or with `kl` + KL(copy || model; retain). The copy is always there."""

    def __init__(self, *args: Any, kl: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kl = kl
        self.reference = copy.deepcopy(self.model).eval()

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        forget = model(**inputs["forget"])
        retain = model(**inputs["retain"])
        held = retain.loss
        if self.kl:
            with torch.no_grad():
                reference = self.reference(**inputs["retain"]).logits.log_softmax(-1)
            held = torch.nn.functional.kl_div(
                retain.logits.log_softmax(-1).flatten(0, 1),
                reference.flatten(0, 1),
                log_target=True,
                reduction="batchmean",
            )
        return held - forget.loss


class Stopwatch(TrainerCallback):
    """Seconds of each optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.began = clock()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(clock() - self.began)


def plain_steps(
    model: Any,
    forget: list[Encoded],
    retain: list[Encoded],
    steps: int,
    size: int,
    pad_id: int,
    kl: bool,
) -> list[float]:
    """Seconds of each of `steps` steps of `size` forget and `size` retain rows; the model is changed."""

    def join(pairs: list[tuple[Encoded, Encoded]]) -> dict[str, dict[str, torch.Tensor]]:
        sides = {}
        for name, rows in zip(("forget", "retain"), zip(*pairs, strict=True), strict=True):
            batch = collate(rows, pad_id)
            sides[name] = {
                "input_ids": batch.input_ids_BT,
                "attention_mask": batch.attention_mask_BT,
                "labels": batch.labels_BT,
            }
        return sides

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=size,
            max_steps=steps,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            remove_unused_columns=False,
            disable_tqdm=True,
            learning_rate=1e-5,
            use_cpu=model.device.type == "cpu",
            optim="adamw_torch",
            dataloader_pin_memory=False,
        )
        trainer = PlainGradDiff(
            model,
            arguments,
            data_collator=join,
            train_dataset=Pairs(forget, retain, steps * size),
            callbacks=[watch],
            kl=kl,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return watch.seconds
