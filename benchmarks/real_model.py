"""A pretrained model forgets subjects that people know: one table of subjects and seeds, or of methods.

    python benchmarks/real_model.py --out OUT                                    ten subjects, one line each
    python benchmarks/real_model.py --out OUT --methods npo rmu --subjects Tokyo --steps 12
    python benchmarks/real_model.py --out OUT --board assets/gallery/real_model.json

Each line is one training as `lethe run --target smollm2 --subject NAME` makes it, measured before and after on the
sheet that the model itself was asked for; a directory that holds some goes on where it was. Shares of before:

    trained, unseen    mean probability of the answer or its likeliest other name, by wording
    named              prompts whose greedy continuation names the answer, of those that did
    hops               the same probability where a prompt that the model answers names the subject by way of
                       something else
    neighbours         probability of the answer about never-trained others
    general, own       loss of the public-domain sample, and of what the model wrote itself, as a change
    seconds            of training on one thread, the reference included; asked: of finding what it knows

Which subjects no setting was chosen on: all of TEN.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TEN = (
    "Charles Darwin",
    "William Shakespeare",
    "Abraham Lincoln",
    "Christopher Columbus",
    "Harper Lee",
    "Paris",
    "Tokyo",
    "Mars",
    "Mount Everest",
    "Zeus",
)
SHOWN = ("trained", "unseen", "named", "hops", "neighbours", "general", "own", "seconds", "asked")
BAR = {"trained": 0.05, "unseen": 0.05, "named": 0.05, "neighbours": 0.95, "general": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2")
    parser.add_argument("--subjects", nargs="+", default=list(TEN))
    parser.add_argument("--methods", nargs="+", default=["lethe_pretrained"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="optimiser steps of every method")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of every method")
    parser.add_argument("--documents", type=int, help="of the general sample, the first so many")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--board", type=Path, help="write the leaderboard of what was measured, and measure nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.board is not None:
        write_board(options.out, options.board, options.target)
        return
    import torch

    torch.set_num_threads(1)
    work = _Work(options)
    print("  ".join(f"{name:>10}" for name in ("method", "subject", "seed", *SHOWN)))
    for subject in options.subjects:
        for seed in options.seeds:
            for method in options.methods:
                work.trial(method, subject, seed)
    show_means(work.trials)


class _Work:
    def __init__(self, options: argparse.Namespace) -> None:
        from unlearn_core.system.files import json_lines

        self.options, self.path = options, options.out / "trials.jsonl"
        self.trials: list[dict[str, Any]] = list(json_lines(self.path))
        self._target: Any = None
        self._sheets: dict[tuple[str, int], Any] = {}
        self._before: dict[str, Any] = {}

    @property
    def target(self) -> Any:
        from unlearn_core.models.targets import load_target

        if self._target is None:
            self._target = load_target(self.options.target)
        return self._target

    def trial(self, method: str, subject: str, seed: int) -> None:
        key = {"method": method, "subject": subject, "seed": seed}
        if any(all(trial[name] == value for name, value in key.items()) for trial in self.trials):
            return
        from unlearn_core.errors import LetheError
        from unlearn_core.system.files import append_line

        try:
            found = key | self._measured(method, subject, seed)
        except (LetheError, RuntimeError) as error:
            found = key | {"failure": str(error)[:200]}
        self.trials.append(found)
        append_line(self.path, json.dumps(found))
        show(found)

    def _measured(self, method: str, subject: str, seed: int) -> dict[str, Any]:
        from unlearn_core.evaluation.progress import result_of
        from unlearn_core.models.inference.prompting import use_format
        from unlearn_core.training.loop import unlearn

        sheet, asked, before = self._sheet(subject, seed)
        data = sheet.data()
        target = replace(self.target, model=copy.deepcopy(self.target.model))  # an adapter stays where it was put
        use_format(target.model, target.tokenizer, data, "raw")
        built = self._built(method, len(data.forget))
        began = time.thread_time()
        # What a method makes of the whole weights of a model is made of an adapter here, as on any larger one.
        adapter = None if built.traits.adapter is not None else "lora"
        records = unlearn(target.model, target.tokenizer, data, built, seed=seed, adapter=adapter, probe_ids=())
        artifact = result_of(records)
        seconds = time.thread_time() - began
        after = self._look(replace(target, model=artifact.model), sheet)
        figures = shares(sheet, before, after)
        return {"steps": built.steps, "seconds": seconds, "asked": asked, "rows": len(data.forget)} | figures

    def _built(self, method: str, num_rows: int) -> Any:
        from unlearn_core.methods import build

        settings = dict(words.split("=", 1) for words in self.options.set)
        given = (*settings, *(("steps",) if self.options.steps else ()))
        return build(method, settings, self.options.steps).for_rows(num_rows, given=given)

    def _sheet(self, subject: str, seed: int) -> tuple[Any, float, Any]:
        """What the model knows of the subject, how long it took to ask, and what it says before."""
        from unlearn_core.evaluation.progress import result_of
        from unlearn_core.knowledge.find import find

        if (subject, seed) not in self._sheets:
            began = time.thread_time()
            sheet = result_of(find(self.target.model, self.target.tokenizer, subject, seed))
            asked = time.thread_time() - began
            self._sheets = {(subject, seed): (sheet, asked, self._look(self.target, sheet))}
        return self._sheets[subject, seed]

    def _look(self, target: Any, sheet: Any) -> dict[str, Any]:
        """What the sheet's prompts bring, and the two losses in nats per token."""
        from unlearn_core.data.encode import encode_document, encode_example, pad_id_of
        from unlearn_core.data.sample_text import general_sample
        from unlearn_core.models.inference.likelihood import all_traces
        from unlearn_core.runs.subject import answers

        prompts, neighbours = answers(target, sheet, SimpleNamespace(generations=()))
        tokenizer = target.tokenizer
        texts = general_sample()[: self.options.documents]
        general = [encode_document(tokenizer, text, n) for n, text in enumerate(texts)]
        own = [encode_example(tokenizer, row, n) for n, row in enumerate(sheet.data().general)]
        original = target is self.target
        losses = {"own": own} if original and "general" in self._before else {"general": general, "own": own}
        found = {
            name: statistics.fmean(trace.nll for trace in all_traces(target.model, rows, pad_id_of(tokenizer)))
            for name, rows in losses.items()
        }
        if original:
            self._before |= found
            found = dict(self._before)
        return {"prompts": prompts, "neighbours": neighbours, **found}


def shares(sheet: Any, before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """The measures of the head of this file."""

    def share(part: str, split: str, *keys: str) -> float:
        places = [n for n, prompt in enumerate(getattr(sheet, part)) if prompt.split == split]
        sums = [sum(model[part][n][key] for n in places for key in keys) for model in (before, after)]
        return sums[1] / sums[0] if sums[0] else float("nan")

    both = ("probability", "alias_probability")
    asked = [n for n, prompt in enumerate(sheet.prompts) if prompt.split != "multi-hop"]
    named = [n for n in asked if before["prompts"][n]["named"]]
    return {
        "trained": share("prompts", "trained", *both),
        "unseen": share("prompts", "never trained", *both),
        "named": sum(after["prompts"][n]["named"] for n in named) / max(1, len(named)),
        "hops": share("prompts", "multi-hop", *both),
        "neighbours": share("neighbours", "never trained", "probability"),
        "general": after["general"] / before["general"] - 1,
        "own": after["own"] / before["own"] - 1,
    }


def meets(trial: dict[str, Any]) -> bool:
    """Whether one run holds all the bars of BAR."""
    gone = all(trial[name] <= BAR[name] for name in ("trained", "unseen", "named"))
    return gone and trial["neighbours"] >= BAR["neighbours"] and abs(trial["general"]) <= BAR["general"]


def show(trial: dict[str, Any]) -> None:
    head = "  ".join(f"{str(trial[name])[:10]:>10}" for name in ("method", "subject", "seed"))
    words = trial.get("failure") or "  ".join(f"{trial[name]:>10.4f}" for name in SHOWN)
    print(f"{head}  {words}", flush=True)


def show_means(trials: Sequence[dict[str, Any]]) -> None:
    done = [trial for trial in trials if "failure" not in trial]
    for method in dict.fromkeys(trial["method"] for trial in done):
        own = [trial for trial in done if trial["method"] == method]
        told = "  ".join("{} {:.3f}\u00b1{:.3f}".format(name, *_mean(own, name)) for name in SHOWN)
        print(f"{method}: {sum(map(meets, own))} of {len(own)} hold every bar; {told}")


def _mean(trials: Sequence[dict[str, Any]], name: str) -> tuple[float, float]:
    values = [trial[name] for trial in trials if trial[name] == trial[name]]
    return (statistics.fmean(values), statistics.pstdev(values)) if values else (float("nan"), 0.0)


def write_board(out: Path, board: Path, target: str) -> None:
    """Mean and spread of every method, the best first: all that is gone, then all that is kept."""
    from unlearn_core.models.targets import load_target
    from unlearn_core.system.files import json_lines, write_json
    from unlearn_core.system.versions import library_versions

    trials = list(json_lines(out / "trials.jsonl"))
    rows: list[dict[str, Any]] = []
    for method in dict.fromkeys(trial["method"] for trial in trials):
        own = [trial for trial in trials if trial["method"] == method]
        done = [trial for trial in own if "failure" not in trial]
        figures = {
            name: dict(zip(("mean", "spread"), _mean(done, name), strict=True))
            for name in SHOWN
            if any(trial[name] == trial[name] for trial in done)
        }
        row = {"method": method, "num_runs": len(done), "num_met": sum(map(meets, done)), "figures": figures}
        rows.append(row if done else row | {"failure": own[0]["failure"]})
    rows.sort(key=lambda row: -_lesser(row))
    write_json(
        board,
        {
            "kind": "real model",
            "made": datetime.now(UTC).date().isoformat(),
            "versions": library_versions(),
            "target": target,
            "weights": {"original": load_target(target).weights_hash},
            "subjects": sorted({trial["subject"] for trial in trials}),
            "steps": sorted({trial["steps"] for trial in trials if "steps" in trial}),
            "bar": BAR,
            "methods": rows,
        },
        for_people=True,
    )


def _lesser(row: dict[str, Any]) -> float:
    figures = row["figures"]
    return min(1 - figures["unseen"]["mean"], figures["neighbours"]["mean"]) if figures else -1.0


if __name__ == "__main__":
    main()
