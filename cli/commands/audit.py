"""`lifecycle audit`: who did what, why and with which outcome, and proof that the record was not changed."""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.ids import id_in
from cli.ui.options import Json, Region, StackName
from cli.ui.progress import spinner, tracked

if TYPE_CHECKING:
    from rich.text import Text

    from cli.clients.stack import Stack
    from lifecycle.audit.chain import Head, Record
    from lifecycle.audit.store import AuditStore
    from lifecycle.aws.s3 import Objects

app = typer.Typer(
    no_args_is_help=True,
    help="Show who did what, why and with which outcome, and prove that the record was not changed.",
)

_MOST = 1000
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_TRIES = 5
_LEAST_BEGINNING = 12
_OPEN = "not yet"


@app.command()
def show(
    ctx: typer.Context,
    thing: Annotated[
        str | None,
        typer.Option("--thing", metavar="ID", help="Only records about this thing, intent or plan: its id, or a link."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHO", help="Only records of people whose name contains this text.")
    ] = None,
    day: Annotated[
        str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Only records of this day, in UTC.")
    ] = None,
    org: Annotated[
        str | None,
        typer.Option(
            "--org", envvar="LIFECYCLE_ORG", help="One organization. (default: all organizations of the stack)"
        ),
    ] = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show the records, the newest last. Without --day the command reads the whole trail."""
    from cli.clients.stack import organizations_of
    from lifecycle.audit.store import AuditStore

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    meant = _day(day)
    org_ids = organizations_of(target, org)
    fits = _filter(_name(thing, org_ids), by, meant, org_ids[0] if org else "")
    trail, objects = AuditStore(target.rows()), target.audit()
    head = trail.head()[0]
    found: deque[tuple[Record, str]] = deque(maxlen=_MOST + 1)
    with spinner("reading the trail", json_=json_):
        found.extend(
            (record, segment)
            for segment, line in chain(_sealed(objects, meant), _waiting(trail, objects, head, meant, context.clock()))
            if (record := fits(line)) is not None
        )
    if len(found) > _MOST:
        found.popleft()
        console(errors=True).print(
            NOTE, f"Only the newest {_MOST} records records are shown. Use --day, --thing or --by to see others."
        )
    ordered = sorted(found, key=lambda pair: pair[0].at)
    if json_:
        as_json(
            [
                {**record.model_dump(mode="json", exclude_defaults=True), "segment": segment}
                for record, segment in ordered
            ]
        )
        return
    out = console()
    if not found:
        out.print(NOTE, "No record matches.")
        return
    rows = table("when (UTC)", "what", "thing", "by", "how, and why", "segment")
    for record, segment in ordered:
        rows.add_row(*_cells(record), segment)
    out.print(rows, soft_wrap=True)


@app.command()
def verify(ctx: typer.Context, stack: StackName = None, region: Region = None) -> None:
    """Read every segment, and check that each holds the hash of the previous one, up to the head in the ledger."""
    from lifecycle.audit import chain as rules
    from lifecycle.audit.store import AuditStore

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    objects = target.audit()
    head, keys = _settled(AuditStore(target.rows()), objects)
    read = SegmentReader(objects, keys)
    breaks = [*rules.verify(read.bodies(), head, gone_before=_gone_before(target, context.clock())), *read.misplaced]
    out = console()
    for sentence in breaks:
        out.print(NO, plain(sentence), soft_wrap=True)
    counted = f"{read.segments} segments with {read.records} records, {read.first or 'none'} to {read.last or 'none'}"
    if breaks:
        raise CliError(f"The audit trail is broken in {len(breaks)} places. Read: {counted}.")
    if not read.segments:
        out.print(
            NOTE,
            "There is no segment to verify, so nothing is proven. An hour is sealed after it has ended.",
        )
        raise typer.Exit(Exit.PENDING)
    out.print(YES, f"unbroken: {counted}", soft_wrap=True)
    if head is not None:
        out.print(f"  head  segment {head.segment}, {head.sha256}", soft_wrap=True)
        out.print(f"  Records after {head.through}:59 are not sealed yet.", soft_wrap=True)


class SegmentReader:
    """Reads segments one at a time, and counts them."""

    def __init__(self, objects: "Objects", keys: list[str]) -> None:
        self._objects = objects
        self._keys = keys
        self.segments = self.records = 0
        self.first = self.last = ""
        self.misplaced: list[str] = []

    def bodies(self) -> Iterator[bytes]:
        """Yield the bytes of each segment."""
        from lifecycle.audit.chain import SegmentHeader, key_of, segment_in

        for key in tracked(self._keys, "reading segments", len(self._keys)):
            if not segment_in(key):
                self.misplaced.append(f"{key} is not a segment.")
                continue
            body = self._objects.get(key)
            if body is None:
                continue
            heading = SegmentHeader.parse(body.partition(b"\n")[0])
            self.segments += 1
            self.records += max(0, body.count(b"\n") - 1)
            if heading is not None:
                self.first, self.last = self.first or heading.hour, heading.hour
                if _key(key_of, heading.hour, heading.segment) != key:
                    self.misplaced.append(f"{key} holds segment {heading.segment} of {heading.hour}.")
            yield body


def _key(key_of: Callable[[str, int], str], hour: str, segment: int) -> str:
    try:
        return key_of(hour, segment)
    except ValueError:  # The key names no hour.
        return ""


def _settled(trail: "AuditStore", objects: "Objects") -> "tuple[Head | None, list[str]]":
    """Read the head and the keys of the same moment. A segment may be sealed during the read."""
    from lifecycle.audit.chain import segment_in

    head, version = trail.head()
    for _ in range(_TRIES):
        keys = objects.keys("audit/")
        head, after = trail.head()
        if after == version:
            return head, sorted(keys, key=segment_in)
        version = after
    raise CliError("The audit trail was written during each attempt to read it. Try again in a minute.", Exit.PENDING)


def _gone_before(target: "Stack", now: datetime) -> str:
    """Return the hour before which segments may have been removed, because their retention has ended."""
    from lifecycle.audit.chain import hour_of

    days = target.parameters().get("AuditDays", "")
    return hour_of(now - timedelta(days=int(days))) if days.isdigit() else ""


def _sealed(objects: "Objects", day: datetime | None) -> "Iterator[tuple[str, str]]":
    """Yield each line with the number of its segment, the oldest first."""
    from lifecycle.audit.chain import segment_in

    if day is None:
        keys = objects.keys("audit/")
    else:
        # Records that arrived late in the last hour of a day are in the first segment of the next day.
        keys = objects.keys(f"audit/{day:%Y/%m/%d}/") + objects.keys(f"audit/{day + _DAY:%Y/%m/%d}/00-")
    for key in sorted(keys, key=segment_in):
        body = objects.get(key)
        for line in (body or b"").splitlines()[1:]:
            yield str(segment_in(key)), line.decode("ascii", "replace")


def _waiting(
    trail: "AuditStore", objects: "Objects", head: "Head | None", day: datetime | None, now: datetime
) -> "Iterator[tuple[str, str]]":
    """Yield the lines that are in no segment yet."""
    from lifecycle.audit.chain import hour_of, key_of, start_of
    from lifecycle.audit.store import KEEP

    newest = objects.get(key_of(head.hour, head.segment)) if head is not None and head.hour else None
    sealed = frozenset((newest or b"").decode("ascii", "replace").splitlines())
    begin = now - KEEP
    if head is not None:
        begin = max(begin, start_of(head.through))
    end = now + _HOUR
    if day is not None:
        begin, end = max(begin, day), min(end, day + _DAY - _HOUR)
    while hour_of(begin) <= hour_of(end):
        for line in sorted(trail.lines(hour_of(begin))):
            if line not in sealed:
                yield _OPEN, line
        begin += _HOUR


def _filter(name: str, by: str | None, day: datetime | None, org_id: str) -> "Callable[[str], Record | None]":
    """Return a function that parses a matching line. It searches the text first, because that is quick."""
    from lifecycle.audit.chain import Record

    who = (by or "").strip().casefold()

    def fits(line: str) -> Record | None:
        if name not in line or org_id not in line:
            return None
        record = Record.parse(line)
        if record is None or (org_id and record.org_id != org_id) or who not in record.by.casefold():
            return None
        if name and not _is_called(record, name):
            return None
        if day is not None and not day <= _moment(record) < day + _DAY:
            return None
        return record

    return fits


def _is_called(record: "Record", name: str) -> bool:
    """Return whether a record is about this thing, intent or plan. The beginning of an id or a hash is enough."""
    if name in {record.id, record.intent_id, record.plan}:
        return True
    return len(name) >= _LEAST_BEGINNING and (record.intent_id.startswith(name) or record.plan.startswith(name))


def _name(thing: str | None, org_ids: list[str]) -> str:
    text = (thing or "").strip()
    if "://" not in text:
        return text
    return id_in(text, org_id=next((org_id for org_id in org_ids if org_id in text), ""))


def _day(day: str | None) -> datetime | None:
    if day is None:
        return None
    try:
        return datetime.strptime(day.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CliError(f"'{day}' is not a day. Write it as 2026-06-01; days are in UTC.", Exit.USAGE) from None


def _moment(record: "Record") -> datetime:
    return datetime.fromtimestamp(record.at / 1000, UTC)


def _cells(record: "Record") -> "list[str | Text]":
    from lifecycle.domain.capabilities import Resource

    what = f"{record.action}: {record.status}" if record.status else record.what
    resource = Resource.named(record.resource)
    kind = resource.label if resource else record.resource
    who = f"{record.by} ({record.source})" if record.source else record.by
    texts = [record.reason, record.why and f"Reason given: {record.why}", record.rule and f"Rule {record.rule}."]
    texts += [record.plan and f"Plan {record.plan}.", record.intent_id]
    cells = (what, f"{kind} {record.id}".strip(), who or "unknown", "\n".join(text for text in texts if text))
    return [f"{_moment(record):%Y-%m-%d %H:%M:%S}", *(plain(cell, most=1500) for cell in cells)]
