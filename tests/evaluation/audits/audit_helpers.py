"""Running an audit to its end."""

from __future__ import annotations

from typing import Any

from unlearn_core.evaluation.audits import AuditResult


def finish(run: Any) -> AuditResult:
    """The result of an audit's iterator."""
    while True:
        try:
            next(run)
        except StopIteration as done:
            result: AuditResult = done.value
            return result
