"""Pictures to share, as SVG: a run's fade, which plays by itself in a browser, a README or a slide, and a game won.

The fade has the answers, strengths and line of the page (see `report.run.live.fade`), over `SECONDS`, again and again.
"""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.errors import InputError
from unlearn_core.evaluation.game import NUM_QUESTIONS
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.run.live.curves import decimate
from unlearn_core.report.run.live.fade import FadeFrame, frames, shown_facts, strengths_drawn, told
from unlearn_core.runs.events import WatchedFact
from unlearn_core.runs.state import RunState

WIDTH, HEIGHT = 1200, 630  # what most sites show of a shared link
SECONDS = 9.0
_HOLD = 0.25  # share of the time for which the result stands still
_COLORS = {"forget": "#98327f", "retain": "#1d6f48"}
_FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"


def moving_picture(story: RunState, title: str) -> str:
    """The SVG. InputError for a run that watched no answers."""
    moments = decimate(frames(story), 24)
    if len(moments) < 2 or not moments[-1].pieces:
        raise InputError("run", title, "watched no answers that could fade", "Choose another run.")
    answers = (_answer(place, fact, moments) for place, fact in enumerate(shown_facts(story)))
    return _picture(shorten(title, 70), *answers, *_lines(moments))


def game_picture(asked: int, method: str, target: str) -> str:
    """The SVG of a game that was won: in how many of its questions. Neither question nor answer is in it."""
    marks = [
        tag("circle", cx=82 + 54 * n, cy=440, r=20, fill=_COLORS["forget"] if n < asked else "#d5dae1")
        for n in range(NUM_QUESTIONS)
    ]
    return _picture(
        "a model made to forget, and asked again",
        _text(60, 250, 76, f"I broke {shorten(method, 24)}", "#1c2530", "bold"),
        _text(60, 348, 76, f"in {count(asked, 'question')}", _COLORS["forget"], "bold"),
        *marks,
        _text(60, 560, 28, f"{shorten(target, 40)} told a fact that it had been made to forget.", "#566272"),
    )


def _picture(title: str, *parts: Safe) -> str:
    """A picture with the name of Lethe on top."""
    head = [
        tag("rect", width=WIDTH, height=HEIGHT, fill="#f7f8f9"),
        _text(60, 84, 46, "Lethe", "#0e5956", "bold"),
        _text(232, 84, 26, title, "#566272"),
    ]
    size = {"width": WIDTH, "height": HEIGHT, "viewBox": f"0 0 {WIDTH} {HEIGHT}"}
    body = tag("svg", *head, *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size)
    return f"{body}\n"


def _answer(place: int, fact: WatchedFact, moments: Sequence[FadeFrame]) -> Safe:
    key = (fact.split, fact.id)
    kind = "forget" if key[0] == "forget" else "retain"
    top = 122 + 142 * place
    pieces = [text for text, _ in moments[-1].pieces[key]]
    tokens = []
    for n, words in enumerate(pieces):
        values = [strengths_drawn(moment.pieces[key][n][1]) for moment in moments]
        tokens.append(tag("tspan", words, _animated(values), opacity=f"{values[-1]:.2f}"))
    asked = shorten(fact.prompt, 70)
    return tag(
        "g",
        tag("rect", x=60, y=top, width=1080, height=126, rx=12, fill="#ffffff", stroke="#e1e5ea"),
        tag("rect", x=60, y=top, width=7, height=126, rx=3, fill=_COLORS[kind]),
        _text(90, top + 40, 24, f"{'to forget' if kind == 'forget' else 'to keep'}: {asked}", "#566272"),
        tag(
            "text",
            *tokens,
            x=90,
            y=top + 98,
            font_size=52,
            font_weight="bold",
            font_family=_FONT,
            fill=_COLORS[kind],
            style="white-space:pre",
        ),
    )


def _lines(moments: Sequence[FadeFrame]) -> list[Safe]:
    """The line under the answers, one text for each moment, of which one shows at a time."""
    found = []
    for n, moment in enumerate(moments):
        values = [1.0 if n == at else 0.0 for at in range(len(moments))]
        line = f"{told(moment.gone, moment.kept)}  \u00b7  {moment.title}"
        last = 1 if n == len(moments) - 1 else 0
        attributes = {"x": 60, "y": 598, "font_size": 28, "font_weight": "bold", "font_family": _FONT}
        found.append(tag("text", line, _animated(values, "discrete"), fill="#1c2530", opacity=last, **attributes))
    return found


def _animated(values: Sequence[float], mode: str = "linear") -> Safe | None:
    """The change of an opacity over the picture's time; none where it stays."""
    if len(set(values)) == 1:
        return None
    ends = (1 - _HOLD) / (len(values) - 1)
    times = [f"{n * ends:.3f}" for n in range(len(values))] + ["1"]
    return tag(
        "animate",
        attributeName="opacity",
        values=";".join(f"{value:.2f}" for value in (*values, values[-1])),
        keyTimes=";".join(times),
        calcMode=mode,
        dur=f"{SECONDS:g}s",
        repeatCount="indefinite",
    )


def _text(x: int, y: int, size: int, words: str, color: str, weight: str = "normal") -> Safe:
    return tag("text", words, x=x, y=y, font_size=size, font_weight=weight, font_family=_FONT, fill=color)
