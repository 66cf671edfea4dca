"""What this code takes for granted about a model, tried on the model itself, once.

Architectures differ in ways no configuration tells: scales behind the head, positions that depend on the
rest of the batch, masks of their own. Whoever takes a short cut says here how it is told to be the same as
the plain pass, and takes the plain pass where it is not.
Legend: T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from unlearn_core.models.inference.inference_wrapper import beneath

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = TypeVar("Found")
_PLACE = "_lethe_tried"
# Difference over spread (root mean squares) up to which two computations of one thing are the same: what
# float32 and half precision make of another order of additions, and far below what any wrong mask makes.
_NOISE = {torch.float32: 1e-3, torch.float64: 1e-3}
_NOISE_OF_HALVES = 5e-2


def remembered(model: PreTrainedModel, name: str, find: Callable[[PreTrainedModel], Found]) -> Found:
    """What `find` says of `model` (the transformers model), asked once."""
    known = vars(model).setdefault(_PLACE, {})
    if name not in known:
        known[name] = find(model)
    found: Found = known[name]
    return found


def holds(model: PreTrainedModel, name: str, trial: Callable[[PreTrainedModel], bool]) -> bool:
    """Whether `trial` of `model` succeeds; it is made once, and remembered as `name`.

    Without weights (torch's meta device) there is nothing to try, and it is taken to hold.
    """
    if model.device.type == "meta":
        return True
    return bool(remembered(model, name, lambda model: _succeeds(model, trial)))


def _succeeds(model: PreTrainedModel, trial: Callable[[PreTrainedModel], bool]) -> bool:
    modes = [(module, module.training) for module in model.modules()]  # layers differ while they are recomputed
    model.eval()
    try:
        with torch.no_grad(), beneath(model):
            return trial(model)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # an architecture that cannot do it says so in its own way: each another error
        return False
    finally:
        for module, was_training in modes:
            module.training = was_training


def sample_ids(model: PreTrainedModel, length: int, start: int = 0) -> list[int]:
    """Token ids to try with: ordinary ones, all different as far as the vocabulary goes."""
    embeddings: Any = model.get_input_embeddings()
    vocabulary = int(embeddings.weight.shape[0])
    return [2 + (start + 7 * place) % max(1, min(vocabulary, 1000) - 2) for place in range(length)]


def plain_logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Logits (T, V) of one sequence on its own, as the model itself computes them."""
    found: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    return found


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two results are one but for rounding; never where either holds something that is no number."""
    noise = _NOISE.get(other.dtype, _NOISE_OF_HALVES)
    one, other = one.float(), other.float()
    spread = (other - other.mean()).square().mean().sqrt()
    return bool((one - other).square().mean().sqrt() <= noise * spread.clamp(min=1e-12))
