"""The model sheet: which short cuts a loaded model allows, found by running it on a few tokens.

What does not hold is switched off where it is used, and takes the plain way; here it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import encode_example, prompt_ids
from unlearn_core.data.prompt_format import format_of
from unlearn_core.data.types import Example
from unlearn_core.models.adapters import apply_lora, out_of_reach, plain_state, remove_lora
from unlearn_core.models.architecture import mlp_outputs
from unlearn_core.models.generation.generate import is_plain
from unlearn_core.models.inference.forward import body_and_head, has_layers, is_causal, stands_alone, unwrap
from unlearn_core.models.inference.positions import UNBOUNDED, max_positions, scaled_from, uniform_up_to
from unlearn_core.models.inference.trials import holds, plain_logits, same, sample_ids
from unlearn_core.training.layout import can_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.models.targets import Target

_FEW = 12  # tokens of a trial's longest row


@dataclass(frozen=True, slots=True)
class SheetLine:
    """One thing that was tried: its name, whether it holds, and what is done where it does not ("" for what
    changes nothing for anybody)."""

    name: str
    holds: bool
    told: str = ""

    def __str__(self) -> str:
        told = f": {self.told}" if self.told and not self.holds else ""
        return f"{'yes' if self.holds else 'no':<4}{self.name}{told}"


def read_sheet(model: PreTrainedModel) -> tuple[SheetLine, ...]:
    """What holds of a loaded model; a few short passes, made once."""
    inner, name = unwrap(model), type(unwrap(model)).__name__
    alone = stands_alone(model, _FEW)
    return (
        SheetLine("predicts from left to right", is_causal(model), f"{name} looks ahead, and is refused."),
        SheetLine(
            "a padded row equals the row alone", not alone, f"{name} is read one row at a time, which is slower."
        ),
        SheetLine("packed rows equal each alone", can_pack(model)),
        SheetLine("head of the last hidden state equals the logits", body_and_head(model) is not None),
        SheetLine(
            "a batch written together equals each prompt alone",
            is_plain(model, min(_FEW, uniform_up_to(inner))),
            f"{name} writes one prompt at a time, which is slower.",
        ),
        SheetLine("layers are passed in turn", has_layers(model)),
        SheetLine("every layer has one matrix of MLP neurons", bool(mlp_outputs(model))),
        SheetLine("an adapter reaches every linear layer", not out_of_reach(inner)),
    )


def limits(model: PreTrainedModel) -> list[str]:
    """Sentences on lengths: positions, windows, scaled frequencies."""
    inner = unwrap(model)
    most, uniform, scaled = max_positions(inner), uniform_up_to(inner), scaled_from(inner)
    told = [f"It has {most:,} positions: longer rows are cut, and answers end there."] if most else []
    if scaled < UNBOUNDED:
        told.append(f"Beyond {scaled:,} tokens its positions are scaled: such rows pass one at a time.")
    elif 0 < uniform < UNBOUNDED:
        told.append(f"Beyond {uniform:,} tokens it sees a window: such rows are padded, and written one at a time.")
    return told


def adapter_line(model: PreTrainedModel) -> SheetLine:
    """Whether a LoRA adapter, merged, gives the logits that it gives beside the weights.

    Needs memory for the weights once more. The model is what it was afterwards.
    """
    return SheetLine("a merged adapter equals the adapter", holds(unwrap(model), "adapter merges", _adapter_merges))


def _adapter_merges(model: PreTrainedModel) -> bool:
    ids = sample_ids(model, _FEW)
    wrapped = apply_lora(model, rank=2)
    try:
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=parameter.shape[0] ** -0.5 / 8)
        beside = plain_logits(model, ids)
        state = plain_state(model)
    finally:
        remove_lora(wrapped)
    inputs = {"input_ids": torch.tensor([ids], device=model.device), "use_cache": False}
    merged = torch.func.functional_call(model, state, kwargs=inputs, tie_weights=False).logits[0]
    return same(merged, beside) and not torch.equal(beside, plain_logits(model, ids))


def text_lines(tokenizer: PreTrainedTokenizerBase) -> tuple[SheetLine, ...]:
    """How the tokenizer joins a prompt and its answer."""
    prompt, answer = "Who is Ada?", "A painter"
    row = encode_example(tokenizer, Example("sheet", prompt, answer))
    begin, asked = tokenizer.bos_token_id, prompt_ids(tokenizer, prompt)
    own = list(row.ids[row.num_prompt : len(row.ids) - row.num_end])
    said = str(tokenizer.decode(own, skip_special_tokens=True))
    chosen = format_of(tokenizer)
    return (
        SheetLine(f"prompts are put {'through its chat template' if chosen.template else 'as plain text'}", True),
        SheetLine("a prompt begins once", begin is None or asked[:2] != [begin, begin]),
        SheetLine("a row begins with its prompt's tokens", list(row.ids[: row.num_prompt]) == list(asked)),
        SheetLine("an answer's tokens say the answer", said.strip() == answer),
        SheetLine("an answer ends", row.num_end > 0, "The tokenizer names no end of text: answers run to their limit."),
    )


def sentences(target: Target) -> list[str]:
    """The whole sheet for people, a line each."""
    lines = (*read_sheet(target.model), adapter_line(target.model), *text_lines(target.tokenizer))
    return [*map(str, lines), *limits(target.model)]
