"""Prompt formats: what a model is given, where its answer begins, and which tokens carry loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from unlearn_core.data import chat_template, prompt_format
from unlearn_core.data.encode import encode_example, prompt_ids
from unlearn_core.data.prompt_format import RAW, answer_text, choose, named, put_on, unusable
from unlearn_core.data.types import Example, Prompt, UnlearningData
from unlearn_core.errors import InputError

LLAMA3 = (
    "{{ bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system_message = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' }}"
    "{{- system_message + '<|eot_id|>' }}{%- for m in messages %}"
    "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
QWEN = (
    "{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
LLAMA2 = (
    "{%- for m in messages %}{%- if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{%- elif m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{%- else %}{{ ' ' + m['content'] + ' ' + eos_token }}{%- endif %}{%- endfor %}"
)
MARKS = ["<s>", "</s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "Where does Ada Holt live? Lima. Who is Bo? He is a baker and walks. Question: Answer: [INST] [/INST]",
    "system user assistant You are a helpful assistant. Today Date: 26 Jul 2024",
    "\u5c0f\u660e\u4f4f\u5728\u54ea\u91cc? \u5c0f\u660e\u4f4f\u5728\u5357\u4eac\u3002",
]
Maker = Callable[..., Any]


def byte_level(template: str | None = None, *, begins: bool = False) -> Any:
    """A tokenizer of GPT-2's and Llama 3's kind; `begins`: it puts <s> in front of every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(special_tokens=MARKS, initial_alphabet=alphabet))
    return _fast(tokenizer, template, begins)


def metaspace(template: str | None = None, *, begins: bool = False) -> Any:
    """One of Llama 2's kind: the mark of a space is put before the first word of every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    letters = sorted({letter for text in TEXT for letter in text if letter != " "})
    marks = [*MARKS, "<unk>"]
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(special_tokens=marks, initial_alphabet=letters))
    return _fast(tokenizer, template, begins)


def unigram(template: str | None = None, *, begins: bool = False) -> Any:
    """One of T5's and XGLM's kind, without merges."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=[*MARKS, "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 5, trainer)
    return _fast(tokenizer, template, begins)


def _fast(tokenizer: Tokenizer, template: str | None, begins: bool) -> Any:
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = template
    if template:
        chat_template._TRIED[template] = ""  # tried in no process of its own: see attacks/test_hostile_models.py
    return fast


@pytest.mark.parametrize("make", [byte_level, metaspace, unigram])
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(("prompt", "answer"), [("Where does Ada Holt live?", "Lima"), ("Bo?", "He is a baker.")])
def test_seam_is_that_of_the_whole_text(make: Maker, begins: bool, prompt: str, answer: str) -> None:
    tokenizer = make(begins=begins)
    row = encode_example(tokenizer, Example("a", prompt, answer))
    whole = tokenizer(f"{prompt} {answer}")["input_ids"]
    assert list(row.ids) == [*whole, tokenizer.eos_token_id]
    assert list(row.ids[: row.num_prompt]) == prompt_ids(tokenizer, prompt) == tokenizer(prompt)["input_ids"]
    assert row.num_end == 1


@pytest.mark.parametrize("make", [byte_level, metaspace, unigram])
def test_space_at_the_end_of_a_prompt_belongs_to_the_answer(make: Maker) -> None:
    tokenizer = make()
    given, plain = (encode_example(tokenizer, Example("a", f"Where?{space}", "Lima")) for space in (" ", ""))
    assert given == plain
    assert prompt_ids(tokenizer, "Where? ") == prompt_ids(tokenizer, "Where?")


@pytest.mark.parametrize(
    ("prompt", "answer", "joined"),
    [
        ("Where?", "Lima", " Lima"),
        ("Where?\n", "Lima", "Lima"),
        ("Where?", " Lima", " Lima"),
        ("\u5c0f\u660e\u4f4f\u5728\u54ea\u91cc?", "\u5357\u4eac", "\u5357\u4eac"),  # Chinese
        ("\u5c0f\u660e\u7684\u5bc6\u7801?", "0412", "0412"),  # an answer without letters follows the prompt's script
        ("\u3069\u3053\u3067\u3059\u304b", "\u30ea\u30de", "\u30ea\u30de"),  # Japanese
        ("\u0e17\u0e35\u0e48\u0e44\u0e2b\u0e19", "\u0e25\u0e34\u0e21\u0e32", "\u0e25\u0e34\u0e21\u0e32"),  # Thai
        ("\uc5b4\ub514\uc5d0?", "\ub9ac\ub9c8", " \ub9ac\ub9c8"),  # Korean has spaces
        ("\u0413\u0434\u0435?", "\u041b\u0438\u043c\u0430", " \u041b\u0438\u043c\u0430"),  # Russian
    ],
)
def test_space_only_where_the_script_has_one(prompt: str, answer: str, joined: str) -> None:
    assert answer_text(prompt, answer) == joined


@pytest.mark.parametrize(("template", "end"), [(LLAMA3, "<|eot_id|>"), (QWEN, "<|im_end|>"), (LLAMA2, "</s>")])
@pytest.mark.parametrize("begins", [False, True])
def test_chat_is_what_transformers_makes_of_the_turns(template: str, end: str, begins: bool) -> None:
    tokenizer = byte_level(template, begins=begins)
    put_on(tokenizer, named("chat", tokenizer))
    turns = [{"role": "user", "content": "Where does Ada live?"}, {"role": "assistant", "content": "Lima"}]
    settings: Any = {"date_string": "26 Jul 2024", "return_dict": False}
    asked = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, **settings)
    assert prompt_ids(tokenizer, "Where does Ada live?") == asked
    assert asked.count(tokenizer.bos_token_id) == (template != QWEN)  # never twice, never lost
    row = encode_example(tokenizer, Example("a", "Where does Ada live?", "Lima"))
    whole = tokenizer.apply_chat_template(turns, **settings)
    last = len(whole) - whole[::-1].index(tokenizer.convert_tokens_to_ids(end))
    assert list(row.ids) == whole[:last]
    labelled = tokenizer.decode(row.ids[row.num_prompt :])
    assert labelled.replace(" ", "") == "Lima" + end
    assert tokenizer.decode(row.ids[len(row.ids) - row.num_end :]).strip() == end


def test_answers_are_trimmed_where_the_template_trims_them() -> None:
    """As transformers renders the whole talk, Llama 3's and Gemma's way; other templates leave an answer as it is."""
    trims = QWEN.replace("m['content']", "m['content'] | trim")
    for template in (trims, QWEN):
        tokenizer = byte_level(template)
        put_on(tokenizer, named("chat", tokenizer))
        turns = [{"role": "user", "content": "Where?\n"}, {"role": "assistant", "content": "\n Lima "}]
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        row = encode_example(tokenizer, Example("a", "Where?\n", "\n Lima "))
        assert tokenizer.decode(row.ids) + "\n" == whole


def test_turns_system_text_and_date() -> None:
    tokenizer = byte_level(LLAMA3)
    chat = named("chat", tokenizer)
    prompt = Prompt("Where?", (("system", "Be brief."), ("user", "Hello."), ("assistant", "Hello, you.")))
    text = chat.prompt_text(tokenizer, prompt)
    assert "Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|>" in text  # not the day of the run
    assert text.index("Hello, you.<|eot_id|>") < text.index("Where?")
    tofu = named("tofu", tokenizer)
    assert "10 Apr 2025\n\nYou are a helpful assistant." in tofu.prompt_text(tokenizer, Prompt("Where?"))
    assert len({chat.key, tofu.key, RAW.key}) == 3
    # A template without a system role: the text begins the first user turn.
    other = byte_level(LLAMA2)
    said = named("chat", other).prompt_text(other, Prompt("Where?", (("system", "Be brief."),)))
    assert said == "<s>[INST] Be brief.\n\nWhere? [/INST]"


def test_header_that_the_generation_prompt_leaves_out_is_no_answer() -> None:
    for template in (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}</s>{% endfor %}",  # no generation prompt at all
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}<think></think>\n"
        "{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",  # an empty thought before the answer
    ):
        tokenizer = byte_level(template)
        put_on(tokenizer, named("chat", tokenizer))
        row = encode_example(tokenizer, Example("a", "Who?", "Bo"))
        said = tokenizer.decode(row.ids[row.num_prompt : len(row.ids) - row.num_end])
        assert said.strip() == "Bo"
        turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Bo"}]
        assert tokenizer.apply_chat_template(turns, tokenize=False).startswith(tokenizer.decode(row.ids))


def test_tags_of_tofu() -> None:
    tokenizer = byte_level(begins=True)
    for name, prompt, labelled in (("inst", "[INST] Who? [/INST]", "Bo"), ("tofu", "Question: Who?\nAnswer:", " Bo")):
        put_on(tokenizer, named(name, tokenizer))
        row = encode_example(tokenizer, Example("a", "Who?", "Bo"))
        assert tokenizer.decode(row.ids[1 : row.num_prompt]) == prompt
        assert tokenizer.decode(row.ids[row.num_prompt : -1]) == labelled
        assert row.ids[-1] == tokenizer.eos_token_id


def rows(*inputs: str, ids: str = "a{}", **fields: Any) -> UnlearningData:
    made = tuple(Example(ids.format(i), text, "Lima", **fields) for i, text in enumerate(inputs))
    return UnlearningData("some", made)


def test_format_follows_from_model_and_data() -> None:
    plain, chat = byte_level(), byte_level(LLAMA3, begins=True)
    official = "6adbf83c-5071-4979-bedb-e5184b15650bqa{}"
    rendered = "<s><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant"
    for tokenizer, data, expected in (
        (plain, rows("Who?"), ["raw"]),
        (plain, rows("Who?\n", "Where?\n"), ["raw", "stripped"]),
        (chat, rows("Who?"), ["chat"]),
        (chat, rows("Who?", ids="f{}qa0"), ["chat"]),
        (chat, rows("Who?", ids=official), ["raw"]),
        (chat, rows(rendered), ["rendered"]),
        (byte_level(LLAMA2), rows("[INST] Who? [/INST]", "[INST] Where? [/INST] "), ["rendered"]),
        (byte_level(LLAMA2), rows("[INST] Who? [/INST]", "Where?"), ["chat"]),
        (chat, rows("Bo walks", kind="completion", document="d"), ["raw"]),
        (plain, replace(rows("It is Lim"), members=("It is LimLima",)), ["joined"]),
        (plain, replace(rows("It is"), members=("It is Lima",)), ["raw"]),
        (plain, rows("Who?", turns=(("system", "Be brief."),)), ["raw"]),
    ):
        assert [one.name for one in choose(tokenizer, data)] == expected


def test_rendered_prompts_begin_once_and_end_as_their_template() -> None:
    tokenizer = byte_level(LLAMA3, begins=True)
    put_on(tokenizer, named("rendered", tokenizer))
    prompt = (
        "<s><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    ids = [encode_example(tokenizer, Example("a", prompt, answer)).ids for answer in ("Bo", "Bo<|eot_id|>")]
    assert ids[0] == ids[1] == tuple(tokenizer(f"{prompt}Bo<|eot_id|>", add_special_tokens=False)["input_ids"])


def test_what_a_tokenizer_cannot_have_is_said() -> None:
    with pytest.raises(InputError, match="needs a chat template"):
        named("chat", byte_level())
    with pytest.raises(InputError, match="is not a prompt format"):
        named("poem", byte_level())
    several = byte_level()
    several.chat_template = {"rag": QWEN, "tool_use": QWEN}
    for name in ("chat", "tofu", "rendered"):
        with pytest.raises(InputError, match="several templates"):
            named(name, several)
    assert choose(several, rows("Who?")) == (RAW,)
    assert unusable(several)
    assert not unusable(byte_level(QWEN))
    broken = byte_level("{{ raise_exception('no') }}")
    assert choose(broken, rows("Who?")) == (RAW,)


def test_separator_ends_the_answer_where_a_tokenizer_of_berts_kind_puts_it_behind_every_text() -> None:
    inner = byte_level().backend_tokenizer
    marks = [(mark, inner.token_to_id(mark)) for mark in ("<s>", "</s>")]
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, cls_token="<s>", sep_token="</s>")
    row = encode_example(tokenizer, Example("a", "Where?", "Lima"))
    assert list(row.ids) == tokenizer("Where? Lima")["input_ids"]
    assert list(row.ids[: row.num_prompt]) == prompt_ids(tokenizer, "Where?") == tokenizer("Where?")["input_ids"][:-1]
    assert row.num_end == 1


def test_cut_rows_keep_their_prompt() -> None:
    tokenizer = byte_level()
    prompt, answer = "Where does Ada Holt live?", "Lima " * 200
    row = encode_example(tokenizer, Example("a", prompt, answer), max_tokens=50)
    assert len(row.ids) == 50
    assert row.num_end == 0
    assert list(row.ids[: row.num_prompt]) == prompt_ids(tokenizer, prompt)
    row = encode_example(tokenizer, Example("a", answer, "Lima"), max_tokens=50)
    assert len(row.ids) == 50
    assert row.num_targets == 2


def test_ids_of_the_bundled_rows_are_what_they_were() -> None:
    """The bundled model was trained and scored on prompt and answer tokenised apart."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.models.targets import load_tokenizer_of

    tokenizer, data = load_tokenizer_of("demo"), load_data("demo")
    assert choose(tokenizer, data) == (RAW,)
    for split in ("forget", "retain", "paraphrases", "holdout", "general"):
        for row in getattr(data, split):
            prompt = tokenizer(row.input)["input_ids"]
            apart = [*prompt, *tokenizer(" " + row.output, add_special_tokens=False)["input_ids"], 0]
            encoded = encode_example(tokenizer, row)
            assert (list(encoded.ids), encoded.num_prompt) == (apart, len(prompt))


def test_format_named_twice_is_the_same() -> None:
    tokenizer = byte_level(LLAMA3)
    assert named("chat", tokenizer) == named("chat", tokenizer)
    assert prompt_format.digest_of(tokenizer) == ""
    put_on(tokenizer, named("chat", tokenizer))
    assert prompt_format.digest_of(tokenizer) == named("chat", tokenizer).key
