"""Small layers put behind each MLP of a model that stays as it is: the front of EUL.

u(h) = h + Up relu(Down h). With Up = 0 the model is what it was. Legend: D hidden, W width, N positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.hooks import RemovableHandle

from unlearn_core.models.architecture import behind_mlp
from unlearn_core.models.inference.forward import layers
from unlearn_core.models.inference.inference_wrapper import HookedWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel


class UnlearningLayers(HookedWrapper):
    """`downs` (W, D + 1) and `ups` (D, W + 1), one of each for every layer; the last column is the bias.

    They act inside the layers, below the output head, so the head's own pass stays as it is.
    """

    kind: ClassVar[str] = "unlearning layers"

    def __init__(self, downs: Sequence[torch.Tensor], ups: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.downs, self.ups = list(downs), list(ups)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] | None = None  # Gram sums, where wanted
        self.where: torch.Tensor | None = None  # the positions (B, T) that count for them

    @classmethod
    def fresh(cls, model: PreTrainedModel, width: int, seed: int) -> UnlearningLayers:
        """Layers that change nothing: Down drawn by the seed, Up 0."""
        like = next(model.parameters())
        size, count = model.config.get_text_config().hidden_size, len(layers(model))
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(count, width, size + 1, generator=generator) * size**-0.5
        drawn[:, :, -1] = 0.0
        return cls(list(drawn.to(like)), [like.new_zeros(size, width + 1) for _ in range(count)])

    def hooks(self, model: PreTrainedModel) -> Iterator[RemovableHandle]:
        layer: Any
        for number, layer in enumerate(layers(model)):
            place = behind_mlp(layer) or layer.mlp  # what adds to the residual stream for it: OLMo 2 has a norm there
            yield place.register_forward_hook(self._hook(number))

    def tensors(self) -> dict[str, torch.Tensor]:
        pairs = enumerate(zip(self.downs, self.ups, strict=True))
        return {f"{kind}.{n}": tensor.detach() for n, pair in pairs for kind, tensor in zip(_KINDS, pair)}  # noqa: B905

    @classmethod
    def load(
        cls, model: PreTrainedModel, settings: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> UnlearningLayers:
        like, count = next(model.parameters()), len(layers(model))
        downs, ups = ([tensors[f"{kind}.{n}"].to(like) for n in range(count)] for kind in _KINDS)
        return cls(downs, ups)

    def _hook(self, number: int) -> Callable[[torch.nn.Module, object, Any], Any]:
        def add(module: torch.nn.Module, args: object, output: Any) -> Any:
            if self.strength == 0.0:
                return None
            if isinstance(output, tuple):  # experts, who also say what they were given
                return (add(module, args, output[0]), *output[1:])
            inner = affine(output, self.downs[number]).relu()
            if self.seen is not None:
                for gram, values in zip(self.seen[number], (output, inner), strict=True):
                    gram += gram_of(values[self.where] if self.where is not None else values)
            return output + self.strength * affine(inner, self.ups[number])

        return add


_KINDS = ("down", "up")


def affine(values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """A linear layer whose bias is the last column."""
    return torch.nn.functional.linear(values, matrix[:, :-1], matrix[:, -1])


def gram_of(values_ND: torch.Tensor) -> torch.Tensor:
    """X^T X (D + 1, D + 1) of the inputs with a 1 appended, for the bias."""
    flat = values_ND.detach().reshape(-1, values_ND.shape[-1]).float()
    flat = torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1)
    return flat.T @ flat


def fuse(matrices: Sequence[torch.Tensor], grams: Sequence[torch.Tensor], ridge: float = 1e-3) -> torch.Tensor:
    """The one linear layer (D_out, D_in) closest to each on its own inputs: (sum G_i)^-1 sum G_i W_i.

    Jin et al. 2023 (RegMean), arXiv 2212.09849; Chen and Yang 2023, arXiv 2310.20150. A ridge towards the
    mean of the matrices, a share of the Grams' mean diagonal, settles what no input tells.
    """
    total = torch.stack(list(grams)).sum(0)
    eye = torch.eye(len(total), device=total.device) * ridge * total.diagonal().mean().clamp(min=1e-12)
    mean = torch.stack([m.float() for m in matrices]).mean(0).T
    right = sum(g @ m.float().T for g, m in zip(grams, matrices, strict=True)) + eye @ mean
    closest: torch.Tensor = torch.linalg.solve(total + eye, right)
    return closest.T.to(matrices[0].dtype)


def has_place(model: PreTrainedModel) -> bool:
    """Whether every layer has an MLP by that name."""
    return all(hasattr(layer, "mlp") for layer in layers(model))
