"""Two processes that share a run, with the whole model each or with half of it, come to what one comes to."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from loop_helpers import drain
from preloaded import Child

from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.models import targets
from unlearn_core.models.hashing import weights_hash
from unlearn_core.training.loop import LoopStep, unlearn

pytestmark = pytest.mark.slow


def few_rows() -> UnlearningData:
    """A part of the bundled data."""
    data = load_data("demo")
    few = {name: getattr(data, name)[:4] for name in ("general", "questions", "members", "nonmembers", "paraphrases")}
    rows = {name: getattr(data, name)[:6] for name in ("forget", "retain", "holdout")}
    return replace(data, **few, **rows, max_new_tokens=8)


def work(folder: str) -> None:
    """What each process does: it trains with the whole model, and where there are two with half of it too."""
    from unlearn_core.evaluation.evaluate import evaluate
    from unlearn_core.models.split import gathered, is_split
    from unlearn_core.system.machine import distributed
    from unlearn_core.training.resources import activation_memory

    again, checkpoint = [], activation_memory.checkpoint
    activation_memory.checkpoint = lambda *given, **named: (again.append(1), checkpoint(*given, **named))[1]
    data = few_rows()

    def trained(target: Any, name: str, adapter: str) -> tuple[Any, dict[str, Any]]:
        os.environ["FSDP_ACTIVATION_CHECKPOINTING"] = str(adapter == "lora")  # as the launcher would ask for it
        method = methods.build(name, {"batch_size": 6}, 3)
        seen, artifact = drain(unlearn(target.model, target.tokenizer, data, method, adapter=adapter, probe_ids=()))
        steps = [record for record in seen if isinstance(record, LoopStep)]
        told = {"losses": [step.losses["total"] for step in steps], "norms": [step.gradient_norm for step in steps]}
        return artifact, told | {"change": artifact.changed()["relative_change"], "again": len(again)}

    def worked(scored: bool) -> dict[str, Any]:
        target = targets.load_target("demo", device="cpu")
        found: dict[str, Any] = {"split": is_split(target.model), "hash": target.weights_hash}
        if scored:
            scores = drain(evaluate(target.model, target.tokenizer, data))[1]
            found["before"] = scores.terms, [asdict(one) for one in scores.generations]
        for name, adapter in (("npo", "full"), ("kl", "lora")):
            artifact, found[name] = trained(target, name, adapter)
            if scored and name == "npo":
                found["after"] = drain(evaluate(artifact.model, target.tokenizer, data))[1].terms
                place, known = Path(folder) / str(found["split"]), weights_hash(artifact.model)
                if distributed.rank() == 0:
                    artifact.save(place, target.tokenizer)
                    found["saved"] = [known, str(place)]
                elif found["split"]:
                    gathered(artifact.model, keep=False)
            artifact.release()
        found["put back"] = weights_hash(target.model) == target.weights_hash
        return found

    distributed.join()
    alone = distributed.size() == 1
    told = {"whole": worked(scored=alone)}
    if not alone:
        targets.is_too_large = lambda needed, free: True
        told["halves"] = worked(scored=True)
    told["merged"] = distributed.merge({place: place * place for place in distributed.share(range(7))}, 7)
    if distributed.rank() == 0:
        Path(folder, f"told by {distributed.size()}").write_text(json.dumps(told), encoding="utf-8")
    distributed.leave()
    os._exit(0)  # at an ordinary exit gloo's threads may be found running, which ends the process by a signal


def outcome(processes: int, folder: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        Child(
            work,
            str(folder),
            environment={**place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            said=folder / f"said by {rank} of {processes}",
        )
        for rank in range(processes)
    ]
    ends = [child.wait() for child in started]
    assert [code for code, _ in ends] == [0] * processes, ends
    return json.loads((folder / f"told by {processes}").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What one process comes to, and what two come to."""
    folder = tmp_path_factory.mktemp("saved")
    return outcome(1, folder), outcome(2, folder)


def test_with_the_whole_model_each_two_train_as_one_does(outcomes: tuple[Any, Any]) -> None:
    one, two = outcomes[0]["whole"], outcomes[1]["whole"]
    assert not two["split"]
    for name in ("npo", "kl"):
        for told in ("losses", "norms"):
            assert two[name][told] == pytest.approx(one[name][told], rel=1e-3, abs=1e-4)
        assert two[name]["change"] == pytest.approx(one[name]["change"], rel=1e-2)
    assert two["npo"]["again"] == 0 < two["kl"]["again"]  # layers computed twice, where the launcher asks for it
    assert two["put back"]


def test_with_half_a_model_each_two_score_train_and_save_as_one_does(outcomes: tuple[Any, Any]) -> None:
    one, two = outcomes[0]["whole"], outcomes[1]["halves"]
    assert two["split"]
    assert not one["split"]
    assert two["hash"] == one["hash"]  # the hash is that of the whole
    assert two["before"] == one["before"]  # every text and every term
    assert two["after"] == pytest.approx(one["after"], abs=0.02)
    for name in ("npo", "kl"):
        assert two[name]["losses"] == pytest.approx(one[name]["losses"], rel=0.02)
        assert two[name]["change"] == pytest.approx(one[name]["change"], rel=0.05)
    assert two["put back"]

    from unlearn_core.models.targets import load_target

    known, folder = two["saved"]
    assert load_target(folder, device="cpu").weights_hash == known  # what was saved is what was scored


def test_each_row_is_taken_by_one_process(outcomes: tuple[Any, Any]) -> None:
    assert outcomes[1]["merged"] == [0, 1, 4, 9, 16, 25, 36]
