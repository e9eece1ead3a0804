"""Enqueues the lines of a plan with the product's own code: reads each line, makes its command and sends it."""

from datetime import UTC, datetime
from pathlib import Path

from lifecycle.aws.clients import client
from lifecycle.aws.sqs import SqsQueue
from lifecycle.plans.application import Application, PlanPart, Stage
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import due

BATCH = 100
sqs = client("sqs")


def handler(event: dict[str, str], context: object) -> dict[str, int]:
    """Enqueue all things that the plan acts on; their number."""
    queue = SqsQueue(sqs, event["queue"])
    commands = PlanCommands(bulk=queue, purge=queue, id_key=lambda: b"key", clock=lambda: datetime.now(UTC))
    plan = Plan.model_validate_json(event["plan"])
    state = Application(stage=Stage.REST, requested_by="schedule", source="sweep")
    batch, sent = [], 0
    for action in due(Path(event["lines"]), PlanPart.REVERSIBLE):
        batch.append(action)
        if len(batch) == BATCH:
            commands.send(plan, batch, state)
            sent, batch = sent + len(batch), []
    if batch:
        commands.send(plan, batch, state)
    return {"sent": sent + len(batch)}
