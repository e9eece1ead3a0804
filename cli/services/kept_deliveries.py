"""Deliveries that were proven and became no command: finds them among the dead letters, and sends them again."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from cli.clients.stack import Pair, Stack
from cli.services.dead_letter_queue import Clock, DeadLetter, drop
from lifecycle.aws import table_keys
from lifecycle.aws.row_codec import record_of
from lifecycle.domain.errors import Retryable
from lifecycle.intake.kept import KeptDelivery, Replay
from lifecycle.intake.replay import ReplayRow

NOT_WHOLE = "Only its beginning could be kept, so it cannot be sent again. Ask the sender to deliver it again."


@dataclass(slots=True)
class Kept:
    """One delivery, with its dead letters: one for each time that it came or was sent again in vain."""

    newest: DeadLetter
    delivery: KeptDelivery
    letters: list[DeadLetter] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """Names it."""
        return self.delivery.source, self.delivery.delivery


def kept_deliveries(letters: Sequence[DeadLetter]) -> list[Kept]:
    """The deliveries among dead letters, the oldest first. A delivery that came several times is one."""
    found: dict[tuple[str, str], Kept] = {}
    for letter in sorted(letters, key=lambda one: one.failed_at):
        if isinstance(letter.content, KeptDelivery):
            key = (letter.content.source, letter.content.delivery)
            one = found.setdefault(key, Kept(letter, letter.content))
            one.newest = letter
            one.letters.append(letter)
    return list(found.values())


def choose(found: Sequence[Kept], *, source: str, since: datetime | None, deliveries: Sequence[str]) -> list[Kept]:
    """Those of one source, that came since then, with one of these ids. What is empty does not count."""
    return [
        one
        for one in found
        if (not source or one.delivery.source == source)
        and (since is None or one.delivery.received_at >= since)
        and (not deliveries or one.delivery.delivery in deliveries)
    ]


@dataclass(slots=True)
class DeliveryAttempt:
    """One delivery on its way. ``row`` says what became of it."""

    kept: Kept
    replay: str = ""
    row: ReplayRow | None = None
    remark: str = ""
    """Why it was not sent, or what is left to do."""

    @property
    def was_done_before(self) -> bool:
        """Whether an earlier attempt has succeeded, so that nothing was sent."""
        return self.row is not None and self.row.is_final and self.row.replay != self.replay


def replay_row(stack: Stack, source: str, delivery: str) -> ReplayRow | None:
    """What became of the newest attempt to send a delivery again; ``None`` if there was none."""
    [row] = stack.rows().read(table_keys.replay(source, delivery))
    return record_of(ReplayRow, row.values) if row is not None else None


def send(stack: Stack, chosen: Sequence[Kept]) -> Iterator[DeliveryAttempt]:
    """Put each into the events queue, but what is not whole, and what an earlier attempt has brought in."""
    events = next(pair.origin for pair in stack.pairs() if pair.name == "events")
    for kept in chosen:
        attempt = DeliveryAttempt(kept, row=replay_row(stack, *kept.key))
        if not kept.delivery.is_whole:
            attempt.remark = NOT_WHOLE
        elif not (attempt.row and attempt.row.is_final):
            attempt.replay, attempt.row = secrets.token_hex(8), None
            try:
                events.send(Replay(replay=attempt.replay, kept=kept.delivery).body())
            except Retryable as error:
                attempt.remark = error.reason
        yield attempt


def look(stack: Stack, attempts: Sequence[DeliveryAttempt]) -> bool:
    """Ask once what became of those that were sent. Answers whether all have ended."""
    open_ = [one for one in attempts if one.row is None and not one.remark]
    for attempt in open_:
        row = replay_row(stack, *attempt.kept.key)
        if row is not None and (row.is_final or row.replay == attempt.replay):
            attempt.row = row
    return all(one.row is not None for one in open_)


def clear(pairs: Sequence[Pair], attempts: Sequence[DeliveryAttempt], *, most: int, clock: Clock) -> None:
    """Remove the dead letters of those that ended. One that failed again was kept again, with its new reason."""
    ended = {letter.key: attempt for attempt in attempts if attempt.row for letter in attempt.kept.letters}
    letters = [letter for attempt in attempts if attempt.row for letter in attempt.kept.letters]
    with suppress(Retryable):
        for result in drop(pairs, letters, most=most, clock=clock):
            if not result.done:
                ended[
                    result.letter.key
                ].remark = f"Its dead letter is still there; sending it again does nothing. {result.remark}"
