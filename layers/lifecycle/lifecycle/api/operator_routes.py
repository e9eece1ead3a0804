"""What a person asks for under their own AWS identity: look at approvals, approve, reject, undo."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from lifecycle.approvals.people import People, Person
from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.approvals.service import Approving
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Rejected
from lifecycle.execution.undo import Undoing

_MOST_WHY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """Everything that an authenticated request passes."""

    people: People
    approving: Approving
    undoing: Undoing

    def answer(self, request: HttpRequest) -> tuple[HTTPStatus, Mapping[str, object]]:
        """Answer one request. Raises ``Rejected`` with what is wrong, ``Retryable``."""
        name, person = self._person(request)
        given = request.parameters
        match request.route:
            case "GET /approvals":
                waiting = self.approving.waiting(person)
                return HTTPStatus.OK, {"approvals": [self._told(one) for one in waiting]}
            case "GET /approvals/{hash}":
                return HTTPStatus.OK, self._told(self.approving.find(given.get("hash", ""), person))
            case "POST /approvals/{hash}/approve":
                return HTTPStatus.OK, self._told(self.approving.approve(given.get("hash", ""), name, person))
            case "POST /approvals/{hash}/withdraw":
                return HTTPStatus.OK, self._told(self.approving.withdraw(given.get("hash", ""), name, person))
            case "POST /approvals/{hash}/reject":
                refused = self.approving.refuse(given.get("hash", ""), name, person, _why(request.body))
                return HTTPStatus.OK, self._told(refused)
            case "POST /commands/{intent_id}/undo":
                undo = self.undoing.undo(given.get("intent_id", ""), by=name, person=person)
                told = {"status": "accepted", "intent_id": undo, "status_url": f"/commands/{undo}"}
                return HTTPStatus.ACCEPTED, told
            case _:
                raise Rejected(Code.UNKNOWN_ROUTE, "There is no such route.")

    def _person(self, request: HttpRequest) -> tuple[str, Person]:
        found = self.people.find_iam(request.caller) if request.caller else None
        if found is None and any(person.iam == request.caller for person in self.people.people.values()):
            reason = (
                f"AWS knows you as {request.caller}, but whoever assumes this role may choose that name. It does not "
                "prove who you are. Sign in through Identity Center or as an IAM user, or fix the names of the role's "
                "sessions: `lifecycle check` says how."
            )
            raise Rejected(Code.RIGHT_MISSING, reason)
        if found is None:
            known = f"AWS knows you as {request.caller}" if request.caller else "AWS has not said who you are"
            raise Rejected(Code.RIGHT_MISSING, f"{known}; people.toml names nobody of that identity.")
        return found

    def _told(self, wanted: ApprovalRequest) -> Mapping[str, object]:
        return {
            "hash": wanted.hash,
            "stands": wanted.stands(millis(self.approving.clock())).value,
            "about": str(wanted.about),
            "org_id": wanted.org_id,
            "subject": wanted.subject,
            "asked_by": wanted.asked_by,
            "asked_at": _iso(wanted.asked_at),
            "lapses_at": _iso(wanted.lapses_at),
            "needed": wanted.needed,
            "approved_by": list(wanted.approved_by),
            "refused_by": wanted.refused_by,
            "would_do": list(wanted.capabilities),
            "shown": json.loads(wanted.shown),
        }


def _why(body: bytes) -> str:
    if not body.strip():
        return ""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    why = said.get("why", "") if isinstance(said, dict) else None
    if not isinstance(why, str) or len(why) > _MOST_WHY:
        raise Rejected(Code.INVALID, f'The body is nothing, or JSON such as {{"why": "up to {_MOST_WHY} characters"}}.')
    return why


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()
