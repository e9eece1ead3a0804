"""Sends later answers to people in chat tools: how a command ended, the result of a search, a notice.

An answer is put into the chat queue. One function posts it, and tries again if the chat tool does not accept it.
So no worker waits for a chat tool or reads its secret.
"""

import json
from dataclasses import dataclass, field
from typing import Protocol

from lifecycle.aws.sqs import Queue
from lifecycle.domain.errors import Retryable
from lifecycle.domain.messages import Answer, ButtonKind

_MOST_BYTES = 200_000
"""A message of SQS has at most 1 MiB; no answer comes near."""


class Replies(Protocol):
    """Sends later answers."""

    def reply(self, to: str, answer: Answer) -> bool:
        """Send an answer to ``to``, which is ``<tool>:<address>``. Returns ``False`` if it could not be queued.

        It never raises, so the command or search that it reports goes on.
        """


def destination(tool: str, address: str | None) -> str | None:
    """The ``to`` of ``Replies.reply``, and what a command carries as ``reply_to``."""
    return f"{tool}:{address}" if address else None


@dataclass(frozen=True, slots=True)
class QueueReplies:
    """Puts answers into the chat queue."""

    queue: Queue

    def reply(self, to: str, answer: Answer) -> bool:
        """See ``Replies``."""
        body = json.dumps({"job": "reply", "to": to, "answer": json.loads(answer.to_json())})
        if len(body) > _MOST_BYTES:
            return False
        try:
            self.queue.send(body)
        except Retryable:
            return False
        return True


@dataclass(slots=True)
class MemoryReplies:
    """Keeps answers in memory, for tests."""

    answers: list[tuple[str, Answer]] = field(default_factory=list)

    def reply(self, to: str, answer: Answer) -> bool:
        """See ``Replies``."""
        self.answers.append((to, answer))
        return True

    @property
    def said(self) -> list[tuple[str, str]]:
        """The recipient and the text of each answer."""
        return [(to, answer.text) for to, answer in self.answers]

    @property
    def offered(self) -> list[str | None]:
        """For each answer, the intent that its button undoes; ``None`` without such a button."""
        return [_undo_in(answer) for _, answer in self.answers]


def _undo_in(answer: Answer) -> str | None:
    buttons = [button for section in answer.sections for button in section.buttons]
    return next((button.value for button in buttons if button.kind is ButtonKind.UNDO), None)
