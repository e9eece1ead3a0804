"""`lifecycle export`: save everything that Tallyfy shows of a thing in a folder, as evidence that can be verified."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, override

import typer
from typer.core import TyperGroup

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, byte_size, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.ids import id_in, kind_in
from cli.ui.options import Region, StackName, Yes, reason_in
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from rich.console import Console

    from lifecycle.deletion.manifest import Manifest

_SECONDS = 30.0
_MOST_REASON = 500


class _MakeByDefault(TyperGroup):
    """`lifecycle export <id>` is short for `lifecycle export make <id>`."""

    @override
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_MakeByDefault,
    no_args_is_help=True,
    help="Export what Tallyfy shows of a thing, and verify exports. `export ID` is short for `export make ID`. "
    "An export is evidence, not an undo: nothing can be imported back into Tallyfy.",
)

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="a folder with a manifest.json")
]


@app.command()
def make(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="its id, or a link to it copied from the browser")],
    kind: Annotated[
        str, typer.Option("--kind", help="process (run), task (one-off), template (checklist, blueprint) or tag")
    ] = "process",
    out: Annotated[
        Path,
        typer.Option(
            "--out", file_okay=False, help="The folder in which exports/… is created. (default: the current one)"
        ),
    ] = Path(),
    org: Annotated[
        str | None,
        typer.Option("--org", envvar="LIFECYCLE_ORG", help="The organization's id. (default: the stack's only one)"),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            exists=True,
            dir_okay=False,
            help="A file with a Tallyfy token. (default: LIFECYCLE_TALLYFY_TOKEN, else the stack's secret)",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", help="Tallyfy's API. (default: the stack's, else https://go.tallyfy.com/api)"),
    ] = None,
    rate: Annotated[int, typer.Option("--rate", min=1, max=6000, help="The most calls to Tallyfy a minute.")] = 100,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Save everything about one thing in a folder. Only reads, and changes nothing in Tallyfy.

    The folder is as confidential as the thing. An export is evidence, not an undo: nothing can be imported back into
    Tallyfy. Exit code 1 if anything could not be read.
    """
    from cli.clients.tallyfy_reader import TallyfyReader, access, read_only
    from lifecycle.aws.s3 import FolderObjects
    from lifecycle.deletion.exporter import Export, folder_of
    from lifecycle.tallyfy.export_reader import HttpRecords

    context, err = context_of(ctx), console(errors=True)
    resource = kind_in(kind)
    what = access(ctx, org, token_file, base_url, stack, region)
    name, session = id_in(id, org_id=what.org_id), read_only(context.session())
    reader = TallyfyReader(
        session,
        what,
        per_minute=rate,
        clock=context.clock,
        sleep=context.sleep,
        tell=lambda line: err.print(NOTE, plain(line), soft_wrap=True),
    )
    thing = reader.patiently(lambda: reader.tallyfy.look(what.org_id, resource, name))
    if thing is None:
        raise CliError(f"Tallyfy shows no {resource.label} {name} to this token.")
    out.mkdir(parents=True, exist_ok=True)
    export = Export(
        records=HttpRecords(reader.tallyfy, session, time_left=lambda: _SECONDS, through=reader.patiently),
        objects=FolderObjects(out),
        clock=context.clock,
        told=lambda part: err.print("  kept", part.name, byte_size(part.size), style="dim", soft_wrap=True),
    )
    folder = folder_of(what.org_id, resource, name, f"{context.clock():%Y%m%dT%H%M%SZ}")
    manifest = export.make(what.org_id, thing, folder)
    stdout = console()
    stdout.print(NO if manifest.missing else YES, "exported:", plain(str(out / folder), most=4096), soft_wrap=True)
    _tell(stdout, manifest)
    stdout.print("  lifecycle export verify", plain(str(out / folder), most=4096), soft_wrap=True)
    if manifest.missing:
        raise typer.Exit(Exit.NOT_DONE)


@app.command()
def verify(folder: Folder) -> None:
    """Read every part in a folder, and compare it with the manifest. This needs no network and no stack.

    Exit code 0 only if all parts match the manifest and nothing was missing from the export.
    """
    from lifecycle.aws.s3 import FolderObjects
    from lifecycle.deletion import export_readback

    with spinner("reading the parts"):
        manifest, wrong = export_readback.verify(FolderObjects(folder), "")
    stdout = console()
    if manifest is not None and not wrong:
        stdout.print(YES, f"all {len(manifest.parts)} parts match the manifest")
    for sentence in wrong:
        stdout.print(NO, plain(sentence), soft_wrap=True)
    if manifest is not None:
        _tell(stdout, manifest)
    if manifest is None or wrong or not manifest.complete:
        raise typer.Exit(Exit.NOT_DONE)


@app.command()
def erase(
    ctx: typer.Context,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="the export in the stack's bucket, such as exports/<org>/run/<id>/<name>"
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", help="The reason. It is kept in the tombstone.")],
    yes: Yes = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Permanently erase the contents of an export of the stack, for example when a person requests it for their data.

    All versions of every part are deleted. A tombstone remains: who, when, why, and the hashes of the parts.
    """
    from lifecycle.audit.chain import Record, What
    from lifecycle.audit.store import AuditStore
    from lifecycle.deletion import erasure
    from lifecycle.domain.clock import millis

    why = reason_in(reason, most=_MOST_REASON)
    context, target = context_of(ctx), stack_of(ctx, stack, region)
    name = re.sub(r"^s3://[^/]+/", "", folder.strip()).rstrip("/")
    objects = target.exports()
    if not yes:
        question = f"The contents of {name} will be permanently erased. Erase them?"
        if not sys.stdin.isatty():
            raise CliError(f"{question} There is no terminal to ask for confirmation: add --yes.", Exit.USAGE)
        typer.confirm(question, abort=True)
    by, at = target.caller(), context.clock()
    stone = erasure.erase(objects, name, by=by, at=at, reason=why)
    record = Record(
        at=millis(at),
        what=What.EXPORT_ERASED,
        org_id=stone.org_id,
        resource=stone.resource,
        id=stone.id,
        by=by,
        reason=why,
        evidence=stone.digest,
    )
    AuditStore(target.rows()).record(record)
    stdout = console()
    stdout.print(YES, "erased:", plain(name, most=1024), soft_wrap=True)
    stdout.print(f"  {len(stone.parts)} parts in all versions. Their hashes remain in manifest.json")


def _tell(stdout: "Console", manifest: "Manifest") -> None:
    from lifecycle.deletion.manifest import NOT_AN_UNDO

    stdout.print(
        f"  {manifest.resource.label} {manifest.id}, read {manifest.made_at:%Y-%m-%d %H:%M} UTC", soft_wrap=True
    )
    rows = table("what", "number")
    for what, number in manifest.counts.items():
        rows.add_row(plain(what), byte_size(number) if what == "bytes" else str(number))
    stdout.print(rows, soft_wrap=True)
    for sentence in manifest.missing:
        stdout.print(NO, "missing:", plain(sentence), soft_wrap=True)
    stdout.print(f"  {NOT_AN_UNDO}", soft_wrap=True)
