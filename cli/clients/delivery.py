"""One signed delivery: which command, from which source, under which delivery id."""

import binascii
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cli.clients.signing import sign
from cli.ui.errors import CliError, Exit
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.domain.capabilities import Capability, capability
from lifecycle.domain.commands import CommandRequest
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.intake.sources import Source

_SIGNED = frozenset({"standard-webhooks", "hmac"})


@dataclass(frozen=True, slots=True)
class Delivery:
    """An unsigned delivery. It is signed when it is sent."""

    source: str
    declared: Source
    body: bytes
    delivery_id: str

    def headers(self, secret: str, now: datetime, *, uri: str = "") -> dict[str, str]:
        """The headers that sign it. ``uri`` is where it is posted. They expire, by default after five minutes.

        Raises:
            CliError: The secret cannot be used for signing.
        """
        try:
            return sign(
                self.declared,
                secret,
                self.body,
                delivery_id=self.delivery_id,
                timestamp=int(now.timestamp()),
                uri=uri,
            )
        except (ValueError, binascii.Error) as error:
            raise CliError(f"The secret of source '{self.source}' cannot be used: {error}.") from error


def new_delivery_id() -> str:
    """Return a new, unique delivery id."""
    return f"msg_{secrets.token_hex(12)}"


def delivery(
    source: str, declared: Source, wanted: Mapping[str, object], delivery_id: str
) -> tuple[Delivery, Capability]:
    """Make a delivery, checked as the stack will check it.

    Raises:
        CliError: It is not a command, Tallyfy has no such action, or the source does not speak our own words.
    """
    if declared.commands or declared.scheme.name not in _SIGNED:
        raise CliError(
            f"Source '{source}' sends its own payloads, which sources.toml translates. Send as another source. "
            f"`lifecycle source try {source} <file>` shows what its payload becomes.",
            Exit.USAGE,
        )
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", delivery_id):
        raise CliError("A delivery id has 1 to 200 visible ASCII characters and no spaces.", Exit.USAGE)
    if declared.scheme.names_deliveries and "." in delivery_id:
        raise CliError("A delivery id of Standard Webhooks must not contain a dot.", Exit.USAGE)
    fields = {name: value for name, value in wanted.items() if value is not None and value is not False}
    if not declared.scheme.names_deliveries:
        fields["delivery_id"] = delivery_id  # This scheme has no header for the delivery id.
    body = json.dumps(fields).encode()
    try:
        request = CommandRequest.parse(body)
        doing = capability(request.resource, request.action)
    except Rejected as error:
        raise CliError(error.reason, Exit.USAGE) from error
    return Delivery(source, declared, body, delivery_id), doing


def stored_secret(secrets: Secrets, prefix: str, source: str) -> str:
    """The newest signing secret of a source, from Secrets Manager.

    Raises:
        CliError: There is no such secret, or it holds none.
        Retryable: AWS is unavailable.
    """
    name = f"{prefix}/sources/{source}"
    try:
        return newest_secret(secrets, name)
    except Retryable as error:
        if error.code is not Code.CONFIGURATION:
            raise
        raise CliError(
            f"{error.reason} Deploy sources.toml with source '{source}' first. The local stack does both when it "
            "starts: stop it and start it again.",
            Exit.UNREACHABLE,
        ) from error


def newest_secret(secrets: Secrets, name: str) -> str:
    """The newest signing secret of a name.

    Raises:
        CliError: The secret holds none.
    """
    found = signing_secrets(secrets.get(name))
    if not found:
        raise CliError(f'Secret \'{name}\' holds no signing secret. Store the text, or {{"secrets": ["new", "old"]}}.')
    return found[0].decode()
