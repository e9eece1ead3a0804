"""Explains wrong input to the person who wrote it: the key, what is allowed there, and the nearest valid name.

Pydantic's own messages name Python types ("Input should be a valid frozenset"); no user sees them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, UnionType
from typing import Annotated, Any, TypeAliasType, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lifecycle.domain.kinds import KINDS, WORDS

type Loc = tuple[str | int, ...]

MOST = 5
"""The most problems in one message."""
_KEY_MARK = "[key]"
"""The last step of a location if the key itself is wrong; pydantic adds it."""


class SettingsError(ValueError):
    """Raised by a validator that found problems in a nested table. They are reported at their own location.

    ``above`` is how many steps of the location of the outer problem lead to the validated value and no further.
    """

    def __init__(self, error: ValidationError, model: type[BaseModel], *, above: int = 0) -> None:
        super().__init__(str(model.__name__))
        self.error = error
        self.model = model
        self.above = above


@dataclass(frozen=True, slots=True)
class ValidationProblem:
    """One problem at ``loc``. ``text`` quotes a value that was sent only if the caller allowed it."""

    loc: Loc
    text: str

    @property
    def key(self) -> str:
        """The key as a person reads it, such as ``expect.tags[no. 1]``; empty for the whole input."""
        return key_text(self.loc)


def key_text(loc: Loc, names: Mapping[Loc, str] = MappingProxyType({})) -> str:
    """A location as a person reads it. An item of a list has its name, or else its number, counted from 1.

    >>> key_text(("rules", 0, "when", "owners", 2), {("rules", 0): "finished"})
    'rules[finished].when.owners[no. 3]'
    """
    text = ""
    for length, part in enumerate(loc, 1):
        if isinstance(part, int):
            text += f"[{names.get(loc[:length], f'no. {part + 1}')}]"
        else:
            text += f".{part}" if text else part
    return text


def problems(
    error: ValidationError,
    *,
    patterns: Mapping[str, str],
    model: type[BaseModel] | None = None,
    values: bool = False,
) -> list[ValidationProblem]:
    """The problems in the order of the input.

    ``patterns`` explains regular expressions. With ``model``, the model of the input, the text for an unknown key lists
    the known ones. Only with ``values`` does a text suggest a similar value, because that hints at what was sent.
    """
    found: list[ValidationProblem] = []
    for detail in error.errors(include_url=False, include_input=values):
        inner = detail.get("ctx", {}).get("error")
        loc = tuple(part for part in detail["loc"] if part != _KEY_MARK)
        if isinstance(inner, SettingsError):
            base = loc[: len(loc) - inner.above]
            nested = problems(inner.error, patterns=patterns, model=inner.model, values=values)
            found += [ValidationProblem((*base, *one.loc), one.text) for one in nested]
        else:
            found.append(ValidationProblem(loc, _text(detail, loc, patterns, model)))
    return found


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A sentence with the most similar known name, after a blank; empty if none is similar."""
    # Imported here: few inputs are wrong, and the import costs time at start.
    import difflib  # noqa: PLC0415 - see above

    by_fold = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(wrong.casefold(), by_fold, n=1, cutoff=0.7)
    return f" Did you mean {by_fold[near[0]]}?" if near else ""


def keys_at(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The keys that the table at ``loc`` allows; empty if it allows any key, or if there is no table."""
    found = _model_at(model, loc)
    return tuple(found.model_fields) if found is not None else ()


def _text(detail: ErrorDetails, loc: Loc, patterns: Mapping[str, str], model: type[BaseModel] | None) -> str:
    limits: Mapping[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(str(loc[-1]), loc[:-1], model)
        case "string_pattern_mismatch":
            return patterns.get(str(limits.get("pattern")), "does not have the required form")
        case "enum" | "literal_error":
            return _choice(detail, str(limits.get("expected", "")))
        case "value_error" | "assertion_error":
            return str(limits.get("error"))
        case kind if kind in _TEXTS:
            return _TEXTS[kind](limits)
        case kind:
            return next((text for ending, text in _ENDINGS.items() if kind.endswith(ending)), "is not allowed here")


def _unknown_key(name: str, table: Loc, model: type[BaseModel] | None) -> str:
    known = keys_at(model, table) if model is not None else ()
    if not known:
        return "unknown key"
    near = did_you_mean(name, known)
    if near:
        return f"unknown key.{near}"
    inside = [key for key in known if model is not None and name in keys_at(model, (*table, key))]
    if inside:
        return f"unknown key. It belongs to the table '{inside[0]}'"
    return f"unknown key. The keys here are {', '.join(known)}"


def _choice(detail: ErrorDetails, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    allowed = list(WORDS) if set(choices) == set(KINDS) else choices
    wrong = detail.get("input")
    near = did_you_mean(wrong, allowed) if isinstance(wrong, str) else ""
    return f"must be one of {', '.join(allowed)}.{near}" if near else f"must be one of {', '.join(allowed)}"


def _length(limits: Mapping[str, Any]) -> str:
    return f"must not be longer than {limits.get('max_length')} characters"


def _bound(value: object) -> str:
    """A limit as text. Pydantic writes a limit of days as ``datetime.timedelta(days=366)``."""
    days = re.fullmatch(r"datetime\.timedelta\(days=([0-9]+)\)", str(value))
    return f"{days[1]} days" if days else str(value)


_TEXTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "this key is missing",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": _length,
    "too_short": lambda _: "name at least one, or leave the key out",
    "too_long": lambda limits: f"must not have more than {limits.get('max_length')} items",
    "greater_than_equal": lambda limits: f"must be at least {_bound(limits.get('ge'))}",
    "greater_than": lambda limits: f"must be more than {_bound(limits.get('gt'))}",
    "less_than_equal": lambda limits: f"must be at most {_bound(limits.get('le'))}",
    "less_than": lambda limits: f"must be less than {_bound(limits.get('lt'))}",
    "int_from_float": lambda _: "must be a whole number",
    "finite_number": lambda _: "must be a whole number",
    "json_invalid": lambda _: "must be JSON",
    "timezone_naive": lambda _: "must be a time with its zone, such as 2026-08-01T12:00:00Z",
    "is_instance_of": lambda _: "must be a text in quotes",
    "none_required": lambda _: "must be left out",
}
_ENDINGS: Mapping[str, str] = {
    "int_type": "must be a whole number, without quotes",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "bool_parsing": "must be true or false, without quotes",
    "string_type": "must be a text in quotes",
    "string_sub_type": "must be a text in quotes",
    "string_unicode": "must be a text in UTF-8",
    "zoneinfo_str": "must be the name of a time zone, such as Europe/Berlin",
    "tuple_type": "must be a list in square brackets",
    "list_type": "must be a list in square brackets",
    "set_type": "must be a list in square brackets",
    "iteration_error": "must be a list in square brackets",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "datetime_type": "must be a time with its zone, such as 2026-08-01T12:00:00Z",
    "datetime_parsing": "must be a time with its zone, such as 2026-08-01T12:00:00Z",
    "datetime_from_date_parsing": "must be a time with its zone, such as 2026-08-01T12:00:00Z",
    "datetime_object_invalid": "must be a time with its zone, such as 2026-08-01T12:00:00Z",
    "time_delta_type": "must be a number and m, h or d, such as 14d",
    "time_delta_parsing": "must be a number and m, h or d, such as 14d",
}
"""Texts by the end of the name of pydantic's error type: "frozen_set_type" ends with "set_type"."""


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model of the table at ``loc``, if one is declared there."""
    current: object = model
    for step in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(step))
            current = _plain(field.annotation) if field is not None else None
        else:  # In a list or a table of names, the type of the items is declared last.
            current = _plain(next((one for one in reversed(get_args(current)) if one is not Ellipsis), None))
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _plain(annotation: object) -> object:
    """A declared type without its aliases, its constraints and ``None``."""
    while True:
        origin = get_origin(annotation)
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif isinstance(origin, TypeAliasType):
            annotation = origin.__value__[get_args(annotation)]
        elif origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, UnionType}:
            annotation = next((one for one in get_args(annotation) if one is not type(None)), None)
        else:
            return annotation
