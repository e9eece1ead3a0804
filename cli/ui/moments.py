"""Moments as people type them."""

import re
from datetime import UTC, datetime, timedelta

from cli.ui.errors import CliError, Exit

_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def moment_in(text: str, now: datetime, option: str = "--since") -> datetime:
    """A span before now (`30m`, `12h`, `7d`), or a day or moment (`2026-06-01`, `2026-06-01T09:30`), in UTC by default.

    Raises:
        CliError: It is neither.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return now - int(span[1]) * _UNITS[span[2]]
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CliError(
            f"{option} takes 30m, 12h, 7d, a day or a moment, such as 2026-06-01T09:30.", Exit.USAGE
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
