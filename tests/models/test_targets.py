"""Only whole, safe, complete models are loaded; everything else is a message with a mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError
from unlearn_core.models import model_files
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.targets import CATALOGUE, load_target


@pytest.fixture
def saved(tiny_model, tiny_tokenizer, tmp_path) -> Path:
    tiny_model("olmo2").save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_saved_model_loads_with_its_hash(saved, tiny_model) -> None:
    target = load_target(str(saved), device="cpu")
    assert target.weights_hash == weights_hash(tiny_model("olmo2")) == weights_hash(target.model)
    assert target.num_parameters == sum(p.numel() for p in target.model.parameters())
    assert target.model.dtype == torch.float32
    assert not target.model.training
    assert target.tokenizer.decode(target.tokenizer("caf\u00e9")["input_ids"]) == "caf\u00e9"


def test_the_bundled_models_are_found_through_the_environment(saved, monkeypatch, tmp_path) -> None:
    world = tmp_path / "assets" / "demo"
    world.mkdir(parents=True)
    (world / "original").symlink_to(saved)
    monkeypatch.setenv("LETHE_ASSETS", str(tmp_path / "assets"))
    assert load_target("demo", public=True).ref == "demo"
    with pytest.raises(IntegrityError, match="retain_only"):
        load_target("demo:retain_only")


def test_sharded_weights_load_and_a_lost_shard_is_named(tiny_model, tiny_tokenizer, tmp_path) -> None:
    model = tiny_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    tiny_tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert load_target(str(tmp_path), device="cpu").weights_hash == weights_hash(model)
    shards[0].unlink()
    with pytest.raises(IntegrityError, match=shards[0].name):
        load_target(str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    "ref",
    ["", "  ", None, 3, "nosuch", "../x", "a/../b", "https://hub.example/a/b", "/no/such", "a/b/c", "a b/c",
     "x" * 5000, "a\0b", "~nobody-here/x", "a/b@", "-a/b", "C:\\models"],
)  # fmt: skip
def test_what_is_no_model_name_is_refused_without_a_network(ref) -> None:
    with pytest.raises(InputError) as caught:
        load_target(ref)
    assert caught.value.field == "target"
    assert "demo" in caught.value.mend


def test_strangers_may_use_bundled_models_only(saved) -> None:
    for ref in (str(saved), "someone/model", "demo:../../x", "lume-7b"):
        with pytest.raises(InputError, match="offered here"):
            load_target(ref, public=True)
    assert [info.name for info in CATALOGUE] == ["demo", "lume-1b", "lume-7b"]


def break_in(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "longer":
        weights.write_bytes(weights.read_bytes() + b"0")
    elif how == "not safetensors":
        weights.write_bytes(b"\xff" * 64)
    elif how == "empty":
        weights.write_bytes(b"")
    elif how == "no weights":
        weights.unlink()
    elif how == "pickle only":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "config is a list":
        (folder / "config.json").write_text("[]")
    elif how == "own code":
        edit_config(folder, auto_map={"AutoModelForCausalLM": "evil--modeling.Evil"})
    elif how == "kernel":
        edit_config(folder, text_config={"_attn_implementation": "someone/kernel"})
    elif how == "unknown architecture":
        edit_config(folder, model_type="nosuch")
    elif how == "wider":
        edit_config(folder, hidden_size=64)
    elif how == "deeper":
        edit_config(folder, num_hidden_layers=3)
    elif how == "no tokenizer":
        for path in folder.glob("token*"):
            path.unlink()
    elif how == "adapter":
        (folder / "adapter_config.json").write_text("{}")
    elif how == "index outside":
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')


@pytest.mark.parametrize(
    "how",
    ["truncated", "longer", "not safetensors", "empty", "no weights", "pickle only", "no config",
     "config is a list", "own code", "kernel", "unknown architecture", "wider", "deeper", "no tokenizer",
     "adapter", "index outside"],
)  # fmt: skip
def test_a_broken_or_hostile_directory_is_refused_in_plain_words(how, saved) -> None:
    break_in(saved, how)
    with pytest.raises(LetheError) as caught:
        load_target(str(saved), device="cpu")
    assert caught.value.field == "target"
    assert caught.value.mend
    assert "Traceback" not in str(caught.value)


def test_weights_that_are_not_numbers_are_refused(tiny_model, tiny_tokenizer, tmp_path) -> None:
    model = tiny_model("olmo2")
    with torch.no_grad():
        next(model.parameters())[3, 3] = float("nan")
    model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(IntegrityError, match="not numbers"):
        load_target(str(tmp_path), device="cpu")


def test_a_model_larger_than_memory_is_refused_before_loading(saved, monkeypatch) -> None:
    monkeypatch.setattr(model_files, "free_memory", lambda device: 1000)
    with pytest.raises(ResourceError, match="needs about"):
        load_target(str(saved), device="cpu")


def test_offline_without_a_copy_says_so(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ResourceError, match="cannot be reached"):
        load_target("nobody/nothing@main")
