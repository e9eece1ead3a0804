"""`lifecycle tallyfy`: let a whole organization of Tallyfy tell the stack what happens in it."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, utc
from cli.ui.options import ApiUrl, Json, Org, Region, StackName, TokenFile, Yes

if TYPE_CHECKING:
    from datetime import datetime

    from cli.services.tallyfy_webhook import OrganizationWebhook, Registrations
    from lifecycle.intake.sources import Source

app = typer.Typer(
    no_args_is_help=True,
    help="Tallyfy's webhook of an organization: it tells the stack of each process that is completed.",
)

SourceName = Annotated[str, typer.Option("--source", help="The source of sources.toml that takes the deliveries.")]
SourcesFile = Annotated[
    Path | None,
    typer.Option("--sources", exists=True, dir_okay=False, help="(default: layers/config/sources.toml)"),
]


@app.command()
def connect(
    ctx: typer.Context,
    org: Org = None,
    source: SourceName = "tallyfy",
    beside: Annotated[
        bool,
        typer.Option("--beside", help="Register although another system has a webhook there. Tallyfy may replace it."),
    ] = False,
    token_file: TokenFile = None,
    sources: SourcesFile = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Let Tallyfy call this stack whenever a process of the organization is completed.

    The URL ends with a key, which is stored as the secret of the source. The token must be an admin's. Run it again at
    any time: what is connected is left alone, and what was cut off is finished.
    """
    webhook, found = _webhook(ctx, _Where(org, source, token_file, sources, api_url, stack, region))
    done = webhook.connect(lambda: found.scheme.new_secret(secrets.token_bytes(32)), beside=beside)
    out = console()
    state = "is connected already, nothing was registered" if done.already else "is connected"
    out.print(YES, plain(f"Organization {webhook.org_id} {state}."), soft_wrap=True)
    out.print("  URL    ", plain(webhook.masked(done.registration)), soft_wrap=True)
    if not done.already:
        kept = "was stored before and is used" if done.finished else "is new and stored"
        out.print("  key    ", plain(f"{kept}: {webhook.stored_as}"), soft_wrap=True)
    if found.after:
        days = found.after.total_seconds() / 86_400
        out.print("  after  ", f"each command is carried out {days:g} days after its event", soft_wrap=True)
    if done.removed:
        removed = f"{done.removed} removed: registered with a key that the stack does not accept"
        out.print(NOTE, removed, soft_wrap=True)
    for one in done.replaced:
        lost = f"Tallyfy does not list the webhook of {one.host} any more. Register it again there."
        out.print(NO, plain(lost), soft_wrap=True)


@app.command()
def show(
    ctx: typer.Context,
    org: Org = None,
    source: SourceName = "tallyfy",
    token_file: TokenFile = None,
    sources: SourcesFile = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
    json_: Json = False,
) -> None:
    """Show whether Tallyfy calls this stack, since when, and when it last did. The key is not shown."""
    from cli.services.recent import last_of_source

    webhook, found = _webhook(ctx, _Where(org, source, token_file, sources, api_url, stack, region))
    listed, key_is_stored = webhook.registrations(), bool(webhook.keys())
    rows, now = stack_of(ctx, stack, region).rows(), context_of(ctx).clock()
    last = last_of_source(rows, webhook.org_id, source, now, waits=found.after is not None)
    if json_:
        as_json(
            {
                "org_id": webhook.org_id,
                "connected": [
                    {"url": webhook.masked(one), "since": one.since.isoformat() if one.since else None}
                    for one in listed.connected
                ],
                "refused": len(listed.refused),
                "others": [one.host for one in listed.others],
                "key_is_stored": key_is_stored,
                "last_command": last.isoformat() if last else None,
            }
        )
        return
    _print_state(webhook, listed, last, key_is_stored=key_is_stored)


@app.command()
def disconnect(
    ctx: typer.Context,
    org: Org = None,
    source: SourceName = "tallyfy",
    keep_secret: Annotated[
        bool, typer.Option("--keep-secret", help="Keep the key: webhooks that were set in templates use it, too.")
    ] = False,
    yes: Yes = False,
    token_file: TokenFile = None,
    sources: SourcesFile = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """End it: remove the registration in Tallyfy, then the key. Webhooks of other systems stay."""
    webhook, found = _webhook(ctx, _Where(org, source, token_file, sources, api_url, stack, region))
    others = sorted({rule.org_id for rule in found.commands} - {webhook.org_id})
    keep_secret = keep_secret or bool(others)
    if not keep_secret and not yes:
        typer.confirm(
            f"The key in {webhook.stored_as} is deleted for good, and a webhook of a template that uses it is refused. "
            "Go on?",
            abort=True,
        )
    done = webhook.disconnect(keep_secret=keep_secret)
    out = console()
    if not done.registrations and not done.secret:
        out.print(NOTE, plain(f"Organization {webhook.org_id} was not connected. Nothing was removed."), soft_wrap=True)
        return
    removed = "the registration" if done.registrations else "nothing, because nothing was registered"
    out.print(YES, plain(f"Disconnected organization {webhook.org_id}. Removed in Tallyfy: {removed}."), soft_wrap=True)
    if others:
        out.print("  The key was kept: the source takes it from", plain(", ".join(others)), "as well.", soft_wrap=True)
    elif keep_secret:
        out.print("  The key was kept:", plain(webhook.stored_as), soft_wrap=True)
    if done.secret:
        out.print("  The key was removed:", plain(webhook.stored_as), soft_wrap=True)
        out.print(
            "  Wait five minutes before you connect again: functions remember a key for that long.", soft_wrap=True
        )
    out.print("  Commands of earlier events go on. `lifecycle undo` and `lifecycle hold` stop them.", soft_wrap=True)


def _print_state(
    webhook: "OrganizationWebhook", listed: "Registrations", last: "datetime | None", *, key_is_stored: bool
) -> None:
    out = console()
    for one in listed.connected:
        since = f"since {utc(one.since)}" if one.since else "Tallyfy does not say since when"
        out.print(YES, plain(f"connected: {webhook.masked(one)}, {since}"), soft_wrap=True)
    if not listed.connected:
        kept = " A key is stored." if key_is_stored else ""
        out.print(NO, plain(f"not connected.{kept} To connect: lifecycle tallyfy connect"), soft_wrap=True)
    for one in listed.refused:
        told = f"{webhook.masked(one)} is registered with a key that the stack does not accept (401)."
        out.print(NO, plain(f"{told} `lifecycle tallyfy connect` removes it."), soft_wrap=True)
    for one in listed.others:
        out.print(NOTE, plain(f"webhook of another system: {one.host} (number {one.id})"), soft_wrap=True)
    when = utc(last) if last else "none is known"
    out.print("  last event that became a command:", when, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Where:
    """The options that all of these commands take."""

    org: str | None
    source: str
    token_file: Path | None
    sources: Path | None
    api_url: str | None
    stack: str | None
    region: str | None


def _webhook(ctx: typer.Context, where: _Where) -> "tuple[OrganizationWebhook, Source]":
    from cli.clients.stack import one_organization, output_of
    from cli.clients.tallyfy_reader import access, calls_of
    from cli.services.config_files import SOURCES_FILE, declared_sources, source_named
    from cli.services.tallyfy_webhook import OrganizationWebhook, check_source

    context, target = context_of(ctx), stack_of(ctx, where.stack, where.region)
    org_id, base_url = one_organization(target, where.org), output_of(target, "TallyfyBaseUrl")
    found = source_named(declared_sources(where.sources or SOURCES_FILE), where.source)
    url = context.api(target, where.api_url).url
    check_source(where.source, found, org_id, tallyfy_url=base_url, api_url=url)
    what = access(ctx, org_id, where.token_file, base_url, where.stack, where.region)
    webhook = OrganizationWebhook(
        calls=calls_of(context, what),
        org_id=org_id,
        source=where.source,
        api_url=url,
        store=target.secrets(),
        prefix=output_of(target, "SecretPrefix"),
    )
    return webhook, found
