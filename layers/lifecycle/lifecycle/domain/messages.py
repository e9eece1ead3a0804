"""Messages to a person in a chat tool. Each tool's folder converts an answer to the tool's own format.

``text`` is our own wording; a person copies the parts between backticks. ``lines`` may contain text that others wrote
(a title, a reason, a name): a tool shows it as plain text, without links, mentions or formatting.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from lifecycle.domain.commands import one_line

_MOST_QUOTED = 500


class ButtonKind(StrEnum):
    """The action of a button. Values are never renamed, because earlier messages keep their buttons."""

    APPROVE = "approve"
    REJECT = "reject"
    UNDO = "undo"
    ARCHIVE = "archive"
    RESTORE = "restore"
    DELETE = "delete"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Confirm:
    """The question that a person confirms before a button takes effect, in tools that support it."""

    title: str
    text: str
    yes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button. ``typed`` is the line with the same effect, for tools without buttons; ``None`` if no line has it."""

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
    """A message to a person. ``text`` is its essential part; the sections, if any, are shown below it."""

    text: str
    sections: tuple[Section, ...] = ()
    replaces: bool = False
    """Whether the message whose button was pressed is shown no more, where the tool can replace it."""

    def to_json(self) -> str:
        """As ASCII JSON."""
        return json.dumps(asdict(self))


def quoted(text: str) -> str:
    """Text that others wrote, as one line for our own wording. It cannot end a part between backticks."""
    return one_line(text, most=_MOST_QUOTED).replace("`", "'")


def outcome(text: str, undo: str | None = None) -> Answer:
    """The answer about how a command ended. ``undo`` is the intent that the button below it undoes."""
    if undo is None:
        return Answer(text=text)
    button = Button(kind=ButtonKind.UNDO, label="Undo", value=undo, typed=f"undo {undo}")
    return Answer(text=text, sections=(Section(buttons=(button,)),))
