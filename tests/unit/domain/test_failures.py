"""How much attention each outcome needs."""

import pytest

from lifecycle.domain.errors import Code
from lifecycle.domain.failures import Attention, attention


@pytest.mark.parametrize(
    "code",
    [
        *(Code.ATTEMPTS_EXHAUSTED, Code.WAITED_TOO_LONG, Code.POISON, Code.TOKEN_REFUSED, Code.FORBIDDEN),
        *(Code.EXPORT_INCOMPLETE, Code.EXPORT_DIFFERS, Code.CONFIGURATION, Code.REFUSED),
    ],
)
def test_a_code_for_something_broken_pages(code: Code) -> None:
    assert attention(code) is Attention.PAGE


@pytest.mark.parametrize(
    "code", [Code.HELD, Code.CHANGED, Code.TOO_YOUNG, Code.UNTRANSLATABLE, Code.AMBIGUOUS_MATCH, Code.NOT_FOUND]
)
def test_a_code_that_a_person_can_fix_later_waits_for_the_daily_digest(code: Code) -> None:
    assert attention(code) is Attention.DIGEST


@pytest.mark.parametrize(
    "code",
    [Code.NOT_APPROVED, Code.APPROVAL_EXPIRED, Code.RESTORED, Code.UNDONE, Code.RESTORED_BY_PERSON, Code.SUPERSEDED],
)
def test_a_code_for_a_decision_by_a_person_needs_no_attention(code: Code) -> None:
    assert attention(code) is Attention.NONE


def test_an_unknown_code_pages() -> None:
    assert attention("a_code_of_the_next_release") is Attention.PAGE


def test_codes_read_back_from_a_row_are_the_same() -> None:
    assert [code for code in Code if attention(code.value) is not attention(code)] == []
