"""What a target needs is said before it is fetched; the Hub's refusals come in people's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.models import estimate as module
from unlearn_core.models.estimate import DownloadEstimate, estimate_target
from unlearn_core.models.files import hub
from unlearn_core.models.targets import load_target


def listing(parameters: dict[str, int], files: dict[str, int]) -> Any:
    """What the Hub's client returns for a model."""
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in files.items()]
    return SimpleNamespace(sha="c0ffee", siblings=siblings, safetensors=SimpleNamespace(parameters=parameters))


@pytest.fixture
def on_the_hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`on_the_hub(answer)`: what the Hub says of every model; a download would fail the test."""

    def put(answer: Any) -> None:
        def model_info(self: HfApi, repo: str, **settings: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        def download(*args: Any, local_files_only: bool = False, **settings: Any) -> str:
            if local_files_only:
                raise FileNotFoundError("not cached")
            raise AssertionError("a download was begun")

        monkeypatch.setattr(HfApi, "model_info", model_info)
        monkeypatch.setattr("huggingface_hub.snapshot_download", download)

    return put


def test_a_local_model_is_measured_from_its_headers(tiny_model: Any, tiny_tokenizer: Any, tmp_path: Any) -> None:
    model = tiny_model("olmo2")
    model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    found = estimate_target(str(tmp_path))
    assert found.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.download == 0
    assert found.load < found.full
    assert found.fits
    assert "nothing to download" in found.sentences()[0]


def test_a_hub_model_is_measured_without_fetching_it(on_the_hub: Any) -> None:
    """Seven billion float32 numbers: 28 GB to fetch, and five copies to train them all."""
    on_the_hub(listing({"F32": 7_000_000_000}, {"model.safetensors": 28_000_000, "README.md": 10}))
    found = estimate_target("someone/large@main")
    assert (found.num_parameters, found.download) == (7_000_000_000, 28_000_000)
    assert found.default_adapter == "lora"
    assert found.full > 5 * 7e9 * 2
    assert found.lora < found.full / 3


def test_too_big_for_this_machine_is_said_before_the_download(on_the_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(listing({"BF16": 7_000_000_000}, {"model.safetensors": 14_000}))
    monkeypatch.setattr(module, "free_memory", lambda device: 10**9)
    assert "does not fit" in " ".join(estimate_target("someone/large").sentences())
    monkeypatch.setattr("unlearn_core.models.files.model_files.free_memory", lambda device: 10**9)
    with pytest.raises(ResourceError, match="needs about"):
        load_target("someone/large")


def response(error: type[Exception]) -> Exception:
    request = httpx.Request("GET", "https://hub.example/api/models/a/b")
    return error("no", response=httpx.Response(404, request=request))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError, "is gated"),
        (RepositoryNotFoundError, "is not on the Hub, or is private"),
        (RevisionNotFoundError, "has no such revision"),
    ],
)
def test_a_refusal_of_the_hub_says_what_to_do(error: type[Exception], words: str, on_the_hub: Any) -> None:
    on_the_hub(response(error))
    for ask in (estimate_target, load_target):
        with pytest.raises(InputError, match=words) as caught:
            ask("someone/model")
        assert caught.value.field == "target"


@pytest.mark.parametrize("ref", ["lume-1b", "lume-7b"])
def test_the_benchmarks_targets_say_what_they_need(ref: str, on_the_hub: Any) -> None:
    on_the_hub(listing({"F32": 1_176_764_416}, {"model.safetensors": 4_707_057_664}))
    told = " ".join(estimate_target(ref).sentences())
    assert "GPU" in told
    assert "4.7 GB to download" in told


def test_pickles_and_an_unreachable_hub_are_refused(on_the_hub: Any) -> None:
    on_the_hub(listing({}, {"pytorch_model.bin": 5}))
    with pytest.raises(InputError, match="no weights in safetensors"):
        estimate_target("someone/pickles")
    on_the_hub(HfHubHTTPError.__bases__[0]("no route"))  # its client's own error
    with pytest.raises(ResourceError, match="Hub cannot be reached"):
        estimate_target("someone/model")
    with pytest.raises(LetheError, match="offered here"):
        estimate_target("someone/model", public=True)


def test_a_model_that_loads_but_cannot_be_trained_says_so() -> None:
    found = DownloadEstimate("x", 10**9, 0, 4 * 10**9, 20 * 10**9, 5 * 10**9, 45 * 10**8, "cpu")
    assert not found.fits
    assert "probably run out of memory" in " ".join(found.sentences())
    assert hub.Unreachable("x").__reduce__()[0] is ResourceError
