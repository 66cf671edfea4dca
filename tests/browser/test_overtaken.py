"""What a reader unfolded, moved or chose while something else arrives: it stays, and the last choice is drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from form_steps import open_details

from unlearn_core.data.types import Example
from unlearn_core.evaluation.game import Game
from unlearn_core.report.kit.markup import join, tag
from unlearn_core.runs.audit_record import AuditRecord
from unlearn_core.runs.events import Cancelled, Judged
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.chat import Chat, ChatTurn
from unlearn_core.service.prober import Prober
from unlearn_core.service.recover import Played, Recover
from unlearn_core.service.studio import Studio
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery
from unlearn_core.ui.tabs import attack_tab, leaderboard_tab
from unlearn_core.ui.tabs.chat_tab import ON_SCREEN

# Until the page has drawn what it was told.
_DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


def result(name: str) -> dict[str, Any]:
    return {"name": name, "title": name, "verdict": "holds", "rows": [{"asked": f"Is {name} gone?"}]}


def test_a_fold_of_attacks_stays_open_while_more_are_done(
    open_tab: Callable[..., Any], finished_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are listed in a fixed order: what is done later may come above what is read."""
    record = AuditRecord("running", 1.0, results={"Second": result("Second")})
    monkeypatch.setattr(attack_tab, "read_audits", lambda *_: record)
    page = open_tab(f"?run={finished_run}&tab=attack").page
    page.locator("#le-leakage summary").click()
    page.get_by_text("Is Second gone?").wait_for()
    record = AuditRecord("running", 2.0, results={"First": result("First"), "Second": result("Second")})
    page.locator("#le-leakage tr", has_text="First").wait_for()
    assert page.locator("#le-leakage details[open]").all_inner_texts() == [
        "What lies behind it\nasked: Is Second gone?"
    ]
    page.locator("#le-leakage details[open] summary").click()
    record = replace(record, created=3.0, results={**record.results, "Third": result("Third")})
    page.locator("#le-leakage tr", has_text="Third").wait_for()
    assert page.locator("#le-leakage details[open]").count() == 0


def test_maps_of_other_runs_are_drawn_where_the_slider_stands(
    open_tab: Callable[..., Any], finished_run: str, run_to_its_end: Callable[..., str], small_form: dict[str, Any]
) -> None:
    short, long = (run_to_its_end(**small_form | {"settings": {"steps": steps}, "seed": 7}) for steps in (2, 9))
    tab = open_tab(f"?compare={finished_run},{short},{long}")
    page, slider = tab.page, tab.page.locator("#le-maps .le-at")
    page.wait_for_selector("#le-maps .le-map >> nth=2")
    # As if the first run had other moments.
    page.evaluate("""() => {
      const {dataset} = document.querySelector('#le-maps .le-map');
      dataset.map = dataset.map.replace('the original', 'another original');
    }""")
    slider.fill("0")
    page.locator("#le-maps output", has_text="another original").wait_for()
    page.locator("#le-compared .token-remove").first.click()
    page.wait_for_function("document.querySelectorAll('#le-maps .le-map').length === 2")
    drawn = """() => [...document.querySelectorAll('#le-maps .le-map')].map((one) => {
      const {titles} = JSON.parse(one.dataset.map), slider = document.querySelector('#le-maps .le-at');
      const moment = Math.round(slider.value / slider.max * (titles.length - 1));
      return [one.querySelector('output').textContent, titles[moment]];
    })"""
    for moment in range(int(slider.get_attribute("max") or 0)):
        for told, right in page.evaluate(drawn):
            assert told == right
        slider.fill(str(moment + 1))
    assert not tab.problems


def test_words_searched_for_are_searched_for_in_another_table_too(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?tab=gallery").page
    page.wait_for_selector("#le-gallery table")
    page.get_by_role("searchbox").fill("SimNPO")
    for order in ("Task aggregate", "Final score"):
        page.evaluate("document.querySelector('#le-gallery tbody tr').setAttribute('data-old', '')")
        page.get_by_role("radio", name=order).check()
        page.wait_for_selector("#le-gallery tbody:not(:has([data-old]))")
        assert page.get_by_role("searchbox").input_value() == "SimNPO"
        assert page.locator("#le-gallery tbody tr:visible").count() == 1


def test_of_quick_choices_the_last_is_drawn(open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, chosen, draw = threading.Event(), threading.Event(), leaderboard_tab.board_table

    def late(board: Any, order: str, *rest: Any) -> Any:
        if order == "Task aggregate":
            drawing.set()
            chosen.wait(60)
        return join(draw(board, order, *rest), tag("p", f"Drawn by {order}"))

    page = open_tab("?tab=gallery").page
    page.wait_for_selector("#le-gallery table")
    monkeypatch.setattr(leaderboard_tab, "board_table", late)
    page.get_by_role("radio", name="Task aggregate").check()
    assert drawing.wait(60)
    page.get_by_role("radio", name="Utility").check()
    page.wait_for_url("**order=Utility")
    chosen.set()
    page.locator("#le-gallery", has_text="Drawn by Utility").wait_for()


def test_a_table_of_every_run_does_not_come_after_that_of_the_words_searched_for(
    open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_tab("").page
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector("#le-runs :is(p, table)")
    reading, searched, read = threading.Event(), threading.Event(), RunStore.rows

    def late(store: RunStore, query: RunQuery) -> Any:
        found = read(store, query)
        if not query.text:
            reading.set()
            searched.wait(60)
        return found

    monkeypatch.setattr(RunStore, "rows", late)
    page.get_by_role("button", name="Refresh").click()
    assert reading.wait(60)
    page.fill("#le-search :is(input, textarea)", "nowhere")
    page.get_by_text("No run fits this filter").wait_for()
    with page.expect_event("requestfinished", lambda request: "/predict" in request.url):
        searched.set()
    page.evaluate(_DRAWN)
    assert page.get_by_text("No run fits this filter").is_visible()


def test_runs_that_are_gone_are_not_picked_and_keep_no_other_from_its_tags(
    open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, read = [], RunStore.rows
    monkeypatch.setattr(RunStore, "rows", lambda store, query: (stores.append(store), read(store, query))[1])
    page = open_tab("").page
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector("#le-runs :is(p, table)")
    gone, left = (stores[0].create(RunSpec(seed=seed)).id for seed in (21, 22))
    page.get_by_role("button", name="Refresh").click()
    for run, told in ((gone, "1 run picked"), (left, "2 runs picked")):
        stores[0].append(run, Cancelled())
        page.check(f"#le-runs input[data-run='{run}']")
        page.locator("#le-picked", has_text=told).wait_for()
    stores[0].delete(gone, operator=True)
    page.click("#le-edit > button")
    page.fill("#le-new-tags :is(input, textarea)", "kept")
    page.click("#le-label")
    page.locator(".toast-body", has_text="1 run not changed").wait_for()
    page.locator("#le-runs tr", has=page.locator(f"[data-run='{left}']")).locator(".le-tag", has_text="kept").wait_for()
    page.locator("#le-picked", has_text="1 run picked").wait_for()


def test_a_game_that_is_given_up_is_not_gone_on_with(
    open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, ended = threading.Event(), threading.Event()

    def relearn(_: Recover, game: Game, owner: str) -> Iterator[Played]:
        try:
            yield Played(game, doing="It waits for its turn")
            given_up.wait(60)
            yield Played(game)
        finally:
            ended.set()

    monkeypatch.setattr(Recover, "runs", lambda *_: [("The level", "level")])
    monkeypatch.setattr(Recover, "names", lambda *_: ("NPO", "a model"))
    monkeypatch.setattr(Recover, "begin", lambda *_: Game("level", Example("1", "Where is Ada?", "Oldport")))
    monkeypatch.setattr(Recover, "ways", lambda *_: [])
    monkeypatch.setattr(Recover, "relearn", relearn)
    page = open_tab("?tab=recover").page
    page.locator("#le-game-relearn").click()
    page.locator("#le-game", has_text="It waits for its turn").wait_for()
    page.locator("#le-game-quit").click()
    page.locator("#le-game", has_text="Given up").wait_for()
    given_up.set()
    assert ended.wait(60)
    monkeypatch.setattr(Recover, "runs", lambda *_: [("The level anew", "level")])  # which comes after all before it
    page.get_by_role("tab", name="Unlearn", exact=True).click()
    page.get_by_role("tab", name="Recover", exact=True).click()
    page.wait_for_function("document.querySelector('#le-level input').value === 'The level anew'")
    assert page.locator("#le-game", has_text="Given up").is_visible()


def test_an_answer_of_one_conversation_does_not_come_into_another(
    open_tab: Callable[..., Any], finished_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = threading.Event()

    def reply(chat: Chat, subject: Any, turns: Any, question: str, sampling: Any) -> Iterator[ChatTurn]:
        for words in ("The first words", "The first words and the last"):
            yield ChatTurn(question, {model: [(words, None)] for model in ("original", "unlearned")})
            changed.wait(60)

    monkeypatch.setattr(Chat, "reply", reply)
    monkeypatch.setattr(Chat, "is_live", lambda *_: True)
    page = open_tab(f"?run={finished_run}&tab=chat").page
    page.locator("#le-chat .le-tag", has_text="Recorded").wait_for()
    page.fill("#le-chat-question textarea", "Who is it?")
    page.click("#le-chat-ask")
    page.locator("#le-chat", has_text="The first words").wait_for()
    with page.expect_response(lambda response: response.url.endswith("/cancel")):
        page.locator("#le-chat-about").get_by_label(ON_SCREEN).check()
    page.wait_for_function("!document.querySelector('#le-chat').textContent.includes('The first words')")
    changed.set()
    page.fill("#le-chat-question textarea", "And now?")
    page.click("#le-chat-ask")
    page.locator("#le-chat [aria-busy=false]", has_text="and the last").last.wait_for()
    assert "And now?" in page.inner_text("#le-chat")
    assert "Who is it?" not in page.inner_text("#le-chat")


def test_what_is_told_of_an_answer_is_of_what_was_asked(
    open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next question may stand in the form before the answer to the last one is written."""
    typed, seen = threading.Event(), []

    def answer(*_: object) -> Iterator[dict[str, str]]:
        yield {"original": "In Old ..."}
        typed.wait(60)

    def inspect(prober: Prober, run: str, place: str, prompt: str, gold: str) -> dict[str, Any]:
        seen.append((prompt, gold))
        return {}

    monkeypatch.setattr(Studio, "ask", answer)
    monkeypatch.setattr(Prober, "inspect", inspect)
    monkeypatch.setattr(Prober, "ways", lambda *_: iter(()))
    page = open_tab("?tab=probe").page
    prompt, gold = page.locator("#le-prompt textarea"), page.locator("#le-gold :is(textarea, input)")
    prompt.fill("Where is Ada?")
    gold.fill("Oldport")
    page.click("#le-ask")
    page.locator("#le-answers", has_text="In Old ...").wait_for()
    prompt.fill("Where is Bo?")
    gold.fill("Westbury")
    gold.blur()
    typed.set()
    page.wait_for_selector("#le-tokens p")
    assert seen == [("Where is Ada?", "Oldport")]


def test_prompts_that_were_chosen_stay_when_attacks_change_the_verdict(
    open_tab: Callable[..., Any],
    run_to_its_end: Callable[..., str],
    small_form: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_to_its_end(**small_form, seed=11)
    page = open_tab(f"?run={run}").page
    open_details(page)
    kinds = page.locator("#le-details fieldset", has_text="Prompts").get_by_role("radio")
    page.evaluate("document.querySelector('#le-side-by-side article').setAttribute('data-old', '')")
    kinds.nth(1).check()
    page.wait_for_function("!document.querySelector('#le-side-by-side [data-old]')")
    before = page.inner_text("#le-side-by-side")
    stores: list[RunStore] = []

    def over(store: RunStore, *_: object) -> AuditRecord:
        stores.append(store)
        return AuditRecord("finished", float(len(stores)))

    monkeypatch.setattr(attack_tab, "read_audits", over)
    page.get_by_role("tab", name="Attack").click()
    page.locator("#le-attack-progress", has_text="Done").wait_for()
    stores[0].append(run, Judged({**(stores[0].state(run).verdict or {}), "headline": "Judged anew"}))
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.get_by_role("tab", name="Attack").click()
    page.get_by_role("tab", name="Unlearn", exact=True).click()
    page.locator("#le-verdict h2", has_text="Judged anew").wait_for()
    assert kinds.nth(1).is_checked()
    assert page.inner_text("#le-side-by-side") == before
