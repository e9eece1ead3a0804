"""Whether a person took a plan back. Workers read this right before each call, so it imports nothing of a sweep.

The row counts from the moment it is written, without any lock: a command of the plan that has not made its call by
then never makes it.
"""

from datetime import datetime, timedelta

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Row, Value, VersionedTable

KEPT = timedelta(days=400)
"""Longer than a plan can be applied and its commands can wait: seven days, two days, and 14 days as dead letters."""


def taken_back_key(org_id: str, plan: str) -> Key:
    """Where it is recorded that a plan was taken back, and how far its undo has come."""
    return table_keys.plan(org_id, plan, "taken-back")


def is_taken_back(row: Row | None) -> bool:
    """Whether the row says so. A row that cannot be read says so as well: it keeps."""
    return row is not None


def taken_back_by(row: Row) -> str:
    """Who took the plan back."""
    return str(row.values.get("requested_by") or "Somebody")


def take_back(rows: VersionedTable, org_id: str, plan: str, *, by: str, at: datetime) -> Row | None:
    """Record that a plan is taken back from now on. The first word counts: returns the row that stands already.

    Raises ``Contention`` where somebody writes the row at this moment.
    """
    values: dict[str, Value] = {
        "stage": "rest",
        "sent": 0,
        "requested_by": by,
        "source": "undo",
        "begun_at": at.isoformat(),
    }
    expires_at = int((at + KEPT).timestamp())
    return rows.insert(Put(taken_back_key(org_id, plan), values, 0, expires_at))
