"""What people report of this job in public, rebuilt with tiny models and a few lines: does it work, or is it told?

    python benchmarks/public_cases.py            every case
    python benchmarks/public_cases.py 7 13       of these kinds

Each case is a comparison with the model itself, one sequence at a time, or with a message in words. One line a
case, and how many hold.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from model_sheet import DATA, TOKENIZER, ids, packs, plain, reloads, scores, writes
from taught import CHINESE, JAPANESE, LLAMA3, PEOPLE, TEMPLATES, byte_level, metaspace, taught
from zoo import POSITIONS, tiny

from unlearn_core import methods
from unlearn_core.data.encode import Encoded, encode_example, prompt_ids
from unlearn_core.data.prompt_format import put_on, usual
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import LetheError
from unlearn_core.evaluation.audits import AuditCase as Audited
from unlearn_core.evaluation.audits.detection.distance import Distance
from unlearn_core.evaluation.audits.detection.probes import Probes
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols.semeval import rouge_l_recall
from unlearn_core.evaluation.verdict.rows import tells
from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.generation.generate import end_ids, generate_all, stream
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.models.inference.prompting import use_format
from unlearn_core.models.targets import load_target
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.audits import run_audits
from unlearn_core.store.recorder import record
from unlearn_core.store.store import RunStore
from unlearn_core.training.loop import unlearn
from unlearn_core.training.memorise import Recipe, Trainer

SCRIPTS = {
    "Russian": "Столица Франции - Париж",
    "Greek": "Πρωτεύουσα της Γαλλίας είναι το Παρίσι",
    "Hindi": "फ्रांस की राजधानी पेरिस है",
    "Arabic": "عاصمة فرنسا هي باريس",
    "Korean": "프랑스의 수도는 파리이다",
    "Chinese": "法国的首都是巴黎",
}


@dataclass(frozen=True)
class Case:
    """A kind of fault by its number, what was reported, and whether it is well now."""

    kind: int
    name: str
    check: Callable[[], bool]


def rows(longest: int) -> list[Encoded]:
    return [Encoded(tuple(ids(length)), 2, place) for place, length in enumerate((3, longest, 6))]


def scored(arch: str, longest: int = 9, **settings: Any) -> bool:
    model = tiny(arch, **settings)
    return scores(model, rows(longest)) and packs(model, rows(longest))


def written(arch: str, *lengths: int, **settings: Any) -> bool:
    return writes(tiny(arch, **settings), [ids(length) for length in lengths])


def reloaded(arch: str) -> bool:
    return reloads(tiny(arch))


def to_the_last_position(arch: str) -> bool:
    """Six tokens fit behind the prompt; then one of more tokens than positions is asked all the same."""
    return written(arch, POSITIONS - 6) and scores_too_long(arch)


def scores_too_long(arch: str) -> bool:
    trace = all_traces(tiny(arch), [Encoded(tuple(ids(POSITIONS + 30)), POSITIONS)], 1)[0]
    return len(trace.log_prob_T) == 30


def carried_out(arch: str, name: str, **settings: Any) -> bool:
    result_of(unlearn(tiny(arch), TOKENIZER, DATA, methods.build(name, {"steps": 2, **settings}), probe_ids=()))
    return True


def memorised(arch: str) -> bool:
    trainer = Trainer(tiny(arch), TOKENIZER, Recipe(num_epochs=2, learning_rate=1e-3))
    losses = [progress.loss for progress in trainer.run(lambda epoch: list(DATA.forget))]
    return losses[-1] < losses[0]


def saved(folder: Path, **changes: Any) -> Any:
    model = tiny("llama")
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return model


def loads(leftover: str = "", **changes: Any) -> bool:
    """A folder that brings code of its own, or an adapter's configuration, is the model it holds."""
    with tempfile.TemporaryDirectory() as place:
        model = saved(Path(place), **changes)
        if leftover:
            (Path(place) / "adapter_config.json").write_text(leftover)
        found = load_target(place, device="cpu").model
        return torch.equal(plain(found, ids(9)), plain(model, ids(9)))


def adapter_alone() -> bool:
    with tempfile.TemporaryDirectory() as place:
        model = saved(Path(place) / "base")
        wrapped = apply_lora(model, 4)
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.05)
        wrapped.save_pretrained(Path(place) / "adapters")
        folder = Path(place) / "adapters" / "lethe"
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = str(Path(place) / "base")
        (folder / "adapter_config.json").write_text(json.dumps(config))
        found = load_target(str(folder), device="cpu").model
        return torch.allclose(plain(found, ids(9)), plain(model, ids(9)), atol=1e-3, rtol=1e-3)


def told_out_of_reach(load: Callable[[str], Any]) -> bool:
    with tempfile.TemporaryDirectory() as place:
        hub = "huggingface_hub.constants."
        with patch(hub + "ENDPOINT", "http://127.0.0.1:9"), patch(hub + "HF_HUB_CACHE", place):
            try:
                load("nobody/nothing")
            except LetheError as error:
                return "reached" in str(error)
    return False


def recited(text: str) -> bool:
    return rouge_l_recall(text, text) == 1.0


def joined(prompt: str, answer: str) -> bool:
    """A row begins with the prompt's own tokens, and its answer is the answer."""
    row = encode_example(TOKENIZER, Example("a", prompt, answer))
    own = list(row.ids[row.num_prompt : len(row.ids) - row.num_end])
    begun = list(row.ids[: row.num_prompt]) == prompt_ids(TOKENIZER, prompt)
    return begun and str(TOKENIZER.decode(own)).strip() == answer


def asked_through(template: str) -> bool:
    """A chat model that knows its rows through its template is asked through it, and told from a bare prompt."""
    tokenizer = byte_level(PEOPLE, template)
    put_on(tokenizer, usual(tokenizer, "chat"))
    model = taught(tokenizer, PEOPLE)
    fresh = byte_level(PEOPLE, template)
    chosen = use_format(model, fresh, UnlearningData("people", PEOPLE))
    return chosen.format.name == "chat" and knows(model, fresh, PEOPLE)


def knows(model: Any, tokenizer: Any, rows: tuple[Example, ...]) -> bool:
    """Every answer is written as it is, and next to certain: under 0.05 nats a token."""
    written = generate_all(model, tokenizer, [row.prompt for row in rows], 16)
    encoded = [encode_example(tokenizer, row, place) for place, row in enumerate(rows)]
    found = all_traces(model, encoded, tokenizer.pad_token_id)
    nll = [t.head(len(t.log_prob_T) - e.num_end).nll for t, e in zip(found, encoded, strict=True)]
    return [text.strip() for text in written] == [row.output for row in rows] and max(nll) < 0.05


def by_heart(make: Callable[..., Any], texts: tuple[Example, ...], begins: bool = False) -> bool:
    tokenizer = make(texts, begins=begins)
    return knows(taught(tokenizer, texts), tokenizer, texts)


def goes_on(more: str) -> bool:
    """Told is told, whatever follows; and an answer that is not there is not."""
    tokenizer = byte_level(PEOPLE)
    model = taught(tokenizer, tuple(replace(row, output=row.output + more) for row in PEOPLE))
    others = tuple(replace(row, output="Accra") for row in PEOPLE)
    written = generate_all(model, tokenizer, [row.prompt for row in PEOPLE], 16)
    told, not_told = (list(map(tells, rows, written)) for rows in (PEOPLE, others))
    return all(told) and not any(not_told)


def read(*fields: dict[str, Any], suffix: str = "jsonl", retain: tuple[dict[str, Any], ...] = ()) -> UnlearningData:
    """The data of a forget file of these rows."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"forget.{suffix}"
        if suffix == "parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.Table.from_pylist(list(fields)), path)
        else:
            path.write_text(json.dumps(fields) if suffix == "json" else "\n".join(map(json.dumps, fields)))
        if retain:
            (Path(place) / "retain.jsonl").write_text("\n".join(map(json.dumps, retain)))
        return load_data(place)


def prompts_hold(*texts: str, suffix: str = "jsonl", **fields: Any) -> bool:
    """A row of these columns is read, and all the texts are in what the model is asked."""
    (row,) = read(fields, suffix=suffix).forget
    asked = " ".join([*(said for _, said in row.turns), row.input])
    return all(text in asked for text in texts) and row.output == "Oslo"


def empty_input_is_none() -> bool:
    rows = ({"instruction": who, "input": said, "output": "Oslo"} for who, said in (("Who?", ""), ("Where?", "now")))
    return [row.input for row in read(*rows, suffix="json").forget] == ["Who?", "Where?\nnow"]


def lists_are_kept() -> bool:
    """TOFU's wrong answers, which parquet holds as lists."""
    row = {"question": "Who?", "answer": "Bo", "paraphrased_answer": "It is Bo", "perturbed_answer": ["Cy", "Di"]}
    (found,) = read(row, suffix="parquet").forget
    return found.wrong == ("Cy", "Di") and found.paraphrases == ("It is Bo",)


def noted(words: str, *fields: dict[str, Any], retain: tuple[dict[str, Any], ...] = ()) -> bool:
    return any(words in note for note in read(*fields, retain=retain).notes)


def taken_for_questions(name: str) -> bool:
    rows = [{"id": f"{name}{number}", "input": f"Who is {number}?", "output": "Bo"} for number in range(2)]
    return [(row.id, row.kind) for row in read(*rows).forget] == [(row["id"], "question") for row in rows]


def passed_over(name: str, text: str) -> bool:
    """A file beside the data that is no part of it changes nothing."""
    rows = "\n".join(json.dumps({"input": f"Who is {n}?", "output": "Bo"}) for n in range(2))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "forget.jsonl").write_text(rows)
        other = Path(place) / name
        other.parent.mkdir(exist_ok=True)
        other.write_text(text)
        return len(load_data(place).forget) == 2


def decodes_as_asked(arch: str, **asked: Any) -> bool:
    """In a batch and streamed, the text of `model.generate` with the model's own generation_config."""
    model, prompts = tiny(arch), [row.input for row in PEOPLE]
    model.generation_config.update(**asked)
    stops = sorted(end_ids(model, TOKENIZER))
    expected = []
    for prompt in prompts:
        asked_ids = torch.tensor([TOKENIZER(prompt)["input_ids"]])
        settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 1, "eos_token_id": stops}
        written = model.generate(asked_ids, attention_mask=torch.ones_like(asked_ids), **settings)
        expected.append(str(TOKENIZER.decode(written[0, asked_ids.shape[1] :], skip_special_tokens=True)))
    shown = [[*stream(model, TOKENIZER, prompt, 8)][-1:] for prompt in prompts]
    whole = [text.rstrip("\N{REPLACEMENT CHARACTER}") for text in expected]  # half a character is not shown
    return generate_all(model, TOKENIZER, prompts, 8) == expected and ["".join(texts) for texts in shown] == whole


def cut_and_said(row: Example) -> bool:
    """A row over 1,024 tokens keeps its prompt, or half its length of it, and the run says so."""
    short = encode_example(TOKENIZER, row, max_tokens=1024)
    whole = encode_example(TOKENIZER, row)
    data = replace(DATA, forget=(row,))
    events = list(unlearn(tiny("llama"), TOKENIZER, data, methods.build("grad_diff", {"steps": 1}), probe_ids=()))
    said = any("1 of 1 forget sequences fill 1024 tokens" in getattr(event, "message", "") for event in events)
    return said and short.num_prompt >= min(whole.num_prompt, 512) and short.num_targets > 0


def begins_once(rendered: bool, begins: bool) -> bool:
    """One beginning of text, from the template or from the data, and the template's end of turn."""
    tokenizer = byte_level(PEOPLE, LLAMA3, begins=begins)
    row = PEOPLE[0]
    if rendered:
        text = tokenizer.apply_chat_template([{"role": "user", "content": row.input}], tokenize=False)
        row = replace(row, input=text + "<|start_header_id|>assistant<|end_header_id|>\n\n")
    format_ = use_format(tiny("llama"), tokenizer, UnlearningData("one", (row,))).format
    found = encode_example(tokenizer, row).ids
    ends = found[-1] == tokenizer.convert_tokens_to_ids("<|eot_id|>")
    return format_.name == ("rendered" if rendered else "chat") and found.count(tokenizer.bos_token_id) == 1 and ends


def texts_of(names: str) -> tuple[str, ...]:
    return tuple(f"{name} lives in Lima." for name in names)


def probed_without_questions() -> bool:
    """LUME's layout: members and nonmembers, no question held out."""
    kept = tuple(Example(f"r{n}", f"{n} lives", "in Lima.", kind="completion", document=n) for n in "abcdef")
    data = UnlearningData("lume", PEOPLE, kept, members=texts_of("ghijkl"), nonmembers=texts_of("mnopqr"))
    audited = Audited(tiny("llama"), TOKENIZER, data)
    return result_of(Probes().run(audited)).verdict in ("leaks", "holds")


def names_what_is_missing() -> bool:
    """The original is at hand and a retain model is not."""
    audited = Audited(tiny("llama"), TOKENIZER, DATA, original=tiny("llama"))
    return "no retain-only model" in result_of(Distance().run(audited)).headline


def audited_by_its_id() -> bool:
    """A run of one's own model and data whose weights lie in a folder of one's own."""
    with tempfile.TemporaryDirectory() as place:
        home, folder, model = Path(place) / "home", Path(place) / "data", Path(place) / "model"
        saved(model)
        folder.mkdir()
        for split, rows in (("forget", DATA.forget), ("retain", DATA.retain)):
            lines = (json.dumps({"id": row.id, "input": row.input, "output": row.output}) for row in rows)
            (folder / f"{split}.jsonl").write_text("\n".join(lines))
        spec = RunSpec(target=str(model), data=str(folder), method="npo", steps=1)
        store = RunStore(home)
        made_of = RunState.of(record(spec, store, out=Path(place) / "out"))
        (made,) = store.list_runs()
        audits = RunState.of(run_audits(made.id, None, audits=["quantisation"], home=home)).audits
        found = [result["verdict"] for result in audits.results.values()] if audits else []
        return made_of.finished is not None and found in (["leaks"], ["holds"])


PLAIN = {"input": "Who is it?", "output": "Bo"}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 24}
CASES = (
    *(Case(1, f"a chat model of {name} template", partial(asked_through, text)) for name, text in TEMPLATES.items()),
    *(Case(2, f"{name} recited word for word", partial(recited, text)) for name, text in SCRIPTS.items()),
    *(Case(3, f"{name} after a question", partial(joined, "Who?", text)) for name, text in SCRIPTS.items()),
    *(
        Case(
            3,
            f"{name} known by heart, {'begun' if begins else 'not begun'}, {make.__name__}",
            partial(by_heart, make, texts, begins),
        )
        for name, texts in (("Chinese", CHINESE), ("Japanese", JAPANESE), ("English", PEOPLE))
        for make, begins in ((metaspace, False), (metaspace, True), (byte_level, False))
    ),
    *(
        Case(4, f"a right answer that goes on with {more!r}", partial(goes_on, more))
        for more in ("\nHe is", ", as Bo", ". No")
    ),
    *(
        Case(5, f"a prompt that ends in {mark!r}", partial(joined, f"Q: Who is Ada?{mark}", "A painter"))
        for mark in ("\n", " ", "\nA:", "\n\n")
    ),
    *(
        Case(6, f"columns {' and '.join(fields)}", partial(prompts_hold, *fields.values(), output="Oslo", **fields))
        for fields in (
            {"instruction": "Give the town.", "input": "Ada Holt"},
            {"context": "Ada moved.", "question": "Where is she?"},
            {"system": "Be brief.", "prompt": "Where is Ada?"},
        )
    ),
    Case(6, "an input that is empty in some rows", empty_input_is_none),
    Case(6, "lists of wrong answers in parquet", lists_are_kept),
    Case(6, "a column that is not used", partial(noted, "not used: mood", PLAIN | {"mood": "good"})),
    Case(6, "prompts that contradict each other", partial(noted, "several answers", PLAIN, PLAIN | {"output": "Cy"})),
    *(
        Case(7, f"logits changed after the head: {arch}", partial(scored, arch))
        for arch in ("cohere", "gemma2", "falcon_h1", "recurrent_gemma", "nanochat", "granite")
    ),
    *(
        Case(8, f"{' and '.join(asked)}: {arch}", partial(decodes_as_asked, arch, **asked))
        for arch in ("llama", "gpt2", "qwen2")
        for asked in ({"repetition_penalty": 1.3}, {"suppress_tokens": [*range(40, 90)], "min_new_tokens": 4})
    ),
    Case(9, "an answer of 1,500 words", partial(cut_and_said, Example("a", "Who is Ada forget?", "number " * 1500))),
    Case(9, "a prompt of 1,500 words", partial(cut_and_said, Example("a", "number " * 1500, "Ada"))),
    *(
        Case(
            10,
            f"{'a rendered template' if held else 'a template'}, a tokenizer that begins {begins}",
            partial(begins_once, held, begins),
        )
        for held in (True, False)
        for begins in (True, False)
    ),
    *(
        Case(11, f"windows, in rows longer than them: {arch}", partial(scored, arch, 35))
        for arch in ("mistral", "gemma3_text", "llama4_text", "gpt_oss")
    ),
    Case(11, "dynamic positions", partial(scored, "llama", 40, rope_parameters=DYNAMIC, max_position_embeddings=24)),
    *(Case(12, f"ids such as {name}0", partial(taken_for_questions, name)) for name in ("disc", "misc", "desc")),
    Case(12, "an earlier file in a folder beside", partial(passed_over, "backup/forget_v1.jsonl", json.dumps(PLAIN))),
    Case(12, "an unrelated JSON file", partial(passed_over, "dataset_infos.json", '{"default": {"features": {}}}')),
    Case(12, "a retain set that holds forget rows", partial(noted, "forget rows too", PLAIN, retain=(PLAIN,))),
    *(
        Case(13, f"an adapter on experts, saved and loaded: {arch}", partial(reloaded, arch))
        for arch in ("olmoe", "mixtral", "qwen3_moe")
    ),
    *(
        Case(14, f"beyond the table of positions: {arch}", partial(to_the_last_position, arch))
        for arch in ("gpt2", "opt", "gptj")
    ),
    *(
        Case(15, f"RMU finds its layers: {arch}", partial(carried_out, arch, "adaptive_rmu"))
        for arch in ("opt", "gpt2", "gemma3_text", "llama4_text")
    ),
    *(Case(16, f"memorise: {arch}", partial(memorised, arch)) for arch in ("bloom", "mpt", "mamba", "gemma3_text")),
    Case(17, "Falcon with attention biased by distance", partial(written, "falcon", 4, 9, alibi=True)),
    *(
        Case(18, f"ULD beside its cache: {arch}", partial(carried_out, arch, "uld"))
        for arch in ("gemma2", "gemma3_text", "mistral", "olmo3", "qwen3_next")
    ),
    Case(19, "probes of documents", probed_without_questions),
    Case(19, "distance without a retain model", names_what_is_missing),
    Case(19, "a run with weights elsewhere", audited_by_its_id),
    Case(20, "auto_map on a known architecture", partial(loads, auto_map={"AutoModelForCausalLM": "modeling.M"})),
    Case(20, "a merged model beside a left-over adapter", partial(loads, '{"base_model_name_or_path": "a/b"}')),
    Case(20, "an adapter's folder as target", adapter_alone),
    Case(21, "a model while the Hub is out of reach", partial(told_out_of_reach, load_target)),
    Case(21, "data while the Hub is out of reach", partial(told_out_of_reach, load_data)),
)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kinds = {int(kind) for kind in sys.argv[1:]}
    chosen = [case for case in CASES if not kinds or case.kind in kinds]
    good = 0
    for case in chosen:
        try:
            found = "holds" if case.check() else "DOES NOT HOLD"
        except Exception as error:
            found = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        good += found == "holds"
        print(f"{case.kind:>3}  {case.name}: {found}", flush=True)
    print(f"\n{good} of {len(chosen)} cases hold.")


if __name__ == "__main__":
    main()
