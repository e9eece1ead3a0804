"""Calls under the operator's own AWS identity (SigV4): API Gateway says who it is, whatever is typed here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, override
from urllib.parse import quote, urlsplit

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from requests.auth import AuthBase

from cli.ui.errors import CliError, Exit
from lifecycle.approvals.rules import About, ApprovalStatus, name

if TYPE_CHECKING:
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack

_SERVICE = "execute-api"
_SECONDS = 30.0
_SKEW = timedelta(minutes=4)
"""AWS takes signatures that are five minutes off at most."""
_WHOLE = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{12,63}")
_GATEWAY = re.compile(r"([a-z0-9]+)\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
SHOWN = 12
"""So many characters of a hash name a request for people."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose call it is."""

    credentials: ReadOnlyCredentials = field(repr=False)
    region: str


class Signature(AuthBase):
    """Signs each request of a session as it goes out."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @override
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        host = urlsplit(request.url or "").hostname
        found = _GATEWAY.fullmatch(str(host))
        signed = AWSRequest(request.method, request.url, headers=_named(request), data=request.body)
        SigV4Auth(self._identity.credentials, _SERVICE, found[2] if found else self._identity.region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


class ApprovalView(BaseModel):
    """A request for approval, as the API tells of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    stands: ApprovalStatus
    about: About
    org_id: str
    subject: str
    asked_by: str
    asked_at: datetime
    lapses_at: datetime
    needed: int
    approved_by: tuple[str, ...]
    refused_by: str
    would_do: tuple[str, ...]
    shown: Mapping[str, object]

    @property
    def is_what_it_is_named_after(self) -> bool:
        """Whether the hash is that of what is shown. A plan's is that of its lines, which say it of themselves."""
        return (str(self.shown.get("hash")) if self.about is About.PLAN else name(self.shown)) == self.hash


class _Waiting(BaseModel):
    approvals: tuple[ApprovalView, ...]


class SignedApi:
    """The routes of one stack's API that ask for an AWS identity."""

    def __init__(self, session: requests.Session, url: str, identity: Identity, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._url = url
        self._signature = Signature(identity)
        self._region = identity.region
        self._clock = clock

    def waiting(self) -> tuple[ApprovalView, ...]:
        """What this person may approve or reject now, the oldest first."""
        return _read(_Waiting, self._ask("GET", "/approvals")).approvals

    def find(self, name: str) -> ApprovalView:
        """A request by its hash; the beginning of one is completed from what waits, if it can mean only one.

        Raises:
            Trouble: There is none, or more than one; or what came is not what the hash names.
        """
        said = name.strip().lower()
        if _BEGINNING.fullmatch(said):
            fitting = [one for one in self.waiting() if one.hash.startswith(said)]
            if not fitting:
                raise CliError(f"Nothing that waits for your approval begins with {said}: see `lifecycle approvals`.")
            if len(fitting) > 1:
                raise CliError(f"{len(fitting)} requests begin with {said}. Give more of the hash.", Exit.USAGE)
            [found] = fitting
        elif _WHOLE.fullmatch(said):
            found = _read(ApprovalView, self._ask("GET", f"/approvals/{said}"))
        else:
            what = f"'{said[:70]}' is no hash of a request"
            raise CliError(f"{what}: all of its 64 characters 0-9 and a-f, or the first {SHOWN} at least.", Exit.USAGE)
        if not (found.hash.startswith(said) and found.is_what_it_is_named_after):
            raise CliError("What the stack shows is not what this hash names. Do not approve it; look into it.")
        return found

    def approve(self, whole: str) -> ApprovalView:
        """Approve what this whole hash names."""
        return _read(ApprovalView, self._ask("POST", f"/approvals/{whole}/approve"))

    def withdraw(self, whole: str) -> ApprovalView:
        """Take this person's approval of it back."""
        return _read(ApprovalView, self._ask("POST", f"/approvals/{whole}/withdraw"))

    def reject(self, whole: str, why: str) -> ApprovalView:
        """Reject it, for good."""
        return _read(ApprovalView, self._ask("POST", f"/approvals/{whole}/reject", {"why": why}))

    def undo(self, intent_id: str) -> str:
        """Ask for the undo of a command; the intent id of the undo."""
        found = self._ask("POST", f"/commands/{quote(intent_id, safe='')}/undo").get("intent_id")
        if not isinstance(found, str):
            raise _unreadable()
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Mapping[str, object]:
        told = self._session.request(
            method,
            f"{self._url}{path}",
            json=body,
            auth=self._signature,
            timeout=_SECONDS,
            allow_redirects=False,
        )
        said = _object(told)
        if told.ok:
            return said
        if said.get("code") and told.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise CliError(str(said.get("detail")))
        if told.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise CliError(self._why_refused(method, path, told, said), Exit.UNREACHABLE)
        if told.status_code == HTTPStatus.NOT_FOUND:
            raise CliError("The API has no such route. Is its URL right, and this release deployed?", Exit.UNREACHABLE)
        again = "Try again: nothing is done twice."
        raise CliError(f"The API answered {told.status_code}: it could not take this now. {again}", Exit.UNREACHABLE)

    def _why_refused(self, method: str, path: str, told: requests.Response, said: Mapping[str, object]) -> str:
        """What to do about a refusal of AWS itself, before anything of ours has run. It may say no more than no."""
        message = str(said.get("message") or said.get("Message") or "")
        kind = str(told.headers.get("x-amzn-errortype", ""))
        refused = f"AWS refused the call, {told.status_code}{f': {message[:300]}' if message else ''}."
        off = self._off(told)
        if off is not None and abs(off) > _SKEW:
            minutes, side = round(abs(off) / timedelta(minutes=1)), "ahead" if off > timedelta(0) else "behind"
            return f"{refused} The clock of this machine is {minutes} minutes {side} of AWS. Set it right."
        if "expired" in message.lower() or "Signature" in kind:
            return f"{refused} Sign in again, and check the clock of this machine: AWS takes five minutes at most."
        if "token" in message.lower() or "Token" in kind or "Client" in kind:
            return f"{refused} These credentials are not known, or no longer. Sign in again, or check AWS_PROFILE."
        return (
            f"{refused} Who calls it needs a policy that allows execute-api:Invoke on {self._route(method, path)}. "
            "If there is one: sign in again, for credentials expire, and check AWS_PROFILE and --region."
        )

    def _off(self, told: requests.Response) -> timedelta | None:
        try:
            there = parsedate_to_datetime(told.headers["date"])
        except (KeyError, ValueError):
            return None
        return self._clock() - (there if there.tzinfo else there.replace(tzinfo=UTC))

    def _route(self, method: str, path: str) -> str:
        found = _GATEWAY.fullmatch(str(urlsplit(self._url).hostname))
        api, region = (found[1], found[2]) if found else ("<the API's id>", self._region)
        general = re.sub(r"/([0-9a-f]{64}|int_[^/]+)(?=/|$)", "/*", path)
        return f"arn:aws:execute-api:{region}:<account>:{api}/*/{method}{general}"


def signed_api(world: "CliContext", stack: "Stack", url: str | None) -> SignedApi:
    """The API of a stack, under the operator's own AWS identity."""
    return SignedApi(world.session(), world.api(stack, url).url, stack.identity(), world.clock)


def _named(request: requests.PreparedRequest) -> dict[str, str]:
    """Only what is sure to arrive as it was sent."""
    kind = request.headers.get("content-type")
    return {"content-type": str(kind)} if kind else {}


def _object(told: requests.Response) -> Mapping[str, object]:
    try:
        found = told.json()
    except requests.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _read[T: BaseModel](model: type[T], said: Mapping[str, object]) -> T:
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise _unreadable() from error


def _unreadable() -> CliError:
    return CliError(
        "The API's answer cannot be read: it may be of another release than this command.", Exit.UNREACHABLE
    )
