"""`lifecycle smoke`: prove after a deployment that the real stack works."""

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Json, Org, Region, StackName, TokenFile


def smoke(
    ctx: typer.Context,
    org: Org = None,
    source: Annotated[
        str, typer.Option("--source", help="The source that asks, as in layers/config/sources.toml.")
    ] = "operator",
    journal: Annotated[
        Path,
        typer.Option("--journal", dir_okay=False, help="The file that lists what was created and not removed yet."),
    ] = Path("smoke-journal.json"),
    token_file: TokenFile = None,
    json_: Json = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Prove that the deployed stack works: a signed delivery, its outcome, an undo, an event, a dead letter, a notice.

    The command creates a one-off task in Tallyfy, a queue, a rule and a subscription, and removes them. The stack's
    token must be an admin's, because the task is deleted at the end. The caller needs the rights of a deployer.
    """
    from cli.clients.delivery import stored_secret
    from cli.clients.stack import output_of
    from cli.clients.tallyfy_calls import GAP
    from cli.clients.tallyfy_reader import access, calls_of
    from cli.services.deployed_stack import DeployedStack
    from cli.services.probe import Journal, ProbeClient, Workshop
    from cli.services.smoke import Smoke

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    what = access(ctx, org, token_file, None, stack, region)
    written = Journal(journal)
    if written.left:
        raise CliError(
            f"{journal} lists what an earlier smoke test left. Remove it: "
            f"lifecycle probe --clean --org {what.org_id} --again {what.org_id} --journal {journal}",
            Exit.USAGE,
        )
    client = ProbeClient(calls_of(context, what, gap=GAP), what.org_id)
    tap = target.tap(f"lifecycle-smoke-{secrets.token_hex(6)}")
    deployed = DeployedStack(
        stack=target,
        api=context.api(target, api_url),
        signed=context.signed_api(target, api_url),
        tap=tap,
        shop=Workshop(client, written, context.clock),
        source=source,
        secret=stored_secret(target.secrets(), output_of(target, "SecretPrefix"), source),
        clock=context.clock,
    )
    out, steps = console(), []
    shown = table("", "path", "seconds", "seen")
    failed: CliError | None = None
    try:
        tap.open()
        for step in Smoke(deployed, f"msg_{secrets.token_hex(12)}", time.monotonic, context.sleep).run():
            steps.append(step)
            shown.add_row(YES, plain(step.name), f"{step.seconds:.1f}", plain(step.seen))
    except CliError as error:
        failed = error
        shown.add_row(NO, plain(str(error), most=400), "", "")
    finally:
        tap.close()
    if json_:
        as_json([{"path": step.name, "seconds": round(step.seconds, 2), "seen": step.seen} for step in steps])
    else:
        out.print(shown, soft_wrap=True)
    if failed is not None:
        raise failed
