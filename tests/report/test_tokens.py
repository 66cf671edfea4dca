"""What the Probe tab draws: escaped, named for screen readers, with the numbers behind each chart."""

from __future__ import annotations

from golden_page import assert_golden

from unlearn_core.evaluation.phrasings import WordingReply, leak
from unlearn_core.evaluation.rephrase import PromptVariant
from unlearn_core.models.inference.inspect import Inspection, TokenView
from unlearn_core.report.run.answers.tokens import fade_tables, layers_figure, token_rows, ways_strip
from unlearn_core.runs.events import FactProbe, WatchedFact
from unlearn_core.runs.state import RunState

SEEN = {
    "original": Inspection((TokenView(" <b>", 0.9, 1, ((" <b>", 0.9), ("\n", 0.1))),), (0.1, 0.9)),
    "unlearned": Inspection((TokenView(" <b>", 0.01, 37, ((" no", 0.5),)),), (0.1, 0.01)),
}


def told(way: str, score: float) -> WordingReply:
    return WordingReply(PromptVariant(way, "Who is <i>Bo</i>?", "a baker"), "a baker" if score else "no", score)


def test_the_words_of_the_probe() -> None:
    asked = {"unlearned": [told("as trained", 0.0), told("few-shot", 1.0), told("in German", 0.0)]}
    story = RunState(probes=[FactProbe(0, (WatchedFact("a", "Who?", "Bo", 0.9, "forget"),))])
    tables = fade_tables(SEEN, story, "Who?")
    others = ((told("as trained", 0.0), True), (told("in German", 1.0), True), (told("as trained", 0.0), False))
    strips = [ways_strip({"unlearned": [reply]}, to_forget=to_forget) for reply, to_forget in others]
    unwatched = fade_tables(SEEN, story, "Where?")[1]
    assert_golden("probe", token_rows(SEEN), ways_strip(asked, to_forget=True), *tables, *strips, unwatched)


def test_each_token_is_a_button_that_names_probability_rank_and_rivals() -> None:
    drawn = token_rows(SEEN)
    assert drawn.count("<button") == 2
    assert 'aria-label="&lt;b&gt;: 1%, rank 37. Likeliest here: no 50%"' in drawn
    assert "<b> " not in drawn


def test_charts_have_their_numbers_as_a_table_and_a_file() -> None:
    story = RunState(
        probes=[FactProbe(step, (WatchedFact("a", "Who?", "Bo", p, "forget"),)) for step, p in ((0, 0.9), (5, 0.1))]
    )
    layers, steps = fade_tables(SEEN, story, "Who?")
    assert 'download="layers.csv"' in layers
    assert 'download="steps.csv"' in steps
    assert [trace["y"] for trace in layers_figure(SEEN)["data"]] == [(0.1, 0.9), (0.1, 0.01)]


def test_an_answer_counts_where_the_output_begins_with_it_as_words() -> None:
    asked = PromptVariant("few-shot", "Who?", "a baker")
    assert leak(asked, " A baker\nWho is Ada?") == 1.0
    assert leak(asked, "a bakery") == 0.0
    assert leak(asked, "not a baker") == 0.0
