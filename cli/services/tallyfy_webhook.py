"""Tallyfy's webhook of an organization: whether it calls this stack, and how that begins and ends.

Source of the three calls: Tallyfy's connector for n8n (2026-08). Tallyfy signs nothing, so the URL ends with a key. The
key is the secret of the source.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

import requests

from cli.clients.tallyfy_calls import Json, Seen, TallyfyCalls
from cli.ui.errors import CliError, Exit
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.urls import loopback_origin
from lifecycle.intake.sources import Source

_MEMBER = re.compile(r"[0-9]{1,18}")
_WATCHER = re.compile(r"[A-Za-z0-9-]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
"""What needs no escaping in a URL, so that Tallyfy and API Gateway cannot read it differently."""
_URL_FIELDS = ("webhook", "webhook_url", "url")
"""Where a registration may hold its URL (Tallyfy's connector looks at all three)."""
HIDDEN_KEY = "********"


@dataclass(frozen=True, slots=True)
class Registration:
    """One webhook that Tallyfy lists. ``since`` is in UTC, and ``None`` where Tallyfy does not say it."""

    id: str
    url: str
    since: datetime | None

    @property
    def host(self) -> str:
        """Scheme and host of the URL. The rest may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}"


@dataclass(frozen=True, slots=True)
class Registrations:
    """What Tallyfy lists, by whose it is."""

    connected: tuple[Registration, ...]
    """Those that call this stack with a key that it takes."""
    refused: tuple[Registration, ...]
    """Those that call this stack with another key: each delivery is answered with 401."""
    others: tuple[Registration, ...]
    """Those of other systems."""


@dataclass(frozen=True, slots=True)
class Connected:
    """How it stands after ``connect``."""

    registration: Registration
    already: bool = False
    """It was connected before. Nothing was registered."""
    finished: bool = False
    """The key was stored before, by hand or by a command that was cut off."""
    removed: int = 0
    """Registrations with a key that the stack does not take, which were removed."""
    replaced: tuple[Registration, ...] = ()
    """Webhooks of other systems that Tallyfy does not list any more."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What ``disconnect`` removed."""

    registrations: int
    secret: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationWebhook:
    """The webhook of one organization, and the secret of the source that it calls."""

    calls: TallyfyCalls
    org_id: str
    source: str
    api_url: str
    store: Secrets
    prefix: str
    """The stack's, before the names of its secrets."""

    @property
    def stored_as(self) -> str:
        """The name of the secret that holds the key."""
        return f"{self.prefix}/sources/{self.source}"

    def keys(self) -> list[str]:
        """The keys that the stack takes, the newest first; empty if there is no secret.

        Raises:
            CliError: The secret is there, and holds no key.
        """
        try:
            text = self.store.get(self.stored_as, fresh=True)
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            return []
        found = [key.decode("utf-8", "replace") for key in signing_secrets(text)]
        if not found:
            raise CliError(f"Secret '{self.stored_as}' holds no key. Delete it, then run the command again.")
        return found

    def registrations(self) -> Registrations:
        """Ask Tallyfy which webhooks the organization has.

        Raises:
            CliError: The token is not an admin's, or the organization does not have this kind of webhook.
        """
        seen = self.calls.call("GET", f"/organizations/{self.org_id}/watchers", {"notification": "webhook"})
        self._check(seen, "list the webhooks of the organization")
        found = [one for row in seen.rows if (one := _registration(row)) is not None]
        keys = self.keys()
        mine = {one.id: key for one in found if (key := self._key_in(one.url)) is not None}
        here = {one.id for one in found if f"{one.url}/".startswith(self._url(""))}
        return Registrations(
            connected=tuple(one for one in found if mine.get(one.id) in keys),
            refused=tuple(one for one in found if one.id in here and mine.get(one.id) not in keys),
            others=tuple(one for one in found if one.id not in here and mine.get(one.id) not in keys),
        )

    def connect(self, new_key: Callable[[], str], *, beside: bool) -> Connected:
        """Register the URL of this stack, once. ``beside`` allows that other systems have a webhook there.

        Raises:
            CliError: Nothing was registered, or it is not known whether it was; the text says what to do.
        """
        member = self._admin()
        before = self.registrations()
        removed = self._remove(before.refused) if before.connected else 0
        if before.connected:
            return Connected(before.connected[0], already=True, removed=removed)
        if before.others and not beside:
            raise CliError(
                f"The organization has a webhook of another system already: {_hosts(before.others)}. It is not known "
                "whether Tallyfy keeps it when a second one is registered. Nothing was registered. "
                "Give --beside to register all the same."
            )
        keys = self.keys()
        key = keys[0] if keys else new_key()
        if not _KEY.fullmatch(key):
            raise CliError(
                f"The key in secret '{self.stored_as}' cannot be part of a URL. Store one of letters and digits there."
            )
        if not keys:  # First the key, then the registration: so no delivery meets a stack that does not know its key.
            self.store.put(self.stored_as, key, create=True)
        answer = self._register(member, key)
        after = self.registrations()
        if not after.connected:
            raise CliError(
                f"Tallyfy does not list the webhook after it was registered ({answer}). The key is stored. "
                "Run the command again: it goes on from here."
            )
        gone = {one.id for one in before.others} - {one.id for one in after.others}
        return Connected(
            after.connected[0],
            finished=bool(keys),
            removed=self._remove(after.refused),
            replaced=tuple(one for one in before.others if one.id in gone),
        )

    def disconnect(self, *, keep_secret: bool) -> Disconnected:
        """Remove the registrations that call this stack, then the secret. The webhooks of other systems stay.

        Raises:
            CliError: A registration could not be removed. The secret is kept then.
        """
        self._admin()
        found = self.registrations()
        removed = self._remove([*found.connected, *found.refused])
        left = self.registrations()
        if left.connected or left.refused:
            raise CliError("Tallyfy still lists the webhook. The secret was kept. Run the command again.")
        stored = bool(self.keys())
        if stored and not keep_secret:
            self.store.remove(self.stored_as)
        return Disconnected(removed, secret=stored and not keep_secret)

    def masked(self, registration: Registration) -> str:
        """The URL of a registration of this stack, without its key."""
        path = f"/webhooks/{self.source}"
        return f"{registration.url.partition(path)[0]}{path}/{HIDDEN_KEY}"

    def _url(self, key: str) -> str:
        return f"{self.api_url}/webhooks/{self.source}/{quote(key, safe='')}"

    def _key_in(self, url: str) -> str | None:
        """The key in a URL that ends as those of this source do, under whatever domain."""
        before, _, key = urlsplit(url).path.rstrip("/").rpartition("/")
        return unquote(key) if before.endswith(f"/webhooks/{self.source}") else None

    def _admin(self) -> str:
        """The id of the token's member, who must be an admin."""
        me = self.calls.call("GET", f"/organizations/{self.org_id}/me")
        if not me.succeeded:
            raise CliError(
                f"Tallyfy does not show organization {self.org_id} to the token ({me.status}). Check the id and "
                "the token.",
                Exit.USAGE,
            )
        if me.row.get("role") != "admin":
            raise _no_admin(str(me.row.get("role")))
        member = str(self.calls.call("GET", "/me").row.get("id"))
        if not _MEMBER.fullmatch(member):
            raise CliError("Tallyfy does not say which member the token belongs to (GET /me has no id).")
        return member

    def _register(self, member: str, key: str) -> str:
        """Register, and say how that was answered. What is unclear is settled by the list that is read next."""
        body = {
            "object_type": "organization",
            "object_id": self.org_id,
            "notification_type": "webhook",
            "frequency": "electric",
            "webhook": self._url(key),
        }
        path = f"/organizations/{self.org_id}/users/{member}/add-watcher"
        try:
            seen = self.calls.call("POST", path, body=body)
        except requests.RequestException as error:
            return type(error).__name__
        if seen.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._check(seen, "register the webhook")
        return str(seen.status)

    def _remove(self, registrations: Iterable[Registration]) -> int:
        removed = 0
        for one in registrations:
            seen = self.calls.call("DELETE", f"/organizations/{self.org_id}/remove-watcher/{one.id}")
            if seen.status != HTTPStatus.NOT_FOUND:  # Then it is gone already.
                self._check(seen, "remove the webhook")
            removed += 1
        return removed

    def _check(self, seen: Seen, what: str) -> None:
        if seen.succeeded:
            return
        if seen.status == HTTPStatus.FORBIDDEN:
            raise _no_admin(None)
        if seen.status == HTTPStatus.NOT_FOUND:
            raise CliError(
                f"Organization {self.org_id} does not have the webhook of an organization yet (404). Tallyfy has been "
                "rolling it out since July 2026. Until it has, set a webhook in each template (docs/connect.md)."
            )
        raise CliError(f"Tallyfy did not {what} ({seen.status}). Run the command again.", Exit.UNREACHABLE)


def check_source(name: str, source: Source, org_id: str, *, tallyfy_url: str, api_url: str) -> None:
    """Check that deliveries of the organization can reach the source and mean something there.

    Raises:
        CliError: They cannot; the text names what to change.
    """
    if not source.scheme.key_in_path:
        raise CliError(
            f"Source '{name}' does not take its secret from the path. Tallyfy can only call a URL: write "
            'scheme = "shared-secret" without header, query or field in sources.toml.',
            Exit.USAGE,
        )
    named = {rule.org_id for rule in source.commands}
    if org_id not in named:
        acts = f"acts in organization {' and '.join(sorted(named))}" if named else "has no commands"
        raise CliError(
            f"Source '{name}' {acts}, not in {org_id}. Write org_id = \"{org_id}\" into its commands in sources.toml, "
            "deploy, then connect.",
            Exit.USAGE,
        )
    if loopback_origin(api_url) and not loopback_origin(tallyfy_url):
        raise CliError(f"Tallyfy cannot reach {api_url}. Give --api-url with the URL of a deployed stack.", Exit.USAGE)


def _no_admin(role: str | None) -> CliError:
    whose = f"a member with the role '{role}'" if role else "a member who is no admin (403)"
    return CliError(
        f"The token belongs to {whose}. Tallyfy shows and changes webhooks of an organization to admins only. Store an "
        "admin's token for the stack, or give one with --token-file.",
        Exit.USAGE,
    )


def _hosts(registrations: Iterable[Registration]) -> str:
    return ", ".join(f"{one.host} (number {one.id})" for one in registrations)


def _registration(row: Json) -> Registration | None:
    url = next((value for name in _URL_FIELDS if isinstance(value := row.get(name), str)), None)
    number = str(row.get("id"))
    if url is None or not _WATCHER.fullmatch(number):
        return None
    return Registration(number, url, _moment(row.get("created_at")))


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
