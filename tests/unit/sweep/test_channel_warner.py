"""Warnings in channels: who gets them, and what they show."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lifecycle.approvals.people import People
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.notices.file import Notices
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import WarningMark
from lifecycle.sweep.channel_warner import ChannelWarner
from lifecycle.sweep.warn_job import WarningNotice
from tests.harness.builders import NOW, ORG, THING, bodies

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
NOTICES = '[channels.operations]\ntool = "slack"\n[tell]\nwarning = ["operations"]'
PEOPLE = '[people.ada]\nslack = "T012ABCDE/U034FGHIJ"\nmay = ["run.archive"]\ntallyfy = 4711'
PROCESS = ResourceSnapshot(resource=Resource.RUN, id=THING, state=State.ACTIVE, owners=frozenset({"4711", "12"}))


def warner(rule: str = RULE, notices: str = NOTICES) -> ChannelWarner:
    return ChannelWarner(Notices.parse(notices), People.parse(PEOPLE), Policy.parse(rule), MemoryQueue(lambda: NOW))


@pytest.mark.parametrize(
    ("audience", "owners", "told"),
    [
        ('["owner"]', {"4711", "12"}, {"operations/owner/4711", "operations/owner/12"}),
        ('["channel"]', {"4711"}, {"operations/all"}),
        ('["owner", "channel"]', {"4711"}, {"operations/owner/4711", "operations/all"}),
        ('["owner"]', set(), {"operations/all"}),
        ('["owner"]', None, {"operations/all"}),
    ],
)
def test_each_owner_is_warned_and_a_resource_without_an_owner_warns_the_channel(
    audience: str, owners: set[str] | None, told: set[str]
) -> None:
    way = warner(RULE.replace('["owner"]', audience))
    thing = replace(PROCESS, owners=None if owners is None else frozenset(owners))
    assert way.recipients(ORG, way.policy.rules[0], thing) == told


def test_a_warning_for_a_channel_that_a_deployment_removed_is_left_to_the_next_sweep() -> None:
    way = warner(notices="")
    way.warn("operations/owner/4711", notice(1))
    assert isinstance(way.queue, MemoryQueue)
    assert bodies(way.queue) == []


def test_without_a_channel_for_warnings_there_are_no_recipients() -> None:
    way = warner(notices="")
    assert way.recipients(ORG, way.policy.rules[0], PROCESS) == frozenset()


def notice(count: int) -> WarningNotice:
    marks = [
        WarningMark(
            resource=Resource.RUN,
            id=f"{number:032x}",
            name=f"Onboarding `{number}`",
            rule="completed",
            sweep_id="2026-06-01T04:10:00Z",
            days=7,
        )
        for number in range(1, min(count, 20) + 1)
    ]
    moment = datetime(2026, 6, 8, 23, 30, tzinfo=UTC)
    return WarningNotice(
        org_id=ORG, plan="ab" * 32, sweep_id="2026-06-01T04:10:00Z", not_before=moment, things=tuple(marks), count=count
    )


def sent(count: int, recipient: str = "operations/owner/4711") -> dict[str, object]:
    way = warner()
    way.warn(recipient, notice(count))
    assert isinstance(way.queue, MemoryQueue)
    [body] = bodies(way.queue)
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


def test_a_warning_names_the_person_the_number_and_the_day_in_the_zone_of_the_policy() -> None:
    job = sent(12)
    assert job["to"] == "slack:@operations"
    assert job["answer"]["text"] == (  # type: ignore[index]
        "12 things of ada will be cleaned up, not before 2026-06-09 (Europe/Berlin)."
    )


def test_an_owner_who_is_not_in_people_toml_is_named_by_number() -> None:
    assert "of Tallyfy user 12 will" in str(sent(1, "operations/owner/12")["answer"])


def test_the_first_things_can_be_kept_by_a_button_and_the_rest_is_listed_and_counted() -> None:
    answer = sent(30)["answer"]
    sections = answer["sections"]  # type: ignore[index]
    buttons = [button for section in sections for button in section["buttons"]]
    assert [(button["kind"], button["label"]) for button in buttons] == [("hold", "Keep")] * 5
    assert buttons[0]["value"] == f"run:{1:032x}:2026-06-01T04:10:00Z"
    assert sections[5]["lines"][-1] == "… and 10 more."
    assert len(sections[5]["lines"]) == 16


def test_a_name_from_tallyfy_cannot_end_the_text_around_it() -> None:
    assert "`1`" not in str(sent(1)["answer"])
