"""What is wrong with an operator's file, with the line of each problem."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from lifecycle.domain.commands import PATTERNS
from lifecycle.domain.toml_lines import lines_of
from lifecycle.domain.validation import MOST, Loc, ValidationProblem, problems

_LONGEST = 400


def explain(
    error: ValidationError, model: type[BaseModel], text: str, patterns: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Each problem as "line 12: rules.0.when.owner: unknown key. Did you mean owners?", at most five of them.

    ``patterns`` says what the regular expressions of this file ask for, besides those of commands.
    """
    found = problems(error, patterns={**PATTERNS, **patterns}, model=model, values=True)
    lines = lines_of(text)
    told = [_one(problem, lines) for problem in found[:MOST]]
    if len(found) > MOST:
        told.append(f"and {len(found) - MOST} more")
    return "; ".join(told)


def _one(problem: ValidationProblem, lines: dict[Loc, int]) -> str:
    line = _line(problem.loc, lines)
    key = f"{problem.key}: " if problem.loc else ""
    return "".join(c if c.isprintable() else "?" for c in f"line {line}: {key}{problem.text}")[:_LONGEST]


def _line(loc: Loc, lines: dict[Loc, int]) -> int:
    """The line of the key, or of the nearest table around it: a missing key has no line."""
    return next((lines[loc[:length]] for length in range(len(loc), 0, -1) if loc[:length] in lines), 1)
