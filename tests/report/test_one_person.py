"""The leaderboard of one person: figures as they were measured, failures said."""

from __future__ import annotations

from golden_page import assert_golden

from unlearn_core.report.runs.subject_boards import PERSON_KIND, person_source, person_table

FIGURES = {"told": 0.04, "reworded": 0.0, "kept": 0.975, "others": 1.0, "utility": 1.0, "seconds": 8.04}


def board() -> dict[str, object]:
    figures = {name: {"mean": value, "spread": 0.0} for name, value in FIGURES.items()}
    return {
        "kind": PERSON_KIND,
        "made": "2026-01-01",
        "versions": {"torch": "2"},
        "weights": {"original": "ab" * 32},
        "people": ["Ada Bell", "Bo Crane"],
        "methods": [
            {"method": "npo", "num_runs": 2, "num_met": 1, "settings": {}, "figures": figures},
            {"method": "eul", "num_runs": 0, "settings": {}, "figures": {}, "failure": "finds nothing <to> train"},
        ],
    }


def test_the_table_has_every_method_with_its_figures_or_why_it_has_none() -> None:
    assert_golden("one_person", person_source(board()), person_table(board()))


def test_a_method_of_which_fewer_audits_leak_comes_first() -> None:
    rows = [
        {"method": name, "num_runs": 1, "num_met": 1, "settings": {}, "figures": {}, "failure": "none"}
        | {"audits": {"settings": {}, "seeds": {"0": {"made": "2026-01-02", "applied": 9, "leaks": leaks}}}}
        for name, leaks in (("npo", ["probes"]), ("rmu", []))
    ]
    shown = person_table(board() | {"methods": [*rows, {**rows[1], "method": "dpo", "settings": {"steps": 9}}]})
    assert shown.index("rmu") < shown.index("npo") < shown.index("dpo")
