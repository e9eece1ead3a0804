"""How much attention an outcome needs: one table, for every code that an outcome can carry.

A dead letter is work for a person. An alarm is work for now. What people decided is neither.
"""

from enum import StrEnum
from typing import Final

from lifecycle.domain.errors import Code


class Attention(StrEnum):
    """How much of a person's attention an outcome needs."""

    PAGE = "page"
    """A dead letter and an alarm: something is broken, and more will fail the same way."""
    DIGEST = "digest"
    """A dead letter, told once a day: a person may want to change something, and nothing is broken."""
    NONE = "none"
    """No dead letter: a person decided it, or nothing is left to be done."""


SET_ASIDE_BY_AWS: Final = "set_aside_by_aws"
"""Stands for the code of a dead letter that has none: SQS, EventBridge or Scheduler put it there, and write none."""

_NONE: Final = frozenset(
    {
        *(
            Code.NOT_APPROVED,
            Code.APPROVAL_EXPIRED,
            Code.RESTORED,
            Code.UNDONE,
            Code.RESTORED_BY_PERSON,
            Code.SUPERSEDED,
        ),
        *(Code.ACTED, Code.CONFIRMED, Code.NOTHING_TO_DO, Code.RESTORED_IN_PART),
    }
)
_DIGEST: Final = frozenset(
    {
        *(Code.HELD, Code.CHANGED, Code.TOO_YOUNG, Code.AGE_UNKNOWN, Code.NOT_ARCHIVED, Code.IN_USE, Code.USE_UNKNOWN),
        *(Code.NOT_FOUND, Code.AMBIGUOUS_MATCH, Code.UNDETERMINED, Code.PROCESS_TASK, Code.NOT_POSSIBLE, Code.EXPIRED),
        *(Code.UNTRANSLATABLE, Code.INVALID, Code.INTENT_CONFLICT, Code.RIGHT_MISSING),
    }
)


def attention(code: Code | str) -> Attention:
    """How much attention an outcome with this code needs. A code that this release does not know pages."""
    if code in _NONE:
        return Attention.NONE
    return Attention.DIGEST if code in _DIGEST else Attention.PAGE
