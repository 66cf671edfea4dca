"""Greedy generation in batches whose text equals that of one prompt at a time, and streaming.

The official script feeds one prompt at a time to `model.generate`. Here many share a key/value cache, and
rows that reached end of text leave it to prompts that wait (see `continuous_batching`).
Legend: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import closing_ids, end_id, pad_id_of, prompt_ids
from unlearn_core.data.types import Prompt
from unlearn_core.models.generation.cache import GrowingCache
from unlearn_core.models.generation.continuous_batching import Choose, continued
from unlearn_core.models.generation.decoding import DecodingRules, needs_own_loop
from unlearn_core.models.inference.forward import computing_dtype, device_of, rewind, unwrap
from unlearn_core.models.inference.inference_wrapper import InferenceWrapper, front_of
from unlearn_core.models.inference.packed import NAME
from unlearn_core.models.inference.positions import cached_values, fitted, max_positions, uniform_up_to
from unlearn_core.models.inference.side_by_side import can_pass_together, in_turns
from unlearn_core.models.inference.trials import holds, plain_logits, same, sample_ids
from unlearn_core.models.split import is_split
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import empty_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_ROWS = {"cpu": 128, "cuda": 1024}  # on a CPU as many as its caches like
CPU_CACHE_BYTES = 1 << 28
HALVED_FROM = 64  # rows of which the halves are written side by side: fewer are not worth a second thread
_GPU_CACHE_SHARE = 0.85  # of the free memory; where it turns out too much, fewer rows are written at a time


@dataclass(frozen=True, slots=True)
class GenerationBatch:
    """The texts written for some of the prompts; `indices` are their places in the caller's list."""

    indices: tuple[int, ...]
    texts: tuple[str, ...]
    num_tokens: int  # tokens written, end of text included


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    max_new_tokens: int = 256,
    *,
    batch_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[GenerationBatch]:
    """Answers to prompts, longest first, one batch at a time; greedy, or drawn at `temperature`.

    Prompts are put in the format that rides on the tokenizer (see `data.prompt_format`).

    Decodes new tokens only, skips special tokens and cleans up spaces, as the protocol asks. On float32
    the text equals one-at-a-time greedy generation. `batch_tokens` bounds rows x (prompt + new) positions
    of a batch; by default memory decides. What stands before the model (see `inference_wrapper`) has its say.
    """
    front = front_of(model)
    wanted = [Prompt(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    replies = [front.refusal(prompt.text) for prompt in wanted]
    refused = [index for index, reply in enumerate(replies) if reply is not None]
    if refused:
        yield GenerationBatch(tuple(refused), tuple(replies[index] or "" for index in refused), 0)
    asked = [index for index, reply in enumerate(replies) if reply is None]
    rows = [_ids_of(tokenizer, wanted[index], front) for index in asked]
    for found in _continued(model, tokenizer, rows, max_new_tokens, batch_tokens, temperature, seed):
        written = list(found.values())
        texts = tuple(map(front.screen, decode(tokenizer, written)))
        yield GenerationBatch(tuple(asked[row] for row in found), texts, sum(map(len, written)))


def _ids_of(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, front: InferenceWrapper) -> list[int]:
    """The tokens that the model gets for a prompt; for an empty one what a text begins with."""
    begins = (token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, 0) if token is not None)
    return prompt_ids(tokenizer, replace(prompt, text=front.ask(prompt.text))) or [int(next(begins))]


def generate_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    max_new_tokens: int = 256,
    **drawn: Any,
) -> list[str]:
    """`generate` to the end, texts in the order of the prompts; `drawn`: its temperature and seed."""
    texts = [""] * len(prompts)
    for batch in generate(model, tokenizer, prompts, max_new_tokens, **drawn):
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
    found: dict[int, list[int]] = {}
    for ended in _continued(model, tokenizer, rows, max_new_tokens):
        found |= ended
    return [found[row] for row in range(len(rows))]


def stream(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | Prompt,
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
    asked = Prompt(prompt) if isinstance(prompt, str) else prompt
    reply = front.refusal(asked.text)
    if reply is not None:
        yield reply
        return
    ids = _ids_of(tokenizer, asked, front)
    written = _stream(model, tokenizer, ids, max_new_tokens, temperature, top_p, seed)
    if not front.screens:
        yield from written
        return
    text = ""
    for words in written:
        text = words
    if screened := front.screen(text):
        yield screened


def _stream(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Iterator[str]:
    ids, max_new_tokens = fitted(unwrap(model), ids, max_new_tokens)
    stop_ids, device = end_ids(model, tokenizer), device_of(model)
    plain = is_plain(model, len(ids) + max_new_tokens)
    generator = torch.Generator().manual_seed(seed)
    rules = DecodingRules(model, max_new_tokens, sorted(stop_ids))
    adjusted = rules.of_prompt(len(ids)) if rules else None
    if needs_own_loop(model):
        yield decode(tokenizer, [_generate_one(model, tokenizer, ids, max_new_tokens, temperature)])[0]
        return
    cache = GrowingCache() if plain else None
    written: list[int] = []
    shown = ""
    pending = ids
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            inputs = torch.tensor([pending], device=device)
            logits_V = model(input_ids=inputs, past_key_values=cache, use_cache=plain).logits[0, -1]
        if adjusted is not None:
            seen_1T: Any = torch.tensor([[*ids, *written]], device=device)
            logits_V = adjusted(seen_1T, logits_V.float()[None])[0]
        token = _draw(logits_V.float().cpu(), temperature, top_p, generator)
        written.append(token)
        if token in stop_ids:
            break
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

    transformers 5 no longer cleans up after byte-level BPE unasked; the protocol's transformers 4 did, and the
    published outputs show it.
    """
    texts = tokenizer.batch_decode(
        [list(row) for row in rows], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [tokenizer.clean_up_tokenization(text) for text in texts]


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, those the model's configuration names, and the one
    that closes an answer in the prompt format."""
    settings = getattr(unwrap(model), "generation_config", None)
    found: set[int] = set(closing_ids(tokenizer)[-1:])
    for value in (end_id(tokenizer), getattr(settings, "eos_token_id", None)):
        if value is not None:
            found.update(value if isinstance(value, list | tuple) else [value])
    return frozenset(found)


def is_plain(model: PreTrainedModel, num_positions: int) -> bool:
    """Whether this file may pad, count positions and cache, for rows of up to `num_positions` with their answers."""
    inner = unwrap(model)
    if getattr(inner, "_is_stateful", False) or inner.config._attn_implementation not in ("sdpa", NAME, "eager"):
        return False
    if num_positions > uniform_up_to(inner) or max_positions(inner) is not None:
        return False
    return holds(inner, "a shared cache changes nothing", _shared_cache_changes_nothing)


def _shared_cache_changes_nothing(model: PreTrainedModel) -> bool:
    """Two prompts written on together, the logits of every new token beside those of the whole sequence alone."""
    rows = [sample_ids(model, length, 3 * length) for length in (7, 3)]
    seen: list[torch.Tensor] = []

    def choose(logits_BV: torch.Tensor) -> torch.Tensor:
        seen.append(logits_BV.clone())  # a replayed step writes the next ones in the same place
        return logits_BV.argmax(-1)

    written: dict[int, list[int]] = {}
    for found in continued(model, rows, (0, 1), 2, 3, (), 0, choose):
        written |= found
    ours_B3V = torch.stack(seen[:3], dim=1)
    return all(
        same(ours_B3V[row], plain_logits(model, [*rows[row], *tokens[:-1]])[len(rows[row]) - 1 :])
        for row, tokens in written.items()
    )


def _continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Sequence[int]],
    max_new: int,
    batch_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[dict[int, list[int]]]:
    """What the model itself writes: the tokens after each row, up to and including its end of text, as rows end."""
    device = device_of(model)
    if needs_own_loop(model) or not is_plain(model, max(map(len, rows), default=0) + max_new):
        # One at a time, for architectures whose positions, windows or state only their own `generate` knows.
        for index, row in enumerate(rows):
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed + index)  # of no consequence to greedy decoding
                tokens = _generate_one(model, tokenizer, row, max_new, temperature)
            yield {index: tokens}
        return
    limit = MAX_ROWS["cpu" if device.type == "cpu" else "cuda"]
    budget, choose = batch_tokens or token_budget(model), _chooser(temperature, seed)
    stops, pad = sorted(end_ids(model, tokenizer)), pad_id_of(tokenizer)
    rules = DecodingRules(model, max_new, stops)

    def written(order: Sequence[int], share: int) -> Iterator[dict[int, list[int]]]:
        """What is written after these rows, which need about as much room each, in a `share`th of the memory."""
        num_slots = max(1, min(limit, budget // share // (len(rows[order[0]]) + max_new)))
        left = dict.fromkeys(order)
        while left:
            num_slots = min(num_slots, len(left))
            try:
                for found in continued(model, rows, list(left), num_slots, max_new, stops, pad, choose, rules):
                    for ended in found:
                        del left[ended]
                    yield found
            except torch.cuda.OutOfMemoryError:
                if num_slots == 1:
                    raise
            if left:  # outside the handler, where the traceback no longer holds the failed pass's tensors
                empty_cache()
                num_slots = max(1, num_slots // 2)

    for band in _bands([len(row) for row in rows], max_new):
        longest = len(rows[band[0]]) + max_new
        plain = temperature <= 0 and not rules and len(band) >= HALVED_FROM
        halves = [band[::2], band[1::2]] if plain and can_pass_together(model, longest) else [band]
        yield from in_turns(model, [written(half, len(halves)) for half in halves], longest)


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
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: Sequence[int], max_new: int, temperature: float
) -> list[int]:
    stops = sorted(end_ids(model, tokenizer))
    row, max_new = fitted(unwrap(model), row, max_new)
    rewind(model, len(row) + max_new)
    ids = torch.tensor([row], device=device_of(model))
    draw = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
    written = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new,
        do_sample=bool(draw),
        eos_token_id=stops or None,
        pad_token_id=pad_id_of(tokenizer),
        tokenizer=tokenizer,  # finds the stop strings, where the model's configuration names any
        max_time=None,
        **draw,
    )
    tokens: list[int] = written[0, len(row) :].tolist()
    return tokens


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
    parameter = next(model.parameters())
    per_position = cached_values(unwrap(model).config.get_text_config()) * computing_dtype(model).itemsize
    memory = CPU_CACHE_BYTES
    if parameter.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(parameter.device)
        spare = torch.cuda.memory_reserved(parameter.device) - torch.cuda.memory_allocated(parameter.device)
        memory = int((free + spare) * _GPU_CACHE_SHARE)
    budget = max(1, memory // per_position)
    return distributed.broadcast(budget) if is_split(model) else budget  # all write the same rows in step


def _draw(logits_V: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature <= 0 or not bool(torch.isfinite(logits_V).all()):
        return int(logits_V.argmax())
    probability_V, order_V = (logits_V / temperature).softmax(-1).sort(descending=True)
    outside_V = probability_V.cumsum(-1) - probability_V >= top_p
    outside_V[0] = False  # the likeliest token always stays
    choice = torch.multinomial(probability_V.masked_fill(outside_V, 0.0), 1, generator=generator)
    return int(order_V[choice])
