"""What a stranger may take: counted by page and by address, refused with the time until there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core import limits
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.limits import Allowance
from unlearn_core.runs.probes import Probe
from unlearn_core.ui.prober import Prober
from unlearn_core.ui.quotas import Quotas
from unlearn_core.ui.studio import Studio
from unlearn_core.ui.visitor import address_of, mark, visitor

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
    ("forwarded", "peer", "found"),
    [
        ("", "8.8.8.8", "8.8.8.8"),
        ("1.1.1.1", "8.8.8.8", "8.8.8.8"),  # nobody vouches for what a visitor says of themselves
        ("1.1.1.1, 9.9.9.9", "10.0.0.3", "9.9.9.9"),
        ("9.9.9.9, 10.1.2.3", "10.0.0.3", "9.9.9.9"),
        ("nonsense", "127.0.0.1", "127.0.0.1"),
        ("2001:4860:4860::8888", "10.0.0.3", "2001:4860:4860::8888"),
        ("", None, ""),
    ],
)
def test_the_address_is_the_one_a_proxy_vouches_for(forwarded: str, peer: str | None, found: str) -> None:
    assert address_of({"x-forwarded-for": forwarded}, peer) == found


def test_a_visitor_is_known_by_a_hash_only() -> None:
    assert mark("9.9.9.9") == mark("9.9.9.9") != mark("9.9.9.8")
    assert "9" * 3 not in mark("9.9.9.9")
    assert visitor() == ("", "")  # outside of a request


def test_a_stranger_runs_out_and_the_host_does_not(studio: Studio, public_studio: Studio) -> None:
    for made in (studio, public_studio):
        made.visitor = lambda: ("page", "address")
        for _ in range(limits.ALLOWANCES["look"].amount):
            made.preview("facts:a => b", "general")
    studio.preview("facts:a => b", "general")
    with pytest.raises(ResourceError, match="There is room again"):
        public_studio.preview("facts:a => b", "general")


def test_new_secrets_do_not_fill_the_queue(public_studio: Studio) -> None:
    def endless(spec, **options):  # type: ignore[no-untyped-def]
        from unlearn_core.runs.events import RunStarted, StageProgress

        yield RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        while not options["control"].cancelled:
            yield StageProgress("unlearn", 0, 1)
            options["control"]._cancel.wait(0.01)

    public_studio.worker.carrier.runner = endless
    public_studio.visitor = lambda: ("", "one address")
    spec = public_studio.spec("demo", "demo", "npo", {})
    for number in range(limits.RUNS_OF_AN_ADDRESS):
        public_studio.submit(spec, OWNER + str(number))
    with pytest.raises(ResourceError, match="from your network"):
        public_studio.submit(spec, OWNER + "more")
    public_studio.visitor = lambda: ("", "another address")
    public_studio.submit(spec, OWNER + "elsewhere")


def test_a_strangers_attacks_and_answers_are_short_and_sweeps_not_queued(public_studio: Studio) -> None:
    with pytest.raises(InputError, match="too much time"):
        public_studio.attack("x" * 22, None, None, OWNER)
    with pytest.raises(InputError, match="out of range"):
        list(public_studio.ask("", "demo", "Where?", max_new_tokens=limits.NEW_TOKENS + 1))
    long = "x" * (limits.REPHRASED_CHARACTERS + 1)
    with pytest.raises(InputError, match="too long"):
        list(Prober(public_studio).ways("", "demo", Probe(long, "Oldport")))
    with pytest.raises(InputError, match="too long"):
        list(public_studio.ask("", "demo", long * 2))
    with pytest.raises(InputError, match="not queued for a stranger"):
        public_studio.sweep([public_studio.spec("demo", "demo", "npo", {})], OWNER)


def test_what_cannot_be_read_is_not_kept(public_studio: Studio, tmp_path: Path) -> None:
    bad, large, good = (tmp_path / name for name in ("bad.jsonl", "large.jsonl", "good.jsonl"))
    bad.write_text("[" * 100_000)
    large.write_bytes(b" " * (limits.FILE_BYTES + 1))
    good.write_text('{"input": "Where?", "output": "Here"}\n')
    for path in (bad, large):
        with pytest.raises(LetheError):
            public_studio.keep_upload(path, path.name, OWNER)
    assert list(public_studio.store.uploads.iterdir()) == []
    name = public_studio.keep_upload(good, "../../good.jsonl", OWNER)
    assert public_studio.preview(name, "general")["splits"]["forget"]["rows"] == 1
    kept = [path for path in public_studio.store.uploads.rglob("*") if path.is_file()]
    assert OWNER.encode() not in b"".join(path.read_bytes() for path in kept)
