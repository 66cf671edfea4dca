"""Models, data and questions for other programs: what there is, what it costs, and what a model says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.service.answers import Sampling
from unlearn_core.service.prober import Prober
from unlearn_core.service.studio import Studio
from unlearn_core.store.saved_probes import SavedProbe
from unlearn_core.ui.api.run_endpoints import Answer

MOST_DEVICES = 1_024  # that a run is estimated for


class ModelEndpoints:
    """Bound to a studio; every public method is one endpoint."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._prober = Prober(studio)

    def list_methods(self) -> list[Answer]:
        """Every method with its idea, paper and settings."""
        return self._studio.choices.described()

    def list_targets(self) -> list[Answer]:
        """The target models offered by name, and what each needs."""
        self._studio.warm_up()
        from unlearn_core.models.catalogue import offered

        return [asdict(info) for info in offered(self._studio.public)]

    def list_audits(self) -> list[Answer]:
        """Every attack with what it tells and its source."""
        return self._studio.choices.audits()

    def target_needs(self, target: str) -> Answer:
        """Bytes to download and to train a target on this machine, in numbers and sentences."""
        self._studio.warm_up()
        from unlearn_core.models.estimate import estimate_target

        found = estimate_target(target, public=self._studio.public)
        return {**asdict(found), "fits": found.fits, "sentences": found.sentences()}

    def estimate(
        self,
        target: str = "demo",
        data: str = "demo",
        method: str = "lethe",
        settings: dict[str, Any] | None = None,
        adapter: str = "auto",
        device: str = "",
        processes: int = 1,
        owner: str = "",
    ) -> Answer:
        """Time, memory, FLOPs and money a run would take, here or on a named `device`."""
        spec = self._studio.choices.spec(target, data, method, settings or {}, adapter=adapter)
        self._studio.store.check_uploads(owner, spec.data)
        if not 1 <= processes <= MOST_DEVICES:
            mend = f"Use 1 to {MOST_DEVICES:,}."
            raise InputError("processes", processes, "is no number of devices", mend)
        return self._studio.choices.planner.plan(spec, on=device or None, processes=processes).to_json()

    def upload_data(self, content: str, filename: str = "data.jsonl", owner: str = "") -> dict[str, str]:
        """Keep the text of a data file on the server; the name that start_run takes as `data`."""
        return {"data": self._studio.data.keep_text(content, filename, owner)}

    def preview_data(
        self,
        data: str,
        retain_data: str = "",
        columns: dict[str, str] | None = None,
        mmlu: str = "",
        owner: str = "",
    ) -> Answer:
        """Counts and first rows of a data set after every check, and the columns its file has. On a shared
        server an upload is for the `owner` it was given with."""
        found = self._studio.data.preview(data, retain_data or None, columns or None, mmlu or None, owner)
        return {**found, "columns": list(self._studio.data.columns(data, owner))}

    def generate(
        self,
        prompt: str,
        run_id: str = "",
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        target: str = "demo",
    ) -> dict[str, str]:
        """Answers of a run's models, or of `target` without one; greedy at temperature 0."""
        sampling = Sampling(max_new_tokens, temperature, seed=seed)
        return list(self._studio.ask(run_id, target, prompt, sampling))[-1]

    def ask_runs(
        self,
        run_ids: list[str],
        prompt: str,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> dict[str, str]:
        """The same prompt put to the original and to one to four runs, from their kept weights."""
        sampling = Sampling(max_new_tokens, temperature, seed=seed)
        return list(self._studio.ask_runs(run_ids, prompt, sampling))[-1]

    def list_facts(self, run_id: str = "", split: str = "forget") -> list[dict[str, str]]:
        """Prompts with their gold answers from a run's forget, retain or general set, ready to ask."""
        if split not in ("forget", "retain", "general"):
            raise InputError("split", split, "is not a set", "Use forget, retain or general.")
        rows = [self._prober.fact(run_id, place) for _, place in self._prober.facts(run_id, split)]
        return [{"prompt": row.input, "answer": row.output} for row in rows]

    def inspect_answer(self, prompt: str, answer: str, run_id: str = "", target: str = "demo") -> Answer:
        """Each token of `answer` under each model: probability, rank and alternatives; and each layer."""
        seen = self._prober.inspect(run_id, target, prompt, answer)
        return {
            name: {**asdict(one), "probability": one.probability, "per_token": one.per_token}
            for name, one in seen.items()
        }

    def ask_ways(self, prompt: str, answer: str, run_id: str = "", target: str = "demo") -> Answer:
        """The same fact asked in other ways, and what each model tells of it."""
        told = list(self._prober.ways(run_id, target, SavedProbe(prompt, answer)))[-1]
        return {name: [asdict(one) for one in answers] for name, answers in told.items()}

    def save_probe(self, run_id: str, prompt: str, answer: str = "", owner: str = "") -> dict[str, str]:
        """Keep a prompt and its gold answer with a run; the link `?run=...&probe=...` asks it again."""
        probe = self._prober.save(run_id, SavedProbe(prompt, answer), owner)
        return {"probe": probe, "link": f"?run={run_id}&probe={probe}"}
