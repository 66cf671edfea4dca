"""Some of the cases of `benchmarks/fuzz.py`, sent to a real public server: words for each, and no fault."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearn_core import limits
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

pytestmark = pytest.mark.slow

CASES = 150
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A public server without quotas, since all cases come from one address."""
    from unlearn_core.ui.app import launch

    with pytest.MonkeyPatch.context() as patch:
        for kind, one in limits.ALLOWANCES.items():
            patch.setitem(limits.ALLOWANCES, kind, limits.Allowance(one.title, 10**15, one.seconds))
        patch.setattr("unlearn_core.ui.app._warm_up", lambda studio: None)
        page = launch(home=tmp_path / "home", public=True, block=False)
        yield str(page.local_url).rstrip("/")
        page.close()


def test_whatever_is_sent_is_answered_in_words(served: str, tmp_path: Path, request: Any) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    request.addfinalizer(lambda: sys.path.remove(str(BENCHMARKS)))
    from fuzz import OWNER, Attacker, attack, faults

    store = RunStore(tmp_path / "home")
    run = store.create(RunSpec(method="npo", data="facts:a => b"), OWNER).id
    store.append(run, ev.Finished({"label": "unchanged"}, {}))
    attacker = Attacker(served, run, OWNER, secrets=(str(tmp_path),))
    attack(attacker, CASES, number=20261124)
    sent = sum(len(tally.seconds) for tally in attacker.tallies.values())
    findings = [finding for tally in attacker.tallies.values() for finding in tally.findings]
    findings = [finding for finding in findings if not finding.startswith("took")]  # machines differ
    assert sent >= CASES
    assert findings == []
    assert faults(tmp_path / "home" / "log") == []
