"""Every causal architecture of transformers that can be built tiny: two layers, random weights, 320 tokens.

One set of settings does for nearly all, since a configuration takes of them what it knows; the rest have
something of their own below. What cannot be built so (a picture model's whole configuration, experts by the
hundred) is left out, by its size before it is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ARCHITECTURES: tuple[str, ...] = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
POSITIONS, WINDOW = 128, 16
MOST_PARAMETERS = 3_000_000

_WIDTH = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size", "lru_width", "n_head_dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers")
_HEADS = (
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "decoder_attention_heads",
    "encoder_attention_heads",
    "linear_num_value_heads",
)
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_ff", "ffn_hidden_size")
_LENGTH = ("max_position_embeddings", "n_positions", "max_seq_len")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "moe_k", "moe_topk")
_NARROW = ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size")
_ONE = ("n_shared_experts", "n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups", "n_groups")
_TWO = ("num_key_value_heads", "num_kv_heads", "linear_num_key_heads", "mamba_expand", "expand")
_FOUR = ("time_step_rank",)
_EIGHT = (
    "head_dim",
    "d_kv",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "state_size",
    "mamba_d_state",
    "mamba_n_heads",
    "mamba_d_head",
    "mamba_num_heads",
    "mamba_head_dim",
    "mamba_chunk_size",
    "chunk_size",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "ssm_state_size",
    "hidden_size_per_layer_input",
    "rotary_dim",
)
_SIXTEEN = ("q_lora_rank", "kv_lora_rank", "qk_head_dim", "attention_window_size")
_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
_SIZES: dict[str, int] = {
    name: size
    for names, size in (
        (_WIDTH, 32),
        (_LAYERS, 2),
        (_HEADS, 4),
        (_INNER, 48),
        (_LENGTH, POSITIONS),
        (_EXPERTS, 4),
        (_CHOSEN, 2),
        (_NARROW, 24),
        (_ONE, 1),
        (_TWO, 2),
        (_FOUR, 4),
        (_EIGHT, 8),
        (_SIXTEEN, 16),
        (_WINDOWS, WINDOW),
        (("vocab_size", "vocab_size_per_layer_input"), 320),
        (("bos_token_id", "eos_token_id"), 0),
        (("pad_token_id",), 1),
    )
    for name in names
}
_HYBRID = {"layer_types": ["sliding_attention", "full_attention"]}
_LATENT = {"num_key_value_heads": 4}
_LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
_FORCED = ("bart", "blenderbot", "blenderbot-small", "marian", "mbart", "pegasus", "plbart")
_OWN: dict[str, dict[str, Any]] = {
    "gemma2": _HYBRID,
    "gemma3_text": _HYBRID,
    "gemma4_text": _HYBRID,
    "olmo3": _HYBRID,
    "gpt_oss": _HYBRID,
    "cohere2": _HYBRID,
    "exaone4": _HYBRID,
    "ministral": _HYBRID,
    "qwen3_next": _LINEAR,
    "qwen3_5_text": _LINEAR,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    **{name: {"forced_eos_token_id": None} for name in _FORCED},
    "qwen3_5_moe_text": _LINEAR,
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "falcon_h1": {"mamba_d_ssm": 64},
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "minicpm3"),
        _LATENT,
    ),
    **dict.fromkeys(("longcat_flash", "youtu"), _LATENT),
}


def tiny_config(arch: str, **settings: Any) -> Any:
    """The architecture's configuration at this size; `settings` go before ours."""
    kind = type(AutoConfig.for_model(arch))
    known, aliases = set(kind().to_dict()), getattr(kind, "attribute_map", {})
    taken = {name: size for name, size in _SIZES.items() if name in known or name in aliases}
    taken = {name: size for name, size in taken.items() if aliases.get(name) not in taken}
    return kind(**{**taken, **_OWN.get(arch, {}), **settings})


def tiny(arch: str, seed: int = 0, **settings: Any) -> Any:
    """A model of the architecture in float32, weights spread so that its tokens differ; None if it cannot be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = tiny_config(arch, **settings)
            with torch.device("meta"):
                size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
            if size > MOST_PARAMETERS:
                return None
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config).eval()
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.2)
            with torch.no_grad():
                model(input_ids=torch.arange(2, 10)[None], use_cache=False)
        except Exception:  # each refuses in its own way what it cannot be at this size
            return None
    return model


def zoo(names: tuple[str, ...] = ARCHITECTURES) -> Iterator[tuple[str, Any]]:
    """Those that can be built, by name, one in memory at a time."""
    for name in names:
        model = tiny(name)
        if model is not None:
            yield name, model
