"""Every action over real HTTP, through the deployed template, to its effect in the simulated Tallyfy."""

import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests

from lifecycle.domain.capabilities import TABLE, Action, Capability, Resource
from sandbox.simulator import (
    DefaultIds,
    Seed,
    SeedOrganization,
    SeedRun,
    SeedTag,
    SeedTask,
    SeedTemplate,
    make_id,
)
from tests.e2e.bench import ORG, Bench, signed, until

pytestmark = pytest.mark.e2e

type Sown = SeedRun | SeedTask | SeedTag | SeedTemplate


def _garden(
    *, runs: list[SeedRun] | None = None, tasks: list[SeedTask] | None = None,
    tags: list[SeedTag] | None = None, templates: list[SeedTemplate] | None = None,
) -> Seed:  # fmt: skip
    return Seed(
        organizations=[
            SeedOrganization(id=ORG, runs=runs or [], tasks=tasks or [], tags=tags or [], templates=templates or [])
        ]
    )


def _sow_for(resource: Resource, action: Action, thing_id: str) -> Seed:
    """A thing in the state that the action needs."""
    archived_at = {Action.ARCHIVE: None, Action.RESTORE: "-3d", Action.DELETE: "-45d"}[action]
    match resource:
        case Resource.RUN:
            return _garden(runs=[SeedRun(id=thing_id, archived_at=archived_at)])
        case Resource.TASK:
            return _garden(tasks=[SeedTask(id=thing_id, archived_at=archived_at)])
        case Resource.TEMPLATE:
            return _garden(templates=[SeedTemplate(id=thing_id, archived_at=archived_at)])
        case Resource.TAG:
            return _garden(tags=[SeedTag(id=thing_id, title="dead")])


@pytest.mark.parametrize("doing", TABLE, ids=lambda doing: doing.name)
def test_each_of_the_ten_actions_reaches_tallyfy_as_documented(bench: Bench, doing: Capability) -> None:
    thing_id = make_id("e2e", doing.name, str(uuid.uuid4()))
    bench.sow(_sow_for(doing.resource, doing.action, thing_id))

    intent_id = bench.ask(doing.action, doing.resource, thing_id)
    if doing.permanent:
        bench.approve(intent_id)
    end = bench.conclusion(intent_id)

    assert end["status"] == "done", end
    assert bench.writes(thing_id) == [(doing.method, "/api" + doing.path(ORG, thing_id))]
    assert bench.simulator.effects(id=thing_id) == 1


def test_every_other_combination_is_refused_by_name(bench: Bench) -> None:
    known = {(doing.resource, doing.action) for doing in TABLE} | {(Resource.TAG, Action.ARCHIVE)}
    others = [pair for pair in itertools.product(Resource, Action) if pair not in known]
    assert others == [(Resource.TAG, Action.RESTORE)]

    body = {"org_id": ORG, "id": DefaultIds.UNUSED_TAG}
    refused = bench.post({"action": "restore", "resource": "tag", **body})
    assert refused.status_code == 422
    assert "none can be restored" in refused.json()["detail"]
    for word in ("guest", "process_task", "", "Run"):
        assert bench.post({"action": "archive", "resource": word, **body}).status_code == 400
    for word in ("activate", "purge", "DELETE", ""):
        assert bench.post({"action": word, "resource": "run", **body}).status_code == 400
    assert bench.simulator.log() == []


def test_archiving_a_tag_is_guarded_as_a_delete(bench: Bench) -> None:
    body = {"action": "archive", "resource": "tag", "org_id": ORG, "id": DefaultIds.UNUSED_TAG}
    assert bench.post(body, source="automation").status_code == 403
    used = bench.conclusion(bench.ask("archive", "tag", DefaultIds.USED_TAG))
    assert (used["status"], bench.writes(DefaultIds.USED_TAG)) == ("rejected", [])
    assert "carry this tag" in used["reason"]


def test_a_task_of_a_process_is_not_changed(bench: Bench) -> None:
    end = bench.conclusion(bench.ask("archive", "task", DefaultIds.PROCESS_TASK))
    assert end["status"] == "rejected"
    assert "process instead" in end["reason"]
    assert bench.writes(DefaultIds.PROCESS_TASK) == []


def test_a_delete_that_expires_before_the_minimum_age_is_refused_and_a_longer_one_waits(bench: Bench) -> None:
    soon = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    end = bench.conclusion(bench.ask("delete", "run", DefaultIds.RUN_ARCHIVED_RECENTLY, not_after=soon))
    assert end["status"] == "rejected"
    assert "can be deleted" in end["reason"]
    assert [letter["code"] for letter in bench.dead_letters("PurgeDeadLetter")] == ["too_young"]

    patient = bench.ask("delete", "run", DefaultIds.RUN_ARCHIVED_RECENTLY)
    bench.approve(patient)

    until(lambda: bench.status(patient)["code"] == "in_grace", 60, "the grace to begin")
    assert bench.status(patient)["status"] == "waiting"
    assert bench.writes(DefaultIds.RUN_ARCHIVED_RECENTLY) == []


@pytest.mark.parametrize(
    "bad",
    ["{id}/delete", "../runs/x", "..", "{ID}", "{id}0", "abc", " {id}", "{id} ", "{id}\n", "", "%2e%2e", "{id}?x=1"],
)
def test_a_malformed_id_is_refused_before_any_call(bench: Bench, bad: str) -> None:
    real = DefaultIds.RUN
    thing_id = bad.replace("{id}", real).replace("{ID}", real.upper())
    for field in ("id", "org_id"):
        body = {"action": "archive", "resource": "run", "org_id": ORG, "id": real} | {field: thing_id}
        answer = bench.post(body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert field in answer.json()["detail"]
    assert bench.simulator.log() == []


def test_one_delivery_sent_twenty_times_in_parallel_has_one_effect(bench: Bench) -> None:
    thing_id = make_id("e2e", "twenty", str(uuid.uuid4()))
    bench.sow(_garden(runs=[SeedRun(id=thing_id)]))
    delivery = str(uuid.uuid4())

    with ThreadPoolExecutor(8) as senders:
        intents = set(senders.map(lambda _: bench.ask("archive", "run", thing_id, delivery=delivery), range(20)))

    assert len(intents) == 1
    assert bench.conclusion(intents.pop())["status"] == "done"
    assert bench.simulator.effects(id=thing_id) == 1
    assert len(bench.writes(thing_id)) == 1


def test_a_repeated_delivery_is_answered_like_the_first_and_another_command_under_its_id_is_refused(
    bench: Bench,
) -> None:
    thing_id = make_id("e2e", "repeat", str(uuid.uuid4()))
    bench.sow(_garden(runs=[SeedRun(id=thing_id)]))
    delivery = str(uuid.uuid4())
    first = bench.ask("archive", "run", thing_id, delivery=delivery)
    bench.conclusion(first)
    assert bench.ask("archive", "run", thing_id, delivery=delivery) == first

    raw = f'{{"action":"restore","resource":"run","org_id":"{ORG}","id":"{thing_id}"}}'.encode()
    other = requests.post(
        f"{bench.stack.api_url}/webhooks/operator",
        data=raw,
        headers=signed(raw, **{"webhook-id": delivery}),
        timeout=30,
    )
    assert other.status_code == 409
    assert bench.simulator.effects(id=thing_id) == 1


def test_unsigned_deliveries_are_refused_before_the_queue(bench: Bench) -> None:
    body = {"action": "archive", "resource": "run", "org_id": ORG, "id": DefaultIds.RUN}
    assert bench.post(body, **{"webhook-signature": "v1,AAAA"}).status_code == 401
    assert bench.post(body, **{"webhook-timestamp": "1"}).status_code == 401
    assert bench.post(body, source="nobody").status_code == 404
    assert bench.post(b"x" * (256 * 1024 + 1)).status_code == 413
    assert requests.get(f"{bench.stack.api_url}/commands/int_{'0' * 48}", timeout=30).status_code == 404
    assert requests.get(f"{bench.stack.api_url}/health", timeout=30).json() == {"status": "ok"}
    assert bench.simulator.log() == []
