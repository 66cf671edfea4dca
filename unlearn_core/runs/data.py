"""The data of a run: what its spec names, the subject it asks for, and what is kept where nothing is said.

load --> one subject, with all others to keep --> the bundled others, for a bundled model --> questions
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from unlearn_core.data.sources import load_data
from unlearn_core.data.subject_sheet import read_sheet
from unlearn_core.data.subjects import subjects_of, take_subject
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.runs.spec import RunSpec
from unlearn_core.system.assets import assets_directory

BUNDLED = ("demo", "demo:original")  # the targets that know the bundled world


def load_for(spec: RunSpec, *, public: bool = False, uploads: Path | None = None) -> UnlearningData:
    """Everything that `spec` names to forget and to keep; the same for the run and for all that looks at it later.

    A bundled model that is to forget somebody's own rows keeps the other people of its world, unless the rows
    come with a retain set; their neighbours are asked in either case. Raises InputError naming the field.
    """
    data = load_data(spec.data, columns=spec.columns, retain=spec.retain_data, public=public, uploads=uploads)
    if spec.subject is not None:
        data = take_subject(data, spec.subject)
    if spec.target in BUNDLED and not data.neighbours and spec.data != "demo":
        from unlearn_core.data.world.recognise import with_bundled_others

        beside = with_bundled_others(data)
        data = replace(beside, retain=data.retain or beside.retain)
    return data


TRAINED_ROWS, KNOWLEDGE = OWN_METHODS = ("lethe", "lethe_pretrained")  # by what they are made to forget


def asks_the_model(spec: RunSpec) -> bool:
    """Whether the subject is a real one, of which a pretrained model is asked what it knows: no data is named,
    and the bundled world, which stands for none, has nobody of that name."""
    if spec.subject is None or spec.data != "demo" or spec.target in BUNDLED:
        return False
    return spec.subject not in {subject.name for subject in subjects_of(load_data("demo"))}


def usual_method(spec: RunSpec) -> str:
    """Which of Lethe's own methods a run takes where none is named: one is for what a pretrained model knows, the other
    for rows that a model was trained on."""
    return KNOWLEDGE if asks_the_model(spec) else TRAINED_ROWS


def wanted_format(prompt: str, of_sheet: bool) -> str:
    """The prompt format to look for; a sheet's prompts are as the model is to read them, some in its own template."""
    return "raw" if of_sheet and prompt == "auto" else prompt


def typical_subject() -> UnlearningData:
    """What a model was found to know in a run that ships: the sizes to expect of another subject. InputError where
    none ships."""
    sheets = sorted((assets_directory() / "recorded_runs").glob("*/uploads/*/subject.json"))
    if not sheets:
        raise InputError("subject", "", "ships with no finished run here", "Start the run: it says what it will take.")
    return read_sheet(sheets[0]).data()


_ROWS = ("target", "data", "subject", "retain_data", "columns")  # the fields that say which rows are read


def rows_of(spec: RunSpec) -> str:
    """The part of `spec` that says which rows are read, as a text that tells equal ones; see `spec_of_rows`."""
    return json.dumps({name: getattr(spec, name) for name in _ROWS}, sort_keys=True)


def spec_of_rows(rows: str) -> RunSpec:
    """A spec of the same rows."""
    return RunSpec(**json.loads(rows))


def with_questions(data: UnlearningData, mmlu: str | None, public: bool, target: str = "") -> UnlearningData:
    """The data with utility questions: those that `mmlu` names, else, for the bundled model, its own."""
    if mmlu is not None:
        if public:
            raise InputError("mmlu", mmlu, "is not offered here", "Leave it out.")
        from unlearn_core.evaluation.protocols.multiple_choice.mmlu_files import load_mmlu

        few_shot, questions = load_mmlu(mmlu)
        return replace(data, questions=questions, few_shot=few_shot, question_form="letter")
    if target == "demo" and not data.questions:
        demo = load_data("demo")
        form = demo.question_form
        return replace(data, questions=demo.questions, few_shot=demo.few_shot, question_form=form)
    return data
