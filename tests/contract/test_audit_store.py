"""The audit trail in memory and in DynamoDB: each outcome, hold and pause is recorded exactly once."""

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import batched

import pytest

from lifecycle.audit.chain import Head, Record, What, hour_of, verify
from lifecycle.audit.sealer import Sealer
from lifecycle.audit.store import KEEP, AuditStore, audit_row
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, VersionedTable
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.intent import Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Claim, Ended, LeaseLost, Ledger
from lifecycle.holds.store import HoldStore
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Rate
from tests.contract.conftest import TERMS
from tests.harness.builders import ID_KEY, NOW, ORG, THING, Clock, command

DONE = Outcome(Status.DONE, Code.ACTED, "The process is archived.", '{"deleted_references": [1]}')
REJECTED = Outcome(Status.REJECTED, Code.HELD, "It is on hold.")
TOO_LONG = Outcome(Status.DEAD_LETTERED, Code.WAITED_TOO_LONG, "It waited too long.")


@pytest.fixture
def trail(rows: VersionedTable) -> AuditStore:
    return AuditStore(rows)


def records(trail: AuditStore, hour: str = hour_of(NOW)) -> list[Record]:
    found = [Record.parse(line) for line in sorted(trail.lines(hour))]
    return [record for record in found if record is not None]


def claimed(ledger: Ledger, doing: Command, redrive: int = 0) -> Claim:
    claim = ledger.claim(doing, redrive=redrive)
    assert isinstance(claim, Claim), claim
    return claim


def settled(ledger: Ledger, end: Ended) -> None:
    for debt in end.intent.pending:
        end = ledger.mark_delivered(end, debt)


def another(delivery: str, **changes: object) -> Command:
    return command(intent_id=intent_id(ID_KEY, "operator", delivery), **changes)


# --- ends -----------------------------------------------------------------------------------------------------------


def test_the_outcome_of_a_claim_is_recorded_with_who_what_why_and_how(ledger: Ledger, trail: AuditStore) -> None:
    claim = claimed(ledger, command())
    assert records(trail) == []  # A start is not an outcome.
    ended = ledger.conclude(claim, DONE).intent
    [record] = records(trail)
    assert (record.at, record.what, record.intent_id) == (ended.concluded_at, "intent.concluded", ended.intent_id)
    assert (record.org_id, record.resource, record.id, record.action) == (ORG, "run", THING, "archive")
    assert (record.by, record.source, record.why) == ("Ada", "operator", "The customer left.")
    assert (record.status, record.code, record.reason) == ("done", "acted", DONE.reason)
    assert len(record.evidence) == len(record.asked) == 64


def test_each_kind_of_outcome_is_recorded_once(ledger: Ledger, trail: AuditStore, clock: Clock) -> None:
    settled(ledger, ledger.conclude(claimed(ledger, another("undo", action="restore")), DONE))
    assert isinstance(ledger.claim(another("old", issued_at=(NOW - timedelta(seconds=9)).isoformat())), Ended)
    late = another("late", id="6f" * 16, not_after=(NOW - timedelta(seconds=1)).isoformat())
    assert isinstance(ledger.claim(late), Ended)
    assert ledger.give_up(another("given up", id="7f" * 16), TOO_LONG) is not None
    assert sorted(record.status for record in records(trail)) == ["dead_lettered", "done", "expired", "superseded"]
    assert {record.intent_id for record in records(trail)} == {
        intent_id(ID_KEY, "operator", delivery) for delivery in ("undo", "old", "late", "given up")
    }


def test_copies_failures_and_deliveries_are_not_recorded(ledger: Ledger, trail: AuditStore) -> None:
    ledger.release(claimed(ledger, command()), Code.UNAVAILABLE, "503", counted=True)
    ledger.fail(command(), Code.UNAVAILABLE, "503")
    settled(ledger, ledger.conclude(claimed(ledger, command()), REJECTED))
    assert isinstance(ledger.claim(command()), Ended)
    assert ledger.give_up(command(), TOO_LONG) is None
    assert len(records(trail)) == 1


def test_a_redriven_command_is_recorded_again_even_within_the_same_millisecond(
    ledger: Ledger, trail: AuditStore
) -> None:
    settled(ledger, ledger.conclude(claimed(ledger, command()), REJECTED))
    settled(ledger, ledger.conclude(claimed(ledger, command(), redrive=1), REJECTED))
    assert ledger.give_up(command(), TOO_LONG, redrive=2) is not None
    assert sorted((record.redrive, record.status) for record in records(trail)) == [
        (0, "rejected"),
        (1, "rejected"),
        (2, "dead_lettered"),
    ]


def test_a_worker_that_lost_the_lease_records_nothing(ledger: Ledger, trail: AuditStore, clock: Clock) -> None:
    first = claimed(ledger, command())
    clock.advance(timedelta(seconds=90))
    second = claimed(ledger, command())
    with pytest.raises(LeaseLost):
        ledger.conclude(first, REJECTED)
    assert records(trail) == []
    ledger.conclude(second, DONE)
    assert [record.status for record in records(trail)] == ["done"]


def test_concurrent_failures_of_one_intent_are_recorded_once(ledger: Ledger, trail: AuditStore) -> None:
    start = threading.Barrier(8)

    def give_up() -> None:
        start.wait()
        ledger.give_up(command(), TOO_LONG)

    threads = [threading.Thread(target=give_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(records(trail)) == 1


@dataclass
class Heard:
    """Rows that remember which changes were written together."""

    rows: VersionedTable
    writes: list[list[str]] = field(default_factory=list)

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        self.rows.write(*changes)
        self.writes.append([change.key.pk.split("#")[0] for change in changes])

    def insert(self, change: Put) -> Row | None:
        self.writes.append([change.key.pk.split("#")[0]])
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


def units(writes: list[list[str]]) -> int:
    """Write units of DynamoDB for rows of up to 1 KB: one each, two each in a transaction."""
    return sum(len(rows) * (1 if len(rows) == 1 else 2) for rows in writes)


def test_a_command_costs_ten_write_units_and_a_restore_one_more(rows: VersionedTable, clock: Clock) -> None:
    heard = Heard(rows)
    ledger = Ledger(heard, TERMS, clock)
    ledger.accept(command())
    settled(ledger, ledger.conclude(ledger.mark(claimed(ledger, command())), DONE))
    assert heard.writes == [["intent"], ["resource"], ["intent"], ["intent", "resource", "audit"], ["intent"]]
    assert units(heard.writes) == 10
    heard.writes.clear()
    ledger.accept(command(action="restore", intent_id=another("restore").intent_id))
    assert heard.writes == [["intent"], ["word"]]
    heard.writes.clear()
    ended = ledger.give_up(another("given up"), TOO_LONG)
    assert ended is not None
    settled(ledger, ended)
    assert heard.writes == [["intent", "audit"], ["intent"], ["intent"]]


@dataclass
class Refusing:
    """Rows that refuse to store a record."""

    rows: VersionedTable

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        if any(change.key.pk.startswith("audit#") for change in changes):
            raise Contention
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


def test_no_outcome_is_stored_without_its_record(rows: VersionedTable, clock: Clock) -> None:
    ledger = Ledger(Refusing(rows), TERMS, clock)
    with pytest.raises(LeaseLost):
        ledger.conclude(ledger.mark(claimed(ledger, command())), DONE)
    found = ledger.find(command().intent_id)
    assert found is not None
    assert found.status is Status.IN_PROGRESS
    with pytest.raises(Throttled):
        ledger.give_up(another("given up"), TOO_LONG)
    assert ledger.find(another("given up").intent_id) is None
    with pytest.raises(Throttled):
        HoldStore(Refusing(rows), clock).add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    with pytest.raises(Throttled):
        Pacing(Refusing(rows), Rate(60, 1), clock).pause(ORG, "Ada")
    assert HoldStore(rows, clock).reasons(ORG) == {}
    assert Pacing(rows, Rate(60, 1), clock).paused_by(ORG) == ""


# --- holds and pauses -----------------------------------------------------------------------------------------------


def test_a_hold_is_recorded_when_it_is_set_renewed_and_lifted(
    holds: HoldStore, trail: AuditStore, clock: Clock
) -> None:
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    clock.advance(timedelta(seconds=1))
    holds.add(ORG, "owner", "4711", reason="a lawsuit", by="Grace")
    clock.advance(timedelta(seconds=1))
    assert holds.lift(ORG, Resource.RUN, THING, by="Grace")
    assert not holds.lift(ORG, Resource.RUN, THING, by="Grace")
    assert [(r.what, r.resource, r.id, r.by, r.reason) for r in records(trail)] == [
        ("hold.set", "run", THING, "Ada", "an audit"),
        ("hold.set", "owner", "4711", "Grace", "a lawsuit"),
        ("hold.lifted", "run", THING, "Grace", ""),
    ]
    assert {record.org_id for record in records(trail)} == {ORG}


def test_holds_set_and_lifted_within_one_millisecond_are_all_recorded(holds: HoldStore, trail: AuditStore) -> None:
    for _ in range(12):
        holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
        holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
        assert holds.lift(ORG, Resource.RUN, THING, by="Ada")
    assert sorted(record.what for record in records(trail)) == ["hold.lifted"] * 12 + ["hold.set"] * 24
    assert holds.reasons(ORG) == {}


def test_a_pause_and_its_end_are_recorded_and_a_repeat_is_not(
    rows: VersionedTable, trail: AuditStore, clock: Clock
) -> None:
    pacing = Pacing(rows, Rate(60, 1), clock)
    pacing.resume(ORG, caller="arn:ada")
    pacing.pause(ORG, "ada (a wrong rule)", caller="arn:ada")
    pacing.pause(ORG, "ada (a wrong rule)", caller="arn:ada")
    clock.advance(timedelta(seconds=1))
    pacing.reserve(ORG, 3)
    pacing.resume(ORG, caller="arn:grace")
    pacing.resume(ORG, caller="arn:grace")
    assert [(r.what, r.org_id, r.by, r.reason) for r in records(trail)] == [
        ("pause.set", ORG, "arn:ada", "ada (a wrong rule)"),
        ("pause.ended", ORG, "arn:grace", ""),
    ]


def test_pauses_within_one_millisecond_are_all_recorded(rows: VersionedTable, trail: AuditStore, clock: Clock) -> None:
    pacing = Pacing(rows, Rate(60, 1), clock)
    for _ in range(20):
        pacing.pause(ORG, "Ada")
        pacing.resume(ORG)
    assert len(records(trail)) == 40


# --- the trail ------------------------------------------------------------------------------------------------------


def made(at: int = millis(NOW), **changes: object) -> Record:
    return Record.model_validate({"at": at, "what": What.PLAN_MADE, "org_id": ORG, "by": "Ada", **changes})


def test_a_single_record_is_written_once_for_any_number_of_tries(trail: AuditStore) -> None:
    for _ in range(3):
        trail.record(made())
    trail.record(made(plan="a" * 64))
    assert sorted(record.plan for record in records(trail)) == ["", "a" * 64]


def test_a_record_that_cannot_be_written_now_is_an_error(rows: VersionedTable) -> None:
    with pytest.raises(Throttled):
        AuditStore(Refusing(rows)).record(made())


def test_a_record_is_in_the_partition_of_its_hour(trail: AuditStore) -> None:
    last, first = millis(NOW) - 1, millis(NOW)
    trail.record(made(last))
    trail.record(made(first))
    assert [record.at for record in records(trail)] == [first]
    assert [record.at for record in records(trail, hour_of(NOW - timedelta(hours=1)))] == [last]


def test_rows_expire_after_thirty_days(clock: Clock) -> None:
    change = audit_row(made())
    assert change.expires_at == int((NOW + KEEP).timestamp())
    assert change.key.sk.startswith(f"{millis(NOW)}#")
    assert change.key.sk.endswith("#plan.made")
    assert change.key.pk == f"audit#{hour_of(NOW)}"


def test_a_key_is_never_too_long_for_dynamodb(trail: AuditStore) -> None:
    names = [name for name in Record.model_fields if name not in {"at", "redrive"}]
    trail.record(Record.model_validate({"at": millis(NOW), **dict.fromkeys(names, "é" * 1000)}))
    assert len(records(trail)) == 1


def test_the_head_moves_only_from_the_version_that_was_read(trail: AuditStore) -> None:
    assert trail.head() == (None, 0)
    first = Head(segment=1, sha256="a" * 64, hour="2026-06-01T10", through="2026-06-01T11", lease_until=5)
    assert trail.move(first, 0) == 1
    assert trail.head() == (first, 1)
    with pytest.raises(Contention):
        trail.move(replace(first, segment=2), 0)
    trail.move(replace(first, segment=2), 1)
    assert trail.head() == (replace(first, segment=2), 2)


def test_a_head_of_a_later_release_is_read(trail: AuditStore, rows: VersionedTable) -> None:
    trail.move(Head(segment=1), 0)
    [row] = rows.read(Key("audit#head", "head"))
    assert row is not None
    rows.write(Put(Key("audit#head", "head"), {**row.values, "colour": "red"}, 1))
    assert trail.head() == (Head(segment=1), 2)


def test_all_records_of_an_hour_are_sealed(
    ledger: Ledger, rows: VersionedTable, trail: AuditStore, clock: Clock
) -> None:
    trail.move(Head(through=hour_of(NOW - timedelta(hours=2))), 0)
    for number in range(30):
        settled(ledger, ledger.conclude(claimed(ledger, another(f"d{number}", id=f"{number:032x}")), DONE))
        clock.advance(timedelta(minutes=7))
    HoldStore(rows, clock).add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    clock.advance(timedelta(hours=2))
    objects = MemoryObjects()
    sealer = Sealer(trail=trail, objects=objects, metrics=MemoryMetrics(), clock=clock, time_left=lambda: 900.0)
    assert sealer.seal()
    bodies = [objects.bodies[key] for key in objects.keys("audit/")]
    head, _ = trail.head()
    assert head is not None
    assert verify(bodies, head) == ()
    assert head.segment == len(bodies) == 4
    assert sum(body.count(b"\n") - 1 for body in bodies) == 31


def test_more_records_than_one_page_are_all_read(rows: VersionedTable, trail: AuditStore) -> None:
    many = [made(millis(NOW) + number, reason="é" * 500, why="é" * 500) for number in range(250)]
    for some in batched(many, 50, strict=True):
        rows.write(*(audit_row(record) for record in some))
    assert records(trail) == many
