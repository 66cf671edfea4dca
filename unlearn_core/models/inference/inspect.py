"""What a model thinks of a given answer: each token's probability, rank and rivals, and each layer's.

The logit lens (nostalgebraist 2020; Belrose et al., arXiv 2303.08112) sends the residual stream after
each layer through the final norm and the output head. The last hidden state that transformers returns is
normed already; the others, embeddings included, are not.
Legend: T answer tokens, L layers, D hidden, V vocabulary, K alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from unlearn_core.data.encode import encode_example, token_text
from unlearn_core.data.types import Example
from unlearn_core.errors import InputError
from unlearn_core.models.architecture import final_norm
from unlearn_core.models.inference.answer_probability import per_token, probability
from unlearn_core.models.inference.forward import body_and_head, device_of, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_ALTERNATIVES = 4
MAX_ANSWER_TOKENS = 96


@dataclass(frozen=True, slots=True)
class TokenView:
    """One token of the answer: its probability (0..1) and rank (1 = first choice) among all tokens, and
    the likeliest tokens at its place with their probabilities."""

    text: str
    probability: float
    rank: int
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """An answer as one model sees it. `layers` holds the geometric-mean probability per answer token read
    after each layer (index 0: the embeddings), empty where the architecture has no readable final norm."""

    tokens: tuple[TokenView, ...]
    layers: tuple[float, ...]

    @property
    def probability(self) -> float:
        """Of the whole answer, 0..1."""
        return probability(self._logs)

    @property
    def per_token(self) -> float:
        """The geometric mean per token, 0..1."""
        return per_token(self._logs)

    @property
    def _logs(self) -> np.ndarray:
        return np.log([max(token.probability, 1e-30) for token in self.tokens])


@torch.inference_mode()
def inspect_answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Inspection:
    """One forward pass over `prompt` and `answer`; the end of text that follows is left out.

    Raises InputError for an answer without tokens. Long answers are read up to MAX_ANSWER_TOKENS.
    """
    if not answer.strip():
        raise InputError("answer", answer, "has no words", "Type the answer to look at.")
    row = encode_example(tokenizer, Example("probe", prompt, answer))
    start = max(1, row.num_prompt)
    ids = list(row.ids[: len(row.ids) - row.num_end])[: start + MAX_ANSWER_TOKENS]
    inner = unwrap(model)
    out = inner(input_ids=torch.tensor([ids], device=device_of(model)), output_hidden_states=True, use_cache=False)
    labels_T = torch.tensor(ids[start:], device=out.logits.device)
    log_probs_TV = out.logits[0, start - 1 : -1].float().log_softmax(-1)
    hidden = [state_1TD[0, start - 1 : -1] for state_1TD in out.hidden_states]
    layers = _lens(inner, hidden, labels_T)
    return Inspection(_tokens(tokenizer, log_probs_TV, labels_T), tuple(layers))


def _tokens(
    tokenizer: PreTrainedTokenizerBase, log_probs_TV: torch.Tensor, labels_T: torch.Tensor
) -> tuple[TokenView, ...]:
    own_T1 = log_probs_TV.gather(-1, labels_T[:, None])
    rank_T = 1 + (log_probs_TV > own_T1).sum(-1)
    top_TK, index_TK = log_probs_TV.exp().topk(min(NUM_ALTERNATIVES, log_probs_TV.shape[-1]))
    found = []
    for place, label in enumerate(labels_T.tolist()):
        rivals = zip(index_TK[place].tolist(), top_TK[place].tolist(), strict=True)
        found.append(
            TokenView(
                token_text(tokenizer, label),
                float(own_T1[place].exp()),
                int(rank_T[place]),
                tuple((token_text(tokenizer, token), p) for token, p in rivals),
            )
        )
    return tuple(found)


def _lens(inner: PreTrainedModel, hidden: list[torch.Tensor], labels_T: torch.Tensor) -> list[float]:
    parts, norm = body_and_head(inner), final_norm(inner)
    if parts is None or norm is None:
        return []
    head = parts[1]
    found = []
    for layer, state_TD in enumerate(hidden):
        logits_TV = head(state_TD if layer == len(hidden) - 1 else norm(state_TD)).float()
        log_prob_T = logits_TV.log_softmax(-1).gather(-1, labels_T[:, None])[:, 0]
        found.append(float(log_prob_T.mean().exp()))
    return found
