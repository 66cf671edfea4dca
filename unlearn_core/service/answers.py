"""Answers to any prompt from the models of a run, streamed side by side."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.data.prompt_format import format_of, put_on, usual
from unlearn_core.data.types import Prompt
from unlearn_core.errors import InputError, LetheError, too_long
from unlearn_core.evaluation.protocols.references.reference import is_stored
from unlearn_core.limits import NEW_TOKENS, PROMPT_CHARACTERS
from unlearn_core.store.store import RunStore

if TYPE_CHECKING:
    import torch

    from unlearn_core.models.targets import Target
    from unlearn_core.runs.spec import SpecJson

MAX_MODELS = 4  # kept in memory; the least recently asked is dropped first
IDLE_SECONDS = 900.0  # without a question, until the models are dropped and their memory given back
MAX_PROMPT = 4000  # characters
MAX_NEW_TOKENS = 512


@dataclass(frozen=True)
class ModelLocation:
    """Where a model is found, and how prompts are put to it. `ours` are folders that the store itself named,
    never text of a visitor. `dtype`: of its weights (torch's), where kept weights are to be compared with it."""

    ref: str
    ours: bool = False
    prompt: str = "auto"  # a format by name; "auto" for the chat template where there is one, else raw
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Sampling:
    """How models answer: greedily at temperature 0, all with the same seed. `template` asks through the tokenizer's
    chat template or not; None asks as the run did."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    template: bool | None = None

    def check(self, most: int) -> None:
        """InputError for what is out of range; `most` tokens may be asked for."""
        checks = (
            ("tokens", self.max_new_tokens, 1 <= self.max_new_tokens <= most, f"Use 1 to {most}."),
            ("temperature", self.temperature, 0.0 <= self.temperature <= 2.0, "Use 0 to 2."),
            ("seed", self.seed, 0 <= self.seed < 2**31, "Use a whole number from 0 to 2147483647."),
            ("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "Use more than 0, up to 1."),
        )
        for field, value, fits, mend in checks:
            if not fits:
                raise InputError(field, value, "is out of range", mend)


GREEDY = Sampling()


def original(ref: str, prompt: str, weights: str) -> ModelLocation:
    """Where the original is found that kept weights are compared with, in the type they were made on."""
    from unlearn_core.models.files.adapter_folder import base_dtype_of

    return ModelLocation(ref, prompt=prompt, dtype=base_dtype_of(Path(weights)))


class Answerer:
    """Keeps the last few models asked and streams their answers; one question at a time."""

    def __init__(self, store: RunStore, public: bool = False) -> None:
        self.store, self.public = store, public
        self._models: OrderedDict[ModelLocation, Target] = OrderedDict()
        self._lock = threading.Lock()
        self._idle: threading.Timer | None = None

    def release(self) -> None:
        """Drop the models; the next question loads what it needs."""
        from unlearn_core.system.machine.memory import release_memory

        with self._lock:
            self._models.clear()
        release_memory()

    def answer(self, target: str, prompt: str, max_new_tokens: int = 64) -> str:
        """The target model's greedy answer."""
        last = ""
        for words in self._stream(ModelLocation(target), prompt, Sampling(max_new_tokens)):
            last = words
        return last

    def models(self, run_id: str, target: str) -> dict[str, ModelLocation]:
        """Where each model of a run is found: the original, the unlearned once its weights are kept, and
        the retain-only model where one exists."""
        from unlearn_core.models.catalogue import retain_model_of

        # Without a run a bundled model is asked about its own data, which has its name.
        spec: SpecJson = {"target": target, "data": target, "prompt": "auto"}
        if run_id:
            spec = self.store.get(run_id).spec
        target, prompt = str(spec["target"]), str(spec.get("prompt", "raw"))
        retain_model = retain_model_of(target, str(spec["data"]), spec.get("retain_model"), spec.get("subject"))
        found = {"original": ModelLocation(target, prompt=prompt)}
        if run_id:
            with contextlib.suppress(LetheError):  # still under way, stopped, or not kept
                found["unlearned"] = self.unlearned(run_id)
                found["original"] = original(target, prompt, found["unlearned"].ref)
        if retain_model is not None and not is_stored(retain_model):
            found["retain_only"] = ModelLocation(retain_model, prompt=prompt)
        return found

    def unlearned(self, run_id: str) -> ModelLocation:
        """Where the kept weights of a run are found; LetheError where there are none."""
        weights = str(self.store.weights(run_id))
        return ModelLocation(weights, True, str(self.store.get(run_id).spec.get("prompt", "raw")))

    def ask(self, run_id: str, target: str, prompt: str, sampling: Sampling = GREEDY) -> Iterator[dict[str, str]]:
        """The growing answers of a run's models, by model."""
        return self.ask_places(self.models(run_id, target), prompt, sampling)

    def ask_places(
        self,
        places: Mapping[str, ModelLocation],
        prompt: str,
        sampling: Sampling = GREEDY,
        turns: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        begun: str = "",
    ) -> Iterator[dict[str, str]]:
        """The same for models named by where they are found; `turns` came before, by model, and the answer goes on
        from `begun`."""
        if not prompt.strip():
            raise InputError("prompt", prompt, "is empty", "Type a question.")
        most = PROMPT_CHARACTERS if self.public else MAX_PROMPT
        if len(prompt) + len(begun) > most:
            raise too_long("prompt", prompt + begun, most)
        sampling.check(NEW_TOKENS if self.public else MAX_NEW_TOKENS)
        if sampling.template is not None:
            places = {name: self._through(place, sampling.template) for name, place in places.items()}
        asked = {name: Prompt(prompt, tuple((turns or {}).get(name, ())), begun) for name in places}
        streams = [self._stream(place, asked[name], sampling) for name, place in places.items()]
        answers = dict.fromkeys(places, "")
        yield dict(answers)
        for turn in zip_longest(*streams):
            for name, words in zip(places, turn, strict=True):
                answers[name] = answers[name] if words is None else words
            yield dict(answers)

    def loaded(self, run_id: str, target: str) -> Iterator[tuple[str, Target]]:
        """Each model of a run by name, loaded when its turn comes."""
        for name, place in self.models(run_id, target).items():
            yield name, self.model(place)

    def has_template(self, run_id: str, target: str) -> tuple[bool, bool]:
        """Whether the tokenizer brings a chat template, and whether prompts go through it."""
        tokenizer = self.model(self.models(run_id, target)["original"]).tokenizer
        return bool(tokenizer.chat_template), bool(format_of(tokenizer).template)

    def _through(self, place: ModelLocation, template: bool) -> ModelLocation:
        """The same model, asked through its chat template or not."""
        if bool(format_of(self.model(place).tokenizer).template) == template:
            return place
        return replace(place, prompt="chat" if template else "raw")

    def _stream(self, place: ModelLocation, prompt: str | Prompt, how: Sampling) -> Iterator[str]:
        from unlearn_core.models.generation.generate import stream

        asked, chances = self.model(place), {"temperature": how.temperature, "top_p": how.top_p}
        return stream(asked.model, asked.tokenizer, prompt, how.max_new_tokens, **chances, seed=how.seed)

    def model(self, place: ModelLocation) -> Target:
        """The model there with its tokenizer, loaded where it is not in memory."""
        from unlearn_core.models.targets import load_target

        with self._lock:
            if place not in self._models:
                target = load_target(place.ref, dtype=place.dtype, public=self.public and not place.ours)
                put_on(target.tokenizer, usual(target.tokenizer, place.prompt))
                self._models[place] = target
            self._models.move_to_end(place)
            while len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
            if self._idle is not None:
                self._idle.cancel()
            self._idle = threading.Timer(IDLE_SECONDS, self.release)
            self._idle.daemon = True
            self._idle.start()
            return self._models[place]
