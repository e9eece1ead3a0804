"""The samples in events/ are what the functions really take and give; each of them is used."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext as RealContext

from cli.local.simulator import DEFAULT_TOKEN, DefaultIds, default_seed
from functions.purge import app as purge
from functions.status import app as status
from functions.webhook import app as webhook
from functions.worker import app as worker
from lifecycle.adapters.queues import from_record
from lifecycle.usecases.execute import Worker
from lifecycle.wiring.observability import signals
from lifecycle.words.capabilities import PERMANENT, TABLE, Capability
from lifecycle.words.commands import Command
from tests.builders import EVENTS, NOW, Clock, Entrance, LambdaContext, bodies, sample
from tests.worlds import World

CONTEXT = cast("RealContext", LambdaContext())
TESTS = Path(__file__).parents[1]


@pytest.fixture
def entrance(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Entrance:
    made = Entrance(clock)
    made.intake = replace(made.intake, signals=signals)
    monkeypatch.setattr(webhook, "intake", lambda: made.intake)
    monkeypatch.setattr(status, "lookup", lambda: made.lookup)
    return made


@pytest.fixture
def world(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(clock)
    made.simulator.load(default_seed())

    def build(capabilities: frozenset[Capability]) -> Worker:
        built = made.process(capabilities).worker
        return replace(built, signals=signals, outcomes=replace(built.outcomes, signals=signals))

    monkeypatch.setattr(worker, "worker", build)
    monkeypatch.setattr(purge, "worker", build)
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


def test_the_status_of_an_accepted_webhook_is_told(entrance: Entrance) -> None:
    webhook.handler(sample("webhook-standard.json"), CONTEXT)
    response = status.handler(sample("status.json"), CONTEXT)
    assert response["statusCode"] == 200
    assert told(response)["status"] == "accepted"
    assert set(told(response)) == {"intent_id", "status", "reason"}


def test_health_is_told_without_looking_anything_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "lookup", None)
    assert told(status.handler(sample("health.json"), CONTEXT)) == {"status": "ok"}


def test_a_batch_of_the_commands_queue_is_carried_out(world: World) -> None:
    assert worker.handler(sample("worker-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert [(call.resource, call.action, call.id) for call in world.simulator.log.calls if call.acted] == [
        ("run", "archive", DefaultIds.RUN),
        ("task", "archive", DefaultIds.TASK),
    ]


def test_a_message_that_was_sent_again_says_so() -> None:
    records = cast("list[dict[str, object]]", sample("worker-batch.json")["Records"])
    first, again = (from_record(record) for record in records)
    assert (first.redrive, first.receives) == (0, 1)
    assert (again.redrive, again.receives) == (1, 3)
    assert (NOW - first.sent_at).total_seconds() == 1.5


def test_a_batch_of_the_purge_queue_is_carried_out(world: World) -> None:
    assert purge.handler(sample("purge-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert world.simulator.effects("delete", DefaultIds.RUN_ARCHIVED_LONG_AGO) == 1


def test_the_ordinary_worker_buries_a_permanent_delete_untouched(world: World) -> None:
    assert worker.handler(sample("purge-batch.json"), CONTEXT) == {"batchItemFailures": []}
    assert world.simulator.log.calls == []
    [letter] = world.dead_letters.receive()
    assert letter.attributes["code"] == "not_possible"


def test_the_outcome_event_is_what_the_worker_announces(world: World) -> None:
    worker.handler(sample("worker-batch.json"), CONTEXT)
    event = sample("outcome.json")
    assert world.bus.announced[0] == (event["detail-type"], event["detail"])


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
