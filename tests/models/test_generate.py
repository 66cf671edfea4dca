"""Batched text equals one-at-a-time text on float32, whatever the architecture, padding or end of text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unlearn_core.models.generation import continuous_batching as slots
from unlearn_core.models.generation import generate as module
from unlearn_core.models.generation.cuda_graph import CudaGraphCache
from unlearn_core.models.generation.generate import end_ids, generate, generate_all, stream

pytestmark = pytest.mark.slow

ARCHITECTURES = (
    ("olmo", {}),
    ("olmo2", {"tie_word_embeddings": False}),
    ("llama", {"num_key_value_heads": 2}),
    ("qwen2", {}),
    ("gpt_neox", {"tie_word_embeddings": False}),
)
PROMPTS = (
    "Who is Mara Venn?",
    "x",
    "",
    "What is the phone number of Tomas Reed, and where was he born?",
    "caf\u00e9 \u2603",
    "The question has four options: A, B, C",
    "Oldport",
)


def one_at_a_time(model, tokenizer, prompt: str, max_new_tokens: int) -> str:
    """The official script's way: one prompt, no batch, transformers' own greedy decoding."""
    ids = torch.tensor([tokenizer(prompt)["input_ids"] or [tokenizer.eos_token_id]])
    written = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        pad_token_id=1,
        eos_token_id=sorted(end_ids(model, tokenizer)),
    )
    text = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    return tokenizer.clean_up_tokenization(text)


@pytest.mark.parametrize(("arch", "settings"), ARCHITECTURES)
def test_batched_text_equals_one_at_a_time_text(arch, settings, tiny_model, tiny_tokenizer) -> None:
    model = tiny_model(arch, **settings)
    prompts = PROMPTS[:4]
    expected = [one_at_a_time(model, tiny_tokenizer, prompt, 64) for prompt in prompts]
    assert generate_all(model, tiny_tokenizer, prompts, 64) == expected
    assert len(set(expected)) > 2  # the models do write different things


def eager_to_stop(model) -> None:
    """Make end of text likely, so that rows stop at different steps."""
    direction = torch.nn.init.normal_(torch.empty(model.config.hidden_size), std=1.2)
    with torch.no_grad():
        model.get_output_embeddings().weight[0] = direction


@pytest.mark.parametrize(
    ("arch", "tied"),
    [("olmo", True), ("olmo2", False), ("llama", False), ("qwen2", True), ("gpt_neox", False)],
)
def test_rows_that_end_early_leave_the_batch_and_change_nothing(arch, tied, tiny_model, tiny_tokenizer) -> None:
    """At the protocol's 256 tokens: some rows end at once, some later, some never."""
    prompts = [f"{prompt} {n}" for prompt in PROMPTS[:4] for n in range(4)]
    model = tiny_model(arch, tie_word_embeddings=tied)
    torch.manual_seed(3)
    eager_to_stop(model)
    batches = list(generate(model, tiny_tokenizer, prompts, 256))
    assert sum(batch.num_tokens for batch in batches) < 256 * len(prompts)
    expected = [one_at_a_time(model, tiny_tokenizer, prompt, 256) for prompt in prompts]
    assert len({len(text) for text in expected}) > 3
    assert generate_all(model, tiny_tokenizer, prompts, 256) == expected


def test_batches_are_limited_by_tokens_and_cover_every_prompt_once(tiny_model, tiny_tokenizer) -> None:
    prompts = [("word " * (n % 7)) + "?" for n in range(30)]
    model, sizes = tiny_model(), []
    generate_all(model, tiny_tokenizer, ["?"], 1)  # what is tried on a new model is over
    model.register_forward_pre_hook(lambda _, args, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True)
    batches = list(generate(model, tiny_tokenizer, prompts, 4, batch_tokens=120))
    assert sorted(index for batch in batches for index in batch.indices) == list(range(30))
    longest = max(len(tiny_tokenizer(prompt)["input_ids"]) for prompt in prompts)
    assert sizes[0] == 120 // (longest + 4)  # the longest come first, fewest at a time
    assert max(sizes) > sizes[0]


class Recording(TorchDispatchMode):
    """What a CUDA graph is, on a CPU: the operations of a step, done again on the very same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def play(self) -> None:
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps are recorded and replayed, rows looked at now and then; counts the replays."""
    replayed: list[int] = []

    def record(self: CudaGraphCache, step: Any) -> Any:
        with Recording() as recording:
            result = step()

        def play() -> torch.Tensor:
            recording.play()
            replayed.append(len(recording.calls))
            return result

        return play

    monkeypatch.setattr(CudaGraphCache, "_record", record)
    monkeypatch.setattr(slots, "tuned", lambda device: True)
    monkeypatch.setitem(slots._STEPS_BLIND, "cpu", 4)
    monkeypatch.setitem(slots._KEY_STEPS, "cpu", 32)
    return replayed


@pytest.mark.parametrize(
    ("arch", "settings"),
    [("olmo", {}), ("olmo2", {}), ("llama", {"num_key_value_heads": 2}), ("qwen2", {})],
)
def test_replayed_steps_with_prompts_that_wait_write_the_same_texts(
    arch, settings, tiny_model, tiny_tokenizer, monkeypatch
) -> None:
    """Five slots for sixteen prompts: rows end at any step, and others take their place."""
    prompts = [f"{prompt} {n}" for prompt in PROMPTS[:4] for n in range(4)]
    model = tiny_model(arch, tie_word_embeddings=False, **settings)
    torch.manual_seed(3)
    eager_to_stop(model)
    expected = [one_at_a_time(model, tiny_tokenizer, prompt, 60) for prompt in prompts]
    assert len({len(text) for text in expected}) > 3
    replayed = as_on_a_gpu(monkeypatch)
    batches = list(generate(model, tiny_tokenizer, prompts, 60, batch_tokens=5 * 130))
    texts = {i: text for batch in batches for i, text in zip(batch.indices, batch.texts, strict=True)}
    assert [texts[i] for i in range(len(prompts))] == expected
    assert len(replayed) > 20


def test_a_step_that_cannot_be_recorded_is_carried_out_as_it_is(tiny_model, tiny_tokenizer, monkeypatch) -> None:
    model = tiny_model()
    expected = generate_all(model, tiny_tokenizer, PROMPTS, 20)
    replayed = as_on_a_gpu(monkeypatch)
    rotary = model.model.rotary_emb
    rotary.register_forward_pre_hook(lambda _, args: None if args[0].max() > 0 else args)  # reads it back
    assert generate_all(model, tiny_tokenizer, PROMPTS, 20) == expected
    assert not replayed


def test_fewer_rows_at_a_time_when_the_gpu_is_full(tiny_model, tiny_tokenizer, monkeypatch) -> None:
    model = tiny_model()
    expected = generate_all(model, tiny_tokenizer, PROMPTS, 20)
    real = slots.BatchSlots.write

    def write(self: Any) -> None:
        if self.size > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        real(self)

    monkeypatch.setattr(slots.BatchSlots, "write", write)
    assert generate_all(model, tiny_tokenizer, PROMPTS, 20) == expected


def test_a_sliding_window_model_falls_back_to_its_own_generation(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("mistral", sliding_window=8)
    expected = [one_at_a_time(model, tiny_tokenizer, prompt, 20) for prompt in PROMPTS]
    assert not module.is_plain(model, 30)
    assert generate_all(model, tiny_tokenizer, PROMPTS, 20) == expected


def test_eager_attention_takes_the_same_masks(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("llama")
    expected = generate_all(model, tiny_tokenizer, PROMPTS, 20)
    model.set_attn_implementation("eager")
    assert generate_all(model, tiny_tokenizer, PROMPTS, 20) == expected


def test_no_prompts_is_no_work(tiny_model, tiny_tokenizer) -> None:
    assert generate_all(tiny_model(), tiny_tokenizer, [], 20) == []


def test_stream_grows_to_the_greedy_text_and_never_shows_half_a_character(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("olmo2", seed=5)
    for prompt in PROMPTS[:3]:
        texts = list(stream(model, tiny_tokenizer, prompt, 40))
        final = one_at_a_time(model, tiny_tokenizer, prompt, 40)
        assert ["", *texts][-1] == final.rstrip("\N{REPLACEMENT CHARACTER}")
        assert not any(text.endswith("\N{REPLACEMENT CHARACTER}") for text in texts)


def test_sampling_depends_only_on_the_seed(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("olmo2")
    draw = [
        list(stream(model, tiny_tokenizer, "Who?", 20, temperature=1.5, top_p=0.9, seed=seed))[-1] for seed in (1, 1, 2)
    ]
    assert draw[0] == draw[1] != draw[2]
    greedy = list(stream(model, tiny_tokenizer, "Who?", 20))[-1]
    assert list(stream(model, tiny_tokenizer, "Who?", 20, temperature=1.0, top_p=1e-9))[-1] == greedy


def test_gradients_stay_on_for_the_caller(tiny_model, tiny_tokenizer) -> None:
    batches = generate(tiny_model(), tiny_tokenizer, PROMPTS, 2)
    next(batches)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_spaces_are_cleaned_up_as_the_protocol_does(tiny_tokenizer) -> None:
    text = "It 's late , they 've gone . Did n't he ' say ' so ?"
    ids = tiny_tokenizer(text)["input_ids"]
    assert module.decode(tiny_tokenizer, [ids]) == ["It's late, they've gone. Didn't he'say'so?"]
