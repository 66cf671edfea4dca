"""The methods as their own declarations tell them: what the Methods tab, the form and `lethe methods` say.

Every word comes from `methods.describe`; a method that is added appears here without another line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, breakable, details, join, tag
from unlearn_core.report.kit.table import scrolled, table

Method = Mapping[str, Any]  # what `methods.describe` returns
Parameter = Mapping[str, Any]  # one of its parameters
NO_WEIGHT = "changes no weight"
EVERY = "All families"


def families(methods: Sequence[Method]) -> list[str]:
    """The families there are, in the registry's order."""
    return list(dict.fromkeys(str(method["family"]) for method in methods))


def choices(methods: Sequence[Method]) -> list[tuple[str, str]]:
    """(label, name) to choose from: Lethe's own first, then family by family, which the label tells.

    A list that is searched keeps this order, so that a short name finds the method of that name before those made
    of it.
    """
    own = [method for method in methods if str(method["name"]).startswith("lethe")]
    others = [method for method in methods if method not in own]
    order = [family for family in families(others) if family != "recipe"]
    ranked = sorted(others, key=lambda m: order.index(m["family"]) if m["family"] in order else len(order))
    return [(str(method["title"]), str(method["name"])) for method in own] + [
        (f"{method['title']} \u00b7 {method['family']}", str(method["name"])) for method in ranked
    ]


def facts(method: Method) -> list[tuple[str, str]]:
    """What is known of a method beside its idea, as (name, text)."""
    found = [
        ("Formula", method["formula"]),
        ("Source", method["paper"]),
        ("Cost", f"{method['cost']:g}x the work of fine-tuning on the forget batch, in each step"),
        ("Needs", ", ".join(method["needs"])),
    ]
    if not method["changes_weights"]:
        found.append(("Weights", f"It {NO_WEIGHT}: what it hides is still there beneath."))
    if method["caution"]:
        found.append(("Careful", method["caution"]))
    return found


def allowed(parameter: Parameter) -> str:
    """The values a setting takes: `0 to 1`, `1 to 100,000`, `a|b`, `True or False`, or its type."""
    if parameter["choices"]:
        return "|".join(parameter["choices"])
    if parameter["type"] == "bool":
        return "True or False"
    least, most = parameter["minimum"], parameter["maximum"]
    if least is None or most is None:
        return str(parameter["type"])
    return " to ".join(f"{end:,.0f}" if float(end).is_integer() else f"{end:g}" for end in (least, most))


def method_note(method: Method) -> Safe:
    """The method in a few lines, above its form: idea, the rest folded."""
    return join(tag("p", method["idea"]), _mark(method), details("Formula and source", _facts(method)))


def methods_page(methods: Sequence[Method], family: str = EVERY, words: str = "") -> Safe:
    """A card a method, those of one family (or EVERY) in which all the words occur."""
    found = [method for method in methods if _fits(method, family, words)]
    told = f"{count(len(found), 'method')} of {len(methods)}."
    if not found:
        told += " Use fewer words, or another family."
    return join(tag("p", told, class_="le-muted", role="status"), *(_card(method) for method in found))


def _fits(method: Method, family: str, words: str) -> bool:
    text = " ".join(
        [method["name"], method["title"], method["family"], method["idea"], *(value for _, value in facts(method))]
    ).lower()
    return family in (EVERY, method["family"]) and all(word in text for word in words.lower().split())


def _card(method: Method) -> Safe:
    name = str(method["name"])
    use = tag(
        "button",
        "Use it",
        type="button",
        class_="le-use",
        data_method=name,
        aria_label=f"Use {method['title']} on the first tab",
    )
    head = tag(
        "header",
        tag("h3", method["title"]),
        tag("code", name),
        *(tag("span", method[key], class_="le-tag") for key in ("family", "taxonomy")),
        _mark(method),
        use,
    )
    settings = _settings(name, method["parameters"])
    return tag("article", head, tag("p", method["idea"]), _facts(method), settings, class_="le-card le-method")


def _mark(method: Method) -> Safe | None:
    return None if method["changes_weights"] else tag("span", NO_WEIGHT, class_="le-tag le-limit")


def _facts(method: Method) -> Safe:
    pairs = [
        join(tag("dt", name), tag("dd", tag("code", words) if name == "Formula" else words))
        for name, words in facts(method)
    ]
    return tag("dl", *pairs, class_="le-remarks")


def _settings(name: str, parameters: Sequence[Parameter]) -> Safe | None:
    if not parameters:
        return None
    rows = ([tag("code", breakable(item["name"])), item["default"], allowed(item), item["help"]] for item in parameters)
    made = table(("Setting", "Default", "Values", "Meaning"), rows)
    return details(count(len(parameters), "setting"), scrolled(made, f"Settings of {name}"))
