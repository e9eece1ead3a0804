"""The ledger in memory and in DynamoDB: claims, outcomes and pending deliveries."""

import threading
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.aws.dynamodb import DynamoTable, Key, Put, VersionedTable
from lifecycle.domain.capabilities import Action
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import IntentRow, OutboxEntry, Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Claim, Ended, LeaseLost, Ledger
from lifecycle.execution.state_machine import Busy, Conflict, Doubt, as_old_as
from tests.contract.conftest import TABLE, TERMS
from tests.harness.builders import ID_KEY, NOW, ORG, THING, Clock, command

DONE = Outcome(Status.DONE, Code.ACTED, "The process is archived.")
TOO_LONG = Outcome(Status.DEAD_LETTERED, Code.WAITED_TOO_LONG, "It waited too long.")
REJECTED = Outcome(Status.REJECTED, Code.HELD, "It is on hold.")
LEASE = timedelta(seconds=90)


def issued(seconds: int, delivery: str, action: Action = Action.ARCHIVE) -> Command:
    """A command for the same resource, a number of seconds after the first."""
    at = (NOW + timedelta(seconds=seconds)).isoformat()
    return command(issued_at=at, action=action, intent_id=intent_id(ID_KEY, "operator", delivery))


def won(found: Claim | Ended | Busy | Conflict) -> Claim:
    assert isinstance(found, Claim), found
    return found


def ended(found: Claim | Ended | Busy | Conflict | None) -> Ended:
    assert isinstance(found, Ended), found
    return found


def settled(ledger: Ledger, end: Ended) -> Ended:
    """The same entry with nothing left to deliver."""
    for debt in end.intent.pending:
        end = ledger.mark_delivered(end, debt)
    return end


def finished(ledger: Ledger, doing: Command, end: Outcome = DONE) -> Ended:
    return settled(ledger, ledger.conclude(won(ledger.claim(doing)), end))


# --- claiming -------------------------------------------------------------------------------------------------------


def test_an_unknown_intent_has_no_row(ledger: Ledger) -> None:
    assert ledger.find(command().intent_id) is None


def test_an_accepted_command_is_recorded_before_it_is_enqueued(ledger: Ledger) -> None:
    ledger.accept(command())
    row = ledger.find(command().intent_id)
    assert row is not None
    assert (row.status, row.issued_at, row.not_after) == (
        Status.ACCEPTED,
        millis(command().issued_at),
        millis(command().not_after),
    )


def test_a_repeated_delivery_keeps_the_time_of_the_first(ledger: Ledger, clock: Clock) -> None:
    ledger.accept(command())
    clock.advance(timedelta(days=1))
    again = command(issued_at=clock().isoformat())
    standing = ledger.accept(again)
    assert as_old_as(standing, again) == command()


def test_an_id_of_another_command_is_refused(ledger: Ledger) -> None:
    ledger.accept(command())
    with pytest.raises(Rejected) as refused:
        ledger.accept(command(reason="Another one."))
    assert refused.value.code is Code.INTENT_CONFLICT


def test_who_and_why_are_recorded_before_the_call(ledger: Ledger) -> None:
    ledger.mark(won(ledger.claim(command())))
    row = ledger.find(command().intent_id)
    assert row is not None
    assert (row.status, row.attempts, row.lease_until) == (Status.IN_PROGRESS, 1, millis(NOW + LEASE))
    assert (row.action, row.resource, row.org_id, row.id) == ("archive", "run", ORG, THING)
    assert (row.source, row.requested_by, row.why) == ("operator", "Ada", "The customer left.")


def test_a_second_delivery_during_the_call_is_told_how_long_to_wait(ledger: Ledger) -> None:
    won(ledger.claim(command()))
    assert ledger.claim(command()) == Busy(millis(NOW + LEASE))


def test_another_command_for_the_same_resource_waits(ledger: Ledger) -> None:
    won(ledger.claim(issued(0, "one")))
    assert ledger.claim(issued(1, "two", Action.RESTORE)) == Busy(millis(NOW + LEASE))


def test_a_command_for_another_resource_does_not_wait(ledger: Ledger) -> None:
    won(ledger.claim(command()))
    won(ledger.claim(command(id="7f" * 16, intent_id=intent_id(ID_KEY, "operator", "two"))))


def test_an_expired_lease_is_taken_over_and_its_effect_counts_as_unknown(ledger: Ledger, clock: Clock) -> None:
    first = ledger.mark(won(ledger.claim(command())))
    clock.advance(LEASE - timedelta(milliseconds=1))
    assert isinstance(ledger.claim(command()), Busy)
    clock.advance(timedelta(milliseconds=1))
    second = won(ledger.claim(command()))
    assert not first.rows.intent.maybe_acted
    assert (second.rows.intent.maybe_acted, second.rows.intent.attempts) == (True, 2)


def test_a_worker_that_lost_the_lease_records_nothing(ledger: Ledger, clock: Clock) -> None:
    first = won(ledger.claim(command()))
    clock.advance(LEASE)
    second = won(ledger.claim(command()))
    with pytest.raises(LeaseLost):
        ledger.conclude(first, REJECTED)
    with pytest.raises(LeaseLost):
        ledger.release(first, Code.UNAVAILABLE, "too late", counted=True)
    assert ledger.conclude(second, DONE).intent.status is Status.DONE


def test_the_same_intent_with_another_meaning_is_a_conflict_before_and_after_its_end(ledger: Ledger) -> None:
    ledger.accept(command())
    claim = won(ledger.claim(command()))
    assert ledger.claim(command(reason="Another one.")) == Conflict()
    settled(ledger, ledger.conclude(claim, DONE))
    assert ledger.claim(command(reason="Another one.")) == Conflict()


# --- ending ---------------------------------------------------------------------------------------------------------


def test_every_later_copy_gets_the_recorded_outcome(ledger: Ledger, clock: Clock) -> None:
    finished(ledger, command())
    clock.advance(timedelta(days=300))
    again = ended(ledger.claim(command(), redrive=5))
    assert (again.intent.status, again.intent.reason, again.intent.pending) == (Status.DONE, DONE.reason, ())


def test_an_outcome_needs_an_announcement_and_a_failure_a_dead_letter_too(ledger: Ledger) -> None:
    assert ledger.conclude(won(ledger.claim(issued(0, "one"))), DONE).intent.pending == (OutboxEntry.ANNOUNCEMENT,)
    dead = ledger.conclude(won(ledger.claim(issued(1, "two"))), REJECTED)
    assert dead.intent.pending == (OutboxEntry.DEAD_LETTER, OutboxEntry.ANNOUNCEMENT)


def test_pending_deliveries_are_marked_one_by_one_and_a_later_copy_does_the_rest(ledger: Ledger, clock: Clock) -> None:
    dead = ledger.conclude(won(ledger.claim(command())), REJECTED)
    ledger.mark_delivered(dead, OutboxEntry.DEAD_LETTER)
    assert isinstance(ledger.claim(command()), Busy)  # the worker that ended it is delivering
    clock.advance(LEASE)
    again = ended(ledger.claim(command()))
    assert again.intent.pending == (OutboxEntry.ANNOUNCEMENT,)
    assert settled(ledger, again).intent.pending == ()
    assert ended(ledger.claim(command())).intent.pending == ()


def test_an_outbox_entry_that_another_worker_marked_is_not_an_error(ledger: Ledger, clock: Clock) -> None:
    first = ledger.conclude(won(ledger.claim(command())), REJECTED)
    clock.advance(LEASE)
    second = ended(ledger.claim(command()))
    settled(ledger, second)
    settled(ledger, first)
    row = ledger.find(command().intent_id)
    assert row is not None
    assert (row.status, row.pending) == (Status.REJECTED, ())


def test_the_evidence_of_an_outcome_is_kept(ledger: Ledger) -> None:
    finished(ledger, command(), Outcome(Status.DONE, Code.ACTED, "so", evidence='{"deleted_references": [1]}'))
    row = ledger.find(command().intent_id)
    assert row is not None
    assert row.evidence == '{"deleted_references": [1]}'


def test_a_release_counts_a_failure_and_not_a_wait(ledger: Ledger) -> None:
    failed = ledger.release(won(ledger.claim(command())), Code.UNAVAILABLE, "503", counted=True)
    waited = ledger.release(won(ledger.claim(command())), Code.THROTTLED, "429", counted=False)
    assert (failed, waited) == (1, 1)
    row = ledger.find(command().intent_id)
    assert row is not None
    assert (row.status, row.code, row.lease_until, row.maybe_acted) == (Status.WAITING, "throttled", 0, False)


def test_an_unknown_effect_stays_recorded_through_later_attempts(ledger: Ledger) -> None:
    ledger.release(won(ledger.claim(command())), Code.UNCERTAIN, "cut off", counted=True, doubt=Doubt.MAYBE_ACTED)
    ledger.release(won(ledger.claim(command())), Code.THROTTLED, "429", counted=False)
    assert won(ledger.claim(command())).rows.intent.maybe_acted


def test_a_resource_whose_call_may_still_land_stays_leased(ledger: Ledger, clock: Clock) -> None:
    claim = won(ledger.claim(issued(0, "one")))
    ledger.release(claim, Code.UNCERTAIN, "cut off", counted=True, doubt=Doubt.MAY_STILL_LAND)
    assert isinstance(ledger.claim(issued(0, "one")), Busy)
    assert isinstance(ledger.claim(issued(1, "undo", Action.RESTORE)), Busy)
    clock.advance(LEASE)
    won(ledger.claim(issued(1, "undo", Action.RESTORE)))


def test_a_released_resource_is_free_for_others(ledger: Ledger) -> None:
    ledger.release(won(ledger.claim(issued(0, "one"))), Code.UNAVAILABLE, "503", counted=True)
    won(ledger.claim(issued(1, "undo", Action.RESTORE)))


# --- what is not carried out any more ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.DONE, Status.UNCHANGED])
def test_an_older_command_is_superseded_by_a_newer_outcome(ledger: Ledger, status: Status) -> None:
    undo = issued(5, "undo", Action.RESTORE)
    finished(ledger, undo, Outcome(status, Code.ACTED, "so"))
    old = ended(ledger.claim(issued(0, "old")))
    assert (old.intent.status, old.intent.pending) == (Status.SUPERSEDED, (OutboxEntry.ANNOUNCEMENT,))
    assert undo.intent_id in old.intent.reason


def test_a_refusal_supersedes_nothing(ledger: Ledger) -> None:
    finished(ledger, issued(5, "newer"), REJECTED)
    won(ledger.claim(issued(0, "old")))


def test_a_later_copy_does_not_make_an_intent_newer(ledger: Ledger) -> None:
    ledger.release(won(ledger.claim(issued(0, "old"))), Code.UNAVAILABLE, "503", counted=True)
    finished(ledger, issued(5, "undo", Action.RESTORE))
    assert ended(ledger.claim(issued(9, "old"))).intent.status is Status.SUPERSEDED


def test_an_older_command_does_not_run_after_a_newer_one_that_was_cut_off(ledger: Ledger, clock: Clock) -> None:
    ledger.mark(won(ledger.claim(issued(5, "newer", Action.RESTORE))))
    clock.advance(LEASE)
    assert ended(ledger.claim(issued(0, "old"))).intent.status is Status.SUPERSEDED
    won(ledger.claim(issued(9, "newest")))


def test_an_older_command_runs_if_a_newer_one_failed_before_its_call(ledger: Ledger, clock: Clock) -> None:
    ledger.accept(issued(5, "newer", Action.RESTORE))
    won(ledger.claim(issued(5, "newer", Action.RESTORE)))
    clock.advance(LEASE)
    won(ledger.claim(issued(0, "old")))


def test_a_command_that_comes_too_late_expires(ledger: Ledger, clock: Clock) -> None:
    late = command(not_after=(NOW + timedelta(minutes=1)).isoformat())
    clock.advance(timedelta(minutes=1, seconds=1))
    assert ended(ledger.claim(late)).intent.status is Status.EXPIRED


def test_after_the_sixth_cut_off_attempt_a_command_fails_with_an_unknown_effect(ledger: Ledger, clock: Clock) -> None:
    for attempt in range(1, 7):
        claim = ledger.mark(won(ledger.claim(command())))
        assert (claim.rows.intent.attempts >= ledger.most_attempts) is (attempt == 6)
        clock.advance(LEASE)
    dead = ended(ledger.claim(command())).intent
    assert (dead.status, dead.code, dead.maybe_acted) == (Status.DEAD_LETTERED, "attempts_exhausted", True)


def test_a_redrive_reopens_a_failed_command_and_resets_its_attempts(ledger: Ledger) -> None:
    finished(ledger, command(), REJECTED)
    assert ended(ledger.claim(command(), redrive=0)).intent.status is Status.REJECTED
    again = won(ledger.claim(command(), redrive=1))
    assert (again.rows.intent.redrive, again.rows.intent.attempts) == (1, 1)
    settled(ledger, ledger.conclude(again, REJECTED))
    assert ended(ledger.claim(command(), redrive=1)).intent.status is Status.REJECTED
    won(ledger.claim(command(), redrive=2))


def test_giving_up_ends_only_a_command_that_no_worker_holds(ledger: Ledger, clock: Clock) -> None:
    claim = ledger.mark(won(ledger.claim(command())))
    assert ledger.give_up(command(), TOO_LONG) is None
    clock.advance(LEASE)
    dead = ended(ledger.give_up(command(), TOO_LONG))
    assert (dead.intent.status, dead.intent.maybe_acted) == (Status.DEAD_LETTERED, True)
    with pytest.raises(LeaseLost):
        ledger.conclude(claim, DONE)
    settled(ledger, dead)
    assert ledger.give_up(command(), TOO_LONG) is None
    assert ended(ledger.give_up(command(), TOO_LONG, redrive=1)).intent.redrive == 1


def test_giving_up_needs_no_claim_and_leaves_another_command_with_the_same_id_alone(ledger: Ledger) -> None:
    dead = ended(ledger.give_up(command(), TOO_LONG))
    assert dead.intent.status is Status.DEAD_LETTERED
    assert ledger.give_up(command(reason="Another one."), TOO_LONG, redrive=3) is None


# --- holds, other releases, races -------------------------------------------------------------------------------------


def test_attributes_of_a_newer_release_are_ignored_and_missing_ones_take_their_defaults(
    ledger: Ledger, rows: VersionedTable
) -> None:
    finished(ledger, command())
    key = Key(f"intent#{command().intent_id}", "intent")
    [row] = rows.read(key)
    assert row is not None
    kept = {name: value for name, value in row.values.items() if name != "evidence"}
    rows.write(Put(key, {**kept, "of_a_newer_release": ["x"]}, row.version))
    found = ledger.find(command().intent_id)
    assert isinstance(found, IntentRow)
    assert {field.name for field in fields(found)} >= set(kept)
    assert (found.status, found.evidence) == (Status.DONE, "")


def test_exactly_one_of_many_concurrent_deliveries_is_carried_out(ledger: Ledger) -> None:
    found: list[str] = []
    start = threading.Barrier(12)

    def deliver() -> None:
        start.wait()
        try:
            found.append(type(ledger.claim(command())).__name__)
        except Throttled:
            found.append("Busy")

    threads = [threading.Thread(target=deliver) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(found) == {"Claim": 1, "Busy": 11}


def test_exactly_one_of_many_concurrent_commands_for_a_resource_is_carried_out(ledger: Ledger) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def deliver(number: int) -> None:
        start.wait()
        try:
            found.append(type(ledger.claim(issued(0, f"delivery {number}"))).__name__)
        except Throttled:
            found.append("Busy")

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(found) == {"Claim": 1, "Busy": 7}


def test_a_recalled_intent_has_its_present_state(ledger: Ledger) -> None:
    assert ledger.recall(command().intent_id) is None
    ledger.mark(won(ledger.claim(command())))
    told = ended(ledger.recall(command().intent_id))
    assert (told.intent.status, told.intent.id) == (Status.IN_PROGRESS, THING)


def test_a_rejection_without_a_claim_keeps_its_code_and_names_no_resource(ledger: Ledger) -> None:
    searching = command(id=None, find={"tag": "deal-7"})
    end = Outcome(Status.REJECTED, Code.AMBIGUOUS_MATCH, "0 active processes match.")
    dead = ended(ledger.give_up(searching, end))
    assert (dead.intent.status, dead.intent.code, dead.intent.id) == (Status.REJECTED, Code.AMBIGUOUS_MATCH, "")
    settled(ledger, dead)
    found = searching.model_copy(update={"id": THING})
    assert ended(ledger.claim(found)).intent.status is Status.REJECTED
    assert won(ledger.claim(found, redrive=1)).rows.intent.id == THING


def test_two_workers_that_find_different_resources_for_one_intent_act_on_one(ledger: Ledger) -> None:
    searching = command(id=None, find={"tag": "deal-7"})
    one = won(ledger.claim(searching.model_copy(update={"id": THING})))
    other = won(ledger.claim(searching.model_copy(update={"id": "6f" * 16})))
    ledger.mark(one)
    with pytest.raises(LeaseLost):
        ledger.mark(other)
    assert isinstance(ledger.claim(searching.model_copy(update={"id": "6f" * 16})), Busy)


# --- how long it is remembered ----------------------------------------------------------------------------------------


def _expires_at(table: DynamoTable, pk: str, sk: str) -> datetime | None:
    item = table._client.get_item(TableName=TABLE, Key={"pk": {"S": pk}, "sk": {"S": sk}})["Item"]
    at = item.get("expires_at")
    return datetime.fromtimestamp(int(at["N"]), UTC) if at else None


def test_an_intent_is_kept_for_the_whole_retention_after_its_end_and_its_dead_letter(
    table: DynamoTable, clock: Clock
) -> None:
    """For any wait: a schedule of two years, or an approval."""
    ledger = Ledger(table, TERMS, clock)
    ends = NOW + timedelta(days=730)
    ledger.accept(command(not_after=ends.isoformat()))
    until = _expires_at(table, f"intent#{command().intent_id}", "intent")
    assert until is not None
    assert until >= ends + timedelta(days=14) + TERMS.keep


def test_the_newest_command_of_a_resource_is_kept_until_the_resource_is_gone(table: DynamoTable, clock: Clock) -> None:
    ledger = Ledger(table, TERMS, clock)
    finished(ledger, command())
    assert _expires_at(table, f"resource#{ORG}#run#{THING}", "resource") is None
    restore = issued(5, "restore", Action.RESTORE)
    ledger.accept(restore)
    finished(ledger, restore)
    assert _expires_at(table, f"resource#{ORG}#run#{THING}", "resource") is None
    assert _expires_at(table, f"word#{ORG}#run#{THING}", "word") is None
    finished(ledger, issued(9, "delete", Action.DELETE))
    assert _expires_at(table, f"resource#{ORG}#run#{THING}", "resource") is not None
