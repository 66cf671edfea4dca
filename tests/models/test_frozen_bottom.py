"""A pass that begins above the frozen layers gives the same values and gradients, and computes less."""

from __future__ import annotations

import pytest
import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods import build
from unlearn_core.methods.capabilities import trains
from unlearn_core.models.adapters import apply_lora, lora_layers
from unlearn_core.models.inference.forward import canonical_name, layer_of, layers, num_layers
from unlearn_core.models.inference.frozen_bottom import bottom_of, frozen_below
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import lowest_to_train
from unlearn_core.training.packing import forward
from unlearn_core.training.trainable import Trainable

ROWS = {
    "forget": [Encoded((5, 9, 17, 30, 31), 2, 0), Encoded((7, 8, 9), 1, 1)],
    "retain": [Encoded((40, 41, 42, 43, 44, 45, 46, 47), 3, 0)],
}


@pytest.mark.parametrize("arch", ["llama", "olmo2", "gpt_neox", "qwen2"])
def test_values_and_gradients_are_those_of_whole_passes(arch, tiny_model) -> None:
    model = tiny_model(arch, num_hidden_layers=4)
    apply_lora(model, 4, trains=lambda name: (layer_of(name) or 0) >= 2)
    assert {layer_of(name) for name, _ in lora_layers(model)} == {2, 3}
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        torch.nn.init.normal_(parameter, std=0.1)

    def step() -> list[torch.Tensor]:
        logits_NV = forward(model, pack_parts(model, ROWS, 1))
        logits_NV.log_softmax(-1)[:, 3].sum().backward()
        found = [logits_NV.detach(), *(p.grad for p in trained)]
        for parameter in trained:
            parameter.grad = None
        return found

    whole = step()
    calls: list[int] = []
    handle = next(layers(model)[0].children()).register_forward_hook(lambda *_: calls.append(1))
    with frozen_below(model, 2):
        assert bottom_of(model) is not None
        calls.clear()  # the trial
        for _ in range(3):
            for was, now in zip(whole, step(), strict=True):
                torch.testing.assert_close(now, was, atol=1e-5, rtol=1e-4)
    assert len(calls) == 1  # computed once for all three steps
    handle.remove()
    assert bottom_of(model) is None
    assert len(layers(model)) == 4


def test_a_text_scored_again_begins_above_and_a_step_learns_from_what_a_score_kept(tiny_model) -> None:
    model = tiny_model("llama", num_hidden_layers=4)
    rows = [*ROWS["forget"], *ROWS["retain"]]
    whole = all_traces(model, rows, 1)
    apply_lora(model, 4, trains=lambda name: (layer_of(name) or 0) >= 2)
    calls: list[int] = []
    handle = next(layers(model)[0].children()).register_forward_hook(lambda *_: calls.append(1))
    layout = pack_parts(model, ROWS, 1)
    with frozen_below(model, 2):
        calls.clear()  # the trials
        for _ in range(2):
            for was, now in zip(whole, all_traces(model, rows, 1), strict=True):
                assert now.log_prob_T == pytest.approx(was.log_prob_T, abs=1e-5)
        with frozen_below(model, 3):  # as the training does, which goes on with what is kept
            forward(model, layout).sum().backward()
        assert bottom_of(model) is not None
    handle.remove()
    assert len(calls) == 1
    assert any(p.grad is not None for p in model.parameters())


def test_an_inner_one_that_begins_lower_keeps_its_own(tiny_model) -> None:
    model = tiny_model("llama", num_hidden_layers=4)
    with frozen_below(model, 3):
        outer = bottom_of(model)
        with frozen_below(model, 2):
            assert bottom_of(model).first == 2
        with frozen_below(model, 0):
            assert bottom_of(model) is None
        assert bottom_of(model) is outer


def test_what_will_train_is_known_before(tiny_model) -> None:
    model = tiny_model("llama", num_hidden_layers=4)
    assert lowest_to_train(build("lethe_pretrained"), model, None) == 2
    assert lowest_to_train(build("npo"), model, "lora") == 0
    assert lowest_to_train(build("npo"), model, None) == 0  # all weights
    assert lowest_to_train(build("revs"), model, None) == 0


@pytest.mark.parametrize("arch", ["llama", "gpt2", "mixtral", "olmoe"])
def test_nothing_trains_below_what_was_said_before(arch, tiny_model) -> None:
    """Experts and GPT-2's maps are no linear layers, and get adapters all the same."""
    model, method = tiny_model(arch), build("lethe_pretrained")
    depth = num_layers(model)
    lowest = lowest_to_train(method, model, None)
    trained = Trainable(
        model, None, 4, 0, method.traits.adapter, lambda name: trains(method, canonical_name(model, name), depth)
    )
    layers_trained = {layer_of(canonical_name(trained.model, name)) for name in trained.named}
    assert None not in layers_trained
    assert min(layers_trained) >= lowest > 0


def test_where_all_layers_train_every_pass_is_whole(tiny_model) -> None:
    model = tiny_model("llama")
    with frozen_below(model, 0):
        assert bottom_of(model) is None
