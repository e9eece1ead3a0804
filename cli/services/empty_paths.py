"""Which paths of a filter find nothing in a payload: where a filter is false, most often one of them is misspelt."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath

from lifecycle.intake.expressions import Misfit, search

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def empty_paths(expression: str, scope: Mapping[str, object]) -> list[str]:
    """The paths such as ``body.ticket.state`` in an expression that find nothing in this value, each once, sorted.

    Paths within lists are left out: what they find differs between the elements.
    """
    return sorted(path for path in set(_paths(jmespath.compile(expression).parsed)) if _finds_nothing(path, scope))


def _finds_nothing(path: str, scope: Mapping[str, object]) -> bool:
    try:
        return search(path, scope) is None
    except Misfit:
        return False


def _paths(node: Mapping[str, Any]) -> Iterator[str]:
    children = node.get("children", ())
    match node["type"]:
        case "subexpression" if all(child["type"] == "field" for child in children):
            yield ".".join(_name(str(child["value"])) for child in children)
        case "and_expression" | "or_expression" | "not_expression" | "comparator" | "function_expression":
            for child in children:
                yield from _paths(child)
        case _:
            pass


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)
