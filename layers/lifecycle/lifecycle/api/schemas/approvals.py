"""What the routes for approvals take and answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from pydantic import Field

from lifecycle.approvals.rules import About, ApprovalStatus
from lifecycle.domain.capabilities import TABLE

HASH_PATTERN = "^[0-9a-f]{64}$"
MOST_WHY = 500
"""Characters."""
_IRREVERSIBLE = sorted(doing.name for doing in TABLE if doing.irreversible)


class Rejection(TypedDict):
    """The reason for which a request is rejected. The requester is told."""

    why: NotRequired[Annotated[str, Field(max_length=MOST_WHY)]]


class Approval(TypedDict):
    """A request for approval of an irreversible action. The hash covers exactly the facts that are shown."""

    hash: Annotated[str, Field(pattern=HASH_PATTERN)]
    stands: ApprovalStatus
    about: About
    org_id: str
    subject: Annotated[str, Field(description="The intent of a command, or the hash of a plan.")]
    asked_by: str
    asked_at: datetime
    deadline: datetime
    needed: Annotated[int, Field(ge=1, description="How many people must approve it.")]
    approved_by: list[str]
    rejected_by: str
    would_do: list[Annotated[str, Field(json_schema_extra={"enum": _IRREVERSIBLE})]]
    shown: Annotated[Mapping[str, object], Field(description="What would be deleted or archived.")]


class Approvals(TypedDict):
    """Every request that this person may approve or reject now, the oldest first. Their own are among them."""

    approvals: list[Approval]
