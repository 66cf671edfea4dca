"""The work behind the Recover tab: levels, secrets, and real answers of the unlearned model.

No Gradio in here, so that it can be tested without a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unlearn_core.data.types import Prompt
from unlearn_core.errors import InputError, LetheError
from unlearn_core.evaluation.game import Game, Ready, choose, ready_ways, secrets
from unlearn_core.report.kit.format import shorten
from unlearn_core.report.run.recover import short_method
from unlearn_core.service.prober import Prober
from unlearn_core.store.games import Level, levels, note_game, target_name
from unlearn_core.store.saved_probes import SavedProbe

if TYPE_CHECKING:
    from unlearn_core.service.studio import Studio

MAX_TOKENS = 48  # of an answer
MAX_LEVELS = 100


@dataclass(frozen=True)
class Played:
    """A game as it stands: `writing` while the model answers, and once something was found the probe of the run
    that asks it again, "" where it could not be kept."""

    game: Game
    writing: str | None = None
    probe: str = ""


class Recover:
    """Bound to a studio."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._prober = Prober(studio)

    def runs(self, owner: str) -> list[tuple[str, str]]:
        """The levels: finished runs with kept weights by method and target, newest first; on a public server the
        visitor's own."""
        titles = self.titles()
        found = []
        for record in self.studio.attackable(owner, MAX_LEVELS):
            method, target = _names(record.spec, *titles)
            found.append((f"{method} on {target} ({record.id[:6]})", record.id))
        return found

    def titles(self) -> tuple[dict[str, str], dict[str, str]]:
        """Short titles of methods, and titles of targets, by name."""
        methods = {name: short_method(str(told["title"])) for name, told in self.studio.by_name().items()}
        return methods, {name: title for title, name in self.studio.targets()}

    def names(self, run_id: str) -> tuple[str, str]:
        """The short title of the method that a player is up against, and the title of the model it was used on."""
        return _names(self.studio.store.get(run_id).spec, *self.titles())

    def begin(self, run_id: str, owner: str, seed: int, but: str = "") -> Game:
        """A game on a run for whoever may attack it; another secret than the question `but`."""
        self.studio.store.owned(run_id, owner or None)
        secret = choose(secrets(self.studio.live.story(run_id).scores.get("original")), seed, but)
        for row in getattr(self._prober.data(run_id), "forget", ()):
            if (row.input, row.output) == (secret.input, secret.output):
                secret = replace(secret, subject=row.subject, turns=row.turns)
        return Game(run_id, secret)

    def ways(self, game: Game) -> list[Ready]:
        """Ready-made ways to ask for what is sought."""
        return ready_ways(game.secret, self._prober.data(game.run_id))

    def ask(self, game: Game, prompt: str, begun: str, owner: str) -> Iterator[Played]:
        """The game while the unlearned model answers, greedily, and with its answer; what ends it is kept."""
        prompt, begun = prompt.strip(), begun.strip()
        game.check(prompt, begun)
        self.studio.store.owned(game.run_id, owner or None)
        output = ""
        for output in self.studio.ask_unlearned(
            game.run_id, prompt, max_new_tokens=MAX_TOKENS, begun=begun, turns=game.secret.turns
        ):
            yield Played(game, writing=output)
        after = game.after(prompt, begun, output)
        if after.over:
            self._note(after)
        yield Played(after, probe=self._keep(after, owner) if after.broken else "")

    def give_up(self, game: Game) -> Game:
        """The game given up; it counts as played where something was asked."""
        after = game.give_up()
        if after.asks and not game.over:
            self._note(after)
        return after

    def levels(self) -> list[Level]:
        """What was played in this home, whoever played it."""
        return levels(self.studio.store.home)

    def _note(self, game: Game) -> None:
        spec = self.studio.store.get(game.run_id).spec
        method, target = str(spec.get("method")), str(spec.get("target"))
        note_game(self.studio.store.home, method, target, len(game.asks), game.broken)

    def _keep(self, game: Game, owner: str) -> str:
        """Keep the wording that got the answer as a probe of the run. A probe has no beginning of an answer: where
        one stands right behind the prompt it becomes part of that, and inside a chat template it cannot."""
        from unlearn_core.data.prompt_format import format_of

        found = game.asks[-1]
        asked = self.studio.answers.model(self.studio.answers.unlearned(game.run_id))
        form = format_of(asked.tokenizer)
        if found.begun and (form.template or form.after):
            return ""
        told = found.prompt + (form.answer_text(Prompt(found.prompt), found.begun) if found.begun else "")
        probe = SavedProbe(told, game.secret.output, max_new_tokens=MAX_TOKENS, template=bool(form.template))
        try:
            return self._prober.save(game.run_id, probe, owner)
        except LetheError:  # the run keeps no more of them: the find stands all the same
            return ""


def _names(spec: Mapping[str, Any], methods: Mapping[str, str], targets: Mapping[str, str]) -> tuple[str, str]:
    method, target = str(spec.get("method")), str(spec.get("target"))
    return methods.get(method, method), targets.get(target, shorten(target_name(target), 40))


def no_game() -> InputError:
    """For whoever asks before there is a secret."""
    return InputError("level", "", "has no secret yet", "Choose a level first.")
