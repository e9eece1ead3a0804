"""What a line means, whatever a phone, a keyboard or a chat tool makes of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.chat.grammar import (
    Act,
    Approvals,
    Help,
    Meaning,
    NewestPlan,
    RejectionOf,
    Search,
    StatusOf,
    UndoOf,
    Verb,
    WithdrawalOf,
    understand,
)
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import ORG, THING

LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"
OTHER = "0f" * 16
HASH = "ab" * 32
RUN, TASK, TAG, TEMPLATE = Resource
ARCHIVE = Act(Verb.ARCHIVE, RUN, THING)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Help()),
        ("   ", Help()),
        ("help", Help()),
        ("HELP me please", Help()),
        (f"archive {THING}", ARCHIVE),
        (f"  archive   {THING}  ", ARCHIVE),
        (f"Archive {THING}", ARCHIVE),  # as phones write it
        (f"ARCHIVE {THING.upper()}", ARCHIVE),
        (f"restore {LINK}", Act(Verb.RESTORE, RUN, THING)),
        (f"archive <{LINK}>", ARCHIVE),
        (f"archive {LINK}?tab=tasks#comments", ARCHIVE),
        (f"archive “{LINK}”.", ARCHIVE),
        (f"archive process {THING}", ARCHIVE),
        (f"archive Task {THING}", Act(Verb.ARCHIVE, TASK, THING)),
        (f"restore template {THING}", Act(Verb.RESTORE, TEMPLATE, THING)),
        (f"archive tag {THING}", Act(Verb.ARCHIVE, TAG, THING)),
        (f"archive https://go.tallyfy.com/{ORG}/task/{THING}", Act(Verb.ARCHIVE, TASK, THING)),
        (f"delete {LINK}", Act(Verb.DELETE, RUN, THING)),
        (f"status {LINK}", Act(Verb.STATUS, RUN, THING)),
        (f"hold {LINK}", Act(Verb.HOLD, RUN, THING)),
        (f"hold {LINK} audit 2026", Act(Verb.HOLD, RUN, THING, "audit 2026")),
        (f"hold {THING} “audit 2026”", Act(Verb.HOLD, RUN, THING, "audit 2026")),
        # non-breaking and narrow spaces, spaces of no width, a line break
        (f"archive\u00a0{THING}", ARCHIVE),
        (f"archive\u202f{LINK}\u200b", ARCHIVE),
        (f"archive\n{THING}", ARCHIVE),
        # right-to-left marks around a link, and a name that is written from right to left
        (f"archive \u2067{LINK}\u2069", ARCHIVE),
        ("archive \u200f\u05ea\u05d4\u05dc \u05e7\u05dc", Search(Verb.ARCHIVE, "\u05ea\u05d4\u05dc \u05e7\u05dc")),
        # names
        ("archive Onboard Stark", Search(Verb.ARCHIVE, "Onboard Stark")),
        ("archive “Onboard Stark”", Search(Verb.ARCHIVE, "Onboard Stark")),
        ("archive 'Onboard Stark'", Search(Verb.ARCHIVE, "Onboard Stark")),
        ("archive «Onboard Stark»", Search(Verb.ARCHIVE, "Onboard Stark")),
        ("restore process Onboard O\u2019Brien", Search(Verb.RESTORE, "Onboard O\u2019Brien")),
        ("archive 🚀 launch 👩‍💻", Search(Verb.ARCHIVE, "🚀 launch 👩‍💻")),
        ("archive Cafe\u0301", Search(Verb.ARCHIVE, "Café")),
        ("archive @ada", Search(Verb.ARCHIVE, "@ada")),
        ("status Onboard Stark", Search(Verb.STATUS, "Onboard Stark")),
        ("hold Onboard Stark", Search(Verb.HOLD, "Onboard Stark")),
        ("archive process", Search(Verb.ARCHIVE, "process")),
        (f"archive {THING}/delete", Search(Verb.ARCHIVE, f"{THING}/delete")),
        # commands and requests
        ("status int_1", StatusOf("int_1")),
        ("undo int_1", UndoOf("int_1")),
        ("plan", NewestPlan()),
        ("Approvals", Approvals()),
        (f"withdraw {HASH}", WithdrawalOf(HASH)),
        (f"reject {HASH}", RejectionOf(HASH)),
        (f"reject {HASH} needed in March", RejectionOf(HASH, "needed in March")),
    ],
)
def test_a_line_is_understood(text: str, meant: Meaning) -> None:
    assert understand(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("archive", "did not understand"),
        ("remove it", "did not understand"),
        ("undo", "did not understand"),
        ("undo a b", "did not understand"),
        ("approvals now", "did not understand"),
        (f"approve {HASH}", "did not understand"),  # only by a button, below all that would go
        (f"archive {THING} {THING}", "exactly one thing"),
        (f"archive folder {THING}", "exactly one thing"),
        (f"archive {THING} please", "exactly one thing"),
        (f"archive {LINK} please", "exactly one thing"),
        (f"archive {LINK} https://go.tallyfy.com/{ORG}/process/{OTHER}", "several links"),
        (f"archive {LINK} https://example.com/", "several links"),
        (f"archive https://go.tallyfy.com/{ORG}", "names no process, only its organization"),
        ("archive https://go.tallyfy.com/login", "This link names no process"),
        (f"archive https://evil-tallyfy.com/{THING}", "no Tallyfy link"),
        (f"archive https://example.com/{THING}", "no Tallyfy link"),
        (f"archive http://go.tallyfy.com/x/process/{THING}", "no Tallyfy link"),
        (f"archive https://example.com/?{LINK}", "no Tallyfy link"),
        (f"archive template {LINK}", "leads to a process, and you wrote template"),
        ("archive task Onboard Stark", "Only processes are found by name"),
        ("archive “”", "by a link, an id, or a name"),
        ("archive " + "x" * 201, "at most 200 characters"),
        ("archive " + "x" * 3000, "at most 3,000 characters"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(Rejected, match=said) as refusal:
        understand(text)
    assert refusal.value.code is Code.INVALID


WORDS = (*Verb, "undo", "approvals", "help", "task", "plan", "reject", THING, LINK, ORG, "“", "<", ">", "|", "\u202e")


@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.text(), st.lists(st.one_of(st.text(max_size=5), st.sampled_from(WORDS))).map(" ".join)))
def test_any_line_is_understood_or_answered(text: str) -> None:
    try:
        meant = understand(text)
    except Rejected as refusal:
        assert refusal.code is Code.INVALID  # noqa: PT017 - either way is right
        return
    if isinstance(meant, Act):
        assert meant.id in text.lower()
        printed = "".join(character if character.isprintable() else " " for character in text)
        assert printed.split(maxsplit=1)[0].casefold().startswith(meant.verb)
