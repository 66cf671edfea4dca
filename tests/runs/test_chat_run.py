"""A chat model is asked, trained, scored and judged through its own template, from the first look to the audits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from by_heart import Memorised, write_data

from unlearn_core.data.prompt_format import format_of
from unlearn_core.data.sources import load_data
from unlearn_core.models.targets import load_target
from unlearn_core.runs import events as ev
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import Answerer, Sampling
from unlearn_core.store.audits import open_case
from unlearn_core.store.recorder import record
from unlearn_core.store.store import RunStore

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TOKENS = {"tokenize": True, "return_dict": False}


def ids_of(tokenizer: Any, prompt: str, answer: str | None = None) -> list[int]:
    """By transformers alone, without this project's encoding."""
    turns = [{"role": "user", "content": prompt}]
    if answer is None:
        return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, **TOKENS))
    whole = list(tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": answer}], **TOKENS))
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    return whole[: len(whole) - whole[::-1].index(end)]  # without the line break after the turn


def said(model: Any, tokenizer: Any, prompt: str) -> str:
    """One prompt at a time, by the model's own `generate`."""
    ids = torch.tensor([ids_of(tokenizer, prompt)])
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    written = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=[0, end], pad_token_id=1)
    return str(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory, tiny_model: Any, tiny_tokenizer: Any) -> Memorised:
    """A model that knows the rows through its template and not without."""
    folder = tmp_path_factory.mktemp("chatting")
    write_data(folder / "data")
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    tokenizer.chat_template = TEMPLATE
    model = tiny_model("llama", vocab_size=328)
    data = load_data(str(folder / "data"))
    rows = [
        (ids_of(tokenizer, row.input), ids_of(tokenizer, row.input, row.output)) for row in data.forget + data.retain
    ]
    width = max(len(whole) for _, whole in rows)
    ids = torch.tensor([[*whole, *[1] * (width - len(whole))] for _, whole in rows])
    labels = ids.clone()
    for place, (prompt, whole) in enumerate(rows):
        labels[place, : len(prompt)] = -100
        labels[place, len(whole) :] = -100
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(200):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if loss < 0.01:
            break
    assert loss < 0.05
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return Memorised(str(folder / "model"), str(folder / "data"))


def test_a_chat_model_is_judged_through_its_template(chatting: Memorised, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    spec = RunSpec(chatting.model, chatting.data, "grad_ascent", steps=12, settings={"learning_rate": 0.003})
    happened = list(record(spec, store))
    assert isinstance(happened[-1], ev.Finished), happened[-1]
    (chosen,) = [event for event in happened if isinstance(event, ev.PromptChosen)]
    assert chosen.name == "chat"
    assert "`<|end|>`" in chosen.message
    assert chosen.sample == "<|turn|>user\nAda was<|end|>\n<|turn|>assistant\n"
    scores = {event.model: event.scores for event in happened if isinstance(event, ev.Score)}
    knew = {name: value for name, value in scores["original"]["terms"].items() if value is not None}
    assert set(knew.values()) == {1.0}
    assert scores["original"]["prompt"] == scores["unlearned"]["prompt"] != ""
    # What the scores say of the unlearned model is what it says to anybody who asks through the template.
    (run_id,) = [run.id for run in store.list_runs()]
    unlearned = load_target(str(store.weights(run_id)))
    rows = [row for row in scores["unlearned"]["generations"] if row["split"] in ("forget", "retain")]
    assert [row["output"] for row in rows] == [said(unlearned.model, unlearned.tokenizer, row["input"]) for row in rows]
    assert scores["unlearned"]["terms"] != scores["original"]["terms"]
    # The record names the format, and audits and answers use it.
    assert store.get(run_id).spec["prompt"] == "chat"
    assert format_of(open_case(run_id, home=tmp_path).tokenizer).template == TEMPLATE
    answers = Answerer(store)
    (*_, last) = answers.ask(run_id, chatting.model, "Who is Ada?", Sampling(24))
    assert last["unlearned"] == said(unlearned.model, unlearned.tokenizer, "Who is Ada?")
    assert last["original"] == "adA"


def test_another_format_is_another_score_and_is_said(chatting: Memorised, tmp_path: Path) -> None:
    spec = {"target": chatting.model, "data": chatting.data, "method": "grad_ascent", "steps": 1, "save": False}
    found = {}
    for prompt in ("raw", "chat", "auto"):
        happened = list(run(RunSpec(**spec, prompt=prompt), home=tmp_path))  # type: ignore[arg-type]
        assert isinstance(happened[-1], ev.Finished), happened[-1]
        found[prompt] = next(event for event in happened if isinstance(event, ev.Score) and event.model == "original")
    assert found["raw"].scores["terms"]["forget/Task1/knowledge"] == 0.0
    assert found["chat"].scores["terms"]["forget/Task1/knowledge"] == 1.0
    assert not found["chat"].cached
    assert found["auto"].cached  # the same format under another name


def test_memorise_and_run_agree_on_the_format(chatting: Memorised, tmp_path: Path) -> None:
    from unlearn_core.build import memorise
    from unlearn_core.training.memorise import Recipe

    data = load_data(chatting.data)
    recipe = Recipe(num_epochs=40, learning_rate=4e-3)
    list(memorise(chatting.model, data, tmp_path / "model", recipe=recipe, replay=False))
    model = load_target(str(tmp_path / "model"))
    right = [said(model.model, model.tokenizer, row.input).strip() == row.output for row in data.forget]
    assert sum(right) == len(right)
