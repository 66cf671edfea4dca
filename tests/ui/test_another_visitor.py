"""A public page, every endpoint tried by somebody else: nothing of another's is listed, changed or stopped,
nothing of the machine is named, and whoever has a run's link may read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unlearn_core.errors import InputError, LetheError
from unlearn_core.jobs import sweep
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.studio import Studio
from unlearn_core.store.audit_record import queue_audits
from unlearn_core.ui.api.model_endpoints import ModelEndpoints
from unlearn_core.ui.api.run_endpoints import RunEndpoints

ADA, BO = "a-secret-that-is-ada's", "a-secret-that-is-bo's"
FACTS = "facts:Where is Ada? => Oldport"


@pytest.fixture
def adas(public_studio: Studio) -> str:
    """A finished run of Ada's."""
    run = public_studio.submit(public_studio.choices.spec("demo", FACTS, "npo", {}), ADA)
    assert public_studio.worker.wait(run)
    return run


CHANGES: dict[str, Callable[[RunEndpoints, str, str], Any]] = {
    "stop": lambda api, run, owner: api.stop_run(run, owner),
    "finish": lambda api, run, owner: api.finish_run(run, owner),
    "resume": lambda api, run, owner: api.resume_run(run, owner),
    "rename": lambda api, run, owner: api.rename_run(run, "mine", owner),
    "tag": lambda api, run, owner: api.tag_run(run, ["mine"], owner),
    "delete": lambda api, run, owner: api.delete_run(run, owner),
    "audit": lambda api, run, owner: api.start_audits(run, None, 30.0, owner),
    "stop audits": lambda api, run, owner: api.stop_audits(run, owner),
    "push": lambda api, run, owner: api.push_to_hub(run, "a/b", owner=owner),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("owner", [BO, ""])
def test_nobody_changes_what_is_anothers(public_studio: Studio, adas: str, what: str, owner: str) -> None:
    with pytest.raises(InputError, match=r"here for you|public server"):
        CHANGES[what](RunEndpoints(public_studio), adas, owner)
    assert public_studio.store.get(adas).name == "npo"


def test_a_probe_is_saved_by_the_owner_only(public_studio: Studio, adas: str) -> None:
    api = ModelEndpoints(public_studio)
    with pytest.raises(InputError, match="here for you"):
        api.save_probe(adas, "Where?", owner=BO)
    assert api.save_probe(adas, "Where?", owner=ADA)["probe"]


@pytest.mark.parametrize("owner", [BO, ""])
def test_listings_are_private(public_studio: Studio, adas: str, owner: str) -> None:
    public_studio.store.create(RunSpec(name="the host's own"))  # made from the command line: nobody's token
    api = RunEndpoints(public_studio)
    assert api.list_runs(owner=owner) == {"runs": [], "total": 0}
    assert public_studio.store.values("method", owner) == []
    assert public_studio.store.list_runs(owner=owner) == []
    assert api.list_runs(owner=ADA)["total"] == 1


def test_audits_are_told_by_their_endpoint_and_the_status_stays_what_it_was(public_studio: Studio, adas: str) -> None:
    api, store = RunEndpoints(public_studio), public_studio.store
    told = api.run_status(adas)
    queue_audits(store, adas, 30.0)
    store.append(adas, ev.AuditsPlanned({"sampling": 1.0}, {}, 30.0, "hash"))
    after = api.run_status(adas, told["offset"])
    assert (after["status"], after["events"]) == ("finished", [])
    assert after["offset"] > told["offset"]
    found = api.audit_results(adas)
    assert (found["status"], found["planned"], found["budget_seconds"]) == ("running", {"sampling": 1.0}, 30.0)


def test_whoever_has_the_link_reads_and_an_unknown_run_looks_like_a_forbidden_one(
    public_studio: Studio, adas: str
) -> None:
    api = RunEndpoints(public_studio)
    assert api.run_status(adas)["status"] == "finished"
    assert api.scores(adas)["spec"]["data"] == FACTS
    assert api.audit_results(adas) == {"status": "none"}
    with pytest.raises(InputError) as forbidden:
        api.stop_run(adas, BO)
    with pytest.raises(InputError) as unknown:
        api.stop_run("x" * 22, BO)
    assert str(forbidden.value).replace(adas, "") == str(unknown.value).replace("x" * 22, "")


def test_a_guessed_sweep_is_neither_seen_nor_stopped(public_studio: Studio, adas: str) -> None:
    tag = "sweep abcdef"
    public_studio.store.label(adas, ADA, tags=[tag])
    api = RunEndpoints(public_studio)
    for act in (api.sweep_status, api.stop_sweep):
        for owner in (BO, ""):
            with pytest.raises(InputError) as caught:
                act(tag, owner)
            assert adas not in str(caught.value)
    assert sweep.state(public_studio.store, tag, public_studio.mine(ADA)).done == 1


def test_a_run_of_the_host_is_nobody_elses(public_studio: Studio) -> None:
    run = public_studio.store.create(RunSpec()).id
    for owner in (None, "", BO):
        with pytest.raises(InputError, match="here for you"):
            public_studio.store.delete(run, owner)


@pytest.mark.parametrize("owner", ["", "short"])
def test_a_run_needs_a_secret_that_nobody_guesses(public_studio: Studio, owner: str) -> None:
    with pytest.raises(InputError, match="16 or more random characters"):
        RunEndpoints(public_studio).start_run(owner=owner)


def test_what_was_deleted_is_told_no_more(public_studio: Studio, adas: str) -> None:
    assert public_studio.live.story(adas).num_events
    public_studio.store.delete(adas, ADA)
    with pytest.raises(InputError, match="here for you"):
        public_studio.live.view(adas)


@pytest.mark.parametrize("place", ["/etc", "lume-1b", "nobody/nothing", "{runs}/../..", "{runs}/x", "~", "."])
def test_no_endpoint_reads_a_path_or_fetches_a_model(
    public_studio: Studio, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def network(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", network)
    ref = place.format(runs=public_studio.store.runs)
    models, runs = ModelEndpoints(public_studio), RunEndpoints(public_studio)
    tried: dict[str, Callable[[], Any]] = {
        "generate": lambda: models.generate("Where?", target=ref),
        "inspect": lambda: models.inspect_answer("Where?", "Here", target=ref),
        "ways": lambda: models.ask_ways("Where?", "Here", target=ref),
        "template": lambda: public_studio.answers.has_template("", ref),
        "needs": lambda: models.target_needs(ref),
        "estimate": lambda: models.estimate(target=ref),
        "estimate data": lambda: models.estimate(data=ref),
        "run": lambda: runs.start_run(target=ref, owner=ADA),
        "preview": lambda: models.preview_data(ref),
        "columns": lambda: public_studio.data.columns(ref),
        "retain": lambda: models.preview_data(FACTS, retain_data=ref),
        "mmlu": lambda: models.preview_data(FACTS, mmlu=ref),
    }
    monkeypatch.setattr(public_studio, "spend", lambda *_: None)
    for name, act in tried.items():
        with pytest.raises(LetheError) as caught:
            act()
        assert "offered here" in str(caught.value), name
    note = public_studio.choices.target_note(ref)
    assert "is not one of the models offered here" in note


def test_a_run_of_strangers_may_not_wipe_a_model(public_studio: Studio, adas: str) -> None:
    with pytest.raises(InputError, match="no wiped model here"):
        public_studio.score_wiped(adas)
