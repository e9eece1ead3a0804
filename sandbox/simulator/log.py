"""The log of every call. Tests and the demo rely on it to know what was done."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call. `status` is the HTTP status of the answer, or None if the connection was reset.

    `acted` is true if the state changed, whatever the answer. `token` is a fingerprint of the token.
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
    """Every call since the log was last cleared, in the order in which the simulator acted on them."""

    calls: list[LoggedCall] = field(default_factory=list)

    def select(
        self, *, acted: bool | None = None, action: str | None = None, id: str | None = None
    ) -> Iterator[LoggedCall]:
        """Iterate over the calls that match every given argument."""
        return (
            call
            for call in self.calls
            if (acted is None or call.acted is acted)
            and (action is None or call.action == action)
            and (id is None or call.id == id)
        )

    def effects(self, action: str | None = None, id: str | None = None) -> int:
        """Count the calls that changed state."""
        return sum(1 for _ in self.select(acted=True, action=action, id=id))
