"""The routes that require an AWS identity. API Gateway identifies the caller, whatever the caller typed."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from cli.clients.answers import fields_of, read
from cli.clients.aws_identity import GATEWAY, Identity, IdentityAuth
from cli.ui.errors import CliError, Exit
from lifecycle.api.schemas.approvals import Approval, Approvals
from lifecycle.api.schemas.commands import UndoAccepted
from lifecycle.approvals.rules import About, name

_SECONDS = 30.0
_SKEW = timedelta(minutes=4)
"""AWS accepts signatures that are up to five minutes old."""
_WHOLE = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{12,63}")
SHOWN = 12
"""The characters of a hash that are shown to people."""


def hash_fits(approval: Approval) -> bool:
    """Whether the hash is that of what is shown. The hash of a plan is that of its lines, and the plan names it."""
    shown = approval["shown"]
    return (str(shown.get("hash")) if approval["about"] is About.PLAN else name(shown)) == approval["hash"]


class SignedApi:
    """The routes of one stack's API that require an AWS identity."""

    def __init__(self, session: requests.Session, url: str, identity: Identity, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._url = url
        self._signature = IdentityAuth(identity)
        self._region = identity.region
        self._clock = clock

    def waiting(self) -> list[Approval]:
        """What this person may approve or reject now, the oldest first."""
        return read(Approvals, self._send("GET", "/approvals"))["approvals"]

    def find(self, name: str) -> Approval:
        """A request by its hash. The first 12 characters or more are enough if only one request begins with them.

        Raises:
            CliError: There is no such request, or more than one; or the answer is not what the hash names.
        """
        given = name.strip().lower()
        if _BEGINNING.fullmatch(given):
            matching = [one for one in self.waiting() if one["hash"].startswith(given)]
            if not matching:
                raise CliError(
                    f"No request that waits for your approval begins with {given}. See `lifecycle approvals`."
                )
            if len(matching) > 1:
                raise CliError(f"{len(matching)} requests begin with {given}. Give more of the hash.", Exit.USAGE)
            [found] = matching
        elif _WHOLE.fullmatch(given):
            found = read(Approval, self._send("GET", f"/approvals/{given}"))
        else:
            message = (
                f"'{given[:70]}' is not the hash of a request. Give all of its 64 characters (0-9, a-f), or at least "
                f"the first {SHOWN}."
            )
            raise CliError(message, Exit.USAGE)
        if not (found["hash"].startswith(given) and hash_fits(found)):
            raise CliError("The stack's answer does not match this hash. Do not approve it. Find out why first.")
        return found

    def approve(self, whole: str) -> Approval:
        """Approve what this whole hash names."""
        return read(Approval, self._send("POST", f"/approvals/{whole}/approve"))

    def withdraw(self, whole: str) -> Approval:
        """Withdraw this person's approval of it."""
        return read(Approval, self._send("POST", f"/approvals/{whole}/withdraw"))

    def reject(self, whole: str, why: str) -> Approval:
        """Reject it for good."""
        return read(Approval, self._send("POST", f"/approvals/{whole}/reject", {"why": why}))

    def undo(self, intent_id: str) -> str:
        """Ask for the undo of a command; the intent id of the undo."""
        return read(UndoAccepted, self._send("POST", f"/commands/{quote(intent_id, safe='')}/undo"))["intent_id"]

    def _send(self, method: str, path: str, body: Mapping[str, str] | None = None) -> requests.Response:
        response = self._session.request(
            method,
            f"{self._url}{path}",
            json=body,
            auth=self._signature,
            timeout=_SECONDS,
            allow_redirects=False,
        )
        if response.ok:
            return response
        fields = fields_of(response)
        if fields.get("code") and response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise CliError(str(fields.get("detail")))
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise CliError(self._why_denied(method, path, response, fields), Exit.UNREACHABLE)
        if response.status_code == HTTPStatus.NOT_FOUND:
            message = "The API has no such route. Check the URL of the API, and that this release is deployed."
            raise CliError(message, Exit.UNREACHABLE)
        message = f"The API answered {response.status_code} and did nothing. Try again: nothing is done twice."
        raise CliError(message, Exit.UNREACHABLE)

    def _why_denied(self, method: str, path: str, response: requests.Response, fields: Mapping[str, object]) -> str:
        """Return what to do about a denial by AWS itself, before our code ran. AWS may give no reason."""
        message = str(fields.get("message") or fields.get("Message") or "")
        kind = str(response.headers.get("x-amzn-errortype", ""))
        denied = f"AWS denied the call with {response.status_code}{f': {message[:300]}' if message else ''}."
        skew = self._skew(response)
        if skew is not None and abs(skew) > _SKEW:
            minutes, side = round(abs(skew) / timedelta(minutes=1)), "ahead of" if skew > timedelta(0) else "behind"
            return f"{denied} The clock of this machine is {minutes} minutes {side} AWS. Correct it."
        if "expired" in message.lower() or "Signature" in kind:
            return f"{denied} Sign in again, and check the clock of this machine: AWS allows five minutes at most."
        if "token" in message.lower() or "Token" in kind or "Client" in kind:
            return f"{denied} AWS does not know these credentials. Sign in again, or check AWS_PROFILE."
        return (
            f"{denied} The caller needs a policy that allows execute-api:Invoke on {self._route(method, path)}. "
            "If there is one, sign in again, because credentials expire, and check AWS_PROFILE and --region."
        )

    def _skew(self, response: requests.Response) -> timedelta | None:
        try:
            there = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            return None
        return self._clock() - (there if there.tzinfo else there.replace(tzinfo=UTC))

    def _route(self, method: str, path: str) -> str:
        gateway = GATEWAY.fullmatch(str(urlsplit(self._url).hostname))
        api, region = (gateway[1], gateway[2]) if gateway else ("<the API's id>", self._region)
        general = re.sub(r"/([0-9a-f]{64}|int_[^/]+)(?=/|$)", "/*", path)
        return f"arn:aws:execute-api:{region}:<account>:{api}/*/{method}{general}"
