"""What must be so before anything is destroyed.

Other people said yes to exactly this, its time has come, and all that can be read of it lies verified in the bucket.

Nothing here waits: a command whose condition does not hold is parked, and comes back as a message when its day has come
or a person has spoken. Each time it is looked at anew.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lifecycle.adapters.approvals import Approvals
from lifecycle.adapters.bus import Bus
from lifecycle.adapters.schedules import Schedules
from lifecycle.judgement import approvals as rules
from lifecycle.judgement.approvals import About, Request, Stand
from lifecycle.judgement.people import People
from lifecycle.judgement.transitions import End, Status, millis
from lifecycle.usecases.export import Export
from lifecycle.usecases.outcomes import SCHEMA_VERSION
from lifecycle.words.commands import PLAN, SWEEP, Command
from lifecycle.words.errors import Code, LifecycleError
from lifecycle.words.intents import intent_id
from lifecycle.words.things import Thing


class Parked(LifecycleError):
    """Not now, and nothing to wait for in the queue: it will come back by itself."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All conditions hold. ``shown`` is what was approved, ``evidence`` JSON of where its export lies."""

    shown: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """Everything that is needed to judge a permanent delete."""

    approvals: Approvals
    people: People
    export: Export
    schedules: Schedules
    bus: Bus
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def judge(self, command: Command, seen: Thing, until: datetime | None) -> End | Ready:
        """May it be destroyed now? Not before ``until``. Raises ``Parked`` where it has to wait, ``Retryable``."""
        shown = what_would_go(command, seen)
        end = self._approved_by_plan(command) if command.source == PLAN else self._approved(command, shown)
        if end is not None:
            return end
        if until is not None:
            self.schedules.at(until, f"grace-{command.intent_id}", command.to_json())
            raise Parked(Code.IN_GRACE, f"It was approved and is deleted after {_day(until)}, if nothing changes.")
        return self._exported(command, seen, shown)

    def _approved(self, command: Command, shown: str) -> End | None:
        request = self.approvals.newest(command.org_id, command.intent_id)
        now = millis(self.clock())
        if request is None:
            return self._ask(command, shown)
        stand = request.stands(now)
        if request.shown != shown:
            if stand is Stand.APPROVED:
                reason = "It was changed after it had been approved, so the delete is cancelled. Ask anew."
                return End(Status.REJECTED, Code.CHANGED, reason)
            return self._ask(command, shown)
        match stand:
            case Stand.APPROVED:
                return None
            case Stand.REFUSED:
                why = f": {request.why}" if request.why else "."
                return End(Status.REJECTED, Code.NOT_APPROVED, f"{request.refused_by} refused it{why}")
            case Stand.LAPSED:
                reason = f"Nobody approved it before {_day(_moment(request.lapses_at))}. Ask anew if it is still meant."
                return End(Status.REJECTED, Code.LAPSED, reason)
            case Stand.OPEN:
                raise Parked(Code.AWAITING_APPROVAL, _waits(request))

    def _ask(self, command: Command, shown: str) -> End | None:
        now = self.clock()
        lapses_at = now + timedelta(hours=self.people.approvals.hours)
        request = self.approvals.ask(
            Request(
                hash=rules.name(json.loads(shown)),
                about=About.COMMAND,
                org_id=command.org_id,
                subject=command.intent_id,
                asked_by=self.people.name_of(command.requested_by),
                asked_at=millis(now),
                lapses_at=millis(lapses_at),
                needed=self.people.approvals.single,
                shown=shown,
                message=command.to_json(),
                capabilities=(command.capability.name,),
            )
        )
        # It comes back when nobody has spoken in time, to say so.
        self.schedules.at(_moment(request.lapses_at), f"lapse-{request.hash[:48]}", command.to_json())
        announce_request(self.bus, request)
        raise Parked(Code.AWAITING_APPROVAL, _waits(request))

    def _approved_by_plan(self, command: Command) -> End | None:
        """A plan is approved as a whole. That the command is part of it shows in its name, which only we can make."""
        request = self.approvals.find(command.org_id, command.plan) if command.plan else None
        named = f"{command.plan}/{command.resource}/{command.thing_id}"
        ours = command.intent_id == intent_id(self.id_key(), SWEEP, named)
        if not ours or request is None or request.about != About.PLAN or request.subject != command.plan:
            return End(Status.REJECTED, Code.NOT_APPROVED, "It is not part of a plan that was approved.")
        if request.stands(millis(self.clock())) is not Stand.APPROVED:
            return End(Status.REJECTED, Code.NOT_APPROVED, "The plan was not approved by enough people.")
        return None

    def _exported(self, command: Command, seen: Thing, shown: str) -> End | Ready:
        folder = f"exports/{command.org_id}/{command.resource}/{command.thing_id}/{command.intent_id}"
        manifest = self.export.make(command.org_id, seen, folder, intent_id=command.intent_id)
        if manifest.missing:
            reason = f"It is not deleted, because its export is not complete: {' '.join(manifest.missing)}"
            return End(Status.REJECTED, Code.EXPORT_INCOMPLETE, reason[:1000])
        wrong = self.export.verify(folder)
        if wrong:
            reason = f"It is not deleted, because its export reads back differently: {' '.join(wrong)}"
            return End(Status.REJECTED, Code.EXPORT_DIFFERS, reason[:1000])
        return Ready(shown, json.dumps({"export": folder, "manifest": manifest.digest}))


def what_would_go(command: Command, seen: Thing) -> str:
    """What an approver is shown, as JSON; its hash is what they approve. No age: that changes by itself."""
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


def announce_request(bus: Bus, request: Request) -> None:
    """Tell the world that somebody is waited for. Names and numbers only."""
    bus.announce(
        "lifecycle.approval.asked",
        {
            "schema_version": SCHEMA_VERSION,
            "approval": request.hash,
            "about": str(request.about),
            "subject": request.subject,
            "org_id": request.org_id,
            "asked_by": request.asked_by,
            "needed": str(request.needed),
            "lapses_at": _moment(request.lapses_at).isoformat(),
        },
    )


def _waits(request: Request) -> str:
    people = "one other person" if request.needed == 1 else f"{request.needed} other people"
    return (
        f"It waits until {_day(_moment(request.lapses_at))} for the approval of {people}: "
        f"lifecycle approve {request.hash}"
    )


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _day(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
