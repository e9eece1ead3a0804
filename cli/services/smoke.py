"""Proves after a deployment that the real stack works: every path once, on a task that the proof makes and removes.

Each step shows one path of the stack. The first step that fails ends the proof, and what was made is removed all the
same. The steps know the stack through `Deployed` alone, so that tests can break each path on purpose.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from cli.ui.errors import CliError

SECONDS: Final = 60.0
"""So long each step may take. A cold start and a retry fit into it."""
_EVERY: Final = 0.5


class Deployed(Protocol):
    """What the proof does with a stack and with its organization in Tallyfy."""

    def healthy(self) -> bool:
        """Whether the API answers GET /health."""

    def make_task(self) -> str:
        """Make a one-off task in Tallyfy, and return its id."""

    def is_archived(self, task_id: str) -> bool:
        """Whether Tallyfy shows the task as archived."""

    def archive(self, task_id: str, delivery_id: str) -> str:
        """Post a signed delivery that archives the task, and return the intent id. It may be repeated."""

    def ended(self, intent_id: str) -> str | None:
        """The final status of a command; ``None`` while it is under way."""

    def undo(self, intent_id: str) -> str:
        """Ask for the undo of a command, and return the undo's intent id."""

    def heard(self, text: str) -> bool:
        """Whether an outcome event or a notice with this text has arrived."""

    def audited(self, intent_id: str) -> bool:
        """Whether the audit trail has a record of the command."""

    def send_poison(self) -> str:
        """Put an unreadable message into the queue of commands, and return the text that marks it."""

    def dead_letters(self, mark: str) -> int:
        """How many dead letters have this text."""

    def drop(self, mark: str) -> None:
        """Delete the dead letters that have this text."""

    def subscribers(self) -> int:
        """How many confirmed subscriptions hear of alarms and notices."""

    def remove(self) -> bool:
        """Remove everything that was made. ``False`` if something is left."""


@dataclass(frozen=True, slots=True)
class SmokeStep:
    """One path that works: how long it took (seconds), and what was seen."""

    name: str
    seconds: float
    seen: str = ""


class SmokeFailed(CliError):
    """A path does not work."""


@dataclass(slots=True)
class Smoke:
    """The proof. ``timer`` counts seconds; ``sleep`` waits for so many."""

    deployed: Deployed
    delivery_id: str
    timer: Callable[[], float]
    sleep: Callable[[float], None]
    seconds: float = SECONDS
    _steps: list[SmokeStep] = field(default_factory=list, init=False)

    def run(self) -> Iterator[SmokeStep]:
        """Yield each step as it has passed. Raises ``SmokeFailed`` at the first that fails, once all is removed."""
        try:
            yield from self._command()
            yield from self._dead_letter()
        finally:
            removed = self.deployed.remove()
        if not removed:
            raise SmokeFailed("Not everything that was made could be removed. See the journal for what is left.")
        yield SmokeStep("everything that was made is removed", 0.0)

    def _command(self) -> Iterator[SmokeStep]:
        deployed = self.deployed
        yield self._check(
            "the API answers", deployed.healthy, "GET /health does not answer. Was the deployment complete?"
        )
        with self._timed("a one-off task is made in Tallyfy") as step:
            task_id = deployed.make_task()
        yield step()
        with self._timed("a signed delivery is accepted, first request") as step:
            intent_id = deployed.archive(task_id, self.delivery_id)
        yield step(intent_id)
        yield self._ends(intent_id, "the command ends as done")
        yield self._wait("Tallyfy shows the task as archived", lambda: deployed.is_archived(task_id), "It does not.")
        with self._timed("the same delivery again is the same command, warm request") as step:
            again = deployed.archive(task_id, self.delivery_id)
        if again != intent_id:
            raise SmokeFailed(f"A repeated delivery became another command: {again}. It must be {intent_id}.")
        yield step(again)
        hint = "No outcome event arrived on the bus. Look at the worker's log."
        yield self._wait("the outcome event is on the bus", lambda: deployed.heard(intent_id), hint)
        hint = "The audit trail has no record of the command."
        yield self._wait("the audit trail has the record", lambda: deployed.audited(intent_id), hint)
        with self._timed("an undo is accepted") as step:
            undo = deployed.undo(intent_id)
        yield step(undo)
        yield self._ends(undo, "the undo ends as done")
        shown = "Tallyfy shows the task as active again"
        yield self._wait(shown, lambda: not deployed.is_archived(task_id), "It is still archived.")

    def _dead_letter(self) -> Iterator[SmokeStep]:
        deployed = self.deployed
        mark = deployed.send_poison()
        hint = "The unreadable message did not reach the dead-letter queue."
        yield self._wait("an unreadable message is dead-lettered", lambda: deployed.dead_letters(mark) == 1, hint)
        hint = "No notice arrived from the topic. Look at the rule for poison messages and the topic's policy."
        yield self._wait("the notice is sent", lambda: deployed.heard("poison"), hint)
        deployed.drop(mark)
        yield self._wait("the dead letter is dropped", lambda: deployed.dead_letters(mark) == 0, "It is still there.")
        with self._timed("people hear of alarms") as step:
            subscribers = deployed.subscribers()
        if not subscribers:
            raise SmokeFailed("Nobody hears of alarms: the topic has no confirmed subscription. Set AlarmEmail.")
        yield step(f"{subscribers} subscribed")

    def _ends(self, intent_id: str, name: str) -> SmokeStep:
        step = self._wait(name, lambda: self.deployed.ended(intent_id) is not None, f"{intent_id} has not ended.")
        status = self.deployed.ended(intent_id)
        if status != "done":
            raise SmokeFailed(f"{intent_id} ended as {status}. See why: lifecycle status {intent_id}")
        return step

    def _check(self, name: str, holds: Callable[[], bool], otherwise: str) -> SmokeStep:
        with self._timed(name) as step:
            if not holds():
                raise SmokeFailed(otherwise)
        return step()

    def _wait(self, name: str, holds: Callable[[], bool], otherwise: str) -> SmokeStep:
        """Ask until it holds. Raises ``SmokeFailed`` after ``seconds``."""
        with self._timed(name) as step:
            until = self.timer() + self.seconds
            while not holds():
                if self.timer() >= until:
                    message = f"Not within {self.seconds:.0f} s: {name}. {otherwise}"
                    raise SmokeFailed(message)
                self.sleep(_EVERY)
        return step()

    @contextmanager
    def _timed(self, name: str) -> "Iterator[Callable[..., SmokeStep]]":
        """Measure a block. What it gives makes the step once the block has passed."""
        begun, ended = self.timer(), 0.0

        def step(seen: str = "") -> SmokeStep:
            return SmokeStep(name, ended - begun, seen)

        yield step
        ended = self.timer()
