"""HTML from parts, with one rule: a plain string is data and is escaped, only `Safe` is markup.

Model output, prompts, file names, run names and error texts all reach the page through `tag`, so there
is one place where they can go wrong, and it is this one.
"""

from __future__ import annotations

import re

from markupsafe import Markup as Safe
from markupsafe import escape

from unlearn_core.errors import LetheError

VOID = frozenset({"br", "hr", "img", "input", "meta"})
# The page's HTML component reads its value as a template too: braces and dollars must arrive as entities.
_CODE = re.compile("&#96;(.+?)&#96;")
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def text(value: object) -> Safe:
    """Any value as text: `<`, `&`, quotes and template characters become entities; `Safe` passes, and an
    error meant for people is its sentence."""
    if isinstance(value, Safe):
        return value
    words = value.sentence if isinstance(value, LetheError) else str(value)
    return Safe(escape(words).translate(_TEMPLATE))


def coded(words: object) -> Safe:
    """Words as `text`, with what stands between backticks drawn as code."""
    return Safe(_CODE.sub(r"<code>\1</code>", str(text(words))))


def join(*children: object) -> Safe:
    """Children side by side; None is skipped, and an error meant for people shows its backticks as code."""
    shown = (coded(child) if isinstance(child, LetheError) else text(child) for child in children if child is not None)
    return Safe("".join(shown))


def tag(name: str, *children: object, **attributes: object) -> Safe:
    """`<name ...>children</name>`. `class_` means class, underscores become hyphens; None and False are
    left out, True stands alone."""
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        written += f" {label}" if value is True else f' {label}="{text(value)}"'
    if name in VOID:
        return Safe(f"<{name}{written}>")
    return Safe(f"<{name}{written}>{join(*children)}</{name}>")


def breakable(words: str) -> Safe:
    """Text of long names that may break after every underscore and slash, before it does elsewhere."""
    return Safe(re.sub("([_/])", r"\1<wbr>", str(text(words))))


def details(summary: object, *children: object, class_: str = "le-note") -> Safe:
    """A fold that works without scripts and by keyboard."""
    return tag("details", tag("summary", summary), *children, class_=class_)


def explained(name: str, words: str, formula: str) -> Safe:
    """`words` with a formula that hover and focus show; `name` is unlike any other on the page."""
    tip = tag("span", formula, class_="le-tip", id=f"le-formula-{name}", role="tooltip")
    button = tag("button", words, type="button", class_="le-explained", aria_describedby=f"le-formula-{name}")
    return tag("span", button, tip, class_="le-explains")
