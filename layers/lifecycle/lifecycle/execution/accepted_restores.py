"""The newest restore that was accepted for each resource.

A restore counts from the moment it is accepted, before a worker carries it out. A command that was issued earlier and
would archive or delete the same resource does not run any more.
"""

from dataclasses import dataclass

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put, Row, VersionedTable
from lifecycle.aws.row_codec import values_of
from lifecycle.aws.row_update import RowDecision, update_rows
from lifecycle.domain.capabilities import Action
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import IntentRow, Outcome, Status
from lifecycle.execution.state_machine import order, place

_UNKNOWN_TIME = 2**63
"""A restore whose time cannot be read counts as newer than every command, so the resource is kept."""


@dataclass(frozen=True, slots=True)
class AcceptedRestore:
    """A restore that was accepted: when it was issued (milliseconds, UTC), its intent id, and who asked for it."""

    at: int
    intent_id: str
    by: str


class AcceptedRestores:
    """Records accepted restores, one row per resource."""

    def __init__(self, rows: VersionedTable) -> None:
        self._rows = rows

    def record(self, restore: IntentRow) -> None:
        """Record an accepted restore, unless a newer one is recorded. Raises ``Throttled`` under contention."""
        key = table_keys.restore(restore.org_id, restore.resource, restore.id)

        def decide(rows: list[Row | None], _: int) -> RowDecision[None]:
            [row] = rows
            known = accepted_restore_in(row)
            if known is not None and order(known.at, Action.RESTORE, known.intent_id) >= place(restore):
                return RowDecision(None)
            newest = AcceptedRestore(restore.issued_at, restore.intent_id, restore.requested_by)
            return RowDecision(None, [Put(key, values_of(newest), row.version if row else 0)])

        update_rows(self._rows, [key], decide, busy="Too many restores of the same resource at once.")

    def newest(self, org_id: str, resource: str, thing_id: str) -> AcceptedRestore | None:
        """The newest restore that was accepted for a resource."""
        return accepted_restore_in(self._rows.read(table_keys.restore(org_id, resource, thing_id))[0])


def accepted_restore_in(row: Row | None) -> AcceptedRestore | None:
    """The restore in a row."""
    if row is None:
        return None
    at = row.values.get("at")
    known = at if type(at) is int else _UNKNOWN_TIME
    return AcceptedRestore(known, str(row.values.get("intent_id") or ""), str(row.values.get("by") or ""))


def stopped_by_restore(intent: IntentRow, restore: AcceptedRestore | None) -> Outcome | None:
    """How an older command ends once a restore was accepted; ``None`` if the command may run."""
    if restore is None or order(restore.at, Action.RESTORE, restore.intent_id) < place(intent):
        return None
    return restored(restore.by or "Somebody", restore.intent_id)


def restored(by: str, intent_id: str) -> Outcome:
    """The outcome of a command that a later restore has stopped."""
    reason = f"{by} asked for a restore ({intent_id}) after this command was issued, so it was not carried out."
    return Outcome(Status.SUPERSEDED, Code.RESTORED, reason)
