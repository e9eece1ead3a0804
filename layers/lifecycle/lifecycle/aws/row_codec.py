"""Dataclasses as rows, and back.

A row holds what DynamoDB can hold: text, whole numbers, booleans, ``None``, lists and maps of these. An enum member is
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

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeAliasType, Union, get_args, get_origin, get_type_hints

from lifecycle.aws.dynamodb import Value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class UnreadableRow(ValueError):
    """The row has a value that this release does not know. ``field`` names it, ``value`` is what stands there."""

    def __init__(self, field: str, value: object) -> None:
        super().__init__(f"The field '{field}' of a row has the value {value!r}, which this release does not know.")
        self.field = field
        self.value = value


def values_of(record: "DataclassInstance") -> dict[str, Value]:
    """The attributes of a row that holds this record."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def record_of[T: "DataclassInstance"](kind: type[T], values: Mapping[str, Value]) -> T:
    """The record that a row holds.

    Attributes that a newer release wrote are ignored. A field that the row lacks takes its default. Raises
    ``UnreadableRow`` for an enum value that this release does not know, and where a field without a default is missing.
    """
    types = _types(kind)
    known: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in values:
            known[field.name] = _typed(field.name, types[field.name], values[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnreadableRow(field.name, None)
    return kind(**known)


def _plain(value: object) -> Value:
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


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(name: str, kind: Any, value: object) -> object:  # noqa: ANN401 - a type as ``get_type_hints`` gives it
    """Rebuild what ``_plain`` took apart. A value of a simple type stays as it stands."""
    if isinstance(kind, TypeAliasType):
        return _typed(name, kind.__value__, value)
    origin, inner = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin in {Union, UnionType}:
        [kind] = [one for one in inner if one is not NoneType] if NoneType in inner and len(inner) == 2 else [object]  # noqa: PLR2004
        return _typed(name, kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise UnreadableRow(name, value) from None
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return record_of(kind, value)
    if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_typed(name, inner[0], item) for item in value)
    if origin is list and isinstance(value, Sequence) and not isinstance(value, str):
        return [_typed(name, inner[0], item) for item in value]
    return value
