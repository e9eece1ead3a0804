"""Checks and applies the JMESPath expressions (https://jmespath.org) of ``sources.toml``."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from pydantic import AfterValidator

_MISFITS = (JMESPathError, RecursionError, ArithmeticError, LookupError, TypeError, ValueError)
"""What jmespath raises for a value that the expression does not expect, such as text compared with a number."""
_FUNCTIONS: Mapping[str, Mapping[str, object]] = Functions.FUNCTION_TABLE


class Misfit(Exception):
    """The expression cannot be applied to this value. The text is jmespath's own first line, without values."""


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
        return jmespath.search(expression, value)
    except _MISFITS as error:
        raise Misfit(type(error).__name__) from None
