"""The audit trail on the emulator: a worker's record, and the writer at work under its own role."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.audit.chain import Head, Record, What, hour_of, verify
from lifecycle.audit.store import AuditStore
from lifecycle.aws.dynamodb import DynamoTable
from lifecycle.aws.s3 import S3Objects
from lifecycle.domain.clock import millis
from sandbox.simulator import DefaultIds
from tests.e2e.bench import ORG, Bench

pytestmark = pytest.mark.e2e


def test_outcomes_are_recorded_and_a_past_hour_is_sealed(bench: Bench) -> None:
    began = datetime.now(UTC)
    intent_id = bench.ask("archive", "process", DefaultIds.RUN, reason="It is over.")
    assert bench.conclusion(intent_id)["status"] in {"done", "unchanged"}

    trail = AuditStore(DynamoTable(bench.stack.dynamodb, bench.stack.outputs["LedgerTableName"]))
    lines = [line for hour in {hour_of(began), hour_of(datetime.now(UTC))} for line in trail.lines(hour)]
    records = [record for line in lines if (record := Record.parse(line)) is not None]
    [ended] = [record for record in records if record.intent_id == intent_id]
    assert (ended.what, ended.org_id, ended.why) == ("intent.concluded", ORG, "It is over.")

    # As if something had been done some hours ago, and no run of the schedule had been since.
    known, version = trail.head()
    trail.move(replace(known or Head(), through=hour_of(began - timedelta(hours=9))), version)
    trail.record(Record(at=millis(began - timedelta(hours=5)), what=What.PLAN_MADE, org_id=ORG, by="schedule"))
    for _ in range(2):
        answer = bench.stack.functions.invoke(FunctionName=bench.stack.physical_id("AuditFunction"), Payload=b"{}")
        assert json.loads(answer["Payload"].read()) == {"complete": True}, bench.stack.log

    client = bench.stack.session().client("s3", endpoint_url=bench.stack.endpoint_url)
    objects = S3Objects(client, bench.stack.outputs["AuditBucketName"])
    bodies = [objects.get(key) or b"" for key in objects.keys("audit/")]
    head, _ = trail.head()
    assert head is not None
    assert head.segment == len(bodies) >= 1
    assert verify(bodies, head) == ()
    assert any(b"plan.made" in body for body in bodies)
