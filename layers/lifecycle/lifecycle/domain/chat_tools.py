"""The chat tools from which people may write, as data: what names a person there, and whether it proves who they are.

To add a tool, declare it here and write its folder in ``lifecycle.chat``. ``people.toml``, the names that no source may
have, and ``lifecycle check`` follow from the declaration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatToolFacts:
    """One chat tool."""

    name: str
    """Its key in ``people.toml``, its folder, the source of its commands, and the end of its secret's name."""
    label: str
    """In messages to people."""
    identity: str
    """A regular expression: what names one person, with the workspace or tenant in front of the slash."""
    example: str
    proves_person: bool
    """Whether a request proves which person sent it. Without that: reversible actions only, and never approvals."""
    command: str
    """What people write in front of a line."""


_TOOLS = (
    ChatToolFacts(
        name="slack",
        label="Slack",
        # An Enterprise Grid organization (E…) names the same person in all its workspaces.
        identity=r"^[TE][A-Z0-9]{2,20}/[UW][A-Z0-9]{2,20}$",
        example="T012ABCDE/U034FGHIJ",
        proves_person=True,
        command="/tallyfy",
    ),
    ChatToolFacts(
        name="google",
        label="Google Chat",
        identity=r"^[A-Za-z0-9_-]{3,40}/[a-z0-9._%+-]{1,64}@[a-z0-9.-]{3,120}$",
        example="1a2b3c4/ada@example.com",
        proves_person=True,
        command="/tallyfy",
    ),
    ChatToolFacts(
        name="teams",
        label="Microsoft Teams",
        identity=r"^[0-9a-f-]{36}/[0-9a-f-]{36}$",
        example="72f988bf-86f1-41af-91ab-2d7cd011db47/8f0c2a3e-1b2d-4c5e-9f60-718293a4b5c6",
        # Teams signs with a key that belongs to a team. Its owners hold it and could sign for anybody.
        proves_person=False,
        command="@Tallyfy",
    ),
)
CHAT_TOOLS: Final[Mapping[str, ChatToolFacts]] = MappingProxyType({tool.name: tool for tool in _TOOLS})
"""All chat tools by name."""
