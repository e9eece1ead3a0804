"""The log of every call, which tests and the demo read as the truth about what was done."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call. `status` is what the simulator answered, None when it reset the connection.

    `acted` says whether state changed, whatever was answered. `token` is a fingerprint.
    """

    time: datetime
    method: str
    path: str
    query: dict[str, str]
    status: int | None
    acted: bool
    resource: str | None
    id: str | None
    action: str | None
    token: str | None
    fault: str | None


@dataclass(slots=True)
class CallLog:
    """Every call since the last clearing, in the order in which they were acted on."""

    calls: list[LoggedCall] = field(default_factory=list)

    def select(
        self, *, acted: bool | None = None, action: str | None = None, id: str | None = None
    ) -> Iterator[LoggedCall]:
        """Iterate over the calls that match what is given."""
        return (
            call
            for call in self.calls
            if (acted is None or call.acted is acted)
            and (action is None or call.action == action)
            and (id is None or call.id == id)
        )

    def effects(self, action: str | None = None, id: str | None = None) -> int:
        """Count state changes."""
        return sum(1 for _ in self.select(acted=True, action=action, id=id))
