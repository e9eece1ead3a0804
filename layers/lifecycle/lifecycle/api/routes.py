"""The answers of the public routes: deliveries and the status of a command."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from lifecycle.api.schemas.commands import Accepted, CommandStatus, Ignored
from lifecycle.domain.commands import Command

if TYPE_CHECKING:
    # For type checks only: every delivery imports this module, and a delivery needs no status.
    from lifecycle.execution.status import CommandState


def delivery_answer(commands: Sequence[Command]) -> tuple[HTTPStatus, Accepted | Ignored]:
    """The answer to a delivery: the commands that it became."""
    if not commands:
        return HTTPStatus.OK, Ignored(status="ignored", intent_ids=[])
    intent_ids = [command.intent_id for command in commands]
    accepted = Accepted(status="accepted", intent_ids=intent_ids)
    if len(intent_ids) == 1:
        accepted["intent_id"] = intent_ids[0]
        accepted["status_url"] = status_url(intent_ids[0])
    return HTTPStatus.ACCEPTED, accepted


def status_answer(intent_id: str, state: "CommandState") -> CommandStatus:
    """Answer with what the ledger holds on a command. A test compares the fields of the two types."""
    return cast("CommandStatus", {"intent_id": intent_id, **state._asdict()})


def status_url(intent_id: str) -> str:
    """The path of a command's status, relative to the API."""
    return f"/commands/{intent_id}"
