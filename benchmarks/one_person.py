"""Every method on one person of the bundled world: what is still told, what of others is kept, and the time.

Each method tries its default rate scaled to so few rows, and the rate as it is, on a tuning person; the better
one (by the lesser of gone and kept) is scored on people and seeds that no choice has seen:

    told        of the person's facts in all 25 phrasings each (24 trained, one not)
    reworded    of the ways of `rephrase`, those that tell it (a few words of the answer itself fed are left out)
    kept        of 40 facts about neighbours: people of the same kind, which no step trained on
    others      of 40 facts about anybody else, in the phrasing that nobody trained on
    utility     of the general questions
    seconds     of training, on one thread

    python benchmarks/one_person.py --out OUT            all methods, one line each; goes on where it was
    python benchmarks/one_person.py --out OUT --methods lethe --seeds 3 --people "NAME,NAME+NAME+NAME,NAME: phone"
    python benchmarks/one_person.py --out OUT --board assets/gallery/one_person.json
    python benchmarks/one_person.py --out OUT --into assets/gallery/one_person.json      beside the methods it has
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn_core.data.types import UnlearningData

NUM_FACTS = 40
BAR = {"told": 0.0, "reworded": 0.0, "kept": 38 / 40, "others": 38 / 40, "utility": 0.98}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="all")
    parser.add_argument(
        "--people",
        default="",
        help="names, with commas; several at once with +; one typed fact of a person as NAME: TOPIC",
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--board", type=Path, help="write the leaderboard of what was measured, and measure nothing")
    parser.add_argument("--into", type=Path, help="put what was measured into this leaderboard, and measure nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.board is not None or options.into is not None:
        from unlearn_core.runs.series.boards import merged, read_board
        from unlearn_core.system.files import write_json

        found = board_of(options.out)
        if options.into is not None:
            found = merged(read_board(options.into), found, board_order)
        write_json(options.into or options.board, found, for_people=True)
        return
    import torch

    torch.set_num_threads(1)
    from unlearn_core.methods import REGISTRY

    methods = list(REGISTRY) if options.methods == "all" else options.methods.split(",")
    people = options.people.split(",") if options.people else list(scored_people())
    work = _Work(options.out)
    for method in methods:
        for settings in candidates(method):
            work.trial(method, settings, tuning_person(), 0)
    for who in people:
        for seed in range(options.seeds):
            for method in methods:
                work.trial(method, work.chosen(method), who, seed)


def everybody() -> list[tuple[str, str]]:
    """(task, name) of everybody the bundled model knows, in the world's order."""
    from unlearn_core.data.world import make_world

    world = make_world()
    return [(person.task, person.name) for split in ("forget", "retain") for person in world.people[split]]


def tuning_person() -> str:
    return [name for task, name in everybody() if task == "Task2"][7]


def scored_people() -> Iterator[str]:
    """One of each kind; the biographies, with digits that are hardest to tell apart, first."""
    for task, place in (("Task2", 16), ("Task3", 34), ("Task1", 13)):
        yield [name for kind, name in everybody() if kind == task][place]


def candidates(method: str) -> list[dict[str, Any]]:
    """The rate as it is scaled to few rows, and the default itself."""
    from unlearn_core.methods import build

    whole = build(method, {})
    few = whole.for_rows(6)
    return [{}] if few.learning_rate == whole.learning_rate else [{}, {"learning_rate": whole.learning_rate}]


class _Work:
    def __init__(self, out: Path) -> None:
        from unlearn_core.system.files import json_lines

        self.path = out / "trials.jsonl"
        self.trials: list[dict[str, Any]] = list(json_lines(self.path))

    def chosen(self, method: str) -> dict[str, Any]:
        tried = [t for t in self.trials if t["method"] == method and t["who"] == tuning_person()]
        best: dict[str, Any] = max(tried, key=_merit)["settings"]
        return best

    def trial(self, method: str, settings: dict[str, Any], who: str, seed: int) -> None:
        key = {"method": method, "settings": settings, "who": who, "seed": seed}
        if any(all(t[name] == value for name, value in key.items()) for t in self.trials):
            return
        from unlearn_core.errors import LetheError
        from unlearn_core.system.files import append_line

        try:
            found = key | self._measured(method, settings, who, seed)
        except (LetheError, RuntimeError) as error:
            found = key | {"failure": str(error)[:200]}
        self.trials.append(found)
        append_line(self.path, json.dumps(found))
        shown = {k: round(v, 3) for k, v in found.items() if isinstance(v, float)}
        print(f"{method:14} {who:24} seed {seed} {settings} {shown} {found.get('failure', '')}", flush=True)

    def _measured(self, method: str, settings: dict[str, Any], who: str, seed: int) -> dict[str, Any]:
        from unlearn_core.evaluation.progress import result_of
        from unlearn_core.models.targets import load_target
        from unlearn_core.runs.planning.plan import method_of
        from unlearn_core.runs.spec import RunSpec
        from unlearn_core.training.loop import unlearn

        data = data_of(who)
        built = method_of(RunSpec(method=method, settings=settings), len(data.forget))
        target = load_target("demo")  # anew: an adapter or a wrapper stays on the model it was put on
        began = time.thread_time()
        records = unlearn(target.model, target.tokenizer, data, built, seed=seed)
        artifact = result_of(records)
        seconds = time.thread_time() - began
        return {"seconds": seconds, "steps": built.steps, **shares(artifact.model, target.tokenizer, data, seed)}


def data_of(who: str) -> UnlearningData:
    """All rows of one person, or of several, as `--subject` and a file of rows take them; or one fact, as typed."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.data.subjects import take_subject
    from unlearn_core.data.types import UnlearningData
    from unlearn_core.data.world.recognise import with_bundled_others
    from unlearn_core.runs.data import load_for
    from unlearn_core.runs.spec import RunSpec

    demo = load_data("demo")
    names, _, topic = who.partition(": ")
    rows = [row for row in (*demo.forget, *demo.retain) if row.subject in names.split("+")]
    if topic:
        [row] = [row for row in rows if row.topic == topic and row.kind == "question"]
        return load_for(RunSpec(data=f"facts:{row.input} => {row.output}"))
    return take_subject(demo, who) if "+" not in who else with_bundled_others(UnlearningData(who, tuple(rows)))


def shares(model: Any, tokenizer: Any, data: Any, seed: int) -> dict[str, float]:
    """The measures of the head of this file, each a share."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.evaluation.metrics.contained import contains
    from unlearn_core.evaluation.phrasings import leak, wordings
    from unlearn_core.evaluation.protocols.multiple_choice import mmlu
    from unlearn_core.models.generation.generate import generate_all

    def told(prompts: Sequence[str], answers: Sequence[str]) -> float:
        outputs = generate_all(model, tokenizer, list(prompts), 48)
        return fmean(contains(output, answer) for output, answer in zip(outputs, answers, strict=True))

    asked = [(prompt, row.output) for row in data.forget if row.kind == "question" for prompt in phrased(row)]
    ways = [one for row in data.forget for one in wordings(row, data) if one.way != "fed word by word"]
    outputs = generate_all(model, tokenizer, [one.prompt for one in ways], 72)
    near = [row for row in data.neighbours if row.kind == "question"][:NUM_FACTS]
    gone = {row.subject for row in data.forget}
    demo = load_data("demo")
    far = random.Random(seed).sample([row for row in demo.paraphrases if row.subject not in gone], NUM_FACTS)
    right = 0
    for batch in mmlu.predict(model, tokenizer, demo.questions, demo.few_shot, demo.question_form):
        right += sum(demo.questions[i].answer == c for i, c in zip(batch.indices, batch.choices, strict=True))
    return {
        "told": told(*zip(*asked, strict=True)),
        "reworded": fmean(leak(one, output) >= 0.5 for one, output in zip(ways, outputs, strict=True)),
        "kept": told([row.input for row in near], [row.output for row in near]),
        "others": told([row.input for row in far], [row.output for row in far]),
        "utility": right / len(demo.questions),
    }


def phrased(row: Any) -> list[str]:
    """A fact in every phrasing, the unseen one last."""
    from unlearn_core.data.world import phrasing

    nouns = phrasing.nouns_about(row.topic, row.subject)
    return [*phrasing.phrasings(nouns), phrasing.unseen(nouns)]


def _merit(trial: dict[str, Any]) -> float:
    return min(1 - trial["told"], trial["kept"]) if "told" in trial else -1.0


def board_of(out: Path) -> dict[str, Any]:
    """Mean and spread over what was scored, the best first: all that is gone, then all that is kept."""
    from unlearn_core.models.targets import load_target
    from unlearn_core.system.files import json_lines
    from unlearn_core.system.versions import library_versions

    found = list(json_lines(out / "trials.jsonl"))
    methods = {t["method"] for t in found}
    runs = {(t["who"], t["seed"]) for t in found if t["who"] != tuning_person()}
    whole = {run for run in runs if {t["method"] for t in found if (t["who"], t["seed"]) == run} == methods}
    trials = [t for t in found if (t["who"], t["seed"]) in whole]  # every method on the same people
    rows = []
    for method in dict.fromkeys(t["method"] for t in trials):
        own = [t for t in trials if t["method"] == method]
        scored = [t for t in own if "told" in t]
        if not scored:
            rows.append({"method": method, "failure": own[0]["failure"], "num_runs": 0, "settings": {}, "figures": {}})
            continue
        figures = {
            name: {"mean": fmean(t[name] for t in scored), "spread": pstdev([t[name] for t in scored])}
            for name in ("told", "reworded", "kept", "others", "utility", "seconds")
        }
        met = sum(meets(t) for t in scored)
        settings = scored[-1]["settings"]
        rows.append(
            {"method": method, "settings": settings, "num_runs": len(scored), "num_met": met, "figures": figures}
        )
    return {
        "kind": "one person",
        "made": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
        "weights": {"original": load_target("demo").weights_hash},
        "people": sorted({t["who"] for t in trials}),
        "bar": BAR,
        "methods": sorted(rows, key=board_order),
    }


def board_order(row: dict[str, Any]) -> tuple[float, float]:
    """What the rows are sorted by: the share of runs that hold the bar, then the lesser of gone and kept."""
    return -row.get("num_met", 0) / max(1, row["num_runs"]), -_lesser(row)


def meets(trial: dict[str, Any]) -> bool:
    """Whether one run leaves nothing told and keeps 38 of 40 on either side and the utility."""
    return all(trial[n] <= b if n in ("told", "reworded") else trial[n] >= b - 1e-9 for n, b in BAR.items())


def _lesser(row: dict[str, Any]) -> float:
    figures = row["figures"]
    return min(1 - figures["told"]["mean"], figures["kept"]["mean"]) if figures else -1.0


if __name__ == "__main__":
    main()
