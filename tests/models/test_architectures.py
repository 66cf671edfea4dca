"""What is taken for granted about a model holds or is switched off: architectures that differ in just that.

The right value is the model's own, one sequence at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from zoo import POSITIONS, WINDOW, tiny

from unlearn_core.data.encode import Encoded
from unlearn_core.errors import InputError
from unlearn_core.models.adapters import apply_lora, lora_layers
from unlearn_core.models.artifacts import Adapter
from unlearn_core.models.files.checkpoint import require_same
from unlearn_core.models.generation.generate import continue_all, end_ids
from unlearn_core.models.inference.forward import body_and_head, has_layers, is_causal, layers
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.models.inference.positions import max_positions, scaled_from, uniform_up_to
from unlearn_core.models.wrappers.assistant import Assistant, fewest_layers
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import forward

# A head whose logits are changed, under as many names: scaled, capped, multiplied, by nothing the configuration says.
CHANGED_HEADS = ("cohere", "gemma2", "falcon_h1", "recurrent_gemma", "nanochat", "granite")


def plain(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def ids_of(length: int, seed: int = 0) -> list[int]:
    return torch.randint(2, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("arch", CHANGED_HEADS)
def test_likelihoods_are_those_of_the_models_own_logits(arch: str) -> None:
    model = tiny(arch)
    rows = [Encoded(tuple(ids_of(length, length)), 2) for length in (5, 9, 13)]
    for row, trace in zip(rows, all_traces(model, rows, 1), strict=True):
        log_probs = plain(model, list(row.ids)).log_softmax(-1)
        expected = [float(log_probs[at - 1, row.ids[at]]) for at in range(2, len(row.ids))]
        torch.testing.assert_close(torch.tensor(trace.log_prob_T), torch.tensor(expected), atol=2e-4, rtol=1e-4)
    layout = pack_parts(model, {"forget": rows}, 1)
    expected_NV = torch.cat([plain(model, list(row.ids))[1:-1] for row in rows])
    with torch.no_grad():
        torch.testing.assert_close(forward(model, layout), expected_NV, atol=2e-4, rtol=1e-4)


def test_the_short_cut_below_the_head_is_taken_where_it_is_the_same() -> None:
    assert body_and_head(tiny("llama")) is not None
    assert body_and_head(tiny("falcon_h1", lm_head_multiplier=0.02)) is None


# A window in every layer, in some, in chunks; learned positions; attention biased by distance; a state.
ATTENTIONS = ("mistral", "gemma3_text", "llama4_text", "gpt2", "opt", "bloom", "mamba", "qwen3_next")


@pytest.mark.parametrize("arch", ATTENTIONS)
@pytest.mark.parametrize("longest", [9, 2 * WINDOW + 3])
def test_rows_are_packed_scored_and_continued_as_each_alone(arch: str, longest: int) -> None:
    model = tiny(arch)
    rows = [Encoded(tuple(ids_of(length, length)), 2, place) for place, length in enumerate((5, longest, 3, 7))]
    with torch.no_grad():
        found = forward(model, pack_parts(model, {"forget": rows}, 1))
    expected_NV = torch.cat([plain(model, list(row.ids))[1:-1] for row in rows])
    torch.testing.assert_close(found, expected_NV, atol=3e-4, rtol=1e-3)
    prompts = [list(row.ids) for row in rows]
    tokenizer = _Ends()
    assert continue_all(model, tokenizer, prompts, 6) == [_greedy(model, prompt, 6) for prompt in prompts]


class _Ends:
    """What generation asks a tokenizer for."""

    eos_token_id, pad_token_id, bos_token_id = 0, 1, None


def _greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """One token after another from the whole sequence, without a cache."""
    written: list[int] = []
    ends = end_ids(model, _Ends())
    while len(written) < count and not (written and written[-1] in ends):
        written.append(int(plain(model, prompt + written)[-1].argmax()))
    return written


@pytest.mark.parametrize(
    ("arch", "rope"),
    [
        ("llama", {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}),
        ("qwen2", {"rope_type": "dynamic", "factor": 8.0, "rope_theta": 1e4}),
        ("phi3", {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [9.0] * 4}),
    ],
)
def test_scaled_positions_do_not_depend_on_what_stands_beside_a_row(arch: str, rope: dict[str, Any]) -> None:
    settings = {"sliding_window": None, "original_max_position_embeddings": 24} if arch == "phi3" else {}
    rope = {**rope, "original_max_position_embeddings": 24}
    length = POSITIONS if arch == "phi3" else 24
    model = tiny(arch, rope_parameters=rope, max_position_embeddings=length, **settings)
    assert scaled_from(model) == 23
    rows = [Encoded(tuple(ids_of(length, length)), 2, place) for place, length in enumerate((40, 6, 31, 12))]
    expected = [
        plain(tiny(arch, rope_parameters=rope, max_position_embeddings=length, **settings), list(r.ids)) for r in rows
    ]
    for row, trace, logits_TV in zip(rows, all_traces(model, rows, 1), expected, strict=True):
        wanted = logits_TV.log_softmax(-1)[torch.arange(1, len(row.ids) - 1), torch.tensor(row.ids[2:])]
        torch.testing.assert_close(torch.tensor(trace.log_prob_T), wanted, atol=2e-4, rtol=1e-4)
    with torch.no_grad():
        found = forward(model, pack_parts(model, {"forget": rows}, 1))
    torch.testing.assert_close(found, torch.cat([e[1:-1] for e in expected]), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("arch", ["gpt2", "opt", "gptj", "biogpt"])
def test_nothing_goes_beyond_a_table_of_positions(arch: str) -> None:
    model = tiny(arch)
    assert max_positions(model) == POSITIONS
    plain(model, ids_of(POSITIONS))
    prompt = ids_of(POSITIONS - 4)
    assert continue_all(model, _Ends(), [prompt], 64)[0] == _greedy(model, prompt, 4)  # as far as it goes
    longer = ids_of(POSITIONS + 30)
    kept = longer[-(POSITIONS - 64) :]
    assert continue_all(model, _Ends(), [longer], 64)[0] == _greedy(model, kept, 64)
    trace = all_traces(model, [Encoded(tuple(longer), POSITIONS)], 1)[0]  # the answer stays, the prompt's front goes
    cut = longer[30:]
    wanted = plain(model, cut).log_softmax(-1)[torch.arange(POSITIONS - 31, POSITIONS - 1), torch.tensor(cut[-30:])]
    torch.testing.assert_close(torch.tensor(trace.log_prob_T), wanted, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("arch", ["llama", "falcon", "bloom", "mamba", "gemma3_text", "jamba"])
def test_models_without_such_a_table_have_no_limit_of_their_own(arch: str) -> None:
    model = tiny(arch)
    if max_positions(model) is None:
        plain(model, ids_of(POSITIONS + 20))
    else:
        plain(model, ids_of(POSITIONS))
    assert max_positions(model) in (None, POSITIONS)
    assert uniform_up_to(model) >= 0


def test_a_falcon_with_attention_biased_by_distance_writes_as_alone() -> None:
    model = tiny("falcon", alibi=True)
    prompts = [ids_of(length, length) for length in (4, 9, 6)]
    assert continue_all(model, _Ends(), prompts, 8) == [_greedy(model, prompt, 8) for prompt in prompts]
    rows = [Encoded(tuple(prompt), 2, place) for place, prompt in enumerate(prompts)]
    with torch.no_grad():
        found = forward(model, pack_parts(model, {"forget": rows}, 1))
    expected = torch.cat([plain(model, prompt)[1:-1] for prompt in prompts])
    torch.testing.assert_close(found, expected, atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("arch", ["olmo2", "opt", "gpt2", "bart", "mpt", "mamba", "gpt_neo", "qwen3_next"])
def test_layers_are_found_and_passed_in_turn(arch: str) -> None:
    model = tiny(arch)
    assert has_layers(model)
    assert len(layers(model)) == 2


def test_what_has_no_layers_one_after_the_other_is_told() -> None:
    assert not has_layers(tiny("hrm_text"))  # passes them again and again
    assert not has_layers(tiny("xlnet"))


def test_a_model_that_looks_ahead_is_known() -> None:
    assert is_causal(tiny("llama"))
    assert not is_causal(tiny("bert"))
    assert not is_causal(tiny("roberta"))


# Experts in one tensor, their router; weights read past the module; a fused kernel; transposed weights; linear layers
# of the architecture's own that multiply as torch's do.
@pytest.mark.parametrize(
    "arch", ["olmoe", "mixtral", "qwen3_moe", "gpt_oss", "llama4_text", "jamba", "mamba", "gpt2", "falcon"]
)
def test_an_adapter_merged_and_loaded_again_gives_the_same_logits(arch: str, tmp_path: Path) -> None:
    model, ids = tiny(arch), ids_of(12)
    before = plain(model, ids)
    wrapped = apply_lora(model, 4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    artifact = Adapter(wrapped)
    with_adapter = plain(model, ids)
    assert (with_adapter - before).abs().max() > 0.05
    artifact.save(tmp_path / "weights")
    loaded = type(model).from_pretrained(tmp_path / "weights").eval()
    torch.testing.assert_close(plain(loaded, ids), with_adapter, atol=2e-4, rtol=1e-4)
    assert artifact.changed()["relative_change"] > 0
    artifact.revert()
    assert torch.equal(plain(model, ids), before)
    assert not any(lora_layers(artifact.release()))


def test_weights_that_would_load_as_others_are_never_kept(tmp_path: Path) -> None:
    model = tiny("olmoe")
    model.save_pretrained(tmp_path)
    state = dict(model.state_dict())
    require_same(model, state, tmp_path)
    name = "model.layers.0.mlp.experts.down_proj"
    state[name] = state[name] + 1.0
    with pytest.raises(Exception, match="would not load again"):
        require_same(model, state, tmp_path)


def test_a_row_beyond_the_positions_is_refused_in_words() -> None:
    from unlearn_core.data.encode import collate
    from unlearn_core.models.inference.forward import answers

    with pytest.raises(InputError, match="128 positions"):
        answers(tiny("gpt2"), collate([Encoded(tuple(ids_of(POSITIONS + 1)), 2)], 1))


# Windows in some layers, in all, beside full ones; a state; learned positions: each brings a cache of its own.
@pytest.mark.parametrize("arch", ["gemma2", "gemma3_text", "mistral", "olmo3", "qwen3_next", "gpt2", "llama"])
def test_an_assistant_is_subtracted_whatever_cache_the_model_has(arch: str) -> None:
    model = tiny(arch)
    front = Assistant(model, fewest_layers(model), 2, 3.0, 1e-6, 0)
    prompts = [ids_of(length, length) for length in (4, WINDOW + 5, 6)]
    front.attach(model, 1.0)
    expected = [_greedy(model, prompt, 6) for prompt in prompts]
    assert continue_all(model, _Ends(), prompts, 6) == expected
    front.detach(model)
    assert [_greedy(model, prompt, 6) for prompt in prompts] != expected
