"""Which paths of a filter find nothing in a payload."""

import pytest

from cli.services.empty_paths import empty_paths

SCOPE = {"body": {"kind": "closed", "none": None, "list": [{"a": 1}]}, "headers": {"x-event": "issue"}}


@pytest.mark.parametrize(
    ("expression", "paths"),
    [
        ("body.kind == 'closed'", []),
        ("body.type == 'closed' && body.kind", ["body.type"]),
        ("!(body.none) || starts_with(body.name, 'a')", ["body.name", "body.none"]),
        ('headers."x-event" == \'a\' && headers."x-other"', ['headers."x-other"']),
        ("body.list[?b == `1`] && body.list[0].c", []),
        ("body.kind.deeper", ["body.kind.deeper"]),
        ("body", []),
    ],
)
def test_only_paths_that_find_nothing_are_named(expression: str, paths: list[str]) -> None:
    assert empty_paths(expression, SCOPE) == paths
