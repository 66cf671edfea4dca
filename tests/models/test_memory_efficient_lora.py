"""The adapter's layer that keeps less computes what peft's computes."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from unlearn_core.models import memory_efficient_lora
from unlearn_core.models.adapters import apply_lora, lora_layers, remove_lora
from unlearn_core.models.memory_efficient_lora import MemoryEfficientLoraLinear, save_activation_memory
from unlearn_core.models.precision import compute_in

SIZES = {"vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2, with biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=2)),
    "gpt2, without an ordinary matrix": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=97, n_embd=24, n_layer=2, n_head=2)
    ),
}
IDS = torch.tensor([[5, 17, 40, 3, 88, 21], [9, 9, 2, 60, 11, 30]])


def adapted(name: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(3)
    model = apply_lora(MODELS[name]().to(dtype).eval(), rank=4)
    torch.manual_seed(4)
    for _, layer in lora_layers(model):  # at the start B is 0 and A has no gradient
        for factor in layer.lora_B.values():
            torch.nn.init.normal_(factor.weight, std=0.1)
    return model


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {"loss": loss.detach(), **found}


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_peft(name: str) -> None:
    theirs, ours = adapted(name), adapted(name)
    save_activation_memory(ours)
    replaced = [module for module in ours.modules() if isinstance(module, MemoryEfficientLoraLinear)]
    assert bool(replaced) == ("without" not in name)
    expected, found = gradients(theirs), gradients(ours)
    assert set(found) == set(expected)
    assert all("lora" in key or key == "loss" for key in found)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_half_precision_goes_by_the_same_function() -> None:
    theirs, ours = adapted("llama", torch.bfloat16), adapted("llama", torch.bfloat16)
    save_activation_memory(ours)
    expected, found = gradients(theirs), gradients(ours)
    for key, value in expected.items():
        torch.testing.assert_close(found[key].float(), value.float(), rtol=0.1, atol=2e-2)


def test_factors_kept_in_float32_are_computed_with_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, product = [], memory_efficient_lora._LoraProduct.apply
    monkeypatch.setattr(
        memory_efficient_lora._LoraProduct, "apply", lambda *given: (taken.append(given[3].dtype), product(*given))[1]
    )
    models = [adapted("llama", torch.bfloat16) for _ in range(2)]
    save_activation_memory(models[1])
    found = []
    for model in models:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float() + 1e-4
        compute_in(model, torch.bfloat16)
        taken.clear()
        found.append(gradients(model))
    assert taken == [torch.bfloat16] * 14  # the second model's: seven matrices in each of two layers
    for key, value in found[0].items():
        assert key == "loss" or found[1][key].dtype == torch.float32
        torch.testing.assert_close(found[1][key].float(), value.float(), rtol=0.1, atol=2e-2)


def test_an_adapter_that_is_off_merged_or_hooked_is_pefts_own() -> None:
    ours, plain = adapted("llama"), LlamaForCausalLM(LlamaConfig(**SIZES))
    save_activation_memory(ours)
    with torch.no_grad():
        adapted_logits = ours(input_ids=IDS).logits
        with ours.disable_adapter():
            off = ours(input_ids=IDS).logits
    plain.load_state_dict(copy.deepcopy(remove_lora(adapted("llama")).state_dict()))
    assert torch.equal(off, plain.eval()(input_ids=IDS).logits)
    with ours.disable_adapter():
        assert torch.equal(ours(input_ids=IDS).logits, off)  # with gradient too
    called = []
    next(layer for _, layer in lora_layers(ours)).base_layer.register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(ours(input_ids=IDS).logits, adapted_logits, rtol=1e-5, atol=1e-6)
    assert called
    ours.merge_adapter()
    torch.testing.assert_close(ours(input_ids=IDS).logits, adapted_logits, rtol=1e-5, atol=1e-6)


def test_taken_off_the_model_is_as_it_was() -> None:
    ours = adapted("llama")
    save_activation_memory(ours)
    gradients(ours)
    base = remove_lora(ours)
    assert not any(isinstance(module, MemoryEfficientLoraLinear) for module in base.modules())
    assert torch.equal(base(input_ids=IDS).logits, remove_lora(adapted("llama"))(input_ids=IDS).logits)
