"""Checks every condition of a permanent delete.

Enough other people approved exactly this delete, its grace period is over, and a verified export is in the bucket.

Nothing here waits: a command whose condition does not hold is deferred. A schedule or an approval enqueues it again,
and every condition is checked again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lifecycle.approvals import rules
from lifecycle.approvals.people import People
from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.approvals.store import ApprovalStore
from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import AuditStore
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.scheduler import Schedules
from lifecycle.deletion.deferred import Deferred
from lifecycle.deletion.export_readback import verify
from lifecycle.deletion.exporter import Export, folder_of
from lifecycle.deletion.manifest import Manifest
from lifecycle.domain.capabilities import Capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import PLAN, SWEEP, Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.domain.intent import Outcome, Status, Wait
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot

_MOST_EXPORTS = 3
"""How often one attempt exports a resource if something is added to it meanwhile."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All conditions hold. ``shown`` is the approved content; ``evidence`` is JSON with the place of the export."""

    shown: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """What is needed to decide on a permanent delete."""

    approvals: ApprovalStore
    people: People
    export: Export
    trail: AuditStore
    schedules: Schedules
    bus: Bus
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def shown(self, command: Command, seen: ResourceSnapshot) -> str:
        """See ``what_would_go``."""
        return what_would_go(command, seen)

    def judge(self, command: Command, seen: ResourceSnapshot, until: datetime | None) -> Outcome | Ready:
        """Decide whether to delete now; never before ``until``. Raises ``Deferred`` if it must wait, ``Retryable``."""
        shown = what_would_go(command, seen)
        end = self.approval(command, shown)
        if end is not None:
            return end
        if until is not None:
            self._come_back("grace", until, command)
            reason = f"It is approved, and will be deleted after {_day(until)}, if nothing changes."
            raise Deferred(Code.IN_GRACE, reason, Wait(millis(until)))
        return self._exported(command, seen, shown)

    def approval(self, command: Command, shown: str) -> Outcome | None:
        """How the delete ends because it is not approved; ``None`` if enough people have approved it."""
        return self._approved_by_plan(command) if command.source == PLAN else self._approved(command, shown)

    def was_asked(self, command: Command) -> bool:
        """Whether an approval was requested, which means that the delete was possible at that time."""
        return self.approvals.newest(command.org_id, command.intent_id) is not None

    def _approved(self, command: Command, shown: str) -> Outcome | None:
        request = self.approvals.newest(command.org_id, command.intent_id)
        now = millis(self.clock())
        if request is None:
            raise self._ask(command, shown)
        match request.stands(now):
            case ApprovalStatus.APPROVED if request.shown == shown:
                return None
            case ApprovalStatus.APPROVED:
                reason = (
                    "The resource is not as it was when it was approved, so the delete is cancelled: "
                    f"{_differs(request, shown)}. "
                    "Request it again."
                )
                return Outcome(Status.REJECTED, Code.CHANGED, reason)
            case ApprovalStatus.REJECTED:
                why = f": {request.why}" if request.why else "."
                return Outcome(Status.REJECTED, Code.NOT_APPROVED, f"{request.rejected_by} rejected it{why}")
            case ApprovalStatus.EXPIRED:
                announce_request(self.bus, request, now)
                reason = (
                    f"Nobody approved it before {_day(_moment(request.deadline))}. Request it again if it is needed."
                )
                return Outcome(Status.REJECTED, Code.APPROVAL_EXPIRED, reason)
            case ApprovalStatus.OPEN if request.shown == shown:
                raise self._waiting(request, command)
            case ApprovalStatus.OPEN:
                raise self._ask(command, shown)

    def _ask(self, command: Command, shown: str) -> Deferred:
        now = self.clock()
        deadline = now + timedelta(hours=self.people.approvals.hours)
        request = self.approvals.ask(
            ApprovalRequest(
                hash=rules.name(json.loads(shown)),
                about=About.COMMAND,
                org_id=command.org_id,
                subject=command.intent_id,
                asked_by=self.people.name_of(command.requested_by),
                asked_ids=self.people.identities_of(command.requested_by),
                asked_at=millis(now),
                deadline=millis(deadline),
                needed=self.people.needed(self.people.approvals.single, command.requested_by),
                shown=shown,
                message=command.to_json(),
                capabilities=(command.capability.name,),
            )
        )
        return self._waiting(request, command)

    def _waiting(self, request: ApprovalRequest, command: Command) -> Deferred:
        """Schedule and announce an open request. Each attempt repeats this: an earlier one may have been cut off."""
        # The command comes back at half time to remind people, and at the deadline to report that nobody decided.
        now = millis(self.clock())
        why, at = ("expire", request.deadline) if now >= request.half_time else ("remind", request.half_time)
        self._come_back(why, _moment(at), command)
        announce_request(self.bus, request, now)
        return Deferred(Code.AWAITING_APPROVAL, _waits(request), Wait(request.deadline, request.hash))

    def _come_back(self, why: str, moment: datetime, command: Command) -> None:
        """Schedule the command for this time. Nothing changes before it."""
        self.schedules.at(moment, f"{why}-{command.intent_id}", command.to_json())

    def _approved_by_plan(self, command: Command) -> Outcome | None:
        """Check the approval of the whole plan. Only we can make the intent id, so it proves that the plan is ours."""
        request = self.approvals.find(command.org_id, command.plan) if command.plan else None
        named = name_in_plan(command.plan or "", command.capability, command.thing_id)
        ours = command.intent_id == intent_id(self.id_key(), SWEEP, named)
        if not ours or request is None or request.about != About.PLAN or request.subject != command.plan:
            return Outcome(Status.REJECTED, Code.NOT_APPROVED, "The command is not part of an approved plan.")
        stand = request.stands(millis(self.clock()))
        if stand is ApprovalStatus.REJECTED:
            return Outcome(
                Status.REJECTED, Code.NOT_APPROVED, f"{request.rejected_by} rejected the plan. {request.why}".strip()
            )
        if stand is not ApprovalStatus.APPROVED or command.capability.name not in request.capabilities:
            return Outcome(Status.REJECTED, Code.NOT_APPROVED, "The plan was not approved by enough people.")
        return None

    def _exported(self, command: Command, seen: ResourceSnapshot, shown: str) -> Outcome | Ready:
        """Export the resource now, and again if something was added meanwhile. No older export is used."""
        for number in range(1, _MOST_EXPORTS + 1):
            folder = _folder(command, self.clock(), number)
            try:
                manifest = self.export.make(command.org_id, seen, folder, intent_id=command.intent_id)
                found, wrong = verify(self.export.objects, folder, scratch=self.export.scratch)
                whole = self.export.still_holds_all(manifest, seen)
            except Rejected as error:
                if error.code is not Code.NOT_FOUND:
                    raise
                # It existed a moment ago. An earlier attempt's delete may have taken effect: the next look decides.
                raise Retryable(
                    Code.UNAVAILABLE,
                    "Tallyfy stopped showing the resource during its export. The command checks again.",
                ) from error
            if whole:
                return _unusable(manifest, found, wrong) or self._ready(command, shown, folder, manifest)
        reason = (
            f"Something was added to it each time it was exported, {_MOST_EXPORTS} times. It is exported again later."
        )
        raise Retryable(Code.UNAVAILABLE, reason)

    def _ready(self, command: Command, shown: str, folder: str, manifest: Manifest) -> Ready:
        self.trail.record(_verified(command, manifest, millis(self.clock())))
        return Ready(shown, json.dumps({"export": folder, "manifest": manifest.digest}))


def _unusable(manifest: Manifest, found: Manifest | None, wrong: tuple[str, ...]) -> Outcome | None:
    """How a delete ends if its export is incomplete or reads back differently."""
    if manifest.missing:
        reason = f"It is not deleted, because its export is not complete: {' '.join(manifest.missing)}"
        return Outcome(Status.REJECTED, Code.EXPORT_INCOMPLETE, reason[:1000])
    if found is not None and found.digest != manifest.digest:
        wrong = (*wrong, "its manifest differs.")
    if wrong:
        reason = f"It is not deleted, because its export reads back differently: {' '.join(wrong)}"
        return Outcome(Status.REJECTED, Code.EXPORT_DIFFERS, reason[:1000])
    return None


def name_in_plan(plan: str, doing: Capability, thing_id: str) -> str:
    """The delivery id for one resource in a plan. An archive and a delete have different ones."""
    return f"{plan}/{doing.name if doing.permanent else doing.resource}/{thing_id}"


def _verified(command: Command, manifest: Manifest, at: int) -> Record:
    return Record(
        at=at,
        what=What.EXPORT_VERIFIED,
        org_id=command.org_id,
        resource=command.resource,
        id=command.thing_id,
        by=command.requested_by,
        intent_id=command.intent_id,
        reason=f"{len(manifest.parts)} parts agree with their checksums",
        evidence=manifest.digest,
    )


def _folder(command: Command, now: datetime, number: int) -> str:
    """A new folder for each export, so that none is ever overwritten. The lease lets one worker export at a time."""
    name = f"{command.intent_id}-{now:%Y%m%dT%H%M%S.%f}Z-{number}"
    return folder_of(command.org_id, command.resource, command.thing_id, name)


def _differs(request: ApprovalRequest, shown: str) -> str:
    """Which of the approved facts have changed."""
    before, after = json.loads(request.shown), json.loads(shown)
    return ", ".join(sorted(name for name in before | after if before.get(name) != after.get(name)))


def what_would_go(command: Command, seen: ResourceSnapshot) -> str:
    """What an approver sees, as JSON. They approve its hash. It contains no age, because that changes by itself."""
    return json.dumps(
        {
            "about": About.COMMAND,
            "intent_id": command.intent_id,
            "action": command.capability.name,
            "org_id": command.org_id,
            "id": seen.id,
            "title": seen.name,
            "template": seen.template_id,
            "owners": sorted(seen.owners) if seen.owners is not None else None,
            "tags": sorted(seen.tags) if seen.tags is not None else None,
            "status": seen.status,
            "has_open_issue": seen.has_open_issue,
            "created_at": _iso(seen.created_at),
            "completed_at": _iso(seen.completed_at),
            "archived_at": _iso(seen.archived_at),
            "last_updated": _iso(seen.last_updated),
            "tasks": seen.tasks,
            "comments": seen.comments,
            "carried_by": seen.uses,
            "requested_by": command.requested_by,
            "source": command.source,
            "reason": command.reason,
        },
        sort_keys=True,
    )


def announce_request(bus: Bus, request: ApprovalRequest, now: int) -> None:
    """Announce to approvers what a request needs now, see ``ApprovalRequest.notice``. Names and numbers only."""
    notice = request.notice(now)
    if notice is None:
        return
    bus.announce(
        f"lifecycle.approval.{notice}",
        {
            "schema_version": SCHEMA_VERSION,
            "approval": request.hash,
            "about": str(request.about),
            "subject": request.subject,
            "org_id": request.org_id,
            "asked_by": request.asked_by,
            "would_do": ", ".join(request.capabilities),
            "needed": str(request.needed),
            "given": str(len(request.approved_by)),
            "deadline": _moment(request.deadline).isoformat(),
        },
    )


def _waits(request: ApprovalRequest) -> str:
    people = "one other person" if request.needed == 1 else f"{request.needed} other people"
    return f"It waits until {_day(_moment(request.deadline))} for the approval of {people}."


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _day(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
