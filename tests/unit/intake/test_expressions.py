"""JMESPath expressions of sources.toml: a path begins with a name that exists."""

import pytest

from lifecycle.intake.expressions import check_begins

NAMES = ("body", "item")


@pytest.mark.parametrize(
    "expression",
    [
        "body",
        "[body]",
        "body.a[?kind == 'x' && !(gone)].{id: id, name: name}",
        "body.items[*].name",
        "body.*.id | [0]",
        "body | kind",
        "body[].a[0].b",
        "join('/', [body.a, to_string(item.b)])",
        "sort_by(body.list, &age)[-1].id",
        "@.body",
        "'a text'",
        '`{"type": 1}`',
    ],
)
def test_names_within_what_a_path_finds_are_free(expression: str) -> None:
    check_begins(expression, NAMES)


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("kind", "kind"),
        ("body.a == closed", "closed"),
        ("body.a || b.c", "b"),
        ("events[*].id", "events"),
        ("join('/', [body.a, b])", "b"),
        ("{a: b}", "b"),
        ("[a, body]", "a"),
        ("a | body", "a"),
        ("a[?body]", "a"),
        ("sort_by(list, &age)", "list"),
    ],
)
def test_a_path_that_begins_with_another_name_is_refused(expression: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{name}' finds nothing: a path begins with body or item, such as body\."):
        check_begins(expression, NAMES)
