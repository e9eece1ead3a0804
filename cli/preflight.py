"""`lifecycle check`: is everything there that the stack needs to do its work? Reads only."""

import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import requests

from cli.api import Api
from cli.aws import Stack, output_of
from cli.signing import sign
from cli.trouble import Trouble, trouble_in
from lifecycle.adapters.secrets import Secrets, signing_secrets
from lifecycle.adapters.tallyfy import HttpTallyfy, Json, Tokens, pooled_session
from lifecycle.judgement.signatures import Accepted, Scheme, verify
from lifecycle.judgement.sources import Source, Sources
from lifecycle.words.capabilities import PERMANENT
from lifecycle.words.errors import LifecycleError

OUTPUTS = (
    *("ApiUrl", "CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl"),
    *("LedgerTableName", "SecretPrefix", "OrganizationIds", "TallyfyBaseUrl"),
)
_SECONDS = 15.0
_LEAST_SECRET_BYTES = 24
"""What Standard Webhooks asks of a secret."""


class Mark(StrEnum):
    """How a check came out. Only NO makes the command fail."""

    YES = "yes"
    NOTE = "note"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    mark: Mark
    what: str
    found: str
    todo: str = ""


class ReadOnlySession(requests.Session):
    """A session that can only read: whatever calls it, nothing in Tallyfy changes."""

    def request(self, method: str | bytes, url: str | bytes, *args: object, **kwargs: object) -> requests.Response:
        """Send a GET; refuse anything else."""
        if method != "GET":
            message = f"A check only reads; it does not send {method!r}."
            raise RuntimeError(message)
        return super().request(method, url, *args, **kwargs)  # type: ignore[arg-type]


def read_only(session: requests.Session | None = None) -> ReadOnlySession:
    """The worker's session, with its settings and transports, but only for reading."""
    like = session or pooled_session()
    reading = ReadOnlySession()
    reading.trust_env = like.trust_env
    reading.adapters = like.adapters
    return reading


def check(
    stack: Stack,
    sources: Sources,
    api: Callable[[str], Api],
    session: ReadOnlySession,
    *,
    clock: Callable[[], datetime],
) -> Iterator[Finding]:
    """Check everything that can be checked without changing anything; findings come as they are made."""
    yield Finding(
        Mark.YES, "layers/config/sources.toml", f"{len(sources.sources)} sources: {', '.join(sources.sources)}"
    )
    missing = [name for name in OUTPUTS if not stack.outputs().get(name)]
    if missing:
        yield Finding(Mark.NO, f"stack {stack.name}", f"no output {', '.join(missing)}", "Deploy this release.")
        return
    yield Finding(Mark.YES, f"stack {stack.name}", f"{len(OUTPUTS)} outputs")
    yield _health(api)
    prefix = output_of(stack, "SecretPrefix")
    organizations = output_of(stack, "OrganizationIds").split(",")
    for name, source in sources.sources.items():
        yield _source_secret(stack.secrets(), prefix, name, source, clock())
        yield from _strangers(name, source, organizations)
    for org_id in organizations:
        yield from _organization(stack, sources, session, org_id, organizations)


def _health(api: Callable[[str], Api]) -> Finding:
    what = "HTTP API"
    try:
        reached = api("ApiUrl")
        if reached.healthy():
            return Finding(Mark.YES, what, reached.url)
    except (requests.RequestException, Trouble) as error:
        return Finding(Mark.NO, what, _said(error), "Check the URL, and the functions' logs.")
    return Finding(
        Mark.NO, what, f"{reached.url}/health does not answer as it should", "See the status function's log."
    )


def _source_secret(secrets: Secrets, prefix: str, name: str, source: Source, now: datetime) -> Finding:
    what = f"secret of source {name}"
    where = f"{prefix}/sources/{name}"
    todo = f"Store it in Secrets Manager as {where}."
    try:
        found = signing_secrets(secrets.get(where, fresh=True))
    except LifecycleError as error:
        return Finding(Mark.NO, what, error.reason, todo)
    if not found:
        return Finding(Mark.NO, what, "it holds no signing secret", 'Store the text, or {"secrets": ["new", "old"]}.')
    for number, secret in enumerate(found, start=1):
        wrong = _unusable(source.scheme, secret, now)
        if wrong:
            return Finding(Mark.NO, what, f"number {number} cannot be used: {wrong}", todo)
    size = f"{len(found)} secret{'s' if len(found) > 1 else ''}, {source.scheme}"
    if min(map(len, found)) < _LEAST_SECRET_BYTES:
        return Finding(Mark.NOTE, what, f"{size}, but short", f"Take {_LEAST_SECRET_BYTES} random bytes or more.")
    return Finding(Mark.YES, what, size)


def _unusable(scheme: Scheme, secret: bytes, now: datetime) -> str:
    """Sign a line and verify it as the webhook does."""
    try:
        headers = sign(scheme, secret.decode(), b"check", delivery_id="check", timestamp=int(now.timestamp()))
    except (ValueError, binascii.Error) as error:
        return str(error)
    checked = verify(scheme, [secret], headers, b"check", now=now.timestamp())
    return "" if isinstance(checked, Accepted) else checked.why


def _strangers(name: str, source: Source, organizations: list[str]) -> Iterator[Finding]:
    strangers = sorted((source.organizations or frozenset()) - set(organizations))
    if strangers:
        yield Finding(
            Mark.NOTE,
            f"organizations of source {name}",
            f"{', '.join(strangers)}: not the stack's",
            "Add them to OrganizationIds, or take them out of sources.toml.",
        )


def _organization(
    stack: Stack, sources: Sources, session: ReadOnlySession, org_id: str, organizations: list[str]
) -> Iterator[Finding]:
    tokens = Tokens(stack.secrets(), output_of(stack, "SecretPrefix"), frozenset(organizations))
    what = f"organization {org_id}"
    try:
        tokens.of(org_id, fresh=True)
    except LifecycleError as error:
        yield Finding(Mark.NO, what, error.reason, "Store the token of a dedicated Tallyfy admin user.")
        return
    try:
        tallyfy = HttpTallyfy(
            session,
            output_of(stack, "TallyfyBaseUrl"),
            tokens,
            capabilities=frozenset(),  # Nothing can be expressed: this one only looks.
            spend=lambda _: None,
            time_left=lambda: _SECONDS,
        )
        member, organization = tallyfy.account(org_id)
    except (LifecycleError, ValueError) as error:
        yield Finding(Mark.NO, what, _said(error), "Replace the token, or correct OrganizationIds.")
        return
    # The two lines below the organization's are about it.
    yield Finding(Mark.YES, what, f"the token opens {organization.get('name') or 'it'}")
    yield _role(str(member.get("role") or "unknown"), sources, org_id)
    yield _auto_archive(organization)


def _role(role: str, sources: Sources, org_id: str) -> Finding:
    what = "its user's role"
    lasting = sorted(
        {
            doing.name
            for source in sources.sources.values()
            if source.reaches(org_id)
            for doing in PERMANENT
            if source.allows(doing)
        }
    )
    match role.lower():
        case "admin":
            return Finding(Mark.YES, what, "admin: may do everything")
        case "standard" if lasting:
            return Finding(
                Mark.NO,
                what,
                f"standard: may archive and restore, but not {', '.join(lasting)}",
                "Make the user an Admin in Tallyfy, or take these out of sources.toml.",
            )
        case "standard":
            return Finding(Mark.YES, what, "standard: may archive and restore, which is all that is asked for")
        case _:
            return Finding(
                Mark.NO, what, f"{role}: may not archive", "Make the user an Admin (or Standard) in Tallyfy."
            )


def _auto_archive(organization: Json) -> Finding:
    what = "its auto-archive"
    if not organization.get("auto_archive"):
        return Finding(Mark.YES, what, "off: Tallyfy archives nothing by itself")
    after = organization.get("auto_archive_processes_after")
    return Finding(Mark.NOTE, what, f"on, after {after or 'some'} days: Tallyfy may archive processes first")


def _said(error: Exception) -> str:
    trouble = trouble_in(error)
    return str(trouble or error)
