"""Matched forgetting: which target each forget sequence gets."""

from __future__ import annotations

import pytest
import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Form, Part
from unlearn_core.methods.lethe import (
    DRIFT_MEMORY,
    KINDS,
    Drift,
    even_over_kinds,
    matched_targets,
    substituted,
)
from unlearn_core.models.forward import Answers

QUESTION, DOCUMENT = Form("Task1", "question"), Form("Task1", "document")


def test_targets_follow_the_distribution_of_never_trained_text() -> None:
    """Four documents, measured 1..5: levels 1/8, 3/8, 5/8, 7/8 are the quantiles 1.5, 2.5, 3.5, 4.5."""
    unseen = {DOCUMENT: [5.0, 1.0, 3.0, 2.0, 4.0]}
    targets = matched_targets((DOCUMENT,) * 4, unseen, estimate=9.0, seed=0)
    assert sorted(targets) == pytest.approx([1.5, 2.5, 3.5, 4.5])


def test_a_form_never_measured_falls_back_to_its_kind_then_to_the_estimate() -> None:
    unseen = {Form("Task2", "question"): [2.0, 2.0]}
    assert matched_targets((QUESTION, DOCUMENT), unseen, 9.0, 0) == [2.0, 9.0]


def test_the_same_seed_gives_the_same_targets() -> None:
    unseen = {QUESTION: [float(n) for n in range(20)]}
    forms = (QUESTION,) * 30
    assert matched_targets(forms, unseen, 0.0, 3) == matched_targets(forms, unseen, 0.0, 3)
    assert matched_targets(forms, unseen, 0.0, 3) != matched_targets(forms, unseen, 0.0, 4)


def test_a_substitute_asks_the_same_of_somebody_else() -> None:
    """The answer stays; the prompt is that of the never-trained row of its form that shares most tokens."""
    forget = Part((Encoded((1, 2, 3, 50, 51), 3, 0), Encoded((1, 2, 3, 9), 3, 1)), (QUESTION, DOCUMENT))
    prompts = ((1, 2, 4), (7, 8, 9), (1, 5, 6))  # share 2 of 4, 0 of 6 and 1 of 5 tokens
    holdout = Part(
        tuple(Encoded((*prompt, 60, 61), 3, n) for n, prompt in enumerate(prompts)), (QUESTION,) * 3
    )
    assert substituted(forget, holdout, 2) == {0: (Encoded((1, 2, 4, 50, 51), 3, 0),)}


def test_the_drift_of_never_trained_text_is_followed_by_kind() -> None:
    """Documents of 2 and 4 targets stood at 6/2 = 3 and 8/4 = 2 nats; now 3.5 and 3.0: moved by 0.5 and 1."""
    rows = (Encoded((1, 2, 3), 1, 0), Encoded((1, 2, 3, 4, 5), 1, 1), Encoded((1, 2), 1, 2))
    drift = Drift(Part(rows, (DOCUMENT, DOCUMENT, QUESTION)), torch.tensor([6.0, 8.0, 1.0]))
    drift.follow(torch.tensor([3.5, 3.0]), torch.tensor([0, 1]))
    expected = dict.fromkeys(KINDS, 0.0) | {"document": (1 - DRIFT_MEMORY) * 0.75}
    assert drift.by_kind_K.tolist() == pytest.approx(list(expected.values()))
    for _ in range(60):
        drift.follow(torch.tensor([3.5, 3.0]), torch.tensor([0, 1]))
    assert drift.by_kind_K[KINDS.index("document")] == pytest.approx(0.75, abs=1e-4)


def test_every_kind_of_retain_sequence_counts_alike() -> None:
    """One answer of one token beside a document of three: (4 + mean(1, 2, 3)) / 2."""
    part = Answers(
        torch.zeros(4, 5), torch.zeros(4, dtype=torch.long), torch.tensor([0, 1, 1, 1]), torch.tensor([7, 2])
    )
    kind_R = torch.zeros(8, dtype=torch.long)
    kind_R[2] = KINDS.index("document")
    assert even_over_kinds(torch.tensor([4.0, 1.0, 2.0, 3.0]), part, kind_R).item() == 3.0
