"""Where requests for approval and people's votes lie in the ledger's table.

There are two kinds of partitions, because IAM tells them apart (``dynamodb:LeadingKeys`` in template.yaml). Whoever
asks for an approval writes requests. Only the functions that have identified a person write votes.
"""

from lifecycle.aws.dynamodb import Key

REQUESTS = "approval#"
"""Requests, and the row that names the newest one of a subject."""
VOTES = "vote#"
"""Approvals that people gave, withdrawn ones included."""
_OF = "of#"


def requests(org_id: str) -> str:
    """The partition of an organization's requests."""
    return f"{REQUESTS}{org_id}"


def request(org_id: str, name: str) -> Key:
    """A request, by its hash."""
    return Key(requests(org_id), name)


def newest(org_id: str, subject: str) -> Key:
    """The row that names the newest request about a subject."""
    return Key(requests(org_id), f"{_OF}{subject}")


def is_newest(sort_key: str) -> bool:
    """Whether a row of a partition of requests names the newest one of a subject."""
    return sort_key.startswith(_OF)


def vote(org_id: str, name: str) -> Key:
    """One person's vote, by the name that ``lifecycle.approvals.rules.vote_name`` gives it."""
    return Key(f"{VOTES}{org_id}", name)
