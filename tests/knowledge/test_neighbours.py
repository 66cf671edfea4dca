"""Neighbours that are made: what the model says of others, and not of anybody."""

from __future__ import annotations

from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.knowledge.neighbours import made_neighbours
from unlearn_core.models.targets import load_target


def test_of_the_others_only_those_whom_the_model_knows_become_neighbours() -> None:
    target, world = load_target("demo"), load_data("demo")
    own = [row for row in world.forget if row.subject == "Ferek Rudlow" and row.kind == "question"][:3]
    read = list(dict.fromkeys(row.subject for row in world.retain if row.task == "Task2"))[:4]
    never_read = list(dict.fromkeys(row.subject for row in world.holdout if row.task == "Task2"))[:4]
    typed = UnlearningData("typed", tuple(own))
    made = made_neighbours(target.model, target.tokenizer, typed, [*read, *never_read, "Ferek Rudlow"])
    gold = {(row.input, row.output) for row in world.retain}
    assert len(made) >= 10
    # It is sure of a few answers about somebody it never read of: those are its own, too.
    assert sum((row.input, row.output) in gold for row in made) >= 0.85 * len(made)
    assert {row.subject for row in made} >= set(read)
    assert "Ferek Rudlow" not in {row.subject for row in made}
    assert made_neighbours(target.model, target.tokenizer, typed, never_read) == ()
