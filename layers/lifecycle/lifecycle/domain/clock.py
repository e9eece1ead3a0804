"""Times in the rows of the table: whole milliseconds since 1970, UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def millis(moment: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return int(moment.timestamp() * 1000)


def moment(at: int) -> datetime:
    """The time that is ``at`` milliseconds after the start of 1970, UTC, without rounding."""
    return _EPOCH + timedelta(milliseconds=at)
