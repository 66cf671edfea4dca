"""Nothing that people or models write can become markup."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from unlearn_core.report.kit.markup import Safe, details, join, tag, text


def test_plain_text_becomes_entities_and_markup_passes() -> None:
    assert tag("p", "a < b", tag("b", "c")) == "<p>a &lt; b<b>c</b></p>"


def test_attributes_are_escaped_and_named_as_html_names_them() -> None:
    made = tag("a", "go", href='"><script>', class_="x", aria_label="l", hidden=True, title=None, open=False)
    assert made == '<a href="&#34;&gt;&lt;script&gt;" class="x" aria-label="l" hidden>go</a>'


def test_void_elements_have_no_end() -> None:
    assert tag("br") == "<br>"


def test_joining_skips_none() -> None:
    assert join("a", None, Safe("<b>")) == "a<b>"


def test_a_fold_needs_no_script() -> None:
    assert details("why", tag("p", "so")) == '<details class="le-note"><summary>why</summary><p>so</p></details>'


@given(st.text())
@example("<img src=x onerror=alert(1)>\"'`${7*7}{{7*7}}&")
def test_no_text_survives_as_markup(value: str) -> None:
    """Nor as what a template would fill in."""
    assert not set("<>{}$`\"'") & set(text(value))
