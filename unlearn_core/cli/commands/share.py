"""`lethe report`, `site`, `certificate`, `verify` and `export`: a stored run handed over as files or to the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearn_core.cli.commands import Commands
from unlearn_core.errors import InputError


def add_to(commands: Commands) -> None:
    report = commands.add_parser("report", help="one offline HTML file about a run, and the same as JSON")
    report.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    report.add_argument("--out", metavar="DIR", default=".", help="where the two files go (default: here)")
    report.set_defaults(action=report_command)
    site = commands.add_parser("site", help="a run's result page as one read-only file for any static host")
    site.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    site.add_argument("--out", metavar="DIR", default="site", help="where index.html goes (default: site)")
    site.set_defaults(action=site_command)
    certificate = commands.add_parser(
        "certificate", help="one page that certifies what was forgotten and how it was tested"
    )
    certificate.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    certificate.add_argument(
        "--request", default="", metavar="ID", help="of the request it answers (default: the run's)"
    )
    certificate.add_argument("--responsible", default="", metavar="NAME", help="who answers for it")
    certificate.add_argument("--show-answers", action="store_true", help="tell answers and names; they are masked else")
    certificate.add_argument("--out", metavar="DIR", default=".", help="where the file goes (default: here)")
    certificate.set_defaults(action=certificate_command)
    verify = commands.add_parser("verify", help="whether a certificate is as it was issued")
    verify.add_argument("file", metavar="FILE", help="a page that `lethe certificate` wrote, or its data as JSON")
    verify.set_defaults(action=verify_command)
    export = commands.add_parser("export", help="weights or adapter with model card, to a folder or the Hub")
    export.add_argument("run", metavar="RUN", help="its id, see `lethe runs`")
    export.add_argument("--out", metavar="DIR", help="a new or empty folder")
    export.add_argument("--hub", metavar="REPO", help="owner/name; the token is read from HF_TOKEN")
    export.add_argument("--kind", choices=("weights", "adapter", "gguf"), default="weights")
    export.add_argument("--open-to-all", action="store_true", help="make the Hub repository public")
    export.set_defaults(action=export_command)


def report_command(options: argparse.Namespace) -> int:
    from unlearn_core.report.export.hub_export import write_report
    from unlearn_core.store.store import RunStore

    for path in write_report(RunStore(), options.run, Path(options.out)):
        print(path)
    return 0


def site_command(options: argparse.Namespace) -> int:
    from unlearn_core.report.export.hub_export import write_site
    from unlearn_core.store.store import RunStore

    print(write_site(RunStore(), options.run, Path(options.out)))
    return 0


def certificate_command(options: argparse.Namespace) -> int:
    from unlearn_core.report.export.certificate import Request
    from unlearn_core.report.export.hub_export import write_certificate
    from unlearn_core.store.store import RunStore

    request = Request(options.request, options.responsible, options.show_answers)
    print(write_certificate(RunStore(), options.run, Path(options.out), request))
    return 0


def verify_command(options: argparse.Namespace) -> int:
    from unlearn_core.report.export.certificate import verify

    found = verify(Path(options.file))
    print(f"As it was issued on {found['issued']} for request {found['request']}: {found['headline']}.")
    print(f"Check code {found['check']}. It shows that the file is unchanged, not who issued it.")
    return 0


def export_command(options: argparse.Namespace) -> int:
    if (options.out is None) == (options.hub is None):
        raise InputError("export", "", "has no single goal", "Give either --out DIR or --hub REPO.")
    from unlearn_core.report.export.hub_export import export_run, push_run
    from unlearn_core.store.store import RunStore

    store = RunStore()
    if options.out is not None:
        print(export_run(store, options.run, Path(options.out), options.kind))
    else:
        private = not options.open_to_all
        print(push_run(store, options.run, options.hub, kind=options.kind, private=private))
    return 0
