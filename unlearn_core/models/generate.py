"""Greedy generation in batches whose text equals that of one prompt at a time, and streaming.

The official script feeds one prompt at a time to `model.generate`. Here prompts of similar length share
a left-padded batch and one key/value cache, and rows that reached end of text leave it, so a token
costs no more Python than the model's own forward. Padding takes no part: it is masked as a key, and
positions are counted from the first real token.
Legend: B rows, T prompt positions, K key positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import pad_id_of, prompt_ids
from unlearn_core.models.cache import GrowingCache
from unlearn_core.models.forward import unwrap
from unlearn_core.models.front import front_of
from unlearn_core.models.packed import NAME

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Choose = Callable[[torch.Tensor], torch.Tensor]
MAX_ROWS = {"cpu": 640, "cuda": 1024}
# In this order, as transformers replaces them.
_SPACED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
CPU_CACHE_BYTES = 1 << 28
_GPU_CACHE_SHARE = 0.5  # of the free memory
_COMPACT_BELOW = 0.75  # finished rows leave the batch when no more than this share is still writing


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
    choose = _chooser(temperature, seed)
    budget = batch_tokens or token_budget(model)
    lengths = [len(row) for row in rows]
    limit = MAX_ROWS["cpu" if device_of(model).type == "cpu" else "cuda"]
    for indices in _batches(lengths, max_new_tokens, budget, limit):
        for part, tokens in _continued(model, tokenizer, rows, indices, max_new_tokens, choose):
            yield GenerationBatch(tuple(part), tuple(decode(tokenizer, tokens)), sum(map(len, tokens)))


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
    lengths = [len(row) for row in rows]
    if not is_plain(model, max(lengths, default=0) + max_new_tokens):
        stops, pad = sorted(end_ids(model, tokenizer)), pad_id_of(tokenizer)
        return [_generate_one(model, row, max_new_tokens, stops, pad, 0.0) for row in rows]
    found: list[list[int]] = [[] for _ in rows]
    limit = MAX_ROWS["cpu" if device_of(model).type == "cpu" else "cuda"]
    for indices in _batches(lengths, max_new_tokens, token_budget(model), limit):
        for part, tokens in _continued(model, tokenizer, rows, indices, max_new_tokens, _chooser(0.0, 0)):
            for place, written in zip(part, tokens, strict=True):
                found[place] = written
    return found


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


def attention_mask(model: PreTrainedModel, allowed_BQK: torch.Tensor) -> torch.Tensor:
    """A prepared mask (B, 1, Q, K) from what each query may see, in the form the model's attention takes."""
    allowed = allowed_BQK[:, None]
    if unwrap(model).config._attn_implementation != "eager":
        return allowed
    dtype = next(model.parameters()).dtype
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )


def left_pad(rows: Sequence[Sequence[int]], pad_id: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) padded on the left, and which of them are real (B, T)."""
    width = max(len(row) for row in rows)
    ids_BT = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    length_B = torch.tensor([len(row) for row in rows])
    real_BT = torch.arange(width)[None] >= (width - length_B)[:, None]
    return ids_BT.to(device), real_BT.to(device)


def causal(real_BT: torch.Tensor) -> torch.Tensor:
    """What each position may see (B, T, T): real earlier positions and itself.

    Padding sees itself, because a softmax over nothing is NaN and would spread.
    """
    width = real_BT.shape[1]
    earlier_TT = torch.ones(width, width, dtype=torch.bool, device=real_BT.device).tril()
    itself_TT = torch.eye(width, dtype=torch.bool, device=real_BT.device)
    return earlier_TT & real_BT[:, None, :] | itself_TT


def _continued(
    model: PreTrainedModel, tokenizer: Any, rows: Sequence[Sequence[int]], indices: list[int], max_new: int,
    choose: Choose,
) -> Iterator[tuple[list[int], list[list[int]]]]:  # fmt: skip
    """One batch, or its halves where it does not fit into the GPU's memory."""
    try:
        batch = [rows[index] for index in indices]
        stop_ids, pad_id = end_ids(model, tokenizer), pad_id_of(tokenizer)
        tokens = _continue(model, batch, max_new, stop_ids, pad_id, choose)
    except torch.cuda.OutOfMemoryError:
        if len(indices) == 1:
            raise
        tokens = None
    if tokens is not None:
        yield indices, tokens
        return
    torch.cuda.empty_cache()
    half = len(indices) // 2
    for part in (indices[:half], indices[half:]):
        yield from _continued(model, tokenizer, rows, part, max_new, choose)


@torch.inference_mode()
def _continue(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], max_new: int, stop_ids: frozenset[int],
    pad_id: int, choose: Choose,
) -> list[list[int]]:  # fmt: skip
    """The chosen tokens for each row, up to and including its end of text."""
    device = device_of(model)
    ids_BT, real_BT = left_pad(rows, pad_id, device)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    num_rows, width = ids_BT.shape
    written_BN = torch.full((num_rows, max_new), pad_id, dtype=torch.long, device=device)
    row_B = torch.arange(num_rows, device=device)
    done_B = torch.zeros(num_rows, dtype=torch.bool, device=device)
    seen_BK = torch.ones(num_rows, width + max_new, dtype=torch.bool, device=device)
    seen_BK[:, :width] = real_BT
    position_BT = (real_BT.cumsum(-1) - 1).clamp(min=0)
    allowed_BTK = causal(real_BT)
    cache = GrowingCache()
    for step in range(max_new):
        logits_B1V = model(
            input_ids=ids_BT, attention_mask=attention_mask(model, allowed_BTK), position_ids=position_BT,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        ).logits  # fmt: skip
        token_B = choose(logits_B1V[:, -1])
        written_BN[row_B, step] = token_B
        done_B = done_B | torch.isin(token_B, stops)
        num_alive = len(row_B) - int(done_B.sum())
        if num_alive == 0:
            break
        position_BT = position_BT[:, -1:] + 1
        if num_alive <= _COMPACT_BELOW * len(row_B):
            alive = (~done_B).nonzero()[:, 0]
            row_B, token_B, done_B = row_B[alive], token_B[alive], done_B[alive]
            seen_BK, position_BT = seen_BK[alive], position_BT[alive]
            cache.select(alive)
        ids_BT = token_B[:, None]
        allowed_BTK = seen_BK[:, None, : width + step + 1]
    return [_until(row, stop_ids) for row in written_BN.tolist()]


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


def _until(tokens: list[int], stop_ids: frozenset[int]) -> list[int]:
    for place, token in enumerate(tokens):
        if token in stop_ids:
            return tokens[: place + 1]
    return tokens


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


def _batches(lengths: Sequence[int], max_new: int, budget: int, limit: int) -> Iterator[list[int]]:
    """Row numbers by length, longest first; at most `budget` padded positions and `limit` rows a batch."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        size = max(1, min(limit, budget // (lengths[order[start]] + max_new)))
        yield order[start : start + size]
        start += size


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
