"""The page's actions as another program sees them, over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

FACTS = "facts:Where is Ada? => Oldport\nWho is Bo? => a baker"


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    from gradio_client import Client

    return Client(server, verbose=False)


def test_methods_are_listed_with_their_settings(client: Any) -> None:
    methods = {entry["name"]: entry for entry in client.predict(api_name="/list_methods")}
    assert {"lethe", "npo", "grad_ascent"} <= set(methods)
    assert methods["npo"]["parameters"]


def test_a_run_is_started_followed_and_read(client: Any, tiny_target: str) -> None:
    form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 2}}
    run = client.predict(**form, owner="a secret of mine", api_name="/start_run")["run_id"]
    events, offset, told = [], 0, {"status": "queued"}
    deadline = time.monotonic() + 60
    while told["status"] in ("queued", "running") and time.monotonic() < deadline:
        told = client.predict(run, offset, api_name="/run_status")
        offset = told["offset"]
        events += told["events"]
        time.sleep(0.2)
    assert told["status"] == "finished", events[-1]
    assert [event["step"] for event in events if event["event"] == "Step"] == [1, 2]
    result = client.predict(run, api_name="/scores")
    assert {"original", "unlearned"} <= set(result["scores"])
    assert result["verdict"]["label"]


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("method", {"method": "no-such"}),
        ("steps", {"settings": {"steps": -1}}),
        ("settings", {"settings": {"no_such": 1}}),
    ],
)
def test_a_wrong_field_is_named_to_the_caller(client: Any, field: str, form: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=field):
        client.predict(**form, api_name="/start_run")


def test_a_strangers_run_cannot_be_stopped_and_looks_like_none(client: Any, tiny_target: str) -> None:
    form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 2}}
    run = client.predict(**form, owner="mine", api_name="/start_run")["run_id"]
    with pytest.raises(Exception, match="is not a run that is here for you"):
        client.predict(run, "yours", api_name="/stop_run")
    with pytest.raises(Exception, match="is not a run that is here for you"):
        client.predict("no-such-run-at-all", "yours", api_name="/stop_run")


def test_the_page_documents_itself(server: str) -> None:
    import httpx

    told = httpx.get(f"{server}/gradio_api/openapi.json", timeout=20)
    assert told.status_code == 200
    assert "start_run" in told.text
