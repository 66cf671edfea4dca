"""Handing a run over: a report, a page for a static host, weights or GGUF in a folder, or a model on the Hub."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.errors import InputError, ResourceError
from unlearn_core.report.export.bundle import bundle
from unlearn_core.report.export.card import model_card
from unlearn_core.report.export.certificate import Request, certificate, certificate_html
from unlearn_core.report.export.page import report_html, report_json
from unlearn_core.report.export.site import site_html
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import MARKER, disk_errors
from unlearn_core.system.hub import is_unreachable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KINDS = ("weights", "adapter", "gguf")
ADAPTER = "adapter"  # folder inside a run's weights
HTML, JSON, CARD, SITE = "lethe_report.html", "lethe_report.json", "README.md", "index.html"


def write_report(store: RunStore, run_id: str, folder: Path) -> tuple[Path, Path]:
    """Write `lethe_report.html` and `lethe_report.json` into `folder` (made if need be); their paths."""
    found = bundle(store, run_id)
    return _write(folder / HTML, report_html(found)), _write(folder / JSON, report_json(found))


def write_site(store: RunStore, run_id: str, folder: Path) -> Path:
    """Write the run's result page into `folder` (made if need be) as `index.html`, for any static host; its path."""
    return _write(folder / SITE, site_html(bundle(store, run_id)))


def write_certificate(store: RunStore, run_id: str, folder: Path, request: Request) -> Path:
    """Write the run's certificate into `folder` (made if need be); its path. InputError without a verdict."""
    page = certificate_html(certificate(bundle(store, run_id), request))
    return _write(folder / f"lethe_certificate_{run_id[:8]}.html", page)


def _write(path: Path, words: str) -> Path:
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words, encoding="utf-8")
    return path


def export_run(store: RunStore, run_id: str, out: Path, kind: str = "weights") -> Path:
    """Copy the weights, or the LoRA adapter, of a run to the new folder `out` with card and report.

    `kind` "gguf" writes the weights as one GGUF file instead, where the target was one.

    The folder is complete or absent. InputError where it holds something already, for an unknown kind and
    for a run without an adapter; IntegrityError where the run kept no weights.
    """
    source = exportable(store, run_id, kind)
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("out", str(out), "is there already", "Name a folder that is new or empty.")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            if kind == "gguf":
                _write_gguf(store, run_id, source, partial)
            else:
                for path in source.iterdir():
                    if path.is_file() and path.name not in (MARKER, CARD):
                        shutil.copyfile(path, partial / path.name)
            _accompany(store, run_id, partial, kind)
            partial.chmod(0o755)
            if out.exists():
                out.rmdir()
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return out


def export_zip(store: RunStore, run_id: str, folder: Path, kind: str = "weights") -> Path:
    """The same as one zip file in `folder`; weights do not shrink, so nothing is compressed."""
    name = f"lethe-{run_id[:8]}-{kind}"
    made = folder / f"{name}.zip"
    with disk_errors(folder), tempfile.TemporaryDirectory(dir=folder) as place:
        out = export_run(store, run_id, Path(place) / name, kind)
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as packed:
            for path in sorted(out.iterdir()):
                packed.write(path, f"{name}/{path.name}")
    return made


def exportable(store: RunStore, run_id: str, kind: str = "weights") -> Path:
    """The folder with what would be exported, or the error that says why there is none."""
    from unlearn_core.models.wrappers.wrapper_artifact import DECLARATION

    if kind not in KINDS:
        raise InputError("kind", kind, "cannot be exported", f"Use one of {', '.join(KINDS)}.")
    store.get(run_id)
    weights = store.weights(run_id)
    if (weights / DECLARATION).exists():
        problem = "changed no weight, so whatever it hides would be in the export"
        raise InputError("run", run_id, problem, "Download its report, or run a method that changes weights.")
    if kind == "gguf":
        _gguf_target(store, run_id)
    if kind != "adapter":
        return weights
    found = next(iter(sorted(weights.glob(f"{ADAPTER}/**/adapter_config.json"))), None)
    if found is None:
        mend = "Export its weights, or run again with the adapter `lora`."
        raise InputError("kind", kind, "is not what this run trained", mend)
    return found.parent


def _gguf_target(store: RunStore, run_id: str) -> Path:
    """The GGUF file that a run started from."""
    from unlearn_core.models.catalogue import locate
    from unlearn_core.models.files.gguf_files import gguf_of

    ref = str(store.get(run_id).spec["target"])
    place = locate(ref)
    found = gguf_of(place, ref) if isinstance(place, Path) else None
    if found is None:
        problem = "did not start from a GGUF file, whose metadata the export takes over"
        raise InputError("run", run_id, problem, "Export its weights; llama.cpp's converter reads them.")
    return found


def _write_gguf(store: RunStore, run_id: str, weights: Path, folder: Path) -> None:
    from unlearn_core.models.files.checkpoint import read_weights
    from unlearn_core.models.files.gguf_files import write_gguf

    source = _gguf_target(store, run_id)
    write_gguf(read_weights(weights), source, folder / f"{source.stem}-unlearned.gguf", str(source))


def push_run(
    store: RunStore, run_id: str, repo: str, *, kind: str = "weights", private: bool = True, api: HfApi | None = None
) -> str:
    """Upload a run to the Hub repository `repo` (owner/name, made if need be) and return its address.

    The token is taken from the environment (HF_TOKEN) by huggingface_hub itself; `api` replaces its HfApi.
    """
    exportable(store, run_id, kind)
    if api is None:
        api = _api()
    with tempfile.TemporaryDirectory() as place:
        folder = export_run(store, run_id, Path(place) / "model", kind)
        try:
            api.create_repo(repo, private=private, exist_ok=True, repo_type="model")
            told = f"Lethe run {run_id}"
            done = api.upload_folder(repo_id=repo, folder_path=str(folder), commit_message=told)
        except Exception as error:
            raise _refusal(repo, error) from error
    return str(getattr(done, "repo_url", None) or f"https://huggingface.co/{repo}")


def _accompany(store: RunStore, run_id: str, folder: Path, kind: str) -> None:
    found = bundle(store, run_id)
    (folder / CARD).write_text(model_card(found, kind == "adapter"), encoding="utf-8")
    write_report(store, run_id, folder)
    config = folder / "adapter_config.json"
    if config.exists():  # peft wrote where the base lay on this machine; the run's target is its name
        plain = json.loads(config.read_text(encoding="utf-8"))
        plain["base_model_name_or_path"] = str(found.spec.get("target", ""))
        config.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def _api() -> HfApi:
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        mend = "Set HF_TOKEN to an access token that may write, from huggingface.co/settings/tokens."
        raise InputError("HF_TOKEN", "", "is not set, so nothing can be uploaded", mend)
    return HfApi()


def _refusal(repo: str, error: Exception) -> Exception:
    """What went wrong with the Hub, in people's words; a bug stays what it is."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(error, HFValidationError):
        return InputError("hub", repo, "is not the name of a repository", "Write owner/name.")
    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            mend = "Use a token with write access to that account."
            return InputError("hub", repo, "may not be written with this token", mend)
        if status:
            return ResourceError("hub", repo, f"was refused by the Hub ({status})", "Try again later.")
    if is_unreachable(error):
        mend = "Connect to the network, or export to a folder."
        return ResourceError("hub", repo, "cannot be reached", mend)
    return error
