"""Answers to any prompt from the models of a run, streamed side by side."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError, LetheError
from unlearn_core.runs.store import RunStore

MAX_MODELS = 4  # kept in memory; the least recently asked is dropped first
MAX_PROMPT = 4000  # characters
MAX_NEW_TOKENS = 512


class Answerer:
    """Keeps the last few models asked and streams their answers; one question at a time."""

    def __init__(self, store: RunStore, public: bool = False) -> None:
        self.store, self.public = store, public
        self._models: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, target: str, prompt: str, max_new_tokens: int = 64) -> str:
        """The target model's greedy answer."""
        last = ""
        for words in self._stream(target, prompt, max_new_tokens, 0.0, 0):
            last = words
        return last

    def models(self, run_id: str, target: str) -> dict[str, str]:
        """Where each model of a run is found: the original, the unlearned once its weights are kept, and
        the retain-only model where one exists."""
        if run_id:
            target = str(self.store.get(run_id).spec["target"])
        found = {"original": target}
        if run_id:
            with contextlib.suppress(LetheError):  # still under way, stopped, or not kept
                found["unlearned"] = str(self.store.weights(run_id))
        if target == "demo":
            found["retain_only"] = "demo:retain_only"
        return found

    def ask(
        self, run_id: str, target: str, prompt: str, max_new_tokens: int = 64, temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        """The growing answers by model; every model draws with the same seed."""
        return self.ask_places(self.models(run_id, target), prompt, max_new_tokens, temperature, seed)

    def ask_places(
        self, places: dict[str, str], prompt: str, max_new_tokens: int = 64, temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        """The same for models named by where they are found."""
        if not prompt.strip():
            raise InputError("prompt", prompt, "is empty", "Type a question.")
        if len(prompt) > MAX_PROMPT:
            raise InputError("prompt", prompt, "is too long", f"Use at most {MAX_PROMPT} characters.")
        if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
            raise InputError("tokens", max_new_tokens, "is out of range", f"Use 1 to {MAX_NEW_TOKENS}.")
        if not 0.0 <= temperature <= 2.0:
            raise InputError("temperature", temperature, "is out of range", "Use 0 to 2.")
        streams = [
            self._stream(place, prompt, max_new_tokens, temperature, seed) for place in places.values()
        ]
        answers = dict.fromkeys(places, "")
        yield dict(answers)
        for turn in zip_longest(*streams):
            for name, words in zip(places, turn, strict=True):
                answers[name] = answers[name] if words is None else words
            yield dict(answers)

    def _stream(self, place: str, prompt: str, tokens: int, temperature: float, seed: int) -> Iterator[str]:
        from unlearn_core.models.generate import stream

        target = self._model(place)
        return stream(target.model, target.tokenizer, prompt, tokens, temperature=temperature, seed=seed)

    def _model(self, place: str) -> Any:
        from unlearn_core.models.targets import load_target

        with self._lock:
            if place not in self._models:
                # Only what a visitor can name is checked; folders of the store and bundled models are ours.
                mine = place.startswith("demo:") or Path(place).is_relative_to(self.store.runs)
                self._models[place] = load_target(place, public=self.public and not mine)
            self._models.move_to_end(place)
            while len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
            return self._models[place]
