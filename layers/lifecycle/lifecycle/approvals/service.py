"""A person approves or refuses what cannot be undone. Who they are, the channel has proved."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lifecycle.approvals import rules
from lifecycle.approvals.people import Person
from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import Put
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.domain.capabilities import TABLE, Capability, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import one_line
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import OPEN, IntentRow
from lifecycle.domain.resources import ResourceSnapshot

_BY_NAME = {doing.name: doing for doing in TABLE}


class CommandLedger(Protocol):
    """What the ledger tells of the command that a request is about."""

    def find(self, intent_id: str) -> IntentRow | None:
        """The story of one intent, if it has one yet."""

    def fence(self, intent_id: str) -> list[Put]:
        """The intent's row, unchanged, for our transaction: with it no call can begin in between."""


class KeepReasons(Protocol):
    """What can stop a command or a plan that waits for approval."""

    def reason_to_keep(self, intent: IntentRow, thing: ResourceSnapshot) -> str | None:
        """Why a restore or a hold stops a waiting intent, as a sentence; ``None`` if nothing stops it."""

    def plan_reverted_by(self, org_id: str, plan: str) -> str | None:
        """Who reverted a plan; ``None`` if nobody did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalService:
    """Everything an approval passes. What was approved goes on as a message: a command, or a plan's job."""

    approvals: ApprovalStore
    ledger: CommandLedger
    keep_reasons: KeepReasons
    purge: Queue
    sweeps: Queue
    org_ids: frozenset[str]
    metrics: Metrics
    clock: Callable[[], datetime]

    def waiting(self, person: Person) -> list[ApprovalRequest]:
        """What this person may approve or refuse now, the oldest first; their own requests are among it."""
        return [
            request
            for org_id in sorted(self.org_ids)
            for request in self.approvals.open(org_id)
            if person.approves_of(_doings(request), org_id) and not self._over(request)
        ]

    def find(self, name: str, person: Person) -> ApprovalRequest:
        """The request of this hash, if it concerns this person. Raises ``Rejected``."""
        for org_id in sorted(self.org_ids):
            request = self.approvals.find(org_id, name)
            if request is not None and person.approves_of(_doings(request), org_id):
                return request
        raise Rejected(Code.UNKNOWN_APPROVAL, "There is no request with this hash that you may approve or refuse.")

    def approve(self, name: str, who: str, person: Person) -> ApprovalRequest:
        """Count one person's approval; with the last one it goes on. Raises ``Rejected`` where it must not count.

        An approval that is repeated sends the message again: it may have been lost with the first one.
        """
        known = self._newest(name, person)
        now, over = millis(self.clock()), self._over(known)

        def approve(request: ApprovalRequest) -> ApprovalRequest:
            given = rules.approve(request, who, now, person.identities)
            if over and given != request:
                raise Rejected(Code.UNKNOWN_APPROVAL, f"An approval would have no effect. {over}")
            return given

        after = self.approvals.change(known.org_id, name, approve)
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, "The request is gone.")
        if after.stands(now) is ApprovalStatus.APPROVED and not over:
            self._go_on(after)
        self.metrics.emit(Metric.APPROVED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def withdraw(self, name: str, who: str, person: Person) -> ApprovalRequest:
        """Take this person's approval back. Raises ``Rejected`` if there is none, or if the call is being made."""
        known = self._newest(name, person)
        after = self.approvals.change(
            known.org_id,
            name,
            lambda request: rules.withdraw_approval(request, who, person.identities),
            fence=lambda: self._fence(known),
        )
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, "The request is gone.")
        self._go_on(after)  # so that it waits again, and says for whom
        self.metrics.emit(Metric.APPROVAL_WITHDRAWN, {"approval": name, "by": who, "subject": after.subject})
        return after

    def reject(self, name: str, who: str, person: Person, why: str) -> ApprovalRequest:
        """End a request for good, approved or not. Raises ``Rejected`` if it has ended, or its call is being made."""
        known = self._newest(name, person)
        now, said = millis(self.clock()), one_line(why, most=200) if why.strip() else ""
        after = self.approvals.change(
            known.org_id,
            name,
            lambda request: rules.reject(request, who, said, now),
            fence=lambda: self._fence(known),
        )
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, "The request is gone.")
        self._go_on(after)  # so that its intent ends, with the reason
        self.metrics.emit(Metric.APPROVAL_REJECTED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def _newest(self, name: str, person: Person) -> ApprovalRequest:
        """Find a request as it is to be approved or refused: not one whose subject looks different since."""
        known = self.find(name, person)
        newest = self.approvals.newest(known.org_id, known.subject)
        if newest is None or newest.hash != name:
            now = f" Look at {newest.hash}." if newest else ""
            raise Rejected(Code.UNKNOWN_APPROVAL, f"It was changed since, so this request counts no more.{now}")
        return known

    def _fence(self, request: ApprovalRequest) -> list[Put]:
        """Nothing is called while this is recorded. The commands of a plan are many: each reads its word by itself."""
        return [] if request.about == About.PLAN else self.ledger.fence(request.subject)

    def _over(self, request: ApprovalRequest) -> str:
        """Why what was asked for can no longer happen, as a sentence; empty if it can."""
        if request.about == About.PLAN:
            by = self.keep_reasons.plan_reverted_by(request.org_id, request.subject)
            return f"{by} took the plan back." if by else ""
        intent = self.ledger.find(request.subject)
        if intent is None:
            return ""
        if intent.status not in OPEN:
            return f"The command has ended ({intent.status}): {intent.reason}"
        return self.keep_reasons.reason_to_keep(intent, _thing_of(request, intent)) or ""

    def _go_on(self, request: ApprovalRequest) -> None:
        queue = self.sweeps if request.about == About.PLAN else self.purge
        queue.send(request.message)


def _thing_of(request: ApprovalRequest, intent: IntentRow) -> ResourceSnapshot:
    """The thing as it was shown. What was not shown is not known, and holds."""
    shown = json.loads(request.shown)
    owners = shown.get("owners")
    return ResourceSnapshot(
        resource=Resource(intent.resource),
        id=intent.id,
        state=State.ARCHIVED,
        template_id=shown.get("template"),
        owners=frozenset(owners) if isinstance(owners, list) else None,
    )


def _doings(request: ApprovalRequest) -> frozenset[Capability]:
    """What would be done. If any of it is not known here, nobody may approve it."""
    known = frozenset(_BY_NAME[name] for name in request.capabilities if name in _BY_NAME)
    return known if len(known) == len(set(request.capabilities)) else frozenset()
