"""open-unlearning's measures of one model, one row at a time, written from their formulas alone.

A row is (ids, number of prompt ids). `last` says how many of the last labels are left out of what memory is
measured on: 1 in open-unlearning.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Row = tuple[list[int], int]


def loss(model: Any, row: Row) -> float:
    """Mean cross-entropy over all labels."""
    log_probs, labels = _labelled(model, row)
    return float(-log_probs.gather(1, labels[:, None]).mean())


def exact(model: Any, row: Row, last: int = 1) -> float:
    log_probs, labels = _body(model, row, last)
    return float((log_probs.argmax(-1) == labels).float().mean())


def extraction(model: Any, row: Row, last: int = 1, *, theirs: bool = True) -> float:
    log_probs, labels = _body(model, row, last)
    right = (log_probs.argmax(-1) == labels).tolist()
    k = 0
    for k in range(len(right)):
        if all(right[k:]):
            break
    else:
        k = k if theirs else len(right)
    return 1 - k / len(right)


def min_k(model: Any, row: Row, last: int = 1) -> float:
    log_probs, labels = _body(model, row, last)
    values = np.sort(log_probs.gather(1, labels[:, None])[:, 0].numpy())
    return float(-values[: max(1, int(len(values) * 0.4))].mean())


def min_k_plus_plus(model: Any, row: Row, last: int = 1) -> float:
    log_probs, labels = _body(model, row, last)
    mean = (log_probs.exp() * log_probs).sum(-1)
    variance = ((log_probs.exp() * log_probs**2).sum(-1) - mean**2).clamp(min=1e-6)
    z = (log_probs.gather(1, labels[:, None])[:, 0] - mean) / variance.sqrt()
    values = np.sort(z.numpy())
    return float(-values[: max(1, int(len(values) * 0.4))].mean())


def gradnorm(model: Any, row: Row, last: int = 1) -> float:
    model.zero_grad()
    ids, start = row
    logits = model(input_ids=torch.tensor([ids])).logits[0, start - 1 : len(ids) - 1 - last]
    labels = torch.tensor(ids[start : len(ids) - last])
    torch.nn.functional.cross_entropy(logits, labels).backward()
    norms = [p.grad.norm(p=2) for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return float(torch.stack(norms).mean())


def zlib_score(model: Any, row: Row, text: str) -> float:
    return loss(model, row) / len(zlib.compress(text.encode()))


def greedy(model: Any, tokenizer: Any, ids: Sequence[int], most: int) -> str:
    with torch.no_grad():
        out = model.generate(
            torch.tensor([list(ids)]), max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.eos_token_id
        )
    return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)).strip()


def _labelled(model: Any, row: Row) -> tuple[torch.Tensor, torch.Tensor]:
    ids, start = row
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    return logits.log_softmax(-1)[start - 1 : -1], torch.tensor(ids[start:])


def _body(model: Any, row: Row, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    log_probs, labels = _labelled(model, row)
    return log_probs[: len(labels) - last], labels[: len(labels) - last]
