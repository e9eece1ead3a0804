"""A permanent delete happens only when everything holds: each condition missing alone, and none of them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import override

import pytest

from lifecycle.approvals.people import People
from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.aws.dynamodb import Key, MemoryTable, Row
from lifecycle.aws.metrics import Metric
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.deletion.export_readback import verify
from lifecycle.deletion.exporter import folder_of
from lifecycle.deletion.manifest import FILE_NAME, Manifest
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.holds.store import HoldKind
from lifecycle.policy.policy import Policy
from sandbox.simulator import Fault, Quirks
from sandbox.simulator.world import Asset, FeedEntry, Run, Task, Thread
from tests.harness.builders import ID_KEY, NOW, ORG, Clock, with_approvals
from tests.harness.fault_injection import ANY_STEP, FaultInjector, Harm, When
from tests.harness.purge_run import PurgeRun, operate
from tests.harness.world import PEOPLE, World

RUN, TAG, TEMPLATE, OTHER_TEMPLATE, OTHER_ORG = "a1" * 16, "b1" * 16, "c1" * 16, "c2" * 16, "e0" * 16
OWNER = 1001
HOLD_TAG = "b2" * 16
DAY = timedelta(days=1)
TWO = PEOPLE + "\n[approvals]\nsingle = 2\n"
POLICY = """
zone = "UTC"
hold_tags = ["keep"]
[[rules]]
name = "long-archived"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 31
"""


def purge_run_of(world: World | None = None, *, days: int = 40) -> PurgeRun:
    """One process with tasks, comments and a file, archived so many days ago."""
    world = world or World()
    world.policy = Policy.parse(POLICY)
    organization = world.simulator.organization
    world.add(Resource.TEMPLATE, TEMPLATE)
    world.add(Resource.TAG, TAG)
    world.add(Resource.TAG, HOLD_TAG)
    organization.tags[HOLD_TAG].title = "keep"
    created = world.clock() - timedelta(days=900)
    tasks = [
        Task(f"{number:032x}", f"Task {number}", created, run_id=RUN, threads=[Thread(f"{number + 50:032x}", "Done.")])
        for number in (1, 2)
    ]
    tasks[0].assets.append(Asset("f1" * 16, "contract.txt", "the signed contract"))
    run = Run(RUN, "Onboard Acme", created, created, checklist_id=TEMPLATE, owner_id=OWNER, tasks=tasks)
    organization.feed.append(FeedEntry("commented", "run", RUN, OWNER, created))
    run.archive(world.clock() - timedelta(days=days))
    organization.add_run(run)
    return PurgeRun(world)


def run_of(purging: PurgeRun) -> Run:
    return purging.world.simulator.organization.runs[RUN]


def folder(purging: PurgeRun, command: Command) -> str:
    """Where the export lies that the ledger names."""
    return str(json.loads(purging.world.intent(command.intent_id).evidence)["export"])


def folders(purging: PurgeRun, command: Command) -> list[str]:
    """Every folder that was begun for a command, the oldest first."""
    prefix = folder_of(ORG, command.resource, command.thing_id, command.intent_id)
    return sorted({"/".join(key.split("/")[:5]) for key in purging.world.objects.keys(prefix)})


def letter(purging: PurgeRun, command: Command) -> str:
    """The code of its only dead letter."""
    [found] = purging.world.letters(command.intent_id)
    return found["code"]


# --- with all of them -------------------------------------------------------------------------------------------------


def test_a_delete_with_every_condition_met_happens_once_and_its_export_is_verified() -> None:
    purging = purge_run_of()
    seen: list[tuple[Manifest | None, tuple[str, ...]]] = []
    command = purging.ask(Resource.RUN, RUN)
    purging.world.before_write = lambda _: seen.append(verify(purging.world.objects, folder(purging, command)))
    purging.work()
    assert purging.deletes(RUN) == []
    purging.approve(command)
    assert len(purging.deletes(RUN)) == 1
    assert purging.world.state(Resource.RUN, RUN) is State.GONE
    [(manifest, wrong)] = seen
    assert manifest is not None
    assert (manifest.complete, wrong, manifest.counts["tasks"], manifest.counts["files"]) == (True, (), 2, 1)
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.code, row.requested_by) == (Status.DONE, Code.ACTED, "Ada")
    assert json.loads(row.evidence) == {"export": folder(purging, command), "manifest": manifest.digest}
    assert purging.world.announced(command.intent_id) == ["done"]
    assert purging.world.depth == (0, 0)


def test_a_repeated_message_or_button_press_does_nothing_more() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    purging.world.purge_queue.send(command.to_json())
    purging.world.purge_queue.send(command.to_json(), {"redrive": "3"})
    purging.work()
    purging.approve(command)
    purging.advance(timedelta(days=30))
    assert len(purging.deletes(RUN)) == 1
    assert purging.world.announced(command.intent_id) == ["done"]
    again = purging.ask(Resource.RUN, RUN)
    purging.work()
    assert purging.world.intent(again.intent_id).code == Code.NOTHING_TO_DO
    assert len(purging.deletes(RUN)) == 1


@pytest.mark.parametrize("resource", list(Resource))
def test_every_kind_of_resource_needs_the_same_conditions(resource: Resource) -> None:
    purging = purge_run_of()
    purging.world.add(resource, "d1" * 16, archived_days=40 if resource is not Resource.TAG else None)
    command = purging.ask(resource, "d1" * 16)
    purging.work()
    assert purging.world.intent(command.intent_id).code == Code.AWAITING_APPROVAL
    purging.approve(command)
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.DONE, Code.ACTED), row.reason
    assert len(purging.deletes("d1" * 16)) == 1
    assert verify(purging.world.objects, folder(purging, command))[1] == ()


def test_a_recently_archived_resource_is_approved_first_and_deleted_when_old_enough() -> None:
    purging = purge_run_of(days=10)
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    assert purging.world.intent(command.intent_id).code == Code.IN_GRACE
    purging.advance(20 * DAY - timedelta(seconds=10))
    assert purging.deletes(RUN) == []
    purging.advance(timedelta(seconds=10))
    assert len(purging.deletes(RUN)) == 1
    assert purging.world.intent(command.intent_id).status is Status.DONE


# --- one of them missing ----------------------------------------------------------------------------------------------


@dataclass
class BlindRows(MemoryTable):
    """A table that cannot tell what is on hold."""

    blind: bool = True

    @override
    def read(self, *keys: Key) -> list[Row | None]:
        if self.blind and any(key.pk.startswith("holds#") for key in keys):
            raise Retryable(Code.UNAVAILABLE, "The holds could not be read (made up).")
        return super().read(*keys)

    @override
    def partition(self, pk: str) -> dict[str, Row]:
        return {} if pk.startswith("holds#") else super().partition(pk)


@dataclass
class Flipping(MemoryObjects):
    """A bucket that keeps one byte of some object wrong."""

    ending: str = ""

    @override
    def put(self, key: str, body: bytes, *, kind: str) -> None:
        changed = bytes([body[0], body[1] ^ 1, *body[2:]]) if key.endswith(self.ending) else body
        super().put(key, changed, kind=kind)


@dataclass
class Recounting(MemoryObjects):
    """A bucket in which a manifest says another number than was written, and is well-formed nevertheless."""

    @override
    def put(self, key: str, body: bytes, *, kind: str) -> None:
        super().put(key, body.replace(b'"tasks":2', b'"tasks":3'), kind=kind)


@dataclass
class Acting(MemoryObjects):
    """A bucket during whose first write something happens elsewhere."""

    meanwhile: Callable[[], object] = lambda: None
    acted: bool = False

    @override
    def put(self, key: str, body: bytes, *, kind: str) -> None:
        super().put(key, body, kind=kind)
        if not self.acted:
            self.acted = True
            self.meanwhile()


type Outcome = tuple[str, str]
"""The code under which it stands, or with which somebody was turned away, and the reason."""


def stands(purging: PurgeRun, command: Command) -> Outcome:
    row = purging.world.intent(command.intent_id)
    return row.code, row.reason


def asked(purging: PurgeRun, **more: object) -> Command:
    command = purging.ask(Resource.RUN, RUN, **more)
    purging.work()
    return command


def approved(purging: PurgeRun, **more: object) -> Outcome:
    """All but what is missing already: it is asked for and approved."""
    command = asked(purging, **more)
    if purging.world.approvals.newest(ORG, command.intent_id) is not None:
        purging.approve(command)
    return stands(purging, command)


def turned_away(purging: PurgeRun, command: Command, who: str) -> Outcome:
    with pytest.raises(Rejected) as refused:
        purging.approve(command, who)
    assert stands(purging, command)[0] == Code.AWAITING_APPROVAL
    return refused.value.code, refused.value.reason


def held(kind: HoldKind, name: str) -> Callable[[PurgeRun], Outcome]:
    def attempt(purging: PurgeRun) -> Outcome:
        purging.world.holds.add(ORG, kind, name, reason="the auditors", by="Grace")
        return approved(purging)

    return attempt


def by_hold_tag(purging: PurgeRun) -> Outcome:
    run_of(purging).tags.add(HOLD_TAG)
    return approved(purging)


def no_right(purging: PurgeRun) -> Outcome:
    return approved(purging, source="automation")


def not_archived(purging: PurgeRun) -> Outcome:
    run_of(purging).restore(purging.world.clock())
    return approved(purging)


def too_short(purging: PurgeRun) -> Outcome:
    run_of(purging).archived_at = purging.world.clock() - 29 * DAY
    return approved(purging)


def too_short_for_its_end(purging: PurgeRun) -> Outcome:
    run_of(purging).archived_at = purging.world.clock() - 10 * DAY
    return approved(purging, not_after=purging.world.clock() + 15 * DAY)


def archived_some_day(purging: PurgeRun) -> Outcome:
    run_of(purging).archived_at = None
    return approved(purging)


def archived_tomorrow(purging: PurgeRun) -> Outcome:
    run_of(purging).archived_at = purging.world.clock() + DAY
    return approved(purging)


def never_approved(purging: PurgeRun) -> Outcome:
    return stands(purging, asked(purging))


def by_its_asker(name: str) -> Callable[[PurgeRun], Outcome]:
    def attempt(purging: PurgeRun) -> Outcome:
        return turned_away(purging, asked(purging, requested_by=name), "ada")

    return attempt


def without_the_right(purging: PurgeRun) -> Outcome:
    return turned_away(purging, asked(purging), "dan")


def from_elsewhere(purging: PurgeRun) -> Outcome:
    return turned_away(purging, asked(purging), "eve")


def by_nobody_known(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    arn = "arn:aws:iam::123456789012:user/mallory"
    with pytest.raises(Rejected) as refused:
        operate(purging.world.operating(), "POST /approvals/{hash}/approve", arn, hash=purging.wanted(command).hash)
    purging.work()
    return refused.value.code, refused.value.reason


def by_too_few(purging: PurgeRun) -> Outcome:
    purging.world.people = People.parse(TWO)
    command = asked(purging)
    purging.approve(command)
    purging.approve(command)
    purging.world.purge_queue.send(command.to_json())
    purging.work()
    return stands(purging, command)


def refused(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    purging.reject(command, "bob", "The customer came back.")
    with pytest.raises(Rejected, match="rejected already"):
        purging.approve(command, "cleo")
    return stands(purging, command)


def approval_expired(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    purging.advance(timedelta(hours=73))
    with pytest.raises(Rejected, match="expired already"):
        purging.approve(command)
    return stands(purging, command)


def changed_before(purging: PurgeRun) -> Outcome:
    """It is asked again under a new hash, and what was said of the old one does not count."""
    command = asked(purging)
    before = purging.wanted(command).hash
    run_of(purging).name = "Onboard Ajax"
    purging.world.purge_queue.send(command.to_json())
    purging.work()
    assert purging.wanted(command).hash != before
    with pytest.raises(Rejected) as said:
        purging.press("approve", before, "bob")
    purging.work()
    assert stands(purging, command)[0] == Code.AWAITING_APPROVAL
    return said.value.code, said.value.reason


def changed_after(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    purging.press("approve", purging.wanted(command).hash, "bob")
    run_of(purging).name = "Onboard Ajax"
    purging.work()
    return stands(purging, command)


def in_grace(purging: PurgeRun) -> Command:
    run_of(purging).archived_at = purging.world.clock() - 10 * DAY
    command = asked(purging)
    purging.approve(command)
    assert stands(purging, command)[0] == Code.IN_GRACE
    return command


def restored_by_hand(purging: PurgeRun) -> Outcome:
    command = in_grace(purging)
    purging.advance(3 * DAY)
    run_of(purging).restore(purging.world.clock())
    purging.advance(30 * DAY)
    return stands(purging, command)


def restored_by_us(purging: PurgeRun) -> Outcome:
    command = in_grace(purging)
    purging.advance(3 * DAY)
    purging.world.send(purging.world.command(Resource.RUN, RUN, Action.RESTORE, "oops"))
    purging.world.drain(purging.world.process())
    run_of(purging).archive(purging.world.clock() - 40 * DAY)  # and back as if nothing had been
    purging.advance(30 * DAY)
    return stands(purging, command)


def archived_again(purging: PurgeRun) -> Outcome:
    command = in_grace(purging)
    purging.advance(4 * DAY)
    run_of(purging).restore(purging.world.clock())
    purging.advance(DAY)
    run_of(purging).archive(purging.world.clock())
    purging.advance(50 * DAY)
    return stands(purging, command)


def held_in_grace(purging: PurgeRun) -> Outcome:
    command = in_grace(purging)
    purging.world.holds.add(ORG, Resource.RUN, RUN, reason="a late claim", by="Grace")
    purging.advance(30 * DAY)
    return stands(purging, command)


def held_during_the_export(purging: PurgeRun) -> Outcome:
    hold = purging.world.holds.add
    during = lambda: hold(ORG, Resource.RUN, RUN, reason="a claim of this minute", by="Grace")  # noqa: E731
    purging.world.objects = Acting(meanwhile=during)
    return approved(purging)


def changed_during_the_export(purging: PurgeRun) -> Outcome:
    purging.world.objects = Acting(meanwhile=lambda: setattr(run_of(purging), "name", "Onboard Ajax"))
    return approved(purging)


def restored_during_the_export(purging: PurgeRun) -> Outcome:
    purging.world.objects = Acting(meanwhile=lambda: run_of(purging).restore(purging.world.clock()))
    return approved(purging)


def a_file_that_is_forbidden(purging: PurgeRun) -> Outcome:
    purging.world.simulator.add_fault(Fault.answer_status(403, path="/file/", times=-1))
    return approved(purging)


def fewer_tasks_than_said(purging: PurgeRun) -> Outcome:
    purging.world.simulator.quirks = Quirks(archived_parts="hidden")
    run_of(purging).tasks[0].assets.clear()
    return approved(purging)


def no_feed(purging: PurgeRun) -> Outcome:
    purging.world.simulator.add_fault(Fault.answer_status(403, path="/activity-feeds", times=-1))
    return approved(purging)


def a_flipped_byte(ending: str) -> Callable[[PurgeRun], Outcome]:
    def attempt(purging: PurgeRun) -> Outcome:
        purging.world.objects = Flipping(ending=ending)
        return approved(purging)

    return attempt


def another_manifest(purging: PurgeRun) -> Outcome:
    purging.world.objects = Recounting()
    return approved(purging)


def no_bucket(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.fuse = FaultInjector("put", harm="outage")
    purging.deliver()
    assert purging.world.purge_queue.depth() == 1, "it is tried again"
    return stands(purging, command)


def paused(purging: PurgeRun) -> Outcome:
    command = asked(purging)
    purging.world.pacing.pause(ORG, by="Grace")
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    [(_, note)] = [note for note in purging.world.metrics.notes if note[0] is Metric.PAUSED]
    assert purging.world.purge_queue.depth() == 1
    return str(note["code"]), str(note["reason"])


def expired(purging: PurgeRun) -> Outcome:
    command = asked(purging, not_after=purging.world.clock() + timedelta(hours=10))
    purging.advance(timedelta(hours=11))
    purging.approve(command)
    return stands(purging, command)


def holds_unreadable(purging: PurgeRun) -> Outcome:
    command = purging.ask(Resource.RUN, RUN)
    purging.deliver()
    assert purging.world.purge_queue.depth() == 1, "it is tried again"
    return stands(purging, command)


def in_use(purging: PurgeRun) -> Outcome:
    run_of(purging).tags.add(TAG)
    command = purging.ask(Resource.TAG, TAG)
    purging.work()
    return stands(purging, command)


def unknown_thing(purging: PurgeRun) -> Outcome:
    del purging.world.simulator.organization.runs[RUN]
    return approved(purging)


PLAN = "7" * 64


def planned(purging: PurgeRun, *, approvers: tuple[str, ...] = ("bob", "cleo"), **more: object) -> ApprovalRequest:
    """A plan that is put before people."""
    request = replace(
        ApprovalRequest(
            hash=PLAN,
            about="plan",
            org_id=ORG,
            subject=PLAN,
            asked_by="ada",
            asked_at=millis(NOW),
            deadline=millis(NOW + 3 * DAY),
            needed=2,
            shown="{}",
            message="{}",
            capabilities=("run.delete",),
        ),
        **more,  # type: ignore[arg-type]
    )
    return with_approvals(purging.world.approvals, request, approvers)


def by_plan(purging: PurgeRun, *, name: str | None = None, **more: object) -> Outcome:
    """A delete that says that a plan asks for it."""
    command = purging.ask(
        Resource.RUN,
        RUN,
        **{
            "source": "plan",
            "plan": PLAN,
            "intent_id": intent_id(ID_KEY, "sweep", name or f"{PLAN}/run.delete/{RUN}"),
            **more,
        },
    )
    purging.work()
    return stands(purging, command)


def forged_without_a_plan(purging: PurgeRun) -> Outcome:
    planned(purging)
    return by_plan(purging, plan=None)


def forged_with_another_plan(purging: PurgeRun) -> Outcome:
    planned(purging)
    return by_plan(purging, plan="8" * 64, name=f"{'8' * 64}/run.delete/{RUN}")


def of_a_plan_that_one_approved(purging: PurgeRun) -> Outcome:
    planned(purging, approvers=("bob",))
    return by_plan(purging)


def of_a_plan_that_was_refused(purging: PurgeRun) -> Outcome:
    planned(purging, rejected_by="cleo", why="Not this year.")
    return by_plan(purging)


def of_a_plan_that_deletes_other_kinds(purging: PurgeRun) -> Outcome:
    planned(purging, capabilities=("tag.delete",))
    return by_plan(purging)


def not_in_the_plan(purging: PurgeRun) -> Outcome:
    """Only we can make the name of what is in a plan."""
    planned(purging)
    return by_plan(purging, intent_id=intent_id(b"a guess", "sweep", f"{PLAN}/run.delete/{RUN}"))


def under_the_name_of_another(purging: PurgeRun) -> Outcome:
    planned(purging)
    return by_plan(purging, name=f"{PLAN}/run.delete/{'a2' * 16}")


def archived_by_the_plan(purging: PurgeRun) -> Outcome:
    """The name of its archive is known to whoever heard of it, and opens nothing."""
    planned(purging)
    return by_plan(purging, name=f"{PLAN}/run/{RUN}")


def of_another_organization_s_plan(purging: PurgeRun) -> Outcome:
    planned(purging, org_id=OTHER_ORG)
    return by_plan(purging)


def approved_as_another_plan(purging: PurgeRun) -> Outcome:
    planned(purging, subject="8" * 64)
    return by_plan(purging)


def of_a_command_s_approval(purging: PurgeRun) -> Outcome:
    planned(purging, about="command")
    return by_plan(purging)


def no_rule_for_it(purging: PurgeRun) -> Outcome:
    planned(purging)
    purging.world.policy = None
    return by_plan(purging)


NO_PART_OF_A_PLAN = "no part of an approved plan"
AWAITING = "nobody said yes"
OWN = "asked for by who approves"
NOT_THEIRS = "not this person's to approve"
FEW = "a plan needs more"

# What is missing → the attempt, and the code that says so. Attempts with the same name lack the same thing.
ATTEMPTS: list[tuple[str, Callable[[PurgeRun], Outcome], Code]] = [
    ("the source's right", no_right, Code.RIGHT_MISSING),
    ("the policy's right", no_rule_for_it, Code.RIGHT_MISSING),
    ("held by its id", held(Resource.RUN, RUN), Code.HELD),
    ("held by its template", held(Resource.TEMPLATE, TEMPLATE), Code.HELD),
    ("held by its owner", held("owner", str(OWNER)), Code.HELD),
    ("held by a tag", by_hold_tag, Code.HELD),
    ("holds unreadable", holds_unreadable, Code.UNAVAILABLE),
    ("not archived", not_archived, Code.NOT_ARCHIVED),
    ("archived too short", too_short, Code.IN_GRACE),
    ("archived too short for its end", too_short_for_its_end, Code.TOO_YOUNG),
    ("archived at no known time", archived_some_day, Code.AGE_UNKNOWN),
    ("archived at no known time", archived_tomorrow, Code.AGE_UNKNOWN),
    (AWAITING, never_approved, Code.AWAITING_APPROVAL),
    (OWN, by_its_asker("Ada"), Code.OWN_REQUEST),
    (OWN, by_its_asker("arn:aws:iam::123456789012:user/ada"), Code.OWN_REQUEST),
    (OWN, by_its_asker("T012ABCDE/U034FGHIJ"), Code.OWN_REQUEST),
    (OWN, by_its_asker("U034FGHIJ"), Code.OWN_REQUEST),
    (OWN, by_its_asker("<@U034FGHIJ|ada>"), Code.OWN_REQUEST),
    (NOT_THEIRS, without_the_right, Code.UNKNOWN_APPROVAL),
    (NOT_THEIRS, from_elsewhere, Code.UNKNOWN_APPROVAL),
    ("approved by a stranger", by_nobody_known, Code.RIGHT_MISSING),
    ("too few", by_too_few, Code.AWAITING_APPROVAL),
    ("refused", refused, Code.NOT_APPROVED),
    ("approval expired", approval_expired, Code.APPROVAL_EXPIRED),
    ("changed before it was approved", changed_before, Code.UNKNOWN_APPROVAL),
    ("changed after it was approved", changed_after, Code.CHANGED),
    ("restored in grace", restored_by_hand, Code.NOT_ARCHIVED),
    ("restored in grace through us", restored_by_us, Code.RESTORED),
    ("restored and archived again", archived_again, Code.CHANGED),
    ("held in grace", held_in_grace, Code.HELD),
    ("held during the export", held_during_the_export, Code.HELD),
    ("changed during the export", changed_during_the_export, Code.CHANGED),
    ("restored in grace", restored_during_the_export, Code.NOT_ARCHIVED),
    ("a file is missing", a_file_that_is_forbidden, Code.EXPORT_INCOMPLETE),
    ("tasks are missing", fewer_tasks_than_said, Code.EXPORT_INCOMPLETE),
    ("the feed is missing", no_feed, Code.EXPORT_INCOMPLETE),
    ("a byte of a document", a_flipped_byte("process.json"), Code.EXPORT_DIFFERS),
    ("a byte of a file", a_flipped_byte("f1" * 16), Code.EXPORT_DIFFERS),
    ("a byte of the manifest", a_flipped_byte(FILE_NAME), Code.EXPORT_DIFFERS),
    ("another manifest", another_manifest, Code.EXPORT_DIFFERS),
    ("no bucket", no_bucket, Code.UNAVAILABLE),
    ("paused", paused, Code.PAUSED),
    ("expired", expired, Code.EXPIRED),
    ("a tag in use", in_use, Code.IN_USE),
    ("no such thing", unknown_thing, Code.NOT_FOUND),
    (NO_PART_OF_A_PLAN, forged_without_a_plan, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, forged_with_another_plan, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, not_in_the_plan, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, under_the_name_of_another, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, archived_by_the_plan, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, of_another_organization_s_plan, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, of_a_command_s_approval, Code.NOT_APPROVED),
    (NO_PART_OF_A_PLAN, approved_as_another_plan, Code.NOT_APPROVED),
    (FEW, of_a_plan_that_one_approved, Code.NOT_APPROVED),
    (FEW, of_a_plan_that_deletes_other_kinds, Code.NOT_APPROVED),
    ("the plan was refused", of_a_plan_that_was_refused, Code.NOT_APPROVED),
]


def attempt_at(attempt: Callable[[PurgeRun], Outcome]) -> tuple[PurgeRun, Outcome]:
    purging = purge_run_of(World(rows=BlindRows()) if attempt is holds_unreadable else None)
    return purging, attempt(purging)


@pytest.mark.parametrize(
    ("attempt", "code"),
    [pytest.param(attempt, code, id=f"{missing}-{number}") for number, (missing, attempt, code) in enumerate(ATTEMPTS)],
)
def test_nothing_is_deleted_if_one_condition_is_missing(attempt: Callable[[PurgeRun], Outcome], code: Code) -> None:
    purging, outcome = attempt_at(attempt)
    assert outcome[0] == code, outcome
    assert outcome[1]
    deletes = [call for call in purging.world.writes() if call.action == "delete"]
    assert deletes == [], "a call to delete was made"
    assert purging.world.simulator.organization.gone == set()


def test_each_missing_condition_has_its_own_reason() -> None:
    said: dict[str, set[Outcome]] = {}
    for missing, attempt, _ in ATTEMPTS:
        code, reason = attempt_at(attempt)[1]
        # Ids, hashes and days would make any two sentences different.
        plain = re.sub(r"[0-9a-f]{32,}|\d{4}-\d\d-\d\d \d\d:\d\d\+00:00|int_\w+", "…", reason)
        said.setdefault(missing, set()).add((code, plain))
    assert {missing for missing, reasons in said.items() if len(reasons) > 1} <= {"not archived"}
    flat = [reason for reasons in said.values() for reason in reasons]
    assert len(set(flat)) == len(flat), sorted(flat)
    assert len(said) >= 35


@pytest.mark.parametrize("attempt", [refused, approval_expired])
def test_a_decision_against_a_delete_is_announced_without_a_dead_letter(attempt: Callable[[PurgeRun], Outcome]) -> None:
    purging, _ = attempt_at(attempt)
    assert not purging.world.dead_letters.entries
    told = [detail for name, detail in purging.world.bus.announced if name == "lifecycle.command.rejected"]
    assert [detail["dead_lettered"] for detail in told] == [False]


@pytest.mark.parametrize("attempt", [changed_after, restored_by_hand, a_file_that_is_forbidden])
def test_a_delete_that_can_never_happen_is_dead_lettered(attempt: Callable[[PurgeRun], Outcome]) -> None:
    purging, (code, reason) = attempt_at(attempt)
    [found] = [entry.message.attributes for entry in purging.world.dead_letters.entries.values()]
    assert (found["code"], found["reason"]) == (code, reason)
    assert purging.world.announced(found["intent_id"]) == ["rejected"]


@pytest.mark.parametrize("attempt", [no_bucket, paused, holds_unreadable])
def test_a_delete_that_only_waits_happens_when_the_condition_holds(attempt: Callable[[PurgeRun], Outcome]) -> None:
    purging, _ = attempt_at(attempt)
    rows = purging.world.rows
    if isinstance(rows, BlindRows):
        rows.blind = False
    purging.world.pacing.resume(ORG)
    purging.work()
    if attempt is holds_unreadable:
        [request] = purging.world.approvals.open(ORG)
        purging.press("approve", request.hash, "bob")
        purging.work()
    assert len(purging.deletes(RUN)) == 1


def test_a_redriven_delete_still_needs_the_missing_condition() -> None:
    purging = purge_run_of()
    command = asked(purging)
    purging.reject(command)
    for _ in range(3):
        for found in purging.world.dead_letters.receive(10):
            purging.world.purge_queue.send(found.body, {"redrive": str(found.redrive + 1)})
            purging.world.dead_letters.delete(found)
        purging.work()
        assert stands(purging, command)[0] == Code.NOT_APPROVED
    assert purging.deletes(RUN) == []


# --- what it waits for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["ask", "schedule", "announce", "release"])
def test_a_request_cut_off_while_asking_is_still_announced_and_still_expires(point: str, when: When) -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.fuse = FaultInjector(point, when)
    purging.deliver()
    assert purging.world.purge_queue.depth() == 1
    purging.work()
    assert [name for name, _ in purging.world.bus.announced][:1] == ["lifecycle.approval.asked"]
    purging.advance(timedelta(hours=73))
    assert stands(purging, command)[0] == Code.APPROVAL_EXPIRED
    assert purging.world.letters(command.intent_id) == []
    assert purging.world.announced(command.intent_id) == ["rejected"]


def told_approvers(purging: PurgeRun) -> list[str]:
    return [name for name, _ in purging.world.bus.announced if name.startswith("lifecycle.approval.")]


def test_approvers_are_asked_reminded_at_half_time_and_informed_of_the_expiry() -> None:
    purging = purge_run_of()
    command = asked(purging)
    assert told_approvers(purging) == ["lifecycle.approval.asked"]
    purging.advance(timedelta(hours=35))
    assert told_approvers(purging) == ["lifecycle.approval.asked"]
    purging.advance(timedelta(hours=2))
    assert told_approvers(purging)[1:] == ["lifecycle.approval.reminded"]
    purging.advance(timedelta(hours=36))
    assert told_approvers(purging)[2:] == ["lifecycle.approval.expired"]
    assert stands(purging, command)[0] == Code.APPROVAL_EXPIRED
    purging.advance(timedelta(hours=100))
    assert len(told_approvers(purging)) == 3


def test_nobody_is_reminded_of_a_decided_request() -> None:
    purging = purge_run_of()
    approved(purging)
    purging.advance(timedelta(hours=100))
    assert told_approvers(purging) == ["lifecycle.approval.asked"]


def test_a_reminder_says_how_many_approvals_are_missing() -> None:
    purging = purge_run_of(World(people=People.parse(TWO)))
    command = asked(purging)
    purging.approve(command)
    purging.advance(timedelta(hours=37))
    name, told = purging.world.bus.announced[-1]
    assert name == "lifecycle.approval.reminded"
    assert (told["given"], told["needed"], told["would_do"]) == ("1", "2", "run.delete")


def test_a_deferred_command_never_returns_early_despite_whole_second_schedules() -> None:
    purging = purge_run_of(World(clock=Clock(NOW + timedelta(milliseconds=700))))
    command = asked(purging)
    purging.advance(timedelta(hours=73))
    assert stands(purging, command)[0] == Code.APPROVAL_EXPIRED
    young = purge_run_of(World(clock=Clock(NOW + timedelta(milliseconds=700))), days=10)
    command = asked(young)
    young.approve(command)
    young.advance(21 * DAY)
    assert len(young.deletes(RUN)) == 1


def test_a_resource_changed_back_is_requested_again_with_its_own_deadline() -> None:
    purging = purge_run_of()
    command = asked(purging)
    first = purging.wanted(command).hash
    for name in ("Onboard Ajax", "Onboard Acme"):
        purging.advance(timedelta(hours=10))
        run_of(purging).name = name
        purging.world.purge_queue.send(command.to_json())
        purging.work()
    assert purging.wanted(command).hash == first
    purging.advance(timedelta(hours=60))
    assert stands(purging, command)[0] == Code.AWAITING_APPROVAL
    purging.advance(timedelta(hours=13))
    assert stands(purging, command)[0] == Code.APPROVAL_EXPIRED


@pytest.mark.parametrize("answer", ["refused", "expired"])
def test_a_decision_is_final_even_if_the_resource_changed_meanwhile(answer: str) -> None:
    purging = purge_run_of()
    command = asked(purging)
    purging.advance(timedelta(hours=37))  # At half time it is looked at for the last time before it expires.
    run_of(purging).name = "Onboard Ajax"
    if answer == "refused":
        purging.reject(command)
    else:
        purging.advance(timedelta(hours=36))
    assert stands(purging, command)[0] == (Code.NOT_APPROVED if answer == "refused" else Code.APPROVAL_EXPIRED)
    assert purging.world.approvals.open(ORG) == []


def test_a_cancelled_delete_names_the_changed_facts() -> None:
    code, reason = attempt_at(archived_again)[1]
    assert code == Code.CHANGED
    assert "archived_at" in reason
    assert "title" not in reason
    assert "title" in attempt_at(changed_after)[1][1]


def test_a_429_during_an_export_delays_every_worker() -> None:
    purging = purge_run_of()
    command = asked(purging)
    purging.world.simulator.add_fault(Fault.rate_limit(120, path="/activity-feeds"))
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    assert purging.world.pacing.reserve(ORG, 1).wait > 100
    purging.work()
    assert len(purging.deletes(RUN)) == 1


def test_a_setting_of_two_approvals_needs_two_people() -> None:
    purging = purge_run_of()
    purging.world.people = People.parse(TWO)
    command = asked(purging)
    purging.approve(command, "bob")
    assert purging.deletes(RUN) == []
    purging.approve(command, "cleo")
    assert len(purging.deletes(RUN)) == 1


# --- killed -----------------------------------------------------------------------------------------------------------


def watch(purging: PurgeRun, command: Command) -> None:
    """Whenever Tallyfy is asked to delete: it was approved, its time has come, its export is whole and agrees."""

    def at_the_delete(call: str) -> None:
        manifest, wrong = verify(purging.world.objects, folder(purging, command))
        assert (manifest is not None and manifest.complete, wrong) == (True, ()), call
        assert purging.wanted(command).approved_by == ("bob",)
        archived = run_of(purging).archived_at if RUN in purging.world.simulator.organization.runs else None
        assert archived is None or purging.world.clock() - archived >= 30 * DAY

    purging.world.before_write = at_the_delete


def way(fuse: FaultInjector) -> tuple[PurgeRun, Command]:
    """All the way of a delete that is too young when it is asked for."""
    purging = purge_run_of(days=29)
    purging.world.objects = Once()
    purging.fuse = fuse
    command = purging.ask(Resource.RUN, RUN)
    watch(purging, command)
    purging.work()
    purging.approve(command)
    purging.advance(3 * DAY)
    return purging, command


@pytest.mark.parametrize("harm", ["crash", "outage"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delete_killed_at_any_step_happens_once_and_never_without_its_export(when: When, harm: Harm) -> None:
    steps = FaultInjector()
    way(steps)
    points = "ask schedule announce dead_letter pace claim look release put fetch act conclude mark_delivered"
    assert set(points.split()) <= set(steps.taken)
    assert steps.taken.count("put") == 6  # process, tasks, feed, files and a file, manifest
    assert len(steps.taken) > 60
    for step, point in enumerate(steps.taken):
        if harm == "outage" and point in {"look", "act"}:
            continue  # Those are Tallyfy's, see the faults below.
        where = f"{harm} {when} step {step}, {point}"
        purging, command = way(fuse := FaultInjector(ANY_STEP, when, harm, skip=step))
        assert fuse.blown, where
        effects = [call for call in purging.deletes(RUN) if call.acted]
        assert len(effects) == 1, where
        manifest, wrong = verify(purging.world.objects, folder(purging, command))
        assert manifest is not None, where
        assert (manifest.complete, wrong) == (True, ()), where
        row = purging.world.intent(command.intent_id)
        assert row.status is Status.DONE, (where, row.reason)
        assert json.loads(row.evidence) == {"export": folder(purging, command), "manifest": manifest.digest}, where
        assert (row.pending, purging.world.letters(command.intent_id)) == ((), []), where
        assert set(purging.world.announced(command.intent_id)) == {"done"}, where


@pytest.mark.parametrize(
    "fault",
    [
        Fault.reset("before", method="DELETE"),
        Fault.reset("after", method="DELETE"),
        Fault.html(502, "after", method="DELETE"),
        Fault.answer_status(500, "after", method="DELETE"),
        Fault.error_in_200("after", method="DELETE"),
        Fault.delay(50, "before", method="DELETE"),
        Fault.delay(11, "after", method="DELETE"),
        Fault.reset("before", path="/activity-feeds"),
        Fault.answer_status(503, path="/file/"),
        Fault.html(502, path="/tasks"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.when}-{fault.method or fault.path}",
)
def test_a_delete_happens_once_with_a_complete_export_whatever_tallyfy_answers(fault: Fault) -> None:
    purging = purge_run_of(days=29)
    command = purging.ask(Resource.RUN, RUN)
    watch(purging, command)
    purging.work()
    purging.world.simulator.add_fault(fault)
    purging.approve(command)
    purging.advance(3 * DAY)
    purging.work()
    assert len([call for call in purging.deletes(RUN) if call.acted]) == 1
    manifest, wrong = verify(purging.world.objects, folder(purging, command))
    assert manifest is not None
    assert (manifest.complete, wrong) == (True, ())
    assert purging.world.intent(command.intent_id).status is Status.DONE


def test_a_delete_that_takes_effect_late_keeps_the_earlier_export_complete() -> None:
    """Nobody knows the fate of the first call; while the second attempt looks, it takes effect."""
    purging = purge_run_of()
    command = asked(purging)

    def landing() -> None:
        purging.world.clock.advance(timedelta(seconds=30))
        purging.world.simulator.advance(600)
        purging.world.land()

    bucket = purging.world.objects = Acting(acted=True, meanwhile=landing)
    purging.world.simulator.add_fault(Fault.delay(500, "before", method="DELETE"))
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    assert purging.world.state(Resource.RUN, RUN) is State.ARCHIVED
    bucket.acted = False
    purging.work()
    manifest, wrong = verify(bucket, folder(purging, command))
    assert manifest is not None
    assert (manifest.complete, wrong) == (True, ())
    assert purging.world.intent(command.intent_id).status is Status.DONE
    assert len([call for call in purging.deletes(RUN) if call.acted]) == 1


def test_an_export_of_an_earlier_attempt_is_not_used_again() -> None:
    purging = purge_run_of()
    command = asked(purging)
    purging.world.simulator.add_fault(Fault.answer_status(500, method="DELETE"))
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    earlier = folder(purging, command)
    purging.world.clock.advance(timedelta(minutes=10))
    purging.work()
    assert purging.world.intent(command.intent_id).status is Status.DONE
    assert folders(purging, command) == [earlier, folder(purging, command)]
    assert earlier != folder(purging, command)


def test_an_export_made_before_a_change_is_not_used_after_it() -> None:
    purging = purge_run_of()
    command = asked(purging)
    purging.world.simulator.add_fault(Fault.answer_status(500, method="DELETE"))
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    purging.world.clock.advance(DAY)
    run_of(purging).last_updated = purging.world.clock()
    purging.work()
    assert stands(purging, command)[0] == Code.CHANGED
    assert [call for call in purging.deletes(RUN) if call.acted] == []


# --- added while it is exported ---------------------------------------------------------------------------------------


@dataclass
class Once(MemoryObjects):
    """A bucket in which nothing may be written twice; ``meanwhile`` happens after each manifest is written."""

    meanwhile: Callable[[], object] = lambda: None

    @override
    def put(self, key: str, body: bytes, *, kind: str) -> None:
        assert key not in self.bodies, f"{key} is overwritten"
        super().put(key, body, kind=kind)
        if key.endswith("manifest.json"):
            self.meanwhile()

    @override
    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        assert key not in self.bodies, f"{key} is overwritten"
        super().put_file(key, path, kind=kind)


def commenting(purging: PurgeRun, times: int, where: Callable[[Run], list[Thread]]) -> Once:
    """After so many exports somebody comments, which moves neither the process nor what was approved."""
    left = iter(range(times))

    def comment() -> None:
        number = next(left, None)
        if number is not None:
            where(run_of(purging)).append(Thread(f"{number + 900:032x}", "Wait!"))

    bucket = purging.world.objects = Once(meanwhile=comment)
    return bucket


@pytest.mark.parametrize("where", [lambda run: run.threads, lambda run: run.tasks[0].threads], ids=["process", "task"])
def test_a_comment_added_during_the_export_is_in_the_final_export(where: Callable[[Run], list[Thread]]) -> None:
    purging = purge_run_of()
    command = asked(purging)
    bucket = commenting(purging, 1, where)
    purging.approve(command)
    assert purging.world.intent(command.intent_id).status is Status.DONE
    [first, second] = folders(purging, command)
    assert folder(purging, command) == second
    before, after = (verify(bucket, name)[0] for name in (first, second))
    assert before is not None
    assert after is not None
    assert (before.counts["comments"], after.counts["comments"]) == (2, 3)
    assert verify(bucket, first)[1] == verify(bucket, second)[1] == ()


def test_a_resource_that_changes_during_every_export_is_not_deleted() -> None:
    purging = purge_run_of()
    command = asked(purging)
    commenting(purging, 3, lambda run: run.threads)
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.deliver()
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.attempts) == (Status.WAITING, 1)
    assert row.reason.startswith("Something was added to it each time it was exported, 3 times.")
    assert len(folders(purging, command)) == 3
    assert purging.deletes(RUN) == []
    purging.work()
    assert purging.world.intent(command.intent_id).status is Status.DONE
