"""The names of members and templates, from the simulator and from answers of other shapes."""

import pytest

from lifecycle.domain.errors import Code, LifecycleError
from lifecycle.tallyfy.directory import NameList, NamePage, TallyfyDirectory
from sandbox.simulator import DefaultIds
from tests.harness.tallyfy import ORG, CannedStand, SimulatorStand, answered


def _read(body: object, which: NameList = NameList.MEMBERS) -> NamePage:
    return TallyfyDirectory(CannedStand(answered(200, body)).client).page(ORG, which, 1)


def test_members_are_named_by_their_full_names() -> None:
    names = TallyfyDirectory(SimulatorStand().client).page(ORG, NameList.MEMBERS, 1).names
    assert names["1002"] == "Sam Standard"


def test_templates_are_named_whether_archived_or_not() -> None:
    directory = TallyfyDirectory(SimulatorStand().client)
    assert DefaultIds.TEMPLATE in directory.page(ORG, NameList.TEMPLATES, 1).names
    archived = directory.page(ORG, NameList.ARCHIVED_TEMPLATES, 1).names
    assert set(archived) == {DefaultIds.ARCHIVED_TEMPLATE}


def test_the_first_and_last_name_stand_for_a_missing_full_name_and_an_address_never_does() -> None:
    rows = [
        {"id": 1, "first_name": "Ada", "last_name": "Byron"},
        {"id": 2, "first_name": "Cher", "last_name": None},
        {"id": 3, "email": "eve@example.com"},
        {"id": True, "full_name": "Nobody"},
        {"full_name": "Nobody"},
        "Nobody",
        {"id": 4, "full_name": "x" * 900},
    ]
    assert _read({"data": rows}).names == {"1": "Ada Byron", "2": "Cher", "4": "x" * 200}


@pytest.mark.parametrize("meta", [{}, {"pagination": {}}, {"pagination": {"total_pages": "two"}}, []])
def test_a_list_without_pagination_is_one_page(meta: object) -> None:
    assert _read({"data": [{"id": 1, "full_name": "Ada"}], "meta": meta}) == NamePage({"1": "Ada"}, 1)


def test_the_number_of_pages_is_read() -> None:
    assert _read({"data": [], "meta": {"pagination": {"total_pages": 7}}}).pages == 7


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, {"error": True}, Code.UNAVAILABLE),
        (403, {"error": True}, Code.FORBIDDEN),
        (500, {}, Code.UNAVAILABLE),
        (200, {"data": {"id": 1}}, Code.UNAVAILABLE),
        (429, {}, Code.THROTTLED),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(status: int, body: object, code: Code) -> None:
    directory = TallyfyDirectory(CannedStand(answered(status, body)).client)
    with pytest.raises(LifecycleError) as raised:
        directory.page(ORG, NameList.MEMBERS, 1)
    assert raised.value.code is code
