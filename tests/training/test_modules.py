"""Small modules beside unchanged weights: ULD's assistant and EUL's unlearning layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import chance, drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.inference_time.uld import uniform_loss
from unlearn_core.models.generation.generate import decode, generate_all, stream
from unlearn_core.models.wrappers.assistant import Assistant, combined
from unlearn_core.models.wrappers.unlearning_layers import UnlearningLayers, fuse, gram_of
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import FactProbe, LoopStep

SETTINGS: dict[str, dict[str, Any]] = {
    "uld": {"learning_rate": 2e-2, "weight": 1.0},
    "eul": {"learning_rate": 1e-2, "task": 1.0, "lm": 0.2, "cap": 5.0},
}


@pytest.mark.parametrize("name", ["uld", "eul"])
def test_modules_forget_more_than_they_harm_and_come_off(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str
) -> None:
    model = memorised()
    before, ids = snapshot(model), torch.arange(2, 12)[None]
    with torch.no_grad():
        bare = model(ids).logits
    method = methods.build(name, {"batch_size": 12, **SETTINGS[name]}, steps=24)
    records, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method))
    probes = [record for record in records if isinstance(record, FactProbe)]
    forget, retain = (chance(probes[-1], part) / chance(probes[0], part) for part in ("forget", "retain"))
    assert forget < 0.6, (forget, retain)
    assert retain > forget + 0.2, (forget, retain)
    assert same(snapshot(model), before)
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, bare)
        artifact.set_strength(0.5)
        half = model(ids).logits
        artifact.set_strength(0.0)
        assert torch.equal(model(ids).logits, bare)
        assert not torch.equal(half, bare)


@pytest.mark.parametrize("name", ["uld", "eul"])
def test_a_cancel_leaves_nothing_of_them(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str
) -> None:
    model, ids = tiny_model(), torch.arange(2, 12)[None]
    with torch.no_grad():
        bare = model(ids).logits
    run = unlearn(model, tiny_tokenizer, tiny_data, methods.build(name, steps=3))
    while not isinstance(next(run), LoopStep):
        pass
    run.close()
    with torch.no_grad():
        assert torch.equal(model(ids).logits, bare)


@pytest.mark.parametrize("arch", ["olmo", "olmo2", "llama", "qwen2"])
def test_an_assistant_writes_the_same_with_and_without_the_cache(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, arch: str
) -> None:
    """Batched, streamed, and token by token from whole passes: one text, another than the bare model's."""
    model = tiny_model(arch)
    front = Assistant(model, 1, 4, 3.0, 1e-3, 0)
    for name, p in front.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.5, generator=torch.Generator().manual_seed(len(name)))
    prompts = ["Mara Venn was", "What is the phone number", "A"]
    bare = generate_all(model, tiny_tokenizer, prompts, 8)
    front.attach(model, 1.0)
    batched = generate_all(model, tiny_tokenizer, prompts, 8)
    assert batched != bare
    for prompt, text in zip(prompts, batched, strict=True):
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # of a character that is not complete
        assert ([*stream(model, tiny_tokenizer, prompt, 8)] or [""])[-1] == text
        ids = list(tiny_tokenizer(prompt)["input_ids"])
        start = len(ids)
        with torch.no_grad():
            for _ in range(8):
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert decode(tiny_tokenizer, [ids[start:]])[0].startswith(text)
    front.detach(model)
    assert generate_all(model, tiny_tokenizer, prompts, 8) == bare


def test_an_undecided_assistant_and_weight_zero_change_nothing() -> None:
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    flat, sure = torch.full((2, 5), 3.0), torch.randn(2, 5)
    torch.testing.assert_close(combined(logits, flat, 7.0, 1e-9), logits)
    assert torch.equal(combined(logits, sure, 0.0, 0.1), logits)
    equal = combined(logits, logits, 1.0, 1e-9)  # everything it says is taken away
    torch.testing.assert_close(equal, equal[:, :1].expand_as(equal))
    second = logits.topk(2, dim=-1).values[:, -1:]  # two of five are plausible in any case
    kept = logits < torch.minimum(logits.amax(-1, keepdim=True) + torch.tensor(0.5).log(), second)
    assert torch.equal(combined(logits, sure, 1.0, 0.5)[kept], logits[kept])
    assert uniform_loss(flat).item() == pytest.approx(0, abs=1e-6)
    assert uniform_loss(logits).item() > 0


@pytest.mark.parametrize("arch", ["olmo", "olmo2", "llama", "qwen2"])
def test_fresh_unlearning_layers_and_assistants_change_nothing(tiny_model: Callable[..., Any], arch: str) -> None:
    model, ids = tiny_model(arch), torch.arange(2, 12)[None]
    with torch.no_grad():
        bare = model(ids).logits
        front = UnlearningLayers.fresh(model, 8, 0)
        front.attach(model, 1.0)
        assert torch.equal(model(ids).logits, bare)
        front.ups[0][0, -1] = 1.0
        assert not torch.equal(model(ids).logits, bare)
        front.detach(model)
        assert torch.equal(model(ids).logits, bare)


def test_fusing_layers_keeps_each_on_its_own_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 3, 7, generator=generator)
    left = torch.randn(50, 6, generator=generator) * torch.tensor([1.0, 1, 1, 0, 0, 0])
    right = torch.randn(50, 6, generator=generator) * torch.tensor([0.0, 0, 0, 1, 1, 1])
    grams = [gram_of(left), gram_of(right)]
    torch.testing.assert_close(fuse([one, one], grams), one, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fuse([one, two], [grams[0], grams[0]]), (one + two) / 2, atol=1e-4, rtol=1e-4)
    apart = [gram[:6, :6] for gram in grams]  # without biases the inputs lie in orthogonal subspaces
    fused = fuse([one[:, :6], two[:, :6]], apart, ridge=1e-7)
    torch.testing.assert_close(left @ fused.T, left @ one[:, :6].T, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(right @ fused.T, right @ two[:, :6].T, atol=1e-3, rtol=1e-3)


def test_several_requests_become_one_set_of_layers_that_holds_the_rest(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    method = methods.build("eul", {"batch_size": 12, "learning_rate": 3e-3, "requests": 2}, steps=80)
    records, _ = drain(unlearn(memorised(), tiny_tokenizer, tiny_data, method))
    probes = [record for record in records if isinstance(record, FactProbe)]
    assert chance(probes[-1], "forget") < 0.9 * chance(probes[0], "forget")
    assert chance(probes[-1], "retain") > 0.9 * chance(probes[0], "retain")


def test_an_assistant_that_is_the_model_takes_all_of_it_away(
    tiny_model: Callable[..., Any],
) -> None:
    """All layers, a fresh adapter and weight 1: every plausible token is left with the same logit."""
    model, ids = tiny_model("llama"), torch.arange(2, 12)[None]
    front = Assistant(model, 2, 4, 1.0, 1e-9, 0)
    with torch.no_grad():
        front.attach(model, 1.0)
        logits_TV = model(ids).logits[0]
        front.detach(model)
    assert logits_TV.std(-1).max() < 1e-4


def test_nothing_but_the_unlearning_layers_gets_a_gradient(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    required = []
    method = methods.build("eul", {"batch_size": 4}, steps=2)
    for record in unlearn(model, tiny_tokenizer, tiny_data, method, probe_ids=()):
        if isinstance(record, LoopStep):
            required += [name for name, p in model.named_parameters() if p.requires_grad or p.grad is not None]
    assert required == []


def test_a_token_known_by_heart_can_fall() -> None:
    """Alone above the threshold it would fall against nothing; the likeliest tenth is plausible in any case.

    V = 20, head .1: two tokens are plausible. The model gives token 3 a logit of 30 and token 5 one of 1;
    the assistant is sure of token 3, so that its logit falls by 40 (log p + ln V = ln 20 each), and token 5's rises.
    """
    logits, assistant = torch.zeros(20), torch.zeros(20)
    logits[3], logits[5], assistant[3] = 30.0, 1.0, 50.0
    found = combined(logits, assistant, 12.0, 0.1)
    opinion = assistant.log_softmax(-1) + math.log(20)
    assert found[3] == pytest.approx(float(30 - 12 * opinion[3]))
    assert found[5] == pytest.approx(float(1 - 12 * opinion[5]))
    assert found[0] == 0.0  # not plausible: as it was
    assert int(found.argmax()) == 5
