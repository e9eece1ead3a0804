"""Records that a person reverted a plan. Workers read this right before each call.

The row counts from the moment it is written and needs no lock. A command of the plan that has not made its call by then
never makes it.
"""

from datetime import datetime, timedelta

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put, Row, Value, VersionedTable
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Outcome, Status

KEPT = timedelta(days=400)
"""Longer than a plan can be applied (7 days) and its commands can wait (2 days, and 14 days as dead letters)."""


def reverted_by(row: Row) -> str:
    """Who reverted the plan. The row may be unreadable; it still says that the plan was reverted."""
    return str(row.values.get("requested_by") or "Somebody")


def outcome(row: Row | None) -> Outcome | None:
    """The outcome of a command whose plan was reverted; ``None`` if the plan stands."""
    if row is None:
        return None
    return Outcome(Status.SUPERSEDED, Code.UNDONE, f"{reverted_by(row)} reverted its plan before it was carried out.")


def revert(rows: VersionedTable, org_id: str, plan: str, *, by: str, at: datetime) -> Row | None:
    """Record that a plan is reverted from now on. Returns the existing row if the plan was reverted before.

    Raises ``Contention`` if another caller writes the row at the same time.
    """
    values: dict[str, Value] = {
        "stage": "rest",
        "sent": 0,
        "requested_by": by,
        "source": "undo",
        "begun_at": at.isoformat(),
    }
    expires_at = int((at + KEPT).timestamp())
    return rows.insert(Put(table_keys.reverted_plan(org_id, plan), values, 0, expires_at))
