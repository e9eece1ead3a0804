"""Translates another system's payload to 0..n command requests, by the rules in ``sources.toml``. Pure.

Expressions are JMESPath (https://jmespath.org) over ``{"body": …, "headers": …, "item": …}``. For an event of
EventBridge, ``body`` is the event. A payload that no rule wants becomes no request. A wanted payload that cannot be
translated raises ``Untranslatable``, whose text names what was missing and never quotes the payload.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lifecycle.domain.capabilities import Action
from lifecycle.domain.commands import ID_PATTERN, CommandRequest, Expect, Id, Kind, check_find, one_line
from lifecycle.domain.errors import Rejected
from lifecycle.domain.links import links_in
from lifecycle.intake.expressions import Expression, Misfit, check_begins, search, whole
from lifecycle.intake.payload import Untranslatable

MOST_COMMANDS = 100
"""How many commands one delivery may become. More is treated as a mistake in the rules, and none is carried out."""
_MOST_ITEMS = 1_000_000
"""More items than the largest body can hold, so that no two items of a delivery share a place."""

_LONGEST_QUOTED = 120
_EXAMPLES: Mapping[str, str] = {
    "each": '"body.events", or "[body]" for a single event',
    "when": "\"body.event == 'closed'\"",
    "id": '"body.process_id"',
    "link": '"body.description"',
    "tag": "\"join('-', ['deal', to_string(body.id)])\"",
    "name": '"body.project.name"',
    "delivery": '"body.event_id"',
    "reason": "\"'The deal was won.'\"",
    "requested_by": '"body.user.name"',
    "expect": "{ status = \"'complete'\" }",
}


class FindRule(BaseModel):
    """Finds a process for payloads without its id, by ``tag``, or by ``name`` and ``template`` together.

    Exactly one process must fit. An archive looks only at active processes, a restore only at archived ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: Expression | None = None
    """The exact tag that one process carries."""
    name: Expression | None = None
    """The exact name that one process of ``template`` has."""
    template: Id | None = None
    """The id of the template that the process was launched from: needed beside ``name``, and a constant."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        check_find(self.tag, self.name, self.template)
        return self


class CommandRule(BaseModel):
    """One kind of command that a payload can become.

    ``action``, ``resource`` and ``org_id`` are constants: a payload never chooses them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    each: Expression = "[body]"
    """Selects the items. Each becomes a command."""
    when: Expression | None = None
    """Selects the items for which this is true."""
    action: Action
    resource: Kind
    """``process``, ``task``, ``template`` or ``tag``."""
    org_id: Id
    """The id of your Tallyfy organization."""
    id: Expression | None = None
    """Finds the Tallyfy id, 32 characters of 0-9 and a-f. Write exactly one of ``id``, ``link`` and ``find``."""
    link: Expression | None = None
    """Finds a text with one pasted Tallyfy URL. The last id in its path names the resource."""
    find: FindRule | None = None
    """Finds a process by its tag or name."""
    if_none: Literal["ignore"] | None = None
    """With ``find``: if no process matches, do nothing instead of writing a dead letter."""
    delivery: Expression | None = None
    """The permanent name of this event, over ``body`` and ``item`` only: the same name is carried out once.

    Required unless the scheme signs an id. It must be the same when an event is sent again, and differ for a new one.
    By default, the signed id with the item's place.
    """
    reason: Expression | None = None
    """A text that is shown wherever the command is shown."""
    requested_by: Expression | None = None
    """The person who asked; by default, the name of the source."""
    expect: Mapping[str, Expression] = Field(default_factory=dict)
    """What the payload says about the resource, such as its ``status``. If it changed, nothing is done."""
    if_changed: Literal["ignore"] | None = None
    """With ``expect``: a process that no longer looks like this is left alone, without a dead letter."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(target is not None for target in (self.id, self.link, self.find)) != 1:
            msg = "name the resource with exactly one of id, link and find"
            raise ValueError(msg)
        if self.find is not None and (not self.resource.kind.findable or self.action is Action.DELETE):
            msg = "find only works for archiving and restoring processes; use id or link here"
            raise ValueError(msg)
        if self.if_none is not None and self.find is None:
            msg = "if_none only works with find; remove it, or use find instead of id or link"
            raise ValueError(msg)
        if self.if_changed is not None and not self.expect:
            msg = "if_changed goes with expect: without it, nothing is compared"
            raise ValueError(msg)
        if self.delivery is not None and "headers" in self.delivery:
            msg = "delivery must not use headers: they are not signed, so a copied request could become a new command"
            raise ValueError(msg)
        unknown = sorted(set(self.expect) - set(Expect.model_fields))
        if unknown:
            msg = f"expect takes {', '.join(Expect.model_fields)}, not {', '.join(unknown)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _paths_begin_well(self) -> Self:
        check_begins(self.each, ("body", "headers"))
        check_begins(self.delivery or "body", ("body", "item"))
        find = (self.find.tag, self.find.name) if self.find is not None else ()
        for expression in (self.when, self.id, self.link, *find, self.reason, self.requested_by, *self.expect.values()):
            check_begins(expression or "body", ("body", "item", "headers"))
        return self


@dataclass(frozen=True, slots=True)
class Translated:
    """A request. ``delivery`` is its delivery id if the rule gives one.

    ``index`` tells the commands of one delivery apart: the number of the rule if it gives a delivery id, otherwise the
    number of the item.
    """

    request: CommandRequest
    delivery: str | None
    index: int


def wanted(when: str | None, body: object, headers: Mapping[str, str]) -> bool:
    """Whether a source's filter lets the payload through."""
    return when is None or _is_true(_search(when, {"body": body, "headers": dict(headers)}, "when"))


def translate(rules: tuple[CommandRule, ...], body: object, headers: Mapping[str, str]) -> list[Translated]:
    """Apply every rule to the payload. Raises ``Untranslatable`` unless every command can be made."""
    root = {"body": body, "headers": dict(headers)}
    if rules and all(_search(rule.each, root, f"commands[no. {n + 1}].each") is None for n, rule in enumerate(rules)):
        raise Untranslatable("No rule finds items in this payload. Check 'each' in sources.toml.")
    made = [found for number, rule in enumerate(rules) for found in _apply(rule, number, body, headers)]
    if len(made) > MOST_COMMANDS:
        raise Untranslatable(
            f"The delivery would become {len(made)} commands; at most {MOST_COMMANDS} are allowed. Check 'each'."
        )
    return made


def linked_id(text: str) -> str:
    """The last id in the path of the Tallyfy URL in a text. Raises ``Untranslatable`` unless there is exactly one."""
    ids = {link.ids[-1][0] for link in links_in(text) if link.ids}
    if len(ids) != 1:
        raise Untranslatable(f"{len(ids)} Tallyfy links with an id were found. The text must contain exactly one.")
    return ids.pop()


def _apply(rule: CommandRule, number: int, body: object, headers: Mapping[str, str]) -> Iterator[Translated]:
    root = {"body": body, "headers": dict(headers)}
    where = f"commands[no. {number + 1}]"
    items = _search(rule.each, root, f"{where}.each")
    if items is None:
        return
    if not isinstance(items, list):
        raise _misses(f"{where}.each", rule.each, items, "a list")
    for index, item in enumerate(items):
        scope = {**root, "item": item}
        if rule.when is not None and not _is_true(_search(rule.when, scope, f"{where}.when")):
            continue
        # Leave out the headers, because they are not signed.
        signed = {"body": body, "item": item}
        delivery = None if rule.delivery is None else _text(rule.delivery, signed, f"{where}.delivery")
        place = number if delivery else number * _MOST_ITEMS + index
        yield Translated(_request(rule, scope, where), delivery, place)


def _request(rule: CommandRule, scope: Mapping[str, object], where: str) -> CommandRequest:
    asked: dict[str, object] = {"action": rule.action, "resource": rule.resource, "org_id": rule.org_id}
    if rule.id is not None:
        asked["id"] = _id(rule.id, scope, f"{where}.id")
    if rule.link is not None:
        asked["id"] = _link(rule.link, scope, f"{where}.link")
    if rule.find is not None:
        asked["find"] = _find(rule.find, scope, f"{where}.find")
    asked |= {name: value for name in ("if_none", "if_changed") if (value := getattr(rule, name)) is not None}
    for name, expression in (("reason", rule.reason), ("requested_by", rule.requested_by)):
        if expression is not None:
            asked[name] = _line(_text(expression, scope, f"{where}.{name}"))
    if rule.expect:
        asked["expect"] = {name: _search(path, scope, f"{where}.expect") for name, path in rule.expect.items()}
    try:
        return CommandRequest.parse(json.dumps(asked).encode())
    except Rejected as error:
        raise _invalid(rule, scope, where, error.reason) from None


def _invalid(rule: CommandRule, scope: Mapping[str, object], where: str, reason: str) -> Untranslatable:
    """The error for a command that is not valid. If one expression is to blame, it is named as in ``_misses``."""
    expressions = {
        "find.tag": rule.find.tag if rule.find else None,
        "find.name": rule.find.name if rule.find else None,
        **{f"expect.{name}": expression for name, expression in rule.expect.items()},
    }
    key, _, why = reason.partition(": ")
    expression = expressions.get(key)
    if expression is None or not why:
        return Untranslatable(f"{where} makes no valid command: {reason}")
    found = _kind_of(_search(expression, scope, f"{where}.{key}"))
    example = _example(f"{where}.{'expect' if key.startswith('expect') else key}")
    return Untranslatable(f"{where}.{key} = {_quoted(expression)} finds {found}. It {why}. Example: {example}")


def _find(rule: FindRule, scope: Mapping[str, object], where: str) -> dict[str, str]:
    if rule.tag is not None:
        return {"tag": _text(rule.tag, scope, f"{where}.tag")}
    return {"name": _text(str(rule.name), scope, f"{where}.name"), "template": str(rule.template)}


def _search(expression: str, scope: Mapping[str, object], where: str) -> object:
    try:
        return search(expression, scope)
    except Misfit as error:
        raise Untranslatable(
            f"{where} = {_quoted(expression)} cannot be applied to this payload: {error}. Example: {_example(where)}"
        ) from None


def _text(expression: str, scope: Mapping[str, object], where: str) -> str:
    """A text, or a whole number as text. A float is accepted if it is whole and small enough to be exact."""
    match found := _search(expression, scope, where):
        case bool():
            pass
        case int(number):
            return str(number)
        case float(number) if (exact := whole(number)) is not None:
            return str(exact)
        case str(text) if text.strip():
            return text
        case _:
            pass
    raise _misses(where, expression, found, "a text or a whole number")


def _link(expression: str, scope: Mapping[str, object], where: str) -> str:
    text = _text(expression, scope, where)
    try:
        return linked_id(text)
    except Untranslatable as error:
        found = f"{where} = {_quoted(expression)} finds {_kind_of(text)}"
        raise Untranslatable(f"{found}. {error.reason} Example: {_example(where)}") from None


def _id(expression: str, scope: Mapping[str, object], where: str) -> str:
    text = _text(expression, scope, where)
    if not re.fullmatch(ID_PATTERN, text):
        wanted = "an id of Tallyfy, 32 characters of 0-9 and a-f (for a pasted URL write `link` instead of `id`)"
        raise _misses(where, expression, _search(expression, scope, where), wanted)
    return text


def _misses(where: str, expression: str, found: object, wanted: str) -> Untranslatable:
    """The error for a wrong value. It names the key, its expression and the type of the value, never the value."""
    return Untranslatable(
        f"{where} = {_quoted(expression)} finds {_kind_of(found)}, not {wanted}. Example: {_example(where)}"
    )


def _quoted(expression: str) -> str:
    return f'"{one_line(expression, most=_LONGEST_QUOTED)}"'


def _example(where: str) -> str:
    key = where.rpartition(".")[2]
    return f"{key} = {_EXAMPLES.get(key, _EXAMPLES['id'])}"


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "nothing (the key is missing or null)"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number that has a fraction or is too large to be exact"
        case str():
            return f"a text of {len(value)} characters" if value.strip() else "an empty text"
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def _is_true(value: object) -> bool:
    """Truth as JMESPath defines it: false, null and empty values are false; 0 is true."""
    return value is not None and value is not False and value not in ("", [], {})


def _line(text: str) -> str:
    """A free text as one line, because the reasons of other systems may contain line breaks."""
    return one_line(text, most=200)
