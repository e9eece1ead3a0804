"""Warn first: what a warning allows, what ends it, and what it promises."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Rejected
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.policy.evaluate import Decision, evaluate
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import NOBODY, WARN_FIRST, WARNED, Deliveries, WarnFirst, WarningMark
from tests.harness.builders import NOW, THING

RULE = """
zone = "Europe/Berlin"
[[rules]]
name = "completed"
resource = "process"
action = "archive"
warn_days = 7
warn = ["owner"]
[rules.when]
completed_days = 30
"""
POLICY = Policy.parse(RULE)
OWNER = frozenset({"person:ada"})


def thing(**facts: object) -> ResourceSnapshot:
    known: dict[str, object] = {
        "resource": Resource.RUN,
        "id": THING,
        "state": State.ACTIVE,
        "name": "Onboarding",
        "status": "complete",
        "created_at": NOW - timedelta(days=90),
        "completed_at": NOW - timedelta(days=60),
        "owners": frozenset({"4711"}),
    }
    return ResourceSnapshot(**{**known, **facts})  # type: ignore[arg-type]


def night(
    mark: WarningMark | None = None,
    *,
    seen: ResourceSnapshot | None = None,
    policy: Policy = POLICY,
    after: float = 0,
    begins: bool = True,
    recipients: frozenset[str] = OWNER,
    held: Mapping[str, str] | None = None,
) -> tuple[Decision, WarningMark | None]:
    """What a sweep so many days later decides, and the mark that it leaves."""
    now = NOW + timedelta(days=after)
    found = seen or thing()
    sweep = WarnFirst(
        policy=policy,
        sweep_id=f"sweep-{after}",
        now=now,
        recipients=lambda _rule, _thing: recipients,
        marks={mark.key: mark} if mark else {},
        begins=begins,
    )
    return sweep.decide(found, evaluate(found, policy, Holds(held or {}, frozenset()), now))


def warned(after: float = 0, **changes: object) -> WarningMark:
    """A mark whose people got the warning so many days after ``NOW``."""
    _, mark = night(**changes)  # type: ignore[arg-type]
    assert mark is not None
    return mark.with_deliveries(Deliveries(told=dict.fromkeys(mark.pending, millis(NOW + timedelta(days=after)))))


def test_a_thing_that_is_due_for_the_first_time_is_marked_and_kept() -> None:
    decision, mark = night()
    assert (decision.action, decision.kind, decision.rule) == (None, WARN_FIRST, "completed")
    assert "warned first, 7 days before anything happens" in decision.reason
    assert mark is not None
    assert (mark.pending, mark.days, mark.sweep_id) == (OWNER, 7, "sweep-0")


def test_a_delivered_warning_keeps_the_thing_until_the_promised_moment() -> None:
    mark = warned(after=0.5)
    decision, kept = night(mark, after=7.49)
    assert (decision.action, decision.kind, kept) == (None, WARNED, mark)
    assert "nothing happens before 2026-06-09 02:00 (Europe/Berlin)" in decision.reason, decision.reason
    decision, _ = night(mark, after=7.5)
    assert decision.action is Action.ARCHIVE
    assert "Its people were warned 7 days ago or earlier." in decision.reason


def test_a_warning_that_was_not_delivered_allows_nothing_however_old_it_is() -> None:
    _, mark = night()
    decision, again = night(mark, after=300)
    assert (decision.action, decision.kind) == (None, WARN_FIRST)
    assert again is not None
    assert again.sweep_id == "sweep-300"


def test_whoever_has_the_warning_is_not_told_again_while_another_recipient_waits_for_it() -> None:
    both = frozenset({"person:ada", "channel:ops"})
    _, mark = night(recipients=both)
    assert mark is not None
    mark = mark.with_deliveries(Deliveries(told={"person:ada": millis(NOW)}))
    _, again = night(mark, after=1, recipients=both)
    assert again is not None
    assert (again.pending, again.told) == (frozenset({"channel:ops"}), frozenset({"person:ada"}))
    last = again.with_deliveries(Deliveries(told={"channel:ops": millis(NOW + timedelta(days=1))}))
    assert night(last, after=7.5, recipients=both)[0].action is None
    assert night(last, after=8, recipients=both)[0].action is Action.ARCHIVE


def test_a_thing_of_which_nobody_can_be_warned_is_kept_and_says_so() -> None:
    decision, _ = night(recipients=frozenset())
    assert (decision.action, decision.kind) == (None, NOBODY)
    assert "notices.toml names no channel for warnings" in decision.reason


@pytest.mark.parametrize(
    "changed",
    [
        {"completed_at": NOW - timedelta(days=45)},
        {"owners": frozenset({"4711", "12"})},
    ],
    ids=["completed again", "another owner"],
)
def test_a_fact_that_the_rule_looks_at_needs_a_new_warning(changed: Mapping[str, object]) -> None:
    decision, mark = night(warned(), seen=thing(**changed), after=8)
    assert (decision.action, decision.kind) == (None, WARN_FIRST)
    assert mark is not None
    assert mark.told == frozenset()


def test_a_fact_that_the_rule_does_not_look_at_changes_nothing() -> None:
    renamed = thing(name="Onboarding of Bo", tags=frozenset({"new"}), last_updated=NOW)
    assert night(warned(), seen=renamed, after=8)[0].action is Action.ARCHIVE


def test_a_hold_ends_the_mark_and_its_removal_needs_a_new_warning() -> None:
    mark = warned()
    _, left = night(mark, after=8, held={f"run#{THING}": "an audit"})
    assert left is None
    assert night(left, after=9)[0].kind == WARN_FIRST


def test_a_promise_outlives_its_mark_and_the_rule_that_made_it() -> None:
    mark = warned()
    _, left = night(mark, after=1, held={f"run#{THING}": "an audit"})
    assert left is not None
    silent = Policy.parse(RULE.replace("warn_days = 7", "").replace('warn = ["owner"]', ""))
    decision, _ = night(left, after=6, policy=silent)
    assert (decision.action, decision.kind) == (None, WARNED)
    assert night(left, after=7, policy=silent)[0].action is Action.ARCHIVE


def test_an_edit_elsewhere_in_the_policy_leaves_the_mark() -> None:
    other = Policy.parse(RULE.replace("Europe/Berlin", "UTC").replace('name = "completed"', 'name = "done"'))
    assert night(warned(), policy=other, after=8)[0].action is Action.ARCHIVE


@pytest.mark.parametrize(("days", "acts_after"), [(2, 7), (7, 7), (30, 30)])
def test_more_days_count_at_once_and_fewer_days_only_for_new_warnings(days: int, acts_after: int) -> None:
    edited = Policy.parse(RULE.replace("warn_days = 7", f"warn_days = {days}"))
    assert night(warned(), policy=edited, after=acts_after - 0.1)[0].action is None
    assert night(warned(), policy=edited, after=acts_after)[0].action is Action.ARCHIVE


def test_other_conditions_need_a_new_warning() -> None:
    edited = Policy.parse(RULE.replace("completed_days = 30", "completed_days = 31"))
    assert night(warned(), policy=edited, after=8)[0].kind == WARN_FIRST


def test_a_sweep_that_only_reports_makes_no_mark_and_ends_none() -> None:
    decision, mark = night(begins=False)
    assert (decision.kind, mark) == (WARN_FIRST, None)
    pending = night()[1]
    assert pending is not None
    assert night(pending, after=1, begins=False)[1] == pending
    assert night(warned(), after=8, begins=False)[0].action is Action.ARCHIVE


def test_the_mark_of_a_thing_that_was_not_seen_stays() -> None:
    mark = warned()
    sweep = WarnFirst(policy=POLICY, sweep_id="s", now=NOW, marks={mark.key: mark})
    assert list(sweep.rest()) == [mark]


def test_a_clock_that_was_set_back_makes_nothing_due() -> None:
    assert night(warned(after=3), after=0)[0].action is None


def test_one_day_is_written_as_one_day() -> None:
    daily = Policy.parse(RULE.replace("warn_days = 7", "warn_days = 1"))
    assert "1 day before" in night(policy=daily)[0].reason


def test_a_thing_without_a_warning_rule_is_left_as_it_was_decided() -> None:
    silent = Policy.parse(RULE.replace("warn_days = 7", "").replace('warn = ["owner"]', ""))
    decision, mark = night(policy=silent)
    assert (decision.action, mark) == (Action.ARCHIVE, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("warn_days = 7", "warn_days and warn go together"),
        ('warn = ["owner"]', "warn_days and warn go together"),
        ('warn_days = 0\nwarn = ["owner"]', "warn_days"),
        ('warn_days = 366\nwarn = ["owner"]', "warn_days"),
        ("warn_days = 7\nwarn = []", "name at least one"),
        ('warn_days = 7\nwarn = ["everybody"]', "warn"),
    ],
)
def test_a_warning_that_makes_no_sense_is_refused(text: str, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        Policy.parse(RULE.replace('warn_days = 7\nwarn = ["owner"]', text))


def test_a_rule_that_keeps_warns_nobody() -> None:
    with pytest.raises(Rejected, match="a rule that keeps has none of"):
        Policy.parse(RULE.replace('action = "archive"', 'action = "keep"'))


def test_the_order_of_the_audience_does_not_change_the_digest() -> None:
    one, two = (RULE.replace('["owner"]', names) for names in ('["owner", "channel"]', '["channel", "owner"]'))
    assert Policy.parse(one).digest == Policy.parse(two).digest
    assert Policy.from_json(Policy.parse(one).to_json()) == Policy.parse(one)


def test_the_promise_of_a_mark_is_never_moved_earlier_by_a_late_delivery() -> None:
    mark = replace(warned(after=5), pending=frozenset({"channel:ops"}))
    later: datetime = NOW + timedelta(days=1)
    assert mark.with_deliveries(Deliveries(told={"channel:ops": millis(later)})).not_before == mark.not_before


def test_a_message_that_may_have_arrived_is_a_promise_but_no_delivery() -> None:
    _, mark = night()
    assert mark is not None
    doubtful = mark.with_deliveries(Deliveries(tried={"person:ada": millis(NOW)}))
    assert (doubtful.is_warned, doubtful.pending) == (False, OWNER)
    assert doubtful.not_before == millis(NOW + timedelta(days=7))


def test_a_new_warning_with_fewer_days_does_not_shorten_the_promise_of_an_older_one() -> None:
    shorter = Policy.parse(RULE.replace("completed_days = 30", "completed_days = 31").replace("days = 7", "days = 1"))
    _, again = night(warned(), policy=shorter, after=1)
    assert again is not None
    mark = again.with_deliveries(Deliveries(told=dict.fromkeys(OWNER, millis(NOW + timedelta(days=1)))))
    assert night(mark, policy=shorter, after=6.9)[0].action is None
    assert night(mark, policy=shorter, after=7)[0].action is Action.ARCHIVE
