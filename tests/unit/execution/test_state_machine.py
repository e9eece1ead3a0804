"""The ledger's rules: what a delivery of a command may do, given what is known."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import DEAD, IntentRow, OutboxEntry, Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.state_machine import (
    CLOCKS_DIFFER,
    Busy,
    Claimed,
    ClaimResult,
    CommandDelivery,
    Concluded,
    Conflict,
    Doubt,
    ResourceRow,
    accepted,
    claim,
    conclude,
    fail,
    give_up,
    mark,
    mark_delivered,
    release,
    stop,
)
from tests.harness.builders import ID_KEY, NOW, command

COMMAND = command()
AT = millis(NOW)
LEASE = 90_000
MOST = 6
DONE = Outcome(Status.DONE, Code.ACTED, "The process is archived.", "{}")
TOO_LONG = Outcome(Status.DEAD_LETTERED, Code.WAITED_TOO_LONG, "It waited too long.")
ENDED = [Status.DONE, Status.UNCHANGED, Status.SUPERSEDED, Status.REJECTED, Status.EXPIRED, Status.DEAD_LETTERED]


def judge(
    intent: IntentRow | None = None,
    resource: ResourceRow | None = None,
    asked: Command = COMMAND,
    *,
    holder: IntentRow | None = None,
    redrive: int = 0,
    now: int = AT,
) -> ClaimResult:
    return claim(intent, resource, delivery(asked, redrive=redrive, now=now), holder=holder, most_attempts=MOST)


def delivery(asked: Command = COMMAND, *, redrive: int = 0, now: int = AT) -> CommandDelivery:
    return CommandDelivery(command=asked, redrive=redrive, now=now, lease=LEASE)


def marked(intent: IntentRow | None = None, resource: ResourceRow | None = None, *, now: int = AT) -> Claimed:
    """A claim whose call is about to be made."""
    return mark(claimed(intent, resource, now=now), "")


def claimed(intent: IntentRow | None = None, resource: ResourceRow | None = None, *, now: int = AT) -> Claimed:
    won = judge(intent, resource, now=now)
    assert isinstance(won, Claimed)
    return won


def ended(status: Status) -> IntentRow:
    """An intent that has ended, with its debts paid."""
    row, _ = conclude(claimed(), Outcome(status, Code.ACTED, "So it was."), now=AT)
    for debt in OutboxEntry:
        row = mark_delivered(row, debt)
    return row


def concluded(answer: ClaimResult) -> IntentRow:
    assert isinstance(answer, Concluded)
    return answer.intent


def test_the_first_delivery_is_claimed() -> None:
    won = claimed()
    assert won.intent.status is Status.WAITING
    assert won.intent.attempts == 1
    assert not won.intent.maybe_acted
    assert won.resource.lease_until == AT + LEASE
    assert won.resource.lease_intent == COMMAND.intent_id
    assert won.intent.issued_at == AT


def test_an_attempt_is_marked_with_its_evidence_before_its_call() -> None:
    before_the_call = mark(claimed(), '{"tasks": 3}').intent
    assert before_the_call.status is Status.IN_PROGRESS
    assert before_the_call.lease_until == AT + LEASE
    assert before_the_call.evidence == '{"tasks": 3}'


def test_a_copy_waits_while_another_worker_holds_the_command() -> None:
    for left in (claimed(), marked()):
        for later in (1, LEASE - 1):
            assert judge(accepted(COMMAND), left.resource, now=AT + later) == Busy(AT + LEASE)
    assert judge(marked().intent, now=AT + 1) == Busy(AT + LEASE)


def test_a_command_whose_worker_died_after_the_mark_is_claimed_in_doubt() -> None:
    left = marked()
    taken = claimed(left.intent, left.resource, now=AT + LEASE)
    assert taken.intent.attempts == 2
    assert taken.intent.maybe_acted


def test_a_command_whose_worker_died_before_the_mark_is_counted_and_not_in_doubt() -> None:
    taken = claimed(accepted(COMMAND), claimed().resource, now=AT + LEASE)
    assert taken.intent.attempts == 2
    assert not taken.intent.maybe_acted


def test_a_command_ends_after_six_workers_died_before_the_mark_and_a_redrive_resets_the_count() -> None:
    resource: ResourceRow | None = None
    for _ in range(MOST):
        resource = claimed(accepted(COMMAND), resource, now=AT).resource
        resource = replace(resource, lease_until=0)
    dead = concluded(judge(accepted(COMMAND), resource))
    assert (dead.status, dead.code, dead.maybe_acted) == (Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, False)
    again = judge(replace(dead, lease_until=0), resource, redrive=1)
    assert isinstance(again, Claimed)
    assert again.intent.attempts == 1


def test_another_command_with_the_same_intent_id_is_a_conflict() -> None:
    assert judge(claimed().intent, asked=command(action="restore")) == Conflict()
    assert judge(ended(Status.DONE), asked=command(id="6f" * 16)) == Conflict()


@pytest.mark.parametrize("status", ENDED)
def test_a_copy_of_an_ended_command_does_nothing(status: Status) -> None:
    answer = judge(ended(status))
    assert answer == Concluded(ended(status), fresh=False)


@pytest.mark.parametrize("status", sorted(DEAD))
def test_a_redriven_dead_letter_is_open_again(status: Status) -> None:
    again = judge(replace(ended(status), attempts=6), redrive=1)
    assert isinstance(again, Claimed)
    assert again.intent.attempts == 1
    assert again.intent.redrive == 1


@pytest.mark.parametrize("status", [Status.DONE, Status.UNCHANGED, Status.SUPERSEDED])
def test_a_redrive_does_not_reopen_a_done_command(status: Status) -> None:
    assert not isinstance(judge(ended(status), redrive=5), Claimed)


def test_each_redrive_reopens_a_command_only_once() -> None:
    rejected_twice = replace(ended(Status.REJECTED), redrive=1)
    assert isinstance(judge(rejected_twice, redrive=1), Concluded)
    assert isinstance(judge(rejected_twice, redrive=2), Claimed)


def test_an_older_command_is_superseded_by_a_newer_concluded_one() -> None:
    newer = ResourceRow(newest_concluded=AT + 1, newest_intent="int_newer")
    row = concluded(judge(resource=newer))
    assert row.status is Status.SUPERSEDED
    assert "int_newer" in row.reason
    assert row.pending == (OutboxEntry.ANNOUNCEMENT,)


def test_a_command_issued_at_the_same_time_is_not_superseded() -> None:
    assert isinstance(judge(resource=ResourceRow(newest_concluded=AT)), Claimed)


def test_a_copy_keeps_the_earliest_time_of_issue() -> None:
    late_copy = command(issued_at=(NOW + timedelta(hours=1)).isoformat())
    waiting, _ = release(claimed(), Code.THROTTLED, "Not now.", counted=False)
    row = concluded(judge(waiting, ResourceRow(newest_concluded=AT + 1), late_copy))
    assert row.status is Status.SUPERSEDED


def test_a_command_past_its_deadline_expires_and_is_dead_lettered() -> None:
    asked = command(not_after=NOW.isoformat())
    assert isinstance(judge(asked=asked, now=AT), Claimed)
    row = concluded(judge(asked=asked, now=AT + 1))
    assert row.status is Status.EXPIRED
    assert row.pending == (OutboxEntry.DEAD_LETTER, OutboxEntry.ANNOUNCEMENT)


def test_a_command_is_dead_lettered_after_six_attempts() -> None:
    tired = replace(claimed().intent, status=Status.WAITING, attempts=MOST, lease_until=0, reason="No answer.")
    row = concluded(judge(tired))
    assert row.status is Status.DEAD_LETTERED
    assert row.code == Code.ATTEMPTS_EXHAUSTED
    assert "No answer." in row.reason
    assert isinstance(judge(replace(tired, attempts=MOST - 1)), Claimed)


def test_only_one_worker_at_a_time_holds_a_resource() -> None:
    taken = ResourceRow(lease_until=AT + 5, lease_intent="int_other")
    assert judge(resource=taken) == Busy(AT + 5)
    assert isinstance(judge(resource=taken, now=AT + 5), Claimed)


def test_an_outcome_frees_the_resource_and_becomes_its_newest_command() -> None:
    intent, resource = conclude(claimed(), DONE, now=AT + 5)
    assert (intent.status, intent.code, intent.evidence) == (Status.DONE, "acted", "{}")
    assert intent.concluded_at == AT + 5
    assert resource == ResourceRow(
        newest_concluded=AT, newest_action="archive", newest_intent=COMMAND.intent_id, newest_at=AT + 5
    )


def test_archiving_a_tag_is_recorded_as_a_deletion() -> None:
    won = judge(asked=command(resource="tag", action="archive"))
    assert isinstance(won, Claimed)
    assert conclude(won, DONE, now=AT)[1].newest_action == "delete"


def test_an_unchanged_outcome_counts_as_concluded() -> None:
    end = Outcome(Status.UNCHANGED, Code.NOTHING_TO_DO, "It is archived already.")
    assert conclude(claimed(), end, now=AT)[1].newest_concluded == AT


@pytest.mark.parametrize("status", sorted(DEAD))
def test_a_rejected_command_supersedes_nothing(status: Status) -> None:
    _, resource = conclude(claimed(), Outcome(status, Code.HELD, "It is held."), now=AT)
    assert resource == ResourceRow()


def test_an_older_outcome_does_not_replace_a_newer_one() -> None:
    won = replace(claimed(), resource=ResourceRow(newest_concluded=AT + 9, newest_intent="int_newer"))
    assert conclude(won, DONE, now=AT)[1].newest_intent == "int_newer"


def test_outbox_entries_are_delivered_under_the_lease_and_the_last_one_ends_it() -> None:
    row, _ = conclude(claimed(), Outcome(Status.REJECTED, Code.HELD, "It is held."), now=AT)
    assert judge(row, now=AT + 1) == Busy(AT + LEASE)
    after_one = mark_delivered(row, OutboxEntry.DEAD_LETTER)
    assert after_one.pending == (OutboxEntry.ANNOUNCEMENT,)
    assert after_one.lease_until == AT + LEASE
    after_both = mark_delivered(after_one, OutboxEntry.ANNOUNCEMENT)
    assert after_both.pending == ()
    assert after_both.lease_until == 0
    assert mark_delivered(after_both, OutboxEntry.DEAD_LETTER) == after_both


def test_an_outbox_entry_of_a_dead_worker_is_found_after_its_lease() -> None:
    row, _ = conclude(claimed(), DONE, now=AT)
    found = judge(row, now=AT + LEASE)
    assert concluded(found).pending == (OutboxEntry.ANNOUNCEMENT,)


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
def test_only_failures_count_as_attempts(counted: bool, attempts: int) -> None:  # noqa: FBT001 - a case
    intent, resource = release(claimed(), Code.UNAVAILABLE, "No answer.", counted=counted)
    assert intent.status is Status.WAITING
    assert intent.attempts == attempts
    assert intent.lease_until == resource.lease_until == 0
    assert resource.lease_intent == ""
    assert (intent.code, intent.reason) == ("unavailable", "No answer.")
    assert isinstance(judge(intent, resource, now=AT + 1), Claimed)


def test_a_doubt_stays_until_the_command_ends() -> None:
    doubtful, resource = release(claimed(), Code.UNCERTAIN, "Cut off.", counted=True, doubt=Doubt.MAYBE_ACTED)
    again = claimed(doubtful, resource)
    calm, resource = release(again, Code.THROTTLED, "Not now.", counted=False)
    assert claimed(calm, resource).intent.maybe_acted
    exhausted, _ = conclude(again, Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, "x"), now=AT)
    assert exhausted.maybe_acted


def test_a_resource_stays_leased_while_a_call_may_still_take_effect() -> None:
    won = claimed()
    intent, let_go = release(won, Code.UNCERTAIN, "Cut off.", counted=True, doubt=Doubt.MAY_STILL_LAND)
    end = Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, "x")
    _, ended_so = conclude(won, end, now=AT, doubt=Doubt.MAY_STILL_LAND)
    assert let_go == ended_so == replace(won.resource, lease_attempt=0)
    assert judge(intent, let_go, command(), now=AT + 1) == Busy(AT + LEASE)
    undo = command(action="restore", intent_id=intent_id(ID_KEY, "operator", "undo"))
    assert judge(None, let_go, undo, now=AT + 1) == Busy(AT + LEASE)
    assert isinstance(judge(None, let_go, undo, now=AT + LEASE), Claimed)


def test_after_an_answered_failure_a_newer_command_may_start_at_once_but_not_an_older_one() -> None:
    doubtful, let_go = release(marked(), Code.UNCERTAIN, "500.", counted=True, doubt=Doubt.MAYBE_ACTED)
    undo = command(action="restore", intent_id=intent_id(ID_KEY, "operator", "undo"))
    assert isinstance(judge(None, let_go, undo, now=AT + 1), Claimed)
    older = command(
        issued_at=(NOW - timedelta(seconds=1)).isoformat(), intent_id=intent_id(ID_KEY, "operator", "older")
    )
    assert concluded(judge(None, let_go, older, holder=doubtful, now=AT + 1)).status is Status.SUPERSEDED


def test_an_older_command_does_not_run_after_a_newer_one_was_cut_off_during_its_call() -> None:
    left = marked()
    older = command(
        issued_at=(NOW - timedelta(seconds=1)).isoformat(), intent_id=intent_id(ID_KEY, "operator", "older")
    )
    row = concluded(judge(None, left.resource, older, holder=left.intent, now=AT + LEASE))
    assert row.status is Status.SUPERSEDED
    assert "started first" in row.reason


@pytest.mark.parametrize("holder", [None, accepted(COMMAND)], ids=["of a plan", "accepted"])
def test_a_newer_command_that_died_before_its_call_supersedes_nothing(holder: IntentRow | None) -> None:
    older = command(
        issued_at=(NOW - timedelta(seconds=1)).isoformat(), intent_id=intent_id(ID_KEY, "operator", "older")
    )
    assert isinstance(judge(None, claimed().resource, older, holder=holder, now=AT + LEASE), Claimed)


@pytest.mark.parametrize("restore_is_first", [True, False])
def test_a_restore_is_newer_than_a_command_of_the_same_millisecond_in_any_order(
    restore_is_first: bool,  # noqa: FBT001 - a case
) -> None:
    restore = command(action="restore", intent_id=intent_id(ID_KEY, "operator", "the other"))
    first, second = (restore, COMMAND) if restore_is_first else (COMMAND, restore)
    won = judge(asked=first)
    assert isinstance(won, Claimed)
    _, resource = conclude(won, DONE, now=AT)
    then = judge(None, resource, second)
    assert isinstance(then, Concluded) is restore_is_first


def test_two_archives_of_one_millisecond_have_a_fixed_order() -> None:
    other = command(intent_id=intent_id(ID_KEY, "operator", "the other"))
    older, newer = sorted((COMMAND, other), key=lambda asked: asked.intent_id)
    for first, second in ((older, newer), (newer, older)):
        won = judge(asked=first)
        assert isinstance(won, Claimed)
        _, resource = conclude(won, DONE, now=AT)
        assert isinstance(judge(None, resource, second), Concluded) is (second is older)


def test_a_command_from_the_future_is_refused() -> None:
    soon = command(issued_at=(NOW + timedelta(milliseconds=CLOCKS_DIFFER)).isoformat())
    assert isinstance(judge(asked=soon), Claimed)
    later = command(issued_at=(NOW + timedelta(milliseconds=CLOCKS_DIFFER + 1)).isoformat())
    row = concluded(judge(asked=later))
    assert (row.status, row.code) == (Status.REJECTED, Code.INVALID)


# --- stopping ---


@pytest.mark.parametrize("row", [accepted(COMMAND), release(claimed(), Code.RATE_LIMITED, "x", counted=False)[0]])
def test_a_command_that_made_no_call_is_stopped_at_once(row: IntentRow) -> None:
    stopped = stop(row, Outcome(Status.SUPERSEDED, Code.UNDONE, "Ada undid it."), now=AT + 5)
    assert stopped is not None
    assert stopped.intent.status is Status.SUPERSEDED
    assert judge(stopped.intent, now=AT + 6) == Concluded(stopped.intent, fresh=False)


@pytest.mark.parametrize("row", [marked().intent, replace(accepted(COMMAND), maybe_acted=True), *map(ended, ENDED)])
def test_a_command_that_may_have_acted_or_has_ended_is_not_stopped(row: IntentRow) -> None:
    assert stop(row, Outcome(Status.SUPERSEDED, Code.UNDONE, "Ada undid it."), now=AT + 5) is None


def test_a_conflicting_copy_cannot_end_the_recorded_command() -> None:
    waiting, _ = release(claimed(), Code.THROTTLED, "Not now.", counted=False)
    other = command(action="restore")
    assert give_up(waiting, delivery(other), TOO_LONG) is None


def test_a_redriven_copy_that_is_never_carried_out_is_dead_lettered_again() -> None:
    dead = ended(Status.DEAD_LETTERED)
    given = give_up(dead, delivery(redrive=1), TOO_LONG)
    assert given is not None
    assert given.intent.redrive == 1


def test_a_doubt_stays_after_a_redrive() -> None:
    end = Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, "Cut off.")
    row, _ = conclude(claimed(), end, now=AT, doubt=Doubt.MAYBE_ACTED)
    again = judge(row, redrive=1, now=AT + LEASE)
    assert isinstance(again, Claimed)
    assert again.intent.maybe_acted


def test_a_command_that_waited_too_long_is_dead_lettered() -> None:
    given = give_up(None, delivery(redrive=2), TOO_LONG)
    assert given is not None
    assert given.fresh
    assert given.intent.status is Status.DEAD_LETTERED
    assert given.intent.redrive == 2
    assert given.intent.pending == (OutboxEntry.DEAD_LETTER, OutboxEntry.ANNOUNCEMENT)


@pytest.mark.parametrize("status", ENDED)
def test_a_command_that_has_ended_is_not_dead_lettered(status: Status) -> None:
    assert give_up(ended(status), delivery(), TOO_LONG) is None


def test_a_command_being_carried_out_is_not_dead_lettered() -> None:
    for at_work in (marked(), Claimed(accepted(COMMAND), claimed().resource)):
        for later, given in ((1, False), (LEASE, True)):
            found = give_up(at_work.intent, delivery(now=AT + later), TOO_LONG, resource=at_work.resource)
            assert (found is not None) is given


# --- commands of a sweep ---


def _swept(**changes: object) -> Command:
    return command(source="sweep", **{"expect": {"status": "complete", "completed_at": NOW.isoformat()}, **changes})


def _newest(action: str, at: int) -> ResourceRow:
    return ResourceRow(newest_action=action, newest_concluded=at, newest_intent="int_newest")


@pytest.mark.parametrize("later", [0, 1, 10**12])
def test_a_sweep_does_not_undo_a_restore_made_after_the_completion(later: int) -> None:
    issued_at = NOW + timedelta(milliseconds=later + 1000)
    asked = _swept(issued_at=issued_at.isoformat(), not_after="2099-01-01T00:00:00Z")
    row = concluded(judge(None, _newest("restore", AT + later), asked, now=AT + later))
    assert (row.status, row.code) == (Status.SUPERSEDED, Code.RESTORED_BY_PERSON)
    assert row.pending == (OutboxEntry.ANNOUNCEMENT,)


def test_a_sweep_archives_a_process_that_was_completed_again_after_its_restore() -> None:
    assert isinstance(judge(None, _newest("restore", AT - 1), _swept()), Claimed)


@pytest.mark.parametrize("expect", [None, {"status": "complete"}, {"completed_at": None}])
def test_a_command_of_a_sweep_without_a_completion_date_does_not_archive_a_restored_process(
    expect: dict[str, object] | None,
) -> None:
    row = concluded(judge(None, _newest("restore", AT - 1), _swept(expect=expect)))
    assert row.code == Code.RESTORED_BY_PERSON


@pytest.mark.parametrize(
    ("asked", "action"),
    [(_swept(), "archive"), (_swept(), ""), (command(), "restore"), (command(source="slack"), "restore")],
)
def test_a_person_may_archive_after_a_restore_and_a_sweep_after_any_other_command(asked: Command, action: str) -> None:
    assert isinstance(judge(None, _newest(action, AT - 1), asked), Claimed)


def test_an_expired_command_of_a_sweep_is_not_dead_lettered() -> None:
    row = concluded(judge(asked=_swept(not_after=NOW.isoformat()), now=AT + 1))
    assert (row.status, row.code) == (Status.SUPERSEDED, Code.EXPIRED)
    assert row.pending == (OutboxEntry.ANNOUNCEMENT,)


# --- failures before a claim ---


def test_failures_without_a_claim_are_counted_towards_the_limit() -> None:
    row: IntentRow | None = None
    for number in range(1, MOST):
        row = fail(row, delivery(), Code.UNAVAILABLE, "No answer.")
        assert row is not None
        assert (row.status, row.attempts, row.code, row.reason) == (Status.WAITING, number, "unavailable", "No answer.")
    assert claimed(row).intent.attempts == MOST


@pytest.mark.parametrize("status", ENDED)
def test_a_command_that_has_ended_counts_no_failure(status: Status) -> None:
    assert fail(ended(status), delivery(), Code.UNAVAILABLE, "No answer.") is None


def test_a_command_that_is_claimed_or_conflicting_counts_no_failure() -> None:
    at_work = marked().intent
    assert fail(at_work, delivery(), Code.UNAVAILABLE, "No answer.") is None
    other = command(id="6f" * 16)
    row = replace(at_work, status=Status.WAITING, lease_until=0)
    assert fail(row, delivery(other), Code.UNAVAILABLE, "No answer.") is None


def test_a_failure_after_a_redrive_is_counted_again() -> None:
    row = fail(ended(Status.DEAD_LETTERED), delivery(redrive=1), Code.UNAVAILABLE, "No answer.")
    assert row is not None
    assert (row.status, row.attempts, row.redrive) == (Status.WAITING, 1, 1)
