"""How a sweep keeps to the shared rate of calls to Tallyfy, and reports what it learns about it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lifecycle.domain.errors import Code, Retryable, Throttled
from lifecycle.pacing.rate_limiter import Pacing

_NEEDED_SECONDS = 30.0
"""In seconds. With less time left, no further page is read: the message comes back and the sweep continues."""
_SHORT_WAIT = 10.0
"""The sweep itself waits for up to this many seconds: only one of it runs, and a page needs one call."""
_SWEEP = "sweep"
"""The name under which its failures count towards an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPace:
    """The shared rate as a sweep uses it. ``sleep`` and ``time_left`` are in seconds."""

    pacing: Pacing
    sleep: Callable[[float], None]
    time_left: Callable[[], float]

    def take_turn(self, org_id: str, calls: int = 1) -> None:
        """Wait until Tallyfy may be called this many times. Raises ``Throttled`` if the wait is too long for now.

        Several calls need one turn: at a slow rate, waiting for one turn each would never reach the last one.
        """
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(
                Code.OUT_OF_TIME, "The function is nearly out of time. The next invocation continues.", retry_after=1
            )
        given = self.pacing.reserve(org_id, 1)
        if given.paused_by:
            self.pacing.refund(org_id, given.calls)
            raise Throttled(Code.PAUSED, f"Paused by {given.paused_by}.")
        if given.outage and not given.calls:
            raise Throttled(Code.OUTAGE, "Tallyfy, or AWS before it, does not answer.", retry_after=given.wait)
        if not given.calls and given.wait > _SHORT_WAIT:
            raise Throttled(Code.RATE_LIMITED, "The rate of calls to Tallyfy is used up.", retry_after=given.wait)
        if not given.calls:
            self.sleep(given.wait)
            self.pacing.overdraw(org_id)
        if calls > 1:
            self.pacing.overdraw(org_id, calls - 1)

    def call[T](self, org_id: str, call: Callable[[], T]) -> T:
        """Run a function that calls Tallyfy. An answer ends an outage; otherwise as ``watch``."""
        answer = self.watch(org_id, call)
        self.pacing.worked(org_id)
        return answer

    def watch[T](self, org_id: str, call: Callable[[], T]) -> T:
        """Run a function, and record a 429 or an outage for all workers before raising the error again."""
        try:
            return call()
        except Throttled as wait:
            if wait.code is Code.THROTTLED and wait.retry_after is not None:
                self.pacing.block(org_id, wait.retry_after)
            raise
        except Retryable as error:
            if error.outage:
                with suppress(Retryable):
                    # This was a call, so an open circuit breaker counts it as its probe.
                    self.pacing.failed(org_id, _SWEEP, roll=1.0, probe=True)
            raise
