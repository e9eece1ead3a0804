"""From a foreign payload to commands: what the rules make of it, and what they refuse."""

import json
import tomllib

import pytest

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import CommandRequest, Expect, Find
from lifecycle.domain.errors import Code
from lifecycle.intake.mapping import (
    MOST_COMMANDS,
    CommandRule,
    Translated,
    linked_id,
    translate,
    wanted,
)
from lifecycle.intake.payload import Untranslatable, read_json
from tests.harness.builders import ORG, THING

OTHER = "6f" * 16
LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"


def rule(lines: str = 'id = "item.id"', *, each: str | None = None) -> CommandRule:
    head = f'action = "archive"\nresource = "process"\norg_id = "{ORG}"\n'
    listed = "" if each is None else f'each = "{each}"\n'
    return CommandRule.model_validate(tomllib.loads(head + listed + lines))


def made(lines: str, body: object, *, each: str | None = None, **headers: str) -> list[CommandRequest]:
    return [found.request for found in translate((rule(lines, each=each),), body, headers)]


def refusal(lines: str, body: object, *, each: str | None = None) -> str:
    with pytest.raises(Untranslatable) as caught:
        made(lines, body, each=each)
    assert caught.value.code is Code.UNTRANSLATABLE
    return caught.value.reason


# --- how many ---


def test_one_payload_is_one_command_unless_the_rule_says_otherwise() -> None:
    [one] = translate((rule(),), {"id": THING}, {})
    assert one == Translated(
        CommandRequest(action=Action.ARCHIVE, resource=Resource.RUN, org_id=ORG, id=THING), None, 0
    )


@pytest.mark.parametrize("count", [0, 1, 7, MOST_COMMANDS])
def test_each_item_is_a_command(count: int) -> None:
    body = {"items": [{"id": f"{number:032x}"} for number in range(count)]}
    assert [one.id for one in made('id = "item.id"', body, each="body.items")] == [
        f"{number:032x}" for number in range(count)
    ]


def test_more_than_a_hundred_commands_are_refused_whole() -> None:
    body = [{"id": THING}] * (MOST_COMMANDS + 1)
    assert "101 commands; at most 100" in refusal('id = "item.id"', body, each="body")


def test_a_hundred_over_several_rules_are_counted_together() -> None:
    with pytest.raises(Untranslatable, match="102 commands"):
        translate((rule(each="body"),) * 2, [{"id": THING}] * 51, {})


def test_unwanted_items_are_skipped() -> None:
    body = [{"id": THING, "won": True}, {"id": "no id at all"}, {"id": OTHER, "won": True}, {"won": False}]
    assert [one.id for one in made('id = "item.id"\nwhen = "item.won"', body, each="body")] == [THING, OTHER]


def test_an_empty_list_has_no_items() -> None:
    assert made('id = "item.id"', {"items": []}, each="body.items") == []


@pytest.mark.parametrize("body", [{}, {"items": None}, {"Items": [{"id": THING}]}, [], None])
def test_a_payload_in_which_no_rule_finds_its_items_is_refused(body: object) -> None:
    assert (
        refusal('id = "item.id"', body, each="body.items")
        == "No rule finds items in this payload. Check 'each' in sources.toml."
    )
    with pytest.raises(Untranslatable, match="No rule finds items"):
        translate((rule(each="body.items"), rule(each="body.others")), body, {})


def test_one_rule_that_finds_its_items_is_enough() -> None:
    rules = (rule(each="body.items"), rule(each="body.others"))
    assert [one.request.id for one in translate(rules, {"others": [{"id": THING}]}, {})] == [THING]
    assert translate(rules, {"others": []}, {}) == []


@pytest.mark.parametrize("items", [{}, "text", 5, True])
def test_items_that_are_not_a_list_are_refused(items: object) -> None:
    said = refusal('id = "item.id"', {"items": items}, each="body.items")
    assert said.startswith('commands[no. 1].each = "body.items" finds ')
    assert said.endswith(', not a list. Example: each = "body.events", or "[body]" for a single event')


def test_one_invalid_item_refuses_the_whole_delivery() -> None:
    assert "commands[no. 1].id" in refusal('id = "item.id"', [{"id": THING}, {}], each="body")


# --- what names a command ---


def test_each_item_is_named_by_its_own_place() -> None:
    body = [{"id": THING, "won": False}] * 1000 + [{"id": THING, "won": True}, {"id": OTHER, "won": True}]
    rules = (rule('id = "item.id"\nwhen = "item.won"', each="body"), rule('id = "body[1001].id"'))
    found = translate(rules, body, {})
    assert len(found) == 3
    assert len({one.index for one in found}) == 3


def test_two_rules_turn_one_named_item_into_two_commands() -> None:
    rules = (rule('id = "item.id"\ndelivery = "item.event"'), rule('id = "item.other"\ndelivery = "item.event"'))
    found = translate(rules, {"id": THING, "other": OTHER, "event": 7}, {})
    assert [(one.delivery, one.index) for one in found] == [("7", 0), ("7", 1)]


def test_a_named_item_is_the_same_at_any_place() -> None:
    lines = 'id = "item.id"\ndelivery = "item.event"'
    first, second = {"id": THING, "event": "a"}, {"id": OTHER, "event": "b"}
    together = translate((rule(lines, each="body"),), [first, second], {})
    alone = translate((rule(lines, each="body"),), [second], {})
    assert [(one.delivery, one.index) for one in together][1:] == [(one.delivery, one.index) for one in alone]


@pytest.mark.parametrize("event", [None, "", " ", True, 1.5, [], {}])
def test_a_missing_item_name_is_not_replaced_by_a_default(event: object) -> None:
    said = refusal('id = "item.id"\ndelivery = "item.event"', {"id": THING, "event": event})
    assert said.startswith('commands[no. 1].delivery = "item.event" finds ')
    assert said.endswith(', not a text or a whole number. Example: delivery = "body.event_id"')


# --- the thing meant ---


@pytest.mark.parametrize(
    "unsafe", ["", "x", THING.upper(), f"{THING}/delete", f" {THING}", THING + "\n", f"../{THING}", 7]
)
def test_an_invalid_id_is_refused(unsafe: object) -> None:
    assert "commands[no. 1]" in refusal('id = "item.id"', {"id": unsafe})


@pytest.mark.parametrize(
    "text",
    [
        LINK,
        f"<{LINK}|Process>",
        f"See [the process|{LINK}] please.",
        f"({LINK}), thanks",
        f'<a href="{LINK}">x</a>',
        f"{LINK}?tab=tasks#{OTHER}",
        f"{LINK}/tasks",
        f"{LINK}\r\n{LINK}/",
        f"https://example.com/{OTHER} and {LINK}",
        f"https://account.tallyfy.com/{ORG}/process/{THING}",
        f"https://tallyfy.com/process/{THING}",
    ],
)
def test_the_one_tallyfy_link_in_a_text_is_found(text: str) -> None:
    assert linked_id(text) == THING
    assert [one.id for one in made('link = "item.text"', {"text": text})] == [THING]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("no link at all", 0),
        (THING, 0),
        (f"{LINK} {LINK.replace(THING, OTHER)}", 2),
        (f"https://example.com/{THING}", 0),
        (f"https://evil-tallyfy.com/process/{THING}", 0),
        (f"https://tallyfy.com.example.com/process/{THING}", 0),
        (f"https://go.tallyfy.com@example.com/process/{THING}", 0),
        (f"https://example.com/?u=go.tallyfy.com/{THING}", 0),
        (f"http://go.tallyfy.com/process/{THING}", 0),
        (f"https://go.tallyfy.com/process?id={THING}", 0),
        (f"https://go.tallyfy.com/process#{THING}", 0),
        (f"https://go.tallyfy.com/process/{THING}a", 0),
        (f"https://go.tallyfy.com/process/{THING.upper()}", 0),
        ("https://go.tallyfy.com/", 0),
    ],
)
def test_a_text_without_exactly_one_link_is_refused_with_the_number_found(text: str, count: int) -> None:
    told = refusal('link = "item.text"', {"text": text})
    assert told.startswith(
        f'commands[no. 1].link = "item.text" finds a text of {len(text)} characters. {count} Tallyfy '
    )
    assert told.endswith('Example: link = "body.description"')


def test_a_tag_or_name_in_the_payload_becomes_a_search() -> None:
    [by_tag] = made("find = { tag = \"join('', ['deal-', to_string(item.deal)])\" }", {"deal": 7})
    assert by_tag.find == Find(tag="deal-7")
    [by_name] = made(f'find = {{ name = "item.name", template = "{OTHER}" }}', {"name": "Relaunch"})
    assert by_name.find == Find(name="Relaunch", template=OTHER)
    assert by_name.id is None


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "two\nlines", None, ["a"]])
def test_an_invalid_search_is_refused(name: object) -> None:
    assert "commands[no. 1]" in refusal('find = { tag = "item.name" }', {"name": name})


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (7, "7"), (2**63, str(2**63)), (-1, "-1"), ("007", "007")])
def test_a_whole_number_is_accepted_as_text(value: object, text: str) -> None:
    assert [one.find for one in made('find = { tag = "item.n" }', {"n": value})] == [Find(tag=text)]


@pytest.mark.parametrize("value", [True, False, 1.5, None, [], {}, ["7"]])
def test_no_other_type_is_accepted_as_text(value: object) -> None:
    assert 'commands[no. 1].find.tag = "item.n" finds ' in refusal('find = { tag = "item.n" }', {"n": value})


@pytest.mark.parametrize(
    ("number", "text"),
    [("42", "42"), ("42.0", "42"), ("4.2e1", "42"), ("9007199254740993", "9007199254740993"), ("1" * 40, "1" * 40)],
)
def test_a_number_as_id_is_accepted_and_never_rounded(number: str, text: str) -> None:
    [one] = translate((rule('find = { tag = "item.n" }'),), read_json(f'{{"n": {number}}}'.encode()), {})
    assert one.request.find is not None
    assert one.request.find.tag == text


@pytest.mark.parametrize("number", ["9007199254740993.0", "1.5", "1e300", "0.1"])
def test_a_number_that_may_have_been_rounded_is_refused_with_its_key(number: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        translate((rule('find = { tag = "item.n" }'),), read_json(f'{{"n": {number}}}'.encode()), {})
    assert refused.value.reason == (
        'commands[no. 1].find.tag = "item.n" finds a number that has a fraction or is too large to be exact, '
        "not a text or a whole number. Example: tag = \"join('-', ['deal', to_string(body.id)])\""
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "nothing (the key is missing or null)"),
        ("", "an empty text"),
        (True, "true or false"),
        ([1], "a list of 1"),
    ],
)
def test_an_error_names_the_type_found_and_never_the_value(value: object, kind: str) -> None:
    assert f"finds {kind}, not" in refusal('id = "item.id"', {"id": value})
    said = refusal('id = "item.id"', {"id": "PRIVATE"})
    assert 'commands[no. 1].id = "item.id" finds a text of 7 characters, not an id of Tallyfy' in said
    assert "PRIVATE" not in said


# --- what is said besides ---


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Kündigung 解約 🧾", "Kündigung 解約 🧾"),
        ("two\r\nlines\tand\x00more\x7f", "two  lines and more"),
        ("a\u2028b\u202ec\ufeff", "a b c"),
        ("x" * 999, "x" * 200),
        ("\n \n", None),
        ("\x00", "-"),
    ],
)
def test_a_reason_with_line_breaks_becomes_one_line(text: str, line: str | None) -> None:
    lines = 'id = "item.id"\nreason = "item.text"\nrequested_by = "item.text"'
    if line is None:
        assert "finds an empty text" in refusal(lines, {"id": THING, "text": text})
        return
    [one] = made(lines, {"id": THING, "text": text})
    assert (one.reason, one.requested_by) == (line, line)


def test_the_state_in_the_payload_becomes_an_expectation() -> None:
    expected = """{ status = "'complete'", archived_at = "item.archived", completed_at = "item.done" }"""
    lines = f'id = "item.id"\nexpect = {expected}'
    [one] = made(lines, {"id": THING, "done": "2026-06-01T14:00:00+02:00"})
    assert one.expect is not None
    assert one.expect.model_fields_set == {"status", "archived_at", "completed_at"}
    said = {"status": "complete", "archived_at": None, "completed_at": "2026-06-01T12:00:00Z"}
    assert one.expect == Expect.model_validate_json(json.dumps(said))


@pytest.mark.parametrize("done", ["yesterday", "2026-06-01T12:00:00", 5, [], {"a": 1}])
def test_an_invalid_expectation_is_refused(done: object) -> None:
    said = refusal('id = "item.id"\nexpect = { completed_at = "item.done" }', {"id": THING, "done": done})
    assert said.startswith('commands[no. 1].expect.completed_at = "item.done" finds ')
    assert said.endswith("Example: expect = { status = \"'complete'\" }")
    assert "yesterday" not in said


@pytest.mark.parametrize(
    ("find", "text", "why"),
    [
        ('tag = "item.x"', "x" * 201, "It must not be longer than 200 characters. Example: tag = "),
        ('tag = "item.x"', "a\nb", "It must be one line, without control characters. Example: tag = "),
        (
            f'name = "item.x", template = "{THING}"',
            "x" * 201,
            "It must not be longer than 200 characters. Example: name = ",
        ),
    ],
)
def test_a_name_that_is_no_name_is_refused_with_its_expression(find: str, text: str, why: str) -> None:
    said = refusal(f"find = {{ {find} }}", {"x": text})
    key = find.partition(" ")[0]
    assert f'commands[no. 1].find.{key} = "item.x" finds a text of {len(text)} characters. {why}' in said


def test_headers_and_the_whole_body_are_available_for_each_item() -> None:
    lines = 'id = "item"\nreason = "join(\' \', [headers.\\"x-event\\", body.who])"'
    [one] = translate((rule(lines, each="body.ids"),), {"ids": [THING], "who": "Ada"}, {"x-event": "closed"})
    assert one.request.reason == "closed Ada"


def test_a_payload_never_chooses_the_action_kind_or_organization() -> None:
    [one] = made('id = "item.id"', {"id": THING, "action": "delete", "resource": "tag", "org_id": OTHER})
    assert (one.action, one.resource, one.org_id) == (Action.ARCHIVE, Resource.RUN, ORG)


def test_a_refusal_never_quotes_the_request() -> None:
    for lines in ('id = "item.id"', 'link = "item.id"', 'find = { tag = "item.id" }'):
        assert "PRIVATE" not in refusal(lines, {"id": "PRIVATE\n" * 200})


# --- filters ---


@pytest.mark.parametrize(
    ("value", "wants"),
    [
        (True, True),
        (0, True),
        (0.0, True),
        ("no", True),
        ([0], True),
        ({"a": None}, True),
        (False, False),
        (None, False),
        ("", False),
        ([], False),
        ({}, False),
    ],
)
def test_a_condition_is_true_as_jmespath_defines_it(value: object, *, wants: bool) -> None:
    assert wanted("body.value", {"value": value}, {}) is wants
    assert len(made('id = "body.id"\nwhen = "item.value"', {"id": THING, "value": value})) == wants


def test_a_source_without_a_filter_wants_every_payload() -> None:
    assert wanted(None, None, {})


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        ("body.amount > `100`", {"amount": "200"}),
        ("body[?a > `1`]", [{"a": "x"}]),
        ("contains(body.text, `1`)", {"text": "1"}),
        ("floor(body)", float("inf")),
        ("ceil(body)", float("nan")),
        ("body[::0]", [1]),
        ("sum(body)", ["x"]),
        ("sort_by(body, &a)", [{"a": 1}, {"a": "x"}]),
        ("join(', ', body)", [1]),
        ("length(body)", None),
        ("length(body, body)", []),
        ("keys(body)", []),
    ],
)
def test_an_expression_that_does_not_fit_the_payload_is_refused_and_named(expression: str, body: object) -> None:
    with pytest.raises(
        Untranslatable,
        match=r"^untranslatable: when = .* cannot be applied to this payload: (it compares|\w+\(\) (takes|gets))",
    ):
        wanted(expression, body, {})


@pytest.mark.parametrize(
    ("expression", "body", "why"),
    [
        ("join('-', ['deal', body.id])", {"id": 1042}, "join() takes a list of texts, and gets a number"),
        ("join('-', body.id)", {}, "join() takes a list of texts, and gets nothing"),
        ("starts_with(body.id, 'x')", {"id": 7}, "starts_with() takes a text, and gets a number"),
        ("starts_with(body.id)", {"id": "x"}, "starts_with() gets another number of values than it takes"),
        ("body.id > `1`", {"id": "secret"}, "it compares, joins or counts values of another type"),
    ],
)
def test_an_expression_that_does_not_fit_is_explained_with_types_only(expression: str, body: object, why: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        wanted(expression, body, {})
    assert f"{expression}" in refused.value.reason
    assert f"cannot be applied to this payload: {why}. Example: when = " in refused.value.reason
    assert "secret" not in refused.value.reason


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1042", "1042"),
        ("1042.0", "1042"),
        ("1.042e3", "1042"),
        ("-7.0", "-7"),
        ("9007199254740991.0", "9007199254740991"),
        ("12345678901234567890", "12345678901234567890"),
        ("10.5", "10.5"),
        ("0.1", "0.1"),
        ("123456789012.345", "123456789012.345"),
    ],
)
def test_a_number_in_a_name_is_written_as_it_was_sent(number: str, text: str) -> None:
    body = read_json(f'{{"id": {number}}}'.encode())
    [found] = made("find.tag = \"join('-', ['deal', to_string(item.id)])\"", body)
    assert found.find is not None
    assert found.find.tag == f"deal-{text}"


@pytest.mark.parametrize(
    "number", ["9007199254740992.0", "1e300", "1e999", "NaN", "0.12345678901234567", "[1, 9007199254740993.0]"]
)
def test_a_number_that_may_have_been_rounded_makes_no_name(number: str) -> None:
    body = read_json(f'{{"id": {number}}}'.encode())
    told = refusal("find.tag = \"join('-', ['deal', to_string(item.id)])\"", body)
    assert ".find.tag = " in told
    assert "to_string() gets a number that is too large or too long to be exact" in told


# --- JSON ---


@pytest.mark.parametrize(
    "raw",
    [b"", b"no json", b"{", b"\xff\xfe", b'"\\ud800"', b"[" * 300 + b"]" * 300, b"[" * 50_000, b"9" * 5000, b"{}{}"],
)
def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Untranslatable, match="not JSON"):
        read_json(raw)


def test_any_nesting_that_can_be_parsed_can_be_searched() -> None:
    body = read_json(b"[" * 150 + b"]" * 150)
    assert "finds a list of 1" in refusal('id = "item[0][0]"', body)


def test_if_changed_needs_an_expectation() -> None:
    lines = 'id = "item.id"\nexpect = { status = "\'complete\'" }\nif_changed = "ignore"'
    [one] = translate((rule(lines),), {"id": THING}, {})
    assert one.request.if_changed == "ignore"
    with pytest.raises(ValueError, match="if_changed goes with expect"):
        rule('id = "item.id"\nif_changed = "ignore"')
