"""The way in: who may ask, for what, and when 202 is said."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import override

import pytest

from lifecycle.aws.api_gateway import problem
from lifecycle.aws.dynamodb import Key, Put
from lifecycle.aws.metrics import Metric
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.capabilities import TABLE, Capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, LifecycleError, Rejected, Retryable
from lifecycle.domain.intent import Status, Wait
from lifecycle.domain.intent_ids import intent_id, is_ours
from lifecycle.execution.ledger import Claim
from lifecycle.execution.status import CommandState
from lifecycle.intake.sources import Sources
from tests.harness.builders import (
    ID_KEY,
    NOW,
    ORG,
    PREFIX,
    SHARED,
    SOURCES,
    THING,
    WHSEC,
    Clock,
    Entrance,
    bodies,
    body,
    hmac_headers,
    request,
    standard_headers,
)
from tests.unit.domain.test_commands import UNSAFE_IDS


@pytest.fixture
def entrance(clock: Clock) -> Entrance:
    return Entrance(clock)


def refused(entrance: Entrance, raw: bytes, *, source: str = "operator") -> LifecycleError:
    with pytest.raises(LifecycleError) as caught:
        entrance.accept(raw, source=source)
    assert bodies(entrance.ordinary) == []
    assert bodies(entrance.permanent) == []
    return caught.value


@pytest.mark.parametrize("doing", TABLE, ids=[c.name for c in TABLE])
def test_each_action_goes_to_the_queue_of_a_worker_with_that_capability(entrance: Entrance, doing: Capability) -> None:
    accepted = entrance.accept(body(action=doing.action.value, resource=doing.resource.value))
    mine, other = (
        (entrance.permanent, entrance.ordinary) if doing.permanent else (entrance.ordinary, entrance.permanent)
    )
    assert [Command.model_validate_json(text) for text in bodies(mine)] == [accepted]
    assert bodies(other) == []


def test_archiving_a_tag_goes_to_the_queue_of_permanent_deletes(entrance: Entrance) -> None:
    entrance.accept(body(action="archive", resource="tag"))
    assert len(bodies(entrance.permanent)) == 1
    assert bodies(entrance.ordinary) == []


def test_archiving_a_tag_needs_the_right_to_delete_it(entrance: Entrance) -> None:
    refusal = refused(entrance, body(action="archive", resource="tag"), source="automation")
    assert refusal.code is Code.RIGHT_MISSING
    assert "tag.delete" in refusal.reason


def test_restoring_a_tag_is_refused_with_the_reason(entrance: Entrance) -> None:
    refusal = refused(entrance, body(action="restore", resource="tag"))
    assert refusal.code is Code.NOT_POSSIBLE
    assert "Create the tag again" in refusal.reason


@pytest.mark.parametrize("unsafe", UNSAFE_IDS.values(), ids=UNSAFE_IDS)
def test_an_unsafe_id_never_reaches_a_queue(entrance: Entrance, unsafe: str) -> None:
    assert refused(entrance, body(id=unsafe)).code is Code.INVALID


def test_an_accepted_command_carries_our_time_and_the_senders_texts(entrance: Entrance) -> None:
    accepted = entrance.accept(body(requested_by="Ada", reason="Kündigung 解約 🧾 \u2028"))
    assert accepted.issued_at == NOW
    assert accepted.source == "operator"
    assert accepted.requested_by == "Ada"
    [text] = bodies(entrance.ordinary)
    assert text.isascii()
    assert Command.model_validate_json(text).reason == "Kündigung 解約 🧾"
    assert entrance.metrics.counts[Metric.ACCEPTED] == 1


def test_a_reason_keeps_any_unicode(entrance: Entrance) -> None:
    reason = "a\u2028b\u0085c\ufffed\U0010ffffe\u202ef"
    entrance.accept(body(reason=reason))
    assert Command.model_validate_json(bodies(entrance.ordinary)[0]).reason == reason


def test_missing_fields_get_defaults(entrance: Entrance) -> None:
    accepted = entrance.accept(body())
    assert accepted.requested_by == "operator"
    assert accepted.reason == "No reason was given."
    assert accepted.not_after == NOW + timedelta(days=14)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (NOW + timedelta(hours=1), NOW + timedelta(hours=1)),
        (NOW + timedelta(days=14), NOW + timedelta(days=14)),
        (NOW + timedelta(days=15), NOW + timedelta(days=14)),
    ],
)
def test_a_sender_can_only_shorten_the_deadline(entrance: Entrance, asked: datetime, kept: datetime) -> None:
    assert entrance.accept(body(not_after=asked.isoformat())).not_after == kept


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=1), timedelta(days=400)])
def test_a_command_past_its_deadline_is_refused_by_intake(entrance: Entrance, late: timedelta) -> None:
    error = refused(entrance, body(not_after=(NOW - late).isoformat()))
    assert (error.code, problem(error)["statusCode"]) == (Code.EXPIRED, 422)
    assert "not_after" in error.reason


def test_a_command_with_a_deadline_before_its_delay_is_refused_by_intake(clock: Clock) -> None:
    later = Entrance(
        clock, declared=SOURCES + '[sources.slow]\nscheme = "hmac"\nmay = ["run.archive"]\nafter = "14d"\n'
    )
    later.secrets.texts[f"{PREFIX}/sources/slow"] = SHARED
    raw = body(not_after=(NOW + timedelta(days=13)).isoformat())
    with pytest.raises(Rejected) as caught:
        later.intake.accept(request("slow", raw, hmac_headers(raw)))
    assert caught.value.code is Code.EXPIRED
    assert later.schedules.waiting == {}
    raw = body(not_after=(NOW + timedelta(days=15)).isoformat())
    assert later.intake.accept(request("slow", raw, hmac_headers(raw)))


def test_a_late_copy_of_an_accepted_command_gets_the_same_answer(entrance: Entrance, clock: Clock) -> None:
    asked = body(not_after=(NOW + timedelta(minutes=2)).isoformat())
    first = entrance.accept(asked)
    assert isinstance(entrance.ledger.claim(first), Claim)
    clock.advance(timedelta(minutes=3))
    assert entrance.accept(asked).intent_id == first.intent_id


def test_an_unknown_source_is_not_found(entrance: Entrance) -> None:
    raw = body()
    for name in ("nobody", "", "Operator", "operator/../crm"):
        with pytest.raises(Rejected) as refusal:
            entrance.intake.accept(request(name, raw, standard_headers(raw)))
        assert refusal.value.code is Code.UNKNOWN_SOURCE


def test_a_missing_right_is_named(entrance: Entrance) -> None:
    refusal = refused(entrance, body(action="delete"), source="automation")
    assert refusal.code is Code.RIGHT_MISSING
    assert "run.delete" in refusal.reason
    assert "irreversible = true" in refusal.reason


def test_an_unknown_organization_is_refused(entrance: Entrance) -> None:
    assert refused(entrance, body(org_id="1b" * 16)).code is Code.ORGANIZATION_UNKNOWN


def test_an_organization_that_the_source_does_not_list_is_refused(clock: Clock) -> None:
    entrance = Entrance(clock, frozenset({ORG, "1b" * 16}))
    narrowed = Sources.parse(SOURCES + f'organizations = ["{"1b" * 16}"]')
    entrance.intake = replace(entrance.intake, sources=narrowed)
    assert refused(entrance, body(), source="crm").code is Code.ORGANIZATION_UNKNOWN
    entrance.accept(body(org_id="1b" * 16), source="crm")


def test_a_bad_signature_is_refused_and_counted_in_a_metric(entrance: Entrance) -> None:
    raw = body()
    with pytest.raises(Rejected) as refusal:
        entrance.intake.accept(request("operator", raw, standard_headers(body(action="restore"))))
    assert refusal.value.code is Code.SIGNATURE_REFUSED
    assert entrance.metrics.counts[Metric.SIGNATURE_REFUSED] == 1
    assert bodies(entrance.ordinary) == []


def test_the_signature_is_checked_before_the_body_is_read(entrance: Entrance) -> None:
    with pytest.raises(Rejected) as refusal:
        entrance.intake.accept(request("operator", b"no json", {}))
    assert refusal.value.code is Code.SIGNATURE_REFUSED


def test_the_secret_of_one_source_does_not_work_for_another(entrance: Entrance) -> None:
    raw = body()
    with pytest.raises(Rejected):
        entrance.intake.accept(request("crm", raw, hmac_headers(raw, secret=WHSEC)))


@pytest.mark.parametrize(
    "secrets", ['{"secrets": ["whsec_b3RoZXIgc2VjcmV0", "%s"]}', '{"secrets": ["%s", "whsec_eA=="]}']
)
def test_both_secrets_are_accepted_during_a_rotation(entrance: Entrance, secrets: str) -> None:
    entrance.secrets.texts[f"{PREFIX}/sources/operator"] = secrets % WHSEC
    entrance.accept(body())


@pytest.mark.parametrize("text", ["{}", "[]", '{"secrets": []}', '{"secrets": [""]}'])
def test_an_empty_secret_accepts_no_request(entrance: Entrance, text: str) -> None:
    entrance.secrets.texts[f"{PREFIX}/sources/operator"] = text
    assert refused(entrance, body()).code is Code.SIGNATURE_REFUSED


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_a_source_without_a_secret_answers_404_and_emits_a_metric(entrance: Entrance, *, signed: bool) -> None:
    del entrance.secrets.texts[f"{PREFIX}/sources/operator"]
    raw = body()
    with pytest.raises(Rejected) as refusal:
        entrance.intake.accept(request("operator", raw, standard_headers(raw) if signed else {}))
    told = problem(refusal.value)
    assert (told["statusCode"], refusal.value.code) == (404, Code.UNKNOWN_SOURCE)
    assert PREFIX not in str(told["body"])
    [(signal, facts)] = entrance.metrics.notes
    assert (signal, facts["source"]) == (Metric.SIGNATURE_REFUSED, "operator")
    assert "does not exist" in str(facts["why"])
    assert (entrance.ordinary.depth(), entrance.dead_letters.depth()) == (0, 0)


def test_a_secret_that_aws_cannot_read_now_is_a_503_that_reveals_nothing(clock: Clock) -> None:
    class Out(MemorySecrets):
        @override
        def get(self, name: str, *, fresh: bool = False) -> str:
            raise Retryable(Code.UNAVAILABLE, f"Secret '{name}' could not be read from Secrets Manager.")

    entrance = Entrance(clock)
    entrance.secrets = Out()
    told = problem(refused(entrance, body()))
    assert told["statusCode"] == 503
    assert "secret" not in str(told["body"]).lower()
    assert PREFIX not in str(told["body"])
    assert entrance.metrics.counts[Metric.SIGNATURE_REFUSED] == 0


@pytest.mark.parametrize(
    ("field", "value"), [("surprise", 1), ("action", "destroy"), ("expect", {}), ("allow_in_use", True)]
)
def test_a_wrong_field_is_named(entrance: Entrance, field: str, value: object) -> None:
    refusal = refused(entrance, body(**{field: value}))
    assert refusal.code is Code.INVALID
    assert field in refusal.reason


# --- deliveries ---


def test_a_repeated_delivery_names_the_same_intent(entrance: Entrance, clock: Clock) -> None:
    first = entrance.accept(body())
    clock.advance(timedelta(hours=5))
    again = entrance.accept(body())
    assert again.intent_id == first.intent_id == intent_id(ID_KEY, "operator", "delivery-1")
    assert is_ours(ID_KEY, first.intent_id)


def test_a_repeated_delivery_of_a_done_command_gets_the_first_answer(entrance: Entrance) -> None:
    first = entrance.accept(body())
    assert isinstance(entrance.ledger.claim(first), Claim)
    assert entrance.accept(body()).intent_id == first.intent_id


@pytest.mark.parametrize("change", [{"action": "restore"}, {"id": "6f" * 16}, {"reason": "Another."}])
def test_the_same_delivery_with_another_command_is_a_conflict(entrance: Entrance, change: Mapping[str, object]) -> None:
    entrance.ledger.claim(entrance.accept(body()))
    with pytest.raises(Rejected, match="used before") as refusal:
        entrance.accept(body(**change))
    assert refusal.value.code is Code.INTENT_CONFLICT
    assert len(bodies(entrance.ordinary)) == 1


def test_a_new_delivery_is_a_new_intent(entrance: Entrance) -> None:
    names = {entrance.accept(body(), delivery_id=name).intent_id for name in ("a", "b", "c")}
    assert len(names) == 3


def test_a_signed_id_and_a_different_id_in_the_body_are_refused(entrance: Entrance) -> None:
    assert "webhook-id" in refused(entrance, body(delivery_id="another")).reason
    entrance.accept(body(delivery_id="delivery-1"))


def test_plain_hmac_names_its_delivery_in_the_body_or_by_the_signed_text(entrance: Entrance, clock: Clock) -> None:
    named = entrance.accept(body(delivery_id="order-7"), source="crm")
    unnamed = entrance.accept(body(), source="crm")
    copy = entrance.accept(body(), source="crm")
    clock.advance(timedelta(seconds=1))
    later = entrance.accept(body(), source="crm")
    assert entrance.accept(body(delivery_id="order-7"), source="crm").intent_id == named.intent_id
    assert copy.intent_id == unnamed.intent_id
    assert len({named.intent_id, unnamed.intent_id, later.intent_id}) == 3


def test_two_sources_never_share_an_intent(entrance: Entrance) -> None:
    assert entrance.accept(body()).intent_id != entrance.accept(body(), source="automation").intent_id


def test_without_the_queue_nothing_is_accepted(clock: Clock) -> None:
    class Full(MemoryQueue):
        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            raise Retryable(Code.UNAVAILABLE, "AWS refused to send a message.")

    entrance = Entrance(clock)
    entrance.ordinary = Full(clock)
    with pytest.raises(Retryable):
        entrance.accept(body())
    assert entrance.metrics.counts[Metric.ACCEPTED] == 0


# --- the status of an intent ---


def test_an_accepted_command_waits_for_a_worker(entrance: Entrance, clock: Clock) -> None:
    name = entrance.accept(body()).intent_id
    state = entrance.lookup.status_of(name)
    assert state == CommandState(Status.ACCEPTED, "It was accepted. No worker has started it yet.")
    clock.advance(timedelta(days=15))
    assert "before its deadline" in entrance.lookup.status_of(name).reason


def test_an_id_without_a_ledger_row_is_not_reported_as_queued(entrance: Entrance) -> None:
    with pytest.raises(Rejected, match="no record of this command") as refusal:
        entrance.lookup.status_of(intent_id(ID_KEY, "operator", "forgotten"))
    assert refusal.value.code is Code.UNKNOWN_INTENT


def test_an_outcome_unknown_to_this_release_is_reported_without_an_error(entrance: Entrance) -> None:
    name = entrance.accept(body()).intent_id
    [row] = entrance.rows.read(Key(f"intent#{name}", "intent"))
    assert row is not None
    changed = {**row.values, "status": "postponed"}
    entrance.rows.write(Put(Key(f"intent#{name}", "intent"), changed, row.version))
    state = entrance.lookup.status_of(name)
    assert (state.status, state.code, "postponed" in state.reason) == (Status.WAITING, Code.NEWER_RELEASE, True)


def test_an_intent_with_a_row_reports_its_status(entrance: Entrance) -> None:
    accepted = entrance.accept(body())
    claim = entrance.ledger.claim(accepted)
    assert isinstance(claim, Claim)
    claim = entrance.ledger.mark(claim)
    assert entrance.lookup.status_of(accepted.intent_id).status is Status.IN_PROGRESS
    entrance.ledger.release(claim, Code.THROTTLED, "Not now.", counted=False)
    assert entrance.lookup.status_of(accepted.intent_id) == CommandState(Status.WAITING, "Not now.", Code.THROTTLED)


def test_a_waiting_command_reports_its_time_and_its_approval(entrance: Entrance, clock: Clock) -> None:
    accepted = entrance.accept(body())
    claim = entrance.ledger.claim(accepted)
    assert isinstance(claim, Claim)
    until = clock() + timedelta(days=3)
    wait = Wait(millis(until), "a" * 64)
    entrance.ledger.release(claim, Code.AWAITING_APPROVAL, "It waits.", counted=False, wait=wait)
    state = entrance.lookup.status_of(accepted.intent_id)
    assert (state.code, state.until, state.approval) == (Code.AWAITING_APPROVAL, until, "a" * 64)

    claim = entrance.ledger.claim(accepted)
    assert isinstance(claim, Claim)
    entrance.ledger.release(claim, Code.THROTTLED, "Not now.", counted=False)
    state = entrance.lookup.status_of(accepted.intent_id)
    assert (state.code, state.until, state.approval) == (Code.THROTTLED, None, None)


@pytest.mark.parametrize("name", ["", THING, "int_" + "0" * 48, "\ud800"])
def test_an_id_that_was_never_issued_is_unknown(entrance: Entrance, name: str) -> None:
    with pytest.raises(Rejected) as refusal:
        entrance.lookup.status_of(name)
    assert refusal.value.code is Code.UNKNOWN_INTENT
