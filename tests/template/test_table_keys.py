"""The IAM conditions on the ledger's table, compared with the keys that the code makes."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key
from lifecycle.aws.table_keys import Partition
from tests.template.support import ORGANIZATION, Json, TransformedTemplate, many

INTENT = "0" * 64
SAMPLES: dict[Partition, list[Key]] = {
    Partition.INTENT: [table_keys.intent(INTENT)],
    Partition.RESOURCE: [table_keys.resource(ORGANIZATION, "run", "a" * 32)],
    Partition.RESTORE: [table_keys.restore(ORGANIZATION, "run", "a" * 32)],
    Partition.HOLDS: [table_keys.hold(ORGANIZATION, "owner#7")],
    Partition.PACE: [table_keys.pace(ORGANIZATION)],
    Partition.WAKEUP: [table_keys.wakeup(ORGANIZATION, INTENT)],
    Partition.SWEEP: [
        table_keys.sweeps(ORGANIZATION, "current"),
        table_keys.sweep_state(ORGANIZATION, "2026-08-01"),
        table_keys.plan(ORGANIZATION, "f" * 64, "canary"),
    ],
    Partition.WARNED: [table_keys.warned(ORGANIZATION, "2026-06-01T04:10:00Z")],
    Partition.APPROVAL: [table_keys.request(ORGANIZATION, "f" * 64), table_keys.newest(ORGANIZATION, INTENT)],
    Partition.VOTE: [table_keys.vote(ORGANIZATION, "7")],
    Partition.REPLAY: [table_keys.replay("hubspot", "7")],
    Partition.AUDIT: [Key(table_keys.audit_hour("2026-08-01T09"), "1"), table_keys.AUDIT_HEAD],
}
"""Keys of each partition, as the code makes them."""


def grants(document: Json) -> Iterator[tuple[list[str], list[str]]]:
    """Every statement with a condition on leading keys: its actions and its patterns."""
    match document:
        case {"Action": actions, "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": patterns}}}:
            yield many(actions), many(patterns)
        case dict():
            for inner in document.values():
                yield from grants(inner)
        case list():
            for inner in document:
                yield from grants(inner)
        case _:
            return


@pytest.fixture
def granted(template: TransformedTemplate) -> list[tuple[list[str], list[str]]]:
    return list(grants(template.resources))


def test_there_is_a_sample_of_every_partition() -> None:
    assert SAMPLES.keys() == set(Partition)
    for partition, samples in SAMPLES.items():
        assert all(key.pk.startswith(partition) for key in samples)


def test_no_partition_prefix_begins_another_one() -> None:
    """IAM would otherwise grant two partitions with one pattern."""
    assert not [(a, b) for a in Partition for b in Partition if a is not b and a.startswith(b)]


def test_every_pattern_of_the_template_matches_keys_of_exactly_one_partition(
    granted: list[tuple[list[str], list[str]]],
) -> None:
    assert granted
    for _, patterns in granted:
        for pattern in patterns:
            matched = {one for one, keys in SAMPLES.items() if any(fnmatchcase(key.pk, pattern) for key in keys)}
            assert len(matched) == 1, f"{pattern} matches {matched or 'no key of the table'}"


@pytest.mark.parametrize("action", ["dynamodb:PutItem", "dynamodb:GetItem"])
def test_every_key_is_granted_to_somebody(granted: list[tuple[list[str], list[str]]], action: str) -> None:
    patterns = [pattern for actions, some in granted for pattern in some if action in actions]
    by_query = {Partition.HOLDS, Partition.WAKEUP}
    missing = [
        key
        for partition, keys in SAMPLES.items()
        for key in keys
        if not (action == "dynamodb:GetItem" and partition in by_query)
        and not any(fnmatchcase(key.pk, pattern) for pattern in patterns)
    ]
    assert not missing
