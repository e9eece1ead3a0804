"""Google Chat: whose token it is, what an event says, and what a card may show."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.google.cards import MOST_CHARACTERS, message
from lifecycle.chat.google.requests import read_event, why_not_google
from lifecycle.chat.request import ChatRequest, Pressed
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer, Button, ButtonKind, Section
from tests.harness.builders import ORG, PREFIX, THING, ChatRoom, Clock, bodies, chat_request, wanted
from tests.harness.chat import ADA_IN_GOOGLE, APP_ACCOUNT, SPACE, google_claims, google_event, google_press

PROOFS = [APP_ACCOUNT.encode()]


def sent(body: bytes, claims: dict[str, str] | None = None) -> HttpRequest:
    return replace(chat_request(body, {}, path="/chat/google"), claims=google_claims() if claims is None else claims)


# --- whose token it is ---


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (google_claims(), ""),
        (google_claims(iss="accounts.google.com"), ""),
        (google_claims(email=APP_ACCOUNT.upper()), ""),
        ({}, "has verified no token"),  # on an emulator, or on a route that lost its authorizer
        (google_claims(iss="https://evil.example"), "not one of Google's"),
        (google_claims(iss=""), "not one of Google's"),
        (google_claims(email="service-999@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"), "another service account"),
        (google_claims(email=""), "another service account"),
        (google_claims(email="chat@system.gserviceaccount.com"), "all Chat apps share"),
        (google_claims(email_verified="false"), "no verified e-mail"),
        (google_claims(email_verified=""), "no verified e-mail"),
    ],
)
def test_only_the_token_of_our_own_app_is_accepted(claims: dict[str, str], why: str) -> None:
    found = why_not_google(PROOFS, sent(b"{}", claims))
    assert (why in found) if why else found == ""


def test_the_account_that_all_apps_share_is_refused_even_if_it_is_stored() -> None:
    shared = "chat@system.gserviceaccount.com"
    assert why_not_google([shared.encode()], sent(b"{}", google_claims(email=shared)))


@pytest.mark.parametrize("proofs", [[], [b""], [b" "], [b"\xff"]])
def test_without_a_stored_account_nobody_comes_in(proofs: list[bytes]) -> None:
    assert why_not_google(proofs, sent(b"{}"))
    assert why_not_google(proofs, sent(b"{}", google_claims(email="")))


def test_claims_come_from_api_gateway_and_nothing_that_a_caller_writes() -> None:
    event = {
        "headers": {"authorization": "Bearer x", "claims": "x"},
        "requestContext": {"authorizer": {"jwt": {"claims": {"email": "a@b", "exp": 7, "aud": "x"}, "scopes": None}}},
        "body": json.dumps({"claims": google_claims()}),
    }
    assert HttpRequest.of(event).claims == {"email": "a@b", "aud": "x"}
    assert HttpRequest.of({**event, "requestContext": {}}).claims == {}


# --- read ---


def test_a_line_is_read() -> None:
    assert read_event(google_event(" archive x")) == ChatRequest(
        identities=(ADA_IN_GOOGLE,), line=" archive x", delivery=f"{SPACE}/messages/BBBB", address=SPACE
    )


@pytest.mark.parametrize("kind", ["messagePayload", "appCommandPayload"])
def test_a_mention_and_a_slash_command_are_read_alike(kind: str) -> None:
    assert read_event(google_event("help", kind=kind)).line == "help"


def test_a_link_is_where_it_leads() -> None:
    assert read_event(google_event("archive <https://x.example|Onboard>")).line == "archive https://x.example"


def test_a_press_is_read_with_the_reason_of_its_own_field() -> None:
    assert read_event(google_press("reject", "ab", reason="needed")).pressed == Pressed("reject", "ab", "needed")
    assert read_event(google_press("approve", "ab")).pressed == Pressed("approve", "ab")


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"email": "ada@example.com", "type": "HUMAN"},  # an account of no Workspace domain
        {"domainId": "1a2b3c4", "type": "HUMAN"},
        {"email": "ada@example.com", "domainId": "1a2b3c4", "type": "BOT"},
        None,
        "ada@example.com",
    ],
)
def test_who_is_no_person_of_a_domain_is_nobody(user: object) -> None:
    assert read_event(google_event("help", user=user)).identities == ()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"chat": 7}', b'{"chat": {}}', b"[" * 100_000, b'{"type": "MESSAGE"}']
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        read_event(body)
    assert refusal.value.code is Code.INVALID


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)
KEYS = st.sampled_from(["user", "messagePayload", "buttonClickedPayload", "eventTime", "appCommandPayload"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, JSON), JSON)
def test_any_event_is_read_or_refused(changes: dict[str, object], common: object) -> None:
    event = json.loads(google_event("help")) | {"commonEventObject": common}
    event["chat"] |= changes
    try:
        read = read_event(json.dumps(event).encode())
    except Rejected:
        return
    pressed = (read.pressed.kind, read.pressed.value, read.pressed.reason) if read.pressed else ()
    assert all(isinstance(text, str) for text in (*read.identities, read.line, read.delivery, read.address, *pressed))


# --- what people there may do ---


@pytest.fixture
def room(clock: Clock) -> ChatRoom:
    people = f"""
[people.ada]
google = "{ADA_IN_GOOGLE}"
may = ["run.archive", "run.restore"]
asks = ["run.delete"]
approves = ["run.delete"]
"""
    room = ChatRoom(clock, people=people)
    room.secrets.texts[f"{PREFIX}/chat/google"] = APP_ACCOUNT
    return room


def respond(room: ChatRoom, body: bytes) -> str:
    return str(room.chat.respond("google", sent(body))["body"])


def test_a_line_archives_once_however_often_google_sends_it(room: ChatRoom) -> None:
    for _ in range(2):
        assert "On it: archive process" in respond(room, google_event(f"archive {THING}"))
    assert len({json.loads(text)["intent_id"] for text in bodies(room.commands)}) == 1


def test_a_delete_only_asks(room: ChatRoom) -> None:
    said = respond(room, google_event(f"delete https://go.tallyfy.com/{ORG}/process/{THING}"))
    assert "It waits until others approve it." in said
    [text] = bodies(room.purge)
    assert (json.loads(text)["action"], json.loads(text)["source"]) == ("delete", "google")
    assert bodies(room.commands) == []


@pytest.fixture
def asked(room: ChatRoom) -> ApprovalRequest:
    return room.approvals.ask(wanted(asked_by="grace"))


def test_a_button_approves_and_the_card_is_replaced(room: ChatRoom, asked: ApprovalRequest) -> None:
    assert asked.hash in respond(room, google_event("approvals"))
    said = json.loads(respond(room, google_press("approve", asked.hash)))
    assert "updateMessageAction" in said["hostAppDataAction"]["chatDataAction"]
    assert asked.hash not in json.dumps(said)[: json.dumps(said).index("withdraw")]
    assert bodies(room.purge) == [asked.message]


def test_a_rejection_keeps_its_reason(room: ChatRoom, asked: ApprovalRequest) -> None:
    respond(room, google_press("reject", asked.hash, reason="needed in March"))
    standing = room.approvals.find(ORG, asked.hash)
    assert standing is not None
    assert (standing.rejected_by, standing.why) == ("ada", "needed in March")


def test_a_request_without_a_verified_token_is_refused_unread(room: ChatRoom) -> None:
    with pytest.raises(Rejected) as refusal:
        room.chat.respond("google", sent(google_event(f"archive {THING}"), {}))
    assert refusal.value.code is Code.SIGNATURE_REFUSED
    assert bodies(room.commands) == []


# --- shown ---


EVIL = "<a href='https://evil.example'>Approve</a> <b>x</b> <users/all> &amp;"


@pytest.mark.parametrize("endpoint", ["https://api.example.com/chat/google", None])
def test_what_others_wrote_is_escaped(endpoint: str | None) -> None:
    button = Button(kind=ButtonKind.ARCHIVE, label="Archive", value="v", typed=f"archive process {THING}")
    answer = Answer(text=f"`{EVIL}` {EVIL}", sections=(Section(text=EVIL, lines=(EVIL,), buttons=(button,)),))
    card = json.dumps(message(answer, endpoint=endpoint))
    assert "<a" not in card
    assert "<users" not in card
    assert ("onClick" in card) == (endpoint is not None)
    assert (f"archive process {THING}" in card) == (endpoint is None)


def test_a_card_stays_within_what_google_takes_and_counts_the_rest() -> None:
    card = message(Answer(text="x" * 9000, sections=(Section(lines=("<" * 300,) * 20),) * 60), endpoint=None)
    assert len(json.dumps(card, ensure_ascii=False)) < MOST_CHARACTERS + 7000
    assert " more." in json.dumps(card)
