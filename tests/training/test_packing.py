"""One packed pass equals running every sequence alone; in pieces it gives the same gradient."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Losses, Method
from unlearn_core.models.inference import forward as head
from unlearn_core.models.inference import packed
from unlearn_core.training import packing
from unlearn_core.training.layout import can_pack, pack_parts
from unlearn_core.training.packing import forward, gradients, split_parts
from unlearn_core.training.passes import ModelPasses
from unlearn_core.training.resources.activation_memory import recomputed

PAD = 1
LENGTHS = (5, 9, 3, 14, 7, 7, 12, 4)


def sequences(lengths: tuple[int, ...] = LENGTHS) -> list[Encoded]:
    drawn = torch.Generator().manual_seed(0)
    return [
        Encoded(tuple(torch.randint(2, 300, (length,), generator=drawn).tolist()), length // 2, index)
        for index, length in enumerate(lengths)
    ]


def alone(model: Any, row: Encoded) -> torch.Tensor:
    """Logits at the labelled positions of one sequence, through the plain model."""
    return model(torch.tensor([row.ids])).logits[0, max(row.num_prompt, 1) - 1 : -1]


@pytest.mark.parametrize("arch", ["olmo2", "llama", "qwen2", "gpt_neox"])
def test_packed_logits_equal_each_sequence_run_alone(tiny_model: Callable[..., Any], arch: str) -> None:
    model = tiny_model(arch)
    rows = sequences()
    layout = pack_parts(model, {"forget": rows[:3], "retain": rows[3:]}, PAD)
    assert can_pack(model)
    assert layout.packs[0].input_ids_BT.shape[0] < len(rows)
    with torch.no_grad():
        parts = split_parts(layout, forward(model, layout))
        for part, members in (("forget", rows[:3]), ("retain", rows[3:])):
            expected = torch.cat([alone(model, row) for row in members])
            torch.testing.assert_close(parts[part].logits_NV, expected, atol=2e-5, rtol=1e-5)
            assert parts[part].labels_N.tolist() == [t for row in members for t in row.ids[row.num_prompt :]]
            assert parts[part].index_B.tolist() == [row.index for row in members]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    ("arch", "settings"),
    [("olmo", {}), ("olmo2", {}), ("llama", {"num_key_value_heads": 2}), ("qwen2", {}), ("gpt_neox", {})],
)
def test_sequences_end_to_end_give_the_losses_and_gradients_of_padded_rows(
    tiny_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    settings: dict[str, Any],
    recompute: bool,
) -> None:
    """As a GPU packs them: one row without a position to spare, whole or a few sequences at a time."""
    model, method = tiny_model(arch, **settings), methods.build("npo")
    rows = sequences()
    losses, expected = one_step(model, method, rows, None)
    monkeypatch.setattr(packed, "why_padded", lambda model: None)
    layout = pack_parts(model, {"forget": rows}, PAD)
    assert layout.num_positions == layout.num_tokens == sum(LENGTHS)
    assert can_pack(model)
    for limit in (None, 3):
        with recomputed(model, recompute):
            found, slopes = one_step(model, method, rows, limit)
        torch.testing.assert_close(found.total, losses.total)
        for a, b in zip(slopes, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    # What is not packed is attended to as before, with and without padding.
    ids = torch.tensor([rows[0].ids, rows[1].ids[:5]])
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    ours = model(ids, attention_mask=mask).logits[:, -1]
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(ours, model(ids, attention_mask=mask).logits[:, -1])


@pytest.mark.parametrize("heads", [(4, 4, 4), (4, 2, 2)])
def test_torch_takes_what_a_gpu_gives_its_flash_attention(heads: tuple[int, ...]) -> None:
    """By shapes alone, there and back: the kernel itself needs a GPU."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    if "enable_gqa" not in inspect.signature(varlen.varlen_attn).parameters:
        pytest.skip("this torch is older: rows are padded and masked")
    states = [torch.empty(8, n, 64, device="meta", dtype=torch.bfloat16, requires_grad=True) for n in heads]
    bounds = torch.empty(3, dtype=torch.int32, device="meta")
    out = packed._flash(*states, bounds, 5, 0.125)
    assert out.shape == states[0].shape
    out.sum().backward()
    assert [state.grad.shape for state in states] == [state.shape for state in states]  # type: ignore[union-attr]


def test_states_beside_are_those_at_the_last_token_of_each_prompt(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("olmo2", num_hidden_layers=4)
    rows = sequences()
    passes = ModelPasses(model, SimpleNamespace(pad_token_id=PAD, eos_token_id=0), {}, beside=(0, 2))
    with torch.no_grad():
        found_RLD = passes.states(rows)
        for row, states_LD in zip(rows, found_RLD, strict=True):
            every = model(torch.tensor([row.ids]), output_hidden_states=True).hidden_states
            expected = torch.stack([every[number][0, row.num_prompt - 1] for number in (1, 3)])
            torch.testing.assert_close(states_LD, expected, atol=2e-5, rtol=1e-5)


def test_packing_wastes_little(tiny_model: Callable[..., Any]) -> None:
    drawn = torch.Generator().manual_seed(0)
    lengths = tuple(torch.randint(15, 36, (48,), generator=drawn).tolist())
    layout = pack_parts(tiny_model(), {"forget": sequences(lengths)}, PAD)
    assert layout.num_tokens / layout.num_positions > 0.9


def test_what_stands_in_unused_positions_changes_nothing(tiny_model: Callable[..., Any]) -> None:
    model, rows = tiny_model(), sequences()
    with torch.no_grad():
        some, other = (forward(model, pack_parts(model, {"forget": rows}, pad)) for pad in (1, 77))
    assert torch.equal(some, other)


def test_a_sequence_without_prompt_loses_its_first_token_only(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    row = Encoded((5, 6, 7), 0)
    layout = pack_parts(model, {"forget": [row]}, PAD)
    assert layout.labels_N.tolist() == [6, 7]
    torch.testing.assert_close(forward(model, layout), alone(model, row))


def one_step(model: Any, method: Method, rows: list[Encoded], limit: int | None) -> tuple[Losses, list[Any]]:
    model.zero_grad()
    layout = pack_parts(model, {"forget": rows[:4], "retain": rows[4:]}, PAD, limit)
    reference = SimpleNamespace(nll=lambda part: torch.full((len(rows),), 3.0))
    context: Any = Context(model, 1, 0, {}, reference, Any)  # type: ignore[arg-type]
    losses = gradients(model, method, context, layout, in_pieces=limit is not None)
    return losses, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("name", ["grad_diff", "simnpo"])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pieces_give_the_gradient_of_the_whole_step(tiny_model: Callable[..., Any], name: str, limit: int) -> None:
    """Sequences of different lengths, token means and sequence means: equal to rounding all the same."""
    model, method = tiny_model(), methods.build(name)
    whole, expected = one_step(model, method, sequences(), None)
    pieces, found = one_step(model, method, sequences(), limit)
    torch.testing.assert_close(pieces.total, whole.total)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["grad_diff", "npo", "ceu", "ngdiff"])
@pytest.mark.parametrize("limit", [None, 3])
def test_losses_a_block_of_logits_at_a_time_have_the_same_gradient(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str, limit: int | None
) -> None:
    model, method = tiny_model(), methods.build(name)
    whole, expected = one_step(model, method, sequences(), limit)
    monkeypatch.setattr(packing, "WHOLE_BYTES", 0)
    monkeypatch.setattr(head, "BLOCK_BYTES", 4 * 320 * 3)  # three positions
    seen: list[int] = []
    hook = model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    blocks, found = one_step(model, method, sequences(), limit)
    hook.remove()
    torch.testing.assert_close(blocks.total, whole.total)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    if name != "ceu":  # which reads every logit of the forget answers
        assert max(seen) == 3


def test_the_order_of_sequences_does_not_matter(tiny_model: Callable[..., Any]) -> None:
    model, method, rows = tiny_model(), methods.build("simnpo"), sequences()
    _, expected = one_step(model, method, rows, None)
    _, found = one_step(model, method, rows[3::-1] + rows[:3:-1], None)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_grad_diff_of_a_set_against_itself_is_nothing(tiny_model: Callable[..., Any]) -> None:
    model, rows = tiny_model(), sequences()[:4]
    losses, found = one_step(model, methods.build("grad_diff"), rows + rows, None)
    assert losses.total.item() == 0
    assert max(g.abs().max().item() for g in found) < 1e-5


def test_grad_ascent_is_the_negative_of_training(tiny_model: Callable[..., Any]) -> None:
    model, rows = tiny_model(), sequences()
    _, up = one_step(model, methods.build("grad_ascent"), rows, None)
    _, down = one_step(model, methods.build("grad_diff", {"forget_weight": 0}), rows[4:] + rows[:4], None)
    for a, b in zip(up, down, strict=True):
        torch.testing.assert_close(a, -b, atol=1e-6, rtol=1e-4)


def test_some_sequences_of_a_part_can_be_taken_alone(tiny_model: Callable[..., Any]) -> None:
    model, rows = tiny_model(), sequences()
    part = split_parts(layout := pack_parts(model, {"": rows}, PAD), forward(model, layout))[""]
    kept = [1, 4, 6]
    some = part.only([n in kept for n in range(len(rows))])
    alone_part = split_parts(layout := pack_parts(model, {"": [rows[n] for n in kept]}, PAD), forward(model, layout))[
        ""
    ]
    assert torch.equal(some.labels_N, alone_part.labels_N)
    assert torch.equal(some.row_N, alone_part.row_N)
    assert some.index_B.tolist() == kept
    torch.testing.assert_close(some.logits_NV, alone_part.logits_NV, atol=2e-5, rtol=1e-5)
