"""Warns people in the channels of ``notices.toml``, one message for each owner."""

import json
from dataclasses import dataclass
from typing import Final

from lifecycle.approvals.people import People
from lifecycle.aws.sqs import Queue
from lifecycle.domain.capabilities import Action, capability
from lifecycle.domain.messages import Answer, Button, ButtonKind, Section, quoted
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.notices.file import NoticeKind, Notices
from lifecycle.policy.policy import Audience, Policy, Rule
from lifecycle.policy.warnings import WarningMark
from lifecycle.sweep.warn_job import WarningNotice

_BUTTONS = 5
"""The number of resources with a button that puts them on hold. The others are only listed."""
_OWNER: Final = "owner"
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class ChannelWarner:
    """See ``warn_job.Warner``. A recipient is ``<channel>/owner/<user id>`` or ``<channel>/all``."""

    notices: Notices
    people: People
    policy: Policy
    queue: Queue

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:  # noqa: ARG002 - see Warner
        """See ``Warner``. A resource without an owner warns the whole channel."""
        channels = self.notices.channels_for(NoticeKind.WARNING)
        owners = sorted(thing.owners or ()) if Audience.OWNER in (rule.warn or ()) else []
        names = {f"{_OWNER}/{owner}" for owner in owners}
        if Audience.CHANNEL in (rule.warn or ()) or not names:
            names.add(_ALL)
        return frozenset(f"{channel}/{name}" for channel in channels for name in names)

    def warn(self, recipient: str, notice: WarningNotice) -> None:
        """See ``Warner``. A channel that a deployment removed gets nothing: the next sweep names other recipients."""
        channel, _, name = recipient.partition("/")
        if channel not in self.notices.channels:
            return
        job = {
            "job": "warning",
            "to": f"{self.notices.channels[channel].tool}:@{channel}",
            "org_id": notice.org_id,
            "plan": notice.plan,
            "sweep_id": notice.sweep_id,
            "recipient": recipient,
            "answer": json.loads(self._answer(name, notice).to_json()),
        }
        self.queue.send(json.dumps(job))

    def _answer(self, name: str, notice: WarningNotice) -> Answer:
        whose = "" if name == _ALL else f" of {quoted(self._person(name.removeprefix(f'{_OWNER}/')))}"
        count = "1 thing" if notice.count == 1 else f"{notice.count} things"
        day = notice.not_before.astimezone(self.policy.zone)
        text = f"{count}{whose} will be cleaned up, not before {day:%Y-%m-%d} ({self.policy.zone.key})."
        sections = [self._section(mark) for mark in notice.things[:_BUTTONS]]
        listed = tuple(quoted(self._line(mark)) for mark in notice.things[_BUTTONS:])
        more = notice.count - len(notice.things)
        lines = (*listed, *([f"… and {more} more."] if more else ()))
        if lines:
            sections.append(Section(lines=lines))
        sections.append(Section(text=f"All of them: `lifecycle report {notice.plan}`"))
        return Answer(text=text, sections=tuple(sections))

    def _section(self, mark: WarningMark) -> Section:
        keep = Button(
            kind=ButtonKind.HOLD,
            label="Keep",
            value=f"{mark.resource}:{mark.id}:{mark.sweep_id}"[:200],
            typed=f"hold {mark.resource} {mark.id}",
        )
        return Section(lines=(quoted(self._line(mark)),), buttons=(keep,))

    def _line(self, mark: WarningMark) -> str:
        rule = next((rule for rule in self.policy.acting if rule.name == mark.rule), None)
        doing = capability(mark.resource, rule.capability.action if rule else Action.ARCHIVE)
        return f"{doing.action}: {mark.resource.label} “{mark.name or mark.id}”, by rule {mark.rule}"

    def _person(self, user: str) -> str:
        found = next((name for name, one in self.people.people.items() if str(one.tallyfy) == user), None)
        return found or f"Tallyfy user {user}"
