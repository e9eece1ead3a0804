"""Secrets by name, from Secrets Manager and nowhere else, and how their text is read.

Both a plain string and JSON are understood, so that a secret can be pasted by hand or written by a program.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from lifecycle.words.errors import Code, Retryable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MOST_SECRETS = 2
_CACHE_SECONDS = 300
_MISSING_SECONDS = 60


class Secrets(Protocol):
    """Where secrets come from."""

    def get(self, name: str, *, fresh: bool = False) -> str:
        """The secret's text; ``fresh`` goes past the cache. Raises ``Retryable`` if it cannot be had."""


@dataclass(slots=True)
class MemorySecrets:
    """Secrets in memory; counts how often each was fetched afresh."""

    texts: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, int] = field(default_factory=dict)

    def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets``."""
        self.fetched[name] = self.fetched.get(name, 0) + int(fresh)
        if name not in self.texts:
            raise _missing(name)
        return self.texts[name]


class ManagedSecrets:
    """Secrets Manager through Powertools parameters, cached for five minutes."""

    def __init__(self, client: "SecretsManagerClient", ticks: Callable[[], float] = time.monotonic) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._ticks = ticks
        self._missing_until: dict[str, float] = {}

    def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets``."""
        # Powertools remembers no failures, and strangers may ask for a source without a secret all day.
        if not fresh and self._missing_until.get(name, 0.0) > self._ticks():
            raise _missing(name)
        try:
            text = self._provider.get(name, max_age=_CACHE_SECONDS, force_fetch=fresh)
        except GetParameterError as error:
            # Powertools raises without `from`: AWS's own exception is the context, not the cause.
            if type(error.__context__).__name__ == "ResourceNotFoundException":
                self._missing_until[name] = self._ticks() + _MISSING_SECONDS
                raise _missing(name) from error
            raise Retryable(Code.UNAVAILABLE, f"Secret '{name}' could not be read from Secrets Manager.") from error
        if not isinstance(text, str) or not text.strip():
            raise Retryable(Code.CONFIGURATION, f"Secret '{name}' is empty or binary. Store text in it.")
        return text


def signing_secrets(text: str) -> list[bytes]:
    """The one or two secrets of a source: ``{"secrets": ["new", "old"]}`` during a rotation, or the plain text.

    Anything else gives none, and none accepts nobody.
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        return [text.strip().encode()] if text.strip() else []
    found = parsed.get("secrets") if isinstance(parsed, dict) else None
    if not isinstance(found, list):
        return []
    texts = [item.strip() for item in found[:_MOST_SECRETS] if isinstance(item, str)]
    return [text.encode("utf-8", "surrogatepass") for text in texts if text]


def token_in(text: str) -> str | None:
    """The token of an organization: ``{"token": "…"}`` or the plain text; ``None`` if there is none to use."""
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = {"token": text.strip()}
    token = parsed.get("token") if isinstance(parsed, dict) else None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() and token.strip() else None


def _missing(name: str) -> Retryable:
    return Retryable(Code.CONFIGURATION, f"Secret '{name}' does not exist. Create it in Secrets Manager.")
