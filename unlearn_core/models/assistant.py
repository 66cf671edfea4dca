"""A small assistant whose opinion is subtracted from the model's: the front of ULD.

The assistant is the first layers of the model itself with a LoRA adapter. It shares the model's weights in
memory, and its keys and values are further layers of the model's own cache, so generation needs to know
nothing of it. Legend: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from transformers.cache_utils import DynamicLayer

from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.forward import num_layers, unwrap
from unlearn_core.models.front import Front

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Assistant(Front):
    """Adds `-weight` times the assistant's logits to the model's, where the model finds a token plausible.

    `head` is the share of the likeliest token's probability from which a token is plausible.
    """

    kind: ClassVar[str] = "assistant's logits subtracted"
    combines: ClassVar[bool] = True
    graded: ClassVar[bool] = True

    def __init__(self, model: Any, layers: int, rank: int, weight: float, head: float, seed: int) -> None:
        self.layers, self.rank, self.weight, self.head, self.seed = layers, rank, weight, head, seed
        self.model = assistant_of(model, layers, rank, seed)
        self.strength = 1.0
        self._handles: list[Any] = []
        self._logits: torch.Tensor | None = None

    def attach(self, model: Any, strength: float) -> None:
        super().attach(model, strength)
        self.strength = strength
        inner: Any = unwrap(model)
        before = inner.register_forward_pre_hook(self._listen, with_kwargs=True)
        self._handles = [before, inner.register_forward_hook(self._subtract)]

    def detach(self, model: Any) -> None:
        super().detach(model)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def settings(self) -> dict[str, Any]:
        names = ("layers", "rank", "weight", "head", "seed")
        return {name: getattr(self, name) for name in names}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in self.model.named_parameters() if "lora_" in name}

    @classmethod
    def load(cls, model: Any, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Assistant:
        front = cls(model, **settings)
        own = {name: p for name, p in front.model.named_parameters() if "lora_" in name}
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(tensors[name])
        return front

    def _listen(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Ask the assistant first: the cache does not hold this pass's positions yet."""
        cache = kwargs.get("past_key_values")
        if cache is None:
            kwargs = {**kwargs, "use_cache": False}
        elif cache.layer_class_to_replicate is None:  # made for the model's own layers
            missing = num_layers(model) + self.layers - len(cache.layers)
            cache.layers.extend(DynamicLayer() for _ in range(missing))
        self._logits = self.model(*args, **kwargs).logits

    def _subtract(self, model: Any, args: tuple[Any, ...], output: Any) -> Any:
        assert self._logits is not None
        output.logits = combined(output.logits, self._logits, self.weight * self.strength, self.head)
        self._logits = None
        return output


def combined(
    logits_BTV: torch.Tensor, assistant_BTV: torch.Tensor, weight: float, head: float
) -> torch.Tensor:
    """Logits less `weight` times the assistant's, which are 0 where it is undecided.

    Ji et al. 2024, arXiv 2406.08607. A token with less than `head` times the probability of the likeliest
    keeps its logit. The assistant's logits are centred (log-probability + ln V), so that such tokens do not
    rise or fall against the others where it says nothing.
    """
    opinion_BTV = assistant_BTV.float().log_softmax(-1) + math.log(assistant_BTV.shape[-1])
    plausible_BTV = logits_BTV >= logits_BTV.amax(-1, keepdim=True) + math.log(head)
    return logits_BTV - (weight * opinion_BTV * plausible_BTV).to(logits_BTV.dtype)


def assistant_of(model: PreTrainedModel, layers: int, rank: int, seed: int) -> Any:
    """The first `layers` layers of `model`, its embeddings and head, in the same memory, and an adapter."""
    inner: Any = unwrap(model)
    config = copy.deepcopy(inner.config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    with torch.random.fork_rng(devices=[]):
        small = type(inner)(config).to(device=inner.device, dtype=inner.dtype)
    known = inner.state_dict()
    small.load_state_dict({name: known[name] for name in small.state_dict()}, assign=True)
    small.tie_weights()
    for module in small.modules():  # its keys and values go behind the model's in the same cache
        if getattr(module, "layer_idx", None) is not None:
            module.layer_idx += num_layers(model)
    small.requires_grad_(False)
    small.eval()
    return apply_lora(small, rank, seed=seed).eval()
