"""Reads secrets by name from Secrets Manager, and only from there.

The text of a secret is plain or JSON, so that a person can paste it and a program can write it.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.aws.errors import error_code, translated
from lifecycle.domain.errors import Code, Retryable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MOST_SECRETS = 2
_CACHE_SECONDS = 300
_MISSING_SECONDS = 60
_NOT_FOUND = "ResourceNotFoundException"
_UNUSABLE = {
    "InvalidRequestException": "is marked for deletion. Restore it in Secrets Manager.",
    "AccessDeniedException": "may not be read. Allow the function's role to read it.",
    "DecryptionFailure": "cannot be decrypted. Check the KMS key that encrypts it.",
}
"""Error codes of AWS that need a person, with what to do."""


class Unusable(Retryable):
    """The secret exists, but a person must act before it can be read. This is not an outage.

    A command that needs a token waits, as for a missing secret. A sender is asked to try again, so no delivery is lost.
    """

    counted = False


class Secrets(Protocol):
    """Reads and stores secrets."""

    def get(self, name: str, *, fresh: bool = False) -> str:
        """The text of a secret; ``fresh`` ignores the cache. Raises ``Retryable`` if it cannot be read."""

    def stored_at(self, name: str) -> datetime | None:
        """When its current version was stored, in UTC; ``None`` if unknown. Raises what ``get`` raises."""

    def put(self, name: str, text: str, *, create: bool = False) -> None:
        """Store a new version of a secret; ``create`` allows a new secret. Raises what ``get`` raises.

        Other processes may use the old version for five more minutes, unless they read with ``fresh``.
        """

    def remove(self, name: str) -> None:
        """Delete a secret for good, at once. One that does not exist is no error. Raises ``Retryable``."""


@dataclass(slots=True)
class MemorySecrets:
    """Secrets in memory, for tests. Counts fresh reads; ``stored`` has the times of storage."""

    texts: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, int] = field(default_factory=dict)
    stored: dict[str, datetime] = field(default_factory=dict)

    def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets``."""
        self.fetched[name] = self.fetched.get(name, 0) + int(fresh)
        if name not in self.texts:
            raise _missing(name)
        return self.texts[name]

    def stored_at(self, name: str) -> datetime | None:
        """See ``Secrets``."""
        if name not in self.texts:
            raise _missing(name)
        return self.stored.get(name)

    def put(self, name: str, text: str, *, create: bool = False) -> None:
        """See ``Secrets``."""
        if name not in self.texts and not create:
            raise _missing(name)
        self.texts[name] = text

    def remove(self, name: str) -> None:
        """See ``Secrets``."""
        self.texts.pop(name, None)


class ManagedSecrets:
    """Secrets Manager. A text is cached for five minutes, a missing secret for one minute."""

    def __init__(self, client: "SecretsManagerClient", ticks: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._ticks = ticks
        self._kept: dict[str, tuple[float, str]] = {}
        self._missing_until: dict[str, float] = {}

    def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets``."""
        until, text = self._kept.get(name, (0.0, ""))
        if fresh or until <= self._ticks():
            # Without this entry, every request for a source that has no secret would call Secrets Manager.
            if not fresh and self._missing_until.get(name, 0.0) > self._ticks():
                raise _missing(name)
            text = str(self._read(name).get("SecretString", ""))
            self._kept[name] = (self._ticks() + _CACHE_SECONDS, text)
        if not text.strip():
            raise Retryable(Code.CONFIGURATION, f"Secret '{name}' is empty or binary. Store text in it.")
        return text

    def stored_at(self, name: str) -> datetime | None:
        """See ``Secrets``. Not cached, because it is needed only a few times a day.

        It uses GetSecretValue, which the role may call anyway; DescribeSecret would need another permission.
        """
        stored = self._read(name).get("CreatedDate")
        return stored.astimezone(UTC) if isinstance(stored, datetime) else None

    def _read(self, name: str) -> Mapping[str, object]:
        try:
            answer: Mapping[str, object] = self._client.get_secret_value(SecretId=name)
        except ClientError as error:
            if error_code(error) == _NOT_FOUND:
                self._missing_until[name] = self._ticks() + _MISSING_SECONDS
                raise _missing(name) from error
            if error_code(error) in _UNUSABLE:
                raise _unusable(name, error_code(error)) from error
            raise _unreadable(name) from error
        except BotoCoreError as error:
            raise _unreadable(name) from error
        return answer

    def put(self, name: str, text: str, *, create: bool = False) -> None:
        """See ``Secrets``."""
        with translated(f"store secret '{name}'"):
            try:
                self._client.put_secret_value(SecretId=name, SecretString=text)
            except ClientError as error:
                if error_code(error) in _UNUSABLE:
                    raise _unusable(name, error_code(error)) from error
                if error_code(error) != _NOT_FOUND:
                    raise
                if not create:
                    raise _missing(name) from error
                self._client.create_secret(Name=name, SecretString=text)
        self._missing_until.pop(name, None)
        self.get(name, fresh=True)

    def remove(self, name: str) -> None:
        """See ``Secrets``. Without a recovery window, during which no secret of this name could be made."""
        with translated(f"delete secret '{name}'"):
            try:
                self._client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
            except ClientError as error:
                if error_code(error) != _NOT_FOUND:
                    raise
        self._kept.pop(name, None)


def signing_secrets(text: str) -> list[bytes]:
    """The one or two secrets of a source: ``{"secrets": ["new", "old"]}`` during a rotation, or the plain text.

    A secret of digits alone is text, although it is also JSON. Any other JSON gives no secret, so every request fails.
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = 0
    if isinstance(parsed, int | float) and not isinstance(parsed, bool):
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


def _unreadable(name: str) -> Retryable:
    return Retryable(Code.UNAVAILABLE, f"Secret '{name}' could not be read from Secrets Manager.", outage=True)


def _unusable(name: str, code: str) -> Unusable:
    return Unusable(Code.UNAVAILABLE, f"Secret '{name}' {_UNUSABLE[code]}")
