"""The line of each key in a TOML file."""

import tomllib
from pathlib import Path

import pytest

from lifecycle.domain.toml_lines import lines_of
from tests.harness.builders import CONFIG

SAMPLE = '''# a comment
zone = "UTC" # = [not, a, list]
"quoted.key" = 1
dotted . inner.'last' = { a = 1, b = [1, 2], "c" = """x
]}""" }

[caps]
count = 10
many = [
  "one", # [[rules]]
  'two]',
]

[[rules]]
name = "first"
  [rules.when]
  days = 3
  text = """
  [caps]
  """
[[rules]]
name = "second"
unless = { tags = ["a", "b"] }
[rules.when]
days = 4
[[rules.steps]]
n = 1
[[rules.steps]]
n = 2
'''


def test_each_key_is_found_on_its_line() -> None:
    assert lines_of(SAMPLE) == {
        ("zone",): 2,
        ("quoted.key",): 3,
        ("dotted",): 4,
        ("dotted", "inner"): 4,
        ("dotted", "inner", "last"): 4,
        ("dotted", "inner", "last", "a"): 4,
        ("dotted", "inner", "last", "b"): 4,
        ("dotted", "inner", "last", "b", 0): 4,
        ("dotted", "inner", "last", "b", 1): 4,
        ("dotted", "inner", "last", "c"): 4,
        ("caps",): 7,
        ("caps", "count"): 8,
        ("caps", "many"): 9,
        ("caps", "many", 0): 10,
        ("caps", "many", 1): 11,
        ("rules",): 14,
        ("rules", 0): 14,
        ("rules", 0, "name"): 15,
        ("rules", 0, "when"): 16,
        ("rules", 0, "when", "days"): 17,
        ("rules", 0, "when", "text"): 18,
        ("rules", 1): 21,
        ("rules", 1, "name"): 22,
        ("rules", 1, "unless"): 23,
        ("rules", 1, "unless", "tags"): 23,
        ("rules", 1, "unless", "tags", 0): 23,
        ("rules", 1, "unless", "tags", 1): 23,
        ("rules", 1, "when"): 24,
        ("rules", 1, "when", "days"): 25,
        ("rules", 1, "steps"): 26,
        ("rules", 1, "steps", 0): 26,
        ("rules", 1, "steps", 0, "n"): 27,
        ("rules", 1, "steps", 1): 28,
        ("rules", 1, "steps", 1, "n"): 29,
    }


def _paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner: dict[str | int, object] = {}
    if isinstance(value, dict):
        inner = dict(value)
    elif isinstance(value, list):
        inner = dict(enumerate(value))
    own = {path} if path else set()
    return own.union(*(_paths(one, (*path, key)) for key, one in inner.items()))


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.name)
def test_every_key_of_a_shipped_file_has_a_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert _paths(tomllib.loads(text)) == set(lines_of(text))


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a comment", "a = 1\r\nb = 2\r\n", "a=''''quoted''''\nb=1", "[a.b]\n[a]\nc=1"]
)
def test_every_key_of_an_unusual_file_has_a_line(text: str) -> None:
    assert _paths(tomllib.loads(text)) == set(lines_of(text))
