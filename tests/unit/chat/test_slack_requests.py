"""A line typed in Slack, and the form it comes in."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.chat.slack.requests import Ask, Meant, Press, Slash, StatusOf, UndoOf, Waiting, understand, way_back
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import ORG, THING, pressed, slash

LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"
RUN = Resource.RUN


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", None),
        ("   ", None),
        ("help", None),
        ("help me please", None),
        (f"archive {THING}", Ask(Action.ARCHIVE, RUN, THING)),
        (f"  archive   {THING}  ", Ask(Action.ARCHIVE, RUN, THING)),
        (f"Archive {THING}", Ask(Action.ARCHIVE, RUN, THING)),  # as phones write it
        (f"restore {LINK}", Ask(Action.RESTORE, RUN, THING)),
        (f"archive <{LINK}>", Ask(Action.ARCHIVE, RUN, THING)),
        (f"archive <{LINK}|go.tallyfy.com/process>", Ask(Action.ARCHIVE, RUN, THING)),
        (f"archive process {THING}", Ask(Action.ARCHIVE, RUN, THING)),
        (f"archive Task {THING}", Ask(Action.ARCHIVE, Resource.TASK, THING)),
        (f"restore template {THING}", Ask(Action.RESTORE, Resource.TEMPLATE, THING)),
        (f"archive tag {THING}", Ask(Action.ARCHIVE, Resource.TAG, THING)),
        ("status int_1", StatusOf("int_1")),
        ("undo int_1", UndoOf("int_1")),
        ("Approvals", Waiting()),
    ],
)
def test_a_line_is_understood(text: str, meant: Meant | None) -> None:
    assert understand(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("archive", "did not understand"),
        ("delete " + THING, "did not understand"),
        ("status", "did not understand"),
        ("status a b", "did not understand"),
        ("undo", "did not understand"),
        ("undo a b", "did not understand"),
        ("approvals now", "did not understand"),
        ("approve " + "0" * 64, "did not understand"),
        ("archive process", "exactly one thing"),
        (f"archive {THING} {THING}", "exactly one thing"),
        (f"archive folder {THING}", "exactly one thing"),
        ("archive it", "no Tallyfy link"),
        (f"archive {THING.upper()}", "no Tallyfy link"),
        (f"archive {THING}/delete", "no Tallyfy link"),
        (f"archive https://evil-tallyfy.com/{THING}", "no Tallyfy link"),
        (f"archive <https://example.com/{THING}|{LINK}>", "no Tallyfy link"),
        ("archive <>", "no Tallyfy link"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(Rejected, match=said) as refusal:
        understand(text)
    assert refusal.value.code is Code.INVALID


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.one_of(
                st.text(max_size=5),
                st.sampled_from(["archive", "restore", "status", "undo", "approvals", "help", "task", THING, LINK]),
            )
        ).map(" ".join),
    )
)
def test_any_line_is_understood_or_answered(text: str) -> None:
    try:
        meant = understand(text)
    except Rejected as refusal:
        assert refusal.code is Code.INVALID  # noqa: PT017 - either way is right
        return
    if isinstance(meant, Ask):
        assert len(meant.id) == 32
        assert meant.action is not Action.DELETE


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
        read = Slash.read(raw)
    except Rejected:
        return
    read.text.encode()


def test_the_fields_that_matter_are_read() -> None:
    assert Slash.read(slash("archive x", user_name="Ada & Grace")) == Slash(
        team="T012ABCDE",
        user="U034FGHIJ",
        user_name="Ada & Grace",
        text="archive x",
        trigger="1.2.abc",
        response_url="https://hooks.slack.com/commands/T012ABCDE/1/abc",
    )


@pytest.mark.parametrize("raw", [b"\xff", b"&".join([b"a=b"] * 101)])
def test_what_is_no_form_is_refused(raw: bytes) -> None:
    with pytest.raises(Rejected, match="no form"):
        Slash.read(raw)


def test_what_is_missing_is_empty() -> None:
    assert Slash.read(b"") == Slash("", "", "", "", "", "")


# --- a button ---


def test_a_press_is_read() -> None:
    assert Press.read(pressed("approve", "0" * 64)) == Press(
        team="T012ABCDE",
        user="U034FGHIK",
        action="approve",
        value="0" * 64,
        response_url="https://hooks.slack.com/actions/T012ABCDE/2/def",
    )


@pytest.mark.parametrize(
    ("here", "home", "enterprise", "team"),
    [
        ({"id": "T012ABCDE"}, "T012ABCDE", None, "T012ABCDE"),
        ({"id": "T012ABCDE"}, None, None, "T012ABCDE"),
        # pressed in a channel shared with another company: theirs is no user of ours, whatever their id
        ({"id": "T012ABCDE"}, "T099ABCDE", None, "T099ABCDE"),
        ({"id": "T012ABCDE", "enterprise_id": "E1"}, "E1", None, "T012ABCDE"),
        ({"id": "T012ABCDE"}, "E1", {"id": "E1"}, "T012ABCDE"),
        ({"id": "T012ABCDE", "enterprise_id": "E1"}, "E2", {"id": "E1"}, ""),
        ({"id": "T012ABCDE"}, "E1", None, ""),
        (None, "T012ABCDE", {"id": "E1"}, "T012ABCDE"),
        (None, "E1", {"id": "E1"}, ""),
        (None, None, None, ""),
        ("T012ABCDE", 7, [], ""),
    ],
)
def test_a_person_is_known_by_the_workspace_where_they_are_at_home(
    here: object, home: object, enterprise: object, team: str
) -> None:
    user = {"id": "U034FGHIK", "team_id": home}
    assert Press.read(pressed("undo", "x", team=here, user=user, enterprise=enterprise)).team == team


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
        Press.read(raw)
    assert refusal.value.code is Code.INVALID


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "user", "team", "enterprise", "actions", "response_url"]), JSON))
def test_any_payload_is_read_or_refused(payload: dict[str, object]) -> None:
    made = {"type": "block_actions", "actions": [{}], **payload}
    try:
        press = Press.read(urlencode({"payload": json.dumps(made)}).encode())
    except Rejected:
        return
    assert all(isinstance(text, str) for text in (press.team, press.user, press.action, press.value))


@pytest.mark.parametrize(
    ("url", "kept"), [("https://x", True), ("", False), ("x" * 500, True), ("x" * 501, False), ("https://ü", False)]
)
def test_a_way_back_is_one_that_a_command_can_carry(url: str, *, kept: bool) -> None:
    assert way_back(url) == (url if kept else None)
