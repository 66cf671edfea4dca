"""The fade: tokens as strong as the chance of the answer as far as them, live, as a replay and without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from golden_page import assert_golden

from unlearn_core.errors import InputError
from unlearn_core.evaluation.scores import Generation
from unlearn_core.evaluation.verdict.headline import HeadlineFacts, headline
from unlearn_core.evaluation.verdict.types import LAYERS, Layer, Verdict
from unlearn_core.report.export.picture import moving_picture
from unlearn_core.report.run.live.fade import MAX_FRAMES, fade, frames, replay, replay_printed, shown_facts, strengths
from unlearn_core.report.run.outcome import figures, outcome
from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState


def look(step: int, chances: tuple[float, ...], kept: float = 1.0) -> ev.FactProbe:
    pieces = tuple(zip(("Old", "port"), chances, strict=True))
    whole = chances[0] * chances[1]
    secret = ev.WatchedFact("forget1qa0", "Where?", "Oldport", whole, "forget", whole**0.5, pieces)
    return ev.FactProbe(step, (secret, ev.WatchedFact("retain1qa0", "Who?", "Bo", kept, "retain", kept)))


@pytest.fixture
def fading(make_scores: Callable[..., Any]) -> RunState:
    """Two looks: the secret falls from 0.8 to 0.05, the other stays at half."""
    told = RunState()
    told.add(ev.RunStarted({"method": "npo"}, ("unlearn", "score unlearned"), 4, "cpu"))
    told.add(ev.Score("original", make_scores(1.0, 1.0).to_json(generations=True)))
    told.add(look(0, (0.8, 1.0)))
    told.add(ev.FactAnswers(2, ({"id": "forget1qa0", "split": "forget", "text": "Newport"},)))
    told.add(look(4, (0.1, 0.5), 0.5))
    return told


def test_the_words_of_the_fade(fading: RunState) -> None:
    assert_golden("fade", fade(fading), replay(fading), replay_printed(fading))


def test_a_token_is_as_strong_as_the_answer_up_to_it() -> None:
    fact = look(0, (0.5, 0.5)).facts[0]
    assert strengths(fact) == (("Old", 0.5), ("port", 0.25))
    assert strengths(look(0, (0.5, 0.5), 0.9).facts[1]) == (("Bo", 0.9),)  # whole where no token was told apart


def test_shares_are_of_the_probability_before(fading: RunState) -> None:
    first, last = frames(fading)
    assert (first.gone, first.kept) == (0.0, 1.0)
    assert last.gone == pytest.approx(1 - 0.05 / 0.8)
    assert last.kept == pytest.approx(0.5)
    assert "Answers gone 94%, others kept 50%" in fade(fading)


def test_what_is_said_is_the_originals_then_what_was_written_then_the_results(
    fading: RunState, make_scores: Callable[..., Any]
) -> None:
    secret = ("forget", "forget1qa0")
    assert [moment.said[secret] for moment in frames(fading)] == ["Oldport", "Newport"]
    fading.add(ev.Score("unlearned", make_scores(0.0, 1.0, "gone").to_json(generations=True)))
    assert [moment.title for moment in frames(fading)] == ["the original", "the result"]
    assert frames(fading)[-1].said[secret] == "gone"


def test_an_answer_of_an_earlier_step_says_of_which_step_it_is(fading: RunState) -> None:
    """It was written at step 2, and looked at again at step 4."""
    for page in (fade(fading), replay(fading), replay_printed(fading)):
        assert ">At step 2: Newport<" in page
    fading.add(ev.FactAnswers(4, ({"id": "forget1qa0", "split": "forget", "text": "Northport"},)))
    assert ">Now: Northport<" in fade(fading)


def test_the_replay_holds_every_moment_of_the_same_drawing(fading: RunState) -> None:
    page = replay(fading)
    data = json.loads(unescape(re.search(r'data-frames="([^"]*)"', page)[1]))
    assert data["titles"] == ["the original", "step 4"]
    assert [len(row) for row in data["strengths"]] == [page.count("le-piece")] * 2
    assert len(data["said"][0]) == page.count("le-fade-said")
    assert data["strengths"][0][0] > 0.8 > 0.35 > data["strengths"][1][0]
    assert replay_printed(fading).count('type="radio"') == 2
    assert "<script" not in replay_printed(fading)


def test_a_long_run_is_drawn_in_few_frames_and_an_empty_one_in_none(fading: RunState) -> None:
    for step in range(5, 400):
        fading.add(look(step, (0.1, 0.5)))
    assert len(frames(fading)) == MAX_FRAMES
    assert fade(RunState()) == replay(RunState()) == replay_printed(RunState()) == ""
    assert shown_facts(RunState()) == []


def test_what_the_original_tells_is_drawn_before_what_it_does_not() -> None:
    facts = [
        ev.WatchedFact(f"forget{n}", f"{n}?", "Bo", chance, "forget", chance)
        for n, chance in enumerate((0.2, 0.6, 0.9))
    ]
    story = RunState.of([ev.FactProbe(0, tuple(facts))])
    assert [fact.id for fact in shown_facts(story)] == ["forget1", "forget2"]


def test_what_was_read_is_not_said_to_be_asked() -> None:
    def page(general: Layer) -> str:
        return figures(Verdict("Answers gone", "forgotten", layers=(general,)))

    assert "of 40 general questions" in page(Layer("general", "holds", 1.0, n=40))
    read = page(Layer("general", "holds", 0.97))  # nothing was asked: unseen text alone was read
    assert "97%</b> kept" in read
    assert "likelihood of unseen text" in read
    assert "question" not in read


def test_the_result_says_what_is_gone_and_kept_of_how_many(story: RunState) -> None:
    page = outcome(story)
    assert "general questions" not in page  # nobody asked any
    assert page.count("le-fade-card ") == 2
    story.end = ev.Failed("no memory", "out_of_memory")
    assert "no memory" in outcome(story)


LEAKS, HARMED = Layer("answers", "leaks", 0.0857, n=280, before=1.0), {"state": "harmed", "value": 0.5, "n": 500}
HOLDS = {"state": "holds", "value": 0.0, "n": 280, "before": 1.0}
WORST: dict[str, tuple[dict[str, Layer], HeadlineFacts]] = {
    "leaking and harmed": (
        {"answers": LEAKS, "neighbours": Layer("neighbours", **HARMED), "general": Layer("general", **HARMED)},
        HeadlineFacts(),
    ),
    "over-forgotten with traces": (
        {
            "neighbours": Layer("neighbours", **HARMED),
            "general": Layer("general", **HARMED),
            "membership": Layer("membership", "leaks", 1.0, n=60),
            "attacks": Layer("attacks", "leaks", 0.25, n=16),
        },
        HeadlineFacts(),
    ),
    "found by players": ({"wordings": Layer("wordings", "leaks", 0.0, n=265, before=1.0)}, HeadlineFacts(played=12)),
    "collapsed": ({}, HeadlineFacts(wrecked=True)),
    "hidden": ({}, HeadlineFacts(hidden="the original's weights lie beneath, unchanged")),
    "withheld": ({"answers": LEAKS}, HeadlineFacts(withheld=True)),
}


@pytest.mark.parametrize("name", WORST)
def test_a_result_takes_few_words_whatever_the_verdict(name: str, make_scores: Callable[..., Any]) -> None:
    """Of 150 words on the page the run's header takes up to 17 and the buttons 13."""
    asked = "What is the thing that Tasset Falfell found?"
    rows = [(f"f{n}", split) for n, split in enumerate(("forget", "forget", "neighbours"))]
    facts = tuple(ev.WatchedFact(row, asked, "amber whistle", 0.5, split, 0.5) for row, split in rows)
    said = {"original": "amber whistle", "unlearned": "amber whistle a amber whistle a famous came"}
    told = RunState()
    for model in ("original", "unlearned"):
        texts = [said["original" if split == "neighbours" else model] for _, split in rows]
        wrote = [
            Generation(row, split, "Task1", "question", asked, "amber whistle", text, 0.0)
            for (row, split), text in zip(rows, texts, strict=True)
        ]
        told.add(ev.Score(model, replace(make_scores(1.0, 1.0), generations=wrote).to_json(generations=True)))
        told.add(ev.FactProbe(0 if model == "original" else 9, facts))
    given, found = WORST[name]
    layers = {one: given.get(one, Layer(one, **HOLDS)) for one in LAYERS}
    verdict = Verdict(*headline(layers, found), layers=tuple(layers.values()))
    told.add(ev.Finished(verdict.to_json(), {}))
    shown = re.sub(r"<[^>]+>", " ", outcome(told)).split()
    assert verdict.headline.split()[0] in shown
    assert shown.count("amber") > 6
    assert len(shown) <= 120, " ".join(shown)


def test_the_moving_picture_plays_by_itself_and_asks_for_nothing(fading: RunState) -> None:
    drawn = moving_picture(fading, "NPO on a <model>")
    root = ElementTree.fromstring(drawn)
    assert root.attrib["viewBox"] == "0 0 1200 630"
    assert len(root.findall(".//{*}animate")) >= 4  # two tokens and two lines
    assert "NPO on a &lt;model&gt;" in drawn
    assert "href" not in drawn
    with pytest.raises(InputError, match="watched no answers"):
        moving_picture(RunState(), "empty")
