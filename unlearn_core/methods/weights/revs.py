"""REVS: make single tokens unlikely by moving a few MLP neurons in vocabulary space.

Legend: N neurons, K neurons edited (0, 1, 2 ...), T positions, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Edit, EditedUnit, Info, parameter
from unlearn_core.models.architecture import UNKNOWN, behind_mlp, final_norm, mlp_outputs
from unlearn_core.models.inference.forward import layers, unwrap
from unlearn_core.models.inference.vocabulary import VocabularySpace

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class DemotionTarget(NamedTuple):
    """A token to demote after a prefix that ends just before it."""

    prefix: tuple[int, ...]
    token: int


@dataclass(frozen=True)
class REVS(Edit):
    info = Info(
        name="revs",
        title="Rank editing in vocabulary space (REVS)",
        family="editing",
        taxonomy="local weights",
        idea="Takes the rarest tokens of each forget answer and, layer by layer, the firing neurons that "
        "promote them most. Each of those is moved so that the token ends far down its list of words.",
        formula="v' = v + delta (U'U)^-1 u_token / gain for the firing neurons v in which the token ranks "
        "best; delta sets its rank in v' to neuron_rank V; as few neurons as bring the token below rank V "
        "in the MLP's output and in the residual stream",
        paper="Ashuach et al. 2025, REVS, ACL Findings, arXiv 2406.09325",
        cost=8.7,
        needs=frozenset({"forget"}),
        caution="Made for strings that occur once, such as numbers and addresses: a token that retained "
        "answers share fades there too, as on the bundled world, where all share their words: at the best of one, "
        "two and four tokens .41 of the forgotten answers of the worst task are left, .50 on real text, beside .55 "
        "and .63 of the retained ones. delta is "
        "solved for exactly, where the authors search for it. Most of the cost is reading neurons as lists "
        "of words, so it grows with the vocabulary.",
    )

    max_tokens: int = parameter(2, "Tokens of each answer that are demoted, the rarest first", 1, 64)
    considered: int = parameter(100, "Most active neurons of a layer to choose from", 1, 100_000)
    neurons: int = parameter(30, "Most neurons that change, for each token and layer", 1, 10_000)
    neuron_rank: float = parameter(0.75, "Rank of the token in a changed neuron, share of V", 0.0, 0.99)
    rank: float = parameter(0.05, "Rank that the token must fall to in each layer, share of V", 0.0, 0.99)

    def supports(self, model: PreTrainedModel) -> str | None:
        if not mlp_outputs(model):
            return UNKNOWN
        if getattr(final_norm(model), "bias", None) is not None:
            return "needs a last norm without bias (OLMo, OLMo 2, Llama, Qwen)"
        return None

    def prepare(self, context: Context) -> None:
        found = [target for row in context.parts["forget"].rows for target in rarest(row, self.max_tokens)]
        context.state["targets"] = list(dict.fromkeys(found))
        context.num_steps = len(context.state["targets"])

    @torch.no_grad()
    def units(self, context: Context) -> Iterator[EditedUnit]:
        model = unwrap(context.model)
        demotion = Demotion(self, context, VocabularySpace(model))
        with demotion.attached(model):
            for target in context.state["targets"]:
                demotion.token, demotion.num_weights = target.token, 0
                ids = torch.tensor([target.prefix], device=model.device)
                logits_V = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
                nll = -float(logits_V.float().log_softmax(-1)[target.token])
                yield EditedUnit({"total": nll, "forget": nll}, demotion.num_weights, 2 * len(target.prefix))


def rarest(row: Encoded, count: int) -> list[DemotionTarget]:
    """The answer's tokens with the largest ids, which a tokenizer gave last, in the order they occur."""
    answer = range(row.num_prompt, len(row.ids))
    chosen = sorted(sorted(answer, key=lambda at: -row.ids[at])[:count])
    return [DemotionTarget(row.ids[:at], row.ids[at]) for at in chosen]


@dataclass
class Demotion:
    """Edits each layer's neurons as a pass reaches it, and passes the layer again before it goes on.

    So a layer sees what the edits below it made of the prefix, as if the model ran anew after each.
    """

    method: REVS
    context: Context
    space: VocabularySpace
    token: int = 0  # that is demoted at the last position of the next pass
    num_weights: int = 0
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @contextmanager
    def attached(self, model: PreTrainedModel) -> Iterator[None]:
        """The hooks on every layer, inside the `with`."""
        with ExitStack() as stack:
            for layer, (name, output) in zip(layers(model), mlp_outputs(model).items(), strict=True):
                stack.callback(output.register_forward_hook(self._remember(name)).remove)
                hook = layer.register_forward_hook(self._edit(name, output), with_kwargs=True)
                stack.callback(hook.remove)
            yield

    def _remember(self, name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(module: torch.nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self.seen[name] = args[0][0, -1].float(), output[0, -1].float()

        return hook

    def _edit(self, name: str, matrix: Any) -> Callable[..., Any]:
        def hook(layer: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: Any) -> Any:
            passed_D = (output[0] if isinstance(output, tuple) else output)[0, -1].float()
            active_N, written_D = self.seen[name]
            columns, values = self.choose(layer, matrix.weight, active_N, written_D, passed_D)
            if not len(columns):
                return output
            self.context.edits.put(name, (slice(None), columns), values)
            self.num_weights += values.numel()
            return layer.forward(*args, **kwargs)

        return hook

    def choose(
        self,
        layer: torch.nn.Module,
        weight_DN: torch.Tensor,
        active_N: torch.Tensor,
        written_D: torch.Tensor,
        passed_D: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The columns to edit and their new values (D, K): as few as bring the token down far enough."""
        space, method = self.space, self.method
        behind = behind_mlp(layer) or torch.nn.Identity()
        bar = round(method.rank * space.size)
        if space.rank(passed_D, self.token) >= bar:
            return active_N.new_zeros(0, dtype=torch.long), weight_DN[:, :0]
        firing = active_N.topk(min(method.considered, len(active_N))).indices
        firing = firing[active_N[firing] > 0]
        vectors_ND = weight_DN[:, firing].T.float()
        best = space.rank(behind(vectors_ND), self.token).argsort()[: method.neurons]
        columns, old_KD = firing[best], vectors_ND[best]
        wanted = round(method.neuron_rank * space.size)
        new_KD = space.demoted(old_KD, self.token, wanted, getattr(behind, "weight", None))
        moved_KD = F.pad((active_N[columns, None] * (new_KD - old_KD)).cumsum(0), (0, 0, 1, 0))
        outputs_KD = behind(written_D + moved_KD)
        streams_KD = passed_D - behind(written_D) + outputs_KD
        streams_KV = space.read(streams_KD)
        in_stream_K = (streams_KV > streams_KV[:, self.token, None]).sum(-1)
        enough = ((in_stream_K >= bar) & (space.rank(outputs_KD, self.token) >= bar)).nonzero()[:, 0]
        likely_K = streams_KV.log_softmax(-1)[:, self.token]
        count = int(enough[0]) if len(enough) else int(likely_K.argmin())
        return columns[:count], new_KD[:count].T
