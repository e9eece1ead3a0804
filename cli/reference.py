"""The generated pages of the documentation: `docs/reference/` and the list of decisions.

`python -m cli.reference` (`make docs`) writes them; a test checks that they are up to date.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import typer.main
from samtranslator.yaml_helper import yaml_parse

from cli.main import app
from cli.services.remedies import REMEDIES, Remedy
from cli.services.settings_reference import conditions_page, presets_page, sources_page
from cli.ui.errors import EXIT_CODES
from lifecycle.aws.api_gateway import problem
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.failures import Attention, attention

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_NOTE = "<!-- Written by `make docs` from the code. Do not edit: change {source} instead. -->\n"
_ATTENTION = {
    Attention.PAGE: "a notice at once, and an alarm",
    Attention.DIGEST: "the daily digest",
    Attention.NONE: "nobody",
}

_ANSWERS_ONLY = frozenset({Code.UNKNOWN_APPROVAL, Code.OWN_REQUEST})
"""What refuses a person's request. No command ends with these."""


def pages() -> dict[Path, str]:
    """Every generated page: its path and its text."""
    return {
        DOCS / "reference" / "cli.md": _cli(),
        DOCS / "reference" / "parameters.md": _parameters(),
        DOCS / "reference" / "codes.md": _codes(),
        DOCS / "reference" / "sources.md": _NOTE.format(source="`lifecycle/intake`") + "\n" + sources_page(),
        DOCS / "reference" / "presets.md": _NOTE.format(source="`intake/presets`") + "\n" + presets_page(),
        DOCS / "reference" / "conditions.md": _NOTE.format(source="`policy/conditions.py`") + "\n" + conditions_page(),
        DOCS / "decisions" / "index.md": _decisions(),
    }


def write() -> None:
    """Write every generated page whose text has changed."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# --- the command line -----------------------------------------------------------------------------------------------


def _cli() -> str:
    group: Any = typer.main.get_command(app)
    lines = [
        _NOTE.format(source="the commands in `cli/`"),
        "# The `lifecycle` command\n",
        f"{group.help}\n",
        'After `make setup` it is in `.local/dev/bin/`: `export PATH="$PWD/.local/dev/bin:$PATH"`.\n',
        "AWS credentials, profile and endpoint come from the usual `AWS_*` variables.\n",
        f"{EXIT_CODES}\n",
        "These options stand before a command, and count for it:\n",
        _options(group),
    ]
    for name, command in sorted(group.commands.items()):
        below: Mapping[str, Any] = getattr(command, "commands", {})
        lines.append(f"## lifecycle {name}\n")
        lines.append(f"{_prose(command.help)}\n")
        if not below:
            lines.append(_command(name, command))
        for second, inner in sorted(below.items()):
            lines.append(f"### lifecycle {name} {second}\n")
            lines.append(f"{_prose(inner.help)}\n")
            lines.append(_command(f"{name} {second}", inner))
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any) -> str:  # noqa: ANN401 - typer brings a click of its own, without public names
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    shown = " ".join(_argument(one) for one in arguments)
    usage = f"```text\nlifecycle {name}{' ' + shown if shown else ''} [OPTIONS]\n```\n"
    described = "".join(f"- `{_argument(one)}`: {_cell(one.help)}\n" for one in arguments if one.help)
    return "\n".join(part for part in (usage, described, _options(command)) if part)


def _argument(argument: Any) -> str:  # noqa: ANN401 - as above
    name = (argument.metavar or argument.name).upper()
    several = "..." if argument.nargs != 1 else ""
    return f"{name}{several}" if argument.required else f"[{name}]{several}"


def _options(command: Any) -> str:  # noqa: ANN401 - as above
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if not options:
        return ""
    rows = [
        f"| {', '.join(f'`{word}`' for word in [*option.opts, *option.secondary_opts])} | {_about(option)} |"
        for option in options
    ]
    return "\n".join(["| option | |", "|---|---|", *rows]) + "\n"


def _about(option: Any) -> str:  # noqa: ANN401 - as above
    parts = [_cell(option.help)]
    if option.required:
        parts.append("Required.")
    elif option.default not in {None, False} and "default:" not in (option.help or ""):
        parts.append(f"Default: `{option.default}`.")
    if option.envvar:
        parts.append(f"Also `{option.envvar}` in the environment.")
    return " ".join(part for part in parts if part)


def _cell(text: str | None) -> str:
    return _escaped(" ".join((text or "").split())).replace("|", "\\|")


def _prose(text: str | None) -> str:
    """A docstring: paragraphs stay, line breaks within one go."""
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(_escaped(" ".join(paragraph.split())) for paragraph in paragraphs)


def _escaped(text: str) -> str:
    """Outside code, `<x>` would be read as HTML."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


# --- the template's parameters ----------------------------------------------------------------------------------------


def _parameters() -> str:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    parameters: Mapping[str, Mapping[str, Any]] = template["Parameters"]
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    lines = [
        _NOTE.format(source="`template.yaml`"),
        "# Parameters\n",
        'Write them into the list of your environment in `samconfig.toml`, as `"Name=value"`, and deploy.\n',
    ]
    for group in groups:
        lines += [f"## {group['Label']['default']}\n", "| parameter | default | |", "|---|---|---|"]
        lines += [_parameter(name, parameters[name]) for name in group["Parameters"]]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _parameter(name: str, parameter: Mapping[str, Any]) -> str:
    default = parameter.get("Default")
    shown = "–" if default is None else f"`{default}`" if str(default) else "empty"
    return f"| `{name}` | {shown} | {_cell(parameter['Description'])}{_limits(parameter)} |"


def _limits(parameter: Mapping[str, Any]) -> str:
    values = parameter.get("AllowedValues")
    if values:
        return f" One of {', '.join(f'`{value}`' for value in values)}."
    if "MinValue" in parameter:
        return f" From {parameter['MinValue']} to {parameter['MaxValue']}."
    return ""


# --- codes ------------------------------------------------------------------------------------------------------------


def _codes() -> str:
    todo = {code: remedy for remedy in REMEDIES for code in remedy.codes}
    lines = [
        _NOTE.format(source="`domain/errors.py`, `domain/failures.py` or `cli/services/remedies.py`"),
        "# Codes\n",
        "Status answers, dead letters, events and problem details carry one of these codes. A code is never renamed.",
        "Each links to its section in the [runbook](../runbook.md).\n",
        "*Who hears of it* is about a command that ends with this code. *HTTP* is the status of an answer that refuses",
        "a request for this reason; every other failure is answered with 503.\n",
        "| code | what to do | who hears of it | HTTP |",
        "|---|---|---|---|",
    ]
    for code in Code:
        remedy = todo.get(code)
        what = _cell(remedy.todo) if remedy else "–"
        lines.append(f"| [`{code}`](../runbook.md#{code}) | {what} | {_who(code, remedy)} | {_http(code)} |")
    return "\n".join(lines) + "\n"


def _who(code: Code, remedy: Remedy | None) -> str:
    if remedy is None or code in _ANSWERS_ONLY:
        return "–"
    return f"nobody ({remedy.status})" if remedy.status else _ATTENTION[attention(code)]


def _http(code: Code) -> str:
    status = problem(Rejected(code, ""))["statusCode"]
    return "–" if status == HTTPStatus.SERVICE_UNAVAILABLE else str(status)


# --- decisions --------------------------------------------------------------------------------------------------------


def _decisions() -> str:
    lines = [
        _NOTE.format(source="the decision"),
        "# Decisions\n",
        "Each page says what had to be decided, what was decided, what else was considered, and what follows.",
        "A decision that a later one replaced stays, and says so.\n",
        *(f"- [{title}]({path.name})" for path, title in _titles()),
    ]
    return "\n".join(lines) + "\n"


def _titles() -> Iterator[tuple[Path, str]]:
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        yield path, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    write()
