"""The package keeps its bounds: no long function, no long parameter list, no service class that does everything."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers" / "lifecycle" / "lifecycle"
MOST_LINES, MOST_PARAMETERS, MOST_CLASS_LINES, MOST_FIELDS = 40, 6, 250, 12

RECORD = "a record or a table row: data, with no service behind it"
COMPOSITION = "it only passes parts to constructors"
EXCEPTIONS = {
    "api/schemas/approvals.py Approval": RECORD,
    "approvals/rules.py ApprovalRequest": RECORD,
    "audit/chain.py Record": RECORD,
    "bootstrap/tallyfy.py sweep": COMPOSITION,
    "domain/intent.py IntentRow": RECORD,
    "domain/kinds.py ResourceKind": "the declaration of a resource kind: one field for each fact",
    "domain/resources.py ResourceSnapshot": RECORD,
    "intake/mapping.py CommandRule": "a table of sources.toml: one field for each key",
    "intake/schemes/hmac.py SignatureFormat": "a table of sources.toml: one field for each key",
    "tallyfy/client.py _call": "one call with its timeouts, headers and answers; each part is read with the others",
    "sweep/assembly.py SweepParts": "what a builder is given to build the sweep from; it has no methods",
}
"""What may be larger, with the reason."""

type Definition = ast.FunctionDef | ast.ClassDef


@cache
def definitions() -> list[tuple[str, Definition]]:
    return [
        (f"{path.relative_to(PACKAGE)} {node.name}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]


def lines(node: Definition) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def problem(node: Definition) -> str | None:
    """Which bound a definition breaks."""
    if isinstance(node, ast.ClassDef):
        fields = sum(isinstance(inner, ast.AnnAssign) for inner in node.body)
        if lines(node) > MOST_CLASS_LINES:
            return f"{lines(node)} lines, more than {MOST_CLASS_LINES}"
        return f"{fields} fields, more than {MOST_FIELDS}" if fields > MOST_FIELDS else None
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    parameters = [one for one in named if one.arg not in {"self", "cls"}]
    if lines(node) > MOST_LINES:
        return f"{lines(node)} lines, more than {MOST_LINES}"
    return f"{len(parameters)} parameters, more than {MOST_PARAMETERS}" if len(parameters) > MOST_PARAMETERS else None


def test_every_function_and_class_keeps_its_bounds() -> None:
    broken = {name: found for name, node in definitions() if (found := problem(node)) and name not in EXCEPTIONS}
    assert broken == {}


def test_every_exception_is_still_needed() -> None:
    needed = {name for name, node in definitions() if problem(node)}
    assert EXCEPTIONS.keys() <= needed


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n" + "    x = 1\n" * 40, "41 lines, more than 40"),
        ("def f(self, a, b, c, *, d, e, f): ...", None),
        ("def f(a, b, c, *, d, e, f, g): ...", "7 parameters, more than 6"),
        ("class C:\n" + "".join(f"    f{n}: int\n" for n in range(13)), "13 fields, more than 12"),
        ("class C:\n" + "    def f(self): ...\n" * 250, "251 lines, more than 250"),
    ],
)
def test_a_broken_bound_is_named(source: str, expected: str | None) -> None:
    [node] = ast.parse(source).body
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
    assert problem(node) == expected
