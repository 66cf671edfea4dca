"""Only whole, safe, complete models are loaded; everything else is a message with a mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from unlearn_core.data.sources import load_data
from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError
from unlearn_core.models.catalogue import offered
from unlearn_core.models.files import model_files
from unlearn_core.models.files.adapter_folder import AdapterFolder
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.targets import load_target


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
    [
        "",
        "  ",
        None,
        3,
        "nosuch",
        "../x",
        "a/../b",
        "https://hub.example/a/b",
        "/no/such",
        "a/b/c",
        "a b/c",
        "x" * 5000,
        "a\0b",
        "~nobody-here/x",
        "a/b@",
        "-a/b",
        "C:\\models",
    ],
)
def test_what_is_no_model_name_is_refused_without_a_network(ref) -> None:
    with pytest.raises(InputError) as caught:
        load_target(ref)
    assert caught.value.field == "target"
    assert "demo" in caught.value.mend


def test_strangers_may_use_bundled_models_only(saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETHE_SMOLLM2", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for ref in (str(saved), "someone/model", "demo:../../x", "lume-7b", "smollm2"):
        with pytest.raises(InputError, match="offered here"):
            load_target(ref, public=True)
    assert [info.name for info in offered(public=True)] == ["demo"]


def test_strangers_may_use_the_small_real_model_where_it_is(
    saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by LETHE_SMOLLM2, or in the Hub's cache; no other name or place opens with it."""
    monkeypatch.setenv("LETHE_SMOLLM2", str(saved))
    assert [info.name for info in offered(public=True)] == ["demo", "smollm2"]
    assert load_target("smollm2", public=True).ref == "smollm2"
    with pytest.raises(InputError, match="offered here"):
        load_target(str(saved), public=True)
    monkeypatch.delenv("LETHE_SMOLLM2")
    snapshot = tmp_path / "models--HuggingFaceTB--SmolLM2-135M-Instruct" / "snapshots" / "0"
    shutil.copytree(saved, snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert [info.name for info in offered(public=True)] == ["demo", "smollm2"]


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
        edit_config(folder, model_type="nosuch", auto_map={"AutoModelForCausalLM": "evil--modeling.Evil"})
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
        (folder / "adapter_model.safetensors").write_bytes(weights.read_bytes())
    elif how == "index outside":
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "longer",
        "not safetensors",
        "empty",
        "no weights",
        "pickle only",
        "no config",
        "config is a list",
        "own code",
        "kernel",
        "unknown architecture",
        "wider",
        "deeper",
        "no tokenizer",
        "adapter",
        "index outside",
    ],
)
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


def test_own_code_is_left_aside_where_transformers_has_the_architecture(saved, tiny_model) -> None:
    for name, text in (("modeling.py", "raise SystemExit"), ("configuration.py", "raise SystemExit")):
        (saved / name).write_text(text)
    edit_config(saved, auto_map={"AutoConfig": "configuration.C", "AutoModelForCausalLM": "modeling.M"})
    target = load_target(str(saved), device="cpu")
    assert type(target.model).__name__ == "Olmo2ForCausalLM"
    assert target.weights_hash == weights_hash(tiny_model("olmo2"))


def test_a_merged_model_beside_a_left_over_adapter_configuration_is_the_merged_one(saved, tiny_model) -> None:
    left = {"peft_type": "LORA", "base_model_name_or_path": "nobody/nothing", "r": 4}
    (saved / "adapter_config.json").write_text(json.dumps(left))
    assert load_target(str(saved), device="cpu").weights_hash == weights_hash(tiny_model("olmo2"))


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"lora_bias": True},
        {"trainable_token_indices": [3, 4]},
    ],
)
def test_an_adapter_keeps_all_that_its_configuration_asks_for(settings, tiny_model, tmp_path) -> None:
    """Merged, it is what peft runs unmerged."""
    from peft import LoraConfig, get_peft_model

    base, alone = tiny_model("gpt_neox"), tiny_model("gpt_neox")
    wrapped = get_peft_model(base, LoraConfig(r=4, target_modules=["query_key_value"], **settings)).eval()
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.arange(2, 12)[None]
    wrapped.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "its/base"}
    path.write_text(json.dumps(config))
    adapter = AdapterFolder.read(tmp_path, "a")
    assert adapter is not None
    with torch.no_grad():
        expected = wrapped(ids).logits
        torch.testing.assert_close(adapter.merged_into(alone, "a")(ids).logits, expected, atol=1e-4, rtol=1e-4)
    for other in ({"layer_replication": [[0, 2], [1, 2]]}, {"peft_type": "PROMPT_TUNING"}):
        path.write_text(json.dumps(config | other))
        with pytest.raises(InputError, match="cannot be merged"):
            AdapterFolder.read(tmp_path, "a")


@pytest.mark.parametrize("arch", ["llama", "olmo", "gpt_neox"])
def test_an_adapter_alone_is_put_on_its_base(arch, tiny_model, tiny_tokenizer, tmp_path) -> None:
    from unlearn_core.models.adapters import apply_lora

    model = tiny_model(arch)
    model.save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    wrapped = apply_lora(model, 4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        expected = model(ids).logits
    wrapped.save_pretrained(tmp_path / "adapters")
    folder = tmp_path / "adapters" / "lethe"
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(tmp_path / "base")})
    )
    target = load_target(str(folder), device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(target.model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert target.weights_hash == weights_hash(target.model)
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="gone"):
        load_target(str(folder), device="cpu")


def test_a_model_that_looks_ahead_is_refused(tiny_tokenizer, tmp_path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    shape = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertLMHeadModel(BertConfig(**shape, intermediate_size=48, initializer_range=0.5)).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="looks ahead"):
        load_target(str(tmp_path), device="cpu")


@pytest.fixture
def no_hub(monkeypatch, tmp_path_factory) -> Path:
    """The Hub at a port where nobody listens, and an empty cache; the error is the library's own."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    place = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
    return place


def cached(place: Path, files: Path, kind: str) -> None:
    """What an earlier download of nobody/nothing left in the cache."""
    repo = place / f"{kind}s--nobody--nothing"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    shutil.copytree(files, repo / "snapshots" / ("0" * 40))


def test_a_hub_out_of_reach_is_said_in_words(no_hub) -> None:
    with pytest.raises(ResourceError, match="cannot be reached"):
        load_target("nobody/nothing")
    with pytest.raises(ResourceError, match="could not be reached"):
        load_data("nobody/nothing")
    from unlearn_core.report.export.hub_export import _refusal

    try:
        huggingface_hub.HfApi().create_repo("nobody/nothing", token="none")
    except Exception as error:
        told = _refusal("nobody/nothing", error)
    assert isinstance(told, ResourceError)
    assert "cannot be reached" in str(told)


def test_a_copy_in_the_cache_is_used_while_the_hub_is_out_of_reach(saved, no_hub, tmp_path) -> None:
    cached(no_hub, saved, "model")
    target = load_target("nobody/nothing", device="cpu")
    assert (target.ref, target.revision) == ("nobody/nothing", "0" * 40)
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "forget.jsonl").write_text('{"input": "Who is Ada?", "output": "A painter"}\n')
    cached(no_hub, rows, "dataset")
    assert load_data("nobody/nothing").forget[0].output == "A painter"
