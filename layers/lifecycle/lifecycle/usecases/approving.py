"""A person approves or refuses what cannot be undone. Who they are, the channel has proved."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.adapters.approvals import Approvals
from lifecycle.adapters.queues import Queue
from lifecycle.adapters.signals import Signal, Signals
from lifecycle.judgement import approvals as rules
from lifecycle.judgement.approvals import About, Request, Stand
from lifecycle.judgement.people import Person
from lifecycle.judgement.transitions import millis
from lifecycle.words.capabilities import TABLE, Capability
from lifecycle.words.commands import one_line
from lifecycle.words.errors import Code, Rejected

_BY_NAME = {doing.name: doing for doing in TABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Approving:
    """Everything an approval passes. What was approved goes on as a message: a command, or a plan's errand."""

    approvals: Approvals
    purge: Queue
    sweeps: Queue
    org_ids: frozenset[str]
    signals: Signals
    clock: Callable[[], datetime]

    def waiting(self, person: Person) -> list[Request]:
        """What this person may approve or refuse now, the oldest first; their own requests are among it."""
        return [
            request
            for org_id in sorted(self.org_ids)
            for request in self.approvals.open(org_id)
            if person.approves_of(_doings(request), org_id)
        ]

    def find(self, name: str, person: Person) -> Request:
        """The request of this hash, if it concerns this person. Raises ``Rejected``."""
        for org_id in sorted(self.org_ids):
            request = self.approvals.find(org_id, name)
            if request is not None and person.approves_of(_doings(request), org_id):
                return request
        raise Rejected(Code.UNKNOWN_APPROVAL, "There is no request with this hash that you may approve or refuse.")

    def approve(self, name: str, who: str, person: Person) -> Request:
        """Count one person's approval; with the last one it goes on. Raises ``Rejected`` where it must not count.

        An approval that is repeated sends the message again: it may have been lost with the first one.
        """
        known = self._newest(name, person)
        now = millis(self.clock())
        after = self.approvals.change(known.org_id, name, lambda request: rules.approve(request, who, now))
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, "The request is gone.")
        if after.stands(now) is Stand.APPROVED:
            self._go_on(after)
        self.signals.note(Signal.APPROVED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def refuse(self, name: str, who: str, person: Person, why: str) -> Request:
        """End a request for good. Raises ``Rejected`` if it has ended already."""
        known = self._newest(name, person)
        now, said = millis(self.clock()), one_line(why, most=200) if why.strip() else ""
        after = self.approvals.change(known.org_id, name, lambda request: rules.refuse(request, who, said, now))
        if after is None:
            raise Rejected(Code.UNKNOWN_APPROVAL, "The request is gone.")
        self._go_on(after)  # so that its intent ends, with the reason
        self.signals.note(Signal.APPROVAL_REFUSED, {"approval": name, "by": who, "subject": after.subject})
        return after

    def _newest(self, name: str, person: Person) -> Request:
        """Find a request as it is to be approved or refused: not one whose subject looks different since."""
        known = self.find(name, person)
        newest = self.approvals.newest(known.org_id, known.subject)
        if newest is None or newest.hash != name:
            now = f" Look at {newest.hash}." if newest else ""
            raise Rejected(Code.UNKNOWN_APPROVAL, f"It was changed since, so this request counts no more.{now}")
        return known

    def _go_on(self, request: Request) -> None:
        queue = self.sweeps if request.about == About.PLAN else self.purge
        queue.send(request.message)


def _doings(request: Request) -> frozenset[Capability]:
    """What would be done. If any of it is not known here, nobody may approve it."""
    known = frozenset(_BY_NAME[name] for name in request.capabilities if name in _BY_NAME)
    return known if len(known) == len(set(request.capabilities)) else frozenset()
