"""Who hears what where: ``notices.toml``, checked as a whole. An empty file tells nobody anything by chat."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, field_validator, model_validator

from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.validation import did_you_mean


class NoticeKind(StrEnum):
    """What a notice is about. The names are keys of the table ``tell``."""

    APPROVAL = "approval"
    """Something waits for an approval: when it is asked for, at half time, and when it has expired."""
    PLAN = "plan"
    """The plan of the night, and what was applied or undone of a plan."""
    DEAD_LETTER = "dead_letter"
    """A command or message that failed and needs somebody."""
    DIGEST = "digest"
    """Once a day: the dead letters that wait."""
    TROUBLE = "trouble"
    """What keeps the next sweep from acting, such as an old token."""
    WARNING = "warning"
    """What a rule with ``warn_days`` will act on."""


def _tool(name: str) -> str:
    if name not in CHAT_TOOLS:
        msg = f"a tool is one of {', '.join(CHAT_TOOLS)}.{did_you_mean(name, CHAT_TOOLS)}"
        raise ValueError(msg)
    return name


class Channel(BaseModel):
    """A room of a chat tool. Its address is the secret ``<stack>/notices/<name of the channel>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: Annotated[str, AfterValidator(_tool)]


type ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]


class Notices(OperatorsFile):
    """The whole file."""

    file_name = "notices.toml"
    pattern_texts = {r"^[a-z0-9][a-z0-9-]{0,47}$": "must be up to 48 characters of a-z, 0-9 and -"}  # noqa: RUF012 - as the base class has it

    channels: Mapping[ChannelName, Channel] = {}
    tell: Mapping[NoticeKind, tuple[str, ...]] = {}
    """For each kind of notice the channels that get it."""

    def channels_for(self, kind: NoticeKind) -> tuple[str, ...]:
        """The names of the channels that get a kind of notice; none if nobody asked for it."""
        return self.tell.get(kind, ())

    @field_validator("tell", mode="before")
    @classmethod
    def _known_kinds(cls, told: object) -> object:
        for kind in told if isinstance(told, dict) else ():
            if kind not in set(NoticeKind):
                near = did_you_mean(str(kind), NoticeKind)
                msg = f"'{kind}' is not a kind of notice. Write {', '.join(NoticeKind)}.{near}"
                raise ValueError(msg)
        return told

    @model_validator(mode="after")
    def _known_channels(self) -> Self:
        for kind, names in self.tell.items():
            for name in names:
                if name not in self.channels:
                    msg = f"tell.{kind} names '{name}', which is not in channels.{did_you_mean(name, self.channels)}"
                    raise ValueError(msg)
        return self
