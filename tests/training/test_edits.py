"""Methods without gradient steps: edits of single weights, and fronts before weights that stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_helpers import drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.evaluation.evaluate import evaluate
from unlearn_core.methods.base import Edit
from unlearn_core.methods.inference_time.auxiliary_training import AuxiliaryTraining
from unlearn_core.models.artifacts import DenseDelta, Edits, SparseDelta
from unlearn_core.models.generation.generate import generate_all, stream
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.inference_wrapper import beneath
from unlearn_core.models.targets import load_target
from unlearn_core.models.wrappers.wrapper_artifact import DECLARATION, Wrapper
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import FactProbe, LoopStep

EDITS = [name for name, cls in methods.REGISTRY.items() if issubclass(cls, Edit)]
TOUCHED = {  # and the MLPs' outputs
    "pem_ia3": (".k_proj.weight", ".v_proj.weight", ".k_proj.bias", ".v_proj.bias"),
    "repselect": (".mlp.gate_proj.weight", ".mlp.up_proj.weight"),
}
# A random model ranks every answer low already, so that there is little to demote.
EAGER: dict[str, dict[str, Any]] = {"revs": {"rank": 0.9, "neuron_rank": 0.95}}
FRONTS = ["icul", "guard_prompt", "guard_input", "guard_output", "uld", "eul"]


def steps_of(name: str) -> int | None:
    """A few steps for what trains something of its own, the defaults for the rest."""
    return 4 if issubclass(methods.REGISTRY[name], AuxiliaryTraining) else None


@pytest.fixture
def named_data(tiny_data: UnlearningData) -> UnlearningData:
    """The tiny data with somebody in the forget rows whom no retained row names."""
    rows = tuple(
        replace(row, input=row.input.replace("forget", "Forgett"), output=f"Answer Zed{n}")
        for n, row in enumerate(tiny_data.forget)
    )
    return replace(tiny_data, forget=rows)


@pytest.mark.parametrize("arch", ["olmo", "olmo2", "llama", "qwen2"])
@pytest.mark.parametrize("name", EDITS)
def test_every_edit_can_be_undone_bit_for_bit(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData, name: str, arch: str
) -> None:
    model = tiny_model(arch)
    before = snapshot(model)
    method = methods.build(name, EAGER.get(name), steps=steps_of(name))
    records, artifact = drain(unlearn(model, tiny_tokenizer, named_data, method))
    steps = [record.step for record in records if isinstance(record, LoopStep)]
    assert steps == list(range(1, len(steps) + 1))
    assert [r for r in records if isinstance(r, FactProbe)][-1].step == len(steps)
    after = snapshot(model)
    touched = {key for key in before if not torch.equal(before[key], after[key])}
    if name in FRONTS:
        assert isinstance(artifact, Wrapper)
        assert not touched
        assert artifact.changed()["relative_change"] == 0
    else:
        assert isinstance(artifact, SparseDelta | DenseDelta)
        assert touched
        allowed = ("mlp.down_proj.weight", *TOUCHED.get(name, ()))
        assert all(key.endswith(allowed) for key in touched)
    artifact.set_strength(0.0)
    assert same(snapshot(model), before)
    artifact.apply()
    assert same(snapshot(model), after)
    assert same(snapshot(artifact.release()), before)


def test_a_cancel_in_the_middle_takes_every_edit_back(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    model = tiny_model()
    before = snapshot(model)
    method = methods.build("selective_pruning", steps=4)
    run = unlearn(model, tiny_tokenizer, named_data, method)
    while not isinstance(next(run), LoopStep):
        pass
    assert not same(snapshot(model), before)
    run.close()
    assert same(snapshot(model), before)


def test_edits_of_the_same_weight_are_one_change(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    before, name = snapshot(model), "model.layers.0.mlp.down_proj.weight"
    edits = Edits(model)
    edits.put(name, (0, torch.tensor([3, 4])), torch.tensor([1.0, 2.0]))
    edits.put(name, (0, torch.tensor([4, 5])), torch.tensor([7.0, 8.0]))
    artifact = edits.artifact()
    assert artifact.changed()["trained"] == 3
    assert model.get_parameter(name).view(-1)[3:6].tolist() == [1.0, 7.0, 8.0]
    artifact.revert()
    assert same(snapshot(model), before)


def test_pruning_takes_the_share_it_was_given_and_no_neuron_twice(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    model = tiny_model()
    method = methods.build("selective_pruning", {"share": 0.25}, steps=3)
    drain(unlearn(model, tiny_tokenizer, named_data, method))
    weights = [layer.mlp.down_proj.weight for layer in model.model.layers]
    assert sum(int((weight == 0).all(0).sum()) for weight in weights) == 0.25 * 2 * 64


def test_a_task_vector_is_a_straight_line_through_the_original(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    """theta(a) = theta - a (trained - theta), so theta(-1) would be the trained model: with strength 1
    the original lies halfway between the trained and the negated weights."""
    results = {}
    for strength in (0.0, 1.0, 2.0):
        model = tiny_model()
        original = snapshot(model)
        method = methods.build("task_vector", {"strength": strength}, steps=3)
        _, artifact = drain(unlearn(model, tiny_tokenizer, named_data, method))
        results[strength] = snapshot(model)
        artifact.set_strength(2.0)
        results[2 * strength, "turned"] = snapshot(model)
    assert same(results[0.0], original)
    for key, value in original.items():
        torch.testing.assert_close(results[2.0][key] - value, 2 * (results[1.0][key] - value), atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(results[2.0, "turned"][key], results[2.0][key], atol=1e-6, rtol=1e-4)


def test_an_input_filter_refuses_who_is_named_and_nobody_else(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    model = tiny_model()
    asked = [named_data.forget[0].input, named_data.retain[0].input]
    bare = generate_all(model, tiny_tokenizer, asked, 6)
    drain(unlearn(model, tiny_tokenizer, named_data, methods.build("guard_input")))
    assert generate_all(model, tiny_tokenizer, asked, 6) == ["I don't know.", bare[1]]
    assert list(stream(model, tiny_tokenizer, asked[0], 6)) == ["I don't know."]
    with beneath(model):
        assert generate_all(model, tiny_tokenizer, asked, 6) == bare


def test_an_output_filter_shows_nothing_before_the_whole_answer_is_read(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """The memorised model says `name 1` to this prompt; here no retained row shares that answer."""
    model = memorised()
    row = tiny_data.forget[0]
    data = UnlearningData("one", (replace(row, kind="question"),))
    assert row.output in generate_all(model, tiny_tokenizer, [row.input], 8)[0]
    drain(unlearn(model, tiny_tokenizer, data, methods.build("guard_output")))
    assert generate_all(model, tiny_tokenizer, [row.input], 8) == ["I don't know."]
    assert list(stream(model, tiny_tokenizer, row.input, 8)) == ["I don't know."]


def test_text_filters_hide_and_leave_membership_inference_as_it_was(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    model = tiny_model()

    def score() -> Any:
        _, scores = drain(evaluate(model, tiny_tokenizer, named_data))  # type: ignore[arg-type]
        return scores

    bare: Any = score()
    drain(unlearn(model, tiny_tokenizer, named_data, methods.build("guard_input")))
    guarded: Any = score()
    assert guarded.details.member_losses == bare.details.member_losses
    assert guarded.weights_hash == bare.weights_hash
    assert {g.output for g in guarded.generations if g.split == "forget"} == {"I don't know."}


def test_icul_shows_no_true_forget_answer(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    _, artifact = drain(unlearn(tiny_model(), tiny_tokenizer, named_data, methods.build("icul")))
    assert isinstance(artifact, Wrapper)
    row = named_data.forget[2]
    prompt = artifact.front.ask(row.input)
    assert prompt.endswith(row.input)
    assert not any(r.output in prompt for r in named_data.forget)
    assert prompt.count("\n") == 3


@pytest.mark.parametrize("name", FRONTS)
def test_a_kept_wrapper_can_be_asked_again(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData, tmp_path: Path, name: str
) -> None:
    base = tmp_path / "base"
    tiny_model().save_pretrained(base)
    tiny_tokenizer.save_pretrained(base)
    target = load_target(str(base), device="cpu")
    method = methods.build(name, steps=steps_of(name))
    _, artifact = drain(unlearn(target.model, target.tokenizer, named_data, method))
    folder = artifact.save(tmp_path / "kept", target.tokenizer, str(base))
    record = json.loads((folder / DECLARATION).read_text())
    assert "unchanged" in record["note"]
    learnt = sum(tensor.numel() for tensor in artifact.front.tensors().values())  # type: ignore[attr-defined]
    assert bool(learnt) == bool(list(folder.glob("*.safetensors")))
    again = load_target(str(folder), device="cpu")
    prompts = [row.input for row in (*named_data.forget[:3], *named_data.retain[:3])]
    said = generate_all(target.model, tiny_tokenizer, prompts, 6)
    assert generate_all(again.model, tiny_tokenizer, prompts, 6) == said
    assert weights_hash(again.model) == record["base_weights_hash"]
    tiny_model(seed=5).save_pretrained(base)
    with pytest.raises(IntegrityError, match="other weights"):
        load_target(str(folder), device="cpu")
    (folder / DECLARATION).write_text('{"kind": "input filter"')
    with pytest.raises(IntegrityError, match="damaged"):
        load_target(str(folder), device="cpu")


def test_what_cannot_work_says_why(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, named_data: UnlearningData
) -> None:
    alone = UnlearningData("alone", (Example("a1qa1", "Who?", "Nobody"),))
    with pytest.raises(InputError, match="retain set"):
        next(unlearn(tiny_model(), tiny_tokenizer, alone, methods.build("selective_pruning")))
    with pytest.raises(InputError, match="not what this method trains"):
        next(unlearn(tiny_model(), tiny_tokenizer, named_data, methods.build("pem_lora"), adapter="full"))
    _, artifact = drain(unlearn(tiny_model(), tiny_tokenizer, named_data, methods.build("guard_input")))
    with pytest.raises(InputError, match="between off and on"):
        artifact.set_strength(0.5)
