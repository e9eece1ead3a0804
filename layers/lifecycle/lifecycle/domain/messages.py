"""What a person is shown in a chat tool. No tool is named here: each tool's folder turns an answer into its own form.

``text`` is our own wording; what stands between backticks in it is to be copied as it is. ``lines`` may hold what
others wrote (a title, a reason, a name): a tool shows them plainly, and reads no links, mentions or marks in them.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from lifecycle.domain.commands import one_line

_MOST_QUOTED = 500


class ButtonKind(StrEnum):
    """What a button asks for. Never renamed: messages that were shown keep their buttons."""

    APPROVE = "approve"
    REJECT = "reject"
    UNDO = "undo"
    ARCHIVE = "archive"
    RESTORE = "restore"
    DELETE = "delete"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Confirm:
    """What a person is asked once more before a button counts, where the tool can ask."""

    title: str
    text: str
    yes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Something to press. ``typed`` is the line with the same effect, for tools without buttons; ``None``: none has."""

    kind: ButtonKind
    label: str
    value: str
    typed: str | None = None
    danger: bool = False
    confirm: Confirm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of an answer, with its buttons below."""

    text: str = ""
    lines: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    reason_for: str | None = None
    """Names a field for a reason, which goes with each button of this section; ``None``: no reason is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person is shown. ``text`` alone says the essence; sections, where there are any, are shown below it."""

    text: str
    sections: tuple[Section, ...] = ()
    replaces: bool = False
    """Whether the message whose button was pressed is shown no more, where the tool can replace it."""

    def to_json(self) -> str:
        """As ASCII JSON."""
        return json.dumps(asdict(self))


def quoted(text: str) -> str:
    """What others wrote, on one line, to stand within our own wording: it cannot end a part between backticks."""
    return one_line(text, most=_MOST_QUOTED).replace("`", "'")


def outcome(text: str, undo: str | None = None) -> Answer:
    """How something ended; ``undo`` is the intent that a button below takes back."""
    if undo is None:
        return Answer(text=text)
    button = Button(kind=ButtonKind.UNDO, label="Undo", value=undo, typed=f"undo {undo}")
    return Answer(text=text, sections=(Section(buttons=(button,)),))
