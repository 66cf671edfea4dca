"""A small assistant whose opinion is subtracted from the model's: the front of ULD.

The assistant is the first layers of the model itself with a LoRA adapter. It shares the model's weights in
memory, and its keys and values go beside the model's, so generation needs to know nothing of it.
Legend: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch.utils.hooks import RemovableHandle
from transformers.cache_utils import Cache, DynamicCache

from unlearn_core.errors import InputError
from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.building import holding
from unlearn_core.models.inference.forward import num_layers, unwrap
from unlearn_core.models.inference.inference_wrapper import HookedWrapper

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ATTENDING = ("full_attention", "sliding_attention", "chunked_attention")


class Assistant(HookedWrapper):
    """Adds `-weight` times the assistant's logits to the model's, where the model finds a token plausible.

    `head` is the share of the likeliest token's probability from which a token is plausible, and the share of
    the vocabulary that is plausible at least.
    """

    kind: ClassVar[str] = "assistant's logits subtracted"
    combines: ClassVar[bool] = True

    def __init__(self, model: PreTrainedModel, layers: int, rank: int, weight: float, head: float, seed: int) -> None:
        super().__init__()
        self.layers, self.rank, self.weight, self.head, self.seed = layers, rank, weight, head, seed
        self.model = assistant_of(model, layers, rank, seed)
        self._logits: torch.Tensor | None = None
        self._caches: WeakKeyDictionary[Cache, DynamicCache] = WeakKeyDictionary()  # beside each of the model's

    def hooks(self, model: PreTrainedModel) -> Iterator[RemovableHandle]:
        yield unwrap(model).register_forward_pre_hook(self._listen, with_kwargs=True)
        yield unwrap(model).register_forward_hook(self._subtract)

    def settings(self) -> dict[str, Any]:
        names = ("layers", "rank", "weight", "head", "seed")
        return {name: getattr(self, name) for name in names}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in self.factors.items()}

    @property
    def factors(self) -> dict[str, torch.nn.Parameter]:
        """What the assistant learns: those of its adapter."""
        return {name: p for name, p in self.model.named_parameters() if "lora_" in name}

    @classmethod
    def load(cls, model: PreTrainedModel, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Assistant:
        front = cls(model, **settings)
        with torch.no_grad():
            for name, p in front.factors.items():
                p.copy_(tensors[name])
        return front

    def _listen(self, model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Ask the assistant first: the cache does not hold this pass's positions yet."""
        # The model may have changed how it attends since (see `packed.lies_flat`), and the mask is for that.
        unwrap(self.model).config._attn_implementation = model.config._attn_implementation
        cache = kwargs.get("past_key_values")
        if cache is None:
            kwargs = {**kwargs, "use_cache": False}
        elif cache.layer_class_to_replicate is not None:  # ours: the assistant's layers follow the model's
            kwargs = {**kwargs, "past_key_values": _CacheView(cache, num_layers(model))}
        else:  # made for the model's own layers, of whatever kinds: the assistant has one like it
            own = self._caches.setdefault(cache, DynamicCache(config=unwrap(self.model).config))
            kwargs = {**kwargs, "past_key_values": own}
        self._logits = self.model(*args, **kwargs).logits

    def _subtract(self, model: PreTrainedModel, args: tuple[object, ...], output: Any) -> Any:
        assert self._logits is not None
        output.logits = combined(output.logits, self._logits, self.weight * self.strength, self.head)
        self._logits = None
        return output


class _CacheView(Cache):
    """The layers of `cache` from number `first` on, as a cache of their own."""

    def __init__(self, cache: Any, first: int) -> None:
        super().__init__(layer_class_to_replicate=cache.layer_class_to_replicate)
        self._cache, self._first = cache, first
        self.layers = cache.layers[first:]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> Any:
        """Keep the keys and values of a layer; those to look at."""
        layers = self._cache.layers
        while len(layers) <= self._first + layer_idx:
            layers.append(self._cache.layer_class_to_replicate())
        self.layers = layers[self._first :]
        return layers[self._first + layer_idx].update(key_states, value_states, *args, **kwargs)


def fewest_layers(model: PreTrainedModel) -> int:
    """Layers from the bottom up to the first with attention: without one, a cache cannot tell how far it is."""
    kinds = getattr(unwrap(model).config.get_text_config(), "layer_types", None) or ["full_attention"]
    attends = (number for number, kind in enumerate(kinds, 1) if kind in _ATTENDING)
    return next(attends, 1)


def combined(logits_BTV: torch.Tensor, assistant_BTV: torch.Tensor, weight: float, head: float) -> torch.Tensor:
    """Logits less `weight` times the assistant's, which are 0 where it is undecided.

    Ji et al. 2024, arXiv 2406.08607. A token with less than `head` times the probability of the likeliest
    keeps its logit, unless it is one of the `head` times V likeliest: else a token known by heart, alone
    plausible, would fall against nothing. Unlike the authors' the assistant's logits are centred
    (log-probability + ln V), so that such tokens do not rise or fall against the others where it says nothing.
    """
    opinion_BTV = assistant_BTV.float().log_softmax(-1) + math.log(assistant_BTV.shape[-1])
    least = max(1, int(head * logits_BTV.shape[-1]))
    of_least_BT1 = logits_BTV.topk(least, dim=-1).values[..., -1:]
    plausible_BTV = logits_BTV >= torch.minimum(logits_BTV.amax(-1, keepdim=True) + math.log(head), of_least_BT1)
    return logits_BTV - (weight * opinion_BTV * plausible_BTV).to(logits_BTV.dtype)


def assistant_of(model: PreTrainedModel, layers: int, rank: int, seed: int) -> Any:
    """The first `layers` layers of `model`, its embeddings and head, in the same memory, and an adapter."""
    inner = unwrap(model)
    config = copy.deepcopy(inner.config)
    text = config.get_text_config()
    try:
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
        small = holding(inner, inner.state_dict(), config)
    except (RuntimeError, AttributeError, KeyError, TypeError, ValueError) as error:  # no model without the others
        problem = "cannot lend its first layers to an assistant"
        raise InputError("target", type(inner).__name__, problem, "Choose another method or model.") from error
    small.requires_grad_(False)
    return apply_lora(small, rank, seed=seed).eval()
