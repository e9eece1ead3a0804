"""Describes the problems of an operator's file, each with its line."""

import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from lifecycle.domain.commands import PATTERNS
from lifecycle.domain.toml_lines import lines_of
from lifecycle.domain.validation import MOST, Loc, ValidationProblem, key_text, problems

_LONGEST = 400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")


def explain(
    error: ValidationError, model: type[BaseModel], text: str, patterns: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Each problem as "line 12: rules[finished].when.owner: unknown key. Did you mean owners?", at most five of them.

    ``patterns`` explains the regular expressions of this file; those of commands are known.
    """
    found = problems(error, patterns={**PATTERNS, **patterns}, model=model, values=True)
    lines = lines_of(text)
    values = tomllib.loads(text)
    sentences = [_one(problem, lines, values) for problem in found[:MOST]]
    if len(found) > MOST:
        sentences.append(f"and {len(found) - MOST} more")
    return "; ".join(sentences)


def _one(problem: ValidationProblem, lines: dict[Loc, int], values: object) -> str:
    line = _line(problem.loc, lines)
    key = f"{key_text(problem.loc, _names(problem.loc, values))}: " if problem.loc else ""
    return "".join(c if c.isprintable() else "?" for c in f"line {line}: {key}{problem.text}")[:_LONGEST]


def _line(loc: Loc, lines: dict[Loc, int]) -> int:
    """The line of the key, or of the nearest table around it: a missing key has no line."""
    return next((lines[loc[:length]] for length in range(len(loc), 0, -1) if loc[:length] in lines), 1)


def _names(loc: Loc, values: object) -> dict[Loc, str]:
    """The names of the list items on the way to ``loc``, such as the rules of a policy, where they have a valid one."""
    names: dict[Loc, str] = {}
    for length, part in enumerate(loc, 1):
        if isinstance(part, int):
            values = values[part] if isinstance(values, list) and part < len(values) else None
            name = values.get("name") if isinstance(values, dict) else None
            if isinstance(name, str) and _NAME.fullmatch(name):
                names[loc[:length]] = name
        else:
            values = values.get(part) if isinstance(values, dict) else None
    return names
