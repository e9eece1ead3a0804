"""Signature schemes: how a source proves that it sent a request. One file per scheme, imported only when it is used.

To add a scheme, write ``schemes/<name>.py`` with a subclass of ``Scheme`` and ``SCHEME = <that class>``. The fields of
the class are the settings that a source of ``sources.toml`` may give. In the module's name, ``_`` stands for ``-``.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.validation import SettingsError, did_you_mean


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """The sender holds the secret.

    ``delivery_id`` and ``timestamp`` are the signed texts; ``None`` and empty if the scheme signs none.
    """

    delivery_id: str | None
    timestamp: str = ""


@dataclass(frozen=True, slots=True)
class UnverifiedRequest:
    """Not accepted. ``why`` is for the log and quotes nothing from the request."""

    why: str


class Scheme(BaseModel, ABC):
    """One way to prove who sent a request. Its fields are its settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    """As in ``sources.toml``."""
    over_http: ClassVar[bool] = True
    """Whether its sources send HTTP requests. Events of EventBridge come over the bus."""

    @property
    def id_header(self) -> str | None:
        """The header of the delivery's signed id; ``None`` if the scheme signs none."""
        return None

    @property
    def names_deliveries(self) -> bool:
        """Whether every delivery has an id that a copy cannot change."""
        return self.id_header is not None

    @property
    def wanted_detail_types(self) -> frozenset[str]:
        """The ``detail-type`` values of the events that its sources take from the bus."""
        return frozenset()

    @property
    def sender_account(self) -> str | None:
        """The AWS account that must have sent its events; ``None`` for any account."""
        return None

    @property
    def key_in_path(self) -> bool:
        """Whether the secret is the last part of the path, ``/webhooks/<name>/<key>``."""
        return False

    @property
    def why_not_irreversible(self) -> str:
        """Why a source of this scheme may not ask for irreversible actions; empty if it may."""
        return ""

    @abstractmethod
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        """Decide whether a holder of one of ``secrets`` sent the request. Never raises: any invalid request is refused.

        All secrets are always compared, in constant time, so that a rotation needs no gap. An empty secret accepts
        nobody. ``now`` is in seconds since 1970, UTC.
        """

    @abstractmethod
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        """Return the request as the sender would send it: for tests and for the command line.

        ``timestamp`` is in seconds since 1970, UTC. ``delivery_id`` is used if the scheme signs one.

        Raises:
            ValueError: The secret does not fit the scheme. The text does not quote it.
        """

    @abstractmethod
    def carries_proof(self, request: HttpRequest) -> bool:
        """Whether the request carries anything to verify."""

    def signed_at(self, request: HttpRequest) -> float | None:  # noqa: ARG002 - only for schemes with a timestamp
        """The request's own timestamp, in seconds since 1970, UTC; ``None`` if the scheme signs none. Not verified."""
        return None

    def new_secret(self, random: bytes) -> str:
        """Make a secret in this scheme's form from random bytes."""
        return random.hex()

    def sends(self, event_source: object, detail_type: object, account: object) -> bool:  # noqa: ARG002 - eventbridge
        """Whether an event of EventBridge comes from this source."""
        return False


def scheme_names() -> list[str]:
    """Return the names of all schemes, in alphabetical order. Imports none of them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def scheme_class(name: str) -> type[Scheme]:
    """Import the scheme of this name.

    Raises:
        ValueError: There is none; the text names all schemes.
    """
    if name not in scheme_names():
        known = ", ".join(f"'{known}'" for known in scheme_names())
        msg = f"there is no scheme '{name}'.{did_you_mean(name, scheme_names())} The schemes are {known}"
        raise ValueError(msg)
    found: type[Scheme] = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").SCHEME
    return found


def build_scheme(name: str, settings: Mapping[str, object]) -> Scheme:
    """Build a scheme from the settings of a source.

    Raises:
        ValueError: There is no such scheme, it has no such setting, or a setting is wrong; the text names the key.
    """
    found = scheme_class(name)
    unknown = sorted(set(settings) - set(found.model_fields))
    if unknown:
        takes = ", ".join(found.model_fields) or "none"
        msg = f"{', '.join(unknown)}: neither a key of a source nor a setting of the scheme {name}, which takes {takes}"
        raise ValueError(msg)
    try:
        return found.model_validate(dict(settings))
    except ValidationError as error:
        raise SettingsError(error, found, above=1) from None
