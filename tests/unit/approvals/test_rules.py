"""Who may approve what, until when, and what the hash of a request covers."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.approvals.people import People
from lifecycle.approvals.rules import (
    About,
    ApprovalRequest,
    ApprovalStatus,
    approve,
    cancel,
    name,
    reject,
    withdraw_approval,
)
from lifecycle.deletion.safeguards import what_would_go
from lifecycle.domain.capabilities import Resource, State, capability
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot
from tests.harness.builders import ID_KEY, NOW, ORG, THING, command
from tests.harness.world import PEOPLE

ASKED = millis(NOW)
DEADLINE = millis(NOW + timedelta(hours=72))


def request(**more: object) -> ApprovalRequest:
    made = ApprovalRequest(
        hash="7" * 64,
        about=About.COMMAND,
        org_id=ORG,
        subject=intent_id(ID_KEY, "operator", "1"),
        asked_by="ada",
        asked_at=ASKED,
        deadline=DEADLINE,
        needed=2,
        shown="{}",
        message="{}",
        capabilities=("run.delete",),
    )
    return replace(made, **more)  # type: ignore[arg-type]


# --- where it stands ---


@pytest.mark.parametrize(
    ("more", "now", "stand"),
    [
        ({}, ASKED, ApprovalStatus.OPEN),
        ({}, DEADLINE - 1, ApprovalStatus.OPEN),
        ({}, DEADLINE, ApprovalStatus.EXPIRED),
        ({"approved_by": ("bob",)}, ASKED, ApprovalStatus.OPEN),
        ({"approved_by": ("bob",)}, DEADLINE, ApprovalStatus.EXPIRED),
        ({"approved_by": ("bob", "cleo")}, ASKED, ApprovalStatus.APPROVED),
        ({"approved_by": ("bob", "cleo")}, DEADLINE + 1, ApprovalStatus.APPROVED),
        ({"approved_by": ("bob",), "needed": 1}, DEADLINE + 1, ApprovalStatus.APPROVED),
        ({"rejected_by": "bob"}, ASKED, ApprovalStatus.REJECTED),
        ({"rejected_by": "bob"}, DEADLINE, ApprovalStatus.REJECTED),
        ({"rejected_by": "dan", "approved_by": ("bob", "cleo")}, ASKED, ApprovalStatus.REJECTED),
    ],
)
def test_the_status_of_a_request_follows_from_its_votes_and_time(
    more: dict[str, object], now: int, stand: ApprovalStatus
) -> None:
    assert request(**more).stands(now) is stand


def test_two_people_count_as_two_approvals() -> None:
    once = approve(request(), "bob", ASKED)
    assert (once.approved_by, once.stands(ASKED)) == (("bob",), ApprovalStatus.OPEN)
    twice = approve(once, "cleo", ASKED)
    assert (twice.approved_by, twice.stands(ASKED)) == (("bob", "cleo"), ApprovalStatus.APPROVED)
    assert replace(twice, approved_by=(), approved_ids=()) == request(), "nothing else is touched"


def test_one_person_counts_once_for_any_number_of_clicks() -> None:
    once = approve(request(), "bob", ASKED)
    assert approve(approve(once, "bob", ASKED), "bob", ASKED) == once
    full = approve(once, "cleo", ASKED)
    assert approve(full, "bob", DEADLINE + 1) == full, "a press that is repeated late is no error"


@pytest.mark.parametrize(
    ("wanted", "who", "now", "code"),
    [
        (request(), "ada", ASKED, Code.OWN_REQUEST),
        (request(approved_by=("bob",)), "ada", ASKED, Code.OWN_REQUEST),
        (request(), "bob", DEADLINE, Code.UNKNOWN_APPROVAL),
        (request(approved_by=("bob",)), "bob", DEADLINE, Code.UNKNOWN_APPROVAL),
        (request(rejected_by="cleo"), "bob", ASKED, Code.UNKNOWN_APPROVAL),
        (request(rejected_by="cleo", approved_by=("bob",)), "bob", ASKED, Code.UNKNOWN_APPROVAL),
        (request(approved_by=("bob", "cleo")), "dan", ASKED, Code.UNKNOWN_APPROVAL),
    ],
)
def test_an_approval_that_does_not_count_says_so(wanted: ApprovalRequest, who: str, now: int, code: Code) -> None:
    with pytest.raises(Rejected) as refused:
        approve(wanted, who, now)
    assert refused.value.code is code


def test_a_refusal_is_final() -> None:
    ended = reject(request(approved_by=("bob",)), "cleo", "Not yet.", ASKED)
    assert (ended.rejected_by, ended.why, ended.stands(ASKED)) == ("cleo", "Not yet.", ApprovalStatus.REJECTED)
    assert reject(ended, "cleo", "Never.", DEADLINE + 1) == ended, "again it is the same"
    with pytest.raises(Rejected, match="rejected already"):
        reject(ended, "bob", "", ASKED)
    assert reject(request(), "ada", "", ASKED).rejected_by == "ada", "whoever asked may think better of it"


def test_an_expired_request_cannot_be_refused() -> None:
    with pytest.raises(Rejected) as refused:
        reject(request(), "dan", "", DEADLINE)
    assert refused.value.code is Code.UNKNOWN_APPROVAL


def test_an_approved_request_can_still_be_refused() -> None:
    assert (
        reject(request(approved_by=("bob", "cleo")), "dan", "No.", DEADLINE).stands(DEADLINE) is ApprovalStatus.REJECTED
    )


# --- who is who ---

ADA, BOB = frozenset({"iam:arn:ada", "slack:T1/U1"}), frozenset({"iam:arn:bob"})


def test_the_requester_cannot_approve_under_another_name() -> None:
    asked = request(asked_by="ada", asked_ids=tuple(ADA))
    with pytest.raises(Rejected) as refused:
        approve(asked, "adele", ASKED, frozenset({"slack:T1/U1"}))
    assert refused.value.code is Code.OWN_REQUEST


def test_another_person_who_now_has_the_name_of_the_requester_may_approve() -> None:
    asked = request(asked_by="ada", asked_ids=tuple(ADA))
    assert approve(asked, "ada", ASKED, BOB).approved_by == ("ada",)


def test_an_unproven_name_of_the_requester_blocks_the_person_of_that_name() -> None:
    with pytest.raises(Rejected) as refused:
        approve(request(asked_by="ada"), "ada", ASKED, ADA)
    assert refused.value.code is Code.OWN_REQUEST


def test_one_person_counts_once_under_two_names_and_on_two_channels() -> None:
    once = approve(request(), "bob", ASKED, frozenset({"iam:arn:bob", "slack:T1/U2"}))
    assert approve(once, "robert", ASKED, frozenset({"slack:T1/U2"})) == once
    assert approve(once, "bob", ASKED, frozenset({"iam:arn:another"})).approved_by == ("bob", "bob")


def test_an_approval_is_withdrawn_by_the_person_who_gave_it() -> None:
    full = approve(approve(request(), "bob", ASKED, BOB), "cleo", ASKED, frozenset({"iam:arn:cleo"}))
    left = withdraw_approval(full, "robert", BOB)
    assert (left.approved_by, left.approved_ids, left.stands(ASKED)) == (
        ("cleo",),
        ("iam:arn:cleo",),
        ApprovalStatus.OPEN,
    )
    for nobody in (left, request(), cancel(full, "ada", "No.")):
        with pytest.raises(Rejected) as refused:
            withdraw_approval(nobody, "bob", BOB)
        assert refused.value.code is Code.UNKNOWN_APPROVAL


def test_a_cancelled_request_is_rejected_even_if_it_was_approved() -> None:
    wanted = cancel(request(approved_by=("bob", "cleo")), "ada", "The plan was taken back.")
    assert wanted.stands(ASKED) is ApprovalStatus.REJECTED
    assert cancel(wanted, "bob", "").rejected_by == "ada"


# --- what is bound ---

SEEN = ResourceSnapshot(
    resource=Resource.RUN,
    id=THING,
    state=State.ARCHIVED,
    name="Onboard Acme",
    status="archived",
    created_at=NOW,
    completed_at=NOW,
    archived_at=NOW,
    last_updated=NOW,
    template_id="c1" * 16,
    owners=frozenset({"1", "2"}),
    tags=frozenset({"a", "b"}),
    tasks=3,
    comments=4,
    uses=0,
)
ASKED_FOR = command(action="delete")
LATER = datetime(2027, 1, 1, tzinfo=UTC)

OTHER_FACTS: list[dict[str, object]] = [
    {"id": "5f" * 16},
    {"name": "Onboard Ajax"},
    {"name": None},
    {"status": "complete"},
    {"has_open_issue": True},
    {"created_at": LATER},
    {"completed_at": LATER},
    {"completed_at": None},
    {"archived_at": LATER},
    {"last_updated": LATER},
    {"last_updated": NOW + timedelta(milliseconds=1)},
    {"template_id": "c2" * 16},
    {"owners": frozenset({"1"})},
    {"owners": frozenset()},
    {"owners": None},
    {"tags": frozenset({"a"})},
    {"tags": None},
    {"tasks": 2},
    {"comments": 5},
    {"uses": 1},
    {"uses": None},
]
OTHER_WORDS: list[dict[str, object]] = [
    {"resource": "task"},
    {"org_id": "e0" * 16},
    {"requested_by": "Bob"},
    {"reason": "Another."},
    {"source": "crm"},
    {"intent_id": intent_id(ID_KEY, "operator", "another")},
]


def _hash(seen: ResourceSnapshot = SEEN, **more: object) -> str:
    return name(json.loads(what_would_go(ASKED_FOR.model_copy(update=more), seen)))


def test_each_fact_that_approvers_see_changes_the_hash() -> None:
    hashes = [_hash(), *(_hash(replace(SEEN, **facts)) for facts in OTHER_FACTS)]  # type: ignore[arg-type]
    others = [command(**{"action": "delete", **words}) for words in OTHER_WORDS]
    hashes += [name(json.loads(what_would_go(other, SEEN))) for other in others]
    assert len(set(hashes)) == len(hashes)


def test_the_cases_cover_every_fact_that_approvers_see() -> None:
    shown = json.loads(what_would_go(ASKED_FOR, SEEN))
    changed: set[str] = set()
    for facts in OTHER_FACTS:
        other = json.loads(what_would_go(ASKED_FOR, replace(SEEN, **facts)))  # type: ignore[arg-type]
        changed |= {key for key in shown if shown[key] != other[key]}
    for words in OTHER_WORDS:
        other = json.loads(what_would_go(command(**{"action": "delete", **words}), SEEN))
        changed |= {key for key in shown if shown[key] != other[key]}
    assert changed == set(shown) - {"about"}
    facts_of_a_thing = {field.name for field in fields(ResourceSnapshot)} - {"resource", "state", "run_id", "one_off"}
    assert facts_of_a_thing == {fact for facts in OTHER_FACTS for fact in facts}


def test_the_hash_does_not_depend_on_order_or_time() -> None:
    assert _hash() == _hash(replace(SEEN, owners=frozenset({"2", "1"}), tags=frozenset({"b", "a"})))
    assert _hash() == _hash(issued_at=LATER, not_after=LATER)
    assert name({"a": 1, "b": "ü"}) == name({"b": "ü", "a": 1})
    assert name({"a": "1"}) != name({"a": 1})


def test_a_lone_surrogate_in_a_title_stops_no_request() -> None:
    assert _hash(replace(SEEN, name="half \ud83d")) != _hash(replace(SEEN, name="half ?"))


# --- who it is ---


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ada", "ada"),
        (" Ada ", "ada"),
        ("ADA", "ada"),
        ("arn:aws:iam::123456789012:user/ada", "ada"),
        ("T012ABCDE/U034FGHIJ", "ada"),
        ("U034FGHIJ", "ada"),
        ("<@U034FGHIJ>", "ada"),
        ("<@U034FGHIJ|ada.l>", "ada"),
        ("arn:aws:sts::123456789012:assumed-role/Operators/bob", "bob"),
        ("arn:aws:sts::123456789012:assumed-role/Operators/bobby", None),
        ("Ada Lovelace", None),
        ("operator", None),
        ("", None),
        ("None", None),
    ],
)
def test_a_requester_is_known_by_any_of_their_names(said: str, meant: str | None) -> None:
    assert People.parse(PEOPLE).name_of(said) == (meant or said)


RUN_DELETE = frozenset({capability(Resource.RUN, "delete")})  # type: ignore[arg-type]
TAG_DELETE = frozenset({capability(Resource.TAG, "delete")})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "may"),
    [
        ("bob", lambda person: person.approves_of(RUN_DELETE | TAG_DELETE, ORG)),
        ("cleo", lambda person: person.approves_of(RUN_DELETE, ORG)),
        ("cleo", lambda person: not person.approves_of(RUN_DELETE, "e0" * 16)),
        ("dan", lambda person: person.approves_of(TAG_DELETE, ORG)),
        ("dan", lambda person: not person.approves_of(RUN_DELETE, ORG)),
        ("dan", lambda person: not person.approves_of(RUN_DELETE | TAG_DELETE, ORG)),
        ("eve", lambda person: not person.approves_of(RUN_DELETE, ORG)),
        ("bob", lambda person: not person.approves_of(frozenset(), ORG)),
    ],
)
def test_a_person_may_approve_only_what_people_toml_allows(who: str, may: Callable[[object], bool]) -> None:
    assert may(People.parse(PEOPLE).people[who])
