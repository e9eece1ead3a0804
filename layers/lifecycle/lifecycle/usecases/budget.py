"""The calls a batch may make: reserved at once per organization, and given back where they were not needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from lifecycle.adapters.pacing import Admission, Pacing
from lifecycle.adapters.queues import Message
from lifecycle.judgement import waiting
from lifecycle.judgement.pace import LONGEST_LINE, SECOND
from lifecycle.words.capabilities import Action
from lifecycle.words.commands import Command
from lifecycle.words.errors import Code, Throttled

CALLS = 2
"""What a command needs: one look, one act. A look again overdraws."""


class Budget:
    """One worker's share of the shared pace, for the length of a batch."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._given: dict[str, Admission] = {}
        self._left: dict[str, int] = {}
        self._turned_away = 0
        self._size = 1

    @contextmanager
    def for_batch(self, size: int) -> Iterator[None]:
        """Around a batch of ``size`` messages."""
        self._size = size
        try:
            yield
        finally:
            left, self._left, self._given, self._turned_away = self._left, {}, {}, 0
            for org_id, calls in left.items():
                self._pacing.give_back(org_id, calls)

    def admit(self, command: Command, message: Message, roll: float) -> None:
        """Let one command start, or raise ``Throttled`` with the time of its turn. A pause stops all but restores."""
        org_id = command.org_id
        if org_id not in self._given:
            self._given[org_id] = self._pacing.reserve(org_id, CALLS * self._size)
            self._left[org_id] = self._given[org_id].calls
        given = self._given[org_id]
        if given.paused_by and command.action is not Action.RESTORE:
            wait: float = waiting.patience(message.receives)
            raise Throttled(Code.PAUSED, f"Paused by {given.paused_by}.", retry_after=wait)
        if self._left[org_id] < CALLS:
            spacing = CALLS * self._pacing.rate.interval / SECOND
            wait = given.wait + self._turned_away * spacing
            if given.wait * SECOND >= LONGEST_LINE:
                wait = given.wait * (0.5 + roll / 2)
            self._turned_away += 1
            raise Throttled(Code.IN_LINE, "The pace towards Tallyfy is used up for now.", retry_after=wait)

    def prepare(self, org_id: str) -> None:
        """Take the slot of the next call now, so that nothing lies between the last look at people's words and it."""
        if self._left.get(org_id, 0) < 1:
            self._pacing.overdraw(org_id)
            self._left[org_id] = 1

    def spend(self, org_id: str) -> None:
        """One call is about to be made."""
        if self._left.get(org_id, 0) > 0:
            self._left[org_id] -= 1
        else:
            self._pacing.overdraw(org_id)

    def block(self, org_id: str, seconds: float) -> None:
        """Tallyfy said 429: the rest of the batch waits, and so does everybody else."""
        self._pacing.block(org_id, seconds)
        self._left[org_id] = 0
        self._given[org_id] = Admission(0, seconds, self._given[org_id].paused_by if org_id in self._given else "")
