"""Records approvals and refusals of people whom a channel has identified."""

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
_GONE = "This request is no longer stored, so nothing was recorded. List the open requests again."


class CommandLedger(Protocol):
    """What this service needs of the ledger."""

    def find(self, intent_id: str) -> IntentRow | None:
        """The ledger entry of an intent; ``None`` if there is none yet."""

    def fence(self, intent_id: str) -> list[Put]:
        """The unchanged row of the intent, for our transaction: it fails if a worker starts the call."""


class KeepReasons(Protocol):
    """Finds what stops a command or a plan that waits for approval."""

    def reason_to_keep(self, intent: IntentRow, thing: ResourceSnapshot) -> str | None:
        """Why a restore or a hold stops a waiting intent, as a sentence; ``None`` if nothing stops it."""

    def plan_reverted_by(self, org_id: str, plan: str) -> str | None:
        """Who reverted a plan; ``None`` if nobody did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalService:
    """Approves and refuses requests. An approved request is sent on as a message: a command, or the job of a plan."""

    approvals: ApprovalStore
    ledger: CommandLedger
    keep_reasons: KeepReasons
    purge: Queue
    sweeps: Queue
    org_ids: frozenset[str]
    metrics: Metrics
    clock: Callable[[], datetime]

    def waiting(self, person: Person) -> list[ApprovalRequest]:
        """The requests that this person may approve or refuse now, oldest first, own requests included."""
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
        """Count one person's approval; the last one sends the message. Raises ``Rejected`` if it must not count.

        Repeating an approval sends the message again, because it may have been lost the first time.
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
            raise Rejected(Code.UNKNOWN_APPROVAL, _GONE)
        if after.stands(now) is ApprovalStatus.APPROVED and not over:
            self._go_on(after)
        self.metrics.emit(Metric.APPROVED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def withdraw(self, name: str, who: str, person: Person) -> ApprovalRequest:
        """Withdraw this person's approval. Raises ``Rejected`` if there is none, or if the call is being made."""
        known = self._newest(name, person)
        after = self.approvals.change(
            known.org_id,
            name,
            lambda request: rules.withdraw_approval(request, who, person.identities),
            fence=lambda: self._fence(known),
        )
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, _GONE)
        self._go_on(after)  # The command runs again, so that it waits and names the missing approvals.
        self.metrics.emit(Metric.APPROVAL_WITHDRAWN, {"approval": name, "by": who, "subject": after.subject})
        return after

    def reject(self, name: str, who: str, person: Person, why: str) -> ApprovalRequest:
        """End a request for good, approved or not. Raises ``Rejected`` if it has ended, or its call is being made."""
        known = self._newest(name, person)
        now, reason = millis(self.clock()), one_line(why, most=200) if why.strip() else ""
        after = self.approvals.change(
            known.org_id,
            name,
            lambda request: rules.reject(request, who, reason, now),
            fence=lambda: self._fence(known),
        )
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, _GONE)
        self._go_on(after)  # The command runs again, so that its intent ends with the reason.
        self.metrics.emit(Metric.APPROVAL_REJECTED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def _newest(self, name: str, person: Person) -> ApprovalRequest:
        """Find a request to approve or refuse. Raises ``Rejected`` if its subject has a newer request."""
        known = self.find(name, person)
        newest = self.approvals.newest(known.org_id, known.subject)
        if newest is None or newest.hash != name:
            now = f" Look at {newest.hash}." if newest else ""
            raise Rejected(
                Code.UNKNOWN_APPROVAL, f"What this request asks for has changed, so the request no longer counts.{now}"
            )
        return known

    def _fence(self, request: ApprovalRequest) -> list[Put]:
        """Prevents the call while the change is recorded. The commands of a plan read the request themselves."""
        return [] if request.about == About.PLAN else self.ledger.fence(request.subject)

    def _over(self, request: ApprovalRequest) -> str:
        """Why the request can no longer have an effect, as a sentence; empty if it can."""
        if request.about == About.PLAN:
            by = self.keep_reasons.plan_reverted_by(request.org_id, request.subject)
            return f"{by} reverted the plan." if by else ""
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
    """The resource as approvers saw it. Facts that they did not see are unknown, so holds apply."""
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
    """The capabilities of a request. If this release does not know one of them, nobody may approve it."""
    known = frozenset(_BY_NAME[name] for name in request.capabilities if name in _BY_NAME)
    return known if len(known) == len(set(request.capabilities)) else frozenset()
