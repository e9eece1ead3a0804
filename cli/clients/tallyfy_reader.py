"""Reads Tallyfy from an operator's machine: only GET, at a limited rate, with the waits that Tallyfy asks for."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import requests
import typer

from cli.clients.context import CliContext, stack_of
from cli.clients.stack import Stack, one_organization, output_of
from cli.clients.tallyfy_calls import TallyfyCalls
from cli.ui.errors import CliError, Exit, expected_error
from cli.ui.ids import org_in
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.secrets import MemorySecrets, token_in
from lifecycle.domain.errors import Code, Retryable, Throttled, TokenRefused
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Rate
from lifecycle.tallyfy.client import HttpTallyfy, Tokens, pooled_session

TOKEN_VARIABLE = "LIFECYCLE_TALLYFY_TOKEN"  # noqa: S105 # nosec B105 - a variable's name
TALLYFY_URL = "https://go.tallyfy.com/api"
_GIVEN = "given"
_SECONDS = 30.0
"""The time-out of a call. Unlike a function, this process has no deadline."""
_MOST_FAILURES = 5
_MOST_PAUSES = 20


class ReadOnlySession(requests.Session):
    """A session that can only read, so that no caller can change anything in Tallyfy."""

    def request(self, method: str | bytes, url: str | bytes, *args: object, **kwargs: object) -> requests.Response:
        """Send a GET; refuse anything else."""
        if method != "GET":
            message = f"This command only reads; it does not send {method!r}."
            raise RuntimeError(message)
        return super().request(method, url, *args, **kwargs)  # type: ignore[arg-type]


def read_only(session: requests.Session | None = None) -> ReadOnlySession:
    """The worker's session, with its settings and transports, but only for reading."""
    like = session or pooled_session()
    reading = ReadOnlySession()
    reading.trust_env = like.trust_env
    reading.adapters = like.adapters
    return reading


@dataclass(frozen=True, slots=True)
class Access:
    """Which organization is read, by whose token, and the stack that knows more about it, if one was asked."""

    org_id: str
    base_url: str
    tokens: Tokens
    stack: Stack | None
    own_token: bool
    """The operator's token, not the stack's."""

    def stored_at(self) -> datetime | None:
        """When the stack's token was stored; `None` for the operator's own."""
        if self.stack is None or self.own_token:
            return None
        return self.stack.secrets().stored_at(f"{output_of(self.stack, 'SecretPrefix')}/tokens/{self.org_id}")


def access(
    ctx: typer.Context,
    org: str | None,
    token_file: Path | None,
    base_url: str | None,
    stack: str | None,
    region: str | None,
) -> Access:
    """Find out what to read with. A stack is asked where it was named, or where there is no token without it.

    Raises:
        CliError: It is not said which organization is meant, or there is no token.
    """
    token = _token(token_file)
    given = None if org is None else org_in(org)
    named = stack or ctx.find_root().params.get("stack")
    target = stack_of(ctx, stack, region) if named or token is None else None
    if target is not None:
        org_id = one_organization(target, given) if token or named else _without_token(target, given)
    elif given is None:
        raise CliError("Name the organization with --org.", Exit.USAGE)
    else:
        org_id = given
    known = frozenset({org_id})
    if token is not None:
        tokens = Tokens(MemorySecrets({f"{_GIVEN}/tokens/{org_id}": token}), _GIVEN, known)
    elif target is not None:
        tokens = access_of(target, org_id).tokens
    else:
        raise CliError(f"No Tallyfy token was given. Set {TOKEN_VARIABLE}.", Exit.USAGE)
    url = base_url or (output_of(target, "TallyfyBaseUrl") if target is not None else TALLYFY_URL)
    return Access(org_id, url, tokens, target, token is not None)


def access_of(target: Stack, org_id: str) -> Access:
    """Return the access with which a stack itself reads one of its organizations."""
    tokens = Tokens(target.secrets(), output_of(target, "SecretPrefix"), frozenset({org_id}))
    return Access(org_id, output_of(target, "TallyfyBaseUrl"), tokens, target, own_token=False)


def calls_of(context: CliContext, what: Access, *, gap: float = 0.0) -> TallyfyCalls:
    """Calls to Tallyfy that may change something, under the token of an access, ``gap`` seconds apart."""
    return TallyfyCalls(context.session(), what.base_url, what.tokens.of(what.org_id), context.sleep, gap)


class TallyfyReader:
    """One organization of Tallyfy, to be read and not to be changed.

    ``tell`` is given a line when there is something to wait for.
    """

    def __init__(
        self,
        session: requests.Session,
        what: Access,
        *,
        per_minute: int,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        self._org_id = what.org_id
        self._sleep = sleep
        self._tell = tell
        self._pacing = Pacing(MemoryTable(), Rate.within(per_minute), clock)
        try:
            self.tallyfy = HttpTallyfy(
                read_only(session),
                what.base_url,
                what.tokens,
                capabilities=frozenset(),  # No capabilities: this client only reads.
                spend=self._take_turn,
                time_left=lambda: _SECONDS,
            )
        except ValueError as error:
            raise CliError(f"{error}.", Exit.USAGE) from error

    def patiently[T](self, call: Callable[[], T]) -> T:
        """Read, again where Tallyfy asked to wait or did not answer. Raises what ``call`` raises, in the end."""
        failures = pauses = 0
        while True:
            try:
                return call()
            except TokenRefused:
                raise
            except Throttled as wait:
                pauses += 1
                if wait.code is not Code.THROTTLED or wait.retry_after is None or pauses > _MOST_PAUSES:
                    raise
                self._tell(f"Tallyfy asked for a pause of {wait.retry_after:.0f} s.")
                self._pacing.block(self._org_id, wait.retry_after)
            except Retryable as error:
                failures += 1
                if failures >= _MOST_FAILURES:
                    raise
                self._tell(f"{error.reason} Trying again in {2**failures} s.")
                self._sleep(2**failures)

    def _take_turn(self, org_id: str) -> None:
        given = self._pacing.reserve(org_id, 1)
        if not given.calls:
            self._sleep(given.wait)
            self._pacing.overdraw(org_id)


def _without_token(target: Stack, org: str | None) -> str:
    """Ask the stack, which nobody named. If it cannot be reached, the token is what is missing here."""
    try:
        return one_organization(target, org)
    except Exception as error:
        expected = expected_error(error)
        if expected is None or expected.code is Exit.USAGE:
            raise
        given = f"No Tallyfy token was given. Set {TOKEN_VARIABLE}, or give --token-file."
        raise CliError(f"{given} Stack '{target.name}' was asked for its own: {expected}", expected.code) from error


def _token(file: Path | None) -> str | None:
    """Return the given token. It is never an argument, because other users of a machine can see arguments."""
    text = file.read_text(encoding="utf-8") if file else os.environ.get(TOKEN_VARIABLE, "")
    if file is None and not text.strip():
        return None
    token = token_in(text)
    if token is None:
        raise CliError(f"{file or TOKEN_VARIABLE} holds no token.", Exit.USAGE)
    return token
