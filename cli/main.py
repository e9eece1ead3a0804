"""`lifecycle`: what an operator types. Commands import what is heavy when they run, so that --help is quick."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import CliContext
from cli.commands import pause
from cli.commands.apply import apply
from cli.commands.approve import approvals, approve, reject, withdraw
from cli.commands.audit import app as audit
from cli.commands.dead_letters import app as dead_letters
from cli.commands.explain import explain
from cli.commands.export import app as export
from cli.commands.hold import app as hold
from cli.commands.plan import plan, report
from cli.commands.policy import app as policy
from cli.commands.probe import probe
from cli.commands.source import app as source
from cli.commands.sweep import app as sweep
from cli.commands.undo import undo
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import EXIT_CODES, CliError, Exit
from cli.ui.options import (
    ApiUrl,
    Json,
    Region,
    RootStackName,
    StackName,
    Timeout,
    ToldGroup,
    Wait,
    Yes,
    stack_of,
    world_of,
)
from cli.ui.outcome import Beside, follow
from sandbox.commands import app as local

if TYPE_CHECKING:
    from cli.clients.api import ApiResponse
    from cli.clients.stack import Stack

_REQUESTER = 200
"""What a command can say of who asked for it."""

app = typer.Typer(
    cls=ToldGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Archive, restore and delete in Tallyfy through a deployed stack, and look after what could not be done.",
    epilog="AWS credentials, profile and endpoint come from the usual AWS_* variables. " + EXIT_CODES,
)
app.add_typer(audit, name="audit")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(export, name="export")
app.add_typer(hold, name="hold")
app.add_typer(policy, name="policy")
app.add_typer(source, name="source")
app.add_typer(sweep, name="sweep")
app.add_typer(local, name="local")
app.command()(plan)
app.command()(report)
app.command()(apply)
app.command()(approvals)
app.command()(approve)
app.command()(withdraw)
app.command()(reject)
app.command()(undo)
app.command()(explain)
app.command()(probe)
app.command()(pause.pause)
app.command()(pause.resume)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"lifecycle {version('tallyfy-lifecycle')}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    stack: RootStackName = None,
    region: Region = None,
    version: Annotated[  # noqa: ARG001 - its callback does all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """Options before a command count for it; the same options after it win."""
    world = ctx.obj if isinstance(ctx.obj, CliContext) else CliContext()
    world.stack_name = stack or world.stack_name
    world.region = region or world.region
    ctx.obj = world


@app.command()
def send(
    ctx: typer.Context,
    resource: Annotated[str, typer.Argument(help="process (run), task, template (checklist, blueprint) or tag")],
    action: Annotated[str, typer.Argument(help="archive, restore or delete")],
    id: Annotated[str, typer.Argument(metavar="ID", help="its id, or a link to it copied from the browser")],
    org: Annotated[str, typer.Option("--org", envvar="LIFECYCLE_ORG", help="The Tallyfy organization's id.")],
    source: Annotated[str, typer.Option("--source", help="Who asks, as in layers/config/sources.toml.")] = "operator",
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the ledger.")] = None,
    requested_by: Annotated[
        str | None, typer.Option("--requested-by", help="Who wants it; kept in the ledger.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="KEY=VALUE", help="Do it only if the thing looks so, e.g. status=complete."),
    ] = None,
    allow_in_use: Annotated[bool, typer.Option("--allow-in-use", help="Delete a tag although it is in use.")] = False,
    delivery_id: Annotated[
        str | None,
        typer.Option("--delivery-id", help="Names the delivery: the same one again is not done twice. (default: new)"),
    ] = None,
    not_after: Annotated[
        str | None, typer.Option("--not-after", metavar="TIME", help="Not later than this (ISO 8601 with a zone).")
    ] = None,
    secret_from_stack: Annotated[
        bool,
        typer.Option(
            "--secret-from-stack", help="Take the secret from Secrets Manager even if LIFECYCLE_SECRET is set."
        ),
    ] = False,
    wait: Wait = False,
    timeout: Timeout = 120,
    yes: Yes = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Sign a command and post it.

    The signing secret is LIFECYCLE_SECRET from the environment, else the one of the source in Secrets Manager
    (<stack>/sources/<source>). It is never an argument: arguments are seen by others.
    """
    from cli.clients import delivery as made
    from cli.ui.ids import id_in

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    declared = made.declared(made.declared_sources(), source)
    asked: dict[str, object] = {
        "action": action,
        "resource": resource,
        "org_id": org.strip(),
        "id": id_in(id, org_id=org.strip()),
        "reason": reason,
        "requested_by": requested_by,
        "not_after": not_after,
        "expect": made.expectations(expect or []),
        "allow_in_use": allow_in_use,
    }
    packet, doing = made.delivery(source, declared, asked, delivery_id or made.new_delivery_id())
    if doing.permanent and requested_by is None:
        # Nobody approves their own: the stack has to know whose it is.
        asked["requested_by"] = _known_as(target)
        packet, doing = made.delivery(source, declared, asked, packet.delivery_id)
    if doing.irreversible and not yes:
        _agreed(f"{doing.name} cannot be taken back. {doing.remark} Send it?")
    api = world.api(target, api_url)
    secret = _secret(target, source, secret_from_stack)
    answer = api.post(source, packet.body, packet.headers(secret, world.clock(), uri=api.signed_as(source)))
    _accepted(answer, packet.delivery_id)
    out = console()
    out.print(YES, f"accepted: {doing.name}")
    out.print(f"  intent    {answer.intent_id}", soft_wrap=True)
    out.print(f"  delivery  {packet.delivery_id}")
    if doing.permanent:
        out.print("  Nothing is deleted before somebody else has approved it: lifecycle approvals", soft_wrap=True)
    elif doing.undo is not None:
        out.print(f"  to undo   lifecycle undo {answer.intent_id}", soft_wrap=True)
    if wait:
        beside = Beside(world, target, answer.intent_id, org.strip(), restores=doing.action == "restore")
        follow(api, beside, seconds=timeout)


@app.command()
def status(
    ctx: typer.Context,
    intent_id: Annotated[
        str, typer.Argument(help="as `send` or the webhook gave it; of a dead letter, the beginning does")
    ],
    wait: Wait = False,
    timeout: Timeout = 120,
    json_: Json = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Say what became of a command. The exit code tells, too."""
    from cli.services.dead_letter_queue import whole_intent

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    beside = Beside(world, target, whole_intent(target, intent_id, world.clock))
    follow(world.api(target, api_url), beside, seconds=timeout if wait else None, json_=json_)


@app.command()
def check(
    ctx: typer.Context, json_: Json = False, api_url: ApiUrl = None, stack: StackName = None, region: Region = None
) -> None:
    """Check settings, secrets, tokens and roles; only reads, changes nothing."""
    from cli.clients.delivery import declared_people, declared_sources
    from cli.clients.tallyfy_reader import read_only
    from cli.commands import check
    from lifecycle.sweep.preflight_rules import Mark

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    marks = {Mark.YES: YES, Mark.NOTE: NOTE, Mark.NO: NO}
    shown = table("", "what", "found", "what to do")
    found = []
    for finding in check.check(
        target,
        declared_sources(),
        declared_people(),
        check.declared_policy(),
        lambda _: world.api(target, api_url),
        read_only(world.session()),
        clock=world.clock,
    ):
        found.append(finding)
        shown.add_row(marks[finding.mark], plain(finding.what), plain(finding.found), plain(finding.todo))
    if json_:
        as_json([{name: getattr(one, name) for name in ("mark", "what", "found", "todo")} for one in found])
    else:
        console().print(shown, soft_wrap=True)
    failed = sum(one.mark is Mark.NO for one in found)
    if failed:
        raise CliError(f"{failed} of these must be mended first.")


@app.command()
def simulator(
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = 0,
    seed: Annotated[
        Path | None, typer.Option("--seed", exists=True, dir_okay=False, help="What it holds at the start (JSON).")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option("--facts", exists=True, dir_okay=False, help="Answer as an organization did: a file of `probe`."),
    ] = None,
) -> None:
    """Serve a simulated Tallyfy on loopback until Ctrl-C."""
    from pydantic import ValidationError

    from sandbox.simulator import serve

    try:
        serve(port=port, seed_file=seed, facts_file=facts)
    except (ValidationError, ValueError) as error:
        raise CliError(f"A file for the simulator cannot be read: {error}", Exit.USAGE) from error
    except OSError as error:
        raise CliError(f"Port {port} cannot be used: {error.strerror or error}") from error


def _agreed(question: str) -> None:
    if not sys.stdin.isatty():
        raise CliError(f"{question} Nobody is there to ask: say --yes.", Exit.USAGE)
    typer.confirm(question, abort=True)


def _known_as(stack: "Stack") -> str | None:
    """Who types, as AWS knows them; `None` for whoever has no AWS credentials, only the secret of a source."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lifecycle.domain.commands import one_line

    try:
        return one_line(stack.caller(), most=_REQUESTER)
    except (BotoCoreError, ClientError):
        return None


def _secret(stack: "Stack", source: str, from_stack: bool) -> str:
    from cli.clients.delivery import stored_secret
    from cli.clients.stack import output_of
    from lifecycle.aws.secrets import signing_secrets

    given = signing_secrets(os.environ.get("LIFECYCLE_SECRET", ""))
    if given and not from_stack:
        return given[0].decode()
    return stored_secret(stack.secrets(), output_of(stack, "SecretPrefix"), source)


def _accepted(answer: "ApiResponse", delivery_id: str) -> None:
    if answer.accepted:
        return
    told = f"The stack answered {answer.status} {answer.code}: {answer.detail}".replace(" :", ":").strip()
    if answer.status >= 500:  # noqa: PLR2004 - HTTP's line between the sender's fault and the server's
        again = f"{told}\nTo try again without doing it twice: --delivery-id {delivery_id}"
        raise CliError(again, Exit.UNREACHABLE)
    raise CliError(told)


if __name__ == "__main__":
    app()
