"""What an operator asks of a server: /health for what watches it, /metrics and /operations for its numbers.

Health is for everybody and says nothing of anybody. The numbers are for this machine alone, and elsewhere for
who knows LETHE_OPERATOR_TOKEN, as a bearer token or as the password that a browser asks for.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import os
import time
from collections.abc import Callable

import anyio
import anyio.to_thread
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Sample
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from unlearn_core.jobs.health import Health, numbers, prometheus
from unlearn_core.jobs.worker import Worker
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.system.units import duration
from unlearn_core.ui.web.middleware import LOOPBACK

TOKEN = "LETHE_OPERATOR_TOKEN"
_KEPT = 2.0  # seconds that an answer about health holds at most, so that asking often costs nothing
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid #8886; padding: .35rem 0; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ok { color: #18794e; } .degraded { color: #c62a2f; }
@media (prefers-color-scheme: dark) { .ok { color: #4cc38a; } .degraded { color: #ff8b8b; } }
"""


def routes(worker: Worker, public: bool) -> list[Route]:
    """For the `app_kwargs` of `launch`."""

    @functools.lru_cache(maxsize=1)
    def within(moment: int) -> Health:
        return Health.of(worker)

    def state() -> Health:
        return within(int(time.monotonic() / _KEPT))

    own = anyio.CapacityLimiter(2)  # threads that nobody else's calls can take

    async def health(request: Request) -> Response:
        found = await anyio.to_thread.run_sync(state, limiter=own)
        plain = {"status": found.status, "reasons": list(found.reasons)}
        return JSONResponse(plain, 200 if found.status == "ok" else 503)

    def metrics(request: Request) -> Response:
        return Response(prometheus(numbers(worker)), media_type=CONTENT_TYPE_LATEST)

    def operations(request: Request) -> Response:
        return HTMLResponse(_page(state(), numbers(worker)))

    return [
        Route("/health", health),
        Route("/metrics", _for_operators(metrics, public)),
        Route("/operations", _for_operators(operations, public)),
    ]


def _for_operators(answer: Callable[[Request], Response], public: bool) -> Callable[[Request], Response]:
    def asked(request: Request) -> Response:
        token = os.environ.get(TOKEN, "")
        near = not public and request.client is not None and request.client.host in LOOPBACK
        if near or (token and hmac.compare_digest(_given(request).encode(), token.encode())):
            return answer(request)
        if not token:
            return PlainTextResponse("There is nothing here.\n", 404)
        asks = {"WWW-Authenticate": 'Basic realm="Lethe, for its operator", charset="UTF-8"'}
        return PlainTextResponse(f"This is for the operator: give {TOKEN} as the password.\n", 401, asks)

    return asked


def _given(request: Request) -> str:
    """The token of a request, "" for none."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _page(health: Health, found: list[GaugeMetricFamily]) -> str:
    reasons = tag("ul", *(tag("li", reason) for reason in health.reasons)) if health.reasons else None
    rows = [
        tag("tr", tag("td", _told(family, number)), tag("td", _shown(number)))
        for family in found
        for number in family.samples
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="refresh", content="10"),
        Safe('<meta name="viewport" content="width=device-width">'),
        tag("title", "Lethe: operations"),
        tag("style", Safe(_STYLE)),
    )
    body = tag(
        "body",
        tag("h1", "Lethe"),
        tag("p", tag("strong", health.status, class_=health.status, role="status")),
        reasons,
        tag("table", tag("tbody", *rows)),
        tag("p", tag("a", "the same for Prometheus", href="metrics"), "; looks again every 10 s"),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


def _told(family: GaugeMetricFamily, number: Sample) -> str:
    return f"Runs {number.labels['status']}" if number.labels else family.documentation.rstrip(".")


def _shown(number: Sample) -> str:
    if number.name.endswith("_bytes"):
        return f"{number.value / 2**20:,.0f} MiB"
    return duration(number.value) if number.name.endswith("_seconds") else f"{number.value:g}"
