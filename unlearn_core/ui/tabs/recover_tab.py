"""Recover it: twenty questions to get one forgotten fact out of an unlearned model.

The game is in the visitor's session, and kept by the service for when their page is loaded anew; never in their
browser, which would have the answer with it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.evaluation.game import RELEARN_COST, Ask, Game, Ready
from unlearn_core.limits import PROMPT_CHARACTERS
from unlearn_core.report.kit.markup import Safe
from unlearn_core.report.run.answers.recover import asks_view, game_view, levels_table, trouble
from unlearn_core.service.recover import Played, Recover, no_game
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, COPY, GENERATES, PRIVATE, heading, opens_tab, panel, toast
from unlearn_core.ui.page import RunTab

_NO_RUNS = "No finished run with kept weights yet. Press Make it forget on the first tab, then recover it here."
_COPY_SHARE = COPY % "document.querySelector('#le-share-text').textContent"
_SEEDS = 2**31
# The picture as PNG, which every site takes; the browser draws it.
_SAVE_PICTURE = """() => {
  const drawn = document.querySelector('#le-share-picture'), sheet = document.createElement('canvas');
  [sheet.width, sheet.height] = [drawn.naturalWidth, drawn.naturalHeight];
  sheet.getContext('2d').drawImage(drawn, 0, 0);
  const link = document.createElement('a');
  [link.href, link.download] = [sheet.toDataURL('image/png'), 'lethe_game.png'];
  link.click();
}"""
# The form goes when the game is over, and the focus would go with it.
_TO_THE_END = "() => document.querySelector('#le-game-over')?.focus()"


def build_recover_tab(studio: Studio, run: RunTab, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Lay the tab out and wire it; must be called inside the tab."""
    recover = Recover(studio)
    session = run.session
    heading(
        "Recover it",
        "Twenty questions to get a forgotten fact out of a model. Every answer is the unlearned model's own.",
    )
    with panel():
        level = gr.Dropdown([], label="Level", info="A finished run", elem_id="le-level")
        shown = gr.HTML(elem_id="le-game")
        with gr.Column(visible=False) as form:
            question = gr.Textbox(
                label="Your question",
                lines=1,
                max_lines=6,
                max_length=PROMPT_CHARACTERS,
                placeholder="Ask in your own words, in any language",
                elem_id="le-game-question",
            )
            with gr.Row():
                begun = gr.Textbox(
                    label="Begin its answer",
                    lines=1,
                    max_length=PROMPT_CHARACTERS,
                    info="It goes on from there; may stay empty",
                    min_width=220,
                    elem_id="le-game-begun",
                )
                ready = gr.Dropdown(
                    [], label="Ready wording", info="Fills the fields", min_width=220, elem_id="le-game-ready"
                )
            on = gr.Checkbox(
                False,
                label="Go on in the same conversation",
                info="Your last question and its answer go before this one",
                elem_id="le-game-on",
            )
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Ask the model", variant="primary", visible=False, elem_id="le-game-ask")
            relearn = gr.Button(
                f"Relearn: {RELEARN_COST} questions", size="sm", visible=False, elem_id="le-game-relearn"
            )
            quit_it = gr.Button("Give up", size="sm", visible=False, elem_id="le-game-quit")
            copy = gr.Button("Copy what to share", size="sm", visible=False, elem_id="le-game-copy")
            picture = gr.Button("Save the picture", size="sm", visible=False, elem_id="le-game-picture")
            another = gr.Button("Another secret", size="sm", visible=False, elem_id="le-game-another")
            attack = gr.Button("Attack it instead", size="sm", elem_id="le-game-attack")
    asked = gr.HTML(elem_id="le-game-asked")
    heading("Levels broken", "By everybody who played here, and in how few questions. No question or answer is in it.")
    with panel():
        table = gr.HTML(elem_id="le-levels")
    game, opened_at = gr.State(None), gr.State("")
    drawn = [game, shown, asked, form, ask, quit_it, relearn, copy, picture, another, table]
    fields = [question, begun, ready, on]

    def table_now() -> Safe:
        titles = recover.titles()
        return levels_table(recover.levels(), titles.methods, titles.targets)

    def draw(played: Played) -> tuple[object, ...]:
        now = played.game
        method, target = recover.names(now.run_id)
        return (
            now,
            game_view(now, method, target, probe=played.probe),
            asks_view(now),
            *[gr.update(visible=not now.over)] * 3,
            gr.update(visible=now.can_relearn),
            *[gr.update(visible=now.broken)] * 2,
            gr.update(visible=True),
            table_now(),
        )

    def empty_fields(ways: Sequence[Ready]) -> tuple[object, ...]:
        choices = [(one.way, number) for number, one in enumerate(ways)]
        return "", "", gr.update(choices=choices, value=None), False

    def resume(played: Played) -> tuple[object, ...]:
        """The game as it stands, and empty fields with its ready wordings."""
        return *draw(played), *empty_fields(recover.ways(played.game))

    def begin(run_id: str | None, before: Game | None, owner: str, on_screen: str) -> tuple[object, ...]:
        """A new secret of the level, and empty fields with its ready wordings; or why there is none."""
        nothing = (*[gr.update(visible=False)] * 7, table_now())
        if not run_id:
            return None, trouble(_NO_RUNS), "", *nothing, *empty_fields([])
        try:
            but = before.secret.input if before is not None and before.run_id == run_id else ""
            return resume(Played(recover.begin(run_id, owner, random.randrange(_SEEDS), but, on_screen)))
        except LetheError as error:
            return None, trouble(error), "", *nothing, *empty_fields([])

    def open_tab(on_screen: str, at: str, chosen: str | None, before: Game | None, owner: str) -> tuple[object, ...]:
        """The levels. A game goes on, after a reload too, unless another run came on screen since; else the run on
        screen is next."""
        offered = recover.runs(owner)
        known = [value for _, value in offered]
        if before is not None and before.run_id in known and on_screen == at:
            return gr.update(choices=offered, value=chosen), on_screen, *[gr.skip()] * (len(drawn) + len(fields))
        kept, kept_at = studio.games.of(owner)
        if before is None and kept is not None and kept.game.run_id in known and on_screen == kept_at:
            with contextlib.suppress(LetheError):  # what it was about cannot be read any more: begun anew
                return gr.update(choices=offered, value=kept.game.run_id), on_screen, *resume(kept)
        pick = on_screen if on_screen in known else known[0] if known else None
        return gr.update(choices=offered, value=pick), on_screen, *begin(pick, before, owner, on_screen)

    def under_way(now: Game, going: Iterator[Played], asking: Callable[[str], Ask]) -> Iterator[tuple[object, ...]]:
        """The game while a question of it is answered."""
        method, target = recover.names(now.run_id)
        for played in going:
            if played.writing is None and not played.doing:
                yield draw(played)
                return
            view = game_view(now, method, target, played.doing or "The model answers ...")
            yield gr.skip(), view, asks_view(now, asking(played.writing or "")), *[gr.skip()] * (len(drawn) - 3)

    def put(now: Game | None, prompt: str, beginning: str, further: bool, owner: str) -> Iterator[tuple[object, ...]]:
        with toast("Not asked"):
            if now is None:
                raise no_game()
            going = recover.ask(now, prompt or "", beginning or "", owner, further)
            turns = now.conversation if further else ()
            yield from under_way(now, going, lambda said: Ask(prompt.strip(), beginning.strip(), said, False, turns))

    def teach(now: Game | None, owner: str) -> Iterator[tuple[object, ...]]:
        try:
            with toast("Not relearned"):
                if now is None:
                    raise no_game()
                going, asked_for = recover.relearn(now, owner), now.secret.input
                yield from under_way(now, going, lambda said: Ask(asked_for, "", said, False, relearned=True))
        except gr.Error:
            if now is not None:
                yield draw(Played(now))
            raise

    def fill(now: Game | None, number: int | None) -> tuple[object, ...]:
        with toast("The ready wordings are not here"):
            ways = recover.ways(now) if now is not None else []
        if number is None or not 0 <= number < len(ways):
            return gr.skip(), gr.skip()
        return ways[number].prompt, ways[number].begun

    def quit_game(now: Game | None, owner: str) -> tuple[object, ...]:
        with toast("Not given up"):
            if now is None:
                raise no_game()
            return draw(Played(recover.give_up(now, owner)))

    tab.select(
        open_tab,
        [session.run_id, opened_at, level, game, session.owner],
        [level, opened_at, *drawn, *fields],
        **PRIVATE,
    )
    put_it = gr.on(
        [ask.click, question.submit, begun.submit],
        put,
        [game, question, begun, on, session.owner],
        drawn,
        trigger_mode="once",
        **GENERATES,
    )
    put_it.success(None, js=_TO_THE_END, **AT_ONCE)
    taught = relearn.click(
        teach,
        [game, session.owner],
        drawn,
        trigger_mode="once",
        concurrency_id="relearn",
        concurrency_limit=8,
        **PRIVATE,
    )
    taught.success(None, js=_TO_THE_END, **AT_ONCE)
    # A question under way is of the game that ends.
    ends: dict[str, Any] = {"cancels": [put_it, taught], **PRIVATE}
    new = [level, game, session.owner, opened_at], [*drawn, *fields]
    level.input(begin, *new, trigger_mode="always_last", **ends)
    another.click(begin, *new, **ends)
    ready.input(fill, [game, ready], [question, begun], **PRIVATE)
    quit_it.click(quit_game, [game, session.owner], drawn, **ends).success(None, js=_TO_THE_END, **AT_ONCE)
    copy.click(None, js=_COPY_SHARE, **AT_ONCE)
    picture.click(None, js=_SAVE_PICTURE, **AT_ONCE)
    opens_tab(attack.click, tabs, "attack")
