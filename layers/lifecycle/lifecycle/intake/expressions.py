"""Checks and applies the JMESPath expressions (https://jmespath.org) of ``sources.toml``.

One function differs from JMESPath's: ``to_string`` makes ``1042`` of ``1042.0``, because a system that writes an id as
a float means the whole number; and it refuses a number that may have been rounded when it was read.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from math import isfinite
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import ArityError, JMESPathError, JMESPathTypeError
from jmespath.functions import Functions, signature
from pydantic import AfterValidator

_MISFITS = (JMESPathError, RecursionError, ArithmeticError, LookupError, TypeError, ValueError)
"""What jmespath raises for a value that the expression does not expect, such as text compared with a number."""
_FIRST_INEXACT = 2**53
"""From here on, two whole numbers may be the same float."""
_NARROWED = frozenset(
    {"subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection", "flatten"}
)
_TYPES: Mapping[str, str] = {
    "string": "a text",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
    "array-string": "a list of texts",
    "array-number": "a list of numbers",
    # Within a list, jmespath uses Python's names.
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
    "NoneType": "nothing",
}
_EXACT_DIGITS = 15
"""A float keeps so many decimal digits, whichever they are."""


class Misfit(Exception):
    """The expression cannot be applied to this value. The text says why: it names functions and types, no values."""


class _Inexact(JMESPathError):
    """A number may have been rounded when it was read."""


class _Functions(Functions):
    """JMESPath's functions, with a ``to_string`` that never writes a rounded number."""

    @signature({"types": []})
    def _func_to_string(self, value: object) -> str:
        return value if isinstance(value, str) else json.dumps(_exact(value), separators=(",", ":"), default=str)


_FUNCTIONS: Mapping[str, Mapping[str, object]] = _Functions.FUNCTION_TABLE
_OPTIONS = jmespath.Options(custom_functions=_Functions())


def whole(value: float) -> int | None:
    """The whole number that a float stands for; ``None`` if it has a fraction or may have been rounded."""
    return int(value) if value.is_integer() and abs(value) < _FIRST_INEXACT else None


def _exact(value: object) -> object:
    """The value with whole numbers in the place of floats that are whole. Raises ``_Inexact``."""
    match value:
        case float():
            found = whole(value)
            digits = sum(character.isdigit() for character in repr(value).partition("e")[0].lstrip("-0."))
            if found is None and (not isfinite(value) or value.is_integer() or digits > _EXACT_DIGITS):
                raise _Inexact
            return value if found is None else found
        case list():
            return [_exact(item) for item in value]
        case dict():
            return {name: _exact(item) for name, item in value.items()}
        case _:
            return value


def check(expression: str) -> str:
    """Return the expression, or raise ``ValueError`` that says what is wrong with it."""
    try:
        compiled = jmespath.compile(expression)
    except JMESPathError as error:
        why = str(error).splitlines()[0].rstrip(":").removesuffix(", for expression")
        msg = (
            f"this is not a JMESPath expression: {why}. Compare with ==, and write a constant text in single quotes, "
            "such as \"'closed'\""
        )
        raise ValueError(msg) from None
    unknown = sorted(set(_called(compiled.parsed)) - set(_FUNCTIONS))
    if unknown:
        msg = f"JMESPath has no function {', '.join(unknown)}; it has {', '.join(sorted(_FUNCTIONS))}"
        raise ValueError(msg)
    return expression


def _called(node: object) -> Iterator[str]:
    """The functions that an expression calls. jmespath itself only looks them up when it applies the expression."""
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield str(node.get("value"))
        for child in node.get("children", ()):
            yield from _called(child)


def check_begins(expression: str, names: Collection[str]) -> None:
    """Raise ``ValueError`` if a path of the expression begins with another name, because it could find nothing."""
    unknown = sorted(set(_begins(jmespath.compile(expression).parsed)) - set(names))
    if unknown:
        msg = (
            f"'{unknown[0]}' finds nothing: a path begins with {' or '.join(names)}, such as {next(iter(names))}."
            f"{unknown[0]}, and a constant text stands in single quotes"
        )
        raise ValueError(msg)


def _begins(node: Mapping[str, Any]) -> Iterator[str]:
    """The names that an expression looks up in the value it is applied to, not in what it found there."""
    children = node.get("children", ())
    match node["type"]:
        case "field":
            yield str(node["value"])
        case "literal" | "expref":
            pass
        case kind if kind in _NARROWED:
            # Only the first child is applied to the value itself; the others to what it finds.
            yield from _begins(children[0])
        case _:
            for child in children:
                yield from _begins(child)


type Expression = Annotated[str, AfterValidator(check)]


def search(expression: str, value: object) -> object:
    """Apply the expression. Raises ``Misfit``."""
    try:
        return jmespath.search(expression, value, _OPTIONS)
    except _MISFITS as error:
        raise Misfit(_why(error)) from None


def _why(error: Exception) -> str:
    match error:
        case _Inexact():
            return "to_string() gets a number that is too large or too long to be exact"
        case JMESPathTypeError():
            takes = " or ".join(_TYPES.get(kind, str(kind)) for kind in error.expected_types)
            found = _TYPES.get(error.actual_type, str(error.actual_type))
            return f"{error.function_name}() takes {takes}, and gets {found}"
        case ArityError():
            return f"{error.function_name}() gets another number of values than it takes"
        case _:
            return "it compares, joins or counts values of another type"
