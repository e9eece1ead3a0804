"""Checks and applies the JMESPath expressions (https://jmespath.org) of ``sources.toml``.

One function differs from JMESPath's: ``to_string`` makes ``1042`` of ``1042.0``, because a system that writes an id as
a float means the whole number; and it refuses a number that may have been rounded when it was read.
"""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Annotated

import jmespath
from jmespath.exceptions import ArityError, JMESPathError, JMESPathTypeError
from jmespath.functions import Functions, signature
from pydantic import AfterValidator

_MISFITS = (JMESPathError, RecursionError, ArithmeticError, LookupError, TypeError, ValueError)
"""What jmespath raises for a value that the expression does not expect, such as text compared with a number."""
_FIRST_INEXACT = 2**53
"""From here on, two whole numbers may be the same float."""
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
        msg = f"this is not a JMESPath expression: {str(error).splitlines()[0]}"
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
