"""Answers to any prompt from the models of a run, streamed side by side."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from unlearn_core.errors import InputError, LetheError, too_long
from unlearn_core.limits import NEW_TOKENS, PROMPT_CHARACTERS
from unlearn_core.runs.store import RunStore

MAX_MODELS = 4  # kept in memory; the least recently asked is dropped first
IDLE_SECONDS = 900.0  # without a question, until the models are dropped and their memory given back
MAX_PROMPT = 4000  # characters
MAX_NEW_TOKENS = 512


@dataclass(frozen=True)
class Place:
    """Where a model is found. `ours` are folders that the store itself named, never text of a visitor."""

    ref: str
    ours: bool = False


class Answerer:
    """Keeps the last few models asked and streams their answers; one question at a time."""

    def __init__(self, store: RunStore, public: bool = False) -> None:
        self.store, self.public = store, public
        self._models: OrderedDict[Place, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._idle: threading.Timer | None = None

    def release(self) -> None:
        """Drop the models; the next question loads what it needs."""
        from unlearn_core.runs.run import free_memory

        with self._lock:
            self._models.clear()
        free_memory()

    def answer(self, target: str, prompt: str, max_new_tokens: int = 64) -> str:
        """The target model's greedy answer."""
        last = ""
        for words in self._stream(Place(target), prompt, max_new_tokens, 0.0, 0):
            last = words
        return last

    def models(self, run_id: str, target: str) -> dict[str, Place]:
        """Where each model of a run is found: the original, the unlearned once its weights are kept, and
        the retain-only model where one exists."""
        if run_id:
            target = str(self.store.get(run_id).spec["target"])
        found = {"original": Place(target)}
        if run_id:
            with contextlib.suppress(LetheError):  # still under way, stopped, or not kept
                found["unlearned"] = Place(str(self.store.weights(run_id)), ours=True)
        if target == "demo":
            found["retain_only"] = Place("demo:retain_only")
        return found

    def ask(
        self, run_id: str, target: str, prompt: str, max_new_tokens: int = 64, temperature: float = 0.0,
        seed: int = 0, top_p: float = 1.0, template: bool = False,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        """The growing answers by model; every model draws with the same seed. `template` puts the
        tokenizer's chat template around the prompt."""
        places = self.models(run_id, target)
        return self.ask_places(places, prompt, max_new_tokens, temperature, seed, top_p, template)

    def ask_places(
        self, places: dict[str, Place], prompt: str, max_new_tokens: int = 64, temperature: float = 0.0,
        seed: int = 0, top_p: float = 1.0, template: bool = False,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        """The same for models named by where they are found."""
        if not prompt.strip():
            raise InputError("prompt", prompt, "is empty", "Type a question.")
        most = PROMPT_CHARACTERS if self.public else MAX_PROMPT
        if len(prompt) > most:
            raise too_long("prompt", prompt, most)
        longest = NEW_TOKENS if self.public else MAX_NEW_TOKENS
        if not 1 <= max_new_tokens <= longest:
            raise InputError("tokens", max_new_tokens, "is out of range", f"Use 1 to {longest}.")
        if not 0.0 <= temperature <= 2.0:
            raise InputError("temperature", temperature, "is out of range", "Use 0 to 2.")
        if not 0 <= seed < 2**31:
            raise InputError("seed", seed, "is out of range", "Use a whole number from 0 to 2147483647.")
        if not 0.0 < top_p <= 1.0:
            raise InputError("top_p", top_p, "is out of range", "Use more than 0, up to 1.")
        streams = [
            self._stream(place, prompt, max_new_tokens, temperature, seed, top_p, template)
            for place in places.values()
        ]
        answers = dict.fromkeys(places, "")
        yield dict(answers)
        for turn in zip_longest(*streams):
            for name, words in zip(places, turn, strict=True):
                answers[name] = answers[name] if words is None else words
            yield dict(answers)

    def loaded(self, run_id: str, target: str) -> Iterator[tuple[str, Any]]:
        """Each model of a run by name, loaded when its turn comes."""
        for name, place in self.models(run_id, target).items():
            yield name, self._model(place)

    def has_template(self, run_id: str, target: str) -> bool:
        """Whether the tokenizer brings a chat template."""
        return bool(self._model(self.models(run_id, target)["original"]).tokenizer.chat_template)

    def _stream(
        self, place: Place, prompt: str, tokens: int, temperature: float, seed: int, top_p: float = 1.0,
        template: bool = False,
    ) -> Iterator[str]:  # fmt: skip
        from unlearn_core.models.generate import stream

        target = self._model(place)
        if template:
            prompt = chat_prompt(target.tokenizer, prompt)
        return stream(
            target.model, target.tokenizer, prompt, tokens, temperature=temperature, top_p=top_p, seed=seed
        )

    def _model(self, place: Place) -> Any:
        from unlearn_core.models.targets import load_target

        with self._lock:
            if place not in self._models:
                self._models[place] = load_target(place.ref, public=self.public and not place.ours)
            self._models.move_to_end(place)
            while len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
            if self._idle is not None:
                self._idle.cancel()
            self._idle = threading.Timer(IDLE_SECONDS, self.release)
            self._idle.daemon = True
            self._idle.start()
            return self._models[place]


def chat_prompt(tokenizer: Any, prompt: str) -> str:
    """The prompt as a user's turn. Raises InputError where the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise InputError("template", "chat", "is not part of this tokenizer", "Switch the template off.")
    turn = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    return text.removeprefix(tokenizer.bos_token or "")  # the tokenizer puts it there again
