"""What others published on each benchmark, by the names of the terms here: lines to read a result beside.

Of other models, mostly larger, trained and tuned by others: they say what is usual, not what is reached here.
"""

from __future__ import annotations

from collections.abc import Iterator

from unlearn_core.evaluation.protocols.base import ReferenceLine

_LOGS = "open-unlearning/eval, per-row logs"
_REPRO = "open-unlearning, docs/repro.md (not tuned, 10 epochs, learning rate 1e-5)"
_SIMNPO = "SimNPO, arXiv 2410.07163, tables 1, A3 and A4 (tuned)"
_MUSE = "MUSE, arXiv 2407.06460"
_RWKU = "RWKU, arXiv 2406.10890, tables 1 and 2"
_CARDS = "model cards of cais/Zephyr_RMU and cais/Yi-34B-Chat_RMU"

_TOFU_LOGGED: tuple[str, ...] = (
    "model_utility",
    "forget_quality",
    "forget_truth_ratio",
    "forget_Q_A_Prob",
    "forget_Q_A_PARA_Prob",
)
_TOFU_LOGGED += ("forget_Q_A_ROUGE", "extraction_strength", "exact_memorization", "mia_min_k", "privleak")
_FULL, _RETAIN = "Before unlearning", "Retain model"
# model, percentage to forget, method: the values of _TOFU_LOGGED.
_LOGGED = (
    ("Llama-3.2-1B", "10", _FULL, (0.5992, 3.91e-22, 0.4756, 0.8805, 0.1004, 0.8201, 0.7063, 0.9739, 0.9967, -99.5)),
    ("Llama-3.2-1B", "10", _RETAIN, (0.5911, 1, 0.6275, 0.1161, 0.0534, 0.3791, 0.0590, 0.5849, 0.3826, 0)),
    ("Llama-3.2-1B", "05", _FULL, (0.5992, 1.43e-12, 0.4725, 0.8853, 0.0987, 0.8316, 0.7272, 0.9744, 1.0, -100)),
    ("Llama-3.2-1B", "05", _RETAIN, (0.5991, 1, 0.6343, 0.1267, 0.0537, 0.3847, 0.0634, 0.5935, 0.3624, 0)),
    ("Llama-3.2-1B", "01", _FULL, (0.5992, 0.00676, 0.4728, 0.9012, 0.0976, 0.8731, 0.7432, 0.9804, 1, -100)),
    ("Llama-3.2-1B", "01", _RETAIN, (0.5986, 1, 0.6516, 0.1654, 0.0658, 0.4067, 0.0693, 0.6450, 0.4706, 0)),
    ("Llama-3.2-3B", "10", _FULL, (0.6661, 3.60e-27, 0.4719, 0.9510, 0.0944, 0.9262, 0.8904, 0.9909, 0.9983, -99.7)),
    ("Llama-3.2-3B", "10", _RETAIN, (0.6498, 1, 0.6436, 0.1241, 0.0523, 0.3860, 0.0648, 0.5994, 0.3940, 0)),
    ("Llama-3.1-8B", "10", _FULL, (0.6276, 1.59e-27, 0.4744, 0.9915, 0.0677, 0.9907, 0.9789, 0.9983, 0.9996, -99.9)),
    ("Llama-3.1-8B", "10", _RETAIN, (0.6461, 1, 0.6407, 0.1055, 0.0379, 0.3941, 0.0651, 0.6134, 0.3801, 0)),
    ("Llama-2-7b-chat", "10", _FULL, (0.6276, 4.35e-25, 0.5185, 0.9901, 0.1056, 0.9755, 0.9820, 0.9988, 0.9991, -99.9)),
    ("Llama-2-7b-chat", "10", _RETAIN, (0.6130, 1, 0.6808, 0.1479, 0.0665, 0.3994, 0.0696, 0.6653, 0.3867, 0)),
    ("Llama-2-7b-chat", "05", _FULL, (0.6276, 5.87e-14, 0.5113, 0.9894, 0.1013, 0.9625, 0.9808, 0.9988, 1, -100)),
    ("Llama-2-7b-chat", "05", _RETAIN, (0.6266, 1, 0.6696, 0.1491, 0.0626, 0.4011, 0.0675, 0.6670, 0.3513, 0)),
)
# model, split, source: method, forget quality, model utility, forget truth ratio where it was given.
_TOFU_METHODS = (
    ("Llama-3.2-1B", "forget10", _REPRO, "GradAscent", 1.06e-239, 0.0, 2.25e-18),
    ("Llama-3.2-1B", "forget10", _REPRO, "GradDiff", 1.06e-239, 0.49, 3.53e-27),
    ("Llama-3.2-1B", "forget10", _REPRO, "IdkDPO", 4.64e-12, 0.23, 0.60),
    ("Llama-3.2-1B", "forget10", _REPRO, "NPO", 0.02, 0.46, 0.70),
    ("Llama-3.2-1B", "forget10", _REPRO, "SimNPO", 2.47e-203, 0.54, 1.07e-5),
    ("Llama-3.2-1B", "forget10", _REPRO, "RMU", 3.15e-15, 0.59, 0.76),
    ("Llama-3.2-1B", "forget05", _REPRO, "GradAscent", 1.94e-119, 0.0, None),
    ("Llama-3.2-1B", "forget05", _REPRO, "GradDiff", 1.94e-119, 0.53, None),
    ("Llama-3.2-1B", "forget05", _REPRO, "IdkDPO", 1.12e-5, 0.07, None),
    ("Llama-3.2-1B", "forget05", _REPRO, "NPO", 0.14, 0.45, 0.70),
    ("Llama-3.2-1B", "forget05", _REPRO, "SimNPO", 5.01e-100, 0.58, None),
    ("Llama-3.2-1B", "forget05", _REPRO, "RMU", 4.87e-10, 0.58, 0.77),
    ("Llama-3.2-1B", "forget01", _REPRO, "GradAscent", 0.27, 0.33, None),
    ("Llama-3.2-1B", "forget01", _REPRO, "GradDiff", 0.77, 0.43, None),
    ("Llama-3.2-1B", "forget01", _REPRO, "IdkDPO", 0.01, 0.51, None),
    ("Llama-3.2-1B", "forget01", _REPRO, "NPO", 0.92, 0.56, None),
    ("Llama-3.2-1B", "forget01", _REPRO, "SimNPO", 0.58, 0.46, None),
    ("Llama-3.2-1B", "forget01", _REPRO, "RMU", 0.16, 0.55, None),
    ("Llama-2-7b-chat", "forget10", _REPRO, "GradAscent", 1.06e-239, 0.0, None),
    ("Llama-2-7b-chat", "forget10", _REPRO, "GradDiff", 1.80e-229, 0.58, None),
    ("Llama-2-7b-chat", "forget10", _REPRO, "IdkDPO", 5.42e-13, 0.04, 0.64),
    ("Llama-2-7b-chat", "forget10", _REPRO, "NPO", 0.42, 0.54, 0.73),
    ("Llama-2-7b-chat", "forget10", _REPRO, "SimNPO", 1.47e-198, 0.60, None),
    ("Llama-2-7b-chat", "forget10", _REPRO, "RMU", 6.92e-21, 0.03, 0.81),
    ("Llama-2-7b-chat", "forget05", _SIMNPO, "GradDiff", 3.6e-9, 0.56, None),
    ("Llama-2-7b-chat", "forget05", _SIMNPO, "IDK", 1.9e-9, 0.57, None),
    ("Llama-2-7b-chat", "forget05", _SIMNPO, "NPO", 0.79, 0.57, None),
    ("Llama-2-7b-chat", "forget05", _SIMNPO, "SimNPO", 0.99, 0.58, None),
    ("Llama-2-7b-chat", "forget10", _SIMNPO, "GradDiff", 3.71e-15, 0.54, None),
    ("Llama-2-7b-chat", "forget10", _SIMNPO, "NPO", 0.29, 0.55, None),
    ("Llama-2-7b-chat", "forget10", _SIMNPO, "SimNPO", 0.45, 0.62, None),
)
_MUSE_TERMS = ("forget_verbmem_ROUGE", "forget_knowmem_ROUGE", "privleak", "retain_knowmem_ROUGE")
# corpus, source, method: the values of _MUSE_TERMS, ROUGE as shares.
_MUSE_LINES = (
    ("News", _MUSE, "Target", (0.584, 0.639, -99.8, 0.552)),
    ("News", _MUSE, _RETAIN, (0.208, 0.331, 0, 0.550)),
    ("News", _MUSE, "GradAscent", (0, 0, 5.2, 0)),
    ("News", _MUSE, "GradDiff", (0.049, 0.310, 108.1, 0.273)),
    ("News", _MUSE, "NPO with retain loss", (0.012, 0.546, 105.8, 0.405)),
    ("News", _SIMNPO, "SimNPO", (0.0234, 0.4484, 72.93, 0.3965)),
    ("News", _REPRO, "RMU", (0.05, 0.48, 56.4, 0.51)),
    ("Books", _MUSE, "Target", (0.998, 0.594, -57.5, 0.669)),
    ("Books", _MUSE, _RETAIN, (0.143, 0.289, 0, 0.745)),
    ("Books", _MUSE, "GradAscent", (0, 0, -25.0, 0)),
    ("Books", _MUSE, "GradDiff", (0, 0, -26.5, 0.107)),
    ("Books", _MUSE, "NPO with retain loss", (0, 0, -30.8, 0.228)),
    ("Books", _SIMNPO, "SimNPO", (0, 0, -19.82, 0.4827)),
    ("Books", _REPRO, "RMU", (0.79, 0.29, -60.5, 0.48)),
)
_RWKU_TERMS: tuple[str, ...] = (
    "forget_level1",
    "forget_level2",
    "forget_level3",
    "forget_all",
    "neighbor_level1",
    "neighbor_level2",
)
_RWKU_TERMS += ("neighbor_all", "mia_forget_loss", "mia_retain_loss")
# model, method: the values of _RWKU_TERMS, recalls as shares, losses in nats.
_RWKU_LINES = (
    ("Llama-3 8B", _FULL, (0.859, 0.764, 0.777, 0.796, 0.956, 0.853, 0.907, 2.267, 2.304)),
    ("Llama-3 8B", "GradAscent", (0.391, 0.316, 0.467, 0.419, 0.846, 0.736, 0.790, 2.586, 2.310)),
    ("Llama-3 8B", "DPO", (0.463, 0.385, 0.416, 0.419, 0.592, 0.513, 0.552, 2.436, 2.408)),
    ("Llama-3 8B", "NPO", (0.334, 0.210, 0.248, 0.262, 0.760, 0.699, 0.726, 2.789, 2.632)),
    ("Phi-3 mini", _FULL, (0.471, 0.474, 0.558, 0.518, 0.562, 0.614, 0.583, 2.056, 2.075)),
    ("Phi-3 mini", "GradAscent", (0.178, 0.143, 0.263, 0.216, 0.497, 0.517, 0.502, 2.948, 2.235)),
    ("Phi-3 mini", "NPO", (0.225, 0.169, 0.273, 0.238, 0.505, 0.536, 0.513, 2.166, 2.072)),
)
# model, method, accuracies on biology, cybersecurity and MMLU.
_WMDP_LINES = (
    ("Zephyr-7B-beta", _FULL, 0.637, 0.440, 0.581),
    ("Zephyr-7B-beta", "RMU", 0.312, 0.282, 0.571),
    ("Yi-34B-Chat", _FULL, 0.753, 0.497, 0.726),
    ("Yi-34B-Chat", "RMU", 0.307, 0.290, 0.706),
)


def published(protocol: str) -> tuple[ReferenceLine, ...]:
    """The published lines of a benchmark; none where there are none."""
    lines = {"tofu": _tofu, "muse": _muse, "rwku": _rwku, "wmdp": _wmdp}.get(protocol)
    return () if lines is None else tuple(lines())


def _tofu() -> Iterator[ReferenceLine]:
    for model, size, method, values in _LOGGED:
        yield ReferenceLine(model, method, f"forget{size}", dict(zip(_TOFU_LOGGED, values, strict=True)), _LOGS)
    for model, split, source, method, quality, utility, ratio in _TOFU_METHODS:
        found = {"forget_quality": quality, "model_utility": utility, "forget_truth_ratio": ratio}
        given = {name: value for name, value in found.items() if value is not None}
        yield ReferenceLine(model, method, split, given, source)


def _muse() -> Iterator[ReferenceLine]:
    for corpus, source, method, values in _MUSE_LINES:
        model = "Llama-2-7b" if corpus == "News" else "ICLM-7b"
        yield ReferenceLine(model, method, corpus, dict(zip(_MUSE_TERMS, values, strict=True)), source)


def _rwku() -> Iterator[ReferenceLine]:
    for model, method, values in _RWKU_LINES:
        yield ReferenceLine(model, method, "mean of 100 people", dict(zip(_RWKU_TERMS, values, strict=True)), _RWKU)


def _wmdp() -> Iterator[ReferenceLine]:
    for model, method, biology, cyber, mmlu in _WMDP_LINES:
        values = {"wmdp_bio": biology, "wmdp_cyber": cyber, "mmlu": mmlu}
        yield ReferenceLine(model, method, "all", values, _CARDS)
