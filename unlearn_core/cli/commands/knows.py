"""`lethe knows`: what a model knows about a subject, as a list that can be read, edited and forgotten."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.shared import prepare, whole_number
from unlearn_core.cli.table import table
from unlearn_core.data.subject_sheet import SheetPrompt, SubjectSheet, write_sheet
from unlearn_core.errors import clip
from unlearn_core.report.kit.format import count
from unlearn_core.system.files import disk_errors

SHOWN = 12  # neighbours' prompts in print; the file has all


def add_to(commands: Commands) -> None:
    knows = commands.add_parser(
        "knows",
        help="what a model knows about a subject",
        epilog="Example: lethe knows --target smollm2 --subject 'Albert Einstein' --json einstein.json; then edit the "
        "file, and lethe run --target smollm2 --data einstein.json --method lethe_pretrained",
    )
    knows.add_argument("--target", default="smollm2", metavar="REF", help="which model (default: smollm2)")
    knows.add_argument("--subject", metavar="NAME", help="anybody or anything; without it, those that are listed")
    knows.add_argument("--seed", type=whole_number, default=0, metavar="N")
    knows.add_argument("--json", metavar="FILE", help="write the list there, as data for `lethe run --data`")
    knows.set_defaults(action=knows_command)


def knows_command(options: argparse.Namespace) -> int:
    from unlearn_core.evaluation.progress import result_of
    from unlearn_core.knowledge.find import find
    from unlearn_core.models.targets import load_target

    if options.subject is None:
        print(_listed())
        return 0
    prepare()
    target = load_target(options.target)
    sheet = result_of(find(target.model, target.tokenizer, options.subject, options.seed))
    for line in lines(sheet):
        print(line)
    if options.json:
        path = Path(options.json)
        with disk_errors(path):
            write_sheet(sheet, path)
        print(f"Written to {path}.", file=sys.stderr)
    return 0


def _listed() -> str:
    """The listed subjects, those that smollm2 tells most about first."""
    from unlearn_core.knowledge.listed import listed_subjects, told_by_smollm2

    told = told_by_smollm2()
    ordered = sorted(listed_subjects(), key=lambda entry: -told[entry.name][0])
    rows = [[entry.name, entry.kind, "{} of {}".format(*told[entry.name])] for entry in ordered]
    return table([["subject", "kind", "told by smollm2"], [], *rows])


def lines(sheet: SubjectSheet) -> list[str]:
    """For people: what was measured of the subject and of its neighbours, and what is made of it."""
    asked = [prompt for prompt in sheet.prompts if prompt.before]
    of_others = [prompt for prompt in sheet.neighbours if prompt.before]
    if not asked:
        return [f"{sheet.subject}: nothing was found that this model knows."]
    called = f", also called {', '.join(sheet.aliases)}" if sheet.aliases else ""
    splits = [prompt.split for prompt in sheet.prompts]
    made = f"{count(splits.count('trained'), 'prompt')} to train on, {splits.count('never trained')} never trained"
    return [
        f"{sheet.subject} ({sheet.kind}){called}: {made}, {len(sheet.neighbours)} about others.",
        _table(asked),
        "",
        f"Of others of the kind, to see that they stay ({count(len(of_others), 'prompt')}, the first of them):",
        _table(of_others[:SHOWN]),
    ]


def _table(prompts: Sequence[SheetPrompt]) -> str:
    rows = [
        [f"{clip(prompt.text, 64)} => {clip(prompt.answer, 30)}", f"{prompt.probability:.3f}"] for prompt in prompts
    ]
    return table([["prompt => answer that it gives", "probability"], [], *rows])
