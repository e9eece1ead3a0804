"""Asks a live Tallyfy what its documents leave open, on things that the probe makes and removes again.

The probe makes one tag, one one-off task and one process without a template. It changes nothing else: `ProbeClient`
refuses every write to an id that the probe did not get from Tallyfy as its own. Before it makes a thing, it writes the
title into the journal, so that a probe that was cut off leaves a list of what to remove.

What an organization answers becomes a facts file. The simulator replays it: `make simulator FACTS=<file>`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

from cli.clients.tallyfy_calls import Json, Seen, TallyfyCalls, TallyfyStopped
from cli.ui.errors import Exit

PREFIX: Final = "lifecycle probe"
"""The beginning of every title that the probe gives to a thing."""
_TAG_TITLE = 30
"""A tag's title has at most so many characters (API page "Create tag")."""
_ID = re.compile(r"[0-9a-f]{32}")


class ProbeStopped(TallyfyStopped):
    """The probe cannot continue. Its journal lists what it created so far."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One question, what the API page makes us expect, and what this organization did."""

    name: str
    expected: str
    seen: str
    agrees: bool
    quirk: str = ""
    """The simulator's setting that this settles; blank where it has none."""
    value: object = None
    """What to set it to."""


class Journal:
    """What the probe has made and not removed yet, in a file that is written before and after each step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left: dict[str, dict[str, str]] = {}
        if path.exists():
            self.left = json.loads(path.read_text(encoding="utf-8"))

    def begin(self, key: str, kind: str, title: str) -> None:
        """Record a thing before it is created."""
        self.left[key] = {"kind": kind, "title": title, "id": ""}
        self._write()

    def made(self, key: str, thing_id: str) -> None:
        """Record the id that Tallyfy gave it."""
        self.left[key]["id"] = thing_id
        self._write()

    def removed(self, key: str) -> None:
        """Remove a deleted thing. With the last one, remove the file too."""
        self.left.pop(key, None)
        if self.left:
            self._write()
        else:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.left, indent=2), encoding="utf-8")


@dataclass(slots=True)
class ProbeClient:
    """One organization over HTTP, with an admin's token. Writes reach only what the probe made."""

    calls: TallyfyCalls
    org_id: str
    made: set[str] = field(default_factory=set)

    @property
    def waits(self) -> list[float]:
        """The seconds that Tallyfy asked to wait, one entry for each 429."""
        return self.calls.waits

    def call(self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None) -> Seen:
        """Make one call below the organization. Raises ``TallyfyStopped`` where Tallyfy cannot be asked any more."""
        self._check(method, path)
        return self.calls.call(method, f"/organizations/{self.org_id}{path}", query, body)

    def _check(self, method: str, path: str) -> None:
        if method == "GET" or (method == "POST" and path in {"/tasks", "/tags"}):
            return
        _, _, thing_id, *_ = [*path.split("/"), "", ""]
        if thing_id not in self.made:
            message = f"The probe did not make {thing_id}, so it does not send {method}."
            raise ProbeStopped(message)


@dataclass(frozen=True, slots=True)
class CreatedObject:
    """A created thing: its line in the journal, its id and its title."""

    key: str
    id: str
    title: str


@dataclass(slots=True)
class Workshop:
    """Makes things in Tallyfy, and notes each in the journal before and after."""

    client: ProbeClient
    journal: Journal
    clock: Callable[[], datetime]
    tell: Callable[[str], None] = lambda _: None

    def member(self) -> int:
        """The id of the token's member. Raises ``ProbeStopped`` unless it is an admin."""
        me = self.client.call("GET", "/me")
        if not me.succeeded:
            raise ProbeStopped(f"Tallyfy does not show this organization to the token ({me.status}).", Exit.USAGE)
        if me.row.get("role") != "admin":
            raise ProbeStopped(
                f"The token belongs to a member with the role {me.row.get('role')!r}. Use an admin's token: the probe "
                "permanently deletes what it made.",
                Exit.USAGE,
            )
        return int(str(me.row.get("id")))

    def tag(self, title: str) -> CreatedObject:
        """Make a tag; its title has at most 30 characters (API page "Create tag")."""
        return self._made("tag", title, {"title": title, "color": "#2f80ed"}, "/tags")

    def task(self, title: str, member: int, tags: Sequence[str] = ()) -> CreatedObject:
        """Make a one-off task (API page "Create one-off task")."""
        return self._made("task", title, {**self._body(title, member), "tags": list(tags)}, "/tasks")

    def process(self, title: str, member: int) -> CreatedObject:
        """A process without a template: Tallyfy puts such a task into an empty process (API page "Launch projects")."""
        body = {**self._body(title, member), "separate_task_for_each_assignee": True}
        return self._made("run", title, body, "/tasks")

    def _body(self, title: str, member: int) -> dict[str, object]:
        deadline = self.clock() + timedelta(days=30)
        owners = {"users": [member], "guests": [], "groups": []}
        return {"title": title, "task_type": "task", "owners": owners, "deadline": f"{deadline:%Y-%m-%dT%H:%M:%SZ}"}

    def _made(self, kind: str, title: str, body: object, path: str) -> CreatedObject:
        key = f"{kind}-{title}"
        self.journal.begin(key, kind, title)
        self.tell(f"Making a {kind}: {title}")
        answer = self.client.call("POST", path, body=body)
        found = answer.row.get("run_id") if kind == "run" else answer.row.get("id")
        if not answer.succeeded or not isinstance(found, str):
            found = _find(self.client, kind, title)
        if found is None or not _ID.fullmatch(found):
            raise ProbeStopped(f"Tallyfy did not make a {kind} ({answer.status}). Nothing was learnt about its kind.")
        self.client.made.add(found)
        self.journal.made(key, found)
        return CreatedObject(key, found, title)


@dataclass(slots=True)
class Probe:
    """Makes its things, plays each fact on them, and removes them."""

    shop: Workshop

    def run(self) -> Iterator[Fact]:
        """Yield each fact as it is seen. Whatever happens, what was made is removed or stays in the journal."""
        shop = self.shop
        mark = f"{shop.clock():%m%d%H%M%S}"
        member = shop.member()
        try:
            tag = shop.tag(f"{PREFIX} {mark}"[:_TAG_TITLE])
            yield from self._task_facts(shop.task(f"{PREFIX} task {mark}", member, [tag.id]), tag)
            yield from self._run_facts(shop.process(f"{PREFIX} process {mark}", member))
            yield from self._tag_facts(tag)
        finally:
            shop.tell("Removing what the probe made.")
            remove(shop.client, shop.journal)
        yield _waits(shop.client.waits)

    def _task_facts(self, task: CreatedObject, tag: CreatedObject) -> Iterator[Fact]:
        call, path = self.shop.client.call, f"/tasks/{task.id}"
        listed = _row(call("GET", "/tasks", {"is_oneoff": "true", "with": "tags", "sort": "-newest"}), task.id)
        shown = listed is not None and any(row.get("id") == tag.id for row in _nested(listed, "tags"))
        yield _yes("A list of one-off tasks with=tags shows a task's tags", shown)
        by_name = _row(call("GET", "/tasks", {"is_oneoff": "true", "tag": tag.title}), task.id) is not None
        yield _yes("GET /tasks?tag= takes a tag's title", by_name)
        archived = call("DELETE", path)
        yield _shape("Archiving a one-off task answers", archived, {"no_content", "data"}, "task_archive", "no_content")
        yield _repeat("Archiving an archived task answers", call("DELETE", path), "archive_archived", 404)
        yield _status("GET of an archived task answers", call("GET", path), {404})
        gone_there = _row(call("GET", "/tasks", {"is_oneoff": "true", "archived": "only"}), task.id) is not None
        yield _yes("GET /tasks?archived=only lists an archived task", gone_there)
        restored = call("PUT", f"{path}/restore")
        yield _shape("Restoring a one-off task answers", restored, {"data", "no_content"}, "restore", "data")
        call("DELETE", path)
        yield _status("Deleting an archived one-off task answers", call("DELETE", f"{path}/delete"), {200, 204})
        yield _repeat("Deleting a deleted task answers", call("DELETE", f"{path}/delete"), "delete_deleted", 404)

    def _run_facts(self, run: CreatedObject) -> Iterator[Fact]:
        call, path = self.shop.client.call, f"/runs/{run.id}"
        early = call("DELETE", f"{path}/delete")
        yield _choice("Deleting a process that is not archived answers", early, {404, 422}, "delete_unarchived", 422)
        if early.succeeded:
            return  # The process is deleted, so it answers no more questions. The table shows what happened.
        archived = call("DELETE", path)
        in_archive = archived.row.get("status") == "archived" and bool(archived.row.get("archived_at"))
        yield _yes("Archiving a process answers with status archived and archived_at", in_archive)
        yield _repeat("Archiving an archived process answers", call("DELETE", path), "archive_archived", 404)
        look = call("GET", path)
        yield _yes("GET of an archived process shows archived_at", bool(look.row.get("archived_at")))
        for name, query in (("archived=only", {"archived": "only"}), ("status=archived", {"status": "archived"})):
            listed = _row(call("GET", "/runs", {**query, "per_page": "100", "sort": "-created_at"}), run.id)
            yield _yes(f"GET /runs?{name} lists an archived process", listed is not None)
        tasks = call("GET", f"{path}/tasks", {"archived": "true"}).rows
        yield _parts("GET /runs/{id}/tasks?archived=true of an archived process", "shown" if tasks else "hidden")
        feed = call("GET", "/activity-feeds", {"entity_type": "run", "entity_id": run.id, "verb": "archived"})
        yield _yes("The activity feed shows that a process was archived", bool(feed.rows))
        restored = call("PUT", f"{path}/activate")
        active = restored.succeeded and not restored.row.get("archived_at")
        yield _yes("Activating a process answers with archived_at null", active)
        yield _repeat("Activating an active process answers", call("PUT", f"{path}/activate"), "restore_active", 200)
        call("DELETE", path)
        shapes = {"data", "empty", "no_content"}
        yield _shape(
            "Deleting an archived process answers", call("DELETE", f"{path}/delete"), shapes, "run_delete", "data"
        )
        yield _repeat("Deleting a deleted process answers", call("DELETE", f"{path}/delete"), "delete_deleted", 404)
        yield _status("GET of a deleted process answers", call("GET", path), {404})

    def _tag_facts(self, tag: CreatedObject) -> Iterator[Fact]:
        call, path = self.shop.client.call, f"/tags/{tag.id}"
        deleted = call("DELETE", path)
        kind = "soft" if deleted.row.get("deleted_at") else "permanent"
        yield _choice_of("Deleting a tag is", kind if deleted.succeeded else f"refused ({deleted.status})", "permanent")
        yield _status("Deleting a tag that is gone answers", call("DELETE", path), {204, 404})
        yield _status("GET of a deleted tag answers", call("GET", path), {404})


def remove(client: ProbeClient, journal: Journal) -> None:
    """Remove everything in the journal. What cannot be removed stays in it."""
    for key, thing in list(journal.left.items()):
        thing_id = thing["id"] or _find(client, thing["kind"], thing["title"])
        if thing_id is None or _removed(client, thing["kind"], thing_id):
            journal.removed(key)


def facts_file(org_id: str, seen_at: datetime, facts: list[Fact]) -> str:
    """The facts as JSON, with the simulator's settings that follow from them."""
    quirks = {fact.quirk: fact.value for fact in facts if fact.quirk}
    document = {
        "org_id": org_id,
        "seen_at": seen_at.isoformat(),
        "quirks": quirks,
        "facts": [asdict(one) for one in facts],
    }
    return json.dumps(document, indent=2)


def _removed(client: ProbeClient, kind: str, thing_id: str) -> bool:
    """Delete one thing for good, and look whether it is gone. Archived first: Tallyfy asks for that."""
    client.made.add(thing_id)
    collection = {"run": "runs", "task": "tasks", "tag": "tags"}[kind]
    path = f"/{collection}/{thing_id}"
    client.call("DELETE", path)
    if kind != "tag":
        client.call("DELETE", f"{path}/delete")
    archived = (
        client.call("GET", f"/{collection}", {"archived": "only"}) if kind != "tag" else Seen(404, {}, empty=True)
    )
    return client.call("GET", path).status == HTTPStatus.NOT_FOUND and _row(archived, thing_id) is None


def _find(client: ProbeClient, kind: str, title: str) -> str | None:
    """The id of the one thing of exactly this title, made by a probe that was cut off before it knew the id."""
    path, query, name = {
        "run": ("/runs", {"q": title}, "name"),
        "task": ("/tasks", {"is_oneoff": "true", "per_page": "100", "sort": "-newest"}, "title"),
        "tag": ("/tags", {"per_page": "100", "all": "true"}, "title"),
    }[kind]
    found = [str(row.get("id")) for row in client.call("GET", path, query).rows if row.get(name) == title]
    return found[0] if len(found) == 1 else None


def _row(seen: Seen, thing_id: str) -> Json | None:
    return next((row for row in seen.rows if row.get("id") == thing_id), None)


def _nested(row: Json, name: str) -> list[Json]:
    value = row.get(name)
    listed = value.get("data") if isinstance(value, dict) else value
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _yes(name: str, seen: bool) -> Fact:
    return Fact(name, "yes", "yes" if seen else "no", seen)


def _status(name: str, seen: Seen, expected: set[int]) -> Fact:
    return Fact(name, " or ".join(map(str, sorted(expected))), str(seen.status), seen.status in expected)


def _choice(name: str, seen: Seen, allowed: set[int], quirk: str, default: int) -> Fact:
    known = seen.status in allowed
    expected = " or ".join(map(str, sorted(allowed)))
    return Fact(name, expected, str(seen.status), known, quirk if known else "", seen.status if known else default)


def _repeat(name: str, seen: Seen, quirk: str, default: int) -> Fact:
    """A second call that finds its work done: 404, 422, or any 2xx, which the simulator plays as 200."""
    status = HTTPStatus.OK.value if seen.succeeded else seen.status
    known = status in {200, 404, 422}
    return Fact(
        name, "200, 204, 404 or 422", str(seen.status), known, quirk if known else "", status if known else default
    )


def _shape(name: str, seen: Seen, allowed: set[str], quirk: str, default: str) -> Fact:
    known = seen.succeeded and seen.shape in allowed
    shown = f"{seen.status} {seen.shape.replace('_', ' ')}"
    expected = " or ".join(sorted(allowed)).replace("_", " ")
    return Fact(name, expected, shown, known, quirk if known else "", seen.shape if known else default)


def _parts(name: str, seen: str) -> Fact:
    return Fact(f"{name} are", "shown or hidden", seen, agrees=True, quirk="archived_parts", value=seen)


def _choice_of(name: str, seen: str, default: str) -> Fact:
    known = seen in {"soft", "permanent"}
    return Fact(name, "permanent or soft", seen, known, "tag_delete" if known else "", seen if known else default)


def _waits(waits: list[float]) -> Fact:
    seen = f"{len(waits)} times, at most {max(waits):.0f} s" if waits else "never"
    return Fact("Tallyfy asked to wait (429)", "never, or with Retry-After", seen, agrees=True)
