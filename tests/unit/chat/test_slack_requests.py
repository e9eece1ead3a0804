"""A line typed in Slack, and the form it comes in."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.chat.request import ChatRequest, Pressed
from lifecycle.chat.slack.requests import read_line, read_press, why_not_slack
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import NOW, SHARED, THING, chat_request, pressed, slack_headers, slash

THING_LINK = f"https://go.tallyfy.com/x/process/{THING}"


# --- signed by Slack ---


def test_slacks_published_example_is_accepted() -> None:
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
        b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    secrets = [b"8f742231b10e8888abcd99yyyzzz85a5"]
    sent = chat_request(body, headers)
    assert why_not_slack(secrets, sent, now=1531420618) == ""
    assert "too old" in why_not_slack(secrets, sent, now=1531420618 + 301)
    assert "too old or from the future" in why_not_slack(secrets, sent, now=1531420618 - 301)
    assert "does not match" in why_not_slack(secrets, chat_request(body + b"x", headers), now=1531420618)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"x-slack-signature": None}, "not signed"),
        ({"x-slack-request-timestamp": None}, "not signed"),
        ({"x-slack-signature": "v0="}, "does not match"),
        ({"x-slack-signature": "ü"}, "unreadable"),
        ({"x-slack-request-timestamp": "²"}, "unreadable"),
        ({"x-slack-request-timestamp": "9" * 40}, "unreadable"),
        ({"x-slack-request-timestamp": "1"}, "does not match"),
    ],
)
def test_what_slack_did_not_sign_is_refused(change: dict[str, str | None], why: str) -> None:
    raw = b"text=help"
    headers = {name: text for name, text in {**slack_headers(raw), **change}.items() if text is not None}
    found = why_not_slack([b"other", SHARED.encode()], chat_request(raw, headers), now=NOW.timestamp())
    assert (why in found) if why else found == ""


@pytest.mark.parametrize("proofs", [[], [b""], [b"wrong"]])
def test_no_other_secret_opens(proofs: list[bytes]) -> None:
    raw = b"text=help"
    assert why_not_slack(proofs, chat_request(raw, slack_headers(raw)), now=NOW.timestamp())


# --- a line ---


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (f"archive <{THING_LINK}|several words>", f"archive {THING_LINK}"),
        (f"archive <{THING_LINK}>", f"archive {THING_LINK}"),
        # What a link is shown as says nothing: where it leads counts.
        (f"archive <https://example.com/{THING}|{THING_LINK}>", f"archive https://example.com/{THING}"),
        ("archive <@U034FGHIJ|ada>", "archive @ada"),
        ("archive <@U034FGHIJ>", "archive @U034FGHIJ"),
        ("archive <#C1|general>", "archive @general"),
        ("archive <!here>", "archive @here"),
        ("archive Smith &amp; Sons &lt;2&gt;", "archive Smith & Sons <2>"),
        ("archive &amp;lt;", "archive &lt;"),
        ("archive <>", "archive "),
    ],
)
def test_slacks_own_forms_become_plain_text(text: str, plain: str) -> None:
    assert read_line(slash(text)).line == plain


@settings(max_examples=1000, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.dictionaries(st.text(max_size=9), st.text(st.characters(codec="utf-8")), max_size=9).map(
            lambda form: urlencode(form).encode()
        ),
    )
)
def test_any_form_is_read_or_refused(raw: bytes) -> None:
    try:
        read = read_line(raw)
    except Rejected:
        return
    read.line.encode()


def test_the_fields_that_matter_are_read() -> None:
    assert read_line(slash("archive x", user_name="Ada & Grace", enterprise_id="E0NE")) == ChatRequest(
        identities=("T012ABCDE/U034FGHIJ", "E0NE/U034FGHIJ"),
        line="archive x",
        delivery="1.2.abc",
        address="https://hooks.slack.com/commands/T012ABCDE/1/abc",
    )


@pytest.mark.parametrize("raw", [b"\xff", b"&".join([b"a=b"] * 101)])
def test_what_is_no_form_is_refused(raw: bytes) -> None:
    with pytest.raises(Rejected, match="no form"):
        read_line(raw)


def test_what_is_missing_is_empty() -> None:
    assert read_line(b"") == ChatRequest(identities=())


# --- a button ---


def test_a_press_is_read() -> None:
    assert read_press(pressed("approve", "0" * 64)) == ChatRequest(
        identities=("T012ABCDE/U034FGHIK",),
        pressed=Pressed("approve", "0" * 64),
        delivery="3.4.def",
        address="https://hooks.slack.com/actions/T012ABCDE/2/def",
    )


def test_a_reason_goes_with_the_button_that_it_stands_above() -> None:
    state = {"values": {"reason-b": {"reason": {"type": "plain_text_input", "value": "needed in March"}}}}
    with_reason = read_press(pressed("reject", "b", state=state)).pressed
    other = read_press(pressed("reject", "c", state=state)).pressed
    assert (with_reason, other) == (Pressed("reject", "b", "needed in March"), Pressed("reject", "c"))


@pytest.mark.parametrize(
    ("here", "home", "enterprise", "team"),
    [
        ({"id": "T012ABCDE"}, "T012ABCDE", None, "T012ABCDE"),
        ({"id": "T012ABCDE"}, None, None, "T012ABCDE"),
        # pressed in a channel shared with another company: theirs is no user of ours, whatever their id
        ({"id": "T012ABCDE"}, "T099ABCDE", None, "T099ABCDE"),
        ({"id": "T012ABCDE", "enterprise_id": "E1"}, "E1", None, "T012ABCDE E1"),
        ({"id": "T012ABCDE"}, "E1", {"id": "E1"}, "T012ABCDE E1"),
        ({"id": "T012ABCDE", "enterprise_id": "E1"}, "E2", {"id": "E1"}, ""),
        ({"id": "T012ABCDE"}, "E1", None, ""),
        (None, "T012ABCDE", {"id": "E1"}, "T012ABCDE"),
        (None, "E1", {"id": "E1"}, "E1"),
        (None, None, None, ""),
        ("T012ABCDE", 7, [], ""),
    ],
)
def test_a_person_is_known_by_the_workspace_where_they_are_at_home(
    here: object, home: object, enterprise: object, team: str
) -> None:
    user = {"id": "U034FGHIK", "team_id": home}
    found = read_press(pressed("undo", "x", team=here, user=user, enterprise=enterprise)).identities
    assert found == tuple(f"{home}/U034FGHIK" for home in team.split())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"payload=",
        b"payload=7",
        b"payload=[]",
        b"payload={}",
        b"payload=" + b"[" * 100_000,
        pressed("approve", "x", type="view_submission"),
        pressed("approve", "x", actions=[]),
        pressed("approve", "x", actions={}),
        pressed("approve", "x", actions=["approve"]),
        slash("approvals"),
    ],
)
def test_what_is_no_press_is_refused(raw: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        read_press(raw)
    assert refusal.value.code is Code.INVALID


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["type", "user", "team", "enterprise", "actions", "response_url", "state"]), JSON)
)
def test_any_payload_is_read_or_refused(payload: dict[str, object]) -> None:
    made = {"type": "block_actions", "actions": [{}], **payload}
    try:
        request = read_press(urlencode({"payload": json.dumps(made)}).encode())
    except Rejected:
        return
    assert request.pressed is not None
    texts = (*request.identities, request.address, request.pressed.kind, request.pressed.value, request.pressed.reason)
    assert all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize(
    ("url", "kept"), [("https://x", True), ("", False), ("x" * 480, True), ("x" * 481, False), ("https://ü", False)]
)
def test_an_address_is_one_that_a_command_can_carry(url: str, *, kept: bool) -> None:
    assert ChatRequest(identities=(), address=url).usable_address == (url if kept else None)
