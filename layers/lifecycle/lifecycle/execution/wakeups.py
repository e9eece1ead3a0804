"""Stores each scheduled command in a row beside its schedule, so that a lost schedule loses no command.

A schedule can be lost: it fires while the stack is replaced, somebody deletes it, or Scheduler refuses it for a while.
The daily check reads these rows and enqueues each command that is overdue.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import batched

from pydantic import ValidationError

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Put, Value, VersionedTable
from lifecycle.aws.scheduler import Schedules
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.intent import OPEN
from lifecycle.execution.ledger_rows import intent_in

_AT_ONCE = 100
"""The intents that are read in one call."""
_LATE = timedelta(hours=1)
"""A command this long after its time is overdue. The template lets Scheduler retry for an hour at most."""
_KEPT = timedelta(days=30)
"""How long a row outlives the command it is about."""


class RememberedSchedules:
    """Schedules of commands, each with a row that the daily check can find."""

    def __init__(self, schedules: Schedules, rows: VersionedTable) -> None:
        self._schedules = schedules
        self._rows = rows

    def at(self, moment: datetime, name: str, body: str) -> None:
        """See ``Schedules``. The row is written first: nobody reads it until the command is overdue."""
        command = json.loads(body)
        key = table_keys.wakeup(str(command["org_id"]), str(command["intent_id"]))
        ends = datetime.fromisoformat(str(command["not_after"]))
        [row] = self._rows.read(key)
        values: dict[str, Value] = {"due_at": millis(moment), "body": body}
        if row is None or row.values.get("due_at") != values["due_at"]:
            change = Put(key, values, row.version if row else 0, int((ends + _KEPT).timestamp()))
            with suppress(Contention):  # A copy of the same command has just written the row.
                self._rows.write(change)
        self._schedules.at(moment, name, body)


class Wakeups:
    """Reads the rows of scheduled commands, for the daily check."""

    def __init__(self, rows: VersionedTable) -> None:
        self._rows = rows

    def overdue(self, org_id: str, now: datetime) -> Iterator[Command]:
        """Every command whose time came more than an hour ago and that has not ended since."""
        for few in batched(self._before(org_id, millis(now - _LATE)), _AT_ONCE, strict=False):
            rows = self._rows.read(*(table_keys.intent(command.intent_id) for command in few))
            for command, intent in zip(few, map(intent_in, rows), strict=True):
                # A command of a plan that waits for its grace period has no row until a worker starts it.
                if intent is None or intent.status in OPEN:
                    yield command

    def commands(self, org_id: str) -> Iterator[Command]:
        """Every command that was given a day, whether or not that day has come; until 30 days after its own end."""
        return self._before(org_id, None)

    def _before(self, org_id: str, latest: int | None) -> Iterator[Command]:
        for row in self._rows.partition(table_keys.wakeups(org_id)).values():
            due_at = row.values.get("due_at")
            if latest is not None and isinstance(due_at, int) and due_at >= latest:
                continue
            # A command that this release cannot read waits for a release that can.
            with suppress(ValidationError):
                yield Command.model_validate_json(str(row.values.get("body")))
