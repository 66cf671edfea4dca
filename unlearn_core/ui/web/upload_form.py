"""The form that an upload comes in: Gradio takes a thousand files in one, each a file and a folder on the disk
for the price of one upload, and keeps all their names."""

from __future__ import annotations

from typing import Any

from gradio import route_utils

from unlearn_core.limits import FILES_OF_AN_UPLOAD

_Parser = route_utils.GradioMultiPartParser


class _FewFiles(_Parser):
    """A form that is refused with 400 at its second file or its first field that is none."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **{**settings, "max_files": FILES_OF_AN_UPLOAD, "max_fields": 0})


def take_few_files(public: bool) -> None:
    """For the page that is served by this process."""
    setattr(route_utils, "GradioMultiPartParser", _FewFiles if public else _Parser)  # noqa: B010
