"""The launcher's configurations that ship are valid, and say to the sharding what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy

from unlearn_core.errors import InputError
from unlearn_core.training.distributed.sharded import settings

SCALE = Path(__file__).parents[2] / "assets" / "scale"


def environment(name: str) -> dict[str, str]:
    """What `accelerate launch --config_file` leaves in the environment of each process."""
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    arguments = launch.launch_command_parser().parse_args(
        ["--config_file", str(SCALE / name), "-m", "unlearn_core", "run", "spec.json"]
    )
    arguments, _, _ = launch._validate_launch_command(arguments)
    assert isinstance(arguments, argparse.Namespace)
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = "zero_stage"  # the launcher's next line
        return dict(prepare_deepspeed_cmd_env(arguments)[1])
    return dict(prepare_multi_gpu_env(arguments))


@pytest.mark.parametrize("name", sorted(path.name for path in SCALE.glob("*.yaml")))
def test_a_configuration_is_one_that_accelerate_takes(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(SCALE / name))
    assert str(found.distributed_type).rpartition(".")[2] in ("MULTI_CPU", "FSDP", "DEEPSPEED")
    assert found.num_machines == 1


@pytest.mark.parametrize("name", ["fsdp2.yaml", "zero3.yaml"])
def test_both_gpu_configurations_shard_everything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value)
    found = settings()
    assert found.reshard_after_forward is True
    assert found.activation_checkpointing is False
    assert type(found.cpu_offload) is OffloadPolicy  # which leaves everything where it is


def test_a_lower_stage_of_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    with pytest.raises(InputError, match=r"zero3\.yaml"):
        settings()
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "cpu")
    assert isinstance(settings().cpu_offload, CPUOffloadPolicy)


def test_what_the_first_version_of_fsdp_asks_for_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "full_shard")
    with pytest.raises(InputError, match="to-fsdp2"):
        settings()
