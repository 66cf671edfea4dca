"""A tiny model that knows a tiny data set by heart, saved like any target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_core.runs.spec import RunSpec

NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")


@dataclass(frozen=True)
class Memorised:
    """Folders of the model and of its data in the organisers' layout."""

    model: str
    data: str

    def spec(self, **changes: Any) -> RunSpec:
        """A run of eight steps that make it forget, unless `changes` say otherwise."""
        settings = {"learning_rate": 3e-3, "batch_size": 6}
        wanted = {"target": self.model, "data": self.data, "method": "grad_diff", "steps": 8, "settings": settings}
        return RunSpec(**{**wanted, **changes})

    def arguments(self, *more: str, **changes: Any) -> list[str]:
        """`lethe run` with the same, and `more`."""
        spec = self.spec(**changes)
        told = [
            "run",
            "--target",
            spec.target,
            "--data",
            spec.data,
            "--method",
            spec.method,
            "--steps",
            str(spec.steps),
        ]
        for name, value in spec.settings.items():
            told += ("--set", f"{name}={value}")
        return [*told, *more]


def memorise(folder: Path, model: Any, tokenizer: Any) -> Memorised:
    """Train `model` until it knows the data, and save both in `folder`."""
    from unlearn_core.data.sources import load_data

    data = folder / "data"
    write_data(data)
    rows = load_data(str(data))
    assert learn(model, tokenizer, (*rows.forget, *rows.retain), until=0.01) < 0.05
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return Memorised(str(folder / "model"), str(data))


def learn(model: Any, tokenizer: Any, rows: Sequence[Any], until: float) -> float:
    """Train `model` on the rows' answers until the loss is below `until`, at most 150 steps; the last loss."""
    import torch
    from torch.nn import functional as F

    from unlearn_core.data.encode import collate, encode_example
    from unlearn_core.models.inference.forward import answers

    batch = collate([encode_example(tokenizer, row) for row in rows], tokenizer.pad_token_id)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(150):
        part = answers(model, batch)
        loss = F.cross_entropy(part.logits_NV, part.labels_N)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if loss < until:
            break
    return float(loss.detach())


def write_data(folder: Path) -> None:
    """Three tasks, a completion and a question each, for every name; half to forget, half to keep."""
    (folder / "mia").mkdir(parents=True)
    for split, names in (("forget", NAMES[:3]), ("retain", NAMES[3:])):
        rows = []
        for task, name in zip(("Task1", "Task2", "Task3"), names, strict=True):
            rows.append({"id": f"{name}sc1", "input": f"{name} was", "output": f"in Rome {name}.", "task": task})
            rows.append({"id": f"{name}qa0", "input": f"Who is {name}?", "output": name[::-1], "task": task})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for kind, names in (("member", NAMES[:3]), ("nonmember", ("Gil", "Hal", "Ivo"))):
        rows = [{"id": name, "document": f"{name} was in Rome {name}."} for name in names]
        (folder / "mia" / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, rows)))
