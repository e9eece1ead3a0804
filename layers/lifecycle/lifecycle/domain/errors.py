"""Everything that can go wrong, in one tree. The family alone decides about retrying.

    LifecycleError
    ├── Rejected            will never work: answered with a 4xx, or recorded and dead-lettered; never retried
    ├── Retryable           may work later: the message becomes visible again after ``retry_after`` seconds
    │   ├── Throttled       must wait (rate limit, 429, pause, busy resource): not a failed attempt
    │   ├── TokenRefused    401 with a fresh token: a person must act; not a failed attempt, raises an alarm
    │   └── Ambiguous       a write whose effect is unknown: read the resource before trying again
    └── Poison              cannot be understood: goes to the dead-letter queue at once

Messages never carry payloads, headers, tokens or signatures: they are logged and shown as they are.
"""

from enum import StrEnum


class Code(StrEnum):
    """The machine-readable reasons that callers, dead letters and events carry. Codes are added and never renamed."""

    # input
    INVALID = "invalid"
    NOT_POSSIBLE = "not_possible"
    UNKNOWN_SOURCE = "unknown_source"
    UNKNOWN_INTENT = "unknown_intent"
    UNKNOWN_ROUTE = "unknown_route"
    SIGNATURE_REFUSED = "signature_refused"
    TOO_LARGE = "too_large"
    RIGHT_MISSING = "right_missing"
    ORGANIZATION_UNKNOWN = "organization_unknown"
    UNTRANSLATABLE = "untranslatable"
    INTENT_CONFLICT = "intent_conflict"
    POISON = "poison"
    PLAN_STOPPED = "plan_stopped"
    UNKNOWN_APPROVAL = "unknown_approval"
    OWN_REQUEST = "own_request"
    CONFIGURATION = "configuration"
    # the state in Tallyfy
    NOT_FOUND = "not_found"
    UNDETERMINED = "undetermined"
    AMBIGUOUS_MATCH = "ambiguous_match"
    PROCESS_TASK = "process_task"
    CHANGED = "changed"
    HELD = "held"
    NOT_ARCHIVED = "not_archived"
    TOO_YOUNG = "too_young"
    AGE_UNKNOWN = "age_unknown"
    IN_USE = "in_use"
    USE_UNKNOWN = "use_unknown"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    # permanent deletes: reasons to wait and reasons to refuse
    AWAITING_APPROVAL = "awaiting_approval"
    IN_GRACE = "in_grace"
    NOT_APPROVED = "not_approved"
    APPROVAL_EXPIRED = "approval_expired"
    EXPORT_INCOMPLETE = "export_incomplete"
    EXPORT_DIFFERS = "export_differs"
    # temporary failures
    THROTTLED = "throttled"
    RATE_LIMITED = "rate_limited"
    PAUSED = "paused"
    BUSY = "busy"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 # nosec B105 - a reason, not a secret
    UNAVAILABLE = "unavailable"
    OUTAGE = "outage"
    UNCERTAIN = "uncertain"
    OUT_OF_TIME = "out_of_time"
    READ_LAG = "read_lag"
    NEWER_RELEASE = "newer_release"
    # how an intent ended
    ACTED = "acted"
    CONFIRMED = "confirmed"
    NOTHING_TO_DO = "nothing_to_do"
    RESTORED_IN_PART = "restored_in_part"
    SUPERSEDED = "superseded"
    RESTORED_BY_PERSON = "restored_by_person"
    RESTORED = "restored"
    UNDONE = "undone"
    EXPIRED = "expired"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    WAITED_TOO_LONG = "waited_too_long"


class LifecycleError(Exception):
    """The base of all errors. ``code`` is for programs and ``reason`` for people. Both are safe to show."""

    kept = False
    """Whether the refused delivery or message is kept as a dead letter."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Rejected(LifecycleError):
    """Will never work as asked. Nothing was done, and nothing will be retried."""


class Retryable(LifecycleError):
    """May work later.

    ``retry_after`` is in seconds; ``None`` leaves the time to the backoff. ``counted`` tells whether this was a failed
    attempt (six of them end in the dead-letter queue) or only waiting. ``outage``: Tallyfy or Secrets Manager gave no
    answer of its own (network error, 5xx, 408), so the cause may affect every command.
    """

    counted = True

    def __init__(self, code: Code, reason: str, *, retry_after: float | None = None, outage: bool = False) -> None:
        super().__init__(code, reason)
        self.retry_after = retry_after
        self.outage = outage


class Throttled(Retryable):
    """The command must wait: a 429, our own rate limit, a pause, or another worker on the same resource."""

    counted = False


class TokenRefused(Retryable):
    """Tallyfy answered 401 to a token that was just fetched. Replace the secret; no deploy is needed."""

    counted = False


class Ambiguous(Retryable):
    """A write was sent and its effect is unknown (timeout, reset, 5xx, an error inside a 200).

    ``may_still_land``: no answer came, so the write may take effect later, even if a read does not show it now.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        retry_after: float | None = None,
        counted: bool = True,
        outage: bool = False,
        may_still_land: bool = False,
    ) -> None:
        super().__init__(code, reason, retry_after=retry_after, outage=outage)
        self.counted = counted
        self.may_still_land = may_still_land


class Poison(LifecycleError):
    """A message that cannot be understood, now or later."""
