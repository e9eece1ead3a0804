"""What the stack's log says of deliveries: which were refused, which were accepted or ignored. It holds no payload."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cli.clients.stack import LogLine, Stack

_MOST = 10_000
"""How many lines are read at most."""
_OVERLAP = timedelta(seconds=20)
"""A line may become visible so much later than it was written."""
_REFUSED = "Refused"


@dataclass(slots=True)
class RefusalCount:
    """How often a source was refused for one reason. Nothing of these requests is kept."""

    source: str
    """Empty where no declared source was named."""
    code: str
    reason: str
    times: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery, and what it became."""

    at: datetime
    source: str
    became: str
    """`accepted`, `ignored`, `handshake`, or the code of the refusal."""
    detail: str = ""
    intent_id: str = ""


def refusals(stack: Stack, source: str, begin: datetime) -> tuple[list[RefusalCount], bool]:
    """The refused requests of which nothing was kept, and whether all lines were read."""
    found: dict[tuple[str, str, str], RefusalCount] = {}
    read = 0
    for line in stack.log_lines("webhook", begin, f'{{ $.message = "{_REFUSED}" }}'):
        name = line.text("source")
        if line.text("message") != _REFUSED:
            continue
        read += 1
        if read > _MOST:
            return list(found.values()), False
        if line.text("kept") == "yes" or (source and name != source):
            continue
        key = (name, line.text("code"), line.text("reason"))
        counted = found.setdefault(key, RefusalCount(*key, times=0, newest=line.at))
        counted.times += 1
        counted.newest = max(counted.newest, line.at)
    return sorted(found.values(), key=lambda one: one.newest), True


class DeliveryLog:
    """Reads new lines of the two functions that take deliveries, each line once."""

    def __init__(self, stack: Stack, begin: datetime) -> None:
        self._stack = stack
        self._begin = begin
        self._seen: set[tuple[str, datetime, str]] = set()

    def new(self, now: datetime) -> list[Received]:
        """What came since the last look, the oldest first."""
        fresh: list[tuple[str, LogLine]] = []
        for function in ("webhook", "event"):
            lines = self._stack.log_lines(function, self._begin, "")
            fresh += [(function, line) for line in lines if line.key not in self._seen]
        # Logs have whole milliseconds. With a fraction of one, a line that is forgotten here would be read once more.
        begin = now - _OVERLAP
        begin = begin.replace(microsecond=begin.microsecond // 1000 * 1000)
        self._begin = max(self._begin, begin)
        self._seen = {key for key in self._seen if key[1] >= self._begin} | {line.key for _, line in fresh}
        return list(_received(sorted(fresh, key=lambda one: one[1].at)))


def _received(lines: Iterable[tuple[str, LogLine]]) -> Iterator[Received]:
    for function, line in lines:
        source = line.text("source")
        match line.text("message"):
            case "Accepted":
                yield Received(line.at, source, "accepted", line.text("capability"), line.text("intent_id"))
            case "Ignored" if line.text("handshake"):
                yield Received(line.at, source, "handshake", line.text("handshake"))
            case "Ignored":
                yield Received(line.at, source, "ignored", "the source's filter does not want it")
            case "Refused":
                kept = " (kept)" if line.text("kept") == "yes" else ""
                yield Received(line.at, source, line.text("code"), line.text("reason") + kept)
            case "Poison" if function == "event":
                yield Received(line.at, "", line.text("code"), line.text("reason") + " (kept)")
            case _:
                pass
