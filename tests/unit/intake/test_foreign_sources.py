"""Other systems' own payloads on their way in: wanted or not, named, delivered twice, later, or over the bus."""

import base64
import gzip
import hmac
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import override
from urllib.parse import urlencode

import pytest

from lifecycle.aws.api_gateway import HttpRequest, problem
from lifecycle.aws.eventbridge import SOURCE as OURS
from lifecycle.aws.metrics import Metric
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import Status
from lifecycle.execution.ledger import Claim
from lifecycle.intake.kept import KeptDelivery
from tests.harness.builders import (
    NOW,
    ORG,
    PREFIX,
    SHARED,
    THING,
    Clock,
    Entrance,
    bodies,
    body,
    hub_headers,
    request,
    sample,
    standard_headers,
    webhook_event,
)
from tests.harness.world import World

OTHER = "6f" * 16
OPEN = """
[sources.one]
scheme = "shared-secret"
may = ["run.archive", "run.restore"]
"""
RULE = f"""
[[sources.one.commands]]
each = "body.items"
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "item.id"
"""
EACH = RULE + 'delivery = "item.id"\n'
NAMED = RULE + 'delivery = "item.event"\n'
BUS = f"""
[sources.projects]
scheme = "eventbridge"
event_source = "com.example.projects"
detail_types = ["project.closed", "project.cancelled"]
may = ["run.archive"]

[[sources.projects.commands]]
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "body.detail.process"
"""
PINNED = """
[sources.finance]
scheme = "eventbridge"
event_source = "com.example.finance"
detail_types = ["process.expired"]
account = "210987654321"
may = ["run.delete"]
irreversible = true
"""


def entrance(clock: Clock, declared: str) -> Entrance:
    return Entrance(clock, declared=declared)


def deliver(way_in: Entrance, payload: object, *, key: str = SHARED) -> list[Command]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return way_in.intake.accept(request("one", raw, {}, key=key))


def items(*ids: str) -> dict[str, object]:
    return {"items": [{"id": each} for each in ids]}


def event(**changes: object) -> str:
    made: dict[str, object] = {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "project.closed",
        "source": "com.example.projects",
        "account": "123456789012",
        "time": "2026-06-01T12:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {"process": THING},
    }
    return json.dumps({**made, **changes})


# --- a new source is a few lines of TOML ---


def test_a_new_source_needs_no_code(clock: Clock) -> None:
    """A ticket system nobody here has heard of: its own signature, its own words, two ids in one text."""
    way_in = entrance(
        clock,
        f"""
        [sources.one]
        scheme = "hmac"
        may = ["run.restore"]
        when = "body.kind == 'ticket.reopened'"

        [sources.one.signature]
        header = "x-tickets-digest"
        prefix = ""
        hash = "sha512"
        encoding = "base64"
        signed = "{{body}}"

        [[sources.one.commands]]
        each = "body.ticket.links"
        action = "restore"
        resource = "process"
        org_id = "{ORG}"
        link = "item.href"
        delivery = "join('/', [to_string(body.ticket.number), item.href])"
        reason = "join(' ', ['Ticket', to_string(body.ticket.number), 'was opened again'])"
        requested_by = "body.by.name"
        """,
    )
    links = [{"href": f"https://go.tallyfy.com/{ORG}/process/{each}"} for each in (THING, OTHER)]
    payload = {"kind": "ticket.reopened", "ticket": {"number": 12, "links": links}, "by": {"name": "Ada"}}
    raw = json.dumps(payload).encode()
    signed = {"x-tickets-digest": base64.b64encode(hmac.digest(SHARED.encode(), raw, "sha512")).decode()}
    made = way_in.intake.accept(request("one", raw, signed))
    assert [(one.id, one.reason, one.requested_by) for one in made] == [
        (THING, "Ticket 12 was opened again", "Ada"),
        (OTHER, "Ticket 12 was opened again", "Ada"),
    ]
    assert [Command.model_validate_json(text) for text in bodies(way_in.ordinary)] == made


# --- wanted or not ---


@pytest.mark.parametrize("payload", [{"items": []}, {"items": [{"id": THING, "skip": True}]}])
def test_a_payload_that_becomes_no_command_is_ignored_and_counted(clock: Clock, payload: object) -> None:
    way_in = entrance(clock, OPEN + EACH + 'when = "!item.skip"\n')
    assert deliver(way_in, payload) == []
    assert way_in.metrics.counts[Metric.IGNORED] == 1
    assert (way_in.ordinary.depth(), way_in.dead_letters.depth()) == (0, 0)


def test_a_filtered_payload_is_ignored_even_if_it_cannot_be_translated(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + "when = \"body.kind == 'done'\"\n" + EACH)
    assert deliver(way_in, {"kind": "other", "items": [{"id": "no id"}]}) == []
    assert way_in.metrics.counts[Metric.IGNORED] == 1
    assert way_in.letters == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"{}",
        b'{"items": null}',
        b'{"items": 5}',
        items("no id"),
        items(THING, ""),
        items(*[THING] * 101),
    ],
)
def test_an_untranslatable_payload_is_a_422_and_a_dead_letter_with_its_reason(clock: Clock, payload: object) -> None:
    way_in = entrance(clock, OPEN + EACH)
    with pytest.raises(Rejected) as refusal:
        deliver(way_in, payload)
    assert refusal.value.code is Code.UNTRANSLATABLE
    assert problem(refusal.value)["statusCode"] == 422
    assert way_in.ordinary.depth() == 0
    [letter] = way_in.letters
    assert letter["code"] == "untranslatable"
    assert letter["reason"] == f"Source 'one': {refusal.value.reason}"
    [kept] = [json.loads(text) for text in bodies(way_in.dead_letters)]
    assert kept["source"] == "one"
    assert kept["payload"].encode() == (payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    assert [name for name, _ in way_in.bus.announced] == ["lifecycle.command.poison"]


@pytest.mark.parametrize("filler", ["x", "\x00", "解", "\U0001f9fe"])
def test_a_dead_letter_always_fits_into_a_message(clock: Clock, filler: str) -> None:
    way_in = entrance(clock, OPEN + EACH)
    raw = (filler * (250_000 // len(filler.encode()))).encode()
    with pytest.raises(Rejected):
        deliver(way_in, raw)
    [text] = bodies(way_in.dead_letters)
    assert len(text.encode()) < 256 * 1024


def test_a_dead_letter_keeps_a_large_payload_whole(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH)
    with pytest.raises(Rejected):
        deliver(way_in, b"x" * 200_000)
    [kept] = [json.loads(text) for text in bodies(way_in.dead_letters)]
    assert (kept["source"], kept["payload"]) == ("one", "x" * 200_000)


def test_a_truncated_payload_is_marked_as_truncated(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH)
    # Random bytes: nothing makes them smaller.
    with pytest.raises(Rejected):
        deliver(way_in, random.Random(1).randbytes(250_000))
    [text] = bodies(way_in.dead_letters)
    kept = KeptDelivery.model_validate_json(text)
    assert not kept.is_whole
    assert kept.characters is not None
    assert len(kept.payload) < kept.characters
    assert 230_000 < len(text) < 250_000


@pytest.mark.parametrize("key", ["", "guess", SHARED + "x", SHARED[:-1]])
def test_unverified_requests_reach_no_queue(clock: Clock, key: str) -> None:
    way_in = entrance(clock, OPEN + EACH)
    for payload in (items(THING), b"no json"):
        with pytest.raises(Rejected) as refusal:
            deliver(way_in, payload, key=key)
        assert refusal.value.code is Code.SIGNATURE_REFUSED
    assert (way_in.ordinary.depth(), way_in.dead_letters.depth()) == (0, 0)
    assert way_in.bus.announced == []


def test_a_secret_expected_in_a_header_is_not_read_from_the_path(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + 'header = "x-key"\n' + EACH)
    raw = json.dumps(items(THING)).encode()
    with pytest.raises(Rejected):
        way_in.intake.accept(request("one", raw, {}, key=SHARED))
    assert len(way_in.intake.accept(request("one", raw, {"x-key": SHARED}))) == 1


def test_a_rotated_shared_secret_needs_no_gap(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH)
    way_in.secrets.texts[f"{PREFIX}/sources/one"] = json.dumps({"secrets": ["new", "old"]})
    assert deliver(way_in, items(THING), key="new") == deliver(way_in, items(THING), key="old")


def test_a_delivery_for_an_unknown_organization_is_refused_as_a_whole(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH + EACH.replace(ORG, "1b" * 16))
    with pytest.raises(Rejected) as refusal:
        deliver(way_in, items(THING))
    assert refusal.value.code is Code.ORGANIZATION_UNKNOWN
    assert way_in.ordinary.depth() == 0


def test_a_source_on_the_bus_has_no_url(clock: Clock) -> None:
    way_in = entrance(clock, BUS)
    with pytest.raises(Rejected) as refusal:
        way_in.intake.accept(request("projects", b"{}", hub_headers(b"{}")))
    assert refusal.value.code is Code.UNKNOWN_SOURCE


# --- deliveries ---


def test_each_item_has_its_own_intent_id_and_a_repeated_delivery_keeps_them(clock: Clock) -> None:
    signed = RULE.replace('each = "body.items"', 'each = "body"')
    way_in = entrance(
        clock,
        '[sources.operator]\nscheme = "standard-webhooks"\nmay = ["run.archive"]\n'
        + signed.replace("sources.one", "sources.operator"),
    )
    raw = json.dumps([{"id": THING}, {"id": OTHER}, {"id": THING}]).encode()

    def named(delivery_id: str) -> list[str]:
        headers = standard_headers(raw, delivery_id=delivery_id, at=clock().timestamp())
        return [command.intent_id for command in way_in.intake.accept(request("operator", raw, headers))]

    first = named("delivery-1")
    clock.advance(timedelta(days=3))
    assert named("delivery-1") == first
    assert len({*first, *named("delivery-2")}) == 6


def test_a_named_item_has_the_same_intent_id_in_another_delivery(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + NAMED)
    [one] = deliver(way_in, {"items": [{"id": THING, "event": "e-1"}]})
    [_, again] = deliver(
        way_in, {"items": [{"id": OTHER, "event": "e-2"}, {"id": THING, "event": "e-1"}], "attempt": 2}
    )
    assert again.intent_id == one.intent_id


def test_two_rules_over_one_named_item_are_two_intents(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + NAMED + NAMED.replace('"archive"', '"restore"').replace("item.id", "item.other"))
    made = deliver(way_in, {"items": [{"id": THING, "other": OTHER, "event": "e-1"}]})
    assert len({command.intent_id for command in made}) == 2


def test_a_repeated_delivery_completes_one_that_failed_in_the_middle(clock: Clock) -> None:
    class Breaking(MemoryQueue):
        left = 2

        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            if not self.left:
                raise Retryable(Code.UNAVAILABLE, "AWS refused to send a message.")
            Breaking.left -= 1
            MemoryQueue.send(self, body, attributes)

    world = World(clock)
    runs = [world.add(Resource.RUN, f"{number:032x}") for number in range(5)]
    way_in = entrance(clock, OPEN + EACH)
    way_in.ordinary = Breaking(clock)
    with pytest.raises(Retryable):
        deliver(way_in, items(*runs))
    assert way_in.ordinary.depth() == 2
    Breaking.left = 99
    deliver(way_in, items(*runs))
    for text in bodies(way_in.ordinary):
        world.queue.send(text)
    assert world.depth == (7, 0)
    world.drain(world.process())
    assert sorted(call.id or "" for call in world.simulator.log.calls if call.acted) == runs
    assert len(world.writes()) == 5


def test_a_reused_item_name_is_a_conflict_and_nothing_is_sent(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + NAMED)
    [first] = deliver(way_in, {"items": [{"id": THING, "event": "e-1"}]})
    assert isinstance(way_in.ledger.claim(first), Claim)
    with pytest.raises(Rejected) as refusal:
        deliver(way_in, {"items": [{"id": THING, "event": "e-0"}, {"id": OTHER, "event": "e-1"}]})
    assert refusal.value.code is Code.INTENT_CONFLICT
    assert way_in.ordinary.depth() == 1


def test_unsigned_parts_do_not_turn_an_old_delivery_into_a_new_one(clock: Clock) -> None:
    """Our own words, signed without a timestamp: a copy with a header made up must be the same intent."""
    signed = (
        'scheme = "hmac"\nmay = ["run.archive"]\nsignature = { header = "x-hub-signature-256", signed = "{body}" }\n'
    )
    way_in = entrance(clock, "[sources.one]\n" + signed)
    raw = body()
    plain = way_in.intake.accept(request("one", raw, hub_headers(raw)))
    replayed = way_in.intake.accept(request("one", raw, {**hub_headers(raw), "x-timestamp": "1780315999"}))
    assert [one.intent_id for one in plain] == [one.intent_id for one in replayed]


# --- later ---


def later(clock: Clock) -> Entrance:
    return entrance(clock, OPEN + 'after = "14d"\n' + EACH)


def test_a_delayed_command_is_scheduled_and_not_sent(clock: Clock) -> None:
    way_in = later(clock)
    [command] = deliver(way_in, items(THING))
    assert way_in.ordinary.depth() == 0
    assert list(way_in.schedules.waiting.values()) == [(NOW + timedelta(days=14), command.to_json())]
    assert command.not_after == NOW + timedelta(days=28)


def test_the_same_delivery_again_schedules_nothing_new(clock: Clock) -> None:
    way_in = later(clock)
    deliver(way_in, items(THING))
    kept = dict(way_in.schedules.waiting)
    clock.advance(timedelta(days=1))
    deliver(way_in, items(THING))
    assert way_in.schedules.waiting == kept


def _scheduled(world: World) -> Command:
    world.add(Resource.RUN, THING)
    [command] = deliver(later(world.clock), items(THING))
    world.clock.advance(timedelta(seconds=1))
    return command


def _fires(world: World, command: Command) -> None:
    world.clock.advance(timedelta(days=14))
    world.send(command)
    world.drain(world.process())


def test_a_scheduled_command_is_carried_out_at_its_time(clock: Clock) -> None:
    world = World(clock)
    command = _scheduled(world)
    _fires(world, command)
    assert world.intent(command.intent_id).status is Status.DONE


def test_a_restore_cancels_a_scheduled_command(clock: Clock) -> None:
    world = World(clock)
    command = _scheduled(world)
    world.send(world.command(Resource.RUN, THING, Action.RESTORE, "undo"))
    world.drain(world.process())
    _fires(world, command)
    assert world.intent(command.intent_id).status is Status.SUPERSEDED
    assert world.state(Resource.RUN, THING) is State.ACTIVE


def test_a_hold_cancels_a_scheduled_command(clock: Clock) -> None:
    world = World(clock)
    command = _scheduled(world)
    world.holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    _fires(world, command)
    assert world.intent(command.intent_id).code == Code.HELD
    assert world.state(Resource.RUN, THING) is State.ACTIVE


# --- over the bus ---


def test_an_event_becomes_its_command_named_by_its_own_id(clock: Clock) -> None:
    way_in = entrance(clock, BUS)
    [command] = way_in.intake.accept_event(event())
    assert (command.id, command.source, command.requested_by) == (THING, "projects", "projects")
    assert [Command.model_validate_json(text) for text in bodies(way_in.ordinary)] == [command]
    [again] = way_in.intake.accept_event(event())
    [other] = way_in.intake.accept_event(event(id="another"))
    assert again.intent_id == command.intent_id != other.intent_id


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "com.example.other"},
        {"detail-type": "project.opened"},
        {"source": None},
        {"source": ["com.example.projects"]},
        {"detail-type": {"a": 1}},
    ],
)
def test_an_event_that_no_source_declares_is_ignored(clock: Clock, changes: dict[str, object]) -> None:
    way_in = entrance(clock, BUS)
    assert way_in.intake.accept_event(event(**changes)) == []
    assert (way_in.ordinary.depth(), way_in.dead_letters.depth()) == (0, 0)


@pytest.mark.parametrize("account", ["123456789012", None, 210987654321, "", ["210987654321"]])
def test_a_source_with_an_account_ignores_events_of_other_accounts(clock: Clock, account: object) -> None:
    way_in = entrance(clock, PINNED)
    detail = {"action": "delete", "resource": "run", "org_id": ORG, "id": THING}
    forged = {"source": "com.example.finance", "detail-type": "process.expired", "detail": detail}
    assert way_in.intake.accept_event(event(**forged, account=account)) == []
    assert (way_in.permanent.depth(), way_in.dead_letters.depth()) == (0, 0)
    [command] = way_in.intake.accept_event(event(**forged, account="210987654321"))
    assert [Command.model_validate_json(text) for text in bodies(way_in.permanent)] == [command]


def test_the_stacks_own_outcome_events_start_nothing(clock: Clock) -> None:
    way_in = entrance(clock, BUS + PINNED)
    outcome = sample("outcome.json")
    assert outcome["source"] == OURS
    for number in range(100):
        assert way_in.intake.accept_event(json.dumps({**outcome, "id": str(number)})) == []
        own = event(source=OURS, id=str(number))
        assert way_in.intake.accept_event(own) == []
    assert (way_in.ordinary.depth(), way_in.permanent.depth(), way_in.dead_letters.depth()) == (0, 0, 0)
    assert way_in.bus.announced == []


@pytest.mark.parametrize("nameless", [None, "", 7, ["x"]])
def test_an_event_without_an_id_is_dead_lettered(clock: Clock, nameless: object) -> None:
    way_in = entrance(clock, BUS)
    assert way_in.intake.accept_event(event(id=nameless)) == []
    [letter] = way_in.letters
    assert letter["reason"] == "Source 'projects': The event has no id."


@pytest.mark.parametrize("text", ["", "no json", "{", "\ud800", "[" * 1000])
def test_an_event_that_is_not_json_is_dead_lettered(clock: Clock, text: str) -> None:
    way_in = entrance(clock, BUS)
    assert way_in.intake.accept_event(text) == []
    [letter] = way_in.letters
    assert letter["reason"] == "Source 'bus': The body is not JSON."


@pytest.mark.parametrize("text", ["[]", "5", "null", '"text"', "{}"])
def test_json_that_is_not_an_event_is_ignored(clock: Clock, text: str) -> None:
    way_in = entrance(clock, BUS)
    assert way_in.intake.accept_event(text) == []
    assert way_in.letters == []


@pytest.mark.parametrize("detail", [None, {}, {"process": "x"}, {"process": 5}, [], "text"])
def test_an_event_that_cannot_be_translated_is_dead_lettered_with_its_reason(clock: Clock, detail: object) -> None:
    way_in = entrance(clock, BUS)
    assert way_in.intake.accept_event(event(detail=detail)) == []
    [letter] = way_in.letters
    assert letter["code"] == "untranslatable"
    assert way_in.ordinary.depth() == 0


def test_an_event_in_our_own_format_without_the_right_is_dead_lettered(clock: Clock) -> None:
    way_in = entrance(clock, PINNED)
    detail = {"action": "archive", "resource": "run", "org_id": ORG, "id": THING}
    told = event(
        source="com.example.finance", **{"detail-type": "process.expired"}, account="210987654321", detail=detail
    )
    assert way_in.intake.accept_event(told) == []
    assert [letter["code"] for letter in way_in.letters] == ["right_missing"]


def test_two_sources_may_take_the_same_event(clock: Clock) -> None:
    way_in = entrance(clock, BUS + BUS.replace("sources.projects", "sources.copy"))
    made = way_in.intake.accept_event(event())
    assert len({command.intent_id for command in made}) == 2


def test_an_event_is_retried_when_aws_is_unavailable(clock: Clock) -> None:
    class Full(MemoryQueue):
        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            raise Retryable(Code.UNAVAILABLE, "AWS refused to send a message.")

    way_in = entrance(clock, BUS)
    way_in.ordinary = Full(clock)
    with pytest.raises(Retryable):
        way_in.intake.accept_event(event())
    assert way_in.letters == []


def test_a_key_in_the_path_is_verified(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH)
    raw = json.dumps(items(THING)).encode()
    made = way_in.intake.accept(HttpRequest.of(webhook_event("one", raw, {}, key=SHARED)))
    assert [command.id for command in made] == [THING]
    quiet = replace(way_in.intake, org_ids=frozenset())
    with pytest.raises(Rejected):
        quiet.accept(HttpRequest.of(webhook_event("one", raw, {}, key=SHARED)))
    assert SHARED not in str(way_in.metrics.notes)


# --- refused after it was translated ---


@pytest.mark.parametrize("first", [THING, OTHER])
def test_two_different_commands_with_one_name_refuse_the_whole_delivery(clock: Clock, first: str) -> None:
    way_in = entrance(clock, OPEN + NAMED)
    payload = {"items": [{"id": "1c" * 16, "event": "e-0"}, *({"id": each, "event": "e-1"} for each in (THING, OTHER))]}
    if first == OTHER:
        payload["items"].reverse()
    with pytest.raises(Rejected, match="Two different commands of this delivery have the same name") as refusal:
        deliver(way_in, payload)
    assert problem(refusal.value)["statusCode"] == 422
    assert way_in.ordinary.depth() == 0
    [letter] = way_in.letters
    assert letter["code"] == "untranslatable"


def test_the_same_command_twice_in_one_delivery_is_one_intent(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + NAMED)
    made = deliver(way_in, {"items": [{"id": THING, "event": "e-1"}] * 2})
    assert len({command.intent_id for command in made}) == 1
    assert way_in.letters == []


def _is_kept(way_in: Entrance, payload: object, code: Code) -> None:
    """The one dead letter says why, holds what was sent, and was announced."""
    [letter] = way_in.letters
    assert letter["code"] == code
    [kept] = [json.loads(text) for text in bodies(way_in.dead_letters)]
    assert (kept["source"], json.loads(kept["payload"])) == ("one", payload)
    [(name, detail)] = way_in.bus.announced
    assert (name, detail["code"], detail["dead_lettered"]) == ("lifecycle.command.poison", code, True)
    assert way_in.metrics.counts[Metric.POISON] == 1


def test_a_payload_for_an_unknown_organization_leaves_a_dead_letter(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH.replace(ORG, "1b" * 16))
    with pytest.raises(Rejected) as refusal:
        deliver(way_in, items(THING))
    assert refusal.value.code is Code.ORGANIZATION_UNKNOWN
    _is_kept(way_in, items(THING), Code.ORGANIZATION_UNKNOWN)
    assert way_in.ordinary.depth() == 0


def test_a_payload_with_a_reused_name_leaves_a_dead_letter(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + NAMED)
    [first] = deliver(way_in, {"items": [{"id": THING, "event": "e-1"}]})
    assert isinstance(way_in.ledger.claim(first), Claim)
    other = {"items": [{"id": OTHER, "event": "e-1"}]}
    with pytest.raises(Rejected) as refusal:
        deliver(way_in, other)
    assert refusal.value.code is Code.INTENT_CONFLICT
    _is_kept(way_in, other, Code.INTENT_CONFLICT)


def test_a_refused_command_in_our_own_format_leaves_no_dead_letter_because_its_sender_reads_the_answer(
    clock: Clock,
) -> None:
    way_in = entrance(clock, OPEN)
    for raw in (body(org_id="1b" * 16), body(action="delete"), b"no json"):
        with pytest.raises(Rejected):
            deliver(way_in, raw)
    assert way_in.letters == []


def test_an_unavailable_queue_leaves_no_dead_letter_because_the_sender_retries(clock: Clock) -> None:
    class Full(MemoryQueue):
        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            raise Retryable(Code.UNAVAILABLE, "AWS refused to send a message.")

    way_in = entrance(clock, OPEN + EACH)
    way_in.ordinary = Full(clock)
    with pytest.raises(Retryable):
        deliver(way_in, items(THING))
    assert way_in.letters == []


@pytest.mark.parametrize("expression", ["to_string(@)", "to_string(values(@))", "to_string(*)"])
def test_a_header_never_influences_the_intent_id(clock: Clock, expression: str) -> None:
    way_in = entrance(clock, OPEN + RULE + f'delivery = "{expression}"\n')
    raw = json.dumps(items(THING)).encode()
    made = [way_in.intake.accept(request("one", raw, {"x-attempt": text}, key=SHARED)) for text in ("1", "2")]
    assert made[0][0].intent_id == made[1][0].intent_id


# --- by another route, or encoded in another way ---


@pytest.mark.parametrize("rest", ["one/{key}", "one/{key}/"])
def test_a_trailing_slash_reaches_its_source(clock: Clock, rest: str) -> None:
    way_in = entrance(clock, OPEN + EACH)
    sent = webhook_event("one", json.dumps(items(THING)).encode(), {})
    sent |= {"routeKey": "POST /webhooks/{proxy+}", "pathParameters": {"proxy": rest.format(key=SHARED)}}
    assert [command.id for command in way_in.intake.accept(HttpRequest.of(sent))] == [THING]


@pytest.mark.parametrize("rest", ["", "/", "one", "one/", "one//", "one/guess/", "two/x", "../one", "one/\ud800"])
def test_other_paths_below_a_source_are_refused(clock: Clock, rest: str) -> None:
    way_in = entrance(clock, OPEN + EACH)
    sent = webhook_event("one", b"{}", {})
    sent |= {"routeKey": "POST /webhooks/{proxy+}", "pathParameters": {"proxy": rest}}
    with pytest.raises(Rejected) as refusal:
        way_in.intake.accept(HttpRequest.of(sent))
    assert refusal.value.code in {Code.UNKNOWN_SOURCE, Code.SIGNATURE_REFUSED}


def test_a_form_that_holds_json_is_translated_like_json(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + 'payload = { format = "form", field = "payload" }\n' + EACH)
    raw = urlencode({"payload": json.dumps(items(THING))}).encode()
    assert [command.id for command in deliver(way_in, raw)] == [THING]


def test_a_gzip_body_is_translated_or_dead_lettered_as_text(clock: Clock) -> None:
    way_in = entrance(clock, OPEN + EACH)
    assert [command.id for command in deliver(way_in, gzip.compress(json.dumps(items(THING)).encode()))] == [THING]
    with pytest.raises(Rejected):
        deliver(way_in, gzip.compress(b'{"items": 5}', mtime=0))
    [kept] = [KeptDelivery.model_validate_json(text) for text in bodies(way_in.dead_letters)]
    assert kept.text() == '{"items": 5}'
    assert kept.raw() == gzip.compress(b'{"items": 5}', mtime=0)
