"""The words of notices: every event that people hear of has them, and no event breaks them."""

import json
import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.notices.file import NoticeKind
from lifecycle.notices.texts import notice_of
from sandbox.build import ROOT

HASH = "ab" * 32
APPROVAL = {
    "approval": HASH,
    "would_do": "delete of the process 'Onboarding'",
    "org_id": "acme",
    "asked_by": "ada",
    "needed": "2",
    "given": "1",
    "deadline": "2026-06-04T09:00:00Z",
}
SWEEP = {
    "org_id": "acme",
    "plan": HASH,
    "mode": "apply",
    "seen": "120",
    "due": "12",
    "sent": "12",
    "stopped_by": "",
    "by_reason": json.dumps({"too young": 80, "on hold": 20, "warned": 8}),
}
DEAD = {
    "dead_lettered": True,
    "action": "archive",
    "resource": "run",
    "id": "1f" * 16,
    "code": "unavailable",
    "reason": "Tallyfy answered 500 six times.",
}
TYPES = sorted(set(re.findall(r"`(lifecycle\.[a-z._]+)`", (ROOT / "docs" / "events.md").read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("event", "detail", "kind", "says"),
    [
        ("lifecycle.approval.asked", APPROVAL, NoticeKind.APPROVAL, "delete of the process 'Onboarding' waits"),
        ("lifecycle.approval.reminded", APPROVAL, NoticeKind.APPROVAL, "Half of the time is over"),
        ("lifecycle.approval.expired", APPROVAL, NoticeKind.APPROVAL, "expired. Nothing was done"),
        ("lifecycle.sweep.finished", SWEEP, NoticeKind.PLAN, "12 of 120 things are due"),
        ("lifecycle.plan.applied", SWEEP, NoticeKind.PLAN, "was applied: 12 commands were sent"),
        ("lifecycle.plan.reverted", SWEEP, NoticeKind.PLAN, "was undone"),
        ("lifecycle.command.dead_lettered", DEAD, NoticeKind.DEAD_LETTER, "archive of run"),
        (
            "lifecycle.command.poison",
            {"dead_lettered": True, "code": "poison"},
            NoticeKind.DEAD_LETTER,
            "A message failed",
        ),
        (
            "lifecycle.digest",
            {"total": "3", "oldest": "5"},
            NoticeKind.DIGEST,
            "3 dead letters wait, the oldest for 5",
        ),
        ("lifecycle.preflight.failed", {"org_id": "acme", "reason": "The token is dead."}, NoticeKind.TROUBLE, "acme"),
    ],
)
def test_an_event_that_people_hear_of_has_a_notice(
    event: str, detail: Mapping[str, object], kind: NoticeKind, says: str
) -> None:
    notice = notice_of(event, detail, stack="prod")
    assert notice is not None
    assert (notice.kind, says in notice.text) == (kind, True), notice.text


def test_the_command_to_type_names_the_stack_and_the_whole_hash() -> None:
    notice = notice_of("lifecycle.approval.asked", APPROVAL, stack="prod")
    assert notice is not None
    assert notice.approval == HASH
    assert f"At the terminal: lifecycle approve {HASH} --stack prod" in notice.lines


def test_the_plan_of_the_night_shows_a_bar_for_each_reason_to_keep() -> None:
    notice = notice_of("lifecycle.sweep.finished", SWEEP, stack="prod")
    assert notice is not None
    bars = [line for line in notice.lines if "kept:" in line]
    assert [line.count("█") for line in bars] == [20, 5, 2]
    assert bars[0].endswith("80 kept: too young")


def test_a_plan_that_was_stopped_says_why() -> None:
    notice = notice_of("lifecycle.sweep.finished", {**SWEEP, "stopped_by": "Over the cap of 10."}, stack="prod")
    assert notice is not None
    assert "It was not applied: Over the cap of 10." in notice.lines


def test_the_digest_of_a_day_without_dead_letters_tells_what_waits_and_what_was_planned() -> None:
    news = {"total": "0", "approvals": "1", "approvals_text": "delete of 'A'", "plans": "1", "plans_text": "12 due."}
    notice = notice_of("lifecycle.digest", news, stack="prod")
    assert notice is not None
    assert notice.text == "Today: 0 dead letters wait, 1 request waits for approval, 1 plan was made."
    assert notice.lines[:2] == ("For approval: delete of 'A'", "Plans: 12 due.")


@pytest.mark.parametrize("code", ["held", "changed", "not_found"])
def test_a_dead_letter_that_the_digest_counts_is_no_notice_of_its_own(code: str) -> None:
    assert notice_of("lifecycle.command.rejected", {**DEAD, "code": code}, stack="prod") is None


@pytest.mark.parametrize("event", ["lifecycle.command.done", "lifecycle.command.unchanged", "something.else", ""])
def test_an_event_for_programs_is_no_notice(event: str) -> None:
    assert notice_of(event, DEAD, stack="prod") is None


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text(), max_size=2))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*TYPES, "junk"]), st.dictionaries(st.sampled_from([*APPROVAL, *SWEEP, *DEAD]), anything))
def test_no_event_breaks_the_words(event: str, detail: Mapping[str, object]) -> None:
    notice = notice_of(event, detail, stack="prod")
    for line in (notice.text, *notice.lines) if notice else ():
        assert "\n" not in line
        assert len(line) < 1500
