"""The shared rate limit: one bucket per organization, in the ledger's table, for every function that calls Tallyfy."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import audit_row, with_unique_time
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Key, Put, VersionedTable
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Throttled
from lifecycle.pacing import token_bucket
from lifecycle.pacing.token_bucket import SECOND, Bucket, Lane, Rate

_TRIES = 12


@dataclass(frozen=True, slots=True)
class Admission:
    """What was granted: ``calls`` now, a queue position in ``wait`` seconds. ``paused_by`` is empty while running."""

    calls: int
    wait: float
    paused_by: str
    outage: bool = False
    """The breaker is open. With ``calls`` this is the probe; otherwise the next one may start in ``wait`` seconds."""
    failing: bool = False
    """A call has failed since the last success, so the next success must be recorded."""


class Pacing:
    """Takes and refunds slots by conditional writes, so that all workers share one rate.

    ``metrics`` counts when the breaker opens and closes, and how often Tallyfy asks to wait.
    """

    def __init__(
        self,
        rows: VersionedTable,
        rate: Rate,
        clock: Callable[[], datetime],
        lane: Lane = Lane.PEOPLE,
        metrics: Metrics | None = None,
    ) -> None:
        self.rate = rate
        self._lane = lane
        self._rows = rows
        self._clock = clock
        self._metrics = metrics

    def reserve(self, org_id: str, calls: int) -> Admission:
        """Take up to ``calls`` slots at once, for a whole batch."""
        granted = token_bucket.Grant(0, 0.0)

        def taking(bucket: Bucket, now: int) -> Bucket:
            nonlocal granted
            after, granted = token_bucket.take(bucket, self.rate, calls, now, self._lane)
            return after

        bucket = self._update(org_id, taking)
        return Admission(granted.calls, granted.wait, bucket.paused_by, granted.outage, bool(bucket.failing))

    def failed(self, org_id: str, thing: str, roll: float, *, probe: bool = False) -> bool:
        """Record a failure, see ``token_bucket.failed``. Returns whether the breaker is open now."""
        was_out = False

        def failing(bucket: Bucket, now: int) -> Bucket:
            nonlocal was_out
            was_out = bucket.is_out
            return token_bucket.failed(bucket, thing, now, roll, probe=probe)

        is_out = self._update(org_id, failing).is_out
        if is_out and not was_out:
            self._emit(Metric.OUTAGE, org_id)
        return is_out

    def worked(self, org_id: str) -> None:
        """Record a successful call: the breaker closes. Writes only if an earlier call failed."""
        was_out = False

        def working(bucket: Bucket, _: int) -> Bucket:
            nonlocal was_out
            was_out = bucket.is_out
            return token_bucket.worked(bucket)

        self._update(org_id, working)
        if was_out:
            self._emit(Metric.OUTAGE_OVER, org_id)

    def _emit(self, signal: Metric, org_id: str) -> None:
        if self._metrics is not None:
            self._metrics.emit(signal, {"org_id": org_id})

    def overdraw(self, org_id: str, calls: int = 1) -> None:
        """Record calls beyond the reserved ones, such as a read-back; later callers wait for them."""
        self._update(org_id, lambda bucket, now: token_bucket.overdraw(bucket, self.rate, calls, now))

    def refund(self, org_id: str, calls: int) -> None:
        """Return slots that were reserved and not used."""
        if calls > 0:
            self._update(org_id, lambda bucket, _: token_bucket.refund(bucket, self.rate, calls))

    def block(self, org_id: str, seconds: float) -> None:
        """Record that Tallyfy answered 429, or 503 with a time: nobody calls before ``seconds`` from now."""
        self._update(org_id, lambda bucket, now: token_bucket.block(bucket, self.rate, seconds, now))
        self._emit(Metric.ASKED_TO_WAIT, org_id)

    def pause(self, org_id: str, by: str, *, caller: str = "") -> None:
        """Stop everything but restores until ``resume``. ``by`` is shown; the audit trail records ``caller``."""
        record = Record(at=millis(self._clock()), what=What.PAUSE_SET, org_id=org_id, by=caller or by, reason=by)
        self._update(org_id, lambda bucket, _: replace(bucket, paused_by=by), record)

    def paused_by(self, org_id: str) -> str:
        """Who paused, and why; empty while running."""
        return self._update(org_id, lambda bucket, _: bucket).paused_by

    def resume(self, org_id: str, *, caller: str = "") -> None:
        """End the pause."""
        record = Record(at=millis(self._clock()), what=What.PAUSE_ENDED, org_id=org_id, by=caller)
        self._update(org_id, lambda bucket, _: replace(bucket, paused_by=""), record)

    def _update(self, org_id: str, change: Callable[[Bucket, int], Bucket], record: Record | None = None) -> Bucket:
        """Change the bucket, in one transaction with the audit record if there is one."""
        key = pace_key(org_id)
        now = int(self._clock().timestamp() * SECOND)
        for attempt in range(_TRIES):
            [row] = self._rows.read(key)
            known = Bucket.__dataclass_fields__
            seen = Bucket(**{n: v for n, v in row.values.items() if n in known}) if row else Bucket()  # type: ignore[arg-type]
            after = change(seen, now)
            if after == seen:
                return seen
            try:
                if record is not None and attempt:
                    record = with_unique_time(self._rows, record)
                records = [audit_row(record)] if record else []
                self._rows.write(Put(key, asdict(after), row.version if row else 0), *records)
            except Contention:
                continue
            return after
        raise Throttled(Code.UNAVAILABLE, "Too many workers are reserving calls at the same time.", retry_after=1)


def pace_key(org_id: str) -> Key:
    """The row of an organization's bucket, pause and breaker."""
    return table_keys.pace(org_id)
