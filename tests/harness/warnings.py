"""What stands between a sweep and the people it warns: messages that wait to be posted, and chat tools that fail."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.policy import Rule
from lifecycle.sweep.warn_job import WarningDeliveries, WarningNotice


@dataclass
class FakeWarner:
    """Keeps messages until they are delivered. ``out`` are recipients whose messages wait, ``gone`` lose theirs."""

    names: Callable[[ResourceSnapshot], frozenset[str]] = lambda _: frozenset({"operations/all"})
    out: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    waiting: list[tuple[str, WarningNotice]] = field(default_factory=list)
    sent: list[tuple[str, WarningNotice]] = field(default_factory=list)

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:
        """Whoever the test says."""
        return self.names(thing)

    def warn(self, recipient: str, notice: WarningNotice) -> None:
        """Take the message, as the chat queue does."""
        self.waiting.append((recipient, notice))

    def deliver(self, deliveries: WarningDeliveries, *, recorded: bool = True) -> None:
        """Post what waits, as the function behind the chat queue does. ``recorded``: whether it lives that long."""
        taken, self.waiting = self.waiting, []
        for recipient, notice in taken:
            if recipient in self.out:
                self.waiting.append((recipient, notice))
            elif recipient not in self.gone and deliveries.is_wanted(
                notice.org_id, notice.plan, notice.sweep_id, recipient
            ):
                self.sent.append((recipient, notice))
                if recorded:
                    deliveries.record(notice.org_id, notice.sweep_id, recipient)
