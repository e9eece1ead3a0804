from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from lifecycle.aws.dynamodb import Value
from lifecycle.aws.row_codec import UnreadableRow, record_of, values_of


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Page:
    number: int = 0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Book:
    title: str
    colour: Colour = Colour.RED
    cover: Page | None = None
    pages: tuple[Page, ...] = ()
    colours: list[Colour] = field(default_factory=list)
    read: bool = False


BOOK = Book("A", cover=Page(1, ("x",)), pages=(Page(2), Page(3, ("y", "z"))), colours=[Colour.RED], read=True)
VALUES: dict[str, Value] = {
    "title": "A",
    "colour": "red",
    "cover": {"number": 1, "words": ["x"]},
    "pages": [{"number": 2, "words": []}, {"number": 3, "words": ["y", "z"]}],
    "colours": ["red"],
    "read": True,
}


def test_nested_records_enums_and_tuples_are_stored_as_plain_values() -> None:
    assert values_of(BOOK) == VALUES


def test_a_record_is_read_back_unchanged() -> None:
    assert record_of(Book, VALUES) == BOOK


def test_none_is_stored_as_none() -> None:
    assert values_of(Book("A"))["cover"] is None
    assert record_of(Book, {"title": "A", "cover": None}).cover is None


def test_attributes_of_a_newer_release_are_ignored_and_missing_ones_take_their_defaults() -> None:
    assert record_of(Book, {"title": "A", "weight": 7}) == Book("A")


@pytest.mark.parametrize(
    ("values", "field_name"),
    [
        ({"title": "A", "colour": "blue"}, "colour"),
        ({"title": "A", "colours": ["red", "blue"]}, "colours"),
        ({"colour": "red"}, "title"),
    ],
)
def test_a_value_that_this_release_does_not_know_is_an_error_that_names_the_field(
    values: dict[str, Value], field_name: str
) -> None:
    with pytest.raises(UnreadableRow, match=field_name) as error:
        record_of(Book, values)
    assert error.value.field == field_name


def test_a_value_that_a_row_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot hold float"):
        values_of(Page(0.5))  # type: ignore[arg-type] # the point of the test
