"""A run's result page as one read-only file for any static host: what the app shows of it, without a server.

Headline, shares and the fade first, as on the page; then the layers, the answers, the curves and the attacks.
"""

from __future__ import annotations

from unlearn_core.report.export.bundle import RunReport
from unlearn_core.report.export.page import attacks, command_line, curves, header, offline_page, samples, sections
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.run.breakdown import breakdown
from unlearn_core.report.run.live.fade import replay_printed
from unlearn_core.report.run.live.neighbourhood import printed
from unlearn_core.report.run.outcome import outcome
from unlearn_core.report.run.verdict import in_layers
from unlearn_core.system.version import __version__


def site_html(found: RunReport) -> str:
    """The whole file; every text of the run, its data and its models is escaped."""
    from unlearn_core.methods import REGISTRY

    story = found.story
    parts = {
        "Answers before and after": samples(found),
        "What the headline stands on": [in_layers(story), breakdown(story.scores) or Safe("")],
        "Neighbourhood": [printed(story)],
        "Curves": curves(found),
        "Attacks": [attacks(found.audits)],
        "Repeat it": [command_line(found)],
    }
    first = outcome(story, replay_printed)
    made = tag("footer", tag("p", f"A read-only copy of one run. Made by Lethe {__version__}.", class_="le-muted"))
    method = REGISTRY.get(str(found.spec.get("method")))
    name = method.info.title if method is not None else found.record.name
    return offline_page(f"{name}: was it forgotten?", tag("main", header(found, name), first, sections(parts), made))
