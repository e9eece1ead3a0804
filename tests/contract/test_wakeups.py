"""An overdue command is found even if its schedule was lost."""

from datetime import timedelta

import pytest

from lifecycle.aws.dynamodb import Key, Put, Row, VersionedTable
from lifecycle.aws.metrics import MemoryMetrics, Metric
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.wakeup_check import WakeupService
from lifecycle.execution.wakeups import RememberedSchedules, Wakeups
from tests.harness.builders import ID_KEY, NOW, ORG, Clock, command

HOUR = timedelta(hours=1)


@pytest.fixture
def service(rows: VersionedTable, clock: Clock) -> WakeupService:
    return WakeupService(
        wakeups=Wakeups(rows),
        ordinary=MemoryQueue(clock),
        permanent=MemoryQueue(clock),
        metrics=MemoryMetrics(),
    )


def waits(rows: VersionedTable, ledger: Ledger, asked: Command) -> None:
    ledger.accept(asked, due_at=NOW + HOUR)
    RememberedSchedules(MemorySchedules(), rows).at(NOW + HOUR, "name", asked.to_json())


def bodies(queue: object) -> list[str]:
    assert isinstance(queue, MemoryQueue)
    return [entry.message.body for entry in queue.entries.values()]


def test_a_command_that_its_schedule_missed_is_enqueued(
    service: WakeupService, rows: VersionedTable, ledger: Ledger
) -> None:
    waits(rows, ledger, command())
    assert service.wake(ORG, NOW + HOUR) == 0  # its schedule may still enqueue it
    assert service.wake(ORG, NOW + 2 * HOUR + timedelta(seconds=1)) == 1
    assert bodies(service.ordinary) == [command().to_json()]
    assert service.metrics.counts[Metric.WOKEN] == 1  # type: ignore[attr-defined]


def test_each_scheduled_command_is_listed_before_and_after_its_time(rows: VersionedTable, ledger: Ledger) -> None:
    waits(rows, ledger, command())
    assert list(Wakeups(rows).commands(ORG)) == [command()]
    assert list(Wakeups(rows).commands("1c" * 16)) == []


def test_a_permanent_delete_goes_back_to_its_own_queue(
    service: WakeupService, rows: VersionedTable, ledger: Ledger
) -> None:
    delete = command(action="delete", intent_id=intent_id(ID_KEY, "operator", "delete"))
    waits(rows, ledger, delete)
    assert service.wake(ORG, NOW + 3 * HOUR) == 1
    assert (bodies(service.permanent), bodies(service.ordinary)) == ([delete.to_json()], [])


def test_a_command_that_has_ended_is_left_alone(service: WakeupService, rows: VersionedTable, ledger: Ledger) -> None:
    waits(rows, ledger, command())
    ledger.stop(command().intent_id, Outcome(Status.SUPERSEDED, Code.UNDONE, "Ada undid it."))
    assert service.wake(ORG, NOW + 3 * HOUR) == 0


def test_a_later_schedule_replaces_an_earlier_one(service: WakeupService, rows: VersionedTable, ledger: Ledger) -> None:
    waits(rows, ledger, command())
    RememberedSchedules(MemorySchedules(), rows).at(NOW + timedelta(days=3), "another", command().to_json())
    assert service.wake(ORG, NOW + timedelta(days=1)) == 0
    assert service.wake(ORG, NOW + timedelta(days=4)) == 1


def test_an_unreadable_row_does_not_stop_the_others(
    service: WakeupService, rows: VersionedTable, ledger: Ledger
) -> None:
    rows.write(Put(Key(f"waiting#{ORG}", "int_newer"), {"due_at": 0, "body": '{"version": 2}'}, 0))
    waits(rows, ledger, command())
    assert service.wake(ORG, NOW + 3 * HOUR) == 1


def test_commands_of_another_organization_are_left_alone(
    service: WakeupService, rows: VersionedTable, ledger: Ledger
) -> None:
    waits(rows, ledger, command())
    assert service.wake("1b" * 16, NOW + 3 * HOUR) == 0


class CountingRows:
    """Counts the reads by key."""

    def __init__(self, rows: VersionedTable) -> None:
        self._rows = rows
        self.reads: list[int] = []

    def read(self, *keys: Key) -> list[Row | None]:
        self.reads.append(len(keys))
        return self._rows.read(*keys)

    def write(self, *changes: Put) -> None:
        self._rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self._rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self._rows.partition(pk)


def test_the_intents_of_overdue_commands_are_read_in_one_call(rows: VersionedTable, ledger: Ledger) -> None:
    asked = [command(intent_id=intent_id(ID_KEY, "operator", str(number))) for number in range(5)]
    for one in asked:
        waits(rows, ledger, one)
    ledger.stop(asked[0].intent_id, Outcome(Status.SUPERSEDED, Code.UNDONE, "Ada undid it."))
    counting = CountingRows(rows)
    found = list(Wakeups(counting).overdue(ORG, NOW + 3 * HOUR))
    assert {one.intent_id for one in found} == {one.intent_id for one in asked[1:]}
    assert counting.reads == [5]
