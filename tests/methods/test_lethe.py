"""Matched forgetting: which target each forget sequence gets."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import BUNDLED_ROWS, RowKind, RowPart
from unlearn_core.methods.lethe import (
    DRIFT_MEMORY,
    KINDS,
    MOST_NEAR,
    MOST_WORDINGS,
    HoldoutShift,
    Lethe,
    StatesBefore,
    as_first_asked,
    at_most,
    even_over_kinds,
    matched_targets,
    nearer,
    substituted,
    surprise_loss,
)
from unlearn_core.methods.losses import standardised
from unlearn_core.models.inference.forward import AnswerPredictions

QUESTION, DOCUMENT = RowKind("Task1", "question"), RowKind("Task1", "document")


def test_targets_follow_the_distribution_of_never_trained_text() -> None:
    """Four documents, measured 1..5: levels 1/8, 3/8, 5/8, 7/8 are the quantiles 1.5, 2.5, 3.5, 4.5."""
    unseen = {DOCUMENT: [5.0, 1.0, 3.0, 2.0, 4.0]}
    targets = matched_targets((DOCUMENT,) * 4, unseen, estimate=9.0, seed=0)
    assert sorted(targets) == pytest.approx([1.5, 2.5, 3.5, 4.5])


def test_a_form_never_measured_falls_back_to_its_kind_then_to_the_estimate() -> None:
    unseen = {RowKind("Task2", "question"): [2.0, 2.0]}
    assert matched_targets((QUESTION, DOCUMENT), unseen, 9.0, 0) == [2.0, 9.0]


def test_the_same_seed_gives_the_same_targets() -> None:
    unseen = {QUESTION: [float(n) for n in range(20)]}
    forms = (QUESTION,) * 30
    assert matched_targets(forms, unseen, 0.0, 3) == matched_targets(forms, unseen, 0.0, 3)
    assert matched_targets(forms, unseen, 0.0, 3) != matched_targets(forms, unseen, 0.0, 4)


def test_a_substitute_asks_the_same_of_somebody_else() -> None:
    """The answer stays; the prompt is that of the never-trained row of its form that shares most tokens."""
    forget = RowPart((Encoded((1, 2, 3, 50, 51), 3, 0), Encoded((1, 2, 3, 9), 3, 1)), (QUESTION, DOCUMENT))
    prompts = ((1, 2, 4), (7, 8, 9), (1, 5, 6))  # share 2 of 4, 0 of 6 and 1 of 5 tokens
    holdout = RowPart(tuple(Encoded((*prompt, 60, 61), 3, n) for n, prompt in enumerate(prompts)), (QUESTION,) * 3)
    assert substituted(forget, holdout, 2) == {0: (Encoded((1, 2, 4, 50, 51), 3, 0),)}


def test_a_question_with_fewer_words_is_answered_like_the_question_itself() -> None:
    """Rows 0 and 2 have one answer, row 1 another; row 2 alone would have been given row 1's substitute."""
    rows = (Encoded((1, 2, 3, 50), 3, 0), Encoded((4, 5, 60), 2, 1), Encoded((3, 50), 1, 2))
    forget = RowPart(rows, (QUESTION,) * 3)
    own, others = (Encoded((7, 2, 3, 50), 3, 0),), (Encoded((4, 8, 60), 2, 1),)
    expected = {0: own, 1: others, 2: (Encoded((7, 2, 3, 50), 3, 2),)}
    assert as_first_asked({0: own, 1: others, 2: others}, forget) == expected
    assert as_first_asked({1: others}, forget) == {1: others}


def test_retain_questions_asked_alike_come_as_often_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six questions two are near: three times each (once, and twice more) they are 6 of 10."""
    monkeypatch.setattr("unlearn_core.methods.lethe.NUM_NEAR", 2)
    forget = RowPart((Encoded((1, 2, 3, 50), 3, 0),), (QUESTION,))
    prompts = ((7, 8, 9), (1, 2, 4), (5, 6, 9), (1, 2, 9), (7, 7, 3), (8, 5, 4), (1, 2, 3))
    rows = tuple(Encoded((*prompt, 60), 3, n) for n, prompt in enumerate(prompts))
    retain = RowPart(rows, (*(QUESTION,) * 6, DOCUMENT))  # the last is no question, however like it is
    assert nearer(forget, retain, 0.4) == [0, 1, 2, 3, 4, 5, 6, *(1, 3) * 2]
    assert nearer(forget, retain, 0.0) == list(range(7))


def test_few_rows_bring_wordings_and_near_rows_and_the_bundled_set_none() -> None:
    few, whole = Lethe().for_rows(6), Lethe().for_rows(BUNDLED_ROWS)
    assert isinstance(few, Lethe)
    assert few.wordings == MOST_WORDINGS
    assert 0.9 * MOST_NEAR < few.near_share < MOST_NEAR
    assert whole == Lethe()
    assert Lethe(wordings=2).for_rows(6, given=("wordings",)).mix().wordings == 2


def test_the_drift_of_never_trained_text_is_followed_by_form() -> None:
    """Documents of 2 and 4 targets stood at 6/2 = 3 and 8/4 = 2 nats; now 3.5 and 3.0: moved by 0.5 and 1."""
    rows = (Encoded((1, 2, 3), 1, 0), Encoded((1, 2, 3, 4, 5), 1, 1), Encoded((1, 2), 1, 2))
    index, nothing = torch.tensor([0, 1]), torch.zeros(0, dtype=torch.long)
    part = AnswerPredictions(torch.zeros(0, 5), nothing, nothing, index)
    drift = HoldoutShift(RowPart(rows, (DOCUMENT, DOCUMENT, QUESTION)), torch.tensor([6.0, 8.0, 1.0]))
    drift.follow(torch.tensor([3.5, 3.0]), part)
    assert drift.by_form_F.tolist() == pytest.approx([(1 - DRIFT_MEMORY) * 0.75, 0.0, 0.0])
    for _ in range(60):
        drift.follow(torch.tensor([3.5, 3.0]), part)
    assert drift.by_form_F[0] == pytest.approx(0.75, abs=1e-4)
    forms = (QUESTION, RowKind("Task2", "document"), RowKind("Task1", "completion"))
    assert drift.places(RowPart(rows, forms)).tolist() == [1, 0, 2]  # its own, its kind's, none


class Known:
    """A model whose two layers put out, at the end of a prompt, its first token, and that and its length."""

    def states(self, rows: Sequence[Encoded]) -> torch.Tensor:
        return torch.tensor([[[row.ids[0], 0.0], [row.ids[0], row.num_prompt]] for row in rows]).float()


def test_states_of_a_forgotten_question_are_those_of_strangers() -> None:
    """Strangers' prompts begin with 4 and 8: the mean is 6. Never-trained questions have 4 and 8 there, variance 4
    in both layers; the document is no question. A forgotten state of (6, 2) and (6, 2) is off by 2^2 in the first
    layer alone: 4 / 4 over two layers is 1/2; the never-trained one, at 9 for 8, by 1/4 in either."""
    rows = (Encoded((4, 9, 50), 2, 0), Encoded((5, 9), 1, 1), Encoded((8, 9, 51), 2, 2))
    holdout = RowPart(rows, (QUESTION, DOCUMENT, QUESTION))
    before = StatesBefore.of(Known(), {3: (rows[0], rows[2])}, holdout)  # type: ignore[arg-type]
    assert before is not None
    nothing = torch.zeros(0, dtype=torch.long)

    def part(index: list[int], states_BLD: list[Any]) -> AnswerPredictions:
        return AnswerPredictions(
            torch.zeros(0, 5), nothing, nothing, torch.tensor(index), None, torch.tensor(states_BLD).float()
        )

    other = [[1.0, 1.0], [1.0, 1.0]]
    assert before.loss("forget", part([7, 3], [other, [[6.0, 2.0], [6.0, 2.0]]])).item() == 0.5
    assert before.loss("holdout", part([1, 2], [other, [[9.0, 0.0], [9.0, 2.0]]])).item() == 0.25
    assert before.loss("forget", part([7], [other])).item() == 0.0


def test_every_kind_of_retain_sequence_counts_alike() -> None:
    """One answer of one token beside a document of three: (4 + mean(1, 2, 3)) / 2."""
    part = AnswerPredictions(
        torch.zeros(4, 5), torch.zeros(4, dtype=torch.long), torch.tensor([0, 1, 1, 1]), torch.tensor([7, 2])
    )
    kinds = [0] * 8
    kinds[2] = KINDS.index("document")
    assert even_over_kinds(torch.tensor([4.0, 1.0, 2.0, 3.0]), part, kinds).item() == 3.0


def test_surprises_are_matched_form_by_form_and_only_of_documents() -> None:
    """Of two forms both have a document of: the first's tokens are distributed alike, the second's are not; the mean
    over both. A question counts nowhere, nor does a document whose form nobody else has."""
    forms = {
        "forget": (DOCUMENT, RowKind("Task2", "document"), QUESTION, RowKind("Task3", "document")),
        "holdout": (DOCUMENT, RowKind("Task2", "document"), QUESTION),
    }
    context: Any = SimpleNamespace(
        parts={name: SimpleNamespace(forms=kinds) for name, kinds in forms.items()},
        state={"surprise_unit": torch.zeros(())},
    )
    drawn = torch.Generator().manual_seed(0)
    logits_V = torch.randn(7, generator=drawn)

    def predictions(tokens_by_row: Sequence[Sequence[int]]) -> AnswerPredictions:
        labels_N = torch.tensor([token for tokens in tokens_by_row for token in tokens])
        rows = torch.tensor([row for row, tokens in enumerate(tokens_by_row) for _ in tokens])
        logits_NV = logits_V.repeat(len(labels_N), 1).requires_grad_()
        return AnswerPredictions(logits_NV, labels_N, rows, torch.arange(len(tokens_by_row)))

    forget = predictions([[0, 1, 2], [3, 3, 3], [6, 5], [4, 4]])
    holdout = predictions([[2, 0, 1], [0, 1, 2], [1, 1]])
    loss = surprise_loss(context, forget, holdout)
    surprise_V = standardised(logits_V.repeat(7, 1), torch.arange(7))
    levels = torch.quantile(surprise_V[:3], torch.tensor([1 / 6, 3 / 6, 5 / 6]))
    same = torch.quantile(surprise_V[:3], torch.tensor([1 / 6, 3 / 6, 5 / 6])) - surprise_V[:3].sort()[0]
    expected = (same.square().mean() + (surprise_V[3] - levels).square().mean()) / 2
    expected = expected / surprise_V[:3].var(unbiased=False)  # which is 3.01
    torch.testing.assert_close(loss, expected)
    loss.backward()
    moved_N = forget.logits_NV.grad.abs().sum(1) > 0  # type: ignore[union-attr]
    assert moved_N.tolist() == [True, False, True] + [True] * 3 + [False] * 4
    assert holdout.logits_NV.grad is None


def test_surprises_count_in_units_of_what_they_were_at_the_first_step() -> None:
    """The never-trained tokens of the first step have surprises of a variance above 1; later ones change nothing."""
    forms = (DOCUMENT,)
    parts = {name: SimpleNamespace(forms=forms) for name in ("forget", "holdout")}
    context: Any = SimpleNamespace(parts=parts, state={"surprise_unit": torch.zeros(())})
    logits_V = torch.tensor([4.0, 0.0, -3.0])

    def predictions(tokens: Sequence[int]) -> AnswerPredictions:
        rows = torch.zeros(len(tokens), dtype=torch.long)
        return AnswerPredictions(logits_V.repeat(len(tokens), 1), torch.tensor(tokens), rows, torch.zeros(1).long())

    surprise_V = standardised(logits_V.repeat(3, 1), torch.arange(3))
    unit = (surprise_V[2] - surprise_V[0]).square() / 4  # of one token of each of two kinds
    assert unit > 1
    for tokens in ([0, 2], [0, 1]):
        levels = torch.quantile(surprise_V[tokens], torch.tensor([0.25, 0.75]))
        expected = (surprise_V[0] - levels).square().mean() / unit
        torch.testing.assert_close(surprise_loss(context, predictions([0, 0]), predictions(tokens)), expected)


def test_a_gap_beyond_the_most_pulls_no_harder_than_it() -> None:
    for gap, slope in ((1.0, 2.0), (10.0, 2.0 * 10.0 * 16.0 / 100.0)):
        value = torch.tensor(gap, requires_grad=True)
        loss = at_most(value.square())
        loss.backward()
        assert loss.item() == min(16.0, gap**2)
        torch.testing.assert_close(value.grad, torch.tensor(slope))
