"""`lifecycle status`: the status of a command."""

from typing import Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.follow import CommandDetails, follow_command
from cli.ui.options import ApiUrl, Json, Region, StackName, Timeout, Wait


def status(
    ctx: typer.Context,
    intent_id: Annotated[
        str,
        typer.Argument(
            help="the intent id that `send` or the webhook returned; for a dead letter its beginning is enough"
        ),
    ],
    wait: Wait = False,
    timeout: Timeout = 120,
    json_: Json = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show the status of a command. The exit code reports it too."""
    from cli.services.dead_letter_queue import whole_intent

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    details = CommandDetails(context, target, whole_intent(target, intent_id, context.clock))
    follow_command(context.api(target, api_url), details, seconds=timeout if wait else None, json_=json_)
