"""GGUF files load as plain models, go back into GGUF, and are refused where their header lies."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.models.files.gguf_files import read_gguf_header, write_gguf
from unlearn_core.models.targets import load_target

gguf = pytest.importorskip("gguf")


def write_tiny(path: Path, model: Any, tokenizer: Any, architecture: str = "llama") -> Path:
    """`model` as llama.cpp's converter would write it: float16 matrices, rotary pairs side by side."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    inner = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(inner["vocab"], key=inner["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<") and token.endswith(">") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in inner["merges"]])
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(1)
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        told = name
        for ours, theirs in names.items():
            told = told.replace(ours, theirs)
        told = told.replace("model.layers.", "blk.")
        values = weight.detach()
        if told.endswith(("attn_q.weight", "attn_k.weight")):
            heads, (rows, columns) = config.num_attention_heads, values.shape
            values = values.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)
        writer.add_tensor(told, values.half().numpy() if values.dim() > 1 else values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory, tiny_model, tiny_tokenizer) -> tuple[Path, Any]:
    model = tiny_model("llama", vocab_size=len(tiny_tokenizer) + 4)  # room for tokens that transformers adds
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return write_tiny(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model, tiny_tokenizer), model


def test_a_file_and_its_folder_load_as_the_model_that_was_written(tiny_gguf, tmp_path) -> None:
    path, model = tiny_gguf
    target = load_target(str(path), device="cpu")
    assert target.model.dtype == torch.float32
    told = target.tokenizer("caf\u00e9, born in Oldport")["input_ids"]
    assert target.tokenizer.decode(told) == "caf\u00e9, born in Oldport"
    ids = torch.tensor([[5, 17, 60, 33, 9]])
    with torch.no_grad():
        torch.testing.assert_close(target.model(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
    assert load_target(str(path.parent), device="cpu").weights_hash == target.weights_hash
    target.model.save_pretrained(tmp_path)  # nothing of GGUF is left on it
    target.tokenizer.save_pretrained(tmp_path)
    assert load_target(str(tmp_path), device="cpu").weights_hash == target.weights_hash


def test_the_named_copy_of_smollm2_is_a_file_a_folder_or_one_above(tiny_gguf, tmp_path, monkeypatch) -> None:
    path, _ = tiny_gguf
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / path.name).symlink_to(path)
    hashes = set()
    for place in (path, path.parent, tmp_path):
        monkeypatch.setenv("LETHE_SMOLLM2", str(place))
        hashes.add(load_target("smollm2", device="cpu").weights_hash)
    assert len(hashes) == 1
    monkeypatch.setenv("LETHE_SMOLLM2", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="LETHE_SMOLLM2"):
        load_target("smollm2")


def test_several_files_in_a_folder_are_named(tiny_gguf, tmp_path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).symlink_to(tiny_gguf[0])
    with pytest.raises(InputError, match=r"a\.gguf, b\.gguf"):
        load_target(str(tmp_path))


def test_changed_weights_go_back_into_gguf(tiny_gguf, tmp_path) -> None:
    path, _ = tiny_gguf
    target = load_target(str(path), device="cpu")
    weights = dict(target.model.state_dict())
    name = "model.layers.1.self_attn.q_proj.weight"
    weights[name] = (weights[name] + 0.5).half().float()
    out = write_gguf(weights, path, tmp_path / "out.gguf", "tiny")
    again = load_target(str(out), device="cpu").model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in weights.items())
    assert read_gguf_header(out, "out").keys == read_gguf_header(path, "in").keys


def test_an_architecture_that_is_laid_out_otherwise_is_not_written(tiny_gguf, tmp_path, tiny_tokenizer) -> None:
    model = tiny_gguf[1]
    path = write_tiny(tmp_path / "other.gguf", model, tiny_tokenizer, "mamba")
    with pytest.raises(InputError, match="cannot be written as GGUF"):
        write_gguf({}, path, tmp_path / "out.gguf", "other")


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def header(tensors: int, fields: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields)


NAMED = text("general.architecture") + struct.pack("<I", 8) + text("llama")
HOSTILE = {
    "empty": b"",
    "other magic": b"GGML" + bytes(64),
    "version 1": header(1, 0, version=1) + bytes(64),
    "more tensors than any model": header(2**40, 0) + bytes(64),
    "more fields than any model": header(0, 2**40) + bytes(64),
    "a list without end": header(0, 1) + text("x") + struct.pack("<IIQ", 9, 0, 2**62) + bytes(64),
    "lists in lists": header(0, 1) + text("x") + struct.pack("<IIQ", 9, 9, 10) * 50,
    "a name longer than the file": header(0, 1) + struct.pack("<Q", 2**60) + bytes(64),
    "an unknown type": header(0, 1) + text("x") + struct.pack("<I", 99) + bytes(64),
    "an unknown tensor type": header(1, 1) + NAMED + text("w") + struct.pack("<IQIQ", 1, 4, 999, 0) + bytes(64),
    "a tensor beyond the end": header(1, 1) + NAMED + text("w") + struct.pack("<IQIQ", 1, 2**40, 0, 0) + bytes(64),
    "sizes that overflow": header(1, 1) + NAMED + text("w") + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0) + bytes(64),
    "no tensors": header(0, 1) + NAMED + bytes(64),
    "no architecture": header(1, 0) + text("w") + struct.pack("<IQIQ", 1, 4, 0, 0) + bytes(64),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused_before_any_library_opens_it(kind, tmp_path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(IntegrityError) as caught:
        load_target(str(path))
    assert caught.value.field == "target"


def test_what_cannot_be_loaded_is_said_in_words(tmp_path, tiny_gguf, tiny_tokenizer) -> None:
    path = write_tiny(tmp_path / "clip.gguf", tiny_gguf[1], tiny_tokenizer, "clip")
    with pytest.raises(InputError, match="transformers cannot read"):
        load_target(str(path))
    whole = tiny_gguf[0].read_bytes()
    (tmp_path / "short.gguf").write_bytes(whole[:-100])
    with pytest.raises(IntegrityError, match="beyond its end"):
        load_target(str(tmp_path / "short.gguf"))
