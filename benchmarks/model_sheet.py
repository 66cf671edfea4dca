"""The model sheet of every architecture of transformers that can be built tiny, and what Lethe does with it.

    python benchmarks/model_sheet.py                        the table (some minutes)
    python benchmarks/model_sheet.py llama gpt2             of these
    python benchmarks/model_sheet.py --write docs/models.md and write it

A model of two layers with random weights is held against itself: what Lethe computes in batches, packs and
shared caches beside the model's own logits, one sequence at a time; an adapter that is merged, saved and loaded
again beside the adapter; and two steps of one method of each family.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from zoo import ARCHITECTURES, zoo

from unlearn_core import methods
from unlearn_core.build import ModelShape, train_tokenizer
from unlearn_core.data.encode import Encoded
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import LetheError
from unlearn_core.evaluation.progress import result_of
from unlearn_core.models.adapters import apply_lora, remove_lora
from unlearn_core.models.artifacts import Adapter
from unlearn_core.models.generation.generate import continue_all
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.forward import is_causal
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.models.inference.positions import UNBOUNDED, max_positions, uniform_up_to
from unlearn_core.runs.model_sheet import read_sheet
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import unlearn
from unlearn_core.training.packing import forward

# One method of each family, in the order of the table, with the settings that make it short.
METHODS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gradient", "grad_diff", {"steps": 2}),
    ("preference", "npo", {"steps": 2}),
    ("representation", "adaptive_rmu", {"steps": 2}),
    ("arithmetic", "task_vector", {"steps": 2}),
    ("editing", "selective_pruning", {"steps": 1}),
    ("layers", "eul", {"steps": 2, "width": 4}),
    ("assistant", "uld", {"steps": 2}),
    ("prompts", "guard_prompt", {}),
    ("lethe", "lethe", {"steps": 2}),
)
COLUMNS = ("full", "lora", "reloads", "scores", "packs", "writes", *(family for family, _, _ in METHODS))
LENGTHS = (3, 9, 6, 21)  # one beyond the window of those that have one
NEW = 6
YES, NO = "yes", "no"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES)
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    lines = []
    for line in table(tuple(options.architectures)):
        print(line, flush=True)
        lines.append(line)
    if options.write is not None:
        options.write.write_text(f"{HEADER}\n" + "\n".join(lines) + "\n", encoding="utf-8")


HEADER = """# Architectures

Made by `python benchmarks/model_sheet.py --write docs/models.md`: every causal architecture of transformers that
can be built with two layers and random weights. Each column is a comparison with the model itself, one sequence at
a time, in float32.

- **full**, **lora**: two steps of gradient difference, on all weights and on an adapter; afterwards the model is
  put back bit for bit.
- **reloads**: the merged adapter, saved and loaded, gives the logits of the adapter.
- **scores**, **packs**, **writes**: likelihoods, training's packed rows and greedy text equal the plain model's.
- **short cuts** that the model sheet switches off, and positions where they are bounded: P is padding, B packing,
  H the head on the last hidden state, C a shared cache, L one layer after the other, N known MLP neurons, A linear
  layers that an adapter leaves out.
- The rest: one method of each family. A dash is a refusal in words; what a refusal needs, it says.

Where text is not written alike: an error's name stands where transformers' own `generate` fails on two layers (it
looks for keys and values that none of them keeps), and Moshi's `generate` differs from its own whole pass. A model
whose saved copy would not predict the same (Youtu) is trained and scored, and its weights are not kept.
"""


def table(names: tuple[str, ...]) -> Iterator[str]:
    """The table in Markdown, a line at a time, and a last one that counts."""
    yield "| architecture | " + " | ".join(COLUMNS) + " | switched off |"
    yield "|---" * (len(COLUMNS) + 2) + "|"
    counts = dict.fromkeys(COLUMNS, 0)
    number = refused = 0
    for name, model in zoo(names):
        if not is_causal(model):
            refused += 1
            continue
        number += 1
        cells = dict(measured(model))
        for column, cell in cells.items():
            counts[column] += cell == YES
        yield f"| {name} | " + " | ".join(cells[column] for column in COLUMNS) + f" | {switched_off(model)} |"
    yield ""
    told = ", ".join(f"{column} {count}" for column, count in counts.items())
    yield f"{number} architectures: {told}. {refused} more look ahead and are refused when they are loaded."


def switched_off(model: Any) -> str:
    """The letters of what does not hold, and lengths."""
    letters = "".join(
        letter for letter, line in zip("?PBHCLNA", read_sheet(model), strict=True) if not line.holds and letter != "?"
    )
    most, uniform = max_positions(model), uniform_up_to(model)
    told = [letters] if letters else []
    told += [f"{most} positions"] if most else []
    told += [f"window {uniform}"] if 0 < uniform < UNBOUNDED else []
    return ", ".join(told)


def measured(model: Any) -> Iterator[tuple[str, str]]:
    """Each column's cell; the model is the same for all."""
    before = weights_hash(model)
    rows = [Encoded(tuple(ids(length)), 2, place) for place, length in enumerate(LENGTHS)]

    def trained(name: str, settings: dict[str, Any], adapter: str | None = None) -> bool:
        artifact = result_of(
            unlearn(model, TOKENIZER, DATA, methods.build(name, settings), adapter=adapter, probe_ids=())
        )
        artifact.release()
        return weights_hash(model) == before

    checks: dict[str, Callable[[], bool]] = {
        "full": lambda: trained("grad_diff", {"steps": 2}, "full"),
        "lora": lambda: trained("grad_diff", {"steps": 2}, "lora"),
        "reloads": lambda: reloads(model),
        "scores": lambda: scores(model, rows),
        "packs": lambda: packs(model, rows),
        "writes": lambda: writes(model, [list(row.ids) for row in rows]),
        **{family: (lambda name=name, s=s: trained(name, s)) for family, name, s in METHODS},
    }
    for column, check in checks.items():
        try:
            yield column, YES if check() else NO
        except LetheError:
            yield column, "-"
        except Exception as error:
            yield column, f"**{type(error).__name__}**"


def ids(length: int) -> list[int]:
    found: list[int] = torch.randint(2, 300, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    return found


@torch.no_grad()
def plain(model: Any, row: list[int]) -> torch.Tensor:
    """Logits (T, V) of one sequence on its own."""
    found: torch.Tensor = model(input_ids=torch.tensor([row]), use_cache=False).logits[0]
    return found


def scores(model: Any, rows: list[Encoded]) -> bool:
    ours = torch.cat([torch.tensor(trace.log_prob_T) for trace in all_traces(model, rows, 1)])
    theirs = [plain(model, list(row.ids))[1:-1].log_softmax(-1) for row in rows]
    labels = [torch.tensor(row.ids[2:]) for row in rows]
    expected = torch.cat([t.gather(-1, label[:, None])[:, 0] for t, label in zip(theirs, labels, strict=True)])
    return torch.allclose(ours, expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def packs(model: Any, rows: list[Encoded]) -> bool:
    expected = torch.cat([plain(model, list(row.ids))[1:-1] for row in rows])
    return torch.allclose(forward(model, pack_parts(model, {"": rows}, 1)), expected, atol=1e-2, rtol=1e-3)


def writes(model: Any, prompts: list[list[int]]) -> bool:
    return continue_all(model, TOKENIZER, prompts, NEW) == [greedy(model, prompt) for prompt in prompts]


def greedy(model: Any, prompt: list[int]) -> list[int]:
    """One token after another from the whole sequence, without a cache."""
    written: list[int] = []
    while len(written) < NEW and (not written or written[-1] != TOKENIZER.eos_token_id):
        written.append(int(plain(model, prompt + written)[-1].argmax()))
    return written


def reloads(model: Any) -> bool:
    wrapped = apply_lora(model, 4)
    try:
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(1))
        beside = plain(model, ids(9))
        with tempfile.TemporaryDirectory() as folder:
            Adapter(wrapped).save(Path(folder) / "weights")
            loaded = type(model).from_pretrained(Path(folder) / "weights").eval()
        return torch.allclose(plain(loaded, ids(9)), beside, atol=1e-3, rtol=1e-3)
    finally:
        remove_lora(wrapped)


def example(split: str, number: int) -> Example:
    names = ("Ada", "Bo", "Cy", "Di")
    who = f"{names[number % 4]} {split}"
    return Example(
        f"{split}{number}", f"Who is {who}?", f"number {number}", topic=str(number), document=f"{split}{number}"
    )


DATA = UnlearningData(
    name="tiny",
    forget=tuple(example("forget", number) for number in range(4)),
    retain=tuple(example("retain", number) for number in range(4)),
    max_new_tokens=NEW,
)
TOKENIZER = train_tokenizer(
    (f"{row.input} {row.output}" for row in (*DATA.forget, *DATA.retain)), ModelShape(vocabulary=320)
)

if __name__ == "__main__":
    main()
