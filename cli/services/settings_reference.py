"""The generated pages about what an operator edits: the keys of `sources.toml`, the conditions of `policy.toml`.

Everything comes from the declarations: a new scheme or condition is in its page as soon as `make docs` has run.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.resources import STATUSES
from lifecycle.intake.handshakes import Handshake
from lifecycle.intake.mapping import CommandRule, FindRule
from lifecycle.intake.payload import PayloadEncoding
from lifecycle.intake.presets import load_preset, preset_names
from lifecycle.intake.schemes import Scheme, scheme_class, scheme_names
from lifecycle.intake.sources import Source
from lifecycle.policy.conditions import CONDITIONS


def sources_page() -> str:
    """The keys of `sources.toml`."""
    lines = [
        "# Keys of sources.toml\n",
        "`layers/config/sources.toml` has one table `[sources.<name>]` for each sender. [Connect](../connect.md) has a",
        "recipe for each system. Whatever is unknown, empty or misspelt is an error that names the key.\n",
        "## A source\n",
        _keys(Source),
        "## handshake\n",
        f"{_text(Handshake)}\n",
        _keys(Handshake),
        "## payload\n",
        f"{_text(PayloadEncoding)}\n",
        _keys(PayloadEncoding),
        "## commands\n",
        f"{_text(CommandRule)}\n",
        _keys(CommandRule),
        "Expressions are [JMESPath](https://jmespath.org). A path begins with `body`, `headers` (their names in lower",
        "case) or, in a rule, `item`. A constant text stands in single quotes.\n",
        f"`find` is a table. {_text(FindRule)}\n",
        _keys(FindRule),
        "## Signature schemes\n",
        "`scheme` names one of these. The settings of a scheme stand beside the other keys of the source.\n",
    ]
    for name in scheme_names():
        lines += [f"### {name}\n", *_scheme(scheme_class(name))]
    return "\n".join(lines).rstrip() + "\n"


def presets_page() -> str:
    """A recipe for each system that has a preset."""
    lines = [
        "# Systems\n",
        "A recipe for each system that has a preset. `scheme` names it in `sources.toml`, and stands for the way in",
        "which the system signs; `lifecycle source show <name>` prints all of it.",
        "[Connect](../connect.md) has the steps.\n",
        "The URL to paste is `<ApiUrl>/webhooks/<source>`. The secret is stored as `<stack>/sources/<source>`.\n",
    ]
    for name in preset_names():
        preset = load_preset(name)
        lines += [
            f"## {name}\n",
            f"{_plain(preset.title)}. [Its documentation]({preset.docs}).\n",
            f"- **Create the webhook**: {_plain(preset.setup)}",
            f"- **Secret**: {_plain(preset.secret)}",
            f"- **Kind of event**: {_plain(preset.event_type)}",
            f"- **Id of a delivery**: {_plain(preset.delivery_id)}",
            f"- **Sample**: `events/{preset.sample}`",
            *([f"- **Mind**: {_plain(preset.caution)}"] if preset.caution else []),
            f"\n```toml\n{preset.example.strip()}\n```\n",
        ]
    return "\n".join(lines).rstrip() + "\n"


def conditions_page() -> str:
    """The conditions of `policy.toml`."""
    lines = [
        "# Conditions of policy.toml\n",
        "Write these keys into `when` and `unless` of a rule: [Clean-up policy](../policy.md). Days are calendar",
        "days in the zone of the policy. A rule that acts needs at least one condition that *bounds* it.\n",
        "| key | example | holds if | fits | bounds |",
        "|---|---|---|---|---|",
    ]
    for key, condition in CONDITIONS.items():
        kinds = ", ".join(resource.label for resource in Resource if condition.fits(resource))
        bounds = "yes" if condition.bounding else ""
        cells = (f"`{key}`", f"`{condition.example}`", _text(type(condition)), kinds, bounds)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\nA status is one of {', '.join(f'`{status}`' for status in STATUSES)}.")
    return "\n".join(lines) + "\n"


def _scheme(found: type[Scheme]) -> Iterator[str]:
    module = inspect.getmodule(found)
    paragraphs = ((module and module.__doc__) or "").split("\n\n")
    yield "\n\n".join(_plain(one) for one in paragraphs if not _is_for_developers(one)).strip() + "\n"
    if not found.model_fields:
        yield "It takes no settings.\n"
        return
    yield _keys(found)
    for name, field in found.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield f"`{name}` is a table. {_text(nested)}\n"
            yield _keys(nested)


def _keys(model: type[BaseModel]) -> str:
    described = _attribute_texts(model)
    rows = [
        f"| `{name}` | {_default(field)} | {' '.join([_plain(described.get(name, '')), _values(field)]).strip()} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| key | default | |", "|---|---|---|", *rows]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value in ((), {}, frozenset(), ""):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    shown = value.value if isinstance(value, Enum) else str(value).lower() if isinstance(value, bool) else value
    return f"`{shown}`"


def _values(field: FieldInfo) -> str:
    """The words that a key takes, where it takes only some."""
    kind = getattr(field.annotation, "__value__", field.annotation)  # an alias stands for it
    if get_origin(kind) is Literal:
        words = get_args(kind)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        words = tuple(one.value for one in kind)
    else:
        return ""
    return f"One of {', '.join(f'`{word}`' for word in words)}."


def _is_for_developers(paragraph: str) -> bool:
    return "Source:" in paragraph or "docs/decisions" in paragraph


def _attribute_texts(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstrings below the fields of a class. They are in its source only."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    [declared] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    texts: dict[str, str] = {}
    field = ""
    for node in declared.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str() as text)) if field:
                texts[field], field = text, ""
            case _:
                field = ""
    return texts


def _text(described: Any) -> str:  # noqa: ANN401 - anything with a docstring
    return _plain(inspect.getdoc(described) or "")


def _plain(text: str) -> str:
    """A docstring as one paragraph of Markdown."""
    joined = " ".join(text.split()).replace("``", "`")
    parts = re.split(r"(`[^`]*`)", joined)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
