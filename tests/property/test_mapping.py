"""Any JSON under any rules gives commands, or a refusal with its reason."""

import json
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lifecycle.domain.commands import CommandRequest
from lifecycle.intake.mapping import (
    MOST_COMMANDS,
    CommandRule,
    linked_id,
    translate,
    wanted,
)
from lifecycle.intake.payload import Untranslatable, read_json
from tests.harness.builders import ORG, THING

LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"

texts = st.one_of(st.text(max_size=30), st.sampled_from([THING, LINK, f"{LINK} {LINK}", "", " ", "\x00"]))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
names = st.one_of(st.sampled_from(["a", "b", "id", "items", "item"]), st.text(max_size=5))
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)
links = st.from_regex(r"https://[a-z.]{0,9}tallyfy\.com/[^ ]{0,40}")
expressions = st.sampled_from(
    [
        "body", "item", "item.a", "item.id", "body.items", "body.items[]", "body[].a", "[body]", "[body, item]",
        "body[?a == 'x']", "body[?a > `1`].b", "to_string(item)", "join('-', ['x', to_string(item.id)])", "item.a.b",
        "floor(item.a)", "sum(body)", "length(item)", "sort_by(body, &a)", "max_by(body, &b)", "body[::2]", "body[::0]",
        "keys(item)", "merge(item, item)", 'headers."x-event"', "not_null(item.a, item.b)", "contains(item, `1`)",
        "item.a < item.b", "!item", "item.a && item.b || body", "reverse(item)", "map(&a, body)", "'text'",
        "type(item) == 'array'",
    ]
)  # fmt: skip
targets = st.one_of(
    st.fixed_dictionaries({"id": expressions}),
    st.fixed_dictionaries({"link": expressions}),
    st.fixed_dictionaries({"find": st.fixed_dictionaries({"tag": expressions})}),
    st.fixed_dictionaries({"find": st.fixed_dictionaries({"name": expressions, "template": st.just(THING)})}),
)
more = st.fixed_dictionaries(
    {},
    optional={
        # There is no item before the list is found.
        "each": expressions.filter(lambda expression: "item" not in expression.replace("items", "")),
        "when": expressions,
        "delivery": expressions.filter(lambda expression: "headers" not in expression),
        "reason": expressions,
        "requested_by": expressions,
        "expect": st.dictionaries(st.sampled_from(["name", "status", "completed_at", "archived_at"]), expressions),
    },
)
rules = st.builds(
    lambda target, rest: CommandRule.model_validate(
        {"action": "archive", "resource": "run", "org_id": ORG, **target, **rest}
    ),
    targets,
    more,
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(rules, max_size=3), any_json, st.dictionaries(st.just("x-event"), texts))
def test_any_json_under_any_rules_gives_commands_or_a_refusal(
    declared: list[CommandRule], body: object, headers: dict[str, str]
) -> None:
    try:
        found = translate(tuple(declared), body, headers)
    except Untranslatable:
        return
    assert len(found) <= MOST_COMMANDS
    assert len({(one.delivery, one.index) for one in found if one.delivery is None}) == len(
        [one for one in found if one.delivery is None]
    )
    for one in found:
        assert (one.request.org_id, one.request.resource, one.request.action) == (ORG, "run", "archive")
        assert CommandRequest.parse(one.request.model_dump_json().encode()).id == one.request.id


@settings(max_examples=1000, deadline=None)
@given(expressions, any_json)
def test_any_filter_gives_an_answer_or_a_refusal(expression: str, body: object) -> None:
    with suppress(Untranslatable):
        assert isinstance(wanted(expression, body, {}), bool)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.binary(max_size=200), any_json.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_give_json_or_a_refusal(raw: bytes) -> None:
    with suppress(Untranslatable):
        read_json(raw)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.one_of(texts, links), max_size=4).map("".join))
@example(LINK)
def test_any_text_gives_one_id_or_a_refusal(text: str) -> None:
    try:
        found = linked_id(text)
    except Untranslatable:
        return
    assert found in text
    assert len(found) == 32
