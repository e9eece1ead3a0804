"""Sending kept deliveries again: through the corrected table, once each, under their own id and age."""

import json
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.row_codec import record_of
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import Outcome, Status
from lifecycle.execution.ledger import Claim, Ended
from lifecycle.intake.kept import KeptDelivery, Replay
from lifecycle.intake.replay import ReplayRow, Replays, ReplayStatus
from lifecycle.intake.sources import Sources
from tests.harness.builders import NOW, ORG, SHARED, THING, Clock, Entrance, bodies, command, request

TABLE = f"""
[sources.one]
scheme = "shared-secret"
may = ["run.archive"]
commands = [{{ action = "archive", resource = "run", org_id = "{ORG}", id = "body.process", delivery = "body.n" }}]
"""
BUS = f"""
[sources.bus-source]
scheme = "eventbridge"
event_source = "crm"
detail_types = ["project.closed"]
may = ["run.archive"]
commands = [{{ action = "archive", resource = "run", org_id = "{ORG}", id = "detail.id" }}]
""".replace("detail.id", "body.detail.id")


@dataclass
class Room:
    """An intake whose table can be corrected, and what sends kept deliveries again."""

    clock: Clock
    way_in: Entrance
    rows: MemoryTable

    @property
    def replays(self) -> Replays:
        return Replays(self.way_in.intake, self.rows, self.clock)

    def correct(self, declared: str) -> None:
        self.way_in.intake = replace(self.way_in.intake, sources=Sources.parse(declared))

    def kept(self) -> KeptDelivery:
        """What is kept, taken out of the queue."""
        [text] = bodies(self.way_in.dead_letters)
        self.way_in.dead_letters.entries.clear()
        return KeptDelivery.model_validate_json(text)

    def replay(self, kept: KeptDelivery, name: str = "attempt-1") -> ReplayRow:
        self.replays.take(Replay(replay=name, kept=kept).body())
        row = self.rows.table[table_keys.replay(kept.source, kept.delivery)]
        return record_of(ReplayRow, row.values)

    def commands(self) -> list[Command]:
        return [Command.model_validate_json(text) for text in bodies(self.way_in.ordinary)]


def room(clock: Clock, declared: str = TABLE) -> Room:
    return Room(clock, Entrance(clock, declared=declared), MemoryTable())


def send(place: Room, body: object, **headers: str) -> list[Command]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return place.way_in.intake.accept(request("one", raw, headers, key=SHARED))


@pytest.fixture
def broken(clock: Clock) -> tuple[Room, KeptDelivery]:
    """A delivery that came, was kept, and would be understood by another table."""
    place = room(clock)
    with pytest.raises(Rejected) as refused:
        send(place, {"run": THING, "n": 7})
    assert refused.value.kept
    return place, place.kept()


MENDED = TABLE.replace("body.process", "body.run")


def test_a_replay_after_a_correction_makes_the_command_and_a_second_replay_nothing(
    broken: tuple[Room, KeptDelivery],
) -> None:
    place, kept = broken
    place.correct(MENDED)
    first = place.replay(kept)
    [made] = place.commands()
    assert (first.status, first.intent_ids) == (ReplayStatus.ACCEPTED, (made.intent_id,))
    assert place.replay(kept, "attempt-2") == first
    assert len(place.commands()) == 1
    assert place.way_in.dead_letters.depth() == 0


def test_a_replay_makes_the_same_command_as_a_repeated_delivery(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(MENDED)
    row = place.replay(kept)
    assert [command.intent_id for command in send(place, {"run": THING, "n": 7})] == list(row.intent_ids)


def test_a_replayed_command_has_the_age_of_its_delivery_and_a_new_deadline(
    broken: tuple[Room, KeptDelivery], clock: Clock
) -> None:
    place, kept = broken
    clock.advance(timedelta(days=10))
    place.correct(MENDED)
    place.replay(kept)
    [made] = place.commands()
    assert made.issued_at == NOW
    assert made.not_after == NOW + timedelta(days=24)


def test_a_resource_that_a_person_restored_since_the_delivery_stays_restored(
    broken: tuple[Room, KeptDelivery], clock: Clock
) -> None:
    place, kept = broken
    ledger = place.way_in.ledger
    clock.advance(timedelta(days=1))
    restored = ledger.claim(command(action="restore", issued_at=clock().isoformat()), redrive=0)
    assert isinstance(restored, Claim)
    ledger.conclude(restored, Outcome(Status.DONE, Code.ACTED, "It is so."))
    clock.advance(timedelta(days=1))
    place.correct(MENDED)
    place.replay(kept)
    ended = ledger.claim(place.commands()[0], redrive=0)
    assert isinstance(ended, Ended)
    assert ended.intent.status is Status.SUPERSEDED


def test_a_delivery_time_in_the_future_is_replaced_by_our_time(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(MENDED)
    place.replay(kept.model_copy(update={"received_at": NOW + timedelta(days=300)}))
    assert place.commands()[0].issued_at == NOW


def test_a_delivery_that_still_fails_is_kept_again_with_the_new_reason(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(TABLE.replace("body.process", "body.other"))
    row = place.replay(kept)
    assert (row.status, row.code) == (ReplayStatus.FAILED, Code.UNTRANSLATABLE)
    assert "body.other" in str(row.reason)
    assert place.kept() == kept
    place.correct(MENDED)
    assert place.replay(kept, "attempt-2").status is ReplayStatus.ACCEPTED


def test_a_late_copy_of_an_older_attempt_does_not_hide_a_success(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(MENDED)
    done = place.replay(kept, "attempt-2")
    place.correct(TABLE)
    assert place.replay(kept, "attempt-1") == done
    assert place.way_in.dead_letters.depth() == 0


def test_a_delivery_that_the_corrected_filter_excludes_is_ignored(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(TABLE.replace("commands =", "when = \"body.kind == 'done'\"\ncommands ="))
    assert place.replay(kept).status is ReplayStatus.IGNORED
    assert place.commands() == []


def test_a_source_that_was_removed_or_lost_the_right_makes_no_command(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken
    place.correct(BUS)
    assert place.replay(kept).code == Code.UNKNOWN_SOURCE
    place.correct(MENDED.replace(ORG, "1b" * 16))
    assert place.replay(kept).code == Code.ORGANIZATION_UNKNOWN
    assert place.commands() == []


def test_headers_that_name_the_event_are_available_in_a_replay(clock: Clock) -> None:
    place = room(clock, MENDED.replace("commands =", 'when = \'headers."x-one-event" == `"closed"`\'\ncommands ='))
    with pytest.raises(Rejected):
        send(place, {"n": 7}, **{"x-one-event": "closed"})
    kept = place.kept()
    place.correct(
        MENDED.replace("body.run", f"'{THING}'").replace("commands =", "when = 'headers.\"x-one-event\"'\ncommands =")
    )
    assert place.replay(kept).status is ReplayStatus.ACCEPTED


def test_an_event_of_the_bus_is_sent_again_under_its_own_id(clock: Clock) -> None:
    place = room(clock, BUS)
    event = {"id": "event-1", "source": "crm", "detail-type": "project.closed", "detail": {"project": THING}}
    assert place.way_in.intake.accept_event(json.dumps(event)) == []
    kept = place.kept()
    assert (kept.source, kept.delivery) == ("bus-source", "event-1")
    place.correct(BUS.replace("detail.id", "detail.project"))
    row = place.replay(kept)
    event["detail"] = {"project": THING}
    assert [one.intent_id for one in place.way_in.intake.accept_event(json.dumps(event))] == list(row.intent_ids)
    place.correct(BUS.replace("project.closed", "project.opened"))
    kept = kept.model_copy(update={"delivery": "event-2"})
    assert place.replay(kept).code == Code.UNKNOWN_SOURCE


@pytest.mark.parametrize("text", ['{"replay": 5}', '{"replay": "x"}', '{"replay":', '{"replay": "x", "kept": {}}'])
def test_an_unreadable_replay_message_becomes_a_dead_letter(clock: Clock, text: str) -> None:
    place = room(clock)
    place.replays.take(text)
    assert [letter["code"] for letter in place.way_in.letters] == ["poison"]


def test_an_outage_of_aws_leaves_the_message_and_no_record(broken: tuple[Room, KeptDelivery]) -> None:
    place, kept = broken

    class Broken(MemoryQueue):
        def send(self, body: str, attributes: object = None) -> None:
            raise Retryable(Code.UNAVAILABLE, "SQS is down.")

    working = place.way_in.ordinary
    place.correct(MENDED)
    place.way_in.intake = replace(place.way_in.intake, ordinary=Broken(lambda: NOW))
    with pytest.raises(Retryable):
        place.replay(kept)
    assert place.rows.table == {}
    place.way_in.intake = replace(place.way_in.intake, ordinary=working)
    assert place.replay(kept).status is ReplayStatus.ACCEPTED
    assert len(place.commands()) == 1
