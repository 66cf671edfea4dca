"""Greedy generation in batches whose text equals that of one prompt at a time, and streaming.

The official script feeds one prompt at a time to `model.generate`. Here many share a key/value cache, and
rows that reached end of text leave it to prompts that wait (see `slots`).
Legend: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import pad_id_of, prompt_ids
from unlearn_core.models.cache import GrowingCache
from unlearn_core.models.forward import unwrap
from unlearn_core.models.front import front_of
from unlearn_core.models.packed import NAME
from unlearn_core.models.slots import Choose, continued

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_ROWS = {"cpu": 128, "cuda": 1024}  # on a CPU as many as its caches like
# In this order, as transformers replaces them.
_SPACED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
CPU_CACHE_BYTES = 1 << 28
_GPU_CACHE_SHARE = 0.5  # of the free memory


@dataclass(frozen=True, slots=True)
class GenerationBatch:
    """The texts written for some of the prompts; `indices` are their places in the caller's list."""

    indices: tuple[int, ...]
    texts: tuple[str, ...]
    num_tokens: int  # tokens written, end of text included


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int = 256,
    *,
    batch_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[GenerationBatch]:
    """Continuations of raw prompts, longest first, one batch at a time; greedy, or drawn at `temperature`.

    Decodes new tokens only, skips special tokens and cleans up spaces, as the protocol asks. On float32
    the text equals one-at-a-time greedy generation. `batch_tokens` bounds rows x (prompt + new) positions
    of a batch; by default memory decides. What stands before the model (see `front`) has its say.
    """
    front = front_of(model)
    replies = [front.refusal(prompt) for prompt in prompts]
    refused = [index for index, reply in enumerate(replies) if reply is not None]
    if refused:
        yield GenerationBatch(tuple(refused), tuple(replies[index] or "" for index in refused), 0)
    asked = [index for index, reply in enumerate(replies) if reply is None]
    fronted = [front.ask(prompts[index]) for index in asked]
    for batch in _generate(model, tokenizer, fronted, max_new_tokens, batch_tokens, temperature, seed):
        indices = tuple(asked[place] for place in batch.indices)
        yield GenerationBatch(indices, tuple(map(front.screen, batch.texts)), batch.num_tokens)


def _generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int,
    batch_tokens: int | None, temperature: float, seed: int,
) -> Iterator[GenerationBatch]:  # fmt: skip
    """What the model itself writes."""
    rows = [prompt_ids(tokenizer, prompt) or [_start_id(model, tokenizer)] for prompt in prompts]
    if not is_plain(model, max((len(row) for row in rows), default=0) + max_new_tokens):
        yield from _one_at_a_time(model, tokenizer, rows, max_new_tokens, temperature, seed)
        return
    budget = batch_tokens or token_budget(model)
    choose = _chooser(temperature, seed)
    for found in _answers(model, tokenizer, rows, max_new_tokens, budget, choose):
        written = list(found.values())
        yield GenerationBatch(tuple(found), tuple(decode(tokenizer, written)), sum(map(len, written)))


def generate_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int = 256,
) -> list[str]:
    """`generate` to the end, texts in the order of the prompts."""
    texts = [""] * len(prompts)
    for batch in generate(model, tokenizer, prompts, max_new_tokens):
        for index, text in zip(batch.indices, batch.texts, strict=True):
            texts[index] = text
    return texts


def continue_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
) -> list[list[int]]:
    """Greedy tokens after each row of tokens, up to and including the end of text, in the rows' order."""
    if not is_plain(model, max(map(len, rows), default=0) + max_new_tokens):
        stops, pad = sorted(end_ids(model, tokenizer)), pad_id_of(tokenizer)
        return [_generate_one(model, row, max_new_tokens, stops, pad, 0.0) for row in rows]
    found: dict[int, list[int]] = {}
    for ended in _answers(model, tokenizer, rows, max_new_tokens, token_budget(model), _chooser(0.0, 0)):
        found |= ended
    return [found[row] for row in range(len(rows))]


def stream(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """The growing continuation of one prompt, after every token that completes a character.

    `temperature` 0 is greedy; otherwise tokens are drawn from the smallest set whose probability reaches
    `top_p`. The same seed gives the same text. Closing the iterator stops the model. Where answers are
    screened, nothing is shown before the whole answer has been.
    """
    front = front_of(model)
    reply = front.refusal(prompt)
    if reply is not None:
        yield reply
        return
    written = _stream(model, tokenizer, front.ask(prompt), max_new_tokens, temperature, top_p, seed)
    if not front.screens:
        yield from written
        return
    text = ""
    for words in written:
        text = words
    if screened := front.screen(text):
        yield screened


def _stream(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, max_new_tokens: int,
    temperature: float, top_p: float, seed: int,
) -> Iterator[str]:  # fmt: skip
    ids = prompt_ids(tokenizer, prompt) or [_start_id(model, tokenizer)]
    stop_ids, device = end_ids(model, tokenizer), device_of(model)
    plain = is_plain(model, len(ids) + max_new_tokens)
    generator = torch.Generator().manual_seed(seed)
    cache = GrowingCache() if plain else None
    written: list[int] = []
    shown = ""
    pending = ids
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            inputs = torch.tensor([pending], device=device)
            logits_V = model(input_ids=inputs, past_key_values=cache, use_cache=plain).logits[0, -1]
        token = _draw(logits_V.float().cpu(), temperature, top_p, generator)
        if token in stop_ids:
            break
        written.append(token)
        pending = [token] if plain else [*ids, *written]
        text = decode(tokenizer, [written])[0]
        if text != shown and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            shown = text
            yield text
    text = decode(tokenizer, [written])[0].rstrip("\N{REPLACEMENT CHARACTER}")
    if text != shown:
        yield text


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Texts of token rows, by the protocol's settings: no special tokens, spaces cleaned up.

    transformers 5 no longer cleans up after byte-level BPE; the protocol's transformers 4 did, and the
    published outputs show it, so it is done here.
    """
    texts = tokenizer.batch_decode(
        [list(row) for row in rows], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [clean_up_spaces(text) for text in texts]


def clean_up_spaces(text: str) -> str:
    """What `clean_up_tokenization_spaces=True` does: no space before punctuation and English clitics."""
    for spaced, tidy in _SPACED:
        text = text.replace(spaced, tidy)
    return text


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's and those the model's configuration names."""
    settings = getattr(unwrap(model), "generation_config", None)
    found: set[int] = set()
    for value in (tokenizer.eos_token_id, getattr(settings, "eos_token_id", None)):
        if value is not None:
            found.update(value if isinstance(value, list | tuple) else [value])
    return frozenset(found)


def device_of(model: PreTrainedModel) -> torch.device:
    """Where the model's inputs belong."""
    return next(model.parameters()).device


def is_plain(model: PreTrainedModel, num_positions: int) -> bool:
    """Whether this file may pad, count positions and cache: rotary positions, full attention, no state."""
    inner = unwrap(model)
    config = inner.config.get_text_config()
    if getattr(inner, "_is_stateful", False) or getattr(config, "is_encoder_decoder", False):
        return False
    if not any(getattr(config, name, None) is not None for name in ("rope_parameters", "rope_theta")):
        return False
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return False
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    known = config._attn_implementation in ("sdpa", NAME, "eager")
    return known and (window is None or window >= num_positions)


def _answers(
    model: PreTrainedModel, tokenizer: Any, rows: Sequence[Sequence[int]], max_new: int, budget: int,
    choose: Choose,
) -> Iterator[dict[int, list[int]]]:  # fmt: skip
    """The chosen tokens after each row, up to and including its end of text, as rows end."""
    limit = MAX_ROWS["cpu" if device_of(model).type == "cpu" else "cuda"]
    ends = sorted(end_ids(model, tokenizer)), pad_id_of(tokenizer)
    for band in _bands([len(row) for row in rows], max_new):
        num_slots = max(1, min(limit, budget // (len(rows[band[0]]) + max_new)))
        left = dict.fromkeys(band)
        while left:
            num_slots = min(num_slots, len(left))
            try:
                for found in continued(model, rows, list(left), num_slots, max_new, *ends, choose):
                    for row in found:
                        del left[row]
                    yield found
            except torch.cuda.OutOfMemoryError:
                if num_slots == 1:
                    raise
            if left:  # outside the handler, where the traceback no longer holds the failed pass's tensors
                torch.cuda.empty_cache()
                num_slots = max(1, num_slots // 2)


def _chooser(temperature: float, seed: int) -> Choose:
    """How the next token (B,) follows from the logits (B, V)."""
    if temperature <= 0:
        return lambda logits_BV: logits_BV.argmax(-1)
    generators: dict[torch.device, torch.Generator] = {}

    def draw(logits_BV: torch.Tensor) -> torch.Tensor:
        device = logits_BV.device
        if device not in generators:
            generators[device] = torch.Generator(device).manual_seed(seed)
        probability_BV = (logits_BV.float() / temperature).softmax(-1)
        # The largest of p / e with e exponential is a draw from p, without a cumulative sum per row.
        noise_BV = torch.empty_like(probability_BV).exponential_(generator=generators[device])
        return (probability_BV / noise_BV).argmax(-1)

    return draw


@torch.inference_mode()
def _generate_one(
    model: PreTrainedModel, row: Sequence[int], max_new: int, stops: list[int], pad: int, temperature: float
) -> list[int]:
    ids = torch.tensor([list(row)], device=device_of(model))
    draw = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
    written = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new, do_sample=bool(draw),
        eos_token_id=stops or None, pad_token_id=pad, **draw,
    )  # fmt: skip
    tokens: list[int] = written[0, len(row) :].tolist()
    return tokens


def _one_at_a_time(
    model: PreTrainedModel, tokenizer: Any, rows: Sequence[Sequence[int]], max_new: int, temperature: float,
    seed: int,
) -> Iterator[GenerationBatch]:  # fmt: skip
    """For architectures whose positions, windows or state only their own `generate` knows."""
    stops, pad = sorted(end_ids(model, tokenizer)), pad_id_of(tokenizer)
    device = device_of(model)
    for index, row in enumerate(rows):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed + index)  # of no consequence to greedy decoding
            tokens = _generate_one(model, row, max_new, stops, pad, temperature)
        yield GenerationBatch((index,), tuple(decode(tokenizer, [tokens])), len(tokens))


def _bands(lengths: Sequence[int], max_new: int) -> Iterator[list[int]]:
    """Row numbers, longest first, in bands within which no row needs less than half of another's room."""
    band: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if band and 2 * (lengths[row] + max_new) < lengths[band[0]] + max_new:
            yield band
            band = []
        band.append(row)
    if band:
        yield band


def token_budget(model: PreTrainedModel) -> int:
    """Positions whose keys and values fit into the memory set aside for them."""
    config = unwrap(model).config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    parameter = next(model.parameters())
    per_position = 2 * config.num_hidden_layers * heads * width * parameter.element_size()
    memory = CPU_CACHE_BYTES
    if parameter.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(parameter.device)
        spare = torch.cuda.memory_reserved(parameter.device) - torch.cuda.memory_allocated(parameter.device)
        memory = int((free + spare) * _GPU_CACHE_SHARE)
    return max(1, memory // per_position)


def _start_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """What an empty prompt begins with."""
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    return 0


def _draw(logits_V: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature <= 0 or not bool(torch.isfinite(logits_V).all()):
        return int(logits_V.argmax())
    probability_V, order_V = (logits_V / temperature).softmax(-1).sort(descending=True)
    outside_V = probability_V.cumsum(-1) - probability_V >= top_p
    outside_V[0] = False  # the likeliest token always stays
    choice = torch.multinomial(probability_V.masked_fill(outside_V, 0.0), 1, generator=generator)
    return int(order_V[choice])
