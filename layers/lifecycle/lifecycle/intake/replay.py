"""Sends kept deliveries through ``sources.toml`` again, once each, and records the result of each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import ValidationError

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.aws.row_update import update
from lifecycle.aws.sqs import Message
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Poison, Rejected
from lifecycle.intake.kept import KeptDelivery, Replay
from lifecycle.intake.service import Intake

_REMEMBERED = timedelta(days=30)
"""Longer than a kept delivery (14 days) and the message that sends it again (4 days) live together."""


class ReplayStatus(StrEnum):
    """The result of a replay."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    FAILED = "failed"
    """It still becomes no command. It is kept once more, with the new reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """The newest attempt at one delivery."""

    replay: str
    """The name of the attempt."""
    status: ReplayStatus
    at: int
    """When, in milliseconds since 1970, UTC."""
    intent_ids: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether another replay would do nothing."""
        return self.status is not ReplayStatus.FAILED


@dataclass(frozen=True, slots=True)
class Replays:
    """Takes the messages that ``lifecycle source replay`` puts into the events queue."""

    intake: Intake
    rows: VersionedTable
    clock: Callable[[], datetime]

    def take(self, text: str) -> None:
        """Send one kept delivery through ``sources.toml`` again, unless an earlier attempt succeeded.

        Raises ``Retryable`` if AWS is unavailable; the message comes back then.
        """
        try:
            asked = Replay.model_validate_json(text)
        except ValidationError:
            message = Message(body=text, sent_at=self.clock())
            self.intake.outcomes.dead_letter(message, Poison(Code.POISON, "The message is no replay of a delivery."))
            return
        if not self._is_done(asked.kept):
            self._record(asked, self._attempt(asked))

    def _is_done(self, kept: KeptDelivery) -> bool:
        [row] = self.rows.read(table_keys.replay(kept.source, kept.delivery))
        return row is not None and row.values.get("status") != ReplayStatus.FAILED

    def _attempt(self, asked: Replay) -> ReplayRow:
        now = millis(self.clock())
        try:
            made = self.intake.accept_again(asked.kept)
        except Rejected as error:
            self.intake.keep(asked.kept, error)
            failed = ReplayStatus.FAILED
            return ReplayRow(replay=asked.replay, status=failed, at=now, code=error.code, reason=error.reason)
        status = ReplayStatus.ACCEPTED if made else ReplayStatus.IGNORED
        intent_ids = tuple(command.intent_id for command in made)
        return ReplayRow(replay=asked.replay, status=status, at=now, intent_ids=intent_ids)

    def _record(self, asked: Replay, found: ReplayRow) -> None:
        """A success stands: a late copy of an attempt that failed does not hide it."""
        update(
            self.rows,
            table_keys.replay(asked.kept.source, asked.kept.delivery),
            ReplayRow,
            lambda before: before if before is not None and before.is_final else found,
            expires_at=lambda _: int((self.clock() + _REMEMBERED).timestamp()),
        )
