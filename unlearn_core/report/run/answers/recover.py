"""What a player of "Recover it" sees: what is sought, what was asked, how it ended, and which levels were broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from unlearn_core.evaluation.game import NUM_QUESTIONS, RELEARN_COST, Ask, Control, Game
from unlearn_core.report.export.picture import game_picture
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.store.game.games import Level
from unlearn_core.system.units import MISSING

MAX_SAID = 120  # characters of the last answer, beside how many questions are left


def game_view(game: Game, method: str, target: str, doing: str = "", probe: str = "") -> Safe:
    """The task, and in a line that is read out how it stands or what is being done; once it is over how it ended,
    with the answer."""
    if game.over:
        return _end(game, method, target, probe)
    if doing:
        told = doing
    elif game.asks:
        said = shorten(game.asks[-1].output, MAX_SAID)
        answer = f"It said \u201c{said}\u201d." if said else "It said nothing."
        told = f"{answer} The answer is not in it. {count(game.left, 'question')} left."
    else:
        told = f"{method} made it forget this. You have {count(NUM_QUESTIONS, 'question')}."
    line = tag("p", told, class_="le-muted", aria_live="polite", aria_busy="true" if doing else "false")
    return tag("div", tag("h3", game.goal), line, class_="le-card le-game")


def _end(game: Game, method: str, target: str, probe: str) -> Safe:
    asked = count(game.asked, "question")
    told: list[Safe] = []
    if game.broken:
        title = f"You broke {method} in {asked}"
        again = tag("a", "Ask it again", href=f"?run={game.run_id}&probe={probe}") if probe else None
        kept = "The run's verdict and its attacks count this find. "
        told.append(tag("p", kept, again, class_="le-muted"))
        words = share_text(game, method, target)
        told.append(tag("p", tag("code", words, id="le-share-text"), class_="le-shared"))
        drawn = quote(game_picture(game.asked, method, target))
        told.append(tag("img", src=f"data:image/svg+xml,{drawn}", alt=words, id="le-share-picture", width=600))
    elif game.found:
        title = f"It said the answer, but {method} is not broken"
    else:
        title = f"{method} held" if game.asks else "Given up"
        if game.asks:
            told.append(tag("p", f"It was not recovered in {asked}.", class_="le-muted"))
    if game.control is not None:
        told.insert(0, tag("p", control_told(game.control)))
    answer = tag("p", game.secret.input, " ", tag("strong", game.secret.output))
    card = "le-card le-game le-broken" if game.broken else "le-card le-game"
    head = tag("h3", title, tabindex="-1", id="le-game-over")
    return tag("div", tag("div", head, answer, aria_live="polite"), *told, class_=card)


def control_told(control: Control) -> str:
    """What the control did and what follows."""
    return f"It could be a guess, and does not count. {control.words}" if control.brought else control.words


def share_text(game: Game, method: str, target: str) -> str:
    """What a player may post: neither the question nor the answer."""
    return (
        f"I broke {method} in {count(game.asked, 'question')}: "
        f"{target} told me a fact that it had been made to forget. Played with Lethe."
    )


def asks_view(game: Game, asking: Ask | None = None) -> Safe:
    """Every question with its answer, the newest first; the one that is being answered on top."""
    asks = [*game.asks, *([asking] if asking is not None else [])]
    rows = [_ask(number, ask, ask is asking) for number, ask in enumerate(asks, 1)]
    return tag("ol", *reversed(rows), class_="le-asks", reversed=True) if rows else Safe("")


def _ask(number: int, ask: Ask, under_way: bool = False) -> Safe:
    mark = None if under_way else tag("span", "found" if ask.found else "not in it", class_="le-tag")
    said = ask.output.strip() or ("" if under_way else "(empty answer)")
    answer = tag("div", tag("i", ask.begun, " ") if ask.begun else None, said, class_="le-caret" if under_way else None)
    how = f"After relearning ({RELEARN_COST} questions): " if ask.relearned else "Going on: " if ask.turns else ""
    return tag("li", tag("div", how, ask.prompt, " ", mark, class_="le-muted"), answer, value=number)


def levels_table(found: Sequence[Level], methods: Mapping[str, str], targets: Mapping[str, str]) -> Safe:
    """Every level played in this home."""
    if not found:
        return tag("p", "Nobody has played here yet.", class_="le-muted")
    rows = []
    for one in found:
        names = methods.get(one.method, one.method), targets.get(one.target, shorten(one.target, 40))
        rows.append([*names, one.played, one.broken, one.fewest or MISSING])
    heads = ("Method", "Target", "Played", "Broken", "Fewest")
    return scrolled(table(heads, rows, numbers=range(2, 5)), "Levels broken")


def trouble(words: object) -> Safe:
    """Why there is nothing to play."""
    return tag("p", words, class_="le-muted", aria_live="polite")
