"""`lifecycle send`: sign a command and post it to the stack."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.follow import CommandDetails, follow_command
from cli.ui.console import YES, console
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Region, StackName, Timeout, Wait, Yes, pairs_in

if TYPE_CHECKING:
    from cli.clients.api import DeliveryAnswer
    from cli.clients.stack import Stack

_MOST_REQUESTER = 200
"""The most characters of a command's ``requested_by``."""


def send(
    ctx: typer.Context,
    resource: Annotated[str, typer.Argument(help="process (run), task, template (checklist, blueprint) or tag")],
    action: Annotated[str, typer.Argument(help="archive, restore or delete")],
    id: Annotated[str, typer.Argument(metavar="ID", help="its id, or a link to it copied from the browser")],
    org: Annotated[str, typer.Option("--org", envvar="LIFECYCLE_ORG", help="The Tallyfy organization's id.")],
    source: Annotated[
        str, typer.Option("--source", help="The source that sends the command, as in layers/config/sources.toml.")
    ] = "operator",
    reason: Annotated[str | None, typer.Option("--reason", help="The reason, kept in the ledger.")] = None,
    requested_by: Annotated[
        str | None, typer.Option("--requested-by", help="The person who asks for it, kept in the ledger.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect", metavar="KEY=VALUE", help="Act only if the thing has this value, such as status=complete."
        ),
    ] = None,
    allow_in_use: Annotated[bool, typer.Option("--allow-in-use", help="Delete a tag even if it is in use.")] = False,
    delivery_id: Annotated[
        str | None,
        typer.Option(
            "--delivery-id", help="The id of the delivery. A repeated id has no second effect. (default: a new one)"
        ),
    ] = None,
    not_after: Annotated[
        str | None,
        typer.Option(
            "--not-after",
            metavar="TIME",
            help="The time after which the command is not carried out (ISO 8601 with a zone).",
        ),
    ] = None,
    secret_from_stack: Annotated[
        bool,
        typer.Option(
            "--secret-from-stack", help="Use the secret from Secrets Manager even if LIFECYCLE_SECRET is set."
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

    The signing secret is the environment variable LIFECYCLE_SECRET, or else the source's secret in Secrets Manager
    (<stack>/sources/<source>). It is never an argument, because other users of a machine can see arguments.
    """
    from cli.clients import delivery
    from cli.services.config_files import declared_sources, source_named
    from cli.ui.ids import id_in

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    declared = source_named(declared_sources(), source)
    fields: dict[str, object] = {
        "action": action,
        "resource": resource,
        "org_id": org.strip(),
        "id": id_in(id, org_id=org.strip()),
        "reason": reason,
        "requested_by": requested_by,
        "not_after": not_after,
        "expect": pairs_in(expect, "--expect", "status=complete") or None,
        "allow_in_use": allow_in_use,
    }
    packet, capability = delivery.delivery(source, declared, fields, delivery_id or delivery.new_delivery_id())
    if capability.permanent and requested_by is None:
        # Nobody may approve their own request, so the stack must know whose request it is.
        fields["requested_by"] = _caller(target)
        packet, capability = delivery.delivery(source, declared, fields, packet.delivery_id)
    if capability.irreversible and not yes:
        _confirm(f"{capability.name} cannot be undone. {capability.remark} Send it?")
    api = context.api(target, api_url)
    secret = _secret(target, source, secret_from_stack)
    answer = api.post(source, packet.body, packet.headers(secret, context.clock(), uri=api.signed_as(source)))
    _check_accepted(answer, packet.delivery_id)
    out = console()
    out.print(YES, f"accepted: {capability.name}")
    out.print(f"  intent    {answer.intent_id}", soft_wrap=True)
    out.print(f"  delivery  {packet.delivery_id}")
    if capability.permanent:
        out.print(
            "  Somebody else must approve the delete before it is carried out: lifecycle approvals", soft_wrap=True
        )
    elif capability.undo is not None:
        out.print(f"  to undo   lifecycle undo {answer.intent_id}", soft_wrap=True)
    if wait:
        restores = capability.action == "restore"
        details = CommandDetails(context, target, answer.intent_id, org.strip(), restores=restores)
        follow_command(api, details, seconds=timeout)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise CliError(f"{question} There is no terminal to ask for confirmation: add --yes.", Exit.USAGE)
    typer.confirm(question, abort=True)


def _caller(stack: "Stack") -> str | None:
    """Return the caller's AWS identity, or `None` for a caller who has only the secret of a source."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lifecycle.domain.commands import one_line

    try:
        return one_line(stack.caller(), most=_MOST_REQUESTER)
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


def _check_accepted(answer: "DeliveryAnswer", delivery_id: str) -> None:
    if answer.accepted:
        return
    message = f"The stack answered {answer.status} {answer.code}: {answer.detail}".replace(" :", ":").strip()
    if answer.status >= 500:  # noqa: PLR2004 - HTTP's server errors
        again = f"{message}\nTo try again without a second effect, add --delivery-id {delivery_id}"
        raise CliError(again, Exit.UNREACHABLE)
    raise CliError(message)
