"""The event bus on which outcomes are announced."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lifecycle.aws.errors import translated
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.events import OWN_EVENTS

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = OWN_EVENTS

type Detail = Mapping[str, str | bool]


class Bus(Protocol):
    """Where others hear how it went."""

    def announce(self, detail_type: str, detail: Detail) -> None:
        """Publish one event. Returns only once the bus has it."""


@dataclass(slots=True)
class MemoryBus:
    """Keeps what was announced."""

    announced: list[tuple[str, Detail]] = field(default_factory=list)

    def announce(self, detail_type: str, detail: Detail) -> None:
        """See ``Bus``."""
        self.announced.append((detail_type, detail))


class EventBridgeBus:
    """A bus of EventBridge."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, detail_type: str, detail: Detail) -> None:
        """See ``Bus``. PutEvents answers 200 even when it failed an entry, so the entry is checked."""
        with translated("announce an outcome"):
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": detail_type,
                        "Detail": json.dumps(detail),
                        "EventBusName": self._name,
                    }
                ]
            )
        if answer.get("FailedEntryCount"):
            failed = answer["Entries"][0].get("ErrorCode", "unknown")
            raise Retryable(Code.UNAVAILABLE, f"EventBridge did not take the outcome: {failed}.")
