"""Every method on one target, tuned alike and compared over seeds: `lethe bench`.

Each method gets the same small budget: its defaults and the settings it declares in `candidates`, tried
once each. A third of the documents judges those; the rest, which no choice has seen, is what the
leaderboard reports, over several seeds:

    candidates x 1 seed --> judged by the tuning third --> chosen settings x N seeds --> scored by the rest

Every trial is a whole run and one line of `trials.jsonl`, so a bench that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import SPLITS, Scores
from unlearn_core.evaluation.verdict import GONE, word_of
from unlearn_core.evaluation.verdict.retain_layers import neighbours_kept, unseen_rise
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec, Settings
from unlearn_core.runs.state import RunState
from unlearn_core.system.files import append_line, json_lines, write_json
from unlearn_core.system.versions import library_versions

TUNING_SEED = 1_000_003  # of no scored run
TUNING_SHARE = 3  # every third document judges the tuning
NEAR = 0.02  # of a trial's rank: less than so few documents can tell apart
TRIALS, REFERENCES, LEADERBOARD = "trials.jsonl", "references.json", "leaderboard.json"
# What a leaderboard shows, in order, and what each is called; see `figures`.
COLUMNS = {total.name: total.short for total in reversed(semeval.TOTALS)} | {
    "forget_knowledge": "forget answered",
    "retain_knowledge": "retain answered",
    "neighbours": "neighbours kept",
    "unseen_rise": "unseen text",
    "loss_distance": "distance",
}
RANKED_BY = next(iter(COLUMNS))


@dataclass(frozen=True)
class Trial:
    """One run. `tuning` and `scored` hold its figures on the two parts of the documents."""

    method: str
    settings: Settings
    seed: int
    seconds: float = 0.0  # of unlearning alone
    verdict: str = ""
    tuning: dict[str, float | None] | None = None
    scored: dict[str, float | None] | None = None
    failure: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.method, json.dumps(self.settings, sort_keys=True), self.seed

    @property
    def rank(self) -> tuple[bool, float]:
        """What tuning maximises: first to keep half of the retain set (a wreck has a perfect membership
        score), then forgetting and keeping at once."""
        found = self.tuning or {}
        aggregate, mia = (found.get(name) or 0.0 for name in ("task_aggregate", "mia_score"))
        return (found.get("retain_knowledge") or 0.0) >= 0.5, aggregate + mia


def bench(
    methods: Sequence[str],
    out: Path,
    *,
    target: str = "demo",
    data: str = "demo",
    num_seeds: int = 5,
) -> Iterator[tuple[int, int, Trial]]:
    """Yield (trials done, trials in all, the trial) as they end; writes `out`/leaderboard.json on the way."""
    from unlearn_core.methods import get

    work = _Bench(out, RunSpec(target=target, data=data, save=False))
    plans = {name: get(name).candidates() for name in methods}
    total = sum(len(plan) + num_seeds for plan in plans.values())
    done = 0
    for name, plan in plans.items():
        tried = []
        for settings in plan:
            tried.append(work.trial(name, settings, TUNING_SEED))
            done += 1
            yield done, total, tried[-1]
        best = chosen(tried)
        for seed in range(num_seeds):
            trial = work.trial(name, best.settings, seed)
            done += 1
            yield done, total, trial
        work.write()


def chosen(tried: Sequence[Trial]) -> Trial:
    """The first that is as good as the best: the defaults, where nothing is clearly better."""
    kept, top = max(trial.rank for trial in tried)
    return next(t for t in tried if t.rank[0] == kept and t.rank[1] >= top - NEAR)


class _Bench:
    def __init__(self, out: Path, spec: RunSpec) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.spec = out, spec
        self.references = out / REFERENCES
        carried_out = (Trial(**record) for record in json_lines(out / TRIALS))
        self.trials = {trial.key: trial for trial in carried_out}

    def trial(self, method: str, settings: Settings, seed: int) -> Trial:
        """The result at hand, or a new run of it; the first run also measures what all are compared with."""
        known = self.trials.get(Trial(method, settings, seed).key)
        if known is not None and self.references.exists():
            return known
        trial = self._carry_out(method, settings, seed)
        append_line(self.out / TRIALS, json.dumps(asdict(trial)))
        self.trials[trial.key] = trial
        return trial

    def _carry_out(self, method: str, settings: Settings, seed: int) -> Trial:
        spec = replace(self.spec, method=method, settings=settings, seed=seed)
        state = RunState.of(run(spec))
        if state.failure is not None:
            return Trial(method, settings, seed, failure=state.failure.message)
        assert state.finished is not None
        scores, seconds = state.scores, state.finished.seconds["unlearn"]
        self._note_references(scores)
        before, gold = scores["original"], scores.get("retain_only")
        tuning, scored = (figures(scores["unlearned"], part, before, gold) for part in (True, False))
        return Trial(method, settings, seed, round(seconds, 2), word_of(state.verdict), tuning, scored)

    def _note_references(self, scores: Mapping[str, Scores]) -> None:
        """What the bars are: the original and, where there is one, the retain-only model."""
        if self.references.exists():
            return
        shown = {name: found for name, found in scores.items() if name != "unlearned"}
        first = next(iter(shown.values()))
        members = len(_every_third(first.details.member_losses, False))
        others = len(_every_third(first.details.nonmember_losses, False))
        before = shown["original"]
        band = membership.perfect_forgetting(members, others)
        gold = shown.get("retain_only")
        write_json(
            self.references,
            {
                "target": self.spec.target if self.spec.target == "demo" else Path(self.spec.target).name,
                "data": self.spec.data if self.spec.data == "demo" else Path(self.spec.data).name,
                "data_fingerprint": first.data_fingerprint,
                "weights": {name: found.weights_hash for name, found in shown.items()},
                "scores": {name: figures(found, False, before, gold) for name, found in shown.items()},
                "perfect_forgetting": band and {"auc": asdict(band[0]), "score": asdict(band[1])},
            },
        )

    def write(self) -> None:
        """The leaderboard of all trials so far."""
        references = json.loads(self.references.read_text(encoding="utf-8"))
        rows = leaderboard(list(self.trials.values()))
        record = {"made": datetime.now(UTC).date().isoformat(), "versions": library_versions(), **references}
        write_json(self.out / LEADERBOARD, {**record, "methods": rows})


def figures(scores: Scores, tuning: bool, before: Scores, gold: Scores | None) -> dict[str, Any]:
    """Scores on one part of the documents: every third (tuning), or the others. Utility is of neither.

    `neighbours` is the share kept of what the original told of others (of both parts). `forgetting` is the
    harmonic mean of the forget terms, `keeping` that of the retain terms and utility.
    `loss_distance` is the 1-Wasserstein distance (nats per token) between the losses of the forget set's
    documents under this model and under the retain-only one; 0 is what perfect forgetting tends to.
    `unseen_rise` is how much less likely never-seen documents became (nats per token) since `before`.
    """
    generations = [g for g in scores.generations if g.split in SPLITS]
    documents = {key: i for i, key in enumerate(dict.fromkeys((g.split, g.document or g.id) for g in generations))}
    chosen = [g for g in generations if (documents[g.split, g.document or g.id] % TUNING_SHARE == 0) == tuning]
    terms = semeval.terms((g.split, g.task, g.kind, g.score) for g in chosen)
    members = _every_third(scores.details.member_losses, tuning)
    area = membership.auc(members, _every_third(scores.details.nonmember_losses, tuning))
    aggregated = semeval.aggregated(terms)
    half = len(aggregated) // 2
    return {
        **_worst(terms),
        "neighbours": neighbours_kept(before, scores),
        "forgetting": semeval.partial_aggregate(aggregated[:half]),
        "keeping": semeval.partial_aggregate([*aggregated[half:], scores.utility]),
        **semeval.totals(aggregated, area, scores.utility),
        "unseen_rise": unseen_rise(before, scores),
        "loss_distance": None if gold is None else _distance(members, _every_third(gold.details.member_losses, tuning)),
    }


def leaderboard(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """One row a method: settings, mean and spread of each figure over seeds.

    First those whose runs mostly ended with the answers gone, then by final score: a model that lost its language on
    all but the retain set has a good one."""
    rows = []
    for method in dict.fromkeys(trial.method for trial in trials):
        own = [trial for trial in trials if trial.method == method]
        tried = [trial for trial in own if trial.seed == TUNING_SEED]
        runs = [t for t in own if t.seed != TUNING_SEED and t.scored]
        if tried:  # a bench that goes on with other candidates may have chosen otherwise before
            settings = chosen(tried).settings
            runs = [trial for trial in runs if trial.settings == settings]
        if not runs:
            continue
        names = list(runs[0].scored or {})
        rows.append(
            {
                "method": method,
                "settings": runs[0].settings,
                "num_seeds": len(runs),
                "seconds": min(trial.seconds for trial in runs),  # what else the machine did only adds
                "verdicts": dict(Counter(trial.verdict for trial in runs)),
                "figures": {name: _spread([(t.scored or {}).get(name) for t in runs]) for name in names},
            }
        )
    return sorted(rows, key=board_order)


def board_order(row: Mapping[str, Any]) -> tuple[bool, float]:
    """What the rows of a leaderboard are sorted by."""
    return commonest(row["verdicts"]) not in GONE, -(row["figures"][RANKED_BY]["mean"] or 0.0)


def commonest(verdicts: Mapping[str, int]) -> str:
    """The verdict most of a method's runs had."""
    return max(verdicts, key=lambda label: verdicts[label])


def _every_third(values: Sequence[float], tuning: bool) -> list[float]:
    return [value for i, value in enumerate(values) if (i % TUNING_SHARE == 0) == tuning]


def _worst(terms: Mapping[str, float | None]) -> dict[str, float | None]:
    """The least good of the three tasks, for each set and metric: the most left, or the least kept."""
    found = {}
    for split, choose in (("forget", max), ("retain", min)):
        for metric in ("knowledge", "regurgitation"):
            values = [v for name, v in terms.items() if name.startswith(split) and name.endswith(metric)]
            present = [value for value in values if value is not None]
            found[f"{split}_{metric}"] = choose(present) if present else None
    return found


def _distance(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(ours, theirs)) if ours and theirs else None


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    present = [value for value in values if value is not None]
    if not present:
        return {"mean": None, "spread": None}
    return {"mean": fmean(present), "spread": stdev(present) if len(present) > 1 else None}
