"""Where hidden states put subjects: principal components by hand, the same each time, and known apart from unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core.data.subject_groups import SubjectGroup, subject_groups
from unlearn_core.data.types import Example
from unlearn_core.evaluation.neighbourhood import MAX_ROWS, place_subjects, plane_of


def test_the_plane_is_that_of_the_two_largest_components() -> None:
    """Around their mean (2, 1, 5) the states are (-2, 0, 0), (2, 0, 0), (0, 1, 0), (0, -1, 0): squares 8 and 2."""
    points, spread = plane_of(torch.tensor([[0.0, 1.0, 5.0], [4.0, 1.0, 5.0], [2.0, 2.0, 5.0], [2.0, 0.0, 5.0]]))
    wanted = torch.tensor([[0.0, 0.5], [1.0, 0.5], [0.5, 1.0], [0.5, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(points, wanted)
    assert spread == pytest.approx(1.0)
    ends = torch.diag(torch.tensor([2.0, 1.0, 0.5]))
    _, spread = plane_of(torch.cat([ends, -ends]))
    assert spread == pytest.approx((8 + 2) / (8 + 2 + 0.5))


def test_subjects_that_are_all_alike_are_at_one_place() -> None:
    points, spread = plane_of(torch.ones(4, 3))
    assert torch.equal(points, torch.zeros(4, 2, dtype=torch.float64))
    assert spread == 0.0


def groups_of(names: tuple[str, ...]) -> list[SubjectGroup]:
    rows = {name: tuple(Example(f"{name}{n}", f"{'Who ' * n}is {name}?", "x") for n in range(1, 4)) for name in names}
    return [SubjectGroup(name, "forget", found) for name, found in rows.items()]


@pytest.mark.parametrize("arch", ["olmo2", "gpt_neox"])
def test_places_are_the_same_each_time_and_in_batches_of_any_size(
    arch: str, tiny_model: Callable[..., Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, groups = tiny_model(arch), groups_of(("Ada", "Bo", "Cyrus", "Dorothea", "Ed"))
    places = place_subjects(model, tiny_tokenizer, groups)
    assert places is not None
    assert places == place_subjects(model, tiny_tokenizer, groups)
    assert (places.layer, places.num_layers) == (1, 2)
    for axis in zip(*places.points, strict=True):
        assert (min(axis), max(axis)) == (0.0, 1.0)
    monkeypatch.setattr("unlearn_core.evaluation.neighbourhood.TOKENS_PER_BATCH", {"cpu": 1})
    alone = place_subjects(model, tiny_tokenizer, groups)
    assert alone is not None
    torch.testing.assert_close(torch.tensor(alone.points), torch.tensor(places.points), atol=2e-3, rtol=0)
    longer = [replace(group, rows=(*group.rows, Example("more", "What else?", "x"))) for group in groups]
    assert len(longer[0].rows) > MAX_ROWS
    assert alone == place_subjects(model, tiny_tokenizer, longer)


def test_too_few_subjects_have_no_map(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    assert place_subjects(tiny_model(), tiny_tokenizer, groups_of(("Ada", "Bo"))) is None


def test_the_bundled_model_puts_whom_it_never_saw_apart_from_whom_it_knows() -> None:
    """Of each subject's five nearest others on the map, most are of its own sort: known, or never seen."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.models.targets import load_target

    target, groups = load_target("demo"), subject_groups(load_data("demo"))
    places = place_subjects(target.model, target.tokenizer, groups)
    assert places is not None
    points_S2 = torch.tensor(places.points)
    strange_S = torch.tensor([group.split == "holdout" for group in groups])
    apart_SS = torch.cdist(points_S2, points_S2).fill_diagonal_(float("inf"))
    near_S5 = apart_SS.topk(5, largest=False).indices
    agree = (strange_S[near_S5].float().mean(1) > 0.5) == strange_S
    assert agree.float().mean() > 0.9


def test_a_model_of_no_numbers_gets_no_map(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    assert place_subjects(model, tiny_tokenizer, groups_of(("Ada", "Bo", "Cy", "Di"))) is None
