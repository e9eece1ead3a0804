"""The calls that a batch may make: reserved at once for each organization, and refunded if they were not needed.

It also learns from each command whether there is an outage. During an outage a failure does not count as an attempt.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from lifecycle.aws.sqs import Message
from lifecycle.domain.capabilities import Action
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, LifecycleError, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.pacing import backoff
from lifecycle.pacing.rate_limiter import Admission, Pacing
from lifecycle.pacing.token_bucket import LONGEST_QUEUE, PROBE_CALLS, SECOND

CALLS = PROBE_CALLS
"""The calls of one command: a read and a write. A read-back overdraws the bucket."""


_OUTAGE = (
    "Tallyfy does not answer, or AWS cannot reach it. Commands wait, and one of them tries again from time to time."
)


class Budget:
    """The share of the rate limit that one worker has reserved for one batch."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._given: dict[str, Admission] = {}
        self._left: dict[str, int] = {}
        self._turned_away = 0
        self._size = 1

    @contextmanager
    def for_batch(self, size: int) -> Iterator[None]:
        """A context for a batch of ``size`` messages; it refunds unused calls at the end."""
        self._size = size
        try:
            yield
        finally:
            left, self._left, self._given, self._turned_away = self._left, {}, {}, 0
            for org_id, calls in left.items():
                self._pacing.refund(org_id, calls)

    def admit(self, command: Command, message: Message, roll: float) -> None:
        """Let one command start, or raise ``Throttled`` with the seconds to wait.

        A pause stops all but restores. An outage stops all but one probe, which may be any command.
        """
        org_id = command.org_id
        if org_id not in self._given:
            self._given[org_id] = self._pacing.reserve(org_id, CALLS * self._size)
            self._left[org_id] = self._left.get(org_id, 0) + self._given[org_id].calls
        given = self._given[org_id]
        if given.paused_by and command.action is not Action.RESTORE:
            wait: float = backoff.human_delay(message.receives)
            raise Throttled(Code.PAUSED, f"Paused by {given.paused_by}.", retry_after=wait)
        if given.outage and self._left[org_id] < CALLS:
            raise Throttled(Code.OUTAGE, _OUTAGE, retry_after=given.wait, outage=True)
        if self._left[org_id] < CALLS:
            spacing = CALLS * self._pacing.rate.interval / SECOND
            wait = given.wait + self._turned_away * spacing
            if given.wait * SECOND >= LONGEST_QUEUE:
                wait = given.wait * (0.5 + roll / 2)
            self._turned_away += 1
            raise Throttled(Code.RATE_LIMITED, "The rate limit for Tallyfy is used up for now.", retry_after=wait)

    def commands_left(self, org_id: str) -> int:
        """How many commands may still start in this batch."""
        return self._left.get(org_id, 0) // CALLS

    def prepare(self, org_id: str) -> None:
        """Take the slot of the next call now, so that there is no wait between the last check and the call."""
        if self._left.get(org_id, 0) < 1:
            self._pacing.overdraw(org_id)
            self._left[org_id] = 1

    def spend(self, org_id: str) -> None:
        """Count a call that is about to be made."""
        if self._left.get(org_id, 0) > 0:
            self._left[org_id] -= 1
        else:
            self._pacing.overdraw(org_id)

    def block(self, org_id: str, seconds: float) -> None:
        """Record a 429: the rest of the batch waits, and so do all other callers."""
        self._pacing.block(org_id, seconds)
        self._left[org_id] = 0
        self._given[org_id] = replace(self._seen(org_id), calls=0, wait=seconds)

    @contextmanager
    def attempt(self, command: Command, roll: float, ask: Callable[[str], object]) -> Iterator[None]:
        """A context for the calls of one command: it learns whether Tallyfy answers.

        While calls about several resources fail, a failure is not an attempt of the command. ``ask`` reads something of
        an organization that every token can see; it raises ``Retryable`` while Tallyfy is down.
        """
        try:
            yield
        except Retryable as trouble:
            if trouble.outage:
                self._failed(command, trouble, roll, ask)
            elif trouble.code is Code.THROTTLED or isinstance(trouble, TokenRefused):
                self._worked(command.org_id)  # A 429 and a 401 are answers.
            raise
        except LifecycleError:
            self._worked(command.org_id)
            raise
        else:
            self._worked(command.org_id)

    def _failed(self, command: Command, trouble: Retryable, roll: float, ask: Callable[[str], object]) -> None:
        org_id, seen = command.org_id, self._seen(command.org_id)
        is_out = seen.outage
        # If this cannot be recorded, the command's own failure must still be raised.
        with suppress(Retryable):
            is_out = self._pacing.failed(org_id, command.id or command.intent_id, roll, probe=seen.outage)
        if not is_out:
            self._given[org_id] = replace(seen, failing=True)
            return
        trouble.counted = trouble.counted and seen.outage and _answers(org_id, ask)
        # The rest of the batch must not make a call.
        self._left[org_id] = 0
        self._given[org_id] = replace(seen, calls=0, wait=0.0, outage=True, failing=True)

    def _worked(self, org_id: str) -> None:
        seen = self._seen(org_id)
        if not seen.failing:
            return
        with suppress(Retryable):
            self._pacing.worked(org_id)
        self._given[org_id] = replace(seen, failing=False)
        if seen.outage:
            del self._given[org_id]  # The next command reserves for the whole batch.

    def _seen(self, org_id: str) -> Admission:
        return self._given.get(org_id, Admission(0, 0.0, ""))


def _answers(org_id: str, ask: Callable[[str], object]) -> bool:
    """Whether Tallyfy answers about the organization. If so, the failure has a cause of its own."""
    try:
        with suppress(Rejected):
            ask(org_id)
    except Retryable:
        return False
    return True
