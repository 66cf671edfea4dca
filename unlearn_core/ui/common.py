"""What every tab uses: quiet listeners, headings, and errors as toasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.report.markup import tag, text

# Listeners of the page are no endpoints of the API, and draw no spinner over what they update.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# What is polled or answers at once does not go through the queue; it cannot show messages, which do.
AT_ONCE: dict[str, Any] = PRIVATE | {"queue": False}


def heading(title: str, aside: str = "") -> gr.HTML:
    """A section's heading with one line that says what it shows."""
    return gr.HTML(tag("div", tag("h2", title), tag("p", aside) if aside else None, class_="le-heading"))


def panel(*classes: str, **settings: Any) -> gr.Column:
    """A bordered card that holds components."""
    return gr.Column(elem_classes=["le-panel", *classes], **settings)


@contextmanager
def toast(title: str) -> Iterator[None]:
    """Show the errors meant for people as a message on the page, escaped, and nothing in the log."""
    try:
        yield
    except LetheError as error:
        raise gr.Error(str(text(error)), title=title, print_exception=False) from None
