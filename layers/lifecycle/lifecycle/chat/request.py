"""One line or one pressed button, as a chat tool read it."""

from dataclasses import dataclass

CHANNEL_MARK = "@"
"""Begins the address of a channel of ``notices.toml``. No tool makes such an address itself."""
_MOST_ADDRESS = 480
"""Characters. With the name of its tool it fits ``Command.reply_to``."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button that was pressed: ``kind`` says what it asks for, ``value`` of what, ``reason`` why."""

    kind: str
    value: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One line or one pressed button, as a tool read it. What is missing is empty."""

    identities: tuple[str, ...]
    """Who sent it, as ``people.toml`` names people of this tool; the narrowest first."""
    line: str = ""
    """What was typed, in plain text."""
    pressed: Pressed | None = None
    delivery: str = ""
    """Names this request and every copy of it."""
    address: str = ""
    """Where later answers go, in the tool's own form."""

    @property
    def usable_address(self) -> str | None:
        """The address, if a command can carry it. One that begins with ``@`` would name a channel of notices."""
        fits = 0 < len(self.address) <= _MOST_ADDRESS and self.address.isascii()
        return self.address if fits and not self.address.startswith(CHANNEL_MARK) else None
