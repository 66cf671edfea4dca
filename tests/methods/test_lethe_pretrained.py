"""The recipe for pretrained models: what is penalised, and that only it goes."""

from __future__ import annotations

from dataclasses import replace

import torch

from unlearn_core.data.encode import encode_example
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import demo_data
from unlearn_core.evaluation.metrics.answer_probability import answer_log_probabilities
from unlearn_core.evaluation.progress import result_of
from unlearn_core.methods import build
from unlearn_core.methods.lethe_pretrained import penalised_tokens
from unlearn_core.models.adapters import lora_layers
from unlearn_core.models.inference.forward import layer_of
from unlearn_core.models.inference.frozen_bottom import bottom_of
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import unlearn


def test_every_name_is_penalised_where_it_would_begin_and_go_on(tiny_tokenizer) -> None:
    def ids(text: str) -> list[int]:
        return tiny_tokenizer(text, add_special_tokens=False)["input_ids"]

    example = Example("0", "Written by", "Mara Venn", paraphrases=("Venn", "Mira"))
    row = encode_example(tiny_tokenizer, example)
    penalised = penalised_tokens(tiny_tokenizer, row, example)
    assert len(penalised) == row.num_targets
    for name in ("Mara Venn", "Venn", "Mira"):  # with the space before and without it
        assert {ids(f" {name}")[0], ids(name)[0]} <= penalised[0]
    own, other = ids(" Mara Venn"), ids(" Mira")
    shared = next(place for place, pair in enumerate(zip(own, other, strict=False)) if pair[0] != pair[1])
    assert other[shared] in penalised[shared]  # the names part there, and both ways are penalised
    assert all(token in penalised[place] for place, token in enumerate(own))
    assert penalised[-1] == set()  # the end of text


def test_the_penalised_answers_go_and_the_neighbours_stay() -> None:
    world, target = demo_data(), load_target("demo", device="cpu")
    asked = [row for row in world.forget if row.kind == "question"]
    forget = tuple(replace(row, paraphrases=("Nobody",)) for row in asked[:4])
    kept = tuple(row for row in world.retain if row.kind == "question")[:12]
    data = UnlearningData("four", forget, retain=kept, general=world.general[:6])

    def probabilities(rows: tuple[Example, ...]) -> torch.Tensor:
        return torch.tensor(answer_log_probabilities(target.model, target.tokenizer, rows)).exp()

    before = [probabilities(rows) for rows in (forget, kept)]
    settings = {"learning_rate": 0.01, "first_layer": 0.25, "batch_size": 4}
    artifact = result_of(unlearn(target.model, target.tokenizer, data, build("lethe_pretrained", settings, steps=40)))
    after = [probabilities(rows) for rows in (forget, kept)]
    assert (after[0] < 0.2 * before[0]).all()
    assert after[0].mean() < 0.07 * before[0].mean()
    assert after[1].mean() > 0.9 * before[1].mean()
    assert {layer_of(name) for name, _ in lora_layers(artifact.model)} == {1, 2, 3}
    assert bottom_of(target.model) is None
    artifact.revert()
    torch.testing.assert_close(probabilities(forget), before[0])
