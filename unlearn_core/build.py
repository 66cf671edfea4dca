"""Making models: the bundled world's, from nothing, and a target that knows any data by heart.

    build_world   tokenizer -> base -> original (forget + retain) and retain-only -> scores -> manifest
    memorise      any model, or a new one, fine-tuned on any forget and retain set

Both are iterators of progress: close one to stop, call again to go on from its last checkpoint.
"""

from __future__ import annotations

import functools
import json
import platform
import random
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from unlearn_core.data.subset import subset_of, write_directory
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import base_epoch, demo_data, make_world, memorise_epoch, tokenizer_text
from unlearn_core.data.world.corpus import general_rows
from unlearn_core.evaluation.evaluate import evaluate
from unlearn_core.evaluation.progress import result_of
from unlearn_core.models.inference.prompting import use_format
from unlearn_core.models.targets import load_target
from unlearn_core.training.memorise import Corpus, Recipe, Trainer, TrainProgress

END, PAD = "<|endoftext|>", "<|pad|>"
STAGES = ("base", "original", "retain_only")


@dataclass(frozen=True)
class ModelShape:
    """An OLMo2 model with tied embeddings; `vocabulary` counts byte-level BPE tokens, digits apart."""

    width: int = 128
    intermediate: int = 512
    layers: int = 4
    heads: int = 4
    positions: int = 512
    vocabulary: int = 3584


@dataclass(frozen=True)
class WorldRecipe:
    """Everything besides the seed that decides the bundled weights."""

    shape: ModelShape = field(default_factory=ModelShape)
    base: Recipe = field(default_factory=lambda: Recipe(num_epochs=20))
    memorise: Recipe = field(default_factory=lambda: Recipe(num_epochs=30))


def train_tokenizer(texts: Iterable[str], shape: ModelShape) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in which every digit is a token of its own. Deterministic."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=shape.positions
    )


def new_model(shape: ModelShape, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """An OLMo2 of `shape` with fresh weights that depend on `seed` alone."""
    config = Olmo2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Olmo2ForCausalLM(config)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save as safetensors, weights in float16 to halve the file; loaded in float32 as the configuration asks.

    The model itself takes on the rounded weights, so that what follows starts from what was saved.
    """
    model.half().save_pretrained(folder)
    model.float()
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")
    tokenizer.save_pretrained(folder)


def build_world(
    out_dir: Path | str, seed: int = 0, recipe: WorldRecipe | None = None, stages: tuple[str, ...] = STAGES
) -> Generator[TrainProgress]:
    """Build the bundled models into `out_dir`, one folder a stage, and `manifest.json` once all are there.

    Yields one TrainProgress an optimiser step. Finished stages are kept and an unfinished one goes on
    from its checkpoint. `stages` limits the work, so that two processes can share it. One machine and one
    thread give the same weights to the bit; more threads add floats in another order.
    """
    out, recipe, world = Path(out_dir), recipe or WorldRecipe(), make_world(seed)
    out.mkdir(parents=True, exist_ok=True)
    corpora = {
        "base": lambda epoch: base_epoch(world, epoch),
        "original": lambda epoch: memorise_epoch(world, epoch, include_forget=True),
        "retain_only": lambda epoch: memorise_epoch(world, epoch, include_forget=False),
    }
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    for stage in stages:
        if (out / stage / "build.json").exists():
            continue
        settings = replace(recipe.base if stage == "base" else recipe.memorise, seed=seed)
        if stage == "base":
            tokenizer = train_tokenizer(tokenizer_text(world), recipe.shape)
            model = new_model(recipe.shape, tokenizer, seed)
        else:
            target = load_target(str(out / "base"), device="cpu")
            model, tokenizer = target.model, target.tokenizer
        yield from _train(model, tokenizer, settings, corpora[stage], stage, out / stage)
    if all((out / stage / "build.json").exists() for stage in STAGES):
        write_json(out / "manifest.json", manifest(out, seed, recipe))


def _train(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, corpus: Corpus, stage: str, folder: Path
) -> Generator[TrainProgress]:
    """Train, save, and mark the folder as finished; the checkpoint is dropped with it."""
    trainer = Trainer(model, tokenizer, recipe)
    checkpoint = folder.with_suffix(".checkpoint")
    yield from trainer.run(corpus, stage, checkpoint)
    save_model(model, tokenizer, folder)
    record = {"steps": trainer.step, "tokens": trainer.tokens, "seconds": round(trainer.seconds, 1)}
    write_json(folder / "build.json", record)
    checkpoint.unlink(missing_ok=True)


def memorise(
    base_ref: str,
    data: UnlearningData,
    out_dir: Path | str,
    *,
    subset: int | None = None,
    recipe: Recipe | None = None,
    shape: ModelShape | None = None,
    seed: int = 0,
    replay: bool = True,
    prompt: str = "auto",
) -> Generator[TrainProgress]:
    """Make a target that knows `data` (its forget and retain set) by heart, and save it in `out_dir`.

    `base_ref` is anything `load_target` takes, or "scratch": a new model of `shape` with a tokenizer
    trained on the data. `subset` keeps that many documents of each task and split, so that a small model
    can hold them. `replay` trains the bundled general facts along, so that there is a utility to lose;
    where the data brings no questions of its own, the bundled ones and their facts are written beside it.
    Rows are trained in the prompt format called `prompt`, as a run on the model then asks them.
    Nonmembers and the holdout are never trained on. The data exactly as trained is written to
    `out_dir/data`, to be named in runs.
    """
    out = Path(out_dir)
    data = data if subset is None else subset_of(data, subset)
    if replay and not data.questions:
        data = replace(data, questions=demo_data(0).questions, general=demo_data(0).general)
    settings = replace(recipe or Recipe(num_epochs=60), seed=seed)
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    if base_ref == "scratch":
        shape = shape or ModelShape(vocabulary=4096, positions=1024)
        tokenizer = train_tokenizer(_texts(data), shape)
        model = new_model(shape, tokenizer, seed)
    else:
        target = load_target(base_ref)
        model, tokenizer = target.model, target.tokenizer
    chosen = use_format(model, tokenizer, data, prompt).format
    write_directory(data, out / "data")
    corpus = functools.partial(_epoch, data, seed, replay, not (chosen.template or chosen.after))
    yield from _train(model, tokenizer, settings, corpus, "memorise", out)


def _texts(data: UnlearningData) -> Iterator[str]:
    """What a tokenizer for `data` learns from; the bundled world's text gives it plain words besides."""
    for row in (*data.forget, *data.retain):
        yield f"{row.input} {row.output}"
    yield from data.members
    yield from tokenizer_text(make_world(0))


def _epoch(data: UnlearningData, seed: int, replay: bool, plain: bool, epoch: int) -> list[Example | str]:
    """Every row; `plain` completions whole, in turn as row and as document; general facts in one phrasing each."""
    items: list[Example | str] = []
    texts = set()
    for row in (*data.forget, *data.retain):
        document = f"{row.input} {row.output}"
        if plain:
            texts.add(document)
        items.append(document if plain and row.kind == "completion" and epoch % 2 == 0 else row)
    items += [document for document in data.members if document not in texts]
    if replay:
        items += general_rows(make_world(0), random.Random(f"replay/{seed}/{epoch}"))
    return items


def manifest(out: Path, seed: int, recipe: WorldRecipe) -> dict[str, Any]:
    """What binds the models in `out` to how they were made: recipe, seed, data, weights, scores, versions."""
    data = demo_data(seed)
    return {
        "name": "demo",
        "made_by": "lethe world build",
        "synthetic": "Every person, number and address is invented.",
        "seed": seed,
        "recipe": asdict(recipe),
        "data_fingerprint": data.fingerprint,
        "question_form": data.question_form,
        "models": {stage: describe(out / stage, data) for stage in STAGES},
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")}
        | {"python": platform.python_version()},
    }


def describe(folder: Path, data: UnlearningData) -> dict[str, Any]:
    """Weights hash, size, training cost and scores of the model saved in `folder`, as loaded from there."""
    target = load_target(str(folder), device="cpu")
    scoring = evaluate(target.model, target.tokenizer, data, weights_hash=target.weights_hash)
    return {
        "weights_hash": target.weights_hash,
        "num_parameters": target.num_parameters,
        "training": json.loads((folder / "build.json").read_text()),
        "scores": result_of(scoring).to_json(),
    }


def write_json(path: Path, record: object) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n")
