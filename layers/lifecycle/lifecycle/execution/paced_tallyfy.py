"""Tallyfy as workers call it: all workers share what one call learns about the permitted rate."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from lifecycle.domain.capabilities import Capability, Resource, State
from lifecycle.domain.commands import Command, Find
from lifecycle.domain.errors import Ambiguous, Code, Rejected, Retryable, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.pacing.batch_budget import Budget
from lifecycle.tallyfy.client import Receipt, Tallyfy


@dataclass(frozen=True, slots=True)
class PacedTallyfy:
    """A Tallyfy client and the budget of the batch. Methods raise what ``Tallyfy`` raises."""

    tallyfy: Tallyfy
    budget: Budget

    def attempt(self, command: Command, roll: float) -> AbstractContextManager[None]:
        """A context for one attempt at a command. It tells the circuit breaker whether Tallyfy answers."""
        return self.budget.attempt(command, roll, self.tallyfy.account)

    def look(self, org_id: str, resource: Resource, thing_id: str) -> ResourceSnapshot | None:
        """Read a resource; ``None`` if it does not exist."""
        with self.sharing_waits(org_id):
            return self.tallyfy.look(org_id, resource, thing_id)

    def search(self, org_id: str, find: Find, *, archived: bool) -> list[ResourceSnapshot]:
        """The processes that match the search."""
        with self.sharing_waits(org_id):
            return list(self.tallyfy.search(org_id, find, archived=archived))

    def act(self, doing: Capability, org_id: str, thing_id: str) -> Receipt | None:
        """Make the call. Returns ``None`` if its answer was in doubt and a second look showed that it took effect."""
        try:
            with self.sharing_waits(org_id):
                return self.tallyfy.act(doing, org_id, thing_id)
        except (Ambiguous, Rejected) as error:
            # After a Retry-After nobody calls before that time. The next attempt looks first.
            must_wait = isinstance(error, Ambiguous) and error.retry_after is not None
            if must_wait or error.code is Code.FORBIDDEN or not self._is_reached(doing, org_id, thing_id, error):
                raise
        return None

    def _is_reached(self, doing: Capability, org_id: str, thing_id: str, error: Ambiguous | Rejected) -> bool:
        """Look again. If the read fails too, raise the doubt about the write, not the error of the read."""
        try:
            seen = self.look(org_id, doing.resource, thing_id)
        except (Retryable, Rejected) as blind:
            if isinstance(error, Ambiguous):
                wait = blind.retry_after if isinstance(blind, Retryable) else None
                raise Ambiguous(
                    error.code,
                    error.reason,
                    retry_after=wait,
                    outage=error.outage,
                    may_still_land=error.may_still_land,
                ) from blind
            raise
        return (seen.state if seen else State.GONE) is doing.reaches

    @contextmanager
    def sharing_waits(self, org_id: str) -> Iterator[None]:
        """A context for one call. After a 429, or a 503 with ``Retry-After``, no worker calls before that time."""
        try:
            yield
        except (Throttled, Ambiguous) as error:
            from_server = error.code is Code.THROTTLED or isinstance(error, Ambiguous)
            if from_server and error.retry_after is not None:
                self.budget.block(org_id, error.retry_after)
            raise
