"""`lifecycle plan`: show what a policy would do. `lifecycle report`: fetch the report of a stack's plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NOTE, YES, as_json, console, plain
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.tallyfy_reader import Access, TallyfyReader
    from lifecycle.aws.s3 import Objects
    from lifecycle.plans.builder import PlanTerms
    from lifecycle.plans.inventory import Inventory
    from lifecycle.plans.pagination_check import ListingQuery, PaginationCheck
    from lifecycle.plans.plan_file import Names, Plan
    from lifecycle.policy.policy import Policy

Org = Annotated[
    str | None,
    typer.Option("--org", envvar="LIFECYCLE_ORG", help="The organization's id. (default: the stack's only one)"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", exists=True, dir_okay=False, help="(default: layers/config/policy.toml)"),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        exists=True,
        dir_okay=False,
        help="A file with a Tallyfy token. (default: LIFECYCLE_TALLYFY_TOKEN, else the stack's secret)",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", help="Tallyfy's API. (default: the stack's, else https://go.tallyfy.com/api)"),
]
PerMinute = Annotated[int, typer.Option("--rate", min=1, max=6000, help="The most calls to Tallyfy a minute.")]
Open = Annotated[bool, typer.Option("--open", help="Open the report in the browser.")]


_REPORTS = Path("plans")
"""The default folder for plans and reports."""
_FROM_HERE = "The stack did not make this plan, so it cannot be applied. `lifecycle sweep start` makes one that can be."


def plan(
    ctx: typer.Context,
    org: Org = None,
    policy: PolicyFile = None,
    token_file: TokenFile = None,
    base_url: BaseUrl = None,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="The folder for the plan.")] = Path("plans"),
    rate: PerMinute = 100,
    open_: Open = False,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show what a policy would do, for any organization. Only reads, changes nothing, and needs no stack.

    This plan cannot be applied. `lifecycle sweep start` makes one that can be. Exit code 1 if the stack would not apply
    such a plan either, because it is over a cap or incomplete.

    The token comes from LIFECYCLE_TALLYFY_TOKEN or a file. It is never an argument, because other users of a machine
    can see arguments. Without a token, or with --stack, the command reads the stack's token, holds and last policy.
    """
    from cli.clients.tallyfy_reader import TallyfyReader, access
    from cli.services.config_files import POLICY_FILE, declared_policy
    from cli.services.plans import show

    context, err = context_of(ctx), console(errors=True, progress=not json_)
    judged = declared_policy(policy or POLICY_FILE)
    what = access(ctx, org, token_file, base_url, stack, region)
    reader = TallyfyReader(
        context.session(),
        what,
        per_minute=rate,
        clock=context.clock,
        sleep=context.sleep,
        tell=lambda line: err.print(NOTE, plain(line), soft_wrap=True),
    )
    try:
        made, folder = _make(context, what, reader, judged, out, rate, err)
    except KeyboardInterrupt:
        err.print(NOTE, "Interrupted. No plan was made.")
        raise
    # The plan's origin is not an obstacle here, and is printed last.
    stops = tuple(why for why in made.stops if why != _FROM_HERE)
    if json_:
        as_json({**made.model_dump(mode="json"), "stops": stops, "folder": str(folder)})
    else:
        stdout = console()
        show(stdout, made.model_copy(update={"stops": stops}))
        stdout.print(YES, "report:", plain(str(folder / "report.html"), most=4096), soft_wrap=True)
        stdout.print("  Nothing was changed in Tallyfy.")
        stdout.print(f"  {_FROM_HERE}", soft_wrap=True)
    if open_:
        _open(folder / "report.html")
    if stops or made.unseen:
        raise typer.Exit(Exit.NOT_DONE)


def report(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="HASH", help="the hash of the plan, or at least its first 8 characters (default: the newest plan)"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, help="The file. (default: plans/lifecycle-report-<hash>.html, or .csv)"),
    ] = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Write everything that the plan has seen as CSV, in place of the report.")
    ] = False,
    open_: Open = False,
    json_: Json = False,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Fetch the report of a plan that the stack made."""
    from cli.services import plans

    target = stack_of(ctx, stack, region)
    found = plans.find(target, name, org) if name else plans.newest(target, org)
    if out is None:
        _prepared(_REPORTS)
    file = out or _REPORTS / f"lifecycle-report-{plans.short(found)}.{'csv' if csv else 'html'}"
    if not file.parent.is_dir():
        raise CliError(f"There is no folder {file.parent}.", Exit.USAGE)
    if csv:
        plans.write_csv(target, found, file)
    else:
        plans.fetch_report(target, found, file)
    if json_:
        as_json({**found.model_dump(mode="json"), "file": str(file)})
    else:
        stdout = console()
        stdout.print(YES, "report:", plain(str(file), most=4096), soft_wrap=True)
        stdout.print(f"  plan {found.hash}", soft_wrap=True)
        stdout.print(f"  {plans.totals_of(found)}", soft_wrap=True)
    if open_:
        _open(file)


def _open(file: Path) -> None:
    import webbrowser

    if not webbrowser.open(file.resolve().as_uri()):
        console(errors=True).print(NOTE, "No browser could be opened.")


def _make(
    context: "CliContext",
    what: "Access",
    reader: "TallyfyReader",
    policy: "Policy",
    out: Path,
    rate: int,
    err: "Console",
) -> "tuple[Plan, Path]":
    """Read everything, then write the plan, either completely or not at all."""
    import secrets
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from lifecycle.aws.s3 import FolderObjects
    from lifecycle.plans.builder import seal, unseen
    from lifecycle.plans.inventory import Inventory
    from lifecycle.plans.pagination_check import lists_of
    from lifecycle.plans.plan_file import PlanHeader
    from lifecycle.plans.plan_store import key_of

    wanted = lists_of(policy)
    if not wanted:
        raise CliError("No rule of this policy archives or deletes anything, so there is nothing to plan.")
    made_at = context.clock()
    sweep_id = f"{made_at:%Y-%m-%dT%H:%M:%SZ}-from-here-{secrets.token_hex(3)}"
    terms = _terms(context, what, reader, policy, rate)
    _prepared(out)
    # Inside `out`, so that the finished plan only has to be renamed.
    with TemporaryDirectory(dir=out, prefix=".unfinished-") as scratch:
        objects = FolderObjects(Path(scratch))
        inventory = Inventory(
            tallyfy=reader.tallyfy,
            objects=objects,
            org_id=what.org_id,
            folder="lists",
            take_turn=lambda: None,  # The reader itself waits before each call.
            clock=context.clock,
        )
        lists = _read(inventory, reader, wanted, err)
        heading = PlanHeader(
            org_id=what.org_id,
            sweep_id=sweep_id,
            made_at=made_at,
            policy=policy.digest,
            zone=policy.zone.key,
            unseen=unseen(lists),
        )
        terms = replace(terms, names=_names(what.org_id, reader, wanted, objects))
        made = seal(inventory, lists, heading, terms, objects)
        folder = out / what.org_id / made.hash
        folder.parent.mkdir(exist_ok=True)
        Path(scratch, key_of(what.org_id, made.hash, "plan.json")).parent.rename(folder)
    return made, folder


def _names(org_id: str, reader: "TallyfyReader", wanted: "tuple[ListingQuery, ...]", objects: "Objects") -> "Names":
    """Read the names of owners and templates, or as many of them as Tallyfy shows."""
    from lifecycle.domain.errors import LifecycleError
    from lifecycle.plans.names import NameReader
    from lifecycle.plans.plan_file import Names
    from lifecycle.tallyfy.directory import TallyfyDirectory

    names = NameReader(
        directory=TallyfyDirectory(reader.tallyfy),
        objects=objects,
        org_id=org_id,
        folder="lists",
        take_turn=lambda: None,  # The reader itself waits before each call.
        through=lambda _, call: reader.patiently(call),
    )
    try:
        return names.read({query.resource for query in wanted})
    except LifecycleError:
        return Names()


def _prepared(out: Path) -> None:
    """Create the folder for plans. They hold customers' data, so git ignores a new folder."""
    if not out.exists():
        out.mkdir(parents=True)
        (out / ".gitignore").write_text("*\n", encoding="utf-8")


def _read(
    inventory: "Inventory", reader: "TallyfyReader", wanted: "tuple[ListingQuery, ...]", err: "Console"
) -> "list[tuple[ListingQuery, PaginationCheck]]":
    from functools import partial

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lifecycle.plans.pagination_check import PaginationCheck

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    read = []
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        for asked in wanted:
            check, bar = PaginationCheck(), bars.add_task(asked.name, total=None)
            while not check.done:
                check = reader.patiently(partial(inventory.read_page, asked, check))
                again = f" (reading {check.reading}: {check.trouble})" if check.reading > 1 else ""
                bars.update(bar, description=asked.name + again, completed=check.rows, total=check.last_total)
            read.append((asked, check))
    return read


def _terms(context: "CliContext", what: "Access", reader: "TallyfyReader", policy: "Policy", rate: int) -> "PlanTerms":
    """Read the other inputs of a plan: holds, restores, the policy applied last, and the account checks."""
    from functools import partial

    from cli.services.plans import warn_first
    from lifecycle.holds.rules import Holds
    from lifecycle.intake.sources import Sources
    from lifecycle.plans.builder import PlanTerms
    from lifecycle.policy.evaluate import Mode
    from lifecycle.sweep.preflight import notes, reasons
    from lifecycle.sweep.preflight_rules import Account, Mark, of_account

    member, organization = reader.patiently(lambda: reader.tallyfy.account(what.org_id))
    account = Account(org_id=what.org_id, member=member, organization=organization, token_stored_at=what.stored_at())
    opened, *others = of_account(account, policy, Sources(sources={}), context.clock())
    if opened.mark is Mark.NO:
        raise CliError(f"{opened.found}. {opened.todo}")
    # An operator's own token says nothing about the rights of the stack's token.
    found = () if what.own_token else others
    held, missing = _holds(what)
    ledger = what.stack.ledger() if what.stack is not None else None
    before, person = _applied_last(what, policy)
    name = organization.get("name")
    return PlanTerms(
        mode=Mode.REPORT,
        policy=policy,
        holds=Holds(held, policy.hold_tags or frozenset()),
        warn_first=warn_first(what.stack, what.org_id, policy, context.clock()),
        newest_on=partial(ledger.newest_on, what.org_id) if ledger is not None else None,
        before=before,
        org_name=name if isinstance(name, str) and name else None,
        stops=(_FROM_HERE, *reasons(found)),
        person=person,
        notes=(*missing, *notes(found)),
        per_minute=rate,
    )


def _holds(what: "Access") -> tuple[dict[str, str], tuple[str, ...]]:
    if what.stack is None:
        return {}, (
            "Holds were not read, because no stack was named. The plan may show things on hold as due.",
            "Restores were not read, because no stack was named. The plan may show restored things as due.",
        )
    return what.stack.holds().reasons(what.org_id), ()


def _applied_last(what: "Access", policy: "Policy") -> "tuple[Policy | None, tuple[str, ...]]":
    """Return the policy that the stack applied last if it differs, or why it is not known."""
    from lifecycle.aws import table_keys
    from lifecycle.policy.policy import Policy

    [row] = what.stack.rows().read(table_keys.sweeps(what.org_id, "applied")) if what.stack else [None]
    if row is None:
        return None, ()
    try:
        before = Policy.from_json(str(row.values.get("policy")))
    except ValueError:
        return None, ("This release cannot read the policy that was applied last.",)
    return (None if before.digest == policy.digest else before), ()
