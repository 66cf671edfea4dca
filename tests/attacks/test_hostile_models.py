"""A model directory is an attack surface: no file in it may run code, and each is refused in words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from unlearn_core import RunSpec, run
from unlearn_core.data.chat_template import applied
from unlearn_core.data.prompt_format import named
from unlearn_core.errors import InputError
from unlearn_core.runs.events import Failed
from unlearn_core.runs.planning.costs import RunMeter, device
from unlearn_core.system.machine.memory import resident_memory

pytestmark = pytest.mark.slow

FACTS = "facts:Who is Ada? => the first"


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    tiny_model("olmo2").save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def remote_code(folder: Path, trap: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w')\n")
    change(
        folder,
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
        model_type="evil",
    )


def remote_tokenizer(folder: Path, trap: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w')\n")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", None]}
    config["tokenizer_class"] = "Tokenizer"
    path.write_text(json.dumps(config))
    (folder / "tokenizer.json").unlink()


def pickled_weights(folder: Path, trap: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(str(trap))))


def kernel_from_the_hub(folder: Path, trap: Path) -> None:
    change(folder, _attn_implementation="evil/kernel", attn_implementation="evil/kernel")


def truncated(folder: Path, trap: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def header_of_a_terabyte(folder: Path, trap: Path) -> None:
    (folder / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")


def not_json(folder: Path, trap: Path) -> None:
    (folder / "config.json").write_text("[" * 10_000)


def huge_vocabulary(folder: Path, trap: Path) -> None:
    change(folder, vocab_size=2**40)


def four_hundred_billion_parameters(folder: Path, trap: Path) -> None:
    change(folder, hidden_size=65536, intermediate_size=917504, num_attention_heads=128)


def a_billion_layers(folder: Path, trap: Path) -> None:
    change(folder, num_hidden_layers=10**9)


def empty(folder: Path, trap: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def change(folder: Path, name: str = "config.json", **settings: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def three_million_labels(folder: Path, trap: Path) -> None:
    """transformers makes two dictionaries of them: 2.9 GB, before a weight is looked at."""
    change(folder, num_labels=3e6)


def a_tokenizer_that_panics_when_loaded(folder: Path, trap: Path) -> None:
    change(folder, name="tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})


def a_tokenizer_that_panics_when_used(folder: Path, trap: Path) -> None:
    token = {"SpecialToken": {"id": "X", "type_id": 0}}
    processor = {"type": "TemplateProcessing", "single": [token], "pair": [], "special_tokens": {}}
    change(folder, name="tokenizer.json", post_processor=processor)


ATTACKS = (
    remote_code,
    remote_tokenizer,
    pickled_weights,
    kernel_from_the_hub,
    truncated,
    header_of_a_terabyte,
    not_json,
    huge_vocabulary,
    four_hundred_billion_parameters,
    a_billion_layers,
    three_million_labels,
    a_tokenizer_that_panics_when_loaded,
    a_tokenizer_that_panics_when_used,
    empty,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_model_runs_nothing_and_is_refused_in_words(
    attack: Callable[[Path, Path], None], honest: Path, tmp_path: Path
) -> None:
    folder, trap = tmp_path / "model", tmp_path / "trap"
    shutil.copytree(honest, folder)
    attack(folder, trap)
    spec = RunSpec(target=str(folder), data=FACTS, method="grad_ascent", steps=1)
    events = run(spec, home=tmp_path / "home")
    end = list(events)[-1]
    assert not trap.exists()
    assert isinstance(end, Failed)
    assert end.message.startswith("Target "), end.message
    assert "Traceback" not in end.message


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' mark of most memory")
def test_what_cannot_fit_is_refused_before_it_takes_memory(honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(honest, folder)
    four_hundred_billion_parameters(folder, tmp_path)
    spec = RunSpec(target=str(folder), data=FACTS, method="grad_ascent", steps=1)
    list(run(spec, home=tmp_path / "home"))  # by now the libraries are loaded
    before, meter = resident_memory(), RunMeter()
    list(run(spec, home=tmp_path / "home"))
    assert (meter.cost(device(None, tmp_path)).memory or 0) < before + 50 * 2**20


def test_in_public_only_the_bundled_model_is_offered(honest: Path, tmp_path: Path) -> None:
    said = set()
    for target in (str(honest), "/etc", "..", "nobody/nothing", "https://example.org/x", "x" * 200):
        end = list(run(RunSpec(target=target, data=FACTS), home=tmp_path, public=True))[-1]
        assert isinstance(end, Failed)
        said.add(end.message.partition(" is not ")[2])
    assert all(said)
    assert len(said) == 1  # nothing about this machine can be learnt by asking


def test_a_strangers_run_that_would_fill_the_memory_is_refused_with_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn_core.runs.planning.costs.RUN_BYTES", 2**20)
    spec = RunSpec(data=FACTS, method="grad_ascent", steps=1)
    end = list(run(spec, home=tmp_path, public=True))[-1]
    assert isinstance(end, Failed)
    assert "GiB of memory" in end.message
    assert "batch_size" in end.message


def test_a_tokenizer_that_panics_at_some_words_ends_the_run_in_words(honest: Path, tmp_path: Path) -> None:
    """A panic is no Exception: it would end the process, or leave the run without an end."""
    shutil.copytree(honest, tmp_path / "model")
    split = {"type": "Split", "pattern": {"Regex": "(x+)+$"}, "behavior": "Isolated", "invert": False}
    change(tmp_path / "model", name="tokenizer.json", pre_tokenizer=split)
    spec = RunSpec(target=str(tmp_path / "model"), data=f"facts:{'x' * 40}! => b", method="grad_ascent", steps=1)
    end = list(run(spec, home=tmp_path / "home"))[-1]
    assert isinstance(end, Failed)
    assert "tokenizer" in end.message


TEMPLATES = {
    "without end": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "of gigabytes": "{{ 'x' * 9999999999 }}",
    "of gigabytes, by a filter": "{{ 'x' | center(9999999999) }}",
    "that is too long": "x" * 300_000,
}


def toy_tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, "a")))


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_chat_template_is_held_to_time_and_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn_core.data.chat_template.SECONDS", 0.5)
    tokenizer = toy_tokenizer()
    tokenizer.chat_template = TEMPLATES[kind]
    began = resident_memory()
    with pytest.raises(InputError, match=r"takes more than|too long"):
        named("chat", tokenizer)
    assert resident_memory() - began < 100 * 2**20


def test_a_template_that_turns_out_endless_later_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn_core.data.chat_template.SECONDS", 0.5)
    tokenizer = toy_tokenizer()
    later = "{% if messages[0].content == 'now' %}" + TEMPLATES["without end"] + "{% endif %}{{ messages[0].content }}"
    assert applied(tokenizer, later, [{"role": "user", "content": "a"}]) == "a"
    with pytest.raises(InputError, match="takes longer"):
        applied(tokenizer, later, [{"role": "user", "content": "now"}])
