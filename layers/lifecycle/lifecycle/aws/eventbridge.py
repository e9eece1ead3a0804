"""The event bus on which outcomes are announced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lifecycle.aws.errors import translated
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.events import OWN_EVENTS

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = OWN_EVENTS

type Detail = Mapping[str, str | bool]
type Event = tuple[str, Detail]
"""The type of an event and its content."""
_AT_ONCE = 10
"""The most events that EventBridge takes in one call."""


class Bus(Protocol):
    """Publishes outcomes for other systems."""

    def announce(self, detail_type: str, detail: Detail) -> None:
        """Publish one event. Returns once the bus has it; raises ``Retryable`` otherwise."""

    def announce_all(self, events: Sequence[Event]) -> dict[int, str]:
        """Publish events. Returns why the bus did not take some of them, by their position; empty if it took all.

        Raises ``Retryable`` if the call failed. Some of the events may have been published then.
        """


@dataclass(slots=True)
class MemoryBus:
    """Keeps published events in memory, for tests."""

    announced: list[tuple[str, Detail]] = field(default_factory=list)

    def announce(self, detail_type: str, detail: Detail) -> None:
        """See ``Bus``."""
        self.announced.append((detail_type, detail))

    def announce_all(self, events: Sequence[Event]) -> dict[int, str]:
        """See ``Bus``."""
        self.announced.extend(events)
        return {}


class EventBridgeBus:
    """An event bus of EventBridge."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, detail_type: str, detail: Detail) -> None:
        """See ``Bus``."""
        for failed in self.announce_all([(detail_type, detail)]).values():
            raise Retryable(Code.UNAVAILABLE, f"EventBridge did not take the outcome: {failed}.")

    def announce_all(self, events: Sequence[Event]) -> dict[int, str]:
        """See ``Bus``. PutEvents answers 200 even when it failed an entry, so every entry is checked."""
        refused: dict[int, str] = {}
        for first in range(0, len(events), _AT_ONCE):
            entries = [self._entry(*event) for event in events[first : first + _AT_ONCE]]
            with translated("announce an outcome"):
                answer = self._client.put_events(Entries=entries)
            if answer.get("FailedEntryCount"):
                codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
                refused |= {first + number: code for number, code in enumerate(codes) if code}
        return refused

    def _entry(self, detail_type: str, detail: Detail) -> "PutEventsRequestEntryTypeDef":
        return {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "EventBusName": self._name,
        }
