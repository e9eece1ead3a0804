"""Builds ``functions/chat``."""

import os
from functools import cache

from lifecycle.approvals.people import People, Person
from lifecycle.aws.clients import client
from lifecycle.aws.sqs import SqsQueue
from lifecycle.bootstrap.approving import approval_service, undo_service
from lifecycle.bootstrap.common import now, operators_file, rows, secrets
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.settings import ChatSettings
from lifecycle.chat.door import ChatDoor
from lifecycle.chat.service import ChatService
from lifecycle.chat.tool import load_tool
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.execution.reply_channel import QueueReplies
from lifecycle.execution.status import StatusService
from lifecycle.holds.store import HoldStore


@cache
def chat() -> ChatDoor:
    """Build the entry for chat tools once for each process."""
    settings = ChatSettings.read(os.environ)
    people = People.parse(operators_file("people.toml"))
    table = rows(settings.ledger_table)
    undoing = undo_service(settings)
    jobs = SqsQueue(client("sqs"), settings.chat_queue_url)
    service = ChatService(
        people=people,
        org_ids=settings.organization_ids,
        id_key=undoing.id_key,
        lookup=StatusService(ledger=undoing.ledger, id_key=undoing.id_key, clock=now),
        approving=approval_service(settings, people),
        undoing=undoing,
        holds=HoldStore(table, now),
        rows=table,
        jobs=jobs,
        metrics=metrics,
        clock=now,
    )
    return ChatDoor(
        tool=load_tool,
        service=service,
        secrets=secrets(),
        prefix=settings.secret_prefix,
        replies=QueueReplies(jobs),
        metrics=metrics,
        clock=now,
    )


def id_key_and_first_tool() -> None:
    """Read the id key and the secret of one chat tool at start, for the first request.

    Most stacks use one tool. This imports the tool in which most people of ``people.toml`` are known, and reads its
    secret into the cache of ``secrets``. Any other tool is imported when its route is called.
    """
    door = chat()
    door.service.id_key()
    name = _tool_of_most(tuple(door.service.people.people.values()))
    if name is not None:
        load_tool(name)
        door.secrets.get(f"{door.prefix}/chat/{name}")


def _tool_of_most(people: tuple[Person, ...]) -> str | None:
    counts = {tool: sum(one.known_in(tool) is not None for one in people) for tool in CHAT_TOOLS}
    most = max(counts, key=lambda tool: counts[tool])
    return most if counts[most] else None
