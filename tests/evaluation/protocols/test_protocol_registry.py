"""Every benchmark is a complete entry, and a run is scored by the one whose data it has."""

from __future__ import annotations

import pytest

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.registry import PROTOCOLS, get_protocol, protocol_for


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_says_what_it_is(name: str) -> None:
    protocol = get_protocol(name)
    assert protocol.name == name
    assert "arXiv" in protocol.source
    assert protocol.conventions[0] == "lethe"
    assert protocol.convention(None) == "lethe"


def test_the_data_says_by_which_benchmark_a_run_is_scored(tiny_data: UnlearningData) -> None:
    assert protocol_for("auto", tiny_data) is None
    assert protocol_for("semeval", tiny_data) is None
    rows = (Example("1", "Who?", "Ada", wrong=("Bo",)),)
    tofu = UnlearningData("t", rows, evaluation_sets={"real_authors": rows})
    found = protocol_for("auto", tofu)
    assert found is not None
    assert found.name == "tofu"
    assert protocol_for("semeval", tofu) is None
    passages = protocol_for("auto", UnlearningData("m", rows, evaluation_sets={"verbmem": rows}))
    assert passages is not None
    assert passages.name == "muse"
    with pytest.raises(InputError, match="Use one of tofu"):
        protocol_for("glue", tofu)
