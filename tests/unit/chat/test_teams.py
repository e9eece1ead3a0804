"""Microsoft Teams: what its team signs, what a message says, and what a card may show."""

import base64
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.request import ChatRequest
from lifecycle.chat.teams import TOOL
from lifecycle.chat.teams.cards import MOST_CHARACTERS, shown
from lifecycle.chat.teams.requests import plain_text, read_message, signature, why_not_teams
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer, Button, ButtonKind, Section
from tests.harness.builders import NOW, ORG, PREFIX, THING, ChatRoom, Clock, bodies, chat_request
from tests.harness.chat import ADA_IN_TEAMS, TEAM, TEAMS_KEY, TENANT, teams_message

NOW_SECONDS = NOW.timestamp()
PROOFS = [TEAMS_KEY.encode()]


def sent(body: bytes, headers: Mapping[str, str] | None = None, *, key: str = TEAMS_KEY) -> HttpRequest:
    signed = TOOL.sign(key, body, timestamp=0) if headers is None else headers
    return chat_request(body, dict(signed), path="/chat/teams")


# --- signed by the team ---


def test_a_body_is_signed_as_openssl_signs_it_with_the_key_of_microsofts_sample() -> None:
    # The key is the published one of github.com/OfficeDev/microsoft-teams-sample-outgoing-webhook ("contoso").
    key = base64.b64decode("vqF0En+Z0ucuRTM/01o2GuhMH3hKKk/N2bOmlM31zaA=")
    assert len(key) == 32
    assert signature(key, b"{}") == "wwTNfkHNpSUs8T4YUDoB5ANTPjkYlQ5axpNc6mGJGcg="


OTHER_KEY = base64.b64encode(b"y" * 32).decode()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (sent(teams_message("help")), ""),
        (sent(teams_message("help"), {}), "not signed"),
        (sent(teams_message("help"), {"authorization": "Bearer x"}), "not signed"),
        (sent(teams_message("help"), {"authorization": "HMAC "}), "does not match"),
        (sent(teams_message("help"), {"authorization": "HMAC ü"}), "not signed"),
        (sent(teams_message("help"), key=OTHER_KEY), "does not match"),
        (
            sent(teams_message("help") + b" ", TOOL.sign(TEAMS_KEY, teams_message("help"), timestamp=0)),
            "not match",
        ),
        (sent(teams_message("help", at=NOW - timedelta(seconds=301))), "too old"),
        (sent(teams_message("help", at=NOW + timedelta(seconds=301))), "from the future"),
        (sent(teams_message("help", timestamp=None)), "no time or no id"),
        (sent(teams_message("help", timestamp="yesterday")), "no time or no id"),
        (sent(teams_message("help", timestamp=7)), "no time or no id"),
        (sent(teams_message("help", id="")), "no time or no id"),
        (sent(b""), "no time or no id"),
        (sent(b"[" * 100_000), "no time or no id"),
    ],
)
def test_what_the_team_did_not_sign_is_refused(request_: HttpRequest, why: str) -> None:
    found = why_not_teams(PROOFS, request_, now=NOW_SECONDS)
    assert (why in found) if why else found == ""


@pytest.mark.parametrize("proofs", [[], [b""], [b"x"], [b"not base64!"], [base64.b64encode(b"short")]])
def test_an_unusable_key_opens_to_nobody(proofs: list[bytes]) -> None:
    for key in (b"", b"x", b"short"):
        headers = {"authorization": f"HMAC {signature(key, teams_message('help'))}"}
        assert why_not_teams(proofs, sent(teams_message("help"), headers), now=NOW_SECONDS)


def test_while_a_key_is_replaced_both_open() -> None:
    assert why_not_teams([OTHER_KEY.encode(), *PROOFS], sent(teams_message("help")), now=NOW_SECONDS) == ""


# --- read ---


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("<at>Tallyfy</at> help", " help"),
        ("<at>Tallyfy</at>&nbsp;archive x", "\xa0archive x"),
        ("<at id='0'>Tallyfy</at> archive <at>Ada</at>", " archive @Ada"),
        (
            '<at>Tallyfy</at> archive <a href="https://go.tallyfy.com/x">Onboard Stark</a>',
            " archive https://go.tallyfy.com/x",
        ),
        ("<at>T</at> archive [Onboard Stark](https://go.tallyfy.com/x)", " archive https://go.tallyfy.com/x"),
        ("<p><at>T</at> archive Smith &amp; Sons</p>", "  archive Smith & Sons "),
        ("help", "help"),
    ],
)
def test_teams_own_forms_become_plain_text(written: str, plain: str) -> None:
    assert plain_text(written) == plain


def test_the_fields_that_matter_are_read() -> None:
    assert read_message(teams_message("archive x")) == ChatRequest(
        identities=(ADA_IN_TEAMS,),
        line=" archive x",
        delivery="19:chat@thread.tacv2;messageid=1:1485983408511",
        address=TEAM,
    )


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["type", "id", "text", "from", "conversation", "channelData", "timestamp"]), JSON)
)
def test_any_activity_is_read_or_refused(changes: dict[str, object]) -> None:
    body = json.dumps({**json.loads(teams_message("help")), **changes}).encode()
    assert isinstance(why_not_teams(PROOFS, sent(body), now=NOW_SECONDS), str)
    try:
        read = read_message(body)
    except Rejected as refusal:
        assert refusal.code is Code.INVALID  # noqa: PT017 - either way is right
        return
    assert all(isinstance(text, str) for text in (*read.identities, read.line, read.delivery, read.address))


# --- what people there may do ---


@pytest.fixture
def room(clock: Clock) -> ChatRoom:
    people = f"""
[people.ada]
teams = "{ADA_IN_TEAMS}"
slack = "T012ABCDE/U034FGHIJ"
may = ["run.archive", "run.restore"]
asks = ["run.delete"]
approves = ["run.delete", "tag.delete"]
"""
    room = ChatRoom(clock, people=people)
    room.secrets.texts[f"{PREFIX}/chat/teams"] = TEAMS_KEY
    return room


def say(room: ChatRoom, text: str, sender: object = None) -> str:
    body = teams_message(text) if sender is None else teams_message(text, **{"from": sender})  # type: ignore[arg-type]
    response = room.chat.respond("teams", sent(body))
    return "".join(texts(json.loads(str(response["body"]))))


def texts(found: object) -> list[str]:
    if isinstance(found, dict):
        own = [str(found["text"])] if found.get("type") == "TextRun" else []
        return own + [text for value in found.values() for text in texts(value)]
    return [text for value in found for text in texts(value)] if isinstance(found, list) else []


def test_a_reversible_action_is_taken_once_however_often_teams_sends_it(room: ChatRoom) -> None:
    link = f"https://go.tallyfy.com/{ORG}/process/{THING}"
    for _ in range(2):
        assert say(room, f"archive {link}").startswith("On it: archive process")
    names = {json.loads(text)["intent_id"] for text in bodies(room.commands)}
    assert len(names) == 1
    [first, _] = (json.loads(text) for text in bodies(room.commands))
    assert (first["source"], first["requested_by"], first["reply_to"]) == ("teams", "ada", f"teams:{TEAM}")


@pytest.mark.parametrize("line", [f"delete {THING}", f"archive template {THING}", "delete Onboard Stark"])
def test_nothing_irreversible_is_asked_for_although_the_person_may(room: ChatRoom, line: str) -> None:
    assert "does not prove who you are" in say(room, line)
    assert bodies(room.purge) + bodies(room.commands) + bodies(room.jobs) == []


@pytest.mark.parametrize("line", ["approvals", "reject " + "ab" * 32, "withdraw " + "ab" * 32])
def test_approvals_are_never_given_or_shown(room: ChatRoom, line: str) -> None:
    assert "does not prove who you are, so approvals are not given there" in say(room, line)


def test_a_stranger_is_told_what_an_operator_adds(room: ChatRoom) -> None:
    stranger = {"aadObjectId": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
    wanted = f'teams = "{TENANT}/{stranger["aadObjectId"]}"'
    assert wanted in say(room, "plan", stranger)


def test_a_team_without_a_key_here_is_a_404(room: ChatRoom) -> None:
    del room.secrets.texts[f"{PREFIX}/chat/teams"]
    with pytest.raises(Rejected) as refusal:
        say(room, "help")
    assert refusal.value.code is Code.UNKNOWN_ROUTE


# --- shown ---


EVIL = "[Approve](https://evil.example) <at>everyone</at> **bold** `x`"


def test_a_card_has_links_and_no_buttons_and_reads_nothing_in_what_others_wrote() -> None:
    button = Button(kind=ButtonKind.ARCHIVE, label="Archive", value="v", typed=f"archive process {THING}")
    answer = Answer(text="Choose with `help`.", sections=(Section(text="A", lines=(EVIL,), buttons=(button,)),))
    card = shown(answer)
    assert "Action" not in json.dumps(card)
    assert EVIL in texts(card)
    assert f"archive process {THING}" in texts(card)
    kinds = {element["type"] for element in card["attachments"][0]["content"]["body"]}  # type: ignore[index]
    assert kinds == {"RichTextBlock"}


def test_a_card_stays_within_what_teams_takes_and_counts_the_rest() -> None:
    card = shown(Answer(text="x" * 9000, sections=(Section(lines=("ü" * 300,) * 20),) * 60))
    assert len(json.dumps(card, ensure_ascii=False)) < MOST_CHARACTERS + 8000
    assert texts(card)[-1].endswith(" more.")
