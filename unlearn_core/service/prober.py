"""The work behind the Probe tab: ready facts, and what each model of a run makes of an answer.

No Gradio in here, so that it can be tested without a page.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError, LetheError, ResourceError, clip, too_long
from unlearn_core.limits import REPHRASED_CHARACTERS
from unlearn_core.report.kit.format import shorten
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.saved_probes import MAX_TEXT, SavedProbe, find_probe, save_probe

if TYPE_CHECKING:
    from unlearn_core.evaluation.phrasings import WordingReply
    from unlearn_core.evaluation.traces import Trace
    from unlearn_core.models.inference.inspect import Inspection
    from unlearn_core.service.studio import Studio

SETS = (("Forgotten", "forget"), ("Retained", "retain"), ("General", "general"))
MAX_FACTS = 60
MAX_WAY_TOKENS = 96


class Prober:
    """Bound to a studio; keeps the data of the last few runs asked about."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._data = functools.lru_cache(maxsize=4)(self._load)

    def data(self, run_id: str) -> UnlearningData | None:
        """The data of the run on screen, of the bundled world without one, None where it is gone."""
        from unlearn_core.runs.data import rows_of

        spec = RunSpec.from_json(self.studio.store.get(run_id).spec) if run_id else RunSpec()
        try:
            return self._data(rows_of(spec))
        except ResourceError:
            raise
        except LetheError:
            return None

    def _load(self, rows: str) -> UnlearningData:
        self.studio.spend("look")
        self.studio.warm_up()
        from unlearn_core.runs.data import load_for, spec_of_rows

        return load_for(spec_of_rows(rows), public=self.studio.public, uploads=self.studio.store.uploads)

    def facts(self, run_id: str, split: str) -> list[tuple[str, str]]:
        """(label, place) of the ready probes of one set, questions first, spread over the set; facts that
        the run watched lead, because they have a curve."""
        data = self.data(run_id)
        rows = list(getattr(data, split)) if data else []
        order = sorted(range(len(rows)), key=lambda i: rows[i].kind != "question")
        watched = set()
        if run_id:
            watched = {f.prompt for p in self.studio.live.story(run_id).probes[:1] for f in p.facts}
        order = order[:: max(1, len(order) // MAX_FACTS)][:MAX_FACTS]
        first = [i for i in range(len(rows)) if rows[i].input in watched]
        return [(shorten(rows[i].input, 90), f"{split}/{i}") for i in [*first, *(i for i in order if i not in first)]]

    def fact(self, run_id: str, place: str) -> Example:
        """The row of a ready probe."""
        data = self.data(run_id)
        split, _, number = place.partition("/")
        rows = getattr(data, split, ()) if split in ("forget", "retain", "general") else ()
        if not number.isdigit() or int(number) >= len(rows):
            raise InputError("fact", place, "is not a fact of this run", "Choose one of the list.")
        row: Example = rows[int(number)]
        return row

    def about(self, run_id: str, name: str) -> SavedProbe:
        """The question of a subject on the run's map, as the run puts prompts; with the gold answer where the run
        scored it."""
        story = self.studio.live.story(run_id)
        subjects = story.placed.subjects if story.placed is not None else ()
        subject = next((subject for subject in subjects if subject.name == name), None)
        if subject is None:
            raise InputError("about", clip(name, 60), "is not on the map of this run", "Press one of its marks.")
        target = str(self.studio.store.get(run_id).spec.get("target", "demo"))
        _, template = self.studio.answers.has_template(run_id, target)
        rows = story.scores["original"].generations if "original" in story.scores else ()
        own = ((row.gold, row.input) for row in rows if row.split == subject.split and row.id in subject.ids)
        gold = next((gold for gold, question in own if question == subject.question), "")
        split = "forget" if subject.split == "forget" else "retain"
        return SavedProbe(subject.question, gold, split, template=template)

    def inspect(self, run_id: str, target: str, prompt: str, answer: str) -> dict[str, Inspection]:
        """The answer's tokens and layers under each model."""
        _check_length(prompt, answer)
        from unlearn_core.models.inference.inspect import inspect_answer

        self.studio.spend("question")
        answers = self.studio.answers
        return {
            name: inspect_answer(model.model, model.tokenizer, prompt, answer)
            for name, model in answers.loaded(run_id, target)
        }

    def ways(self, run_id: str, target: str, probe: SavedProbe) -> Iterator[dict[str, list[WordingReply]]]:
        """The fact asked every way, one more model at a time."""
        from unlearn_core.evaluation.phrasings import put_to, wordings

        _check_length(probe.prompt, probe.answer, REPHRASED_CHARACTERS if self.studio.public else MAX_TEXT)
        self.studio.spend("question")
        row = self._row(run_id, probe)
        asked = wordings(row, self.data(run_id))
        length = MAX_WAY_TOKENS if row.kind == "completion" else 32
        told: dict[str, list[WordingReply]] = {}
        for name, model in self.studio.answers.loaded(run_id, target):
            told[name] = put_to(model.model, model.tokenizer, asked, length)
            yield dict(told)

    def traces(self, run_id: str, target: str) -> list[Trace]:
        """What the neurons that hold the forget set write in the original and in the unlearned model."""
        from unlearn_core.evaluation.traces import compare, find, read

        data = self.data(run_id)
        models = self.studio.answers.models(run_id, target)
        if not run_id or data is None or "unlearned" not in models:
            raise InputError("run", run_id, "has no unlearned model yet", "Make it forget first.")
        self.studio.spend("question")
        readings = {}
        for name, model in self.studio.answers.loaded(run_id, target):
            if name == "original":
                places, tokenizer = find(model.model, model.tokenizer, data), model.tokenizer
            if name in ("original", "unlearned"):
                readings[name] = read(model.model, places)
        return compare(places, readings["original"], readings["unlearned"], tokenizer)

    def _row(self, run_id: str, probe: SavedProbe) -> Example:
        """The row that was asked, so that its own unseen phrasing is known; or the prompt as a row."""
        data = self.data(run_id)
        for split in ("forget", "retain", "general"):
            for row in getattr(data, split, ()):
                if (row.input, row.output) == (probe.prompt, probe.answer):
                    found: Example = row
                    return found
        question = probe.prompt.rstrip().endswith("?")
        return Example("probe", probe.prompt, probe.answer, kind="question" if question else "completion")

    def save(self, run_id: str, probe: SavedProbe, owner: str) -> str:
        """Keep the probe with the run; on a shared server only its owner may."""
        if not run_id:
            raise InputError("run", run_id, "is not on screen", "Make it forget first, then save the probe.")
        if self.studio.public:
            self.studio.store.owned(run_id, owner or None)
        return save_probe(self.studio.store.folder(run_id), probe)

    def find(self, run_id: str, probe_id: str) -> SavedProbe:
        """The probe of a link."""
        self.studio.store.get(run_id)
        return find_probe(self.studio.store.folder(run_id), probe_id)


def _check_length(prompt: str, answer: str, most: int = MAX_TEXT) -> None:
    for field, words in (("prompt", prompt), ("answer", answer)):
        if len(words) > most:
            raise too_long(field, words, most)
