"""A line typed in Slack, and the form it comes in."""

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.judgement.slack import Ask, Slash, StatusOf, understand
from lifecycle.words.capabilities import Action, Resource
from lifecycle.words.errors import Code, Rejected
from tests.builders import ORG, THING, slash

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
    ],
)
def test_a_line_is_understood(text: str, meant: Ask | StatusOf | None) -> None:
    assert understand(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("archive", "did not understand"),
        ("delete " + THING, "did not understand"),
        ("status", "did not understand"),
        ("status a b", "did not understand"),
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
                st.text(max_size=5), st.sampled_from(["archive", "restore", "status", "help", "task", THING, LINK])
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
