"""Every key of the table.

A partition key begins with one of the ``Partition`` prefixes. IAM allows a function some of them by the condition
``dynamodb:LeadingKeys`` in template.yaml: rows that different functions may write lie in different partitions.
``tests/template/test_table_keys.py`` compares the two.
"""

from enum import StrEnum
from hashlib import sha256

from lifecycle.aws.dynamodb import Key


class Partition(StrEnum):
    """The prefixes of the partition keys."""

    INTENT = "intent#"
    """One command: its status, attempts and outcome."""
    RESOURCE = "resource#"
    """One resource: its lease and the newest command that ended on it."""
    RESTORE = "word#"
    """One resource: the newest restore that was accepted for it."""
    HOLDS = "holds#"
    """The holds of an organization."""
    PACE = "pace#"
    """The token bucket of an organization, with its pause and its breaker."""
    WAKEUP = "waiting#"
    """Commands of an organization that a schedule enqueues later."""
    SWEEP = "sweep#"
    """The sweeps and plans of an organization."""
    WARNED = "warned#"
    """The recipients that got the warnings of one sweep, before it acts on their resources."""
    APPROVAL = "approval#"
    """Requests for approval, and a pointer to the newest one of each subject."""
    VOTE = "vote#"
    """Approvals that people gave, withdrawn ones included. Only functions that identified a person write here."""
    REPLAY = "replay#"
    """Kept deliveries of a source that an operator replayed, and the result of each."""
    AUDIT = "audit#"
    """Audit records by the hour (``audit#2026-08-01T09``), and the head of the chain (``audit#head``)."""


AUDIT_HEAD = Key(f"{Partition.AUDIT}head", "head")
"""The key of the head, which names the end of the audit chain."""
_NEWEST = "of#"


def intent(intent_id: str) -> Key:
    """The row of a command."""
    return Key(f"{Partition.INTENT}{intent_id}", "intent")


def announced(batch: str) -> Key:
    """Which outcomes a batch of messages has announced."""
    return Key(f"{Partition.INTENT}{batch}", "announced")


def resource(org_id: str, kind: str, thing_id: str) -> Key:
    """The row of a resource."""
    return Key(f"{Partition.RESOURCE}{org_id}#{kind}#{thing_id}", "resource")


def restore(org_id: str, kind: str, thing_id: str) -> Key:
    """The newest restore that was accepted for a resource."""
    return Key(f"{Partition.RESTORE}{org_id}#{kind}#{thing_id}", "word")


def holds(org_id: str) -> str:
    """The partition of an organization's holds. The sort keys are made by ``lifecycle.holds.rules``."""
    return f"{Partition.HOLDS}{org_id}"


def hold(org_id: str, name: str) -> Key:
    """One hold, by its name such as ``run#<id>`` or ``owner#<id>``."""
    return Key(holds(org_id), name)


def pace(org_id: str) -> Key:
    """The token bucket of an organization. The row also carries its pause and its breaker."""
    return Key(f"{Partition.PACE}{org_id}", "pace")


def wakeups(org_id: str) -> str:
    """The partition of the commands of an organization that a schedule enqueues later."""
    return f"{Partition.WAKEUP}{org_id}"


def wakeup(org_id: str, intent_id: str) -> Key:
    """One command that a schedule enqueues later."""
    return Key(wakeups(org_id), intent_id)


def sweeps(org_id: str, name: str) -> Key:
    """A row about all sweeps of an organization: ``current``, ``newest``, ``finished``, ``applied``, ``checked``."""
    return Key(f"{Partition.SWEEP}{org_id}", name)


def sweep_state(org_id: str, sweep_id: str) -> Key:
    """How far one sweep has come."""
    return Key(f"{Partition.SWEEP}{org_id}#{sweep_id}", "state")


def warned(org_id: str, sweep_id: str) -> Key:
    """The recipients that got the warnings of one sweep."""
    return Key(f"{Partition.WARNED}{org_id}#{sweep_id}", "warned")


def plan(org_id: str, plan_hash: str, part: str) -> Key:
    """A row about one plan: ``part`` says which, such as how far applying it has come."""
    return sweeps(org_id, f"plan#{plan_hash}#{part}")


def reverted_plan(org_id: str, plan_hash: str) -> Key:
    """Whether a plan was reverted, and how far its undo has come."""
    return plan(org_id, plan_hash, "reverted")


def requests(org_id: str) -> str:
    """The partition of an organization's requests for approval."""
    return f"{Partition.APPROVAL}{org_id}"


def request(org_id: str, name: str) -> Key:
    """A request for approval, by its hash."""
    return Key(requests(org_id), name)


def newest(org_id: str, subject: str) -> Key:
    """The pointer to the newest request about a subject."""
    return Key(requests(org_id), f"{_NEWEST}{subject}")


def is_newest(sort_key: str) -> bool:
    """Whether a row of ``requests`` points to the newest request of a subject."""
    return sort_key.startswith(_NEWEST)


def vote(org_id: str, name: str) -> Key:
    """One person's vote, by the name that ``lifecycle.approvals.rules.vote_name`` gives it."""
    return Key(f"{Partition.VOTE}{org_id}", name)


def replay(source: str, delivery: str) -> Key:
    """The result of replaying a delivery. The key has a digest of the delivery's id, which may be too long."""
    return Key(f"{Partition.REPLAY}{source}", sha256(delivery.encode("utf-8", "replace")).hexdigest())


def audit_hour(hour: str) -> str:
    """The partition of the audit records of an hour, such as ``2026-08-01T09``."""
    return f"{Partition.AUDIT}{hour}"
