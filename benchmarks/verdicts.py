"""Whether the verdict finds the truth of models for which it is known (see `planted.py`).

    python benchmarks/verdicts.py [--seeds 0,1,2] [--only NAME,NAME] [--threads 1]
    python benchmarks/verdicts.py --retain-seeds 1,2,3,4,5      retain-only models, trained anew, under all attacks

Prints one row a model: the word, the states of the layers, and what was expected where that differs; then "N of N".
A retain-only model takes about five minutes to train on one core, and is kept in --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from planted import CASES, retain_only
from planted_world import Made, Planted, World, small_world

from unlearn_core.data.world import demo_data
from unlearn_core.evaluation.verdict import LAYERS, Verdict


def wrong(case: Planted, found: Verdict) -> list[str]:
    """Where a verdict is not what the case must get."""
    told = [
        f"{name} is {found.layer(name).state}, not {state}"
        for name, state in case.states.items()
        if found.layer(name).state != state
    ]
    if found.word not in case.words:
        told.append(f"called {found.word}, not {' or '.join(case.words)}")
    if case.headline not in found.headline:
        told.append(f"headline without {case.headline!r}")
    return told


def results(seeds: Sequence[int], only: Sequence[str]) -> Iterator[tuple[Planted, int, Verdict]]:
    for seed in seeds:
        world = World(seed, small_world(seed))
        assert world.is_faithful()
        for case in CASES:
            if not only or any(words in case.name for words in only):
                yield case, seed, case.make(world).judged(world)


def trained_without(seeds: Sequence[int], out: Path) -> Iterator[tuple[Planted, int, Verdict]]:
    """Models that were trained without the forget set of the whole world, each from another seed; the bundled one is
    what they are compared with. Every layer must hold, under every attack."""
    from audits import retain_only as train

    from unlearn_core.evaluation.audits import REGISTRY
    from unlearn_core.models.targets import load_target

    world, states = World(0, demo_data()), dict.fromkeys(LAYERS, "holds")
    for seed, (_, folder, _) in zip(seeds, train(seeds, out), strict=True):
        model = load_target(str(folder)).model
        made = Made(world.score(model), audits=world.attack(model, *REGISTRY))
        yield Planted("retain-only, trained anew", retain_only, states, ("forgotten",)), seed, made.judged(world)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="parts of the names of the models wanted, with commas")
    parser.add_argument("--retain-seeds", default="", help="judge retain-only models of these seeds instead")
    parser.add_argument("--out", type=Path, default=Path("build") / "audits", help="where those are kept")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    only = [name for name in options.only.split(",") if name]
    right = total = 0
    print(f"{'model':<36}{'seed':>4}  {'word':<16}{'layers: ' + ', '.join(LAYERS)}")
    retained = [int(seed) for seed in options.retain_seeds.split(",") if seed]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    for case, seed, found in trained_without(retained, options.out) if retained else results(seeds, only):
        mistakes = wrong(case, found)
        right, total = right + (not mistakes), total + 1
        states = " ".join(f"{layer.state.replace('not measured', '-'):<7}" for layer in found.layers)
        print(f"{case.name:<36}{seed:>4}  {found.word:<16}{states}  {found.headline}", flush=True)
        for words in mistakes:
            print(f"    WRONG: {words}; {'; '.join(found.reasons)[:400]}", flush=True)
    print(f"{right} of {total}")


if __name__ == "__main__":
    main()
