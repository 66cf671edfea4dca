"""Where a training stands, so that an interrupted one goes on as if nothing had happened.

Which sequences a step sees depends on the seed and its number, and the model trains without dropout; so
the trained values, the optimiser's state and the step's number are all there is to keep. What a method
prepares is prepared again, on the original weights; only what it changes as it goes is kept with the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import IntegrityError
from unlearn_core.system.machine import distributed
from unlearn_core.training.distributed.shards import is_sharded, read_shards, trained_shares, write_shards

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TENSORS, _NUMBERS = "snapshot.safetensors", "snapshot.json"


class Snapshot:
    """The state of one training between two of its records; `step` steps are done."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where an earlier training was saved, None to begin."""
        self.step = 0
        self._model: PreTrainedModel | None = None
        self._optimiser: torch.optim.Optimizer | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        self._numbers: dict[str, Any] = {"optimiser": {}, "method": {}}
        self._sharded: Path | None = None  # where a team's tensors lie until the model is known
        if folder is not None:
            self._read(folder)

    @property
    def attached(self) -> bool:
        """Whether the training has come to its steps, so that there is something to save."""
        return self._optimiser is not None

    def restore(self, model: PreTrainedModel, state: dict[str, Any], watch: dict[str, Any]) -> None:
        """Called by the loop before its steps: the saved values become those of the model, of the method
        (`state`) and of what watches the training (`watch`)."""
        self._model, self._state, self._watch = model, state, watch
        if self.step == 0:
            return
        trained = trained_shares(model)
        if self._sharded is not None:
            self._tensors = read_shards(self._sharded, trained)
        elif distributed.size() > 1:
            mend = "Resume it with one process."
            raise IntegrityError("checkpoint", self.step, "was written by one process", mend)
        saved = {key.removeprefix("weights."): t for key, t in self._tensors.items() if key[:8] == "weights."}
        if {n: p.shape for n, p in trained.items()} != {n: t.shape for n, t in saved.items()}:
            raise IntegrityError("checkpoint", self.step, "does not fit this model", "Run again.")
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(saved[name])
        watch.update(self._nested("watch").get(0, {}))
        for name, value in self._nested("method").get(0, {}).items():
            known = state.get(name)
            if isinstance(known, torch.Tensor) and isinstance(value, torch.Tensor):
                known.copy_(value)  # in place, for whoever else holds it
            else:
                state[name] = value

    def follow(self, optimiser: torch.optim.Optimizer, *, fresh: bool) -> None:
        """Called by the loop with each new optimiser; one that is not fresh goes on from the saved state."""
        self._optimiser = optimiser
        if not fresh:
            known = optimiser.state_dict()
            optimiser.load_state_dict({**known, "state": self._nested("optimiser")})
        self._tensors, self._numbers = {}, {"optimiser": {}, "method": {}}

    def write(self, folder: Path) -> None:
        """Save into an existing, empty folder; of a team every process its shards."""
        from safetensors.torch import save_file

        assert self._model is not None
        assert self._optimiser is not None
        tensors = {f"weights.{name}": p.detach() for name, p in trained_shares(self._model).items()}
        numbers: dict[str, Any] = {"step": self.step, "optimiser": {}, "method": {}, "watch": {}}
        parts = {"optimiser": _state_of(self._optimiser), "method": {0: self._state}, "watch": {0: self._watch}}
        for part, rows in parts.items():
            for row, values in rows.items():
                for name, value in values.items():
                    if isinstance(value, torch.Tensor):
                        tensors[f"{part}.{row}.{name}"] = value.detach()
                    elif isinstance(value, int | float | str) or _is_numbers(value):
                        numbers[part].setdefault(str(row), {})[name] = value
        if distributed.size() > 1:
            write_shards(folder, tensors)
        else:
            save_file(_apart(tensors), folder / _TENSORS)
        if distributed.rank() == 0:
            (folder / _NUMBERS).write_text(json.dumps(numbers), encoding="utf-8")

    def _read(self, folder: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            if is_sharded(folder):
                self._sharded = folder
            else:
                self._tensors = load_file(folder / _TENSORS)
            self._numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
            self.step = int(self._numbers["step"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            raise IntegrityError("checkpoint", str(folder), "cannot be read", "Run again.") from None

    def _nested(self, part: str) -> dict[int, dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {}
        for row, values in self._numbers.get(part, {}).items():
            rows.setdefault(int(row), {}).update(values)
        for key, tensor in self._tensors.items():
            kind, _, rest = key.partition(".")
            if kind == part:
                row, _, name = rest.partition(".")
                rows.setdefault(int(row), {})[name] = tensor
        return rows


def _state_of(optimiser: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What it keeps of each parameter, by number. As it is and not as `state_dict` gives it: bitsandbytes nests
    its moments there."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    return {row: optimiser.state[p] for row, p in enumerate(parameters) if p in optimiser.state}


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with a copy of what shares its memory with another, such as a table of levels; a safetensors file
    holds each on its own."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    return found


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, int | float) for item in value)
