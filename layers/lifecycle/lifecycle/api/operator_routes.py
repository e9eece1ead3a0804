"""The routes for people with an AWS identity: list approvals, approve, reject, undo."""

import json
from dataclasses import dataclass
from http import HTTPStatus

from lifecycle.api.routes import status_url
from lifecycle.api.schemas.approvals import MOST_WHY, Approval, Approvals
from lifecycle.api.schemas.commands import UndoAccepted
from lifecycle.approvals.people import People, Person
from lifecycle.approvals.rules import About, ApprovalRequest
from lifecycle.approvals.service import ApprovalService
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.clock import millis, moment
from lifecycle.domain.errors import Code, Rejected
from lifecycle.execution.undo import UndoService


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What the routes need to answer an authenticated request."""

    people: People
    approving: ApprovalService
    undoing: UndoService

    def answer(self, request: HttpRequest) -> tuple[HTTPStatus, Approval | Approvals | UndoAccepted]:
        """Answer one request. Raises ``Rejected`` for a wrong request, ``Retryable`` if AWS is unavailable."""
        name, person = self._person(request)
        given = request.parameters
        match request.route:
            case "GET /approvals":
                waiting = self.approving.waiting(person)
                return HTTPStatus.OK, Approvals(approvals=[self._approval(one) for one in waiting])
            case "GET /approvals/{hash}":
                return HTTPStatus.OK, self._approval(self.approving.find(given.get("hash", ""), person))
            case "POST /approvals/{hash}/approve":
                return HTTPStatus.OK, self._approval(self.approving.approve(given.get("hash", ""), name, person))
            case "POST /approvals/{hash}/withdraw":
                return HTTPStatus.OK, self._approval(self.approving.withdraw(given.get("hash", ""), name, person))
            case "POST /approvals/{hash}/reject":
                refused = self.approving.reject(given.get("hash", ""), name, person, _why(request.body))
                return HTTPStatus.OK, self._approval(refused)
            case "POST /commands/{intent_id}/undo":
                undo = self.undoing.undo(given.get("intent_id", ""), by=name, person=person)
                answer = UndoAccepted(status="accepted", intent_id=undo, status_url=status_url(undo))
                return HTTPStatus.ACCEPTED, answer
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
            raise Rejected(Code.RIGHT_MISSING, f"{known}; people.toml names nobody with that identity.")
        return found

    def _approval(self, request: ApprovalRequest) -> Approval:
        return Approval(
            hash=request.hash,
            stands=request.stands(millis(self.approving.clock())),
            about=About(request.about),
            org_id=request.org_id,
            subject=request.subject,
            asked_by=request.asked_by,
            asked_at=moment(request.asked_at),
            deadline=moment(request.deadline),
            needed=request.needed,
            approved_by=list(request.approved_by),
            rejected_by=request.rejected_by,
            would_do=list(request.capabilities),
            shown=json.loads(request.shown),
        )


def _why(body: bytes) -> str:
    if not body.strip():
        return ""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    why = said.get("why", "") if isinstance(said, dict) else None
    if not isinstance(why, str) or len(why) > MOST_WHY:
        raise Rejected(
            Code.INVALID, f'The body must be empty or JSON, such as {{"why": "up to {MOST_WHY} characters"}}.'
        )
    return why
