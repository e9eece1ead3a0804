"""Any line in any chat tool is answered in words, and asks for nothing that its sender did not write and may not do."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.tool import load_tool
from tests.harness.builders import NOW, ORG, PREFIX, SHARED, THING, ChatRoom, bodies, chat_request, slack_headers, slash
from tests.harness.chat import (
    ADA_IN_GOOGLE,
    ADA_IN_TEAMS,
    APP_ACCOUNT,
    TEAMS_KEY,
    google_claims,
    google_event,
    teams_message,
)

LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"
PEOPLE = f"""
[people.ada]
slack = "T012ABCDE/U034FGHIJ"
google = "{ADA_IN_GOOGLE}"
teams = "{ADA_IN_TEAMS}"
may = ["run.archive"]
asks = ["task.delete"]
"""
WORDS = (
    *("archive", "restore", "delete", "status", "undo", "hold", "plan", "approvals", "help", "approve", "reject"),
    *("withdraw", "process", "task", "template", "tag", THING, THING.upper(), LINK, f"<{LINK}|several words>", ORG),
    *(
        f"https://go.tallyfy.com/{ORG}",
        "https://example.com",
        "int_" + "0" * 48,
        "ab" * 32,
        "\u00a0",
        "\u202e",
        "“",
        "”",
    ),
    *("🚀", "&amp;", "<!channel>", "<@U1|ada>", "<at>x</at>", "\x00", "\n", "ARCHIVE", "Archive", "x" * 3000),
)


def _slack(line: str, number: int) -> HttpRequest:
    raw = slash(line, trigger_id=f"{number}.1.a")
    return chat_request(raw, slack_headers(raw, at=NOW.timestamp()))


def _teams(line: str, number: int) -> HttpRequest:
    raw = teams_message(line, id=str(number + 1))
    return chat_request(raw, dict(load_tool("teams").sign(TEAMS_KEY, raw, timestamp=0)), path="/chat/teams")


def _google(line: str, number: int) -> HttpRequest:
    chat = json.loads(google_event(line))
    chat["chat"]["messagePayload"]["message"]["name"] += str(number)
    request = chat_request(json.dumps(chat).encode(), {}, path="/chat/google")
    return replace(request, claims=google_claims())


@dataclass(frozen=True)
class Way:
    tool: str
    proof: str
    request: Callable[[str, int], HttpRequest]


WAYS = (Way("slack", SHARED, _slack), Way("teams", TEAMS_KEY, _teams), Way("google", APP_ACCOUNT, _google))


def room_of(way: Way) -> ChatRoom:
    room = ChatRoom(lambda: NOW, people=PEOPLE)
    room.secrets.texts[f"{PREFIX}/chat/{way.tool}"] = way.proof
    return room


def check(way: Way, line: str, number: int = 0) -> None:
    """Send one line, and look at everything that came of it."""
    room = room_of(way)
    response = room.chat.respond(way.tool, way.request(line, number))
    assert response["statusCode"] == 200
    assert any(len(text) > 3 for text in _texts(json.loads(str(response["body"]))))
    written = line.lower()
    for body in bodies(room.commands):
        command = json.loads(body)
        assert (command["action"], command["resource"], command["requested_by"]) == ("archive", "run", "ada")
        assert command["id"] in written
        assert "archive" in written
    for body in bodies(room.purge):
        command = json.loads(body)
        assert way.tool != "teams"
        assert (command["action"], command["resource"]) == ("delete", "task")
        assert command["id"] in written
        assert "delete" in written
    for body in bodies(room.jobs):
        assert json.loads(body)["job"] in {"search", "look"}
    held = room.chat.service.holds.reasons(ORG)
    assert not held or "hold" in written
    assert bodies(room.sweeps) == []


def _texts(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in found.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    if isinstance(found, list):
        for value in found:
            yield from _texts(value)


LINES = st.one_of(
    st.text(max_size=80), st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=6).map(" ".join)
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.tool)
@settings(max_examples=300, deadline=None)
@given(line=LINES)
def test_any_line_is_answered_and_does_only_what_was_asked_for(way: Way, line: str) -> None:
    check(way, line.encode("utf-8", "replace").decode())


@pytest.mark.prove
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.tool)
def test_ten_thousand_random_lines_of_each_tool(way: Way) -> None:
    dice = random.Random(way.tool)
    for number in range(10_000):
        words = [
            dice.choice(WORDS) if dice.random() < 0.8 else "".join(map(chr, dice.choices(range(0x20, 0x3000), k=4)))
            for _ in range(dice.randrange(7))
        ]
        check(way, " ".join(words).encode("utf-8", "replace").decode(), number)
