"""Exports everything that Tallyfy permits to read of a resource before it is deleted, with a manifest.

An export is evidence, not an undo: nothing can be imported back into Tallyfy. Lists and files go through a scratch
file, one at a time, and are never whole in memory. No content is logged. Part names consist of our own words and ids,
never of names that people chose.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from lifecycle.aws.s3 import Objects
from lifecycle.deletion.export_contents import ExportContents, FoundFile, items_of, values_within
from lifecycle.deletion.export_readback import part_key, verify
from lifecycle.deletion.manifest import FILE_NAME, ExportPart, Manifest
from lifecycle.deletion.scratch_file import ScratchFile, measured
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.tallyfy.client import PER_PAGE, DoesNotAddUp, Json
from lifecycle.tallyfy.export_reader import Records

_DOCUMENT, _LINES, _BYTES = "application/json", "application/jsonl", "application/octet-stream"
_READINGS = 3
"""How often an inconsistent list is read: it may change while it is read."""
_TASKS_PER_PAGE = 50
"""The page size for lists whose rows are large, for us and for Tallyfy."""
_SIGNS = ("tasks", "comments", "activity")
"""What is counted again before a delete: an addition to the resource changes one of these counts."""
_CHUNK = 1024 * 1024
_MOST_NAME = 500

# What each endpoint's page in Tallyfy's reference lists for `with` (2026-08). Processes and templates have threads of
# their own, besides those of their tasks. A process's tasks are a list of their own: inside of it they would come all
# at once.
_RUN = "checklist,tags,assets,form_fields,ko_form_fields,stages,folders,threads"
_RUN_TASKS = "step,threads,comments,assets,form_fields,activities,summary"
_TASK = "step,form_fields,tags,threads,issues,assets,folders,roles,activities,summary"
_LISTED_TASK = "step,threads,assets,form_fields,tags,summary"
_TEMPLATE = "steps,tags,folder,threads"

type Query = Mapping[str, str]
type Take = Callable[[Json], Json | None]

_BOTH: tuple[Query, ...] = ({}, {"archived": "only"})
"""The active resources, then the archived ones."""


def folder_of(org_id: str, resource: Resource, thing_id: str, name: str) -> str:
    """The folder of an export. ``name`` is the intent's id, or a time."""
    return f"exports/{org_id}/{resource}/{thing_id}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Makes exports and reads them back. ``scratch`` is a folder for one part at a time; ``told`` gets each."""

    records: Records
    objects: Objects
    clock: Callable[[], datetime]
    scratch: Path | None = None
    told: Callable[[ExportPart], None] = lambda _: None

    def make(self, org_id: str, thing: ResourceSnapshot, folder: str, *, intent_id: str | None = None) -> Manifest:
        """Write everything into ``folder``, the manifest last. The folder must be a new one: nothing is overwritten.

        ``missing`` says what could not be read, and why. Raises ``Rejected`` if there is nothing to export,
        ``Retryable`` for temporary failures.
        """
        making = _Making(self, org_id, thing, folder)
        making.run()
        manifest = Manifest(
            org_id=org_id,
            resource=thing.resource,
            id=thing.id,
            name=_name(thing.name),
            made_at=self.clock(),
            intent_id=intent_id,
            parts=tuple(sorted(making.parts, key=lambda part: part.name)),
            counts=dict(making.counts),
            missing=tuple(making.missing),
        )
        self.objects.put(part_key(folder, FILE_NAME), manifest.to_json(), kind=_DOCUMENT)
        return manifest

    def still_holds_all(self, manifest: Manifest, thing: ResourceSnapshot) -> bool:
        """Count again, to find out whether something was added to the resource. Stores nothing.

        Raises what ``make`` raises: ``Rejected`` with ``not_found`` if the resource is gone.
        """
        making = _Making(self, manifest.org_id, thing, "", counting=True)
        making.run()
        unread = {_part(sentence) for sentence in making.missing} - {_part(sentence) for sentence in manifest.missing}
        counts = [(making.counts[name], manifest.counts.get(name)) for name in _SIGNS if name in making.counts]
        return not unread and all(now == then for now, then in counts)

    def verify(self, folder: str) -> tuple[str, ...]:
        """See ``lifecycle.deletion.export_readback.verify``."""
        return verify(self.objects, folder, scratch=self.scratch)[1]


@dataclass(slots=True)
class _Making:
    """One running export. ``counting``: only count what can show an addition, and store nothing."""

    export: Export
    org_id: str
    thing: ResourceSnapshot
    folder: str
    scratch: Path = Path()
    parts: list[ExportPart] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    met: ExportContents = field(default_factory=ExportContents)
    counting: bool = False

    def run(self) -> None:
        """Read and store all parts, through a scratch folder."""
        try:
            with TemporaryDirectory(dir=self.export.scratch) as scratch:
                self.scratch = Path(scratch)
                self.everything()
        except OSError as error:
            raise Retryable(Code.UNAVAILABLE, f"The scratch disk could not store a part: {error.strerror}.") from error

    def everything(self) -> None:
        """Read and store all parts."""
        if not re.fullmatch(ID_PATTERN, self.thing.id) or not re.fullmatch(ID_PATTERN, self.org_id):
            raise Rejected(Code.INVALID, "An id is 32 characters of 0-9 and a-f.")
        match self.thing.resource:
            case Resource.RUN:
                self._run()
            case Resource.TASK:
                self._task()
            case Resource.TAG:
                self._tag()
            case Resource.TEMPLATE:
                self._template()
        if self.counting:
            return
        self._files()
        self.counts["parts"] = len(self.parts)
        self.counts["bytes"] = sum(part.size for part in self.parts)

    def _run(self) -> None:
        name = self.thing.id
        shown = {"with": _RUN, "form_fields_values": "true"}
        run = self._document("process", f"/runs/{name}", shown, archived=("/runs", {**shown, "archived": "only"}))
        archived = bool(run.get("archived_at") or run.get("status") == "archived")
        # Without this parameter, Tallyfy hides what was archived together with its process.
        asked = {"with": _RUN_TASKS, **({"archived": "true"} if archived else {})}
        tasks = self._list("tasks", [(f"/runs/{name}/tasks", asked)], per_page=_TASKS_PER_PAGE)
        progress = run.get("progress")
        said = progress.get("total") if isinstance(progress, dict) else None
        if tasks is not None and isinstance(said, int) and tasks < said:
            why = " It is archived, and Tallyfy may hide them: restore it and export it again." if archived else ""
            self.missing.append(f"tasks: {tasks} of {said} came.{why}")
        elif tasks is not None and archived and not isinstance(said, int):
            self.missing.append(
                f"tasks: {tasks} came, and Tallyfy does not say how many this archived process has. It may hide some."
            )
        self.counts["tasks"] = tasks or 0
        self._feed("run")
        self._comments(archived=archived)

    def _task(self) -> None:
        if self.thing.run_id is not None:
            raise Rejected(Code.PROCESS_TASK, "This task belongs to a process. Export the process.")
        listed = {"is_oneoff": "true", "with": _LISTED_TASK, "archived": "only"}
        self._document("task", f"/tasks/{self.thing.id}", {"with": _TASK}, archived=("/tasks", listed))
        self.counts["tasks"] = 1
        self._feed("task")
        self._comments(archived=self.thing.state is State.ARCHIVED)

    def _tag(self) -> None:
        tag = self._document("tag", f"/tags/{self.thing.id}", {"with": "statistics"})
        if self.counting:
            return
        carries = _carries(self.thing.id)
        title = tag.get("title")
        by_title = {"tag": title} if isinstance(title, str) and title else {}
        runs = [("/runs", {"with": "tags", "tag_ids": self.thing.id, "sort": "created_at", **state}) for state in _BOTH]
        # Whether templates are filtered by a tag's name or id is not said: they are few, and all are read.
        templates = [("/checklists", {"with": "tags", **state}) for state in _BOTH]
        tasks = [("/tasks", {"with": "tags", "is_oneoff": "true", **by_title, **state}) for state in _BOTH]
        carried = {
            "process": self._list("processes", runs, take=carries),
            "template": self._list("templates", templates, take=carries),
        }
        self.counts["tasks"] = self._list("tasks", tasks, take=carries) or 0
        for kind, number in carried.items():
            self.counts[f"{kind}s" if kind == "template" else "processes"] = number or 0
            said = _uses(tag, kind)
            if said is None or (number is not None and number < said):
                of = f"{number} of {said} came" if said is not None else "Tallyfy does not say how many carry it"
                self.missing.append(f"what carries it, kind {kind}: {of}.")

    def _template(self) -> None:
        name = self.thing.id
        listed = {"with": _TEMPLATE, "archived": "only"}
        template = self._document(
            "template", f"/checklists/{name}", {"with": _TEMPLATE}, archived=("/checklists", listed)
        )
        if "steps" not in template:
            self.missing.append("template: its steps did not come. Tallyfy may hide them of an archived template.")
        self.counts["comments"] = len(self.met.comments)
        if self.counting:
            return
        runs = [("/runs", {"checklist_id": name, "sort": "created_at", **state}) for state in _BOTH]
        # Templates that launch it, or whose rules name it.
        others = [("/checklists", {"with": "steps", **state}) for state in _BOTH]
        made = self._list("processes", runs, take=lambda row: _brief(row) if row.get("checklist_id") == name else None)
        self.counts["processes"] = made or 0
        self.counts["references"] = (
            self._list("references", others, take=lambda row: _brief(row) if _refers(row, name) else None) or 0
        )

    def _document(self, kind: str, path: str, query: Query, *, archived: tuple[str, Query] | None = None) -> Json:
        """Store the resource itself. If Tallyfy does not return it by its id, search the archived list."""
        found = self.export.records.document(self.org_id, path, query)
        if found is None and archived is not None:
            rows = self.export.records.rows(self.org_id, *archived)
            found = next((row for row in rows if row.get("id") == self.thing.id), None)
        if found is None:
            raise Rejected(Code.NOT_FOUND, f"Tallyfy does not show the {self.thing.resource.label} to this token.")
        if found.get("id") != self.thing.id:
            raise Retryable(Code.UNAVAILABLE, "Tallyfy answered with another resource than the requested one.")
        with self._sheet() as sheet:
            sheet.write(found)
        self._keep(f"{kind}.json", kind, sheet, kept_as=_DOCUMENT)
        tally = ExportContents()
        tally.see(found)
        self.met.add(tally)
        return found

    def _list(
        self,
        name: str,
        reads: Iterable[tuple[str, Query]],
        *,
        take: Take = lambda row: row,
        see: Callable[[ExportContents, Json], None] = ExportContents.see,
        per_page: int = PER_PAGE,
    ) -> int | None:
        """Store a list as lines and return their number. If it cannot be read, return ``None`` and add to ``missing``.

        An inconsistent list is read again from the start.
        """
        trouble = ""
        for _ in range(_READINGS):
            tally = ExportContents()
            try:
                with self._sheet() as sheet:
                    for path, query in reads:
                        for row in self.export.records.rows(self.org_id, path, query, per_page=per_page):
                            line = take(row)
                            if line is not None:
                                see(tally, line)
                                sheet.write(line)
                                tally.rows += 1
            except DoesNotAddUp as error:
                trouble = f"{error.reason} It was read {_READINGS} times."
                continue
            except Rejected as error:
                trouble = error.reason
                break
            self._keep(f"{name}.jsonl", name, sheet, kept_as=_LINES)
            self.met.add(tally)
            return tally.rows
        self.missing.append(f"{name}: {trouble}")
        return None

    def _feed(self, entity: str) -> None:
        query = {"entity_type": entity, "entity_id": self.thing.id}
        if self.counting:
            try:
                self.counts["activity"] = self.export.records.total(self.org_id, "/activity-feeds", query)
            except (DoesNotAddUp, Rejected) as error:
                self.missing.append(f"activity: {error.reason}")
            return
        told = self._list("activity", [("/activity-feeds", query)], see=ExportContents.hear)
        self.counts["activity"] = told or 0

    def _comments(self, *, archived: bool) -> None:
        """Count the comments. If the feed reports more than Tallyfy returned, some are hidden."""
        self.counts["comments"] = len(self.met.comments)
        told = self.met.verbs["commented"] - self.met.verbs["comment-deleted"]
        came = len(self.met.comments | self.met.threads)
        if came < told:
            why = " Tallyfy may hide those of what is archived." if archived else ""
            self.missing.append(f"comments: {came or 'none'} came, and the activity feed tells of {told}.{why}")

    def _files(self) -> None:
        """Store the bytes of each file, and a list with Tallyfy's data on them."""
        if self.met.nameless:
            number = len(self.met.nameless)
            self.missing.append(f"files: of {number} the id is of an unknown form, so they cannot be asked for.")
        with self._sheet("files") as sheet:
            for name in sorted(self.met.files):
                kept = self._file(name, self.met.files[name])
                sheet.write({**self.met.files[name].described, "part": kept.name if kept else None})
        self.counts["files"] += 0
        self.counts["links"] = len(self.met.links)
        if self.met.files:
            self._keep("files.jsonl", "files", sheet, kept_as=_LINES)

    def _file(self, name: str, file: FoundFile) -> ExportPart | None:
        path = self.scratch / "file"
        try:
            self.export.records.download(self.org_id, name, path)
        except Rejected as error:
            if file.ours or error.code is not Code.NOT_FOUND:
                self.missing.append(f"files/{name}: {error.reason}")
            return None
        size, sha256 = measured(path)
        part = ExportPart(name=f"files/{name}", kind="file", size=size, sha256=sha256)
        self.export.objects.put_file(part_key(self.folder, part.name), path, kind=_BYTES)
        path.unlink()
        self.counts["files"] += 1
        self._done(part)
        return part

    def _sheet(self, name: str = "part") -> ScratchFile:
        return ScratchFile(self.scratch / name)

    def _keep(self, name: str, kind: str, sheet: ScratchFile, *, kept_as: str) -> None:
        if self.counting:
            return
        self.export.objects.put_file(part_key(self.folder, name), sheet.path, kind=kept_as)
        self._done(ExportPart(name=name, kind=kind, size=sheet.size, sha256=sheet.sha256))

    def _done(self, part: ExportPart) -> None:
        self.parts.append(part)
        self.export.told(part)


def _part(sentence: str) -> str:
    """The part that a sentence in ``missing`` is about."""
    return sentence.partition(":")[0]


def _name(name: str | None) -> str | None:
    return name.encode(errors="replace").decode()[:_MOST_NAME] if name else None


def _brief(row: Json) -> Json:
    """What is stored of a related resource: its identity, not its contents."""
    return {name: row[name] for name in ("id", "name", "title", "status", "archived_at") if name in row}


def _carries(tag_id: str) -> Take:
    """Store the resources with a tag. Tallyfy's filters may return more than their names say, so check each row."""

    def take(row: Json) -> Json | None:
        tags = [tag.get("id") for tag in items_of(row.get("tags")) if isinstance(tag, dict)]
        return _brief(row) if tag_id in tags else None

    return take


def _refers(row: Json, name: str) -> bool:
    return row.get("id") != name and any(item == name for item in values_within(row))


def _uses(tag: Json, kind: str) -> int | None:
    """How many of a kind carry a tag, archived ones included."""
    told = tag.get("statistics")
    inner = told.get("data", told) if isinstance(told, dict) else None
    numbers = [inner.get(f"{state}_{kind}") if isinstance(inner, dict) else None for state in ("active", "archived")]
    counts = [number for number in numbers if isinstance(number, int)]
    return sum(counts) if len(counts) == len(numbers) else None
