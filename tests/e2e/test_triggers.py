"""Every trigger, from its real-shaped sample in events/ through the deployed template to its effect."""

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests

from lifecycle.aws.dynamodb import DynamoTable
from lifecycle.aws.eventbridge import SOURCE
from lifecycle.domain.capabilities import Resource
from lifecycle.holds.store import HoldKind, HoldStore
from sandbox.simulator import DefaultIds, Seed, SeedOrganization, SeedRun, SeedTag, make_id
from tests.e2e.bench import CHANNEL, HMAC_SECRET, ORG, Bench, until
from tests.e2e.test_terminal import type_as

pytestmark = pytest.mark.e2e

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> bytes:
    return (EVENTS / name).read_bytes()


def digest(text: bytes) -> bytes:
    return hmac.digest(HMAC_SECRET.encode(), text, hashlib.sha256)


def deliver(bench: Bench, path: str, raw: bytes, headers: dict[str, str]) -> requests.Response:
    return requests.post(f"{bench.stack.api_url}/{path}", data=raw, headers=headers, timeout=30)


def put_events(bench: Bench, events: list[tuple[str, str, str]]) -> None:
    bus = bench.stack.outputs["BusName"]
    answer = bench.stack.events.put_events(
        Entries=[
            {"Source": source, "DetailType": kind, "Detail": detail, "EventBusName": bus}
            for source, kind, detail in events
        ]
    )
    assert answer["FailedEntryCount"] == 0


def sow(bench: Bench, *runs: SeedRun, tags: tuple[SeedTag, ...] = ()) -> None:
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=list(runs), tags=list(tags))]))


def test_a_deal_won_in_hubspot_archives_the_process_with_its_tag(bench: Bench) -> None:
    tag, run = make_id("e2e", "tag", str(uuid.uuid4())), make_id("e2e", "hubspot", str(uuid.uuid4()))
    sow(bench, SeedRun(id=run, tags=[tag]), tags=(SeedTag(id=tag, title="deal-9172831465"),))
    raw, now = sample("hubspot-deal-won.json"), str(int(time.time() * 1000))
    # The function sees the address that the gateway's event names; on AWS that is the one that was called.
    api_id = bench.stack.physical_id("HttpApi")
    uri = f"https://{api_id}.execute-api.127.0.0.1/webhooks/hubspot".encode()
    signature = base64.b64encode(digest(b"POST" + uri + raw + now.encode())).decode()
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": now}

    answer = deliver(bench, "webhooks/hubspot", raw, headers)

    assert answer.status_code == 202, answer.text
    ends = [bench.conclusion(intent_id) for intent_id in answer.json()["intent_ids"]]
    # Of the deals won in this delivery one has a tag; nothing is done for the others, and they say so.
    assert [end["status"] for end in ends].count("done") == 1
    reasons = [end["reason"] for end in ends if end["status"] != "done"]
    assert all("0 active processes match" in reason for reason in reasons), reasons
    assert bench.writes(run) == [("DELETE", f"/api/organizations/{ORG}/runs/{run}")]
    assert deliver(bench, "webhooks/hubspot", raw, headers).json() == answer.json()


def linked(text: str) -> str:
    """The process that a text links to."""
    return re.split(r"/process/", text)[1][:32]


@pytest.mark.parametrize(
    ("source", "file", "header"),
    [
        ("github", "github-issue-closed.json", "x-hub-signature-256"),
        ("jira", "jira-issue-resolved.json", "x-hub-signature"),
    ],
)
def test_a_closed_issue_archives_the_process_it_links_to(bench: Bench, source: str, file: str, header: str) -> None:
    raw = sample(file)
    signed = {header: f"sha256={digest(raw).hex()}", "x-github-event": "issues"}
    run = linked(raw.decode())
    sow(bench, SeedRun(id=run))

    answer = deliver(bench, f"webhooks/{source}", raw, signed)

    assert answer.status_code == 202, answer.text
    assert bench.conclusion(answer.json()["intent_id"])["status"] == "done"
    assert bench.simulator.effects("archive", run) == 1
    other = raw.replace(b'"closed"', b'"opened"').replace(b"jira:issue_updated", b"jira:issue_created")
    ignored = deliver(bench, f"webhooks/{source}", other, {header: f"sha256={digest(other).hex()}"})
    assert (ignored.status_code, ignored.json()["status"]) == (200, "ignored")


def test_tallyfys_own_webhook_archives_two_weeks_later(bench: Bench) -> None:
    raw = sample("tallyfy-process-completed.json")
    hint = json.loads(raw)
    sow(bench, SeedRun(id=hint["id"], status="complete", completed_at=hint["completed_at"]))
    assert deliver(bench, "webhooks/tallyfy/guessed", raw, {}).status_code == 401

    answer = deliver(bench, f"webhooks/tallyfy/{HMAC_SECRET}", raw, {})

    assert answer.status_code == 202, answer.text
    intent_id = answer.json()["intent_id"]
    group = bench.stack.physical_id("LaterGroup")
    # A schedule's name starts with its command's; the rest says which time and which body it holds.
    (listed,) = bench.stack.scheduler.list_schedules(NamePrefix=intent_id[:20], GroupName=group)["Schedules"]
    made = bench.stack.scheduler.get_schedule(Name=listed["Name"], GroupName=group)
    assert made["ScheduleExpression"].startswith("at(")
    assert bench.writes(hint["id"]) == []
    # Its day has come:
    bench.stack.sqs.send_message(QueueUrl=bench.stack.outputs["CommandsQueueUrl"], MessageBody=made["Target"]["Input"])
    until(lambda: bench.status(intent_id)["status"] == "done", 60, "the scheduled command")
    assert bench.simulator.effects("archive", hint["id"]) == 1


def waiting_for(bench: Bench, run: str) -> list[str]:
    """The commands on a process that wait for their day, as their schedules hold them; the oldest first."""
    group = bench.stack.physical_id("LaterGroup")
    scheduler = bench.stack.scheduler
    listed = scheduler.list_schedules(GroupName=group)["Schedules"]
    held = [scheduler.get_schedule(Name=one["Name"], GroupName=group)["Target"]["Input"] for one in listed]
    return sorted(
        (text for text in held if json.loads(text)["id"] == run), key=lambda text: json.loads(text)["issued_at"]
    )


def test_tallyfy_calls_the_connected_stack_and_the_last_completion_of_a_process_counts(bench: Bench) -> None:
    admin, run = bench.stack.administrator("ida"), make_id("e2e", "completed", str(uuid.uuid4()))
    connected = type_as(bench, admin, "tallyfy", "connect")
    assert connected.returncode == 0, connected.stdout + connected.stderr
    assert HMAC_SECRET not in connected.stdout

    bench.simulator.advance(-86_400)
    bench.simulator.launch(run, "Onboard Tyrell")
    bench.simulator.complete(run)
    bench.simulator.reopen(run)
    bench.simulator.advance(86_400)
    bench.simulator.complete(run)
    until(lambda: len(waiting_for(bench, run)) == 2, 60, "a command for each completion")
    assert [(one.event, one.status) for one in bench.simulator.deliveries()] == [
        ("process.launched", 200),
        ("process.completed", 202),
        ("process.completed", 202),
    ]

    queue, ends = bench.stack.outputs["CommandsQueueUrl"], []
    for text in waiting_for(bench, run):  # The day of each comes, one after the other.
        bench.stack.sqs.send_message(QueueUrl=queue, MessageBody=text)
        ends.append(bench.conclusion(json.loads(text)["intent_id"])["status"])
    assert ends == ["superseded", "done"]
    assert bench.writes(run) == [("DELETE", f"/api/organizations/{ORG}/runs/{run}")]
    assert bench.dead_letters() == []

    ended = type_as(bench, admin, "tallyfy", "disconnect", "--keep-secret")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    bench.simulator.launch(make_id("e2e", "unheard"), "Onboard Wallace")
    assert len(bench.simulator.deliveries()) == 3


def test_an_event_on_the_bus_archives_the_process_of_that_name(bench: Bench) -> None:
    run = make_id("e2e", "event", str(uuid.uuid4()))
    [entry] = json.loads(sample("put-events.json"))
    name = json.loads(entry["Detail"])["name"]
    sow(bench, SeedRun(id=run, name=name, checklist_id=DefaultIds.TEMPLATE), SeedRun(id=make_id(run), name=f"{name} 2"))

    put_events(bench, [(entry["Source"], entry["DetailType"], entry["Detail"])])

    until(lambda: bench.simulator.effects("archive", run) == 1, 60, "the event's effect")
    assert bench.simulator.effects() == 1


def test_own_outcome_events_start_nothing(bench: Bench) -> None:
    detail = json.dumps({"name": "Website relaunch", "closed_by": "Ada", "status": "done"})
    for _ in range(10):
        put_events(
            bench, [(SOURCE, kind, detail) for kind in ("lifecycle.command.done", "project.closed") for _ in range(5)]
        )
    # A foreign event behind them shows that the bus and the function are at work, and when they have come this far.
    [entry] = json.loads(sample("put-events.json"))
    marker = f"nobody's project {uuid.uuid4()}"
    put_events(bench, [(entry["Source"], entry["DetailType"], json.dumps({"name": marker, "closed_by": "Ada"}))])
    until(lambda: bool(bench.simulator.log()), 60, "the foreign event's search")
    assert {call.query.get("q") for call in bench.simulator.log()} == {marker}
    assert bench.simulator.effects() == 0
    url = bench.stack.outputs["EventsQueueUrl"]
    waiting = bench.stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert waiting["ApproximateNumberOfMessages"] == "0"


def test_a_slash_command_archives_and_is_answered_at_once(bench: Bench) -> None:
    raw = base64.b64decode(json.loads(sample("chat-archive.json"))["body"])
    now = str(int(time.time()))
    signature = f"v0={digest(f'v0:{now}:'.encode() + raw).hex()}"
    headers = {"x-slack-signature": signature, "x-slack-request-timestamp": now}
    run = linked(unquote(raw.decode()))
    sow(bench, SeedRun(id=run))
    assert deliver(bench, "chat/slack", raw, headers | {"x-slack-signature": "v0=00"}).status_code == 401

    answer = deliver(bench, "chat/slack", raw, headers)

    assert answer.status_code == 200
    assert "On it: archive process" in answer.json()["text"]
    until(lambda: bench.simulator.effects("archive", run) == 1, 60, "the slash command's effect")


def test_a_nightly_sweep_reports_and_in_apply_mode_archives_what_is_due(bench: Bench) -> None:
    due, young, undated = (make_id("e2e", "sweep", str(uuid.uuid4())) for _ in range(3))
    sow(
        bench,
        SeedRun(id=due, status="complete", completed_at="-40d"),
        SeedRun(id=young, status="complete", completed_at="-3d"),
        SeedRun(id=undated, status="complete"),
    )
    assert _sweep(bench)["terms"]["S"].startswith("report")
    until(lambda: any(call.path == CHANNEL for call in bench.simulator.log()), 60, "the notice of the plan")
    assert [call for call in bench.simulator.log() if call.method != "GET" and call.path != CHANNEL] == []
    told = _digest(bench)
    assert f"Organization {ORG}, plan " in told
    assert " due + " in told
    assert "Not applied." in told
    assert "/users" in {call.path.rpartition(ORG)[2] for call in bench.simulator.log()}, "names for the report"

    with sweeps_that_apply(bench):
        _sweep(bench)
        until(lambda: bench.simulator.effects("archive", due) == 1, 60, "the sweep's effect")
    assert bench.writes(young) == bench.writes(undated) == []


@pytest.mark.parametrize(("kind", "name"), [(Resource.TEMPLATE, DefaultIds.TEMPLATE), ("owner", "1001")])
def test_a_hold_stops_the_deployed_worker_until_it_is_removed(bench: Bench, kind: HoldKind, name: str) -> None:
    """The worker reads all the rows that could speak of the process, under its own role."""
    rows = DynamoTable(bench.stack.dynamodb, bench.stack.outputs["LedgerTableName"])
    holds = HoldStore(rows, lambda: datetime.now(UTC))
    holds.add(ORG, kind, name, reason="An audit", by="Ada")
    try:
        held = bench.conclusion(bench.ask("archive", "process", DefaultIds.RUN))
    finally:
        assert holds.lift(ORG, kind, name)
    assert held["status"] == "rejected"
    assert "An audit" in held["reason"]
    assert bench.writes(DefaultIds.RUN) == []
    assert bench.outcome("archive", "process", DefaultIds.RUN) == "done"


@contextmanager
def sweeps_that_apply(bench: Bench) -> Iterator[None]:
    """As a deploy with SweepMode=apply would make them."""
    function = bench.stack.physical_id("SweepFunction")
    before = dict(bench.stack.functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"])
    settings = bench.stack.functions.update_function_configuration
    settings(FunctionName=function, Environment={"Variables": {**before, "SWEEP_MODE": "apply"}})
    try:
        yield
    finally:
        settings(FunctionName=function, Environment={"Variables": before})


def _digest(bench: Bench) -> str:
    """The notice that the daily digest becomes, for which the schedule sends this message."""
    heard = bench.stack.hear_notices()
    url = bench.stack.outputs["SweepsQueueUrl"]
    bench.stack.sqs.send_message(
        QueueUrl=url, MessageBody=json.dumps({"sweep_id": str(uuid.uuid4()), "kind": "digest"})
    )
    found: list[str] = []

    def came() -> bool:
        got = bench.stack.sqs.receive_message(QueueUrl=heard, MaxNumberOfMessages=10, VisibilityTimeout=0)
        found.extend(body for one in got.get("Messages", []) if "Plans of the last day" in (body := one["Body"]))
        return bool(found)

    until(came, 60, "the digest's notice")
    return found[0]


def _sweep(bench: Bench) -> dict[str, dict[str, str]]:
    """Start a sweep as the schedule does, and wait for its end."""
    sweep_id = str(uuid.uuid4())
    url = bench.stack.outputs["SweepsQueueUrl"]
    bench.stack.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"sweep_id": sweep_id}))
    key = {"pk": {"S": f"sweep#{ORG}#{sweep_id}"}, "sk": {"S": "state"}}
    table = bench.stack.outputs["LedgerTableName"]

    def state() -> dict[str, dict[str, str]]:
        return dict(bench.stack.dynamodb.get_item(TableName=table, Key=key).get("Item", {}))  # type: ignore[arg-type]

    until(lambda: bool(state().get("done", {}).get("BOOL")), 60, "the sweep to end")
    return state()
