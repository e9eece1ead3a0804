"""The samples in events/ are what the functions really take and give; each of them is used."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext as RealContext

from functions.chat import app as chat_function
from functions.event import app as event_function
from functions.purge import app as purge
from functions.status import app as status
from functions.sweep import app as sweep_function
from functions.webhook import app as webhook
from functions.worker import app as worker
from lifecycle.aws.sqs import from_record
from lifecycle.bootstrap.observability import metrics
from lifecycle.chat.door import ChatDoor
from lifecycle.chat.slack.requests import read_press
from lifecycle.domain.capabilities import ORDINARY, PERMANENT, TABLE, Capability
from lifecycle.domain.commands import Command
from lifecycle.execution.worker import Worker
from lifecycle.sweep.assembly import assemble
from sandbox.running import GITHUB_RUN, JIRA_RUN, SEED, SLACK_RUN
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Quirks, default_seed
from sandbox.simulator.deliveries import WebhookDeliveries
from sandbox.simulator.world import Tag, Watcher
from tests.harness.builders import (
    CONFIG,
    EVENTS,
    NOW,
    PEOPLE,
    PREFIX,
    SHARED,
    ChatRoom,
    Clock,
    Entrance,
    LambdaContext,
    bodies,
    hub_headers,
    hubspot_headers,
    request,
    sample,
    wanted,
    webhook_event,
)
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

CONTEXT = cast("RealContext", LambdaContext())
TESTS = Path(__file__).parents[2]


@pytest.fixture
def entrance(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Entrance:
    made = Entrance(clock)
    made.intake = replace(made.intake, metrics=metrics)
    monkeypatch.setattr(webhook, "intake", lambda: made.intake)
    monkeypatch.setattr(status, "lookup", lambda: made.lookup)
    return made


@pytest.fixture
def world(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(clock)
    made.simulator.load(default_seed())

    def build(capabilities: frozenset[Capability]) -> Worker:
        built = made.process(capabilities).worker
        return replace(built, metrics=metrics, outcomes=replace(built.outcomes, metrics=metrics))

    monkeypatch.setattr(worker, "worker", lambda: build(ORDINARY))
    monkeypatch.setattr(purge, "purge", lambda: build(PERMANENT))
    yield made
    assert made.secrets.texts
    assert DEFAULT_TOKEN not in str(made.bus.announced)


def told(response: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = json.loads(str(response["body"]))
    return found


def test_a_standard_webhook_is_accepted(entrance: Entrance) -> None:
    response = webhook.handler(sample("webhook-standard.json"), CONTEXT)
    assert response["statusCode"] == 202
    [text] = bodies(entrance.ordinary)
    queued = Command.model_validate_json(text)
    assert queued.reason == "Kündigung zum 31. Mai"
    assert told(response) == {
        "intent_id": queued.intent_id,
        "status": "accepted",
        "status_url": f"/commands/{queued.intent_id}",
        "intent_ids": [queued.intent_id],
    }


def test_a_plain_hmac_webhook_with_a_base64_body_is_accepted(entrance: Entrance) -> None:
    assert webhook.handler(sample("webhook-hmac.json"), CONTEXT)["statusCode"] == 202
    assert Command.model_validate_json(bodies(entrance.ordinary)[0]).source == "crm"


def test_the_status_of_an_accepted_webhook_is_returned(entrance: Entrance) -> None:
    webhook.handler(sample("webhook-standard.json"), CONTEXT)
    response = status.handler(sample("status.json"), CONTEXT)
    assert response["statusCode"] == 200
    assert told(response)["status"] == "accepted"
    assert set(told(response)) == {"intent_id", "status", "reason", "code", "until", "approval"}


def test_the_health_route_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "lookup", None)
    assert told(status.handler(sample("health.json"), CONTEXT)) == {"status": "ok"}


def test_a_batch_of_the_commands_queue_is_carried_out(world: World) -> None:
    assert worker.handler(sample("worker-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert [(call.resource, call.action, call.id) for call in world.simulator.log.calls if call.acted] == [
        ("run", "archive", DefaultIds.RUN),
        ("task", "archive", DefaultIds.TASK),
    ]


def test_a_redriven_message_is_marked_as_redriven() -> None:
    records = cast("list[dict[str, object]]", sample("worker-batch.json")["Records"])
    first, again = (from_record(record) for record in records)
    assert (first.redrive, first.receives) == (0, 1)
    assert (again.redrive, again.receives) == (1, 3)
    assert (NOW - first.sent_at).total_seconds() == 1.5


def test_a_batch_of_the_purge_queue_is_carried_out(world: World) -> None:
    assert purge.handler(sample("purge-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert world.simulator.effects("delete", DefaultIds.RUN_ARCHIVED_LONG_AGO) == 1


def test_the_ordinary_worker_dead_letters_a_permanent_delete_untouched(world: World) -> None:
    assert worker.handler(sample("purge-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert world.simulator.log.calls == []
    [letter] = world.dead_letters.receive()
    assert letter.attributes["code"] == "not_possible"


def test_the_outcome_event_is_what_the_worker_announces(world: World) -> None:
    worker.handler(sample("worker-batch.json"), CONTEXT)
    event = sample("outcome.json")
    assert world.bus.announced[0] == (event["detail-type"], event["detail"])


# --- other systems' own payloads, by the sources.toml that is shipped ---


@pytest.fixture
def shipped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Entrance:
    made = Entrance(clock, declared=(CONFIG / "sources.toml").read_text(encoding="utf-8"))
    made.intake = replace(made.intake, metrics=metrics)
    monkeypatch.setattr(webhook, "intake", lambda: made.intake)
    monkeypatch.setattr(event_function, "intake", lambda: made.intake)
    return made


def delivered(name: str, file: str, headers: dict[str, str], *, key: str | None = None) -> dict[str, object]:
    """The sample as its system delivers it, answered by the function."""
    raw = (EVENTS / file).read_bytes()
    response = webhook.handler(webhook_event(name, raw, headers, key=key), CONTEXT)
    assert response["statusCode"] == 202, response
    return told(response)


def carried_out(entrance: Entrance, world: World, run: str) -> Command:
    """Take the one command from the queue to its effect on the one process meant."""
    [text] = bodies(entrance.ordinary)
    world.queue.send(text)
    assert world.process().deliver() == 1
    command = Command.model_validate_json(text)
    assert world.announced(command.intent_id) == ["done"]
    assert [(call.action, call.id) for call in world.simulator.log.calls if call.acted] == [("archive", run)]
    return command


def test_a_deal_won_in_hubspot_archives_the_process_with_its_tag(shipped: Entrance, world: World) -> None:
    organization = world.simulator.organization
    for number, deal in enumerate(("9172831465", "9172831466", "9172831467")):
        organization.tags[str(number) * 32] = Tag(str(number) * 32, f"deal-{deal}", NOW)
    organization.runs[DefaultIds.RUN].tags.add("0" * 32)
    organization.runs[DefaultIds.ACTIVE_RUN].tags.add("1" * 32)
    raw = (EVENTS / "hubspot-deal-won.json").read_bytes()
    answer = delivered("hubspot", "hubspot-deal-won.json", hubspot_headers(raw))
    texts = bodies(shipped.ordinary)
    asked = [Command.model_validate_json(text) for text in texts]
    assert [one.find.tag for one in asked if one.find] == ["deal-9172831465", "deal-9172831467"]
    assert answer == {"status": "accepted", "intent_ids": [one.intent_id for one in asked]}
    for text in texts:
        world.queue.send(text)
    world.drain(world.process())
    assert [(call.action, call.id) for call in world.simulator.log.calls if call.acted] == [("archive", DefaultIds.RUN)]
    assert [world.announced(one.intent_id) for one in asked] == [["done"], ["rejected"]]


def test_an_issue_resolved_in_jira_archives_the_process_linked_in_it(shipped: Entrance, world: World) -> None:
    world.simulator.merge(SEED)
    raw = (EVENTS / "jira-issue-resolved.json").read_bytes()
    delivered("jira", "jira-issue-resolved.json", hub_headers(raw, name="x-hub-signature"))
    command = carried_out(shipped, world, JIRA_RUN)
    assert (command.reason, command.requested_by) == ("OPS-42 was resolved in Jira", "Grace Hopper")


def test_an_issue_closed_on_github_archives_the_process_linked_in_it(shipped: Entrance, world: World) -> None:
    world.simulator.merge(SEED)
    raw = (EVENTS / "github-issue-closed.json").read_bytes()
    delivered("github", "github-issue-closed.json", {**hub_headers(raw), "X-GitHub-Event": "issues"})
    assert carried_out(shipped, world, GITHUB_RUN).reason == "Closed on GitHub: example/operations#7"


@pytest.fixture
def completed(world: World) -> World:
    """Tallyfy shows the process as its webhook tells of it."""
    run = world.simulator.organization.runs[DefaultIds.RUN]
    run.completed_at = datetime.fromisoformat(str(sample("tallyfy-process-completed.json")["completed_at"]))
    return world


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "opened"},
        {"action": "closed", "issue": None},
        {"action": "closed", "issue": {"id": 1, "pull_request": {"url": "https://api.github.com/x"}}},
        {"action": "closed", "issue": None, "pull_request": {"id": 1}},
    ],
)
def test_a_github_event_that_is_not_a_closed_issue_is_ignored(
    shipped: Entrance, world: World, changes: dict[str, object]
) -> None:
    raw = json.dumps({**sample("github-issue-closed.json"), **changes}).encode()
    response = webhook.handler(webhook_event("github", raw, hub_headers(raw)), CONTEXT)
    assert (response["statusCode"], told(response)["status"]) == (200, "ignored")
    assert bodies(shipped.ordinary) == []


def _named(entrance: Entrance, source: str, payload: object) -> str:
    """The name of the one command that a payload becomes."""
    raw = json.dumps(payload).encode()
    headers = hubspot_headers(raw) if source == "hubspot" else hub_headers(raw)
    response = webhook.handler(webhook_event(source, raw, headers), CONTEXT)
    [name] = cast("list[str]", told(response)["intent_ids"])
    return name


def test_an_issue_closed_twice_gives_two_commands_and_a_repeated_delivery_none(shipped: Entrance) -> None:
    payload = sample("github-issue-closed.json")
    issue = cast("dict[str, object]", payload["issue"])
    first = _named(shipped, "github", payload)
    assert _named(shipped, "github", {**payload, "sender": {}}) == first
    assert _named(shipped, "github", {**payload, "issue": {**issue, "updated_at": "2026-06-02T08:00:00Z"}}) != first


def test_a_deal_won_twice_gives_two_commands_and_a_repeated_delivery_none(shipped: Entrance) -> None:
    [won, *_] = cast("list[dict[str, object]]", json.loads((EVENTS / "hubspot-deal-won.json").read_bytes()))
    first = _named(shipped, "hubspot", [won])
    assert _named(shipped, "hubspot", [{**won, "attemptNumber": 2, "eventId": 7}]) == first
    assert _named(shipped, "hubspot", [{**won, "occurredAt": 1780315195001}]) != first
    assert _named(shipped, "hubspot", [{**won, "objectId": 1}]) != first


def test_a_process_completed_in_tallyfy_is_archived_two_weeks_later(shipped: Entrance, completed: World) -> None:
    world = completed
    delivered("tallyfy", "tallyfy-process-completed.json", {}, key=SHARED)
    assert bodies(shipped.ordinary) == []
    [(moment, text)] = shipped.schedules.waiting.values()
    assert moment == NOW + timedelta(days=14)
    assert "guest" not in text
    world.clock.advance(timedelta(days=14))
    shipped.ordinary.send(text)
    carried_out(shipped, world, DefaultIds.RUN)


@pytest.mark.parametrize("what", ["reopened", "completed again"])
def test_a_process_that_is_not_completed_two_weeks_later_is_kept(
    shipped: Entrance, completed: World, what: str
) -> None:
    world = completed
    delivered("tallyfy", "tallyfy-process-completed.json", {}, key=SHARED)
    [(_, text)] = shipped.schedules.waiting.values()
    run = world.simulator.organization.runs[DefaultIds.RUN]
    if what == "reopened":
        run.status = "active"
    else:
        run.completed_at = NOW + timedelta(days=3)
    world.queue.send(text)
    world.process().deliver()
    assert world.writes() == []
    assert world.announced(Command.model_validate_json(text).intent_id) == ["superseded"]
    assert world.dead_letters.receive() == []


@pytest.fixture
def calling(shipped: Entrance, world: World) -> World:
    """An organization whose webhook calls the function, over the ledger of the worker."""
    shipped.intake = replace(shipped.intake, ledger=world.ledger)

    def send(url: str, body: bytes) -> int:
        event = webhook_event("tallyfy", body, {}, key=url.rpartition("/")[2])
        return int(str(webhook.handler(event, CONTEXT)["statusCode"]))

    world.simulator.deliveries = WebhookDeliveries(world.clock, send)
    watcher = Watcher(1, 1001, f"https://api.example/webhooks/tallyfy/{SHARED}", NOW)
    world.simulator.organization.watchers[1] = watcher
    return world


def _due(shipped: Entrance, world: World) -> list[Command]:
    """Hand over what the schedules hold by now, and let the worker carry it out."""
    found = []
    for name, (moment, text) in list(shipped.schedules.waiting.items()):
        if moment <= world.clock():
            world.queue.send(text)
            found.append(Command.model_validate_json(text))
            del shipped.schedules.waiting[name]
    world.process().deliver()
    return found


@pytest.mark.parametrize("place", ["flat", "process", "run", "data"])
def test_a_process_that_was_reopened_is_archived_two_weeks_after_its_last_completion(
    shipped: Entrance, calling: World, place: Literal["flat", "process", "run", "data"]
) -> None:
    world, run = calling, DefaultIds.ACTIVE_RUN
    world.simulator.quirks = Quirks(webhook_payload=place)
    world.simulator.complete(run)
    world.clock.advance(timedelta(days=3))
    world.simulator.reopen(run)
    world.clock.advance(timedelta(days=1))
    world.simulator.complete(run)
    world.simulator.deliveries.wait()
    assert [one.status for one in world.simulator.deliveries.made()] == [202, 202]
    world.clock.advance(timedelta(days=10))
    [first] = _due(shipped, world)
    assert (world.announced(first.intent_id), world.writes()) == (["superseded"], [])
    world.clock.advance(timedelta(days=4))
    [second] = _due(shipped, world)
    assert world.announced(second.intent_id) == ["done"]
    assert world.simulator.effects("archive", run) == 1
    assert world.dead_letters.receive() == []


def test_a_process_that_stays_reopened_is_kept_without_a_dead_letter(shipped: Entrance, calling: World) -> None:
    world, run = calling, DefaultIds.ACTIVE_RUN
    world.simulator.complete(run)
    world.simulator.reopen(run)
    world.simulator.deliveries.wait()
    world.clock.advance(timedelta(days=14))
    [only] = _due(shipped, world)
    assert (world.announced(only.intent_id), world.writes()) == (["superseded"], [])
    assert world.dead_letters.receive() == []


def test_a_process_that_a_person_restored_is_archived_again_only_after_its_next_completion(
    shipped: Entrance, calling: World
) -> None:
    world, run = calling, DefaultIds.ACTIVE_RUN
    world.simulator.complete(run)
    world.simulator.deliveries.wait()
    world.clock.advance(timedelta(days=14))
    _due(shipped, world)
    assert world.simulator.effects("archive", run) == 1
    world.simulator.organization.runs[run].restore(world.clock())
    world.simulator.reopen(run)
    world.simulator.complete(run)
    world.simulator.deliveries.wait()
    world.clock.advance(timedelta(days=14))
    _due(shipped, world)
    assert world.simulator.effects("archive", run) == 2


def test_every_event_of_tallyfy_is_accepted_and_only_completions_become_commands(
    shipped: Entrance, calling: World
) -> None:
    world = calling
    world.simulator.launch("1a" * 16, "Onboard Tyrell")
    world.simulator.reopen(DefaultIds.RUN)
    world.simulator.complete(DefaultIds.RUN)
    world.simulator.deliveries.wait()
    made = [(one.event, one.status) for one in world.simulator.deliveries.made()]
    assert made == [("process.launched", 200), ("task.completed", 200), ("process.completed", 202)]
    assert len(shipped.schedules.waiting) == 1
    assert shipped.letters == []


def test_a_project_closed_on_the_bus_archives_the_process_of_its_name(shipped: Entrance, world: World) -> None:
    run = world.simulator.organization.runs[DefaultIds.RUN]
    run.name, run.checklist_id = "Website relaunch", DefaultIds.TEMPLATE
    assert event_function.handler(sample("event-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert carried_out(shipped, world, DefaultIds.RUN).requested_by == "Ada Lovelace"


def test_an_event_of_put_events_reaches_the_events_queue() -> None:
    [entry] = cast("list[dict[str, str]]", json.loads((EVENTS / "put-events.json").read_bytes()))
    records = cast("list[dict[str, object]]", sample("event-batch.json")["Records"])
    event = json.loads(str(records[0]["body"]))
    assert (entry["Source"], entry["DetailType"]) == (event["source"], event["detail-type"])
    assert json.loads(entry["Detail"]) == event["detail"]


def counted(door: ChatDoor) -> ChatDoor:
    """The same, with the metrics that the function publishes."""
    approving = replace(door.service.approving, metrics=metrics)
    return replace(door, metrics=metrics, service=replace(door.service, approving=approving, metrics=metrics))


def test_a_slash_command_of_slack_archives_the_process_behind_its_link(
    clock: Clock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = ChatRoom(clock, people=(CONFIG / "people.toml").read_text(encoding="utf-8"))
    room.secrets.texts[f"{PREFIX}/chat/slack"] = "8f742231b10e8888abcd99yyyzzz85a5"
    monkeypatch.setattr(chat_function, "chat", lambda: counted(room.chat))
    world.simulator.merge(SEED)
    response = chat_function.handler(sample("chat-archive.json"), CONTEXT)
    assert response["statusCode"] == 200
    assert told(response)["response_type"] == "ephemeral"
    [text] = bodies(room.commands)
    world.queue.send(text)
    assert world.process().deliver() == 1
    command = Command.model_validate_json(text)
    assert (command.requested_by, command.source) == ("ada", "slack")
    assert world.announced(command.intent_id) == ["done"]
    [(url, line)] = world.replies.said
    assert url.startswith("slack:https://hooks.slack.com/commands/T012ABCDE/")
    assert line == f"Archive process `{SLACK_RUN}`: done. The process is archived."


def test_a_slack_button_approves_the_request_that_its_value_names(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = ChatRoom(clock, people=PEOPLE.replace("[people.grace]", 'approves = ["run.delete"]\n[people.grace]'))
    room.secrets.texts[f"{PREFIX}/chat/slack"] = "8f742231b10e8888abcd99yyyzzz85a5"
    monkeypatch.setattr(chat_function, "chat", lambda: counted(room.chat))
    press = read_press(base64.b64decode(str(sample("chat-approve.json")["body"]))).pressed
    assert press is not None
    value = press.value
    asked = room.approvals.ask(wanted(hash=value, asked_by="grace"))
    assert chat_function.handler(sample("chat-approve.json"), CONTEXT) == {"statusCode": 200, "body": ""}
    assert bodies(room.purge) == [asked.message]
    [(url, line)] = room.heard.said
    assert url.startswith("slack:https://hooks.slack.com/actions/T012ABCDE/")
    assert line.startswith(f"You approved `{value[:12]}`: 1 of 1.")


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_a_start_of_the_schedule_sends_one_sweep_to_each_organization(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = SweepRun(world)
    monkeypatch.setattr(sweep_function, "sweep", lambda: assemble(replace(night.parts(), metrics=metrics)))
    assert sweep_function.handler(sample("sweep-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert [json.loads(text) for text in bodies(night.queue)] == [
        {"version": 1, "sweep_id": "2026-06-01T04:10:00Z", "org_id": DefaultIds.ORGANIZATION, "kind": "sweep"}
    ]


def is_carried_out(doing: Capability) -> Callable[[Entrance, World], None]:
    def check(entrance: Entrance, world: World) -> None:
        raw = (EVENTS / name_of(doing)).read_bytes()
        command = entrance.accept(raw)
        [text] = bodies(entrance.permanent if doing in PERMANENT else entrance.ordinary)
        world.queue.send(text)
        assert world.process().deliver() == 1
        assert world.announced(command.intent_id) == ["done"]
        assert world.simulator.effects(doing.action.value, command.thing_id) == 1

    return check


def name_of(doing: Capability) -> str:
    return f"command-{doing.resource}-{doing.action}.json"


COMMANDS = {name_of(doing): is_carried_out(doing) for doing in TABLE}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_sample_command_is_accepted_and_carried_out(name: str, entrance: Entrance, world: World) -> None:
    COMMANDS[name](entrance, world)


def test_every_sample_is_used_by_a_test() -> None:
    sources = [path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")]
    unused = [
        path.name
        for path in EVENTS.iterdir()
        if path.name not in COMMANDS and not any(f'"{path.name}"' in source for source in sources)
    ]
    assert unused == []


UNRELATED = [
    None,
    "",
    "Nothing to see here.",
    "See https://tallyfy.com/pricing and https://tallyfy.com/products/process/",
    "Another customer's: https://go.tallyfy.com/0123456789abcdef0123456789abcdef/process/4285cc44dcdcb4a91e63ae8bcbf4680f",
    "https://example.com/af3a1bb312bf8430055d0f513e3a27c4/process/4285cc44dcdcb4a91e63ae8bcbf4680f",
    ["a", "list"],
    7,
]


@pytest.mark.parametrize("text", UNRELATED)
def test_an_issue_without_a_tallyfy_link_is_ignored_without_a_dead_letter(shipped: Entrance, text: object) -> None:
    github = sample("github-issue-closed.json")
    github["issue"]["body"] = text  # type: ignore[index]
    raw = json.dumps(github).encode()
    assert shipped.intake.accept(request("github", raw, hub_headers(raw))) == []
    jira = sample("jira-issue-resolved.json")
    jira["issue"]["fields"]["description"] = text  # type: ignore[index]
    raw = json.dumps(jira).encode()
    assert shipped.intake.accept(request("jira", raw, hub_headers(raw, name="x-hub-signature"))) == []
    assert bodies(shipped.dead_letters) == []
    assert bodies(shipped.ordinary) == []
