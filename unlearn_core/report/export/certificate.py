"""The erasure certificate: one page that says what was forgotten, of which weights, how that was tested and what was
not, with a check code that anybody can compute again. The long report is its appendix.

By default it tells no answer and no name: of each it shows the first letters and a hash, by which whoever knows it
finds it again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.evaluation.scores import Generation
from unlearn_core.evaluation.verdict import Layer, Verdict
from unlearn_core.evaluation.verdict.forget_layers import PLAYERS
from unlearn_core.evaluation.verdict.rows import is_told, of_splits
from unlearn_core.report.export.bundle import RunReport
from unlearn_core.report.export.page import offline_page, report_json
from unlearn_core.report.export.reproduce import command
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.table import pairs, table
from unlearn_core.report.run.layer_table import layer_table
from unlearn_core.report.run.verdict import said, tone_of
from unlearn_core.store.game.finds import TITLE
from unlearn_core.system.version import __version__

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson

CertificateJson = dict[str, Any]  # what a certificate says, as its page and its file carry it
KIND = "lethe certificate"
MAX_SUBJECTS, MAX_ANSWERS = 6, 4  # so that it stays one page
_SHOWN = 2  # letters of a masked word
_ANSWERS, _WORDINGS = ("forget",), ("forget paraphrase", "forget wording")
_SIGNS = {
    "holds": ("\N{CHECK MARK} not told", "good"),
    "leaks": ("! still told", "fair"),
    "unknown": ("= never known", "plain"),
    "not measured": ("? not asked", "plain"),
}
_LIMITS = (
    "Unlearning changes what a model says. No test proves that nothing is left in it.",
    "It was asked what is counted here and attacked as named here; other questions and attacks may get through.",
    "It is about the weights with the hash below. Copies of them, the original model and the data it was "
    "trained on are not erased by it.",
    "The check code shows that this page is as it was issued, not who issued it.",
)
_MASKED = "A hash lets whoever knows an answer find it here; a short answer can be guessed from it."


@dataclass(frozen=True)
class Request:
    """Who asked and who answers for it. id: of the request, the run's where empty. open: answers and names are
    told rather than masked."""

    id: str = ""
    responsible: str = ""
    open: bool = False


def certificate(found: RunReport, request: Request, now: float | None = None) -> CertificateJson:
    """The certificate of a judged run as data, its check code included. InputError for a run without a verdict."""
    if found.record.verdict is None:
        raise InputError("run", found.record.id, "has no verdict to certify", "Choose a finished run.")
    verdict = Verdict.from_json(found.record.verdict)
    hide = _Mask("" if request.open else found.record.id)
    subjects, rows = _subjects(found, hide), _answered(found)
    record = {
        "kind": KIND,
        "version": 1,
        "request": request.id.strip() or found.record.id,
        "responsible": request.responsible.strip() or "not named",
        "issued": _day(time.time() if now is None else now),
        "unlearned": _day(found.record.created),
        "run": found.record.id,
        "redacted": not request.open,
        "headline": verdict.headline,
        "word": verdict.word,
        "summary": said(verdict.summary),
        "layers": [{**layer, "reasons": []} for layer in verdict.to_json()["layers"]],
        "subjects": subjects[:MAX_SUBJECTS],
        "further_subjects": len(subjects[MAX_SUBJECTS:]),
        "answers": [_answer(row, after, hide) for row, after in rows[:MAX_ANSWERS]],
        "further_answers": len(rows[MAX_ANSWERS:]),
        "attacks": [{"name": str(row.get("name")), "verdict": str(row.get("verdict"))} for row in found.audits],
        "limits": [*_LIMITS, *_unmeasured(verdict), *(() if request.open else (_MASKED,))],
        "hashes": found.hashes,
        "versions": {"lethe": __version__, **found.versions},
        "command": command(_spec(found.spec, hide)),
        "appendix": {"report_sha256": hashlib.sha256(report_json(found).encode()).hexdigest()},
    }
    record = json.loads(json.dumps(record))  # as a reader of the file will have it
    return {**record, "check": check_code(record)}


def check_code(record: CertificateJson) -> str:
    """Twenty hexadecimal digits of the SHA-256 of all that the certificate says, in groups of four."""
    said = {name: value for name, value in record.items() if name != "check"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:20]
    return "-".join(digest[at : at + 4] for at in range(0, 20, 4))


def certificate_html(record: CertificateJson) -> str:
    """The certificate as one offline page that prints on one sheet; it carries its own data."""
    title = f"Erasure certificate {record['request']}"
    parts = [
        tag("header", tag("h1", "Erasure certificate"), pairs(_head(record)), class_="le-certificate-head"),
        _verdict(record),
        layer_table([Layer(**{**layer, "reasons": tuple(layer["reasons"])}) for layer in record["layers"]]),
        _told_of_subjects(record),
        _told_of_answers(record),
        tag("p", tag("strong", "Attacks: "), _attacks(record["attacks"])),
        tag("h2", "What this does not say"),
        tag("ul", *(tag("li", words) for words in record["limits"])),
        tag("h2", "What it is about"),
        pairs({**record["hashes"], "versions": ", ".join(f"{k} {v}" for k, v in record["versions"].items())}),
        tag("pre", tag("code", record["command"]), class_="le-code"),
        tag(
            "p", f"Appendix: the report of this run, SHA-256 {record['appendix']['report_sha256']}.", class_="le-muted"
        ),
        tag(
            "p", "Check code ", tag("strong", record["check"]), ". Compute it again: ", tag("code", "lethe verify FILE")
        ),
    ]
    data = json.dumps(record, ensure_ascii=False)
    return offline_page(title, tag("main", *parts, class_="le-certificate", data_certificate=data))


def verify(path: Path) -> CertificateJson:
    """The data of a certificate that is as it was issued.

    IntegrityError where the check code does not fit what the file says, or its page shows something else than its
    data; InputError for a file that is no certificate. Only the same version draws the same page, so that of
    another version the data alone is checked.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError("file", str(path), "cannot be read", "Name a certificate that Lethe wrote.") from None
    record = _read(text, path)
    if check_code(record) != record.get("check"):
        mend = "Ask whoever issued it for the file as it was."
        raise IntegrityError("certificate", str(path), "was changed: its check code does not fit what it says", mend)
    same = record["versions"].get("lethe") == __version__
    if same and not text.lstrip().startswith("{") and certificate_html(record) != text:
        mend = "Ask whoever issued it for the file as it was."
        raise IntegrityError("certificate", str(path), "was changed: its page shows other words than its data", mend)
    return record


class _Finder(HTMLParser):
    """The data that a certificate's page carries."""

    found: str = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = self.found or dict(attrs).get("data-certificate") or ""


def _read(text: str, path: Path) -> CertificateJson:
    if not text.lstrip().startswith("{"):
        finder = _Finder()
        finder.feed(text)
        text = finder.found
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("kind") != KIND or not isinstance(record.get("versions"), dict):
        raise InputError("file", str(path), "is no certificate", "Name a file that `lethe certificate` wrote.")
    return record


class _Mask:
    """Words as they are shown: as they are without a salt, else their first letters and a hash."""

    def __init__(self, salt: str) -> None:
        self.salt = salt

    def __call__(self, words: str) -> str:
        if not self.salt or not words:
            return words
        digest = hashlib.sha256(f"{self.salt}:{words}".encode()).hexdigest()[:10]
        return f"{self.letters(words)} (#{digest})"

    def letters(self, words: str) -> str:
        """The words with all but the first letters of each hidden; short ones wholly."""
        if not self.salt:
            return words
        starts = (part[:_SHOWN] if len(part) > 2 * _SHOWN else "" for part in words.split()[:4])
        return " ".join(start + "\N{BULLET}" * 3 for start in starts)

    def within(self, text: str, *secrets: str) -> str:
        """A text with the secrets in it masked."""
        for secret in filter(None, secrets):
            text = text.replace(secret, self.letters(secret))
        return text


def _subjects(found: RunReport, hide: _Mask) -> list[dict[str, Any]]:
    """Of each subject how much of what the original told is told now; those that still tell first."""
    scores = found.story.scores
    if not {"original", "unlearned"} <= set(scores):
        return []
    by_subject: dict[str, dict[str, list[int]]] = {}
    for name, splits in (("answers", _ANSWERS), ("wordings", _WORDINGS)):
        before, now = of_splits(scores["original"], *splits), of_splits(scores["unlearned"], *splits)
        for key, row in before.items():
            known = by_subject.setdefault(row.subject, {"answers": [0, 0, 0], "wordings": [0, 0, 0]})[name]
            known[0] += 1
            if is_told(row) and key in now:
                known[1] += 1
                known[2] += is_told(now[key])
    rows = [
        {"subject": hide(subject) if subject else "all of it", **{name: _light(*seen) for name, seen in kinds.items()}}
        for subject, kinds in by_subject.items()
    ]
    return sorted(rows, key=lambda row: -max(row["answers"]["told"], row["wordings"]["told"]))


def _light(asked: int, known: int, told: int) -> dict[str, str | int]:
    state = "not measured" if not asked else "unknown" if not known else "leaks" if told else "holds"
    return {"state": state, "known": known, "told": told}


def _answered(found: RunReport) -> list[tuple[Generation, Generation]]:
    """What the original told, with what is answered now; what is still told first."""
    scores = found.story.scores
    if not {"original", "unlearned"} <= set(scores):
        return []
    before, now = (of_splits(scores[model], *_ANSWERS) for model in ("original", "unlearned"))
    rows = [(row, now[key]) for key, row in before.items() if key in now and is_told(row)]
    rows.sort(key=lambda pair: (not is_told(pair[1]), pair[0].kind != "question"))
    return rows


def _answer(row: Generation, after: Generation, hide: _Mask) -> dict[str, object]:
    return {
        "question": shorten(hide.within(row.input, row.subject, row.gold), 110),
        "answer": hide(shorten(row.gold, 80)),
        "told_before": is_told(row),
        "told_now": is_told(after),
    }


def _unmeasured(verdict: Verdict) -> list[str]:
    names = {"general": "general ability"}
    absent = [names.get(layer.name, layer.name) for layer in verdict.layers if layer.state == "not measured"]
    return [f"Not measured: {', '.join(absent)}."] if absent else []


def _spec(spec: SpecJson, hide: _Mask) -> dict[str, object]:
    """The spec without names and facts where those are masked."""
    if not hide.salt:
        return dict(spec)
    typed = str(spec.get("data", "")).startswith("facts:")
    subject = hide.letters(str(spec["subject"])) if spec.get("subject") else None
    return {**spec, "subject": subject, "name": "", "data": "facts:(masked)" if typed else spec.get("data")}


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _head(record: CertificateJson) -> dict[str, str]:
    return {
        "Request": record["request"],
        "Responsible": record["responsible"],
        "Unlearned": record["unlearned"],
        "Issued": record["issued"],
        "Run": record["run"],
    }


def _verdict(record: CertificateJson) -> Safe:
    body = tag("div", tag("h2", record["headline"]), tag("p", record["summary"]))
    return tag("section", body, class_=f"le-verdict le-tone-{tone_of(record['word'])}")


def _told_of_subjects(record: CertificateJson) -> Safe:
    if not record["subjects"]:
        return Safe("")
    rows = ([row["subject"], _lamp(row["answers"]), _lamp(row["wordings"])] for row in record["subjects"])
    more = record["further_subjects"]
    told = f"And {count(more, 'further subject')}, none of which tells more."
    made = table(("Subject", "Answers", "In other words"), rows)
    return join(made, tag("p", told, class_="le-muted") if more else None)


def _lamp(light: Mapping[str, Any]) -> Safe:
    sign, tone = _SIGNS[light["state"]]
    words = f"{sign} ({light['told']} of {light['known']} told)" if light["known"] else sign
    return tag("span", words, class_=f"le-tag le-tone-{tone}")


def _told_of_answers(record: CertificateJson) -> Safe:
    if not record["answers"]:
        return Safe("")
    rows = (
        (row["question"], row["answer"], *("told" if row[when] else "not told" for when in ("told_before", "told_now")))
        for row in record["answers"]
    )
    more = record.get("further_answers", 0)
    further = tag("p", f"And {count(more, 'more answer')}, counted above.", class_="le-muted") if more else None
    return join(table(("Asked", "Answer", "Before", "Now"), rows, titled=False), further)


def _attacks(attacks: list[Mapping[str, str]]) -> str:
    from unlearn_core.evaluation.audits import describe

    titles = {audit["name"]: audit["title"] for audit in describe()} | {PLAYERS: TITLE}
    told = [f"{titles.get(row['name'], row['name'])}: {row['verdict']}" for row in attacks]
    return "; ".join(told) + "." if told else "none was made."
