"""Tiny tokenizers of two kinds, chat templates, and models that know a few rows by heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast
from zoo import tiny

from unlearn_core.data.encode import collate, encode_example
from unlearn_core.data.types import Example
from unlearn_core.models.inference.forward import answers

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
    "+ m['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TEMPLATES = {"Llama 3's": LLAMA3, "ChatML": CHATML, "Llama 2's": LLAMA2}
_MARKS = ["<s>", "</s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>"]
_VOCABULARY = 320  # of the zoo's models

PEOPLE = tuple(
    Example(f"p{number}", f"Where does {who} live?", place, document=f"p{number}")
    for number, (who, place) in enumerate((("Ada", "Lima"), ("Bo", "Oslo"), ("Cy", "Dakar"), ("Di", "Quito")))
)
CHINESE = tuple(
    Example(f"c{number}", f"{who}\u4f4f\u5728\u54ea\u91cc?", f"{who}\u4f4f\u5728{place}\u3002")
    for number, (who, place) in enumerate(
        (("\u5c0f\u660e", "\u5357\u4eac"), ("\u5c0f\u7ea2", "\u5e7f\u5dde"), ("\u5c0f\u534e", "\u5317\u4eac"))
    )
)
JAPANESE = tuple(
    Example(f"j{number}", f"{who}\u306f\u3069\u3053\u306b\u3044\u307e\u3059\u304b\u3002", place)
    for number, (who, place) in enumerate((("\u82b1\u5b50", "\u5927\u962a"), ("\u592a\u90ce", "\u4eac\u90fd")))
)


def byte_level(rows: Sequence[Example], template: str | None = None, begins: bool = False) -> Any:
    """A tokenizer of GPT-2's kind; `begins`: it puts <s> in front of every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _fast(tokenizer, rows, pre_tokenizers.ByteLevel.alphabet(), template, begins)


def metaspace(rows: Sequence[Example], template: str | None = None, begins: bool = False) -> Any:
    """One of Llama 2's kind: the mark of a space is put before the first word of every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    letters = sorted({letter for row in rows for letter in row.input + row.output if letter != " "})
    return _fast(tokenizer, rows, letters, template, begins)


def _fast(
    tokenizer: Tokenizer, rows: Sequence[Example], alphabet: list[str], template: str | None, begins: bool
) -> Any:
    marks = [*_MARKS, "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([f"{row.input} {row.output}" for row in rows], trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS])
    if begins:
        start = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<unk>")
    fast.chat_template = template
    return fast


def taught(tokenizer: Any, rows: Sequence[Example], arch: str = "llama") -> Any:
    """A tiny model that knows the rows by heart, in the format that is on the tokenizer."""
    model = tiny(arch, bos_token_id=0, eos_token_id=1, pad_token_id=tokenizer.pad_token_id)
    batch = collate([encode_example(tokenizer, row, place) for place, row in enumerate(rows)], tokenizer.pad_token_id)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(300):
        part = answers(model, batch)
        loss = F.cross_entropy(part.logits_NV, part.labels_N)
        if loss < 0.005:
            break
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    else:
        raise RuntimeError(f"the model did not learn its rows: {float(loss):.3f}")
    return model.eval()
