"""The page's actions as another program sees them, over HTTP."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
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


@pytest.fixture(scope="module")
def run(client: Any, tiny_target: str) -> str:
    """A finished run whose weights are kept, owned by "mine"."""
    form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 2}}
    found = client.predict(**form, owner="mine", api_name="/start_run")["run_id"]
    assert until_over(client, found)[-1]["event"] == "Finished"
    return str(found)


def until_over(client: Any, run: str) -> list[dict[str, Any]]:
    """The events of a run, polled until it is over."""
    events, offset, told = [], 0, {"status": "queued"}
    deadline = time.monotonic() + 60
    while told["status"] in ("queued", "running") and time.monotonic() < deadline:
        told = client.predict(run, offset, api_name="/run_status")
        offset = told["offset"]
        events += told["events"]
        time.sleep(0.1)
    assert told["status"] not in ("queued", "running")
    return events


def test_a_run_is_started_followed_and_read(client: Any, run: str) -> None:
    events = until_over(client, run)
    assert [event["step"] for event in events if event["event"] == "Step"] == [1, 2]
    result = client.predict(run, api_name="/scores")
    assert {"original", "unlearned"} <= set(result["scores"])
    assert result["verdict"]["word"]


def test_runs_are_named_tagged_found_and_deleted(client: Any, tiny_target: str) -> None:
    form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 1}}
    found = client.predict(**form, owner="mine", api_name="/start_run")["run_id"]
    until_over(client, found)
    assert client.predict(found, "Ada forgets", "mine", api_name="/rename_run")["name"] == "Ada forgets"
    assert client.predict(found, ["kept aside"], "mine", api_name="/tag_run")["tags"] == ["kept aside"]
    listed = client.predict(tag="kept aside", api_name="/list_runs")
    assert (listed["total"], listed["runs"][0]["name"]) == (1, "Ada forgets")
    assert client.predict(found, "another browser's", api_name="/delete_run")["deleted"]  # on one's own machine
    assert client.predict(tag="kept aside", api_name="/list_runs")["total"] == 0
    with pytest.raises(Exception, match="is not a column"):
        client.predict(sort="colour", api_name="/list_runs")


def test_a_sweep_is_queued_followed_and_its_runs_compared(client: Any, tiny_target: str) -> None:
    form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 1}}
    grid = {"learning_rate": [1e-4, 1e-3]}
    told = client.predict(**form, grid=grid, seeds=[0, 1], owner="mine", api_name="/sweep")
    assert len(told["runs"]) == 4
    for row in told["runs"]:
        until_over(client, row["id"])
    assert client.predict(told["tag"], "mine", api_name="/sweep_status")["over"]
    first, second = told["runs"][0]["id"], told["runs"][2]["id"]
    compared = client.predict([first, second], api_name="/compare_runs")
    assert [row["seeds"] for row in compared["runs"]] == [[0, 1], [0, 1]]
    assert [row["name"] for row in compared["settings"] if row["differs"]] == ["name", "learning_rate"]
    took = next(row for row in compared["scores"] if row["measure"] == "seconds")
    assert took["means"][0]["num"] == 2
    assert client.predict(told["tag"], "mine", api_name="/stop_sweep")["stopped"] == 0
    with pytest.raises(Exception, match="learning_rate"):
        client.predict(**form, grid={"learning_rate": ["fast"]}, api_name="/sweep")


def test_a_report_and_the_weights_arrive_as_files(client: Any, run: str) -> None:
    html = Path(client.predict(run, api_name="/report"))
    assert "Oldport" in html.read_text()
    assert json.loads(Path(client.predict(run, "json", api_name="/report")).read_text())["run"] == run
    with zipfile.ZipFile(client.predict(run, api_name="/export")) as packed:
        assert any(name.endswith("model.safetensors") for name in packed.namelist())
    with pytest.raises(Exception, match="is not what this run trained"):
        client.predict(run, "adapter", api_name="/export")
    with pytest.raises(Exception, match="HF_TOKEN"):
        client.predict(run, "me/gone", owner="mine", api_name="/push_to_hub")


def test_the_models_of_a_run_are_asked_and_looked_into(client: Any, run: str) -> None:
    sampling = {"max_new_tokens": 4, "temperature": 1.0, "seed": 3}
    said = client.predict("Where is Ada?", run, **sampling, api_name="/generate")
    assert said == client.predict("Where is Ada?", run, **sampling, api_name="/generate")
    assert set(said) == {"original", "unlearned"}
    asked = client.predict([run], "Where is Ada?", max_new_tokens=4, api_name="/ask_runs")
    assert set(asked) == {"original", run}
    fact = client.predict(run, api_name="/list_facts")[0]
    seen = client.predict(fact["prompt"], fact["answer"], run, api_name="/inspect_answer")
    assert 0 < seen["unlearned"]["probability"] < 1
    assert len(seen["original"]["tokens"]) == len(seen["unlearned"]["tokens"])
    ways = client.predict(fact["prompt"], fact["answer"], run, api_name="/ask_ways")
    assert len(ways["original"]) == len(ways["unlearned"]) > 1
    link = client.predict(run, fact["prompt"], fact["answer"], "mine", api_name="/save_probe")["link"]
    assert link.startswith(f"?run={run}&probe=")


def test_data_is_sent_and_looked_at_and_a_run_is_estimated(client: Any, tiny_target: str) -> None:
    rows = "".join(json.dumps({"question": f"q{i}", "answer": f"a{i}"}) + "\n" for i in range(3))
    data = client.predict(rows, "mine.jsonl", api_name="/upload_data")["data"]
    columns = {"input": "question", "output": "answer"}
    shown = client.predict(data, columns=columns, api_name="/preview_data")
    assert shown["splits"]["forget"]["rows"] == 3
    assert shown["columns"] == ["question", "answer"]
    cost = client.predict(tiny_target, FACTS, "grad_ascent", {"steps": 2}, api_name="/estimate")
    assert cost["memory"] > 0
    assert client.predict(tiny_target, api_name="/target_needs")["fits"]
    assert client.predict(api_name="/list_targets")[0]["name"] == "demo"
    assert "relearning" in {audit["name"] for audit in client.predict(api_name="/list_audits")}


def test_a_run_that_is_over_is_not_resumed(client: Any, run: str) -> None:
    with pytest.raises(Exception, match="Only a run that was interrupted"):
        client.predict(run, "mine", api_name="/resume_run")


def test_a_run_is_attacked_and_its_wiped_model_scored(client: Any, run: str) -> None:
    assert client.predict(run, api_name="/audit_results")["status"] == "none"
    with pytest.raises(Exception, match="is not an audit"):
        client.predict(run, ["sorcery"], owner="mine", api_name="/start_audits")
    client.predict(run, ["beneath"], owner="mine", api_name="/start_audits")
    told, deadline = {"status": "queued"}, time.monotonic() + 60
    while told["status"] in ("queued", "running") and time.monotonic() < deadline:
        told = client.predict(run, api_name="/audit_results")
        time.sleep(0.1)
    assert told["status"] == "finished"
    assert client.predict(run, "mine", api_name="/stop_audits")["stopping"]
    wiped, scores = client.predict(run, api_name="/score_wiped"), client.predict(run, api_name="/scores")
    assert wiped["weights_hash"] != scores["scores"]["original"]["weights_hash"]
    assert wiped["data_fingerprint"] == scores["scores"]["original"]["data_fingerprint"]


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


def test_a_run_that_is_not_there_cannot_be_stopped(client: Any) -> None:
    with pytest.raises(Exception, match="is not a run that is here for you"):
        client.predict("no-such-run-at-all", "yours", api_name="/stop_run")


def test_the_page_documents_itself(server: str) -> None:
    import httpx

    told = httpx.get(f"{server}/gradio_api/openapi.json", timeout=20)
    assert told.status_code == 200
    assert "start_run" in told.text
