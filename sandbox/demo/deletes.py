"""The steps in which something is deleted for good: previewed, approved, exported, verified."""

import json

from lifecycle.deletion.export_readback import verify
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import Status
from sandbox.demo.session import END_SECONDS, Demo, DemoQuestion, DemoStep, until
from sandbox.running import (
    APPROVER,
    ASKER,
)
from sandbox.simulator import DefaultIds


def delete(demo: Demo, step: DemoStep) -> None:
    """A permanent delete: asked, previewed, refused to its asker, approved by another, exported, verified, done."""
    id = DefaultIds.RUN_ARCHIVED_LONG_AGO
    step.sent.append(f"delete process, archived for 400 days, asked by {ASKER}")
    answer = demo.post(demo.delivery(Resource.RUN, Action.DELETE, id, by=ASKER))
    shown = demo.shown_to_approvers(step, answer.intent_id)
    step.came_back.append(f"shown to approvers: '{shown.get('title')}', archived {shown.get('archived_at')}")
    step.check("the preview names it", shown.get("id") == id)
    step.check("nothing is deleted yet", demo.simulator.effects(Action.DELETE, id) == 0)
    own = demo.vote(ASKER, "approve", shown)
    step.came_back.append(f"approved by {ASKER}: {own.get('status')} {own.get('code')}")
    step.check("its asker may not approve it", own.get("code") == "own_request")
    other = demo.vote(APPROVER, "approve", shown)
    step.check("somebody else may", other.get("stands") == "approved")
    demo.conclude(step, answer, "delete process (400 d)", id, Action.DELETE, Status.DONE)
    step.check("the simulator has it deleted", demo.state(id) == "deleted")
    _exported(demo, step, answer.intent_id)


def grace(demo: Demo, step: DemoStep) -> None:
    """Approved, and still too young: it waits for its day, and a refusal ends another."""
    id = DefaultIds.RUN_ARCHIVED_RECENTLY
    step.sent.append("delete process, archived for 2 days; approved at once")
    answer = demo.post(demo.delivery(Resource.RUN, Action.DELETE, id, by=ASKER))
    demo.vote(APPROVER, "approve", demo.shown_to_approvers(step, answer.intent_id))

    def parked() -> bool:
        row = demo.stack.intent(answer.intent_id)
        return row is not None and row.code == "in_grace"

    step.check("it waits for its age", until(parked, seconds=END_SECONDS))
    step.came_back.append(demo.api.status(answer.intent_id)["reason"])
    step.check("the simulator has it archived", demo.state(id) == "archived")
    demo.asked.append(DemoQuestion(answer.intent_id, "delete process (2 d)", id, Action.DELETE, Status.WAITING, 0))


def tag(demo: Demo, step: DemoStep) -> None:
    """A tag: "archive", as older pages of Tallyfy's say, is understood as the delete that it is."""
    step.sent.append("archive tag (Tallyfy deletes tags for good), approved by another")
    answer = demo.post(demo.delivery(Resource.TAG, Action.ARCHIVE, DefaultIds.UNUSED_TAG, by=ASKER))
    demo.vote(APPROVER, "approve", demo.shown_to_approvers(step, answer.intent_id))
    demo.conclude(step, answer, "delete tag", DefaultIds.UNUSED_TAG, Action.DELETE, Status.DONE)
    step.check("the simulator has it deleted", demo.state(DefaultIds.UNUSED_TAG) == "deleted")


def _exported(demo: Demo, step: DemoStep, intent_id: str) -> None:
    """Read the export that the ledger names back from the bucket, as an auditor would."""
    row = demo.stack.intent(intent_id)
    folder = json.loads(row.evidence).get("export") if row is not None and row.evidence else None
    manifest, wrong = verify(demo.stack.exports(), str(folder))
    step.check("its export is complete and every checksum agrees", manifest and manifest.complete and not wrong)
    if manifest:
        parts = f"{len(manifest.parts)} parts, {sum(part.size for part in manifest.parts):,} bytes"
        step.came_back.append(f"export verified: {parts}")
