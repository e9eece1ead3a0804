"""What the routes for deliveries and commands answer."""

from datetime import datetime
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import INTENT_PATTERN

type IntentId = Annotated[str, Field(pattern=INTENT_PATTERN)]


class Accepted(TypedDict):
    """A queue has every command. The same delivery again gets the same answer and has no second effect."""

    status: Literal["accepted"]
    intent_ids: Annotated[list[IntentId], Field(min_length=1)]
    intent_id: NotRequired[
        Annotated[IntentId, Field(description="Present if the delivery became exactly one command.")]
    ]
    status_url: NotRequired[
        Annotated[str, Field(description="Present if the delivery became exactly one command. Relative to this API.")]
    ]


class Ignored(TypedDict):
    """The signature is right, and the filter of the source does not want this payload. Nothing is done."""

    status: Literal["ignored"]
    intent_ids: Annotated[list[IntentId], Field(max_length=0)]


class CommandStatus(TypedDict):
    """Where a command is, and why."""

    intent_id: IntentId
    status: Status
    reason: Annotated[str, Field(description="The reason as a sentence, for people.")]
    code: Annotated[str | None, Field(description="The reason for programs; null before a worker has begun.")]
    until: Annotated[
        datetime | None, Field(description="The latest end of the wait, while it waits. Null if it is not known.")
    ]
    approval: Annotated[str | None, Field(description="While it waits for an approval: the hash of that request.")]


class UndoAccepted(TypedDict):
    """The queue has the command that undoes it. Asking again gets the same answer and has no second effect."""

    status: Literal["accepted"]
    intent_id: Annotated[IntentId, Field(description="The intent id of the undo.")]
    status_url: Annotated[str, Field(description="Relative to this API.")]


class Health(TypedDict):
    """The API is up."""

    status: Literal["ok"]
