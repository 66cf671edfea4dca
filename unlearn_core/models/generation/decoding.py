"""What a model's `generation_config.json` asks of decoding, honoured a row at a time as `model.generate` does.

Penalties, bans and forced tokens are transformers' own processors, made by the model for each prompt, so a
batch writes what one prompt at a time writes. What needs another search than one best token a step (beams,
contrast, guidance, stop strings) is left to `model.generate` itself; see `needs_own_loop`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.models.inference.forward import unwrap

if TYPE_CHECKING:
    from transformers import LogitsProcessorList, PreTrainedModel

# Settings of transformers' GenerationConfig, with the values that ask for nothing.
_PROCESSED: dict[str, tuple[object, ...]] = {
    "sequence_bias": (None,),
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "remove_invalid_values": (None, False),
    "exponential_decay_length_penalty": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
}
_SEARCHED: dict[str, tuple[object, ...]] = {
    "num_beams": (None, 1),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None, 0.0),
    "dola_layers": (None,),
    "guidance_scale": (None, 1.0),
    "stop_strings": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "token_healing": (None, False),
}


class DecodingRules:
    """The processors of each prompt of a generation; none where the configuration asks for nothing."""

    def __init__(self, model: PreTrainedModel, max_new_tokens: int, stop_ids: Sequence[int]) -> None:
        self._model: Any = unwrap(model)
        self._settings = _asked(model, _PROCESSED)
        self._max_new, self._stops = max_new_tokens, list(stop_ids)

    def __bool__(self) -> bool:
        return bool(self._settings)

    def of_prompt(self, num_prompt: int) -> LogitsProcessorList:
        """What `model.generate` would apply after a prompt of so many tokens."""
        device = next(self._model.parameters()).device
        config = copy.deepcopy(self._model.generation_config)
        config.do_sample = False
        config.max_length = num_prompt + self._max_new
        if config.min_new_tokens:
            config.min_length = num_prompt + config.min_new_tokens
        config._eos_token_tensor = torch.tensor(self._stops, device=device) if self._stops else None
        processors: LogitsProcessorList = self._model._get_logits_processor(
            config, input_ids_seq_length=num_prompt, device=device
        )
        return processors


def needs_own_loop(model: PreTrainedModel) -> bool:
    """Whether the configuration asks for more than one best token a step."""
    return bool(_asked(model, _SEARCHED))


def words_on(model: PreTrainedModel) -> str:
    """What a person should know of how this model's answers are decoded; "" where there is nothing to say."""
    config = getattr(unwrap(model), "generation_config", None)
    honoured = sorted({**_asked(model, _PROCESSED), **_asked(model, _SEARCHED)})
    told = f"Answers honour the model's generation_config ({', '.join(honoured)})." if honoured else ""
    if getattr(config, "do_sample", None):
        told += " Its sampling is not honoured: answers are greedy, as the protocols want them."
    if seconds := getattr(config, "max_time", None):
        told += f" Its max_time of {seconds:g} s is not honoured: a score must not depend on how busy a machine is."
    return told.strip()


def _asked(model: PreTrainedModel, settings: dict[str, tuple[object, ...]]) -> dict[str, object]:
    config = getattr(unwrap(model), "generation_config", None)
    values = {name: getattr(config, name, None) for name in settings}
    return {name: value for name, value in values.items() if value not in settings[name]}
