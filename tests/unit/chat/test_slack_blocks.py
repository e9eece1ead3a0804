"""What Slack shows: all of what is approved, within Slack's limits, and nothing that others could make of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.approvals.rules import About, ApprovalRequest
from lifecycle.chat import wording
from lifecycle.chat.slack.blocks import MOST_CHARACTERS, MOST_TEXT, Block, SlackAnswer
from lifecycle.chat.slack.blocks import shown as shown_by_slack
from lifecycle.domain.clock import millis
from lifecycle.domain.messages import Answer, Section, outcome
from tests.harness.builders import NOW, ORG, THING, wanted

AT = millis(NOW)


def rendered(requests: list[ApprovalRequest], who: str, now: int) -> SlackAnswer:
    """What waits for a person, as Slack shows it."""
    return shown_by_slack(wording.waiting(requests, who, now))


def texts(found: object) -> Iterator[Block]:
    """Every text object in it."""
    if isinstance(found, dict):
        if found.get("type") in {"mrkdwn", "plain_text"}:
            yield found
        for value in found.values():
            yield from texts(value)
    if isinstance(found, list | tuple):
        for value in found:
            yield from texts(value)


def lines(message: SlackAnswer) -> list[str]:
    return [line for text in texts(message["blocks"]) for line in str(text["text"]).splitlines()]


def buttons(message: SlackAnswer) -> list[Block]:
    rows = [cast("list[Block]", block["elements"]) for block in message.get("blocks", []) if block["type"] == "actions"]
    return [button for row in rows for button in row]


def plan(**changes: object) -> ApprovalRequest:
    rules = [
        {"name": "done", "resource": "run", "action": "archive", "irreversible": False, "considered": 40, "due": 12},
        {"name": "idle", "resource": "tag", "action": "delete", "irreversible": True, "considered": 9, "due": 0},
        {"name": "old", "resource": "run", "action": "delete", "irreversible": True, "considered": 9, "due": 3},
    ]
    shown: dict[str, object] = {
        "hash": "ab" * 32,
        "org_id": ORG,
        "org_name": "Acme",
        "made_at": "2026-06-01T04:10:00Z",
        "rules": rules,
    }
    shown |= {"seen": 49, "due": 15, "kept": 34, "failed": 0}
    made = wanted(about=About.PLAN, hash="ab" * 32, subject="ab" * 32, needed=2, capabilities=("run.delete",))
    return replace(made, shown=json.dumps({**shown, **changes}))


def test_a_preview_holds_all_that_is_approved() -> None:
    asked = wanted(needed=2, approved_by=("linus",))
    shown = rendered([asked], "grace", AT)
    assert lines(shown)[1:13] == [
        f"Delete process `{asked.hash[:12]}`",
        "Process: Onboard Initech",
        f"Id: {THING}, organization {ORG}",
        f"Template: {'7e' * 16}",
        "Owners: 4711, 4712",
        "Status: archived",
        "Archived: 2026-04-22T12:00:00+00:00 (40 days ago)",
        "Tasks: 12; comments: 3",
        "Why: The customer left.",
        "Nothing brings it back. Its export, made before, is evidence and no undo.",
        "Asked for by ada, 2026-06-01 12:00 UTC",
        "Approved: 1 of 2 (by linus); expires 2026-06-04 12:00 UTC",
    ]


def test_what_tallyfy_did_not_say_is_not_shown_as_nothing() -> None:
    facts = json.loads(wanted().shown)
    unknown = wanted(shown=json.dumps({**facts, "owners": None, "tasks": None, "archived_at": None, "tags": ["a"]}))
    said = lines(rendered([unknown], "grace", AT))
    assert "Owners: Tallyfy did not say" in said
    assert "Tasks: Tallyfy did not say; comments: 3" in said
    assert "Archived: Tallyfy did not say" in said
    assert "Tags: a" in said
    none = wanted(shown=json.dumps({**facts, "owners": []}))
    assert "Owners: none" in lines(rendered([none], "grace", AT))


def test_an_open_problem_is_shown() -> None:
    facts = json.loads(wanted().shown)
    troubled = wanted(shown=json.dumps({**facts, "has_open_issue": True}))
    assert not any("open problem" in line for line in lines(rendered([wanted()], "grace", AT)))
    assert any("open problem" in line for line in lines(rendered([troubled], "grace", AT)))


def test_a_plan_is_shown_by_its_rules_and_what_cannot_be_undone() -> None:
    shown = rendered([plan()], "grace", AT)
    assert lines(shown)[1:10] == [
        f"What cannot be undone in a plan `{('ab' * 32)[:12]}`",
        f"Plan: {'ab' * 32}",
        f"Organization: Acme ({ORG})",
        "Made: 2026-06-01T04:10:00Z; seen 49, due 15, kept 34, failed 0",
        "Rule old: delete process, 3 due. CANNOT BE UNDONE",
        "Rule done: archive process, 12 due.",
        "Cannot be undone: delete process × 3. Its export, made before, is evidence and no undo.",
        f"Its report: lifecycle report {'ab' * 32}",
        "Asked for by ada, 2026-06-01 12:00 UTC",
    ]
    confirm = cast("dict[str, Block]", buttons(shown)[0]["confirm"])
    assert str(confirm["text"]["text"]).startswith("It approves: delete process × 3. Nothing brings that back")


def test_rules_that_cannot_be_undone_are_shown_before_all_others() -> None:
    rule = {"name": "x", "resource": "run", "action": "archive", "irreversible": False, "due": 1}
    many = [{**rule, "name": f"r{n}"} for n in range(40)]
    last = {**rule, "name": "last", "action": "delete", "irreversible": True}
    said = lines(rendered([plan(rules=[*many, last])], "grace", AT))
    assert "Rule last: delete process, 1 due. CANNOT BE UNDONE" in said
    assert "… and 21 rules more, in the report." in said


def test_each_button_names_the_whole_hash_and_asks_again() -> None:
    asked = wanted()
    approve, reject = buttons(rendered([asked], "grace", AT))
    assert (approve["action_id"], approve["value"], approve["style"]) == ("approve", asked.hash, "danger")
    assert (reject["action_id"], reject["value"]) == ("reject", asked.hash)
    sure = cast("dict[str, Block]", approve["confirm"])
    assert "Onboard Initech" in str(sure["text"]["text"])
    assert asked.hash[:12] in str(sure["title"]["text"])
    assert "confirm" in reject


@pytest.mark.parametrize(
    ("changes", "who", "said"),
    [
        ({}, "ada", "You requested this yourself"),
        ({"approved_by": ("grace",), "needed": 2}, "grace", "You have approved it."),
        ({"shown": "{"}, "grace", "cannot be shown here"),
        ({"shown": "[]"}, "grace", "cannot be shown here"),
        ({"shown": "[" * 100_000}, "grace", "cannot be shown here"),
    ],
)
def test_what_must_not_be_approved_has_no_button_for_it(changes: dict[str, object], who: str, said: str) -> None:
    shown = rendered([wanted(**changes)], who, AT)
    assert [button["action_id"] for button in buttons(shown)] == ["reject"]
    assert any(said in line for line in lines(shown))


EVIL = "<https://evil.example|Approve>\n*Tasks: 0* `x` <!channel> \u202etxet &amp;"


def test_what_others_wrote_is_never_read_as_marks() -> None:
    facts = json.loads(wanted().shown)
    evil = wanted(asked_by=EVIL, shown=json.dumps({**facts, "title": EVIL, "reason": EVIL, "owners": [EVIL]}))
    shown = rendered([evil, plan(org_name=EVIL)], "grace", AT)
    marked = [str(text["text"]) for text in texts(shown["blocks"]) if text["type"] == "mrkdwn"]
    assert not any("evil" in text or "channel" in text for text in [*marked, shown["text"]])
    assert not any(line.startswith(("*Tasks", "Tasks: 0")) for line in lines(shown))
    assert "\u202e" not in str(lines(shown))
    assert all(text["emoji"] is False for text in texts(shown["blocks"]) if text["type"] == "plain_text")


def assert_within_limits(message: SlackAnswer) -> None:
    assert 0 < len(message["blocks"]) <= 50
    assert len(json.dumps(message["blocks"], ensure_ascii=False)) < MOST_CHARACTERS + 1000
    for text in texts(message["blocks"]):
        assert 0 < len(str(text["text"])) <= MOST_TEXT
    for button in buttons(message):
        assert 0 < len(str(button["value"])) <= 2000
        confirm = cast("dict[str, Block]", button.get("confirm", {}))
        for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            assert not confirm or 0 < len(str(confirm[name]["text"])) <= most


@pytest.mark.parametrize("count", [1, 2, 60])
@pytest.mark.parametrize("length", [1, 300, 5000])
def test_a_message_stays_within_what_slack_allows_and_counts_the_rest(count: int, length: int) -> None:
    facts = json.loads(wanted().shown)
    shown = json.dumps({**facts, "title": "ü" * length, "reason": "x" * length, "owners": ["y" * length] * 9})
    message = rendered([wanted(shown=shown)] * count, "grace", AT)
    assert_within_limits(message)
    shown_here = sum(button["action_id"] == "approve" for button in buttons(message))
    assert shown_here >= 1
    if shown_here < count:
        assert lines(message)[-1] == f"… and {count - shown_here} more."


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)
KEYS = st.sampled_from([*json.loads(wanted().shown), *json.loads(plan().shown)])


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from(About), st.sampled_from(["run.delete", "x", ""]))
def test_whatever_is_kept_is_shown(facts: dict[str, object], about: About, doing: str) -> None:
    base = wanted() if about is About.COMMAND else plan()
    kept = json.dumps({**json.loads(base.shown), **facts})
    capabilities = (doing,) if doing else ()
    assert_within_limits(rendered([replace(base, shown=kept, capabilities=capabilities)], "grace", AT))


def test_a_long_result_still_has_its_button() -> None:
    assert_within_limits(shown_by_slack(outcome("x" * 9000, "int_1")))
    assert shown_by_slack(outcome("Done.")) == {"response_type": "ephemeral", "text": "Done."}


def test_our_own_wording_is_escaped_because_names_stand_in_it() -> None:
    answer = Answer(text="`<!channel>` & <https://evil.example|x>", sections=(Section(text="<!here>"),))
    seen = str(shown_by_slack(answer))
    assert "<" not in seen
    assert "&lt;!channel&gt;" in seen


@pytest.mark.parametrize("day", [(NOW + timedelta(days=2)).isoformat(), "2026-01-02T00:00:00", "some day"])
def test_a_day_from_which_none_can_be_counted_is_shown_as_it_is(day: str) -> None:
    facts = json.loads(wanted().shown)
    shown = rendered([wanted(shown=json.dumps({**facts, "archived_at": day}))], "grace", AT)
    assert f"Archived: {day}" in lines(shown)


def test_who_is_asked_again_is_told_all_of_it_however_long_a_title_is() -> None:
    facts = json.loads(wanted().shown)
    shown = rendered([wanted(shown=json.dumps({**facts, "title": "x" * 5000}))], "grace", AT)
    sure = cast("dict[str, Block]", buttons(shown)[0]["confirm"])
    assert str(sure["text"]["text"]).endswith("Nothing brings it back; its export is evidence and no undo.")


def test_a_plan_of_many_rules_stays_within_the_limits() -> None:
    rule = {"resource": "run", "action": "delete", "irreversible": True, "due": 1}
    assert_within_limits(rendered([plan(rules=[{**rule, "name": f"r{n}" * 20} for n in range(200)])], "grace", AT))
