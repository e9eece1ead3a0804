"""Properties that hold for every command, resource and time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command, CommandRequest
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import OPEN, IntentRow, OutboxEntry, Outcome, Status
from lifecycle.domain.intent_ids import intent_id, is_ours
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution.guards import GuardContext, Verdict, rule
from lifecycle.execution.state_machine import (
    Claimed,
    CommandDelivery,
    Concluded,
    Doubt,
    ResourceRow,
    claim,
    conclude,
    mark_delivered,
    release,
)
from lifecycle.pacing import backoff, token_bucket
from lifecycle.pacing.token_bucket import SECOND, Bucket, Rate
from lifecycle.tallyfy.client import moment, retry_after, thing_from
from tests.harness.builders import ID_KEY, NOW, THING, command

MANY = settings(max_examples=500, deadline=None)
SOME = settings(max_examples=200, deadline=None)

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
maybe = st.one_of(st.none(), moments)
names = st.one_of(st.none(), st.sampled_from(["a", "b"]))
expectations = st.dictionaries(
    st.sampled_from(["name", "status", "completed_at", "archived_at", "last_updated"]), st.none(), min_size=1
)


@st.composite
def commands(draw: st.DrawFn) -> Command:
    resource = draw(st.sampled_from(Resource))
    actions = [a for a in Action if (resource, a) != (Resource.TAG, Action.RESTORE)]
    changes: dict[str, object] = {"resource": resource, "action": draw(st.sampled_from(actions))}
    if draw(st.booleans()):
        changes["expect"] = draw(expectations)
    if resource is Resource.TAG:
        changes["allow_in_use"] = draw(st.booleans())
    return command(**changes)


@st.composite
def things(draw: st.DrawFn, resource: Resource) -> ResourceSnapshot | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    return ResourceSnapshot(
        resource=resource,
        id=THING,
        state=draw(st.sampled_from(State)),
        name=draw(names),
        status=draw(names),
        completed_at=draw(maybe),
        archived_at=draw(maybe),
        last_updated=draw(maybe),
        run_id=draw(names) if resource is Resource.TASK else None,
        one_off=draw(st.sampled_from([None, True, False])) if resource is Resource.TASK else None,
        uses=draw(st.sampled_from([None, 0, 1, 5])) if resource is Resource.TAG else None,
    )


circumstances = st.builds(
    GuardContext,
    now=moments,
    minimum_archive_age=st.integers(1, 4000).map(lambda days: timedelta(days=days)),
    may_be_irreversible=st.booleans(),
    in_doubt=st.booleans(),
    deleted_before=st.booleans(),
)


@MANY
@given(st.data(), commands(), circumstances)
def test_nothing_irreversible_happens_unless_every_condition_holds(
    data: st.DataObject, asked: Command, facts: GuardContext
) -> None:
    seen = data.draw(things(asked.resource))
    ruling = rule(asked, seen, facts)
    assert ruling.reason
    if ruling.verdict is not Verdict.ACT:
        return
    doing = asked.capability
    assert seen is not None
    assert seen.state is not doing.reaches
    assert seen.run_id is None
    assert seen.one_off is (True if asked.resource is Resource.TASK else None)
    if doing.irreversible:
        assert facts.may_be_irreversible
    if doing.archived_first:
        assert seen.state is State.ARCHIVED
        assert seen.archived_at is not None
        assert facts.now - seen.archived_at >= facts.minimum_archive_age
    if doing.resource is Resource.TAG:
        assert seen.uses == 0 or asked.allow_in_use
    if asked.expect is not None:
        assert all(getattr(seen, name) is None for name in asked.expect.model_fields_set)


@MANY
@given(st.data(), commands(), circumstances)
def test_losing_a_fact_never_turns_a_refusal_into_an_action(
    data: st.DataObject, asked: Command, facts: GuardContext
) -> None:
    seen = data.draw(things(asked.resource))
    if seen is None or asked.expect is not None or rule(asked, seen, facts).verdict is Verdict.ACT:
        return
    for blank in (replace(seen, archived_at=None), replace(seen, uses=None)):
        assert rule(asked, blank, facts).verdict is not Verdict.ACT


@MANY
@given(st.binary(max_size=300))
def test_any_bytes_give_a_request_or_a_refusal(raw: bytes) -> None:
    try:
        CommandRequest.parse(raw)
    except Rejected as error:
        refusal = error
    else:
        return
    assert refusal.code is Code.INVALID
    assert refusal.reason.isprintable()


@MANY
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_any_accepted_reason_is_read_back_unchanged(reason: str) -> None:
    try:
        made = command(reason=reason)
    except ValueError:
        return
    assert made.reason == reason.strip()
    assert Command.model_validate_json(made.to_json()) == made


@SOME
@given(st.text(st.characters(codec=None), max_size=50), st.text(st.characters(codec=None), max_size=80))
def test_intent_ids_are_distinguished_from_any_other_text(delivery: str, text: str) -> None:
    assert is_ours(ID_KEY, intent_id(ID_KEY, "operator", delivery))
    assert not is_ours(ID_KEY, text)


# --- waiting and pace ---

seconds = st.floats(-1e9, 1e9)
rolls = st.floats(0, 1, exclude_max=True)


@SOME
@given(st.integers(-10, 10_000), st.floats(0.001, 600), rolls, seconds)
def test_every_wait_is_one_that_sqs_accepts(count: int, base: float, roll: float, wait: float) -> None:
    for hidden in (
        backoff.exponential(count, base=base, roll=roll),
        backoff.human_delay(count),
        backoff.poll_delay(wait, count),
        backoff.retry_delay(wait, count, base=base, roll=roll),
        backoff.retry_delay(None, count, base=base, roll=roll),
        backoff.clamp(wait),
    ):
        assert isinstance(hidden, int)
        assert 1 <= hidden <= backoff.LONGEST


@SOME
@given(
    st.integers(1, 6000),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5 * SECOND)), max_size=40),
)
def test_no_span_of_time_has_more_calls_than_burst_and_rate_allow(
    per_minute: int, burst: int, asks: list[tuple[int, int]]
) -> None:
    rate, bucket, now = Rate(per_minute, burst), Bucket(), 1_000 * SECOND
    granted: list[tuple[int, int]] = []
    for calls, pause in asks:
        now += pause
        bucket, grant = token_bucket.take(bucket, rate, calls, now)
        assert 0 <= grant.calls <= calls
        assert grant.wait >= 0
        granted.append((now, grant.calls))
    for first, (start, _) in enumerate(granted):
        for end, _ in granted[first:]:
            made = sum(calls for at, calls in granted if start <= at <= end)
            assert made <= burst + (end - start) // rate.interval + 1


@SOME
@given(st.integers(1, 6000), st.integers(1, 50), st.integers(1, 60), st.floats(0, 3600))
def test_after_a_429_nobody_calls_before_retry_after(per_minute: int, burst: int, calls: int, wait: float) -> None:
    rate, now = Rate(per_minute, burst), 1_000 * SECOND
    blocked = token_bucket.block(Bucket(), rate, wait, now)
    until = now + int(wait * SECOND)
    if until > now:
        assert token_bucket.take(blocked, rate, calls, until - 1)[1].calls == 0
    assert token_bucket.take(blocked, rate, calls, until)[1].calls <= 1


@SOME
@given(
    st.integers(1, 6000),
    st.integers(1, 50),
    st.floats(0.01, 3600),
    st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=12),
    st.integers(0, 12),
)
def test_after_a_429_one_call_goes_first_whatever_was_taken_or_refunded(
    per_minute: int, burst: int, wait: float, moves: list[tuple[bool, int]], before: int
) -> None:
    rate, start = Rate(per_minute, burst), 1_000 * SECOND
    bucket, until = Bucket(), start + int(wait * SECOND)
    moves = [*moves, (False, 0)]
    for number, (taking, calls) in enumerate(moves):
        if number == min(before, len(moves) - 1):
            bucket = token_bucket.block(bucket, rate, wait, start)
        if taking:
            bucket, _ = token_bucket.take(bucket, rate, calls, start)
        else:
            bucket = token_bucket.refund(bucket, rate, calls)
    assert token_bucket.take(bucket, rate, 99, until)[1].calls <= 1


@SOME
@given(
    st.integers(1, 6000),
    st.integers(1, 50),
    st.lists(st.integers(1, 500), max_size=60),
    st.sampled_from(token_bucket.Lane),
)
def test_no_queue_position_is_more_than_an_hour_away(
    per_minute: int, burst: int, asks: list[int], lane: token_bucket.Lane
) -> None:
    rate, bucket = Rate(per_minute, burst), Bucket()
    for calls in asks:
        bucket, grant = token_bucket.take(bucket, rate, calls, 1_000 * SECOND, lane)
        assert 0 <= grant.wait <= token_bucket.LONGEST_QUEUE / SECOND or grant.calls == calls


@SOME
@given(st.integers(1, 6000), st.integers(1, 50), st.integers(1, 60))
def test_after_the_wait_one_call_is_free(per_minute: int, burst: int, calls: int) -> None:
    rate, now = Rate(per_minute, burst), 1_000 * SECOND
    bucket = token_bucket.overdraw(Bucket(), rate, calls, now)
    after, grant = token_bucket.take(bucket, rate, 60, now)
    assert token_bucket.take(after, rate, 1, now + round(grant.wait * SECOND) + 1)[1].calls == 1


@SOME
@given(st.integers(1, 6000), st.integers(1, 50), st.integers(0, 50))
def test_refunded_slots_can_be_taken_again(per_minute: int, burst: int, calls: int) -> None:
    rate, now = Rate(per_minute, burst), 1_000 * SECOND
    after, grant = token_bucket.take(Bucket(), rate, calls, now)
    assert token_bucket.take(token_bucket.refund(after, rate, grant.calls), rate, calls, now)[1].calls == grant.calls


# --- what Tallyfy says ---

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = (
    "id", "name", "title", "status", "created_at", "completed_at", "archived_at", "deleted_at", "last_updated",
    "run_id", "is_oneoff_task", "statistics",
)  # fmt: skip


@MANY
@given(st.sampled_from(Resource), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_object_is_reduced_to_facts_without_guessing(resource: Resource, row: dict[str, object]) -> None:
    seen = thing_from(resource, row)
    for at in (seen.archived_at, seen.completed_at, seen.created_at, seen.last_updated):
        assert at is None or at.tzinfo is UTC
    if row.get("archived_at") or row.get("deleted_at"):
        assert seen.state is not State.ACTIVE


@MANY
@given(st.one_of(st.text(max_size=40), moments.map(datetime.isoformat)))
def test_any_text_is_read_as_a_time_or_unknown(text: str) -> None:
    read = moment(text)
    assert read is None or read.tzinfo is UTC


@MANY
@given(st.one_of(st.none(), st.text(max_size=60), st.text("0123456789 ,:-+GMTJunSat.", max_size=40)))
def test_any_retry_after_gives_a_bounded_wait(header: str | None) -> None:
    assert 1 <= retry_after(header, NOW) <= 3600


# --- the ledger's rules ---

COMMAND = command()
numbers = st.integers(0, 2_000_000_000_000)
rows = st.builds(
    lambda status, attempts, redrive, lease, issued, doubt: IntentRow(
        intent_id=COMMAND.intent_id,
        meaning=COMMAND.meaning,
        action="archive",
        resource="run",
        org_id=COMMAND.org_id,
        id=COMMAND.thing_id,
        source="operator",
        requested_by="Ada",
        why="x",
        issued_at=issued,
        status=status,
        attempts=attempts,
        redrive=redrive,
        lease_until=lease,
        maybe_acted=doubt,
    ),
    st.sampled_from(Status),
    st.integers(0, 7),
    st.integers(0, 3),
    numbers,
    numbers,
    st.booleans(),
)
resources = st.one_of(
    st.builds(ResourceRow, newest_concluded=numbers),
    st.builds(
        ResourceRow,
        lease_until=numbers,
        lease_intent=st.sampled_from(["int_other", COMMAND.intent_id]),
        lease_issued=numbers,
        newest_concluded=numbers,
    ),
)


@MANY
@given(
    st.one_of(st.none(), rows), st.one_of(st.none(), resources), st.one_of(st.none(), rows), st.integers(0, 4), numbers
)
def test_a_claim_succeeds_only_if_nobody_else_works_on_the_resource(
    intent: IntentRow | None, resource: ResourceRow | None, holder: IntentRow | None, redrive: int, now: int
) -> None:
    delivery = CommandDelivery(command=COMMAND, redrive=redrive, now=now, lease=90_000)
    answer = claim(intent, resource, delivery, holder=holder, most_attempts=6)
    match answer:
        case Claimed():
            assert intent is None or intent.lease_until <= now
            assert intent is None or intent.status in OPEN or redrive > intent.redrive
            assert resource is None or resource.lease_until <= now
            assert resource is None or resource.newest_concluded <= answer.intent.issued_at
            assert (
                resource is None
                or resource.lease_intent == COMMAND.intent_id
                or resource.lease_issued <= answer.intent.issued_at
                or holder is None
                or not (holder.maybe_acted or holder.status is Status.IN_PROGRESS)
            )
            assert 1 <= answer.intent.attempts <= 6
            assert intent is None or not intent.maybe_acted or answer.intent.maybe_acted
        case Concluded(fresh=False):
            assert answer.intent == intent
        case Concluded():
            assert answer.intent.status not in OPEN
            assert OutboxEntry.ANNOUNCEMENT in answer.intent.pending
        case _:
            assert answer.until > now  # type: ignore[union-attr] # the same meaning never conflicts


@SOME
@given(st.one_of(st.none(), resources), *[st.sampled_from([True, False])] * 2, st.sampled_from(Status))
def test_only_an_unknown_effect_keeps_a_resource_leased(
    resource: ResourceRow | None, counted: object, doubt: object, status: Status
) -> None:
    delivery = CommandDelivery(command=COMMAND, now=2_000_000_000_000, lease=90_000)
    won = claim(None, resource, delivery, most_attempts=6)
    if not isinstance(won, Claimed):
        return
    left = Doubt.MAYBE_ACTED if doubt else Doubt.NONE
    waiting_row, let_go = release(won, Code.UNAVAILABLE, "x", counted=counted is True, doubt=left)
    ended, concluded = conclude(won, Outcome(status, Code.ACTED, "x"), now=2_000_000_000_001, doubt=left)
    for debt in OutboxEntry:
        ended = mark_delivered(ended, debt)
    assert (ended.lease_until, ended.pending, waiting_row.lease_until) == (0, (), 0)
    for freed in (let_go, concluded):
        held = (won.resource.lease_until, COMMAND.intent_id) if doubt else (0, "")
        assert (freed.lease_until, freed.lease_intent) == held
    assert concluded.newest_concluded >= (resource.newest_concluded if resource else 0)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "fail"]), st.floats(0, 20), st.floats(0, 0.999)), max_size=200),
)
def test_while_the_breaker_is_open_two_probes_are_never_closer_than_half_of_the_first_delay(
    steps: list[tuple[str, float, float]],
) -> None:
    rate, now, probes = Rate(6000, 600), 1_000 * SECOND, []
    bucket = Bucket()
    for thing in "abc":
        bucket = token_bucket.failed(bucket, thing, now, 0.0)
    waiting = False
    for step, seconds, roll in steps:
        now += int(seconds * SECOND)
        if step == "fail" and waiting:
            bucket, waiting = token_bucket.failed(bucket, "a", now, roll, probe=True), False
        else:
            bucket, grant = token_bucket.take(bucket, rate, 20, now)
            waiting = waiting or grant.calls > 0
            probes += [now] if grant.calls else []
    # It fails with a delay of 30 seconds or more, of which at least half is waited.
    assert all(after - before >= 15 * SECOND for before, after in pairwise(probes))
