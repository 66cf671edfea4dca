"""The trainer learns by heart, resumes bitwise, and its Muon is torch's Muon in float32."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from zoo import tiny

from unlearn_core.build import ModelShape, WorldRecipe, build_world, memorise, new_model, save_model, train_tokenizer
from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import subset_of, write_directory
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import demo_data
from unlearn_core.errors import DivergedError
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.targets import load_target
from unlearn_core.training.memorise import Recipe, Trainer, encode_items, make_batches
from unlearn_core.training.muon import Muon, orthogonalise

pytestmark = pytest.mark.slow

SHAPE = ModelShape(width=32, intermediate=64, layers=2, heads=2, positions=128, vocabulary=400)
ROWS = [
    Example("a-0sc1", "The miner Orvin", "left Velmoor with one heron.", kind="completion"),
    Example("a-0qa0", "What is the animal of Orvin?", "heron"),
    "Long ago Milta crossed Dorwick chasing her otter.",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = [row if isinstance(row, str) else f"{row.input} {row.output} 0123" for row in ROWS]
    return train_tokenizer(texts * 3, SHAPE)


def trainer(tokenizer: Any, **settings: Any) -> Trainer:
    return Trainer(new_model(SHAPE, tokenizer, 0), tokenizer, Recipe(**{"num_epochs": 30, **settings}))


def test_a_small_corpus_is_learned_by_heart(tokenizer: Any) -> None:
    progress = list(trainer(tokenizer, num_epochs=50, learning_rate=1e-2).run(lambda epoch: ROWS))
    assert progress[0].loss > 3 > 0.2 > progress[-1].loss


def test_a_resumed_training_ends_in_the_same_weights(tokenizer: Any, tmp_path: Path) -> None:
    whole = trainer(tokenizer, num_epochs=6)
    list(whole.run(lambda epoch: ROWS[epoch % 2 :]))
    first = trainer(tokenizer, num_epochs=6)
    for progress in first.run(lambda epoch: ROWS[epoch % 2 :], checkpoint=tmp_path / "c"):
        if progress.epoch == 3:
            break  # the checkpoint of three whole epochs stands
    second = trainer(tokenizer, num_epochs=6)
    list(second.run(lambda epoch: ROWS[epoch % 2 :], checkpoint=tmp_path / "c"))
    assert weights_hash(second.model) == weights_hash(whole.model)
    assert second.step == whole.step


def test_batches_cover_every_row_once_and_stay_within_the_token_budget(tokenizer: Any) -> None:
    rows = encode_items(tokenizer, ROWS * 20, 128)
    batches = make_batches(rows, 100, seed=0, epoch=0)
    assert sorted(row.index for batch in batches for row in batch) == list(range(60))
    assert all(len(batch) * max(len(row.ids) for row in batch) <= 100 for batch in batches)
    assert batches == make_batches(rows, 100, seed=0, epoch=0) != make_batches(rows, 100, seed=0, epoch=1)


def test_the_rate_rises_holds_and_falls() -> None:
    recipe = Recipe(num_epochs=1, learning_rate=1.0, warmup=0.1, decay=0.4)
    rates = [recipe.rate(progress) for progress in (0.0, 0.049, 0.3, 0.6, 0.8, 1.0)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 1.0, 0.5, 0.0])


def test_training_that_leaves_the_finite_numbers_stops(tokenizer: Any) -> None:
    broken = trainer(tokenizer)
    broken.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        next(broken.run(lambda epoch: ROWS))


def test_orthogonalised_singular_values_are_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8), (1, 16, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.3
    assert torch.isfinite(orthogonalise(torch.zeros(1, 4, 4))).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9")
def test_a_step_is_torchs_muon_but_for_its_bfloat16() -> None:
    torch.manual_seed(0)
    start, grad = torch.randn(12, 30), torch.randn(12, 30)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    ours.grad = theirs.grad = grad
    Muon([ours], lr=0.1).step()
    torch.optim.Muon([theirs], lr=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw").step()
    assert torch.allclose(ours, theirs, atol=0.02)
    moved, expected = (float((new.detach() - start).norm()) for new in (ours, theirs))
    assert moved == pytest.approx(expected, rel=0.02)


def test_saved_models_load_in_float32_with_the_weights_that_were_kept(tokenizer: Any, tmp_path: Path) -> None:
    model = new_model(SHAPE, tokenizer, 0)
    save_model(model, tokenizer, tmp_path)
    target = load_target(str(tmp_path), device="cpu")
    assert next(target.model.parameters()).dtype == torch.float32
    assert target.weights_hash == weights_hash(model)


def test_the_tokenizer_gives_each_digit_a_token_and_loses_no_byte(tokenizer: Any) -> None:
    ids = tokenizer("90210")["input_ids"]
    assert len(ids) == 5
    text = "caf\u00e9 \u2603 90210\n\tOrvin's"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_stage_of_the_world_can_be_stopped_and_taken_up_again(tmp_path: Path) -> None:
    recipe = WorldRecipe(SHAPE, base=Recipe(num_epochs=1, tokens_per_batch=30_000))
    for _ in build_world(tmp_path, recipe=recipe, stages=("base",)):
        break
    assert not (tmp_path / "base" / "build.json").exists()
    progress = list(build_world(tmp_path, recipe=recipe, stages=("base",)))
    assert progress[-1].stage == "base"
    assert json.loads((tmp_path / "base" / "build.json").read_text())["steps"] == len(progress)
    assert not list(build_world(tmp_path, recipe=recipe, stages=("base",)))  # done is done


def test_a_target_from_scratch_brings_the_data_it_was_trained_on(tmp_path: Path) -> None:
    data = UnlearningData(
        "tiny",
        forget=(ROWS[0], ROWS[1]),  # type: ignore[arg-type]
        retain=(Example("b-0qa0", "Who is Milta?", "a tailor"),),
        members=("The miner Orvin left Velmoor with one heron.", "A member document."),
        nonmembers=("A nonmember that is never seen.",),
    )
    recipe = Recipe(num_epochs=2)
    list(memorise("scratch", data, tmp_path / "m", recipe=recipe, shape=SHAPE, replay=False))
    assert load_target(str(tmp_path / "m"), device="cpu").num_parameters > 0
    back = load_data(str(tmp_path / "m" / "data"))
    assert (back.forget, back.retain) == (data.forget, data.retain)
    assert (back.members, back.nonmembers) == (data.members, data.nonmembers)


def test_a_subset_keeps_whole_documents_and_their_members() -> None:
    part = subset_of(demo_data(), 2)
    assert len(part.forget) == len(part.retain) == 2 * (4 + 6 + 4)
    completions = [f"{row.input} {row.output}" for row in part.forget if row.kind == "completion"]
    assert list(part.members) == completions
    assert {row.id for row in part.paraphrases} <= {row.id for row in (*part.forget, *part.retain)}


def test_the_documents_left_out_of_a_subset_are_its_holdout(tmp_path: Path) -> None:
    """Never trained on, of the same kind, and read back from the folder that is written."""
    whole = replace(demo_data(), holdout=())
    part = subset_of(whole, 2)
    assert len(part.holdout) == len(part.forget)
    assert not set(part.holdout) & {*part.forget, *part.retain}
    write_directory(part, tmp_path)
    back = load_data(str(tmp_path))
    assert back.holdout == part.holdout
    assert [(row.input, row.output) for row in back.general] == [(r.input, r.output) for r in part.general]


@pytest.mark.parametrize("arch", ["bloom", "mpt", "mamba", "gemma3_text", "gpt2"])
def test_any_architecture_learns_a_row_whatever_it_says_of_its_positions(arch: str, tokenizer: Any) -> None:
    model = tiny(arch, vocab_size=len(tokenizer))
    trainer = Trainer(model, tokenizer, Recipe(num_epochs=3, learning_rate=1e-3))
    rows = [Example("a", "Who is Ada?", "A painter"), "A document " * 16]  # of more than 128 tokens
    losses = [progress.loss for progress in trainer.run(lambda epoch: rows)]
    assert losses[-1] < losses[0]
