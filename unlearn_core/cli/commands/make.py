"""`lethe memorise` and `lethe world build`: make models that know a data set by heart."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.cli.commands import Commands
from unlearn_core.cli.progress import ProgressLine
from unlearn_core.cli.shared import check_folder, number, prepare, whole_number
from unlearn_core.data.prompt_format import PROMPTS
from unlearn_core.errors import InputError

if TYPE_CHECKING:
    from unlearn_core.training.memorise import TrainProgress


def add_to(commands: Commands) -> None:
    memorise = commands.add_parser("memorise", help="make a target: train a model on a data set")
    memorise.add_argument("--base", required=True, metavar="REF", help="a model, or `scratch` for a new one")
    memorise.add_argument("--data", required=True, metavar="PATH", help="forget and retain set")
    memorise.add_argument("--out", required=True, metavar="DIR", help="where the model goes")
    memorise.add_argument(
        "--subset", type=whole_number, metavar="N", help="N documents per task and split (default: all)"
    )
    memorise.add_argument("--epochs", type=whole_number, metavar="N", help="passes over the data (default: 60)")
    memorise.add_argument("--learning-rate", type=number, metavar="X")
    memorise.add_argument("--seed", type=whole_number, default=0, metavar="N")
    memorise.add_argument("--prompt", choices=PROMPTS, default="auto", help="how prompts are put to the model")
    memorise.add_argument("--no-replay", action="store_true", help="leave the bundled general facts out")
    memorise.set_defaults(action=memorise_command)
    world = commands.add_parser("world", help="the bundled world and its models")
    parts = world.add_subparsers(metavar="PART", required=True)
    build = parts.add_parser("build", help="train the bundled models anew; goes on where it was stopped")
    build.add_argument("--out", metavar="DIR", help="where they go (default: the assets of this checkout)")
    build.add_argument("--seed", type=whole_number, default=0, metavar="N")
    build.set_defaults(action=world_command)


def memorise_command(options: argparse.Namespace) -> int:
    for flag in ("subset", "epochs"):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise InputError(f"--{flag}", value, "is not a number from 1", "Use a larger number.")
    rate = options.learning_rate
    if rate is not None and not 0 < rate <= 1:
        raise InputError("--learning-rate", rate, "is out of range", "Use a number from 0 to 1.")
    _check_seed(options.seed)
    out = _new_folder(options.out)
    from unlearn_core.build import memorise
    from unlearn_core.data.sources import load_data
    from unlearn_core.training.memorise import Recipe

    prepare()
    settings: dict[str, Any] = {"num_epochs": options.epochs or 60}
    if rate is not None:
        settings["learning_rate"] = rate
    data = load_data(options.data)
    _follow(
        memorise(
            options.base,
            data,
            out,
            subset=options.subset,
            recipe=Recipe(**settings),
            seed=options.seed,
            replay=not options.no_replay,
            prompt=options.prompt,
        )
    )
    print(f"The model is in {out}. Unlearn with: lethe run --target {out} --data {out / 'data'}")
    return 0


def world_command(options: argparse.Namespace) -> int:
    _check_seed(options.seed)
    from unlearn_core.build import build_world
    from unlearn_core.system.assets import assets_directory

    prepare()
    out = Path(options.out) if options.out else assets_directory() / "demo"
    _follow(build_world(out, options.seed))
    print(f"The bundled models are in {out}; scores and hashes in {out / 'manifest.json'}.")
    return 0


def _follow(progress: Generator[TrainProgress]) -> None:
    with closing(ProgressLine()) as line, closing(progress):
        for part in progress:
            left = part.seconds * (1 - part.fraction) / part.fraction if part.fraction > 0.01 else None
            line.show(part.stage, part.fraction, 1.0, f"loss {part.loss:.3f}", left)


def _new_folder(name: str) -> Path:
    folder = check_folder(name)
    if (folder / "build.json").exists():
        raise InputError("--out", name, "already holds a finished model", "Name another folder.")
    return folder


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**31:
        raise InputError("--seed", seed, "is not a seed", "Use a whole number from 0 to 2147483647.")
