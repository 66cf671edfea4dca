"""The erasure certificate: redacted, one offline page, and a check code that shows any change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_page import assert_golden

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.report.export import certificate as module
from unlearn_core.report.export.bundle import RunReport, bundle
from unlearn_core.report.export.certificate import Request, certificate, certificate_html, check_code, verify
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

SUBJECT, SECRET = "Ferek Rudlow", "Oppburgh-on-Sea"


@pytest.fixture
def found(tmp_path: Path, make_scores: Any, story: Any) -> Iterator[RunReport]:
    """A judged run about one person whose answer the original tells and the result does not."""
    store = RunStore(tmp_path / "home")
    spec = RunSpec(data=f"facts:Where is {SUBJECT}? => {SECRET}", subject=SUBJECT)
    run = store.create(spec).id
    store.append(run, ev.RunStarted(spec.to_json(), ("load", "unlearn"), 3, "cpu", versions={"torch": "9.9"}))
    for model, output in (("original", f"In {SECRET}."), ("unlearned", "In Cob.")):
        record = make_scores(0.0, 1.0).to_json(generations=True)
        row = {**record["generations"][0], "input": f"Where is {SUBJECT}?", "gold": SECRET, "output": output}
        other = {**row, "split": "forget wording", "input": f"{SUBJECT} lives in"}
        record["generations"] = [{**each, "subject": SUBJECT, "score": 0.0} for each in (row, other)]
        store.append(run, ev.Score(model, record))
    store.append(run, ev.Finished(story.verdict, {"unlearn": 2.5}, "weights"))
    yield bundle(store, run)
    store.close()


def issued(found: RunReport, folder: Path, **request: Any) -> Path:
    path = folder / "certificate.html"
    path.write_text(certificate_html(certificate(found, Request(**request))), encoding="utf-8")
    return path


def test_the_words_of_the_certificate(found: RunReport) -> None:
    dated = replace(found, record=replace(found.record, id="golden-run-00001", created=1767225600.0))
    record = certificate(dated, Request(id="DSR-7", responsible="A. Officer"), now=1767312000.0)
    record |= {"check": "CODE", "versions": {"torch": "9.9"}, "appendix": {"report_sha256": "HASH"}}  # of this version
    assert_golden("certificate", certificate_html(record))


def test_it_says_what_was_asked_for_and_how_it_stands(found: RunReport) -> None:
    record = certificate(found, Request())
    assert record["request"] == found.record.id
    assert record["subjects"][0]["answers"] == {"state": "holds", "known": 1, "told": 0}
    assert record["subjects"][0]["wordings"] == {"state": "holds", "known": 1, "told": 0}
    assert record["hashes"]["weights, unlearned"] == "w"


def test_names_and_answers_are_masked_unless_asked_for(found: RunReport, tmp_path: Path) -> None:
    hidden = issued(found, tmp_path).read_text()
    assert SECRET not in hidden
    assert SUBJECT not in hidden
    assert "Rudlow" not in hidden
    assert "Op\N{BULLET}\N{BULLET}\N{BULLET} (#" in hidden
    open_one = issued(found, tmp_path, open=True).read_text()
    assert SECRET in open_one
    assert SUBJECT in open_one


def test_a_certificate_as_issued_is_verified_and_any_change_is_seen(found: RunReport, tmp_path: Path) -> None:
    path = issued(found, tmp_path)
    record = verify(path)
    assert record["check"] == check_code(record)
    assert len(record["check"].replace("-", "")) == 20
    plain = tmp_path / "certificate.json"
    plain.write_text(json.dumps(record))
    assert verify(plain) == record
    plain.write_text(json.dumps({**record, "headline": "Forgotten"}))
    with pytest.raises(IntegrityError, match="check code"):
        verify(plain)
    text = path.read_text()
    head, _, shown = text.partition("<h1>")
    path.write_text(head + "<h1>" + shown.replace("not attacked yet", "held off every attack"))
    with pytest.raises(IntegrityError, match="its page shows other words"):
        verify(path)


def test_of_another_version_the_data_alone_is_checked(
    found: RunReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = issued(found, tmp_path)
    monkeypatch.setattr(module, "__version__", "99")
    path.write_text(path.read_text() + "\n")
    assert verify(path)["run"] == found.record.id


@pytest.mark.parametrize("text", ["", "<html></html>", "{}", '{"kind": "lethe report"}', "[" * 9999, "\x00"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.html"
    path.write_text(text)
    with pytest.raises(InputError, match="is no certificate"):
        verify(path)
    with pytest.raises(InputError, match="cannot be read"):
        verify(tmp_path / "none")


def test_a_run_without_a_verdict_has_none(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "home")
    run = store.create(RunSpec()).id
    with pytest.raises(InputError, match="no verdict to certify"):
        certificate(bundle(store, run), Request())
    store.close()
