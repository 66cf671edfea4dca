"""A hash names weights: the same after a round trip, different after any change."""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model

from unlearn_core.models.hashing import weights_hash


def test_saving_and_loading_keeps_the_hash(tiny_model, tmp_path) -> None:
    model = tiny_model("olmo2")
    model.save_pretrained(tmp_path)
    assert weights_hash(type(model).from_pretrained(tmp_path)) == weights_hash(model)


def test_one_changed_weight_or_another_precision_changes_the_hash(tiny_model) -> None:
    model = tiny_model("olmo2")
    before = weights_hash(model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[7] += 1e-7
    assert weights_hash(model) != before
    assert weights_hash(tiny_model("olmo2").to(torch.bfloat16)) != before
    assert weights_hash(tiny_model("olmo2")) == before


def test_tied_and_untied_heads_differ(tiny_model) -> None:
    assert weights_hash(tiny_model("olmo2")) != weights_hash(tiny_model("olmo2", tie_word_embeddings=False))


def test_an_adapter_counts_only_while_it_is_switched_on(tiny_model) -> None:
    base = weights_hash(tiny_model("olmo2"))
    model = get_peft_model(tiny_model("olmo2"), LoraConfig(r=2, target_modules=["q_proj"]))
    on = weights_hash(model)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name).add_(1.0)
    assert len({base, on, weights_hash(model)}) == 3
    with model.disable_adapter():
        assert weights_hash(model) == base
