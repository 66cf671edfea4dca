"""Where data comes from: `load_data(ref)` turns what a user names into UnlearningData.

demo                the bundled synthetic world
facts:...           facts typed in, one `prompt => answer` a line
upload:TOKEN        a file kept by the run store
SHEET.json          what a model knows about a subject (`lethe knows --json`)
DIRECTORY           the organisers' layout (forget*, retain*, mia/), LUME, TOFU or MUSE, optionally :forget05
FILE                jsonl or ndjson, json, csv, tsv, parquet; .txt of `prompt => answer` lines
owner/name          a data set on the Hub, optionally @revision and :forget05
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearn_core.data.benchmarks.directory import first_file, read_directory, tidy, unused_note
from unlearn_core.data.rows.excerpt import rows_shown
from unlearn_core.data.rows.reader import LOCAL, PUBLIC, SUFFIXES, Limits, Row, column_names, read_rows, read_text
from unlearn_core.data.rows.row_notes import notes_on_rows
from unlearn_core.data.rows.validate import asked_otherwise, check_columns, examples, usual_kinds
from unlearn_core.data.subject_sheet import SubjectSheet, is_sheet, read_sheet
from unlearn_core.data.types import TASKS, Example, UnlearningData
from unlearn_core.errors import Action, InputError, LetheError, ResourceError, clip
from unlearn_core.system.hub import REPOSITORY, REVISION, is_unreachable

FACTS = "facts:"
UPLOAD = "upload:"
_CHOOSE: Action = ("tab", "data")
HUB_ID = re.compile(rf"{REPOSITORY}({REVISION})?(:[\w-]{{1,64}})?", re.ASCII)  # `:forget05` names a part
_UPLOAD_ID = re.compile(r"[\w-]{16,64}", re.ASCII)


def load_data(
    ref: str,
    *,
    columns: Mapping[str, str] | None = None,
    retain: str | None = None,
    public: bool = False,
    limits: Limits | None = None,
    uploads: Path | None = None,
) -> UnlearningData:
    """Everything `ref` names, read and checked; InputError says which file, line and field is wrong.

    `columns` maps fields to the file's column names. `retain` names a separate retain set the same way,
    or "general" for the bundled general text. `public` refuses paths and Hub ids, for strangers.
    `uploads` is the folder that `upload:` tokens point into.
    """
    if not isinstance(ref, str) or not ref.strip():
        raise InputError("data", ref, "is empty", "Name a data set, for example `demo`.")
    columns = dict(columns or {})
    check_columns(columns)
    limits = limits or (PUBLIC if public else LOCAL)
    if ref == "demo":
        if retain is not None:
            raise InputError("retain", retain, "cannot be joined to the demo", "The demo brings its own.")
        return _demo()
    data = _load(ref, "forget", columns, public, limits, uploads)
    if retain is not None:
        rows, notes = _retain(retain, columns, public, limits, uploads)
        data = replace(data, retain=rows, notes=tuple(dict.fromkeys((*data.notes, *notes))))
    return _with_notes(data)


def sheet_of(ref: str, *, public: bool = False, uploads: Path | None = None) -> SubjectSheet | None:
    """The subject sheet that `ref` names; None where it names other data."""
    if ref == "demo" or ref.startswith(FACTS):
        return None
    place = _locate(ref, public, PUBLIC if public else LOCAL, uploads)
    return read_sheet(place.path) if is_sheet(place.path) else None


_LINES_NAMED = 8  # of those that are wrong, behind the first


def parse_facts(text: str, limits: Limits = LOCAL, prefix: str = "fact") -> Sequence[Example]:
    """One example per line `prompt => answer`; blank lines and lines that start with # are skipped."""
    rows, wrong = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        prompt, arrow, answer = line.partition("=>")
        rows.append(Row(f"facts line {number}", {"input": prompt.strip(), "output": answer.strip()}, limits))
        if not arrow:
            wrong.append((number, line))
        if len(rows) > limits.max_rows:
            raise InputError("facts", len(rows), "are too many", f"Use at most {limits.max_rows}.")
    if wrong:
        (first, line), *others = wrong
        problem = "has no `=>` between prompt and answer"
        if others:
            numbers = ", ".join(str(number) for number, _ in others[:_LINES_NAMED])
            more = f" and {len(others) - _LINES_NAMED} more" if len(others) > _LINES_NAMED else ""
            problem += f"; the same holds for line{'s' if len(others) > 1 else ''} {numbers}{more}"
        raise InputError(f"facts line {first}, fact", line, problem, "Write `prompt => answer`.")
    if not rows:
        raise InputError("facts", clip(text, 40), "hold no fact", "Write one `prompt => answer` a line.")
    return examples(rows, prefix, {})


def preview(data: UnlearningData, num_rows: int = 3) -> dict[str, Any]:
    """What a page shows before a run: counts per split, task and kind, and the first rows of each split."""
    splits: dict[str, Any] = {}
    for split in ("forget", "retain"):
        rows: Sequence[Example] = getattr(data, split)
        counts = Counter(f"{row.task}/{row.kind}" for row in rows)
        first = [{"id": r.id, "task": r.task, "input": r.input, "output": r.output} for r in rows[:num_rows]]
        splits[split] = {"rows": len(rows), "counts": dict(sorted(counts.items())), "first": first}
    names = ("members", "nonmembers", "questions", "paraphrases", "holdout", "general", "neighbours")
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "splits": splits,
        "other": {name: len(getattr(data, name)) for name in names},
        "notes": list(data.notes),
    }


def columns_of(ref: str, *, public: bool = False, uploads: Path | None = None) -> tuple[str, ...]:
    """The column names of the rows that `ref` names, for a page that offers to map them; none for the demo
    and for facts, typed or in a text file. InputError for a file that cannot be read."""
    if ref == "demo" or ref.startswith(FACTS):
        return ()
    limits = PUBLIC if public else LOCAL
    place = _locate(ref, public, limits, uploads)
    path = first_file(place.path) if place.path.is_dir() else place.path
    with rows_shown(path, limits):
        if path.suffix.lower() == ".txt":
            parse_facts(read_text(path, limits), limits)
            return ()
        return column_names(path, limits)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder, what its data is called, and the part of it that was asked for."""

    path: Path
    name: str = ""  # the reader's own choice where empty
    part: str = ""


def _locate(ref: str, public: bool, limits: Limits, uploads: Path | None) -> _Place:
    """Where the rows that `ref` names lie, fetched first where that is the Hub."""
    if ref.startswith(UPLOAD):
        return _Place(_uploaded(ref[len(UPLOAD) :], uploads))
    if public:  # one answer for every other name, so that nothing on this machine can be found out by asking
        raise InputError("data", ref, "is not offered here", "Use `demo`, type facts in, or upload a file.", _CHOOSE)
    if "\0" in ref or len(ref) > 4096:
        raise InputError("data", ref, "is not a path or a Hub id", "Check the name.", _CHOOSE)
    if os.path.exists(ref):  # unlike Path's, False for a name too long for the file system
        return _Place(Path(ref))
    path, _, part = ref.rpartition(":")
    if os.path.isdir(path):
        return _Place(Path(path), ref, part)
    if HUB_ID.fullmatch(ref) and not ref.startswith(("./", "../")):
        name, _, part = ref.partition(":")
        repo, _, revision = name.partition("@")
        return _Place(_snapshot(ref, repo, revision or None, limits), ref, part)
    raise InputError("data", ref, "does not exist", "Give `demo`, a file, a directory or a Hub id.", _CHOOSE)


def _load(
    ref: str, split: str, columns: dict[str, str], public: bool, limits: Limits, uploads: Path | None
) -> UnlearningData:
    if ref.startswith(FACTS):
        with rows_shown(ref[len(FACTS) :], limits):
            return _facts(ref[len(FACTS) :], "typed facts", split, limits)
    place = _locate(ref, public, limits, uploads)
    with rows_shown(place.path, limits):
        if place.path.is_dir():
            data = read_directory(place.path, columns, limits, part=place.part, needed=split)
            return replace(data, name=place.name or data.name)
        return _file(place.path, split, columns, limits)


def _demo() -> UnlearningData:
    from unlearn_core.data.world import demo_data

    return demo_data()


def _facts(text: str, name: str, split: str, limits: Limits) -> UnlearningData:
    if len(text.encode("utf-8", "surrogatepass")) > limits.max_bytes:
        mend = f"Use at most {limits.max_bytes} bytes."
        raise InputError("facts", clip(text, 40), "are too many to read", mend)
    rows = parse_facts(text, limits, prefix="fact" if split == "forget" else f"{split}-fact")
    # A typed fact is short, so a model that answers at length need not be read to the protocol's limit.
    longest = max(len(row.output) for row in rows)
    return UnlearningData(name=name, forget=rows, max_new_tokens=min(256, max(16, longest)))


def _file(path: Path, split: str, columns: dict[str, str], limits: Limits) -> UnlearningData:
    if path.suffix.lower() == ".txt":
        return _facts(read_text(path, limits), path.stem, split, limits)
    if split == "forget" and is_sheet(path):
        return read_sheet(path).data()
    sets = tidy(path, read_rows(path, limits), split, columns)
    if split == "retain":
        sets = {"retain": sets["retain"] or sets["forget"]}
    if not sets[split]:
        raise InputError("data", path.name, f"holds no {split} rows", f"Mark some `{split}` in `split`.")
    kinds = usual_kinds(sets, columns)
    found = {name: examples(rows, name, columns, kinds[name]) for name, rows in sets.items()}
    notes = tuple(note for name, rows in sets.items() for note in unused_note(rows, name, columns))
    reworded = tuple(row for name, rows in sets.items() for row in asked_otherwise(rows, found[name]))
    retain = found["retain"] if split == "forget" else ()
    return UnlearningData(path.stem, found[split], retain, paraphrases=reworded, notes=notes)


def _retain(
    ref: str, columns: dict[str, str], public: bool, limits: Limits, uploads: Path | None
) -> tuple[Sequence[Example], tuple[str, ...]]:
    """The rows of a separate retain set, and what is to be said of them."""
    if ref == "general":
        return tuple(replace(row, task=TASKS[0]) for row in _demo().general), ()
    data = _load(ref, "retain", columns, public, limits, uploads)
    return data.retain or data.forget, data.notes


def _uploaded(token: str, uploads: Path | None) -> Path:
    folder = uploads / token if uploads is not None and _UPLOAD_ID.fullmatch(token) else None
    found = folder.iterdir() if folder is not None and folder.is_dir() else ()
    files = [path for path in found if not path.name.startswith(".")]
    if len(files) != 1:
        raise InputError("data", UPLOAD + token, "is not here any more", "Upload the file again.", _CHOOSE)
    return files[0]


def _snapshot(ref: str, repo: str, revision: str | None, limits: Limits) -> Path:
    """The folder of a Hub data set's files; the copy in the cache where the Hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    fetch: dict[str, Any] = {
        "repo_id": repo,
        "repo_type": "dataset",
        "allow_patterns": [f"*{suffix}" for suffix in SUFFIXES],
    }
    try:
        info = HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=20)
        sizes = [file.size or 0 for file in info.siblings or () if file.rfilename.endswith(SUFFIXES)]
        if sum(sizes) > 4 * limits.max_bytes:
            problem = f"is too large to fetch ({sum(sizes) >> 20} MiB)"
            raise InputError("data", ref, problem, "Download the part you need and name its path.")
        return Path(snapshot_download(revision=info.sha, **fetch))
    except GatedRepoError:
        raise InputError("data", ref, "is gated", "Accept its terms on the Hub and set HF_TOKEN.") from None
    except RepositoryNotFoundError:
        problem = "is neither a local path nor a data set on the Hub"
        raise InputError("data", ref, problem, "Check the name; a private one needs HF_TOKEN.") from None
    except Exception as error:
        if isinstance(error, LetheError) or not (isinstance(error, OSError) or is_unreachable(error)):
            raise
        reason = type(error).__name__
    try:
        return Path(snapshot_download(revision=revision, local_files_only=True, **fetch))
    except (OSError, ValueError):
        problem = f"is not a local path, and the Hub could not be reached ({reason})"
        mend = "Check the path, or the network, and try again."
        raise ResourceError("data", ref, problem, mend) from None


def _with_notes(data: UnlearningData) -> UnlearningData:
    notes = list(data.notes)
    if not data.retain:
        notes.append(
            "No retain set: no score will say what else was lost, and methods that hold the rest of the "
            "model with one cannot run. `general` stands for the bundled general text."
        )
    notes += notes_on_rows(data)
    if not data.members or not data.nonmembers:
        notes.append("No membership documents: the MIA score is left out and there is no final score.")
    return replace(data, notes=tuple(notes))
