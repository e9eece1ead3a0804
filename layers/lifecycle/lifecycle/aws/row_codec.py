"""Converts dataclasses to rows and back.

A row can contain text, whole numbers, booleans, ``None``, lists and maps of these. An enum member is
stored as its value, a tuple as a list, a nested dataclass as a map.

>>> @dataclass
... class Lease:
...     holder: str | None = None
...     until: int = 0
>>> values_of(Lease("worker-1", 7))
{'holder': 'worker-1', 'until': 7}
>>> record_of(Lease, {"until": 7, "a_later_field": True})
Lease(holder=None, until=7)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeAliasType, Union, get_args, get_origin, get_type_hints

from lifecycle.aws.dynamodb import Value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class UnreadableRow(ValueError):
    """The row has a value that this release does not know. ``field`` names it; ``value`` is the stored value."""

    def __init__(self, field: str, value: object) -> None:
        super().__init__(f"The field '{field}' of a row has the value {value!r}, which this release does not know.")
        self.field = field
        self.value = value


def values_of(record: "DataclassInstance") -> dict[str, Value]:
    """The attributes of the row for a record."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def short_values_of(record: "DataclassInstance") -> dict[str, Value]:
    """As ``values_of``, without fields that hold an empty default: a row of up to 1 KB costs one write unit.

    >>> @dataclass
    ... class Lease:
    ...     holder: str = ""
    ...     until: int = 0
    >>> short_values_of(Lease(until=7))
    {'until': 7}
    """
    found = ((name, default, getattr(record, name)) for name, default in _defaults(type(record)))
    return {name: _plain(value) for name, default, value in found if value or value != default}


def record_of[T: "DataclassInstance"](kind: type[T], values: Mapping[str, Value]) -> T:
    """Rebuild the record of a row.

    Attributes that a newer release wrote are ignored. A field that the row lacks takes its default. Raises
    ``UnreadableRow`` for an enum value that this release does not know, and if a field without a default is missing.
    """
    known: dict[str, Any] = {}
    for name, required, read in _columns(kind):
        if name in values:
            value = values[name]
            known[name] = value if read is None or value is None else read(name, value)
        elif required:
            raise UnreadableRow(name, None)
    return kind(**known)


def _plain(value: object) -> Value:
    if type(value) in _STORED_AS_THEY_ARE:
        return value  # type: ignore[return-value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        return values_of(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    raise TypeError(f"A row cannot hold {type(value).__name__}.")


_STORED_AS_THEY_ARE = frozenset({str, int, bool, NoneType})
"""Most values have one of these types. Members of enums have others."""


type _Reader = Callable[[str, Any], object]
"""Makes the value of a field from the field's name and the stored value, which is not ``None``."""


@cache
def _defaults(kind: type) -> tuple[tuple[str, object], ...]:
    """Each field with its default, or with ``MISSING``."""
    return tuple((field.name, field.default) for field in fields(kind))


@cache
def _columns(kind: type) -> tuple[tuple[str, bool, _Reader | None], ...]:
    """For each field: its name, whether a row must have it, and its reader. Annotations are resolved once per class."""
    types = get_type_hints(kind)
    return tuple(
        (field.name, field.default is MISSING and field.default_factory is MISSING, _reader(types[field.name]))
        for field in fields(kind)
    )


def _reader(kind: Any) -> _Reader | None:  # noqa: ANN401 - a type as ``get_type_hints`` gives it
    """The function that reverses ``_plain`` for a type; ``None`` if a stored value needs no conversion."""
    if isinstance(kind, TypeAliasType):
        return _reader(kind.__value__)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        optional = NoneType in inner and len(inner) == 2  # noqa: PLR2004 - a type and None
        return _reader(next(one for one in inner if one is not NoneType)) if optional else None
    if origin in {tuple, list}:
        return _sequence_reader(origin, _reader(inner[0]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return lambda _, value: record_of(kind, value) if isinstance(value, Mapping) else value
    return None


def _sequence_reader(make: type[tuple[object, ...]] | type[list[object]], read: _Reader | None) -> _Reader:
    def rebuilt(name: str, value: Any) -> object:  # noqa: ANN401 - any value of a row
        if isinstance(value, str) or not isinstance(value, Sequence):
            return value
        return make(item if read is None or item is None else read(name, item) for item in value)

    return rebuilt


def _enum_reader(kind: type[Enum]) -> _Reader:
    def member(name: str, value: Any) -> object:  # noqa: ANN401 - any value of a row
        try:
            return kind(value)
        except ValueError:
            raise UnreadableRow(name, value) from None

    return member
