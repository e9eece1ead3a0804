"""A Slack slash command, and a press of one of our buttons there, read. Pure and total over any form.

Sources: https://docs.slack.dev/interactivity/implementing-slash-commands,
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload and
https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.errors import Code, Rejected
from lifecycle.intake.mapping import linked_id
from lifecycle.intake.payload import Untranslatable
from lifecycle.intake.schemes.hmac import SignatureFormat

SIGNATURE = SignatureFormat(
    header=("x-slack-signature",),
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="x-slack-request-timestamp",
)
HELP = (
    "*/tallyfy archive <link or id>* archives a process\n"
    "*/tallyfy restore <link or id>* brings it back\n"
    "*/tallyfy status <command id>* says what became of a command\n"
    "*/tallyfy undo <command id>* takes back what a command did\n"
    "*/tallyfy approvals* shows what you may approve or reject\n"
    "*/tallyfy withdraw <hash>* takes your own approval back\n"
    "Write `task` or `template` before the link where it is not a process."
)
_MOST_FIELDS = 100
_LONGEST_URL = 500


@dataclass(frozen=True, slots=True)
class Slash:
    """The fields of a slash command that matter; what is missing is empty."""

    team: str
    user: str
    user_name: str
    text: str
    trigger: str
    response_url: str

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read the form. Raises ``Rejected`` if it is none."""
        fields = _form(body)
        names = ("team_id", "user_id", "user_name", "text", "trigger_id", "response_url")
        return cls(*(fields.get(name, "") for name in names))


@dataclass(frozen=True, slots=True)
class Press:
    """A press of a button; what is missing is empty. ``action`` says what it asks for, ``value`` of what."""

    team: str
    user: str
    action: str
    value: str
    response_url: str

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read the form around the payload. Raises ``Rejected`` if it tells of no press."""
        try:
            payload = json.loads(_form(body).get("payload", ""))
        except (ValueError, RecursionError):
            payload = None
        fields = _fields(payload)
        actions = fields.get("actions")
        pressed = _fields(actions[0]) if isinstance(actions, list) and actions else {}
        if fields.get("type") != "block_actions" or not pressed:
            raise Rejected(Code.INVALID, "The body tells of no button that was pressed.")
        return cls(
            team=_home(fields),
            user=_text(_fields(fields.get("user")).get("id")),
            action=_text(pressed.get("action_id")),
            value=_text(pressed.get("value")),
            response_url=_text(fields.get("response_url")),
        )


def way_back(url: str) -> str | None:
    """Where the result can be told later; ``None`` if a command cannot carry it."""
    return url if 0 < len(url) <= _LONGEST_URL and url.isascii() else None


@dataclass(frozen=True, slots=True)
class Ask:
    """``archive`` or ``restore`` of one thing."""

    action: Action
    resource: Resource
    id: str


@dataclass(frozen=True, slots=True)
class StatusOf:
    """``status`` of one command."""

    intent_id: str


@dataclass(frozen=True, slots=True)
class UndoOf:
    """``undo`` of one command."""

    intent_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """``approvals``: what waits for the person who asks."""


@dataclass(frozen=True, slots=True)
class WithdrawalOf:
    """``withdraw``: the approval that the person gave to a request."""

    hash: str


type Meant = Ask | StatusOf | UndoOf | Waiting | WithdrawalOf


def understand(text: str) -> Meant | None:
    """What a line means; ``None`` is a call for help. Raises ``Rejected`` with a sentence for the person."""
    first, *rest = text.split() or [""]
    match [first.lower(), *rest]:
        case ["" | "help", *_]:
            return None
        case ["status", intent_id]:
            return StatusOf(intent_id)
        case ["undo", intent_id]:
            return UndoOf(intent_id)
        case ["withdraw", name]:
            return WithdrawalOf(name)
        case ["approvals"]:
            return Waiting()
        case ["archive" | "restore" as verb, *rest] if rest:
            resource = Resource.named(rest[0])
            target = rest[1:] if resource else rest
            if len(target) != 1:
                raise Rejected(Code.INVALID, "Name exactly one thing: a link or an id.")
            return Ask(Action(verb), resource or Resource.RUN, _id_in(target[0]))
        case _:
            raise Rejected(Code.INVALID, "I did not understand that. `/tallyfy help` shows what I know.")


def _id_in(target: str) -> str:
    if re.fullmatch(ID_PATTERN[1:-1], target):
        return target
    try:
        # Slack writes a pasted link as <https://…|text>.
        return linked_id(target.strip("<>").split("|")[0])
    except Untranslatable:
        raise Rejected(Code.INVALID, "That is no Tallyfy link with an id, and no id (32 hex characters).") from None


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Rejected(Code.INVALID, "The body is no form.") from None


def _home(payload: Mapping[str, object]) -> str:
    """The workspace by which a person is known.

    ``team`` is where they pressed, ``user.team_id`` where they are at home. In a channel shared with another company
    these differ, and home counts. Within an Enterprise organization home is the organization: then it must be that of
    the workspace. An app installed for a whole organization may be told no ``team``.
    """
    team, home = _fields(payload.get("team")), _text(_fields(payload.get("user")).get("team_id"))
    here = _text(team.get("id"))
    if not home.startswith("E"):
        return home or here
    owners = {_text(team.get("enterprise_id")), _text(_fields(payload.get("enterprise")).get("id"))}
    return here if home in owners else ""


def _fields(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
