"""The work behind the Recover tab: levels, secrets, and real answers of the unlearned model.

No Gradio in here, so that it can be tested without a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlearn_core.data.types import Prompt
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.evaluation.game import Control, Game, Ready, among_others, choose, never_learned, ready_ways, secrets
from unlearn_core.report.kit.format import count
from unlearn_core.service.answers import Sampling
from unlearn_core.service.prober import Prober
from unlearn_core.service.titles import Titles, id_mark
from unlearn_core.store.audit_record import read_audits
from unlearn_core.store.game.finds import BEGUN, BY_WORDS, RELEARNED, Find, note_find
from unlearn_core.store.game.games import Level, levels, note_game
from unlearn_core.store.game.relearned import MAX_TOKENS, Relearned
from unlearn_core.store.saved_probes import SavedProbe
from unlearn_core.store.verdicts import rejudge

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson
    from unlearn_core.service.studio import Studio

_LOOK = 0.4  # seconds between two looks at a job


@dataclass(frozen=True)
class Played:
    """A game as it stands: `writing` while the model answers, `doing` what is done before it can, and once something
    was found the probe of the run that asks it again, "" where it could not be kept."""

    game: Game
    writing: str | None = None
    doing: str = ""
    probe: str = ""


class Recover:
    """Bound to a studio."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._prober = Prober(studio)

    def runs(self, owner: str) -> list[tuple[str, str]]:
        """The levels: finished runs with kept weights by method and target, newest first; on a public server the
        visitor's own and the recorded ones."""
        titles = self.titles()
        return [
            (f"{' on '.join(_names(one.spec, titles))} ({id_mark(one.id)})", one.id)
            for one in self.studio.attackable(owner)
        ]

    def titles(self) -> Titles:
        """What methods, in short, and target models are called."""
        return self.studio.titles().short

    def names(self, run_id: str) -> tuple[str, str]:
        """The short title of the method that a player is up against, and the title of the model it was used on."""
        return _names(self.studio.store.get(run_id).spec, self.titles())

    def begin(self, run_id: str, owner: str, seed: int, but: str = "", on_screen: str = "") -> Game:
        """A game on a run for whoever may attack it, in place of their last one; another secret than the question
        `but`. on_screen: the run that the page shows, which may be another."""
        self.studio.questioned(run_id, owner)
        secret = choose(secrets(self.studio.live.story(run_id).scores.get("original")), seed, but)
        for row in getattr(self._prober.data(run_id), "forget", ()):
            if (row.input, row.output) == (secret.input, secret.output):
                secret = replace(secret, subject=row.subject, turns=row.turns)
        game = Game(run_id, secret)
        self.studio.games.keep(owner, Played(game), on_screen)
        return game

    def ways(self, game: Game) -> list[Ready]:
        """Ready-made ways to ask for what is sought."""
        return ready_ways(game.secret, self._prober.data(game.run_id))

    def ask(self, game: Game, prompt: str, begun: str, owner: str, on: bool = False) -> Iterator[Played]:
        """The game while the unlearned model answers, greedily, and with its answer; what ends it is kept. on: in
        the same conversation as the last question."""
        prompt, begun = prompt.strip(), begun.strip()
        turns = game.conversation if on else ()
        game.check(prompt, begun, turns)
        self.studio.questioned(game.run_id, owner)
        output = ""
        before = (*game.secret.turns, *turns)
        for output in self.studio.ask_unlearned(game.run_id, prompt, before, begun, Sampling(MAX_TOKENS)):
            yield Played(game, writing=output)
        yield self._kept(self._after(game.after(prompt, begun, output, turns), owner), owner)

    def relearn(self, game: Game, owner: str) -> Iterator[Played]:
        """The game while a copy of the model is taught other rows, where runs are carried out, and with what it then
        says to the secret's own question."""
        game.check_relearning()
        self.studio.store.owned(game.run_id, owner or None)
        self.studio.spend("audit")
        worker = self.studio.worker
        job = worker.submit_relearning(game.run_id, game.secret, owner or None)
        try:
            while not worker.wait(job.id, _LOOK):
                yield Played(game, doing=_doing(job.relearned, worker.position(job.id) or 0))
        finally:
            worker.cancel_relearning(job)
        done = job.relearned
        if done is None or done.said is None:
            problem = "came to nothing" if not job.failure else f"came to nothing: {job.failure}"
            raise ResourceError("relearning", game.run_id[:6], problem, "No question was taken.")
        after = game.after(game.secret.input, "", done.said, relearned=True)
        yield self._kept(self._after(after, owner, done.never), owner)

    def give_up(self, game: Game, owner: str) -> Game:
        """The game given up; it counts as played where something was asked."""
        after = game.give_up()
        if after.asks and not game.over:
            self._note(after)
        self.studio.games.keep(owner, Played(after))
        return after

    def levels(self) -> list[Level]:
        """What was played in this home, whoever played it."""
        return levels(self.studio.store.home)

    def _kept(self, played: Played, owner: str) -> Played:
        self.studio.games.keep(owner, played)
        return played

    def _after(self, game: Game, owner: str, never: str | None = None) -> Played:
        """What comes of a question that was answered; never: what the retain-only model said, relearned alike."""
        if game.found:
            game = replace(game, control=self._control(game, never))
        if game.over:
            self._note(game)
        if not game.broken:
            return Played(game)
        if not self.studio.may_stop(game.run_id, owner):  # recorded runs on a public server are not theirs
            return Played(game)
        self._count(game)
        return Played(game, probe=self._keep(game, owner))

    def _control(self, game: Game, never: str | None) -> Control:
        """Every question of the game put to the model that never learned the secret, or else what is said of others.
        Of relearning only the last is, which ends a game."""
        from unlearn_core.models.generation.generate import generate_all

        answers = self.studio.answers
        spec = self.studio.store.get(game.run_id).spec
        place = answers.models(game.run_id, str(spec["target"])).get("retain_only")
        if place is None:
            return among_others(game.secret, self.studio.live.story(game.run_id).scores.get("unlearned"))
        model, asks = answers.model(place), [ask for ask in game.asks if not ask.relearned]
        prompts = [Prompt(ask.prompt, (*game.secret.turns, *ask.turns), ask.begun) for ask in asks]
        said = iter(generate_all(model.model, model.tokenizer, prompts, MAX_TOKENS))
        return never_learned(game, [(never or "") if ask.relearned else next(said) for ask in game.asks])

    def _count(self, game: Game) -> None:
        """Let the run's audits and its verdict count what was found."""
        store, found = self.studio.store, game.asks[-1]
        digest = self.studio.answers.model(self.studio.answers.unlearned(game.run_id)).weights_hash
        way = RELEARNED if found.relearned else BEGUN if found.begun else BY_WORDS[bool(found.turns)]
        asked = f"{found.prompt} {found.begun}".strip()
        told = game.control.words if game.control is not None else ""
        secret = game.secret
        find = Find(secret.input, secret.output, asked, found.output.strip(), way, game.asked, told, digest)
        note_find(store.folder(game.run_id), find)
        record = read_audits(store, game.run_id, self.studio.live.story(game.run_id))
        if record is not None:
            rejudge(store, game.run_id, list(record.results.values()), digest)

    def _note(self, game: Game) -> None:
        spec = self.studio.store.get(game.run_id).spec
        method, target = str(spec.get("method")), str(spec.get("target"))
        note_game(self.studio.store.home, method, target, game.asked, game.broken)

    def _keep(self, game: Game, owner: str) -> str:
        """Keep the wording that got the answer as a probe of the run. A probe has no conversation before it and no
        beginning of an answer: one that stands right behind the prompt becomes part of that, and inside a chat
        template it cannot."""
        from unlearn_core.data.prompt_format import format_of

        found = game.asks[-1]
        if found.turns or found.relearned:
            return ""
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


def _names(spec: SpecJson, titles: Titles) -> tuple[str, str]:
    return titles.method(spec.get("method")), titles.target(spec.get("target"))


def _doing(at: Relearned | None, position: int) -> str:
    """How far relearning is, in a sentence."""
    if position:
        return f"Waiting: {count(position, 'job')} ahead of it."
    if at is None:
        return "Loading a copy of the model ..."
    return f"Teaching a copy {count(at.taught, 'other row')}: {at.fraction:.0%} ..."


def no_game() -> InputError:
    """For whoever asks before there is a secret."""
    return InputError("level", "", "has no secret yet", "Choose a level first.")
