"""The ledger's rows: how intents and resources are stored, and how long they are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Row
from lifecycle.aws.row_codec import UnreadableRow, record_of, short_values_of
from lifecycle.domain.capabilities import Action
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.intent import IntentRow
from lifecycle.execution.state_machine import ResourceRow

_DEAD_LETTERS_LIVE = timedelta(days=14)
"""How long a message may stay in a dead-letter queue and be sent again. SQS keeps messages for at most 14 days."""


def version_of(row: Row | None) -> int:
    """The version to state when this row is written; 0 if it does not exist."""
    return row.version if row else 0


def intent_in(row: Row | None) -> IntentRow | None:
    """The intent in a row. Raises ``Throttled`` for a row of a newer release: a newer worker must handle it."""
    if row is None:
        return None
    try:
        return record_of(IntentRow, row.values)
    except UnreadableRow as newer:
        reason = f"A newer release recorded this command with {newer.field} '{newer.value}' and will carry it out."
        raise Throttled(Code.NEWER_RELEASE, reason) from None


def resource_in(row: Row | None) -> ResourceRow | None:
    """The resource row in a row of the table."""
    return record_of(ResourceRow, row.values) if row is not None else None


def intents_on(row: Row | None) -> list[str]:
    """The intent ids of the newest command concluded on a resource, and of the one that is under way."""
    known = resource_in(row)
    names = (known.newest_intent, known.lease_intent) if known is not None else ()
    return [name for name in dict.fromkeys(names) if name]


def resource_key(intent: IntentRow) -> Key:
    """The key of the row of an intent's resource."""
    return table_keys.resource(intent.org_id, intent.resource, intent.id)


@dataclass(frozen=True, slots=True)
class LedgerRows:
    """Turns intents and resources into writes. ``keep`` is how long a row outlives its last use."""

    keep: timedelta
    clock: Callable[[], datetime]

    def put_intent(self, intent: IntentRow, version: int) -> Put:
        """Write an intent over the version that was read. It outlives everything that may still deliver the command."""
        last = max(self.clock(), datetime.fromtimestamp(intent.not_after / 1000, UTC) + _DEAD_LETTERS_LIVE)
        expires_at = int((last + self.keep).timestamp())
        return Put(table_keys.intent(intent.intent_id), short_values_of(intent), version, expires_at)

    def put_resource(self, key: Key, resource: ResourceRow, version: int) -> Put:
        """Write a resource over the version that was read.

        The row of a resource that exists never expires: a restore must be remembered. One that was permanently deleted
        cannot come back.
        """
        deleted = resource.newest_action == Action.DELETE
        expires_at = int((self.clock() + self.keep).timestamp()) if deleted else None
        return Put(key, short_values_of(resource), version, expires_at)
