"""What a stranger may take: counted by page and by address, refused with the time until there is room."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from gradio.context import LocalContext
from starlette.requests import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from unlearn_core import limits
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.limits import Allowance
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import Sampling
from unlearn_core.service.prober import Prober
from unlearn_core.service.quotas import Quotas
from unlearn_core.service.studio import Studio
from unlearn_core.store.saved_probes import SavedProbe
from unlearn_core.ui.api.model_endpoints import ModelEndpoints
from unlearn_core.ui.web.visitor import mark, network, proxies_trusted, visitor

OWNER = "a-secret-nobody-guesses"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_there_is_room_again_when_the_message_says() -> None:
    clock = Clock()
    quotas = Quotas({"run": Allowance("runs", 2, 3600)}, clock)
    quotas.take("run", "ada", "home")
    clock.now += 600
    quotas.take("run", "ada", "home")
    with pytest.raises(ResourceError, match=r"runs \(2 an hour\): are used up.*room again in 51 min"):
        quotas.take("run", "ada", "home")
    quotas.take("run", "bo", "home")
    clock.now += 51 * 60
    quotas.take("run", "ada", "home")
    with pytest.raises(ResourceError):
        quotas.take("run", "ada", "home")


def test_one_address_with_ever_new_pages_is_held_too() -> None:
    quotas = Quotas({"run": Allowance("runs", 2, 60)}, Clock())
    for number in range(2 * limits.PER_ADDRESS):
        quotas.take("run", f"page {number}", "home")
    with pytest.raises(ResourceError, match="your network's"):
        quotas.take("run", "another page", "home")
    quotas.take("run", "another page", "elsewhere")


def test_bytes_are_counted_and_what_never_fits_says_so() -> None:
    quotas = Quotas({"upload": Allowance("bytes of uploads", 100, 60)}, Clock())
    quotas.take("upload", "ada", "home", 60)
    with pytest.raises(ResourceError, match="room again in 61 s"):
        quotas.take("upload", "ada", "home", 60)
    quotas.take("upload", "ada", "home", 40)
    with pytest.raises(ResourceError, match="more than there ever is"):
        quotas.take("upload", "bo", "home", 101)


def test_who_took_nothing_of_late_is_forgotten() -> None:
    clock = Clock()
    quotas = Quotas({"run": Allowance("runs", 5, 60)}, clock)
    for number in range(2500):
        quotas.take("run", "", f"address {number}") if number % 25 == 0 else None
        clock.now += 1
    for _ in range(1000):
        clock.now += 61
        quotas.take("run", "", "home")
    assert len(quotas._taken) <= 2


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),  # one subscriber has all of these
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2002:808:808:1::5", "8.8.8.8"),
        ("2002:808:808:2::5", "8.8.8.8"),
        ("64:ff9b::808:808", "8.8.8.8"),
        ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", "8.8.8.8"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_counts_as_what_one_subscriber_has(address: str, found: str) -> None:
    assert network(address) == found


@pytest.mark.parametrize(
    ("setting", "space", "peer", "found"),
    [
        (None, "", "10.0.0.3", "10.0.0.3"),  # nobody vouches for what a visitor says of themselves
        (None, "", "127.0.0.1", "127.0.0.1"),
        (None, "owner/lethe", "10.0.0.3", "9.9.9.9"),
        ("10.0.0.0/24", "", "10.0.0.3", "9.9.9.9"),
        ("10.0.0.0/24", "", "10.0.1.3", "10.0.1.3"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_comes_from(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, space: str, peer: str, found: str
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.setenv("SPACE_ID", space)
    if setting is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", setting)
    with proxies_trusted():
        trusted = uvicorn.Config("nothing:app").forwarded_allow_ips
    assert os.environ.get("FORWARDED_ALLOW_IPS") == setting
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", b"1.1.1.1, 9.9.9.9")]}
    asyncio.run(ProxyHeadersMiddleware(app, trusted)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [found]


def test_the_last_of_what_all_have_is_for_addresses_that_took_little() -> None:
    quotas = Quotas({"run": Allowance("runs", 2, 60)}, Clock())
    for number in range(2 * (limits.EVERYBODY - limits.KEPT_SHARES)):
        quotas.take("run", "", f"greedy {number // 8}")
    with pytest.raises(ResourceError, match="all visitors'"):
        quotas.take("run", "", "greedy 0")
    for number in range(2 * limits.KEPT_SHARES):
        quotas.take("run", "", f"somebody else {number // 2}")
    with pytest.raises(ResourceError, match="all visitors'"):
        quotas.take("run", "", "too late")


def test_a_thousand_small_takings_are_kept_as_few() -> None:
    clock = Clock()
    quotas = Quotas({"upload": Allowance("bytes of uploads", 10**6, 60)}, clock)
    for _ in range(1_000):
        quotas.take("upload", "", "home", 10)
        clock.now += 0.02
    assert len(quotas._taken["upload", "your network's", "home"].parts) <= 21
    assert quotas._taken["upload", "your network's", "home"].total == 10_000
    clock.now += 61
    quotas.take("upload", "", "home", 5)
    assert quotas._taken["upload", "your network's", "home"].total == 5


def test_room_is_asked_for_and_not_taken() -> None:
    quotas = Quotas({"upload": Allowance("bytes of uploads", 100, 60)}, Clock())
    for _ in range(20):
        quotas.take("upload", "", "home", 0, room=100)
    quotas.take("upload", "", "home", 450)
    with pytest.raises(ResourceError, match="your network's"):
        quotas.take("upload", "", "home", 0, room=100)


def test_a_visitor_is_known_by_a_hash_only() -> None:
    assert mark("9.9.9.9") == mark("9.9.9.9") != mark("9.9.9.8")
    assert "9" * 3 not in mark("9.9.9.9")
    assert visitor() == ("", "")  # outside of a request


def test_a_call_without_a_page_is_counted_by_its_address() -> None:
    """As the tools of the Model Context Protocol are called: with the plain request."""
    scope = {"type": "http", "headers": [], "client": ("9.9.9.9", 1)}
    token = LocalContext.request.set(Request(scope))
    try:
        assert visitor() == ("", mark("9.9.9.9"))
    finally:
        LocalContext.request.reset(token)


def test_a_stranger_runs_out_and_the_host_does_not(studio: Studio, public_studio: Studio) -> None:
    for made in (studio, public_studio):
        made.visitor = lambda: ("page", "address")
        made.quotas = Quotas({"look": Allowance("looks", 1, 60)})
        made.data.preview("facts:a => b", "general")
    studio.data.preview("facts:a => b", "general")
    with pytest.raises(ResourceError, match="There is room again"):
        public_studio.data.preview("facts:a => b", "general")


def test_whoever_makes_the_server_read_rows_is_counted(public_studio: Studio) -> None:
    """By whatever door: the subjects of a choice, a forecast, an estimate, and the facts of a run."""
    public_studio.worker.submit = lambda *given: "x" * 22  # type: ignore[method-assign,assignment]
    public_studio.visitor = lambda: ("page", "address")
    run = public_studio.store.create(RunSpec(data="facts:a => b")).id
    prober, estimate = Prober(public_studio), ModelEndpoints(public_studio).estimate
    doors: dict[str, Callable[[str], object]] = {
        "subjects": public_studio.choices.subjects,
        "forecast": lambda data: public_studio.choices.forecast("demo", data, "npo", {}),
        "estimate": lambda data: estimate(data=data, method="npo"),
    }
    for name, door in doors.items():
        public_studio.quotas = Quotas({"look": Allowance("looks", 1, 60)})
        door(f"facts:a => {name}")
        with pytest.raises(ResourceError, match="looks"):
            public_studio.spend("look")
    with pytest.raises(ResourceError, match="looks"):
        prober.facts(run, "forget")


def test_new_secrets_do_not_fill_the_queue(public_studio: Studio) -> None:
    def endless(spec, **options):  # type: ignore[no-untyped-def]
        from unlearn_core.runs.events import RunStarted, StageProgress

        yield RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        while not options["control"].cancelled:
            yield StageProgress("unlearn", 0, 1)
            time.sleep(0.01)

    public_studio.worker.carrier.runner = endless
    public_studio.visitor = lambda: ("", "one address")
    spec = public_studio.choices.spec("demo", "demo", "npo", {})
    for number in range(limits.RUNS_OF_AN_ADDRESS):
        public_studio.submit(spec, OWNER + str(number))
    with pytest.raises(ResourceError, match="from your network"):
        public_studio.submit(spec, OWNER + "more")
    public_studio.visitor = lambda: ("", "another address")
    public_studio.submit(spec, OWNER + "elsewhere")


def test_the_last_places_of_the_queue_are_for_addresses_that_have_none(public_studio: Studio) -> None:
    public_studio.worker.submit = lambda *given: "x" * 22  # type: ignore[method-assign,assignment]
    public_studio.worker.position = lambda run: 1  # type: ignore[method-assign,assignment]
    spec = public_studio.choices.spec("demo", "demo", "npo", {})
    public_studio.visitor = lambda: ("", "one address")
    public_studio.submit(spec, OWNER)
    public_studio.worker.capacity = limits.PLACES_KEPT  # as where all others are taken
    with pytest.raises(ResourceError, match="for visitors who have none"):
        public_studio.submit(spec, OWNER + "more")
    public_studio.visitor = lambda: ("", "another address")
    public_studio.submit(spec, OWNER + "elsewhere")


def test_a_strangers_attacks_and_answers_are_short_and_sweeps_not_queued(public_studio: Studio) -> None:
    with pytest.raises(InputError, match="too much time"):
        public_studio.attack("x" * 22, None, None, OWNER)
    with pytest.raises(InputError, match="out of range"):
        list(public_studio.ask("", "demo", "Where?", Sampling(limits.NEW_TOKENS + 1)))
    long = "x" * (limits.REPHRASED_CHARACTERS + 1)
    with pytest.raises(InputError, match="too long"):
        list(Prober(public_studio).ways("", "demo", SavedProbe(long, "Oldport")))
    with pytest.raises(InputError, match="too long"):
        list(public_studio.ask("", "demo", long * 2))
    with pytest.raises(InputError, match="not queued for a stranger"):
        public_studio.sweep([public_studio.choices.spec("demo", "demo", "npo", {})], OWNER)


def test_what_cannot_be_read_is_not_kept(public_studio: Studio, tmp_path: Path) -> None:
    bad, large, good = (tmp_path / name for name in ("bad.jsonl", "large.jsonl", "good.jsonl"))
    bad.write_text("[" * 100_000)
    large.write_bytes(b" " * (limits.FILE_BYTES + 1))
    good.write_text('{"input": "Where?", "output": "Here"}\n')
    for path in (bad, large):
        with pytest.raises(LetheError):
            public_studio.data.keep_upload(path, path.name, OWNER)
    assert list(public_studio.store.uploads.iterdir()) == []
    name = public_studio.data.keep_upload(good, "../../good.jsonl", OWNER)
    assert public_studio.data.preview(name, "general", owner=OWNER)["splits"]["forget"]["rows"] == 1
    kept = [path for path in public_studio.store.uploads.rglob("*") if path.is_file()]
    assert OWNER.encode() not in b"".join(path.read_bytes() for path in kept)
