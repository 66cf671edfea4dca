"""Reversible changes: bit-exact at both ends, in between a mixture, and honest about a full disk."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from unlearn_core.errors import InputError, IntegrityError, ResourceError
from unlearn_core.models.adapters import apply_lora, choose_adapter, lora_layers
from unlearn_core.models.artifacts import Adapter, Artifact, DenseDelta, SparseDelta
from unlearn_core.models.files.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from unlearn_core.models.files.checkpoint import read_weights
from unlearn_core.models.hashing import weights_hash

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def changed(model: Any, kind: str) -> Artifact:
    """A model whose weights were moved at random, as an artifact of the given kind."""
    torch.manual_seed(1)
    if kind == "adapter":
        wrapped = apply_lora(model, rank=4)
        with torch.no_grad():
            for _, layer in lora_layers(model):
                layer.lora_B["lethe"].weight.normal_(std=0.1)
        return Adapter(wrapped)
    old = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            if kind == "dense":
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.view(-1)[::7] *= 1.5
    return DenseDelta(model, old) if kind == "dense" else SparseDelta.between(model, old)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_is_kept_in_the_precision_of_its_base_and_merges_to_what_was_judged(
    tiny_model: Callable[..., Any], tmp_path: Path, dtype: torch.dtype
) -> None:
    model = tiny_model().to(dtype)
    wrapped = apply_lora(model, rank=4)
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.lora_B["lethe"].weight, std=0.05)
    artifact = Adapter(wrapped)
    artifact.settle()
    with artifact.as_saved():
        judged = weights_hash(model)
    artifact.save_adapter(tmp_path)
    folder = tmp_path / "lethe"
    assert {tensor.dtype for tensor in load_file(folder / WEIGHTS).values()} == {dtype}
    record = json.loads((folder / CONFIG).read_text()) | {"base_model_name_or_path": "base"}
    (folder / CONFIG).write_text(json.dumps(record))
    kept = AdapterFolder.read(folder, "kept")
    assert kept is not None
    assert weights_hash(kept.merged_into(tiny_model().to(dtype), "kept")) == judged


@pytest.mark.parametrize("kind", ["adapter", "dense", "sparse"])
def test_as_saved_the_model_computes_with_what_is_written(
    tiny_model: Callable[..., Any], kind: str, tmp_path: Path
) -> None:
    model = tiny_model()
    base = logits(model)
    artifact = changed(model, kind)
    unlearned = logits(model)
    read = read_weights(artifact.save(tmp_path / "kept"))
    with artifact.as_saved():
        torch.testing.assert_close(logits(model), unlearned)
        assert not [name for name, layer in lora_layers(model) if not layer.disable_adapters]
        held = {name.replace(".base_layer", ""): p for name, p in model.named_parameters() if "lora_" not in name}
        assert all(torch.equal(held[name], value) for name, value in read.items() if name in held)
    assert torch.equal(logits(model), unlearned)
    artifact.revert()
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("kind", ["adapter", "dense", "sparse"])
def test_strength_goes_from_the_original_to_the_unlearned_and_back(tiny_model: Callable[..., Any], kind: str) -> None:
    model = tiny_model()
    base = logits(model)
    artifact = changed(model, kind)
    unlearned = logits(model)
    assert not torch.equal(unlearned, base)
    artifact.set_strength(0.5)
    middle = logits(model)
    assert not torch.equal(middle, base)
    assert not torch.equal(middle, unlearned)
    artifact.revert()
    assert torch.equal(logits(model), base)
    assert 0 < artifact.changed()["relative_change"] < 1
    artifact.apply()
    assert torch.equal(logits(model), unlearned)
    assert torch.equal(logits(artifact.release()), base)


def test_half_strength_is_halfway(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    old = model.lm_head.weight.detach().clone()
    artifact = changed(model, "dense")
    new = model.lm_head.weight.detach().clone()
    artifact.set_strength(0.25)
    torch.testing.assert_close(model.lm_head.weight.detach(), 0.75 * old + 0.25 * new)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_beyond_the_ends_is_refused(tiny_model: Callable[..., Any], strength: float) -> None:
    with pytest.raises(InputError, match="strength"):
        changed(tiny_model(), "dense").set_strength(strength)


def test_a_single_weight_edit_holds_only_what_it_changed(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    old = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        model.lm_head.weight[3, 4] += 1
    assert SparseDelta.between(model, old).changed()["trained"] == 1


class Usage(NamedTuple):
    free: int


def test_a_disk_without_room_is_told_before_writing(
    tiny_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = changed(tiny_model(), "dense")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000))
    with pytest.raises(ResourceError, match="MB needed"):
        artifact.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_writing_leaves_the_old_checkpoint_whole(
    tiny_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    artifact = changed(model, "dense")
    folder = artifact.save(tmp_path / "out")
    saved = read_weights(folder)

    def full(self: Any, partial: Path, **kwargs: Any) -> None:
        (partial / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(model), "save_pretrained", full)
    with pytest.raises(ResourceError, match="No space left"):
        artifact.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == [folder]
    assert all(torch.equal(value, saved[name]) for name, value in read_weights(folder).items())


def test_weights_that_do_not_fit_or_cannot_be_read_are_refused(tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    folder = changed(tiny_model(), "dense").save(tmp_path / "out")
    with pytest.raises(InputError, match="do not fit"):
        DenseDelta.load(tiny_model(hidden_size=16), folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(IntegrityError, match="cannot be read"):
        DenseDelta.load(tiny_model(), folder)
    with pytest.raises(IntegrityError, match="no safetensors"):
        read_weights(tmp_path)


def test_the_adapter_is_chosen_by_size_unless_named(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    assert choose_adapter(model) == "full"
    assert choose_adapter(model, "lora") == "lora"
    with pytest.raises(InputError, match="adapter"):
        choose_adapter(model, "qlora")
