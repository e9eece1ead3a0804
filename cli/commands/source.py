"""`lifecycle source`: what the declared sources may do, and which commands their payloads become."""

import json
import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli.clients.context import context_of, stack_of
from cli.commands.source_errors import errors, listen, replay
from cli.services.follow import CommandDetails, follow_commands
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Json, Region, StackName, Timeout, Wait, Yes, headers_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.services.source_trial import Trial
    from lifecycle.domain.commands import Command
    from lifecycle.intake.sources import Sources

app = typer.Typer(
    no_args_is_help=True,
    help="The sources in sources.toml: start from a preset, try a payload, send a sample to a stack.",
)

for _command in (errors, replay, listen):
    app.command()(_command)

_WITHOUT_PRESET = "Any other system needs a table too, and no code: docs/connect.md, 'A system without a preset'."
SourcesFile = Annotated[
    Path | None,
    typer.Option("--sources", exists=True, dir_okay=False, help="(default: layers/config/sources.toml)"),
]


Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="NAME=VALUE", help="A header of the request, also as 'Name: value'. Can be repeated."
    ),
]


@app.command("list")
def list_(sources: SourcesFile = None, json_: Json = False) -> None:
    """List each source: its signature scheme, the actions it may request, and the delay before they are carried out."""
    if json_:
        as_json(_declared(sources).model_dump(mode="json", exclude_none=True)["sources"])
        return
    rows = table("source", "scheme", "may", "after", "translated by")
    for name, source in _declared(sources).sources.items():
        rights = ", ".join(sorted(source.may)) + (" (irreversible too)" if source.irreversible else "")
        rules = len(source.commands)
        how = f"{rules} rule{'' if rules == 1 else 's'}" if rules else "not needed"
        rows.add_row(plain(name), source.scheme.name, rights, _span(source.after) if source.after else "at once", how)
    console().print(rows, soft_wrap=True)


@app.command("presets")
def presets(json_: Json = False) -> None:
    """List the presets: systems whose name you can use as `scheme` in sources.toml."""
    from lifecycle.intake.presets import load_preset, preset_names

    found = {name: load_preset(name) for name in preset_names()}
    if json_:
        as_json({name: preset.title for name, preset in found.items()})
        return
    rows = table("scheme", "system")
    for name, preset in found.items():
        rows.add_row(plain(name), plain(preset.title))
    console().print(rows, soft_wrap=True)
    console().print("`lifecycle source show <scheme>` prints the settings of a preset, and a table to start from.")
    console().print(_WITHOUT_PRESET)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="a preset; `lifecycle source presets` lists them")], json_: Json = False
) -> None:
    """Print the settings of a preset, where its secret comes from, and a table to start from in sources.toml."""
    from lifecycle.domain.validation import did_you_mean
    from lifecycle.intake.presets import load_preset, preset_names

    if name not in preset_names():
        hint = did_you_mean(name, preset_names())
        raise CliError(
            f"There is no preset '{name}'.{hint} `lifecycle source presets` lists them. {_WITHOUT_PRESET}", Exit.USAGE
        )
    preset = load_preset(name)
    if json_:
        as_json(preset.model_dump(mode="json", exclude={"vector"}))
        return
    out = console()
    out.print(plain(f"{preset.title}, {preset.docs}"), soft_wrap=True)
    for label, text in (
        ("create it", preset.setup),
        ("secret", preset.secret),
        ("event type", preset.event_type),
        ("delivery id", preset.delivery_id),
        ("sample", f"events/{preset.sample}"),
        ("caution", preset.caution),
    ):
        if text:
            out.print(f"  {label:<11}", plain(text), soft_wrap=True)
    out.print(plain(f'\nscheme = "{name}" stands for:'))
    for line in _toml_lines(preset.source):
        out.print("  ", plain(line), soft_wrap=True)
    out.print("\nTo start from:")
    for line in preset.example.strip().splitlines():
        out.print("  ", plain(line), soft_wrap=True)


@app.command("connect")
def connect(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="a source in sources.toml")],
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=60, help="How long the window stays open.")] = 10,
    sources: SourcesFile = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Receive the signing secret of a system that sends it, while this command waits.

    Create the webhook in the system with the printed URL. The first secret that arrives at that URL is stored in
    Secrets Manager, and the window closes.
    """
    from cli.clients.stack import output_of
    from cli.services.config_files import source_named
    from cli.services.source_connection import open_window, window_end

    world, target = context_of(ctx), stack_of(ctx, stack, region)
    found = source_named(_declared(sources), source)
    until = window_end(world.clock(), minutes)
    window = open_window(target.secrets(), output_of(target, "SecretPrefix"), source, found, until)
    out = console()
    url = f"{world.api(target, api_url).url}/webhooks/{source}/{window.key}"
    out.print(f"Create the webhook with this URL before {until:%H:%M} UTC:", soft_wrap=True)
    out.print(f"  {url}", soft_wrap=True)
    secret = window.wait(world.clock, world.sleep)
    out.print(YES, plain(f"The secret is stored in {window.stored_as}."), soft_wrap=True)
    if found.handshake is not None and found.handshake.shown:
        out.print("Paste this into the system to confirm. It is shown only once:")
        out.print(f"  {secret}", soft_wrap=True)


@app.command("try")
def try_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="a source in sources.toml")],
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="the raw body; a captured HTTP request (headers and body); or an event of API Gateway or EventBridge",
        ),
    ],
    header: Header = None,
    uri: Annotated[
        str,
        typer.Option(
            "--uri", help="The URL of the request, for sources whose signature covers it.", show_default=False
        ),
    ] = "",
    secret_from_env: Annotated[
        bool, typer.Option("--secret-from-env", help="Fail unless LIFECYCLE_SECRET verifies the signature.")
    ] = False,
    sources: SourcesFile = None,
    json_: Json = False,
) -> None:
    """Show step by step what a payload becomes. Exit code 0 if the stack would accept or ignore it.

    The signature is verified if LIFECYCLE_SECRET is set and the headers are given.
    """
    from cli.services.config_files import source_named
    from cli.services.source_trial import TrialInput, try_out

    given = TrialInput(
        headers=headers_in(header),
        uri=uri,
        secret=os.environ.get("LIFECYCLE_SECRET", "").strip(),
        must_verify=secret_from_env,
    )
    found = source_named(_declared(sources), source)
    trial = try_out(source, found, file.read_bytes(), given, context_of(ctx).clock())
    (_write if json_ else _print)(trial, found.after)
    if trial.refused:
        raise CliError(f"Not accepted. {trial.refused}")


@app.command("play")
def play(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="a source in sources.toml, or a chat tool: slack, teams, google")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a sample, such as those in events/")],
    header: Header = None,
    wait: Wait = False,
    timeout: Timeout = 120,
    yes: Yes = False,
    sources: SourcesFile = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Send a sample to a stack as the source's system would: the same bytes, signed with the stack's secret."""
    from cli.services.config_files import source_named
    from cli.services.replay import chat_line, deliver
    from lifecycle.domain.chat_tools import CHAT_TOOLS

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    api = context.api(target, api_url)
    after = None
    if source in CHAT_TOOLS:
        played = chat_line(target, api, source, file, context.clock())
    else:
        found = source_named(_declared(sources), source)
        if found.irreversible and not yes:
            raise CliError(
                f"Source '{source}' may request irreversible actions. Add --yes to send the sample.", Exit.USAGE
            )
        headers = headers_in(header)
        played = deliver(target, api, source, found, file, headers, context.clock())
        after = found.after
    out = console()
    out.print(YES, plain(played.line), soft_wrap=True)
    if after and played.intent_ids:
        out.print(f"  will be carried out {_span(after)} later", soft_wrap=True)
    if not wait or after:
        for intent_id in played.intent_ids:
            out.print(f"  intent  {intent_id}", soft_wrap=True)
        return
    follow_commands(api, [CommandDetails(context, target, one) for one in played.intent_ids], seconds=timeout)


def _write(trial: "Trial", after: timedelta | None) -> None:
    commands = [
        {**command.model_dump(mode="json", exclude_none=True), "delivery": name} for command, name in trial.commands
    ]
    as_json(
        {
            "steps": [asdict(step) for step in trial.steps],
            "refused": trial.refused or None,
            "handshake": trial.handshake or None,
            "after_seconds": int(after.total_seconds()) if after else 0,
            "commands": commands,
        }
    )


def _print(trial: "Trial", after: timedelta | None) -> None:
    out = console()
    marks = {True: YES, False: NO if trial.refused else NOTE, None: Text()}
    steps = table("", "step", "found")
    for step in trial.steps:
        steps.add_row(marks[step.held], plain(step.what), plain(step.found))
    out.print(steps, soft_wrap=True)
    if trial.refused:
        return
    if trial.handshake:
        out.print(YES, plain(f"Handshake: {trial.handshake}"), soft_wrap=True)
        return
    if not trial.commands:
        out.print(YES, "Ignored: the source's filter excludes this payload.")
        return
    for command, name in trial.commands:
        when = f", {_span(after)} later" if after else ""
        out.print(YES, plain(f"{command.capability.name}{when}: {_target(command)}"), soft_wrap=True)
        expected = command.expect.model_dump(mode="json") if command.expect else None
        for what, text in (
            ("reason", command.reason),
            ("asked by", command.requested_by),
            ("delivery", name),
            ("expects", ", ".join(f"{key} {value}" for key, value in (expected or {}).items())),
        ):
            if text:
                out.print(f"  {what:<9}", plain(text), soft_wrap=True)
    named = sorted({command.org_id for command, _ in trial.commands})
    out.print(f"Accepted by a stack whose OrganizationIds hold {' and '.join(named)}.", soft_wrap=True)


def _target(command: "Command") -> str:
    label = command.resource.label
    match command.find:
        case None:
            return f"{label} {command.id}"
        case find if find.tag is not None:
            return f"the {label} with the tag '{find.tag}'"
        case find:
            return f"the {label} named '{find.name}' of template {find.template}"


def _declared(path: Path | None) -> "Sources":
    from cli.services.config_files import SOURCES_FILE, declared_sources

    return declared_sources(path or SOURCES_FILE)


def _toml_lines(settings: "Mapping[str, object]", before: str = "") -> "Iterator[str]":
    """Yield the settings as lines of TOML, with nested tables as dotted keys."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, f"{before}{key}.")
        else:
            yield f"{before}{key} = {json.dumps(value, ensure_ascii=False)}"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds // 60}m"
