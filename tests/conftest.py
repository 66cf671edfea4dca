"""Tiny real objects: a byte-level tokenizer, random models of several architectures, a small data set."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from unlearn_core.data.types import Example, Question, UnlearningData
from unlearn_core.store.store import RunStore

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # for its zoo of tiny architectures

# The same examples on every machine; benchmarks/fuzz.py is where new ones are looked for.
settings.register_profile("same examples", derandomize=True)
settings.load_profile("same examples")

TINY = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "tie_word_embeddings": True,
}
CORPUS = (
    "Mara Venn was born in Oldport and wrote the novel Glass Harbour.",
    "What is the phone number of Tomas Reed? 900-41-7788, caf\u00e9 \u2603",
    "The question has four options: A, B, C and D. Answer: A",
)


_KNOWN_MODULES = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What the imports make stays to the end: a run that collects its garbage need not look through all of it."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """So does what a test was the first to import: every run collects its garbage twice."""
    yield
    known = item.config.stash.get(_KNOWN_MODULES, 0)
    if len(sys.modules) > known + 100:
        item.config.stash[_KNOWN_MODULES] = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    made = RunStore(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level BPE of at most 320 tokens: `<eos>` is 0, `<pad>` is 1, every byte is known."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<eos>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """`tiny_model("olmo2", seed=0, **settings)`: a fresh two-layer float32 model with random weights."""

    def build(arch: str = "olmo2", seed: int = 0, **settings: Any) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        wanted = {**TINY, **settings}
        if arch == "gpt_neox":
            wanted.pop("num_key_value_heads")
        torch.manual_seed(seed)
        config = AutoConfig.for_model(arch, **wanted)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        for parameter in model.parameters():  # the default spread is so small that all tokens look alike
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.25)
        return model.eval()

    return build


@pytest.fixture(scope="session")
def saved_model(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> Callable[..., str]:
    """`saved_model(**settings)`: a folder of its own with such a model and the tokenizer."""

    def save(**settings: Any) -> str:
        folder = tmp_path_factory.mktemp("saved")
        tiny_model(**settings).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture(scope="session")
def tiny_data() -> UnlearningData:
    """Two rows of each kind, task and split, documents, questions and paraphrases."""
    rows = {
        split: tuple(
            Example(
                f"{split}{task}{kind}{n}",
                f"{split} {task} {kind} {n}: who is it?",
                f"name {n}",
                f"Task{task}",
                kind="completion" if kind == "sc" else "question",
                topic=f"{kind}{n}",
                document=f"{split}{task}",
            )
            for task in (1, 2, 3)
            for kind in ("sc", "qa")
            for n in (1, 2)
        )
        for split in ("forget", "retain")
    }
    return UnlearningData(
        name="tiny",
        **rows,
        members=tuple(f"member document number {n} about Mara Venn" for n in range(6)),
        nonmembers=tuple(f"another text {n} about Tomas Reed" for n in range(6)),
        questions=tuple(Question(f"q{n}", f"What is {n}?", ("one", "two", "three", "four"), n % 4) for n in range(8)),
        paraphrases=tuple(
            replace(row, input="In other words: " + row.input)
            for split in rows.values()
            for row in split
            if row.kind == "question"
        ),
        holdout=(Example("hold1sc1", "held out", "text", "Task1", "completion"),),
        general=(Example("gen1qa1", "What is one?", "one", "Task1"),),
        max_new_tokens=8,
    )
