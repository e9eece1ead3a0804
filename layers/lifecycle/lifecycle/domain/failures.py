"""How much attention an outcome needs: one table, for every code that an outcome can carry.

A dead letter needs a person at some time. An alarm needs a person now. A decision by a person needs neither.
"""

from enum import StrEnum
from typing import Final

from lifecycle.domain.errors import Code


class Attention(StrEnum):
    """How much of a person's attention an outcome needs."""

    PAGE = "page"
    """A dead letter and an alarm: something is broken, and more will fail the same way."""
    DIGEST = "digest"
    """A dead letter that the daily digest lists: nothing is broken, and a person may want to change something."""
    NONE = "none"
    """No dead letter: a person decided it, or there is nothing left to do."""


SET_ASIDE_BY_AWS: Final = "set_aside_by_aws"
"""Used for a dead letter without a code: SQS, EventBridge and Scheduler write none."""

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
    """How much attention an outcome with this code needs. An unknown code pages."""
    if code in _NONE:
        return Attention.NONE
    return Attention.DIGEST if code in _DIGEST else Attention.PAGE
