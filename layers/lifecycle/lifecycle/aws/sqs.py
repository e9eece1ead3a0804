"""Queues of commands, and their dead-letter queues."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Protocol

from lifecycle.aws.errors import translated
from lifecycle.domain.errors import Code, Retryable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_MOST_AT_ONCE = 10
_MOST_TEXT = 1000
_COUNTS: tuple["QueueAttributeNameType", ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as received. ``sent_at`` is when this copy entered its queue, ``id`` the message id of SQS."""

    body: str
    id: str = ""
    receipt: str = ""
    receives: int = 1
    sent_at: datetime
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def redrive(self) -> int:
        """How often an operator has redriven it."""
        text = self.attributes.get("redrive", "")
        return int(text) if text.isdecimal() and len(text) < 7 else 0  # noqa: PLR2004 - a counter, not a bomb


class Later(Exception):
    """The message is not finished. It is hidden for some time and becomes visible again."""


class Queue(Protocol):
    """One queue."""

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        """Send a message. Returns once the queue has it."""

    def send_all(self, bodies: Sequence[str]) -> None:
        """Send messages. Returns once the queue has all of them; after an error it may have some."""

    def hide(self, message: Message, seconds: int) -> None:
        """Make a received message visible again after ``seconds`` (0 to 43,200)."""

    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        """Receive up to ``most`` visible messages, and hide them for ``hidden_for`` seconds."""

    def delete(self, message: Message) -> None:
        """Remove a received message for good."""

    def depth(self) -> int:
        """The number of messages, hidden ones included. SQS only knows an approximate number."""


@dataclass(slots=True)
class _Entry:
    message: Message
    visible_at: float


@dataclass(slots=True)
class MemoryQueue:
    """A queue in memory, for tests. Visibility timeouts follow an injected clock."""

    clock: Callable[[], datetime]
    entries: dict[str, _Entry] = field(default_factory=dict)
    _sent: int = 0

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        """See ``Queue``."""
        self._sent += 1
        receipt = str(self._sent)
        message = Message(
            body=body,
            id=f"message-{receipt}",
            receipt=receipt,
            receives=0,
            sent_at=self.clock(),
            attributes=dict(attributes or {}),
        )
        self.entries[receipt] = _Entry(message, self.clock().timestamp())

    def send_all(self, bodies: Sequence[str]) -> None:
        """See ``Queue``."""
        for body in bodies:
            self.send(body)

    def hide(self, message: Message, seconds: int) -> None:
        """See ``Queue``."""
        if message.receipt in self.entries:
            self.entries[message.receipt].visible_at = self.clock().timestamp() + seconds

    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        """See ``Queue``."""
        now = self.clock().timestamp()
        taken = []
        for entry in [e for e in self.entries.values() if e.visible_at <= now][:most]:
            entry.visible_at = now + hidden_for
            entry.message = Message(
                body=entry.message.body,
                id=entry.message.id,
                receipt=entry.message.receipt,
                receives=entry.message.receives + 1,
                sent_at=entry.message.sent_at,
                attributes=entry.message.attributes,
            )
            taken.append(entry.message)
        return taken

    def delete(self, message: Message) -> None:
        """See ``Queue``."""
        self.entries.pop(message.receipt, None)

    def depth(self) -> int:
        """See ``Queue``."""
        return len(self.entries)


class SqsQueue:
    """An SQS queue, by its URL. Long polling, even for a second, asks all servers of SQS and not a sample."""

    def __init__(self, client: "SQSClient", url: str, *, wait_seconds: int = 1) -> None:
        self._client = client
        self._url = url
        self._wait_seconds = wait_seconds

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        """See ``Queue``."""
        with translated("send a message"):
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": _acceptable(value)}
                    for name, value in (attributes or {}).items()
                    if value
                },
            )

    def send_all(self, bodies: Sequence[str]) -> None:
        """See ``Queue``. SendMessageBatch answers 200 with failed entries, so every entry is checked."""
        for few in batched(bodies, _MOST_AT_ONCE, strict=False):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": body} for number, body in enumerate(few)
            ]
            with translated("send messages"):
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            if answer.get("Failed"):
                codes = sorted({failed.get("Code", "unknown") for failed in answer["Failed"]})
                raise Retryable(Code.UNAVAILABLE, f"SQS did not take {len(answer['Failed'])} messages: {codes}.")

    def hide(self, message: Message, seconds: int) -> None:
        """See ``Queue``."""
        with translated("hide a message"):
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )

    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        """See ``Queue``."""
        with translated("receive messages"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(most, 10),
                VisibilityTimeout=hidden_for,
                WaitTimeSeconds=self._wait_seconds,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return [
            _message(
                raw.get("Body", ""),
                (raw.get("MessageId", ""), raw.get("ReceiptHandle", "")),
                {str(name): text for name, text in raw.get("Attributes", {}).items()},
                {name: found.get("StringValue", "") for name, found in raw.get("MessageAttributes", {}).items()},
            )
            for raw in answer.get("Messages", [])
        ]

    def delete(self, message: Message) -> None:
        """See ``Queue``."""
        with translated("delete a message"):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)

    def depth(self) -> int:
        """See ``Queue``."""
        with translated("count messages"):
            found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(_COUNTS))["Attributes"]
        return sum(_number(found.get(name), 0) for name in _COUNTS)


def from_record(record: Mapping[str, object]) -> Message:
    """A message as Lambda's SQS event source hands it over (``Records[n]``)."""
    attributes = record.get("messageAttributes")
    system = record.get("attributes")
    found = attributes if isinstance(attributes, dict) else {}
    return _message(
        str(record.get("body", "")),
        (str(record.get("messageId", "")), str(record.get("receiptHandle", ""))),
        system if isinstance(system, dict) else {},
        {name: str(value.get("stringValue") or "") for name, value in found.items() if isinstance(value, dict)},
    )


def _message(body: str, names: tuple[str, str], system: Mapping[str, object], attributes: Mapping[str, str]) -> Message:
    return Message(
        body=body,
        id=names[0],
        receipt=names[1],
        receives=_number(system.get("ApproximateReceiveCount"), 1),
        sent_at=datetime.fromtimestamp(_number(system.get("SentTimestamp"), 0) / 1000, UTC),
        attributes=attributes,
    )


def _number(value: object, otherwise: int) -> int:
    text = str(value)
    return int(text) if text.isdecimal() else otherwise


def _acceptable(text: str) -> str:
    """The text with ``?`` for the characters that SQS refuses in attributes, such as control characters."""
    return "".join(c if c.isprintable() and c < "\ufffe" else "?" for c in text)[:_MOST_TEXT]
