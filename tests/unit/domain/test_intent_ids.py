"""The ids of intents."""

import re
from itertools import combinations

import pytest

from lifecycle.domain.intent_ids import INTENT_PATTERN, intent_id, is_ours
from tests.harness.builders import ID_KEY

NAME = intent_id(ID_KEY, "operator", "delivery-1")


def test_the_same_delivery_always_gets_the_same_id() -> None:
    assert intent_id(ID_KEY, "operator", "delivery-1") == NAME
    assert re.fullmatch(INTENT_PATTERN, NAME)


def test_another_source_delivery_item_or_stack_gets_another_id() -> None:
    names = [
        NAME,
        intent_id(ID_KEY, "crm", "delivery-1"),
        intent_id(ID_KEY, "operator", "delivery-2"),
        intent_id(ID_KEY, "operator", "delivery-1", 1),
        intent_id(b"another key", "operator", "delivery-1"),
        intent_id(ID_KEY, "operator-", "delivery-1"),
    ]
    assert all(a != b for a, b in combinations(names, 2))


def test_text_moved_between_source_and_delivery_gives_another_id() -> None:
    assert intent_id(ID_KEY, "a", '", "b') != intent_id(ID_KEY, 'a", "', "b")


def test_a_stack_recognises_the_ids_that_it_issued() -> None:
    assert is_ours(ID_KEY, NAME)
    assert not is_ours(b"another key", NAME)


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        "int_",
        NAME[:-1],
        NAME + "0",
        NAME + "\n",
        " " + NAME,
        NAME.upper(),
        "int_" + "0" * 48,
        NAME[:-1] + ("0" if NAME[-1] != "0" else "1"),
        "int_" + "\uff15" * 48,
        "\ud800",
    ],
)
def test_an_id_that_the_stack_did_not_issue_is_not_recognised(candidate: str) -> None:
    assert not is_ours(ID_KEY, candidate)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        intent_id(b"", "operator", "delivery-1")
