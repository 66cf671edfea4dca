"""What a form offers, and what it foretells of the run that it asks for.

Models, methods, subjects and attacks to choose from; what the chosen model knows now, what it needs, and what the run
would take.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.mend import problem_box
from unlearn_core.runs.spec import RunSpec, Settings
from unlearn_core.service.titles import DATA_TITLES

if TYPE_CHECKING:
    from unlearn_core.data.types import UnlearningData
    from unlearn_core.runs.planning.plan import Planner
    from unlearn_core.service.studio import Studio

NUM_KNOWN = 3  # facts shown before the first run
MAX_KNOWN = 8  # of one's own, or of one subject
MAX_CHOICES = 16  # choices whose facts are remembered
EVERYBODY = ("All of it", "")
NOBODY = ("Choose, or type a name", "")
DEMO_DATA = (DATA_TITLES["demo"], "demo")
KNOWN_DATA = ("What the model itself knows", "demo")  # of a model that never saw the bundled world
_ANYBODY = "anybody"  # stands for the subject before one is chosen


class Brought(TypedDict, total=False):
    """What was chosen beside `data` when it was checked; empty before."""

    data: str
    retain_data: str | None
    columns: dict[str, str] | None
    mmlu: str | None


class Choices:
    """Bound to a studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._known: dict[str, tuple[Safe, bool]] = {}

    def targets(self) -> list[tuple[str, str]]:
        """Target models offered by name."""
        self._studio.warm_up()
        from unlearn_core.models.catalogue import offered

        return [(info.title, info.name) for info in offered(self._studio.public)]

    def methods(self) -> list[tuple[str, str]]:
        """Methods offered, by title and family."""
        from unlearn_core.report.runs.methods import choices

        return choices(self.described())

    def described(self) -> list[dict[str, Any]]:
        """Every method's declaration."""
        self._studio.warm_up()
        from unlearn_core.methods import REGISTRY, describe

        return [describe(cls) for cls in REGISTRY.values()]

    def by_name(self) -> dict[str, dict[str, Any]]:
        """Every method's declaration by its name."""
        return {method["name"]: method for method in self.described()}

    def audits(self) -> list[dict[str, Any]]:
        """The attacks offered, by their declarations."""
        self._studio.warm_up()
        from unlearn_core.evaluation.audits import describe

        return describe()

    def audit_titles(self) -> dict[str, str]:
        """Titles of the attacks by name, in their order."""
        return {audit["name"]: audit["title"] for audit in self.audits()}

    def spec(
        self,
        target: str,
        data: str,
        method: str,
        settings: Settings,
        brought: Brought | None = None,
        seed: float = 0,
        adapter: str = "auto",
        retain_model: str = "",
        subject: str | None = "",
        prompt: str | None = "auto",
    ) -> RunSpec:
        """The run that a filled-in form asks for. Raises InputError naming the field that cannot be.

        `brought` is what was chosen beside `data` when it was checked: retain set, columns, MMLU. It counts
        only while that data is still the one chosen.
        """
        self._studio.warm_up()
        from unlearn_core.methods import build

        if seed is None or seed != int(seed):
            raise InputError("seed", seed, "is not a whole number", "Use a whole number, for example 0.", ("seed", "0"))
        rest = {key: value for key, value in settings.items() if key != "steps"}
        build(method, rest, settings.get("steps"))
        beside = brought if brought and brought.get("data") == data else {}
        return RunSpec(
            target=target or "",
            data=data or "",
            method=method,
            settings=rest,
            steps=settings.get("steps"),
            seed=int(seed),
            adapter=None if adapter == "auto" else adapter,
            retain_data=beside.get("retain_data") or None,
            columns=beside.get("columns") or {},
            mmlu=beside.get("mmlu") or None,
            retain_model=(retain_model or "").strip() or None,
            subject=subject or None,
            prompt=prompt or "auto",
        )

    def demo_data(self, target: str) -> tuple[str, str]:
        """What a model forgets where no rows were brought, by its title on a form."""
        return KNOWN_DATA if self._never_saw_the_world(target) else DEMO_DATA

    def subjects(
        self, data: str, brought: Brought | None = None, owner: str = "", target: str = "demo"
    ) -> list[tuple[str, str]]:
        """The subjects of the chosen data to pick one from, after the choice of all; none where it has but one. Of a
        listed model that never saw the bundled world, those that such models are known to know."""
        self._studio.warm_up()
        from unlearn_core.data.subjects import subjects_of
        from unlearn_core.knowledge.listed import listed_subjects

        if data == "demo" and self._never_saw_the_world(target):
            return [NOBODY, *((f"{one.name}, {one.kind}", one.name) for one in listed_subjects())]
        try:
            found = subjects_of(self._rows(self.spec("demo", data, "lethe", {}, brought), owner))
        except LetheError:  # said where it is typed, or when the run is started
            found = ()
        return [EVERYBODY, *((subject.title, subject.name) for subject in found if len(found) > 1)]

    def _rows(self, spec: RunSpec, owner: str) -> UnlearningData:
        from unlearn_core.data.sources import load_data

        self._studio.store.check_uploads(owner, spec.data, spec.retain_data)
        if spec.data != "demo":
            self._studio.spend("look")
        uploads = self._studio.store.uploads
        return load_data(
            spec.data, columns=spec.columns, retain=spec.retain_data, public=self._studio.public, uploads=uploads
        )

    def known_now(self, *form: Any, owner: str = "") -> tuple[Safe, bool]:
        """A few facts of the forget set that a form asks for (the bundled one's without a form), what the target
        says of them now, and whether a run can succeed: not where it tells none of one's own facts.

        Only a bundled model is asked: any other would have to be loaded, or fetched, for it.
        """
        self._studio.warm_up()
        from unlearn_core.runs.data import load_for, rows_of

        try:
            spec = self.spec(*form) if form else RunSpec()
            if not self.is_bundled(spec.target):
                return Safe(""), True
            self._studio.store.check_uploads(owner, spec.data, spec.retain_data)
            key = rows_of(spec)
            if key not in self._known:
                if form:
                    self._studio.spend("look")
                data = load_for(spec, public=self._studio.public, uploads=self._studio.store.uploads)
                if len(self._known) >= MAX_CHOICES:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = self._ask_facts(spec, data)
            return self._known[key]
        except LetheError as error:
            return problem_box(error), True

    def _ask_facts(self, spec: RunSpec, data: UnlearningData) -> tuple[Safe, bool]:
        from unlearn_core.evaluation.verdict.rows import tells

        own = spec.subject is not None or spec.data != "demo"
        questions = [row for row in data.forget if row.kind == "question"] or list(data.forget)
        by_task = {row.task: row for row in reversed(questions)}
        rows = questions[:MAX_KNOWN] if own else [by_task[task] for task in sorted(by_task)][:NUM_KNOWN]
        said = [self._studio.answers.answer(spec.target, row.input, data.max_new_tokens) for row in rows]
        right = [tells(row, words) for row, words in zip(rows, said, strict=True)]
        blocks = [
            tag(
                "div",
                tag("p", row.input, class_="le-muted"),
                tag("p", words.strip() or "(empty)", class_="le-said"),
                *([] if known else [tag("p", "Not known: nothing will be claimed of it.", class_="le-warnings")]),
            )
            for row, words, known in zip(rows, said, right, strict=True)
        ]
        kept = len(data.retain) + len(data.neighbours)
        told = (
            f"It tells {sum(right)} of these {count(len(rows), 'fact')}. The forget set holds "
            f"{count(len(data.forget), 'prompt')}; {count(kept, 'other prompt')} must survive."
        )
        hopeless = own and len(rows) == len(data.forget) and not any(right)
        if hopeless:
            told = "The model tells none of these, so there is nothing to forget: name facts that it tells."
        card = tag(
            "div",
            join(tag("h2", "What it knows now"), tag("p", told, class_="le-muted")),
            tag("div", *blocks, class_="le-knows"),
            class_="le-card",
        )
        return card, not hopeless

    def target_note(self, target: str) -> Safe:
        """What a target needs on this machine, said before it is fetched; nothing for the bundled one."""
        if not target or target == "demo":
            return Safe("")
        self._studio.warm_up()
        from unlearn_core.models.catalogue import CATALOGUE
        from unlearn_core.models.estimate import estimate_target

        try:
            found = estimate_target(target, public=self._studio.public)
        except LetheError as error:
            named = [f"{info.title} needs {info.needs}. " for info in CATALOGUE if info.name == target]
            return problem_box(error, "".join(named))
        return tag("p", " ".join(found.sentences()), class_="le-muted" if found.fits else "le-warnings")

    def forecast(self, *form: Any) -> tuple[Safe, bool]:
        """What the run that a form asks for would take, in a line, and whether it can be begun: not where memory is
        short, nor where the forget set is of another model. Nothing is said where that cannot be told."""
        try:
            spec = self.spec(*form)
            from unlearn_core.models.files.model_files import free_memory
            from unlearn_core.models.targets import best_device
            from unlearn_core.runs.planning.costs import in_words, shortage
            from unlearn_core.store.table.durations import same_seconds

            if found := self._names_nobody(spec):
                return problem_box(found), False
            cost = self.planner.plan(spec, seconds=same_seconds(self._studio.store, spec))
            prompts = self.planner.prompt_format(spec)
        except LetheError as error:
            if error.field == "prompt":
                return problem_box(error), True
            return Safe(""), True  # said where it is typed, or when the run is started
        short = shortage(cost, free_memory(best_device()))
        line = tag("p", in_words(cost.to_json()), " ", prompts, class_="le-muted")
        return (join(line, problem_box(short)), False) if short else (line, True)

    def _names_nobody(self, spec: RunSpec) -> InputError | None:
        """What is missing where a listed model, which never saw the bundled world, is to forget nobody in particular;
        None for any other choice."""
        from unlearn_core.models.catalogue import CATALOGUE

        if spec.data != "demo" or spec.subject or not self._never_saw_the_world(spec.target):
            return None
        title = next(info.title for info in CATALOGUE if info.name == spec.target)
        mend = "Choose whom or what it should forget, or bring rows under Data."
        return InputError("target", title, "has nobody to forget yet", mend, ("tab", "data"))

    @staticmethod
    def is_bundled(target: str) -> bool:
        """Whether a model comes with Lethe."""
        from unlearn_core.runs.data import BUNDLED

        return target in BUNDLED

    @staticmethod
    def _never_saw_the_world(target: str) -> bool:
        """Whether a model is one of those listed, and none of the bundled ones."""
        from unlearn_core.models.catalogue import CATALOGUE

        return not Choices.is_bundled(target) and target in {info.name for info in CATALOGUE}

    def method_for(self, target: str, data: str, method: str) -> str:
        """The method to offer once a model was chosen: of Lethe's own two the one for what it is to forget. Any other
        choice stays, and so does one for rows of one's own."""
        from unlearn_core.runs.data import OWN_METHODS, usual_method

        if method not in OWN_METHODS or (data != "demo" and not self.is_bundled(target)):
            return method
        return usual_method(RunSpec(target=target, data=data, subject=_ANYBODY))

    @cached_property
    def planner(self) -> Planner:
        """Foretells runs; made after the heavy libraries, whose memory it counts."""
        self._studio.warm_up()
        from unlearn_core.runs.planning.plan import Planner

        return Planner(self._studio.store.home, self._studio.public, lambda: self._studio.spend("look"))
