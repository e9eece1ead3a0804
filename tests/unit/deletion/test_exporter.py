"""Exports: everything is in them, what is not is named, and one flipped byte is found."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lifecycle.aws.s3 import FolderObjects, MemoryObjects
from lifecycle.deletion.erasure import erase
from lifecycle.deletion.export_contents import ExportContents
from lifecycle.deletion.export_readback import verify
from lifecycle.deletion.exporter import Export, folder_of
from lifecycle.deletion.manifest import ExportPart, Manifest
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.tallyfy.export_reader import HttpRecords
from sandbox.simulator import (
    DEFAULT_TOKEN,
    DefaultIds,
    Fault,
    Quirks,
    Seed,
    SeedActivity,
    SeedAsset,
    SeedMember,
    SeedOrganization,
    SeedRun,
    SeedTag,
    SeedTask,
    SeedTemplate,
    SeedThread,
    Simulator,
    SimulatorServer,
    long_run,
    make_id,
)
from sandbox.simulator.messages import Json, ReceivedRequest, Response
from sandbox.simulator.world import FeedEntry, Task, Thread
from tests.harness.builders import NOW, ORG, Clock
from tests.harness.fault_injection import Crash
from tests.harness.tallyfy import Canned, CannedStand, SimulatorStand, Stand, answered

ids = DefaultIds
FOLDER = folder_of(ORG, Resource.RUN, ids.RUN, "an-intent")


class Worn(MemoryObjects):
    """Objects whose process dies at one of its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_at: int | None = None

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        self._wear()
        super().put_file(key, path, kind=kind)

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        self._wear()
        super().put(key, body, kind=kind)

    def _wear(self) -> None:
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at < 0:
                raise Crash


@dataclass
class Archive:
    """An export's maker in front of a simulated Tallyfy."""

    simulator: Simulator
    objects: Worn = field(default_factory=Worn)
    clock: Clock = field(default_factory=lambda: Clock(NOW))

    def __post_init__(self) -> None:
        self.stand = SimulatorStand(self.simulator)
        self.export = exporter(self.stand, self.objects, self.clock)

    def make(self, resource: Resource = Resource.RUN, name: str = ids.RUN, folder: str = FOLDER) -> Manifest:
        return self.export.make(ORG, self.look(resource, name), folder, intent_id="an-intent")

    def look(self, resource: Resource = Resource.RUN, name: str = ids.RUN) -> ResourceSnapshot:
        thing = self.stand.client.look(ORG, resource, name)
        assert thing is not None
        return thing

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.body(name).splitlines()]

    def body(self, name: str) -> bytes:
        return self.objects.bodies[f"{FOLDER}/{name}"]


def exporter(stand: Stand, objects: MemoryObjects, clock: Clock) -> Export:
    records = HttpRecords(stand.client, stand.client._session, time_left=lambda: 60.0)
    return Export(records=records, objects=objects, clock=clock)


def asset(n: int = 0, content: str = "bytes", **fields: Any) -> SeedAsset:
    return SeedAsset(id=make_id("asset", n), filename=f"scan {n}.pdf", content=content, **fields)


def holding(**fields: Any) -> Seed:
    """An organization with these things in it."""
    return Seed(organizations=[SeedOrganization(id=ORG, members=[SeedMember(token=DEFAULT_TOKEN)], **fields)])


def process(**fields: Any) -> Seed:
    """An organization with one process of two tasks."""
    tasks = [
        SeedTask(
            id=make_id("task", 0),
            title="Sign",
            threads=[SeedThread(id=make_id("thread", n), content=f"Comment {n}") for n in range(3)],
            assets=[asset(0, "the contract"), asset(1, "the annex")],
        ),
        SeedTask(id=make_id("task", 1), title="File", threads=[SeedThread(id=make_id("thread", 3), content="Done.")]),
    ]
    feed = [SeedActivity(verb="commented", entity_id=ids.RUN) for _ in range(4)]
    run: dict[str, Any] = {"id": ids.RUN, "name": "Onboard", "tasks": tasks, "form_fields": {"Customer": "Acme"}}
    return holding(runs=[SeedRun(**{**run, **fields})], feed=feed)


@pytest.fixture
def archive() -> Archive:
    return Archive(Simulator(process(), clock=Clock(NOW)))


@pytest.fixture
def archived() -> Archive:
    return Archive(Simulator(process(archived_at="-40d", status="complete"), clock=Clock(NOW)))


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class TestProcess:
    def test_an_export_of_a_process_contains_everything(self, archive: Archive) -> None:
        made = archive.make()
        assert made.missing == ()
        assert made.complete
        [run] = archive.lines("process.json")
        assert (run["id"], run["name"], run["form_fields_values"]) == (ids.RUN, "Onboard", {"Customer": "Acme"})
        tasks = archive.lines("tasks.jsonl")
        assert [task["title"] for task in tasks] == ["Sign", "File"]
        said = [thread["content"] for task in tasks for thread in task["threads"]["data"]]
        assert said == ["Comment 0", "Comment 1", "Comment 2", "Done."]
        assert [line["verb"] for line in archive.lines("activity.jsonl")] == ["commented"] * 4
        assert archive.body(f"files/{make_id('asset', 0)}") == b"the contract"
        assert archive.body(f"files/{make_id('asset', 1)}") == b"the annex"
        named = {line["filename"]: line["part"] for line in archive.lines("files.jsonl")}
        assert named == {f"scan {n}.pdf": f"files/{make_id('asset', n)}" for n in range(2)}
        counted = {name: made.counts[name] for name in ("tasks", "comments", "files", "activity", "links", "parts")}
        assert counted == {"tasks": 2, "comments": 4, "files": 2, "activity": 4, "links": 0, "parts": 6}

    def test_the_manifest_names_each_part_and_what_it_is_about(self, archive: Archive) -> None:
        made = archive.make()
        assert (made.org_id, made.resource, made.id, made.name) == (ORG, Resource.RUN, ids.RUN, "Onboard")
        assert (made.made_at, made.intent_id) == (NOW, "an-intent")
        kept = {key.removeprefix(f"{FOLDER}/"): body for key, body in archive.objects.bodies.items()}
        assert Manifest.parse(kept.pop("manifest.json")) == made
        assert {part.name: (part.size, part.sha256) for part in made.parts} == {
            name: (len(body), sha(body)) for name, body in kept.items()
        }
        assert made.counts["bytes"] == sum(map(len, kept.values()))
        assert archive.export.verify(FOLDER) == ()

    def test_an_export_of_an_archived_process_also_requests_archived_parts(self, archived: Archive) -> None:
        made = archived.make()
        assert made.missing == ()
        assert (made.counts["tasks"], made.counts["comments"], made.counts["files"]) == (2, 4, 2)
        asked = [call.query for call in archived.simulator.log.calls if call.action == "tasks"]
        assert [query["archived"] for query in asked] == ["true"]
        assert asked[0]["with"] == "step,threads,comments,assets,form_fields,activities,summary"

    def test_parts_that_tallyfy_hides_of_an_archived_process_are_reported_missing(self, archived: Archive) -> None:
        archived.simulator.quirks = Quirks(archived_parts="hidden")
        made = archived.make()
        assert made.missing == (
            "tasks: 0 of 2 came. It is archived, and Tallyfy may hide them: restore it and export it again.",
            "comments: none came, and the activity feed tells of 4. Tallyfy may hide those of what is archived.",
        )
        assert archived.export.verify(FOLDER) == (), "what there is agrees all the same"

    @pytest.mark.parametrize("progress", [50, {}, {"total": None}, None])
    def test_an_archived_process_without_a_task_count_is_reported_incomplete(
        self, archived: Archive, monkeypatch: pytest.MonkeyPatch, progress: object
    ) -> None:
        monkeypatch.setattr("sandbox.simulator.rows.progress", lambda _: progress)
        assert any("does not say how many" in sentence for sentence in archived.make().missing)

    def test_an_active_process_needs_no_task_count(self, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sandbox.simulator.rows.progress", lambda _: 50)
        assert archive.make().missing == ()

    @pytest.mark.parametrize(("total", "missing"), [(1, ()), (2, ()), (3, ("tasks: 2 of 3 came.",))])
    def test_fewer_tasks_than_counted_are_missing_and_more_are_fine(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch, total: int, missing: tuple[str, ...]
    ) -> None:
        """Tallyfy does not count tasks that a rule has skipped, and lists them."""
        monkeypatch.setattr("sandbox.simulator.rows.progress", lambda _: {"total": total})
        assert archive.make().missing == missing

    def test_a_long_list_is_read_page_by_page(self) -> None:
        archive = Archive(Simulator(long_run(120, 400, 0, size=0), clock=Clock(NOW)))
        made = archive.make()
        assert made.missing == ()
        assert (made.counts["tasks"], made.counts["comments"]) == (120, 400)
        assert len({task["id"] for task in archive.lines("tasks.jsonl")}) == 120
        assert [call.query["page"] for call in archive.simulator.log.calls if call.action == "tasks"] == ["1", "2", "3"]

    def test_an_export_sends_only_reads_to_tallyfy_and_reports_each(self, archive: Archive) -> None:
        archive.make()
        calls = archive.simulator.log.calls
        assert {call.method for call in calls} == {"GET"}
        assert not any(call.acted for call in calls)
        assert len(archive.stand.spent) == len(calls)

    def test_a_resource_that_does_not_exist_cannot_be_exported(self, archive: Archive) -> None:
        thing = archive.stand.client.look(ORG, Resource.RUN, ids.RUN)
        assert thing is not None
        archive.simulator.organization.runs.clear()
        with pytest.raises(Rejected) as refusal:
            archive.export.make(ORG, thing, FOLDER)
        assert refusal.value.code is Code.NOT_FOUND
        assert archive.objects.bodies == {}

    def test_an_invalid_id_makes_no_call(self, archive: Archive) -> None:
        thing = archive.stand.client.look(ORG, Resource.RUN, ids.RUN)
        assert thing is not None
        before = len(archive.simulator.log.calls)
        with pytest.raises(Rejected):
            archive.export.make(ORG, ResourceSnapshot(resource=Resource.RUN, id="../x", state=thing.state), FOLDER)
        with pytest.raises(Rejected):
            archive.export.make("../x", thing, FOLDER)
        assert len(archive.simulator.log.calls) == before

    def test_each_part_is_reported_when_it_is_stored(self, archive: Archive) -> None:
        told: list[ExportPart] = []
        heard = Export(records=archive.export.records, objects=archive.objects, clock=archive.clock, told=told.append)
        archive.export = heard
        made = archive.make()
        assert sorted(told, key=lambda part: part.name) == list(made.parts)

    def test_nothing_of_the_contents_is_logged(
        self, archive: Archive, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(0):
            archive.make()
        heard = capsys.readouterr()
        for secret in ("Comment 0", "Acme", "the contract", "scan 0", DEFAULT_TOKEN):
            assert secret not in heard.out + heard.err + caplog.text


class TestFiles:
    @pytest.mark.parametrize(("status", "why"), [(404, "has no such file (404)"), (403, "forbids reading it (403)")])
    def test_an_unreadable_part_is_missing_and_the_rest_is_stored(
        self, archive: Archive, status: int, why: str
    ) -> None:
        lost = make_id("asset", 0)
        archive.simulator.add_fault(Fault.answer_status(status, path=f"{lost}/dl$", times=-1))
        made = archive.make()
        assert made.missing == (f"files/{lost}: Tallyfy {why}.",)
        assert not made.complete
        assert f"{FOLDER}/files/{lost}" not in archive.objects.bodies
        assert archive.body(f"files/{make_id('asset', 1)}") == b"the annex"
        assert {line["id"]: line["part"] for line in archive.lines("files.jsonl")}[lost] is None
        assert made.counts["files"] == 1

    @pytest.mark.parametrize(
        ("fault", "family"),
        [
            (Fault.answer_status(503, path="/dl$"), Retryable),
            (Fault.reset(path="/dl$"), Retryable),
            (Fault.html(path="/dl$"), Retryable),
            (Fault.error_in_200(path="/dl$"), Retryable),
            (Fault.rate_limit(3, path="/dl$"), Throttled),
            (Fault.answer_status(401, path="/dl$", times=2), TokenRefused),
            (Fault.answer_status(503, path="/tasks$"), Retryable),
            (Fault.answer_status(503, path="/activity-feeds$"), Retryable),
        ],
    )
    def test_a_temporary_failure_leaves_no_manifest_and_the_next_attempt_succeeds(
        self, archive: Archive, fault: Fault, family: type[Retryable]
    ) -> None:
        archive.simulator.add_fault(fault)
        with pytest.raises(family):
            archive.make()
        assert f"{FOLDER}/manifest.json" not in archive.objects.bodies
        assert archive.export.verify(FOLDER) == ("There is no manifest.json.",)
        assert archive.make().complete
        assert archive.export.verify(FOLDER) == ()

    def test_files_are_read_from_where_they_are_stored(self, archive: Archive) -> None:
        archive.simulator.quirks = Quirks(files_at="https://files.tallyfy.test")
        assert archive.make().complete
        assert archive.body(f"files/{make_id('asset', 0)}") == b"the contract"

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "/etc/passwd", "a/b\\c\x00.pdf", "\ud800.pdf", "", "x" * 4000]
    )
    def test_a_file_name_never_becomes_a_path(self, archive: Archive, tmp_path: Path, name: str) -> None:
        for task in archive.simulator.organization.tasks.values():
            for file in task.assets:
                file.filename = name
        folder = FolderObjects(tmp_path / "kept")
        archive.export = Export(records=archive.export.records, objects=folder, clock=archive.clock)
        made = archive.make()
        assert made.complete
        assert {part.name for part in made.parts if part.kind == "file"} == {
            f"files/{make_id('asset', n)}" for n in range(2)
        }
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(kept) == len(made.parts) + 1
        assert all(path.is_relative_to(tmp_path / "kept" / FOLDER) for path in kept)
        assert archive.export.verify(FOLDER) == ()

    def test_a_file_without_a_valid_id_is_missing(self, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
        row = {"id": "../../runs/x", "filename": "x.pdf"}
        monkeypatch.setattr("sandbox.simulator.rows.asset_row", lambda _: row)
        assert archive.make().missing == ("files: of 1 the id is of an unknown form, so they cannot be asked for.",)

    def test_a_file_stored_elsewhere_is_a_link(self, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
        row = {
            "id": make_id("asset", 0),
            "filename": "x",
            "source": "url",
            "system": "Dropbox",
            "uploaded_to_s3": False,
        }
        monkeypatch.setattr("sandbox.simulator.rows.asset_row", lambda _: row)
        made = archive.make()
        assert (made.missing, made.counts["files"], made.counts["links"]) == ((), 0, 1)

    def test_a_file_only_mentioned_in_a_text_is_read_if_it_exists(self, archive: Archive) -> None:
        stray, gone = make_id("stray"), make_id("gone")
        link = f'<a href="https://go.tallyfy.com/api/organizations/{ORG}/file/{stray}/dl">it</a>'
        text = f"{link} /file/{gone} /file/{make_id('longer')}0"
        sown = SeedTask(id=make_id("one-off"), assets=[SeedAsset(id=stray, filename="x", content="stray bytes")])
        archive.simulator.merge(holding(tasks=[sown]))
        archive.simulator.organization.runs[ids.RUN].tasks[0].threads[0].content = text
        made = archive.make()
        assert made.missing == ()
        assert archive.body(f"files/{stray}") == b"stray bytes"
        assert made.counts["files"] == 3
        assert make_id("longer") not in {call.id for call in archive.simulator.log.calls}
        archive.simulator.add_fault(Fault.answer_status(403, path=f"{gone}/dl$"))
        assert archive.make().missing == (f"files/{gone}: Tallyfy forbids reading it (403).",)

    def test_a_file_of_the_resource_stays_its_own_even_if_a_text_mentions_it(self) -> None:
        name = make_id("asset")
        own, text = {"assets": [{"id": name, "filename": "x.pdf"}]}, {"content": f"/file/{name}"}
        for first, second in ((own, text), (text, own)):
            met, more, both = ExportContents(), ExportContents(), ExportContents()
            met.see(first)
            more.see(second)
            met.add(more)
            both.see({"first": first, "second": second})
            assert [met.files[name].ours, both.files[name].ours] == [True, True]

    def test_each_comment_of_a_thread_counts_once(self) -> None:
        met = ExportContents()
        said = [{"id": 2, "content": "x"}, {"id": 3, "content": "y"}]
        met.see({"threads": {"data": [{"id": 1, "comments": {"data": said}}, {"id": 4}]}, "comments": said[:1]})
        assert met.comments == {"2", "3", "4"}

    @pytest.mark.parametrize("key", ["checklist", "step"])
    def test_the_templates_files_do_not_belong_to_the_process(self, key: str) -> None:
        met = ExportContents()
        met.see({key: {"data": {"attachments": [{"id": make_id("asset"), "filename": "x.pdf"}]}}})
        assert met.files == {}


class TestLists:
    def test_a_list_that_changes_while_it_is_read_is_read_again(self, archive: Archive) -> None:
        growing = Growing(archive, 1)
        archive.export = exporter(growing, archive.objects, archive.clock)
        made = archive.make()
        assert made.missing == ()
        assert made.counts["activity"] == 4
        assert len(archive.lines("activity.jsonl")) == 4

    def test_a_list_that_is_never_consistent_is_reported_missing(self, archive: Archive) -> None:
        growing = Growing(archive, 99)
        archive.export = exporter(growing, archive.objects, archive.clock)
        [said] = archive.make().missing
        assert said.startswith("activity: 4 rows came of a list of 5")
        assert said.endswith("It was read 3 times.")
        assert f"{FOLDER}/activity.jsonl" not in archive.objects.bodies

    def test_a_forbidden_list_is_reported_missing(self, archive: Archive) -> None:
        archive.simulator.add_fault(Fault.answer_status(403, path="/activity-feeds$", times=-1))
        [said] = archive.make().missing
        assert said.startswith("activity: Tallyfy forbids reading")


class Growing(SimulatorStand):
    """A Tallyfy that says of the feed that it is longer than it is, so many times."""

    def __init__(self, archive: Archive, times: int) -> None:
        super().__init__(archive.simulator)
        whole = archive.simulator.handle

        def handle(call: ReceivedRequest, wait: Callable[[float], None] = time.sleep) -> Response:
            nonlocal times
            answer = whole(call, wait)
            if call.path.endswith("/activity-feeds") and times:
                times -= 1
                body: Json = json.loads(answer.body)
                body["meta"]["pagination"]["total"] += 1
                return Response(200, json.dumps(body).encode(), answer.headers)
            return answer

        archive.simulator.handle = handle  # type: ignore[method-assign] # for this one


class TestAgain:
    @pytest.mark.parametrize("step", range(7))
    def test_an_export_after_a_crash_uses_another_folder(self, archive: Archive, step: int) -> None:
        archive.objects.dies_at = step
        with pytest.raises(Crash):
            archive.make()
        assert archive.export.verify(FOLDER) == ("There is no manifest.json.",)
        archive.objects.dies_at = None
        made = archive.make(folder=f"{FOLDER}-2")
        assert made.complete
        assert archive.export.verify(f"{FOLDER}-2") == ()
        assert archive.export.verify(FOLDER) == ("There is no manifest.json.",)

    def test_a_reused_folder_does_not_read_back_correctly(self, archive: Archive) -> None:
        archive.make()
        [task] = [task for task in archive.simulator.organization.tasks.values() if task.assets]
        task.assets.pop(0)
        archive.make()
        assert archive.export.verify(FOLDER) == (f"'files/{make_id('asset', 0)}' is not in the manifest.",)


def _comment(thread: str = "later") -> Thread:
    return Thread(make_id("thread", thread), "One more thing.")


ADDITIONS: Mapping[str, Callable[[Simulator], object]] = {
    "a comment on a task": lambda simulator: simulator.organization.runs[ids.RUN].tasks[1].threads.append(_comment()),
    "a comment on the process": lambda simulator: simulator.organization.runs[ids.RUN].threads.append(_comment()),
    "a task": lambda simulator: simulator.organization.runs[ids.RUN].tasks.append(
        Task(make_id("task", 9), "More", NOW, run_id=ids.RUN)
    ),
    "a line in the feed": lambda simulator: simulator.organization.feed.append(
        FeedEntry("updated", "run", ids.RUN, 1001, NOW)
    ),
}


class TestAddedSince:
    @pytest.mark.parametrize("add", ADDITIONS.values(), ids=ADDITIONS)
    def test_counting_again_shows_additions(self, archive: Archive, add: Callable[[Simulator], object]) -> None:
        made, thing = archive.make(), archive.look()
        assert archive.export.still_holds_all(made, thing)
        add(archive.simulator)
        assert not archive.export.still_holds_all(made, thing)

    def test_counting_again_stores_nothing_and_downloads_nothing(self, archive: Archive) -> None:
        made, before = archive.make(), dict(archive.objects.bodies)
        archive.simulator.log.calls.clear()
        archive.export.still_holds_all(made, archive.look())
        assert archive.objects.bodies == before
        assert [call.action for call in archive.simulator.log.calls[1:]] == ["read", "tasks", "list"]

    @pytest.mark.parametrize("path", ["/tasks$", "/activity-feeds"])
    def test_a_part_that_became_unreadable_counts_as_an_addition(self, archive: Archive, path: str) -> None:
        made, thing = archive.make(), archive.look()
        archive.simulator.add_fault(Fault.answer_status(403, path=path, times=-1))
        assert not archive.export.still_holds_all(made, thing)

    def test_a_part_that_was_unreadable_before_is_not_an_addition(self, archive: Archive) -> None:
        archive.simulator.add_fault(Fault.answer_status(403, path="/activity-feeds", times=-1))
        made = archive.make()
        assert not made.complete
        assert archive.export.still_holds_all(made, archive.look())

    def test_counting_a_deleted_resource_is_not_found(self, archive: Archive) -> None:
        made, thing = archive.make(), archive.look()
        archive.simulator.organization.runs.clear()
        with pytest.raises(Rejected) as refusal:
            archive.export.still_holds_all(made, thing)
        assert refusal.value.code is Code.NOT_FOUND


class TestThreads:
    """Processes and templates have comments of their own."""

    OWN: ClassVar = [SeedThread(id=make_id("thread", "own", n), content=f"On the whole {n}") for n in range(2)]

    @pytest.mark.parametrize("archived_at", [None, "-40d"])
    def test_the_threads_of_a_process_are_exported_and_counted(self, archived_at: str | None) -> None:
        made = (archive := Archive(Simulator(process(threads=self.OWN, archived_at=archived_at)))).make()
        assert made.missing == ()
        assert made.counts["comments"] == 6
        [run] = archive.lines("process.json")
        assert [thread["content"] for thread in run["threads"]["data"]] == ["On the whole 0", "On the whole 1"]

    def test_counting_a_process_again_counts_its_threads(self) -> None:
        thing = Archive(Simulator(process(threads=self.OWN))).look()
        assert (thing.tasks, thing.comments) == (2, 6)

    def test_the_threads_of_a_template_are_exported_and_counted(self) -> None:
        template = SeedTemplate(id=ids.TEMPLATE, threads=self.OWN)
        archive = Archive(Simulator(holding(templates=[template])))
        made = archive.make(Resource.TEMPLATE, ids.TEMPLATE)
        assert made.counts["comments"] == 2
        thing = archive.look(Resource.TEMPLATE, ids.TEMPLATE)
        archive.simulator.organization.templates[ids.TEMPLATE].threads.append(_comment())
        assert not archive.export.still_holds_all(made, thing)

    def test_comments_are_missing_if_the_feed_reports_more(self, archive: Archive) -> None:
        archive.simulator.organization.feed.append(FeedEntry("commented", "run", ids.RUN, 1001, NOW))
        made = archive.make()
        assert made.missing == ("comments: 4 came, and the activity feed tells of 5.",)

    def test_a_comment_that_was_deleted_is_not_missing(self, archive: Archive) -> None:
        for verb in ("commented", "comment-deleted"):
            archive.simulator.organization.feed.append(FeedEntry(verb, "run", ids.RUN, 1001, NOW))
        assert archive.make().missing == ()


# What Tallyfy's reference lists for `with`, per endpoint (2026-08).
_LISTED = {
    "/runs/{id}": "checklist,tasks,tags,assets,form_fields,ko_form_fields,stages,folders,threads",
    "/runs/{id}/tasks": "step,threads,comments,assets,form_fields,activities,summary",
    "/tasks/{id}": "run,step,form_fields,tags,threads,issues,assets,folders,roles,activities,summary",
    "/tasks": "run,step,threads,assets,form_fields,tags,summary",
}


def test_an_export_only_uses_documented_requests() -> None:
    task = SeedTask(id=ids.TASK, archived_at="-1d")
    archive = Archive(Simulator(holding(runs=[SeedRun(id=ids.RUN)], tasks=[task]), clock=Clock(NOW)))
    things = archive.look(), archive.look(Resource.TASK, ids.TASK)
    archive.simulator.log.calls.clear()
    for number, thing in enumerate(things):
        archive.export.make(ORG, thing, f"{FOLDER}-{number}")
    asked = {}
    for call in archive.simulator.log.calls:
        if "with" in call.query:
            path = call.path.partition(ORG)[2].replace(ids.RUN, "{id}").replace(ids.TASK, "{id}")
            asked[path] = set(call.query["with"].split(","))
    assert {"/runs/{id}", "/runs/{id}/tasks", "/tasks/{id}"} <= set(asked)
    for path, parts in asked.items():
        assert parts <= set(_LISTED[path].split(",")), path


class TestReadingBack:
    @pytest.mark.parametrize("name", ["process.json", "tasks.jsonl", "activity.jsonl", f"files/{make_id('asset', 1)}"])
    def test_one_flipped_byte_is_found(self, archive: Archive, name: str) -> None:
        archive.make()
        body = bytearray(archive.body(name))
        body[len(body) // 2] ^= 1
        archive.objects.bodies[f"{FOLDER}/{name}"] = bytes(body)
        assert archive.export.verify(FOLDER) == (f"{name} was changed: its SHA-256 differs.",)

    def test_a_missing_or_unknown_part_is_found(self, archive: Archive) -> None:
        archive.make()
        del archive.objects.bodies[f"{FOLDER}/tasks.jsonl"]
        archive.objects.bodies[f"{FOLDER}/files/x.exe"] = b"MZ"
        assert archive.export.verify(FOLDER) == ("tasks.jsonl is missing.", "'files/x.exe' is not in the manifest.")

    def test_another_export_in_the_bucket_is_not_part_of_this_one(self, archive: Archive) -> None:
        archive.make()
        archive.make(folder=f"{FOLDER}-2")
        assert archive.export.verify(FOLDER) == ()

    @pytest.mark.parametrize("body", [b"", b"{", b'{"format": 2}'])
    def test_an_unreadable_manifest_proves_nothing(self, archive: Archive, body: bytes) -> None:
        archive.make()
        archive.objects.bodies[f"{FOLDER}/manifest.json"] = body
        [said] = archive.export.verify(FOLDER)
        assert said.startswith("manifest.json ")


class TestOthers:
    def test_a_one_off_task_is_exported_with_its_comments_files_and_feed(self) -> None:
        task = SeedTask(id=ids.TASK, threads=[SeedThread(id=make_id("thread"), content="Hm.")], assets=[asset()])
        feed = [SeedActivity(verb="uploaded", entity_type="task", entity_id=ids.TASK)]
        archive = Archive(Simulator(holding(tasks=[task], feed=feed), clock=Clock(NOW)))
        made = archive.make(Resource.TASK, ids.TASK)
        assert made.complete
        [shown] = archive.lines("task.json")
        assert shown["threads"]["data"][0]["content"] == "Hm."
        assert archive.body(f"files/{make_id('asset', 0)}") == b"bytes"
        assert [made.counts[name] for name in ("tasks", "comments", "files", "activity")] == [1, 1, 1, 1]

    def test_an_archived_task_is_found_in_its_list(self) -> None:
        task = SeedTask(id=ids.TASK, archived_at="-40d", threads=[SeedThread(id=make_id("thread"))], assets=[asset()])
        others = [SeedTask(id=make_id("other", n), archived_at="-40d") for n in range(150)]
        archive = Archive(Simulator(holding(tasks=[*others, task]), clock=Clock(NOW)))
        made = archive.make(Resource.TASK, ids.TASK)
        assert made.complete
        assert [made.counts[name] for name in ("comments", "files")] == [1, 1]

    def test_a_task_of_a_process_is_refused(self, archive: Archive) -> None:
        with pytest.raises(Rejected) as refusal:
            archive.make(Resource.TASK, make_id("task", 0))
        assert refusal.value.code is Code.PROCESS_TASK

    def test_a_tag_is_exported_with_every_resource_that_carries_it(self) -> None:
        name = ids.USED_TAG
        seed = holding(
            tags=[SeedTag(id=name, title="customers"), SeedTag(id=ids.UNUSED_TAG, title="others")],
            runs=[
                *(SeedRun(id=make_id("run", n), name=f"R{n}", tags=[name]) for n in range(130)),
                SeedRun(id=make_id("archived run"), archived_at="-40d", tags=[name]),
                SeedRun(id=make_id("stranger"), tags=[ids.UNUSED_TAG]),
            ],
            templates=[
                SeedTemplate(id=make_id("template"), tags=[name]),
                SeedTemplate(id=make_id("archived template"), archived_at="-40d", tags=[name]),
                SeedTemplate(id=make_id("another")),
            ],
            tasks=[SeedTask(id=make_id("one-off"), tags=[name]), SeedTask(id=make_id("untagged"))],
        )
        archive = Archive(Simulator(seed, clock=Clock(NOW)))
        made = archive.make(Resource.TAG, name)
        assert made.missing == ()
        [tag] = archive.lines("tag.json")
        assert tag["statistics"]["data"]["archived_template"] == 1
        carried = {line["id"] for line in archive.lines("processes.jsonl")}
        assert carried == {*(make_id("run", n) for n in range(130)), make_id("archived run")}
        templates = {line["id"] for line in archive.lines("templates.jsonl")}
        assert templates == {make_id("template"), make_id("archived template")}
        assert [line["id"] for line in archive.lines("tasks.jsonl")] == [make_id("one-off")]
        assert [made.counts[what] for what in ("processes", "templates", "tasks")] == [131, 2, 1]

    @pytest.mark.parametrize("more", [1, None])
    def test_a_tag_export_is_incomplete_if_more_resources_carry_the_tag(
        self, monkeypatch: pytest.MonkeyPatch, more: int | None
    ) -> None:
        archive = Archive(Simulator(clock=Clock(NOW)))
        whole = archive.stand.client.body

        def wider(org_id: str, path: str, query: Mapping[str, str]) -> object:
            body: Any = whole(org_id, path, query)
            if path.startswith("/tags/"):
                told = body["data"]["statistics"]["data"]
                told["active_process"] = told["active_process"] + more if more else None
            return body

        monkeypatch.setattr(archive.stand.client, "body", wider)
        [said] = archive.make(Resource.TAG, ids.USED_TAG).missing
        assert (
            said
            == f"what carries it, kind process: {'1 of 2 came' if more else 'Tallyfy does not say how many carry it'}."
        )

    def test_a_template_is_exported_with_its_processes_and_the_templates_that_name_it(self) -> None:
        name = ids.TEMPLATE
        seed = holding(
            templates=[
                SeedTemplate(id=name, title="Onboarding", steps=["Sign", "File"]),
                SeedTemplate(id=make_id("referring"), title="Sales", references=[name]),
                SeedTemplate(id=make_id("archived"), archived_at="-9d", references=[name]),
                SeedTemplate(id=make_id("stranger")),
            ],
            runs=[
                SeedRun(id=make_id("run"), checklist_id=name),
                SeedRun(id=make_id("archived run"), checklist_id=name, archived_at="-9d"),
                SeedRun(id=make_id("another run"), checklist_id=make_id("stranger")),
            ],
        )
        archive = Archive(Simulator(seed, clock=Clock(NOW)))
        made = archive.make(Resource.TEMPLATE, name)
        assert made.complete
        [template] = archive.lines("template.json")
        assert [step["title"] for step in template["steps"]["data"]] == ["Sign", "File"]
        assert {line["id"] for line in archive.lines("processes.jsonl")} == {make_id("run"), make_id("archived run")}
        assert {line["id"] for line in archive.lines("references.jsonl")} == {make_id("referring"), make_id("archived")}

    def test_a_filter_that_tallyfy_ignores_adds_nothing_to_the_export(self, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = Archive(Simulator(clock=Clock(NOW)))
        expected = archive.make(Resource.TEMPLATE, ids.TEMPLATE), archive.make(Resource.TAG, ids.USED_TAG)
        whole = archive.stand.client.body
        dropped = ("checklist_id", "tag_ids", "tag")

        def heedless(org_id: str, path: str, query: Mapping[str, str]) -> object:
            return whole(org_id, path, {name: value for name, value in query.items() if name not in dropped})

        monkeypatch.setattr(archive.stand.client, "body", heedless)
        found = archive.make(Resource.TEMPLATE, ids.TEMPLATE), archive.make(Resource.TAG, ids.USED_TAG)
        assert [made.counts["processes"] for made in found] == [made.counts["processes"] for made in expected]

    def test_an_archived_template_is_found_in_its_list_with_its_steps_or_is_incomplete(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive = Archive(Simulator(clock=Clock(NOW)))
        assert archive.make(Resource.TEMPLATE, ids.ARCHIVED_TEMPLATE).complete
        monkeypatch.setattr("lifecycle.deletion.exporter._TEMPLATE", "tags")
        assert archive.make(Resource.TEMPLATE, ids.ARCHIVED_TEMPLATE).missing == (
            "template: its steps did not come. Tallyfy may hide them of an archived template.",
        )

    def test_an_answer_about_another_resource_is_not_stored(self) -> None:
        canned = CannedStand(answered(200, {"data": {"id": make_id("another")}}))
        assert isinstance(canned.transport, Canned)
        thing = SimulatorStand().client.look(ORG, Resource.RUN, ids.RUN)
        assert thing is not None
        objects = MemoryObjects()
        with pytest.raises(Retryable, match="another resource"):
            exporter(canned, objects, Clock(NOW)).make(ORG, thing, FOLDER)
        assert objects.bodies == {}

    def test_a_lone_surrogate_stops_no_export(self, archive: Archive) -> None:
        archive.simulator.organization.runs[ids.RUN].name = "half \ud83d"
        archive.simulator.organization.runs[ids.RUN].tasks[0].threads[0].content = "half \ud83d"
        made = archive.make()
        assert made.complete
        assert made.name == "half ?"
        assert archive.lines("process.json")[0]["name"] == "half \ud83d"
        assert archive.lines("tasks.jsonl")[0]["threads"]["data"][0]["content"] == "half \ud83d"


class TestErasing:
    def test_an_erasure_removes_the_contents_and_leaves_a_tombstone(self, archive: Archive) -> None:
        made = archive.make()
        archive.make(folder=f"{FOLDER}-2")
        stone = erase(archive.objects, FOLDER, by="ada", at=NOW + timedelta(days=1), reason="asked for")
        assert [key for key in archive.objects.bodies if not key.startswith(f"{FOLDER}-2")] == [
            f"{FOLDER}/manifest.json"
        ]
        assert Manifest.parse(archive.body("manifest.json")) == stone
        assert stone.parts == made.parts
        assert stone.erased is not None
        assert (stone.erased.by, stone.erased.reason) == ("ada", "asked for")
        assert b"Onboard" not in archive.body("manifest.json")
        assert archive.export.verify(FOLDER) == ("Its contents were erased on 2026-06-02 by ada: asked for",)
        assert archive.export.verify(f"{FOLDER}-2") == ()

    def test_an_interrupted_erasure_continues_and_names_the_first_person(self, archive: Archive) -> None:
        archive.make()
        archive.objects.dies_at = 0  # When it writes the tombstone: the parts are gone already.
        with pytest.raises(Crash):
            erase(archive.objects, FOLDER, by="ada", at=NOW, reason="asked for")
        assert any("is missing" in said for said in archive.export.verify(FOLDER))
        archive.objects.dies_at = None
        erase(archive.objects, FOLDER, by="ada", at=NOW, reason="asked for")
        again = erase(archive.objects, FOLDER, by="bob", at=NOW + timedelta(days=9), reason="once more")
        assert again.erased is not None
        assert again.erased.by == "ada"

    def test_an_unfinished_export_can_be_erased(self, archive: Archive) -> None:
        archive.objects.dies_at = 4
        with pytest.raises(Crash):
            archive.make()
        archive.objects.dies_at = None
        stone = erase(archive.objects, FOLDER, by="ada", at=NOW, reason="asked for")
        assert (stone.id, stone.parts, stone.complete) == (ids.RUN, (), False)
        assert list(archive.objects.bodies) == [f"{FOLDER}/manifest.json"]

    @pytest.mark.parametrize(
        "folder",
        [
            *(
                "",
                "/",
                "exports",
                "plans",
                f"exports/{ORG}",
                f"plans/{ORG}/run/{ids.RUN}/x",
                f"{FOLDER}/",
                f"{FOLDER}/x",
            ),
            *(f"exports/{ORG}/run/../x", f"exports/{ORG}/run/{ids.RUN}/..", f"exports/{ORG}/run/{ids.RUN}/"),
        ],
    )
    def test_only_the_folder_of_one_export_can_be_erased(self, archive: Archive, folder: str) -> None:
        archive.make()
        before = dict(archive.objects.bodies)
        with pytest.raises(Rejected):
            erase(archive.objects, folder, by="ada", at=NOW, reason="asked for")
        assert archive.objects.bodies == before

    def test_erasing_a_missing_export_is_refused(self) -> None:
        with pytest.raises(Rejected) as refusal:
            erase(MemoryObjects(), FOLDER, by="ada", at=NOW, reason="asked for")
        assert refusal.value.code is Code.NOT_FOUND


MEASURED = """
import json, re, resource, sys, time
from datetime import UTC, datetime
from pathlib import Path
from lifecycle.aws.s3 import FolderObjects
from lifecycle.tallyfy.export_reader import HttpRecords
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.tallyfy.client import HttpTallyfy, Tokens, pooled_session
from lifecycle.deletion.exporter import Export
from lifecycle.domain.capabilities import Resource
url, org, run, token, root, folder = sys.argv[1:]
def peak():  # Linux hands ru_maxrss on from the process that started this one.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
idle = peak()
session, tokens = pooled_session(), Tokens(MemorySecrets({f"x/tokens/{org}": token}), "x", frozenset({org}))
forever = lambda: 900.0
tallyfy = HttpTallyfy(
    session, url, tokens, capabilities=frozenset(), spend=lambda _: None, time_left=forever
)
records = HttpRecords(tallyfy, session, time_left=forever)
export = Export(records=records, objects=FolderObjects(Path(root)), clock=lambda: datetime.now(UTC))
thing = tallyfy.look(org, Resource.RUN, run)
start = time.monotonic()
made = export.make(org, thing, folder)
written = time.monotonic()
wrong = export.verify(folder)
print(json.dumps({
    "idle": idle, "rss": peak(), "make": written - start,
    "verify": time.monotonic() - written, "counts": made.counts, "missing": made.missing, "wrong": wrong,
}))
"""


@pytest.fixture
def long_running() -> Iterator[SimulatorServer]:
    seed = long_run(500, 2000, 3, size=100 * 1024**2, archived_at="-40d", status="complete")
    with SimulatorServer(Simulator(seed)) as server:
        yield server


def test_a_process_of_300_mb_is_never_whole_in_memory(long_running: SimulatorServer, tmp_path: Path) -> None:
    program = [
        sys.executable,
        "-c",
        MEASURED,
        long_running.base_url,
        ORG,
        ids.RUN,
        DEFAULT_TOKEN,
        str(tmp_path),
        FOLDER,
    ]
    child = subprocess.run(program, capture_output=True, text=True, check=True)
    told = json.loads(child.stdout)
    megabytes = 1024**2
    print(
        f"\n500 tasks, 2,000 comments, 3 files of 100 MB: {told['counts']['bytes'] / 1024**2:.1f} MB in "
        f"{told['make']:.1f} s, read back in {told['verify']:.1f} s, {told['rss'] / megabytes:.0f} MB RSS at most "
        f"({told['idle'] / megabytes:.0f} MB before the first call)"
    )
    assert told["missing"] == told["wrong"] == []
    assert [told["counts"][what] for what in ("tasks", "comments", "files")] == [500, 2000, 3]
    assert told["rss"] / megabytes < 512
    flip(tmp_path / FOLDER / "files" / make_id("asset", 1), 50 * 1024**2)
    _, wrong = verify(FolderObjects(tmp_path), FOLDER, scratch=tmp_path)
    assert wrong == (f"files/{make_id('asset', 1)} was changed: its SHA-256 differs.",)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
