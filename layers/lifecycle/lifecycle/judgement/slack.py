"""A Slack slash command, read. Pure and total over any form.

Sources: https://docs.slack.dev/interactivity/implementing-slash-commands and
https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from lifecycle.judgement.signatures import Signature
from lifecycle.judgement.translate import Untranslatable, linked_id
from lifecycle.words.capabilities import Action, Resource
from lifecycle.words.commands import ID_PATTERN
from lifecycle.words.errors import Code, Rejected

SIGNATURE = Signature(
    header="x-slack-signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="x-slack-request-timestamp",
)
HELP = (
    "*/tallyfy archive <link or id>* archives a process\n"
    "*/tallyfy restore <link or id>* brings it back\n"
    "*/tallyfy status <command id>* says what became of a command\n"
    "Write `task` or `template` before the link where it is not a process."
)
_MOST_FIELDS = 100
_KINDS: Mapping[str, Resource] = {
    "process": Resource.RUN,
    "run": Resource.RUN,
    "task": Resource.TASK,
    "template": Resource.TEMPLATE,
    "tag": Resource.TAG,
}


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
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise Rejected(Code.INVALID, "The body is no form.") from None
        names = ("team_id", "user_id", "user_name", "text", "trigger_id", "response_url")
        return cls(*(fields.get(name, "") for name in names))


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


def understand(text: str) -> Ask | StatusOf | None:
    """What a line means; ``None`` is a call for help. Raises ``Rejected`` with a sentence for the person."""
    first, *rest = text.split() or [""]
    match [first.lower(), *rest]:
        case ["" | "help", *_]:
            return None
        case ["status", intent_id]:
            return StatusOf(intent_id)
        case ["archive" | "restore" as verb, *rest] if rest:
            resource = _KINDS.get(rest[0].lower())
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
