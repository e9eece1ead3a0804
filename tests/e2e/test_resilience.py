"""What goes wrong: junk, poison, an outage, a worker killed in the middle."""

import json
import os
import random
import signal
import subprocess
import sys
import uuid

import pytest
import requests

from lifecycle.pacing.token_bucket import OUTAGE_THINGS
from sandbox.build import ROOT
from sandbox.simulator import DefaultIds, Fault, Seed, SeedOrganization, SeedRun, make_id
from tests.e2e.bench import ORG, Bench, signed, until

pytestmark = pytest.mark.e2e


def _sow_runs(bench: Bench, count: int) -> list[str]:
    ids = [make_id("resilience", str(uuid.uuid4())) for _ in range(count)]
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=[SeedRun(id=id_) for id_ in ids])]))
    return ids


def _lifecycle(bench: Bench, *words: str) -> str:
    """The operator's command, as an operator starts it."""
    done = subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app()", "--stack", bench.stack.options.stack_name, *words],
        env={**os.environ, **bench.stack.environment, "COLUMNS": "300", "NO_COLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_hundred_fuzzed_requests_get_no_server_error(bench: Bench) -> None:
    roll = random.Random(20261121)
    valid = json.dumps({"action": "archive", "resource": "run", "org_id": ORG, "id": DefaultIds.RUN}).encode()
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-signature", "x-timestamp", "content-type")
    junk = ("", "v1,", "v1,é", "v1,====", "v2,x v1,y", "NaN", "1e9", "-1", "9" * 30, "sha256=zz", "\x7f", "a" * 4000)
    statuses = []
    for _ in range(200):
        body = bytearray(valid if roll.random() < 0.5 else roll.randbytes(roll.randrange(0, 2000)))
        if body and roll.random() < 0.5:
            body[roll.randrange(len(body))] = roll.randrange(256)
        sent = {name: roll.choice(junk).encode("latin-1") for name in headers if roll.random() < 0.7}
        path = roll.choice(("operator", "crm", "automation", "..%2f", "%00", "a" * 300, "operator/x"))
        url = f"{bench.stack.api_url}/webhooks/{path}"
        statuses.append(requests.post(url, data=bytes(body), headers=sent, timeout=30).status_code)
        intent = roll.choice(("int_", "int_" + "f" * 48, "%F0%9F", "..", "a b"))
        statuses.append(requests.get(f"{bench.stack.api_url}/commands/{intent}", timeout=30).status_code)
    assert {status for status in statuses if not 400 <= status < 500} == set()
    assert bench.simulator.log() == []


def test_failed_commands_become_dead_letters_and_act_once_when_sent_again(bench: Bench) -> None:
    ids = _sow_runs(bench, 199)
    # Three that fail and nothing else left are an outage (ADR 0026): it has a probe every few minutes, and six attempts
    # of each take hours. The unit tests let these hours pass.
    broken = set(ids[: OUTAGE_THINGS - 1])
    for thing_id in broken:
        bench.simulator.add_fault(Fault.answer_status(503, method="DELETE", id=thing_id, times=-1))
    bench.stack.sqs.send_message(QueueUrl=bench.stack.outputs["CommandsQueueUrl"], MessageBody="no command at all")

    intents = {thing_id: bench.ask("archive", "run", thing_id) for thing_id in ids}
    ends = {thing_id: bench.conclusion(intent, within=180)["status"] for thing_id, intent in intents.items()}

    assert sum(status == "done" for status in ends.values()) == len(ids) - len(broken)
    assert {thing_id for thing_id, status in ends.items() if status == "dead_lettered"} == broken
    until(lambda: len(bench.dead_letters()) == len(broken) + 1, 30, "the dead letters")
    letters = bench.dead_letters()
    assert sorted(letter["code"] for letter in letters) == ["attempts_exhausted"] * len(broken) + ["poison"]
    assert all(letter["reason"] for letter in letters)
    assert {letter["intent_id"] for letter in letters if "intent_id" in letter} == {intents[id_] for id_ in broken}
    assert bench.simulator.effects() == len(ids) - len(broken)

    bench.simulator.clear_faults()
    _lifecycle(bench, "dead-letters", "send-again", "--code", "attempts_exhausted", "--yes")

    for thing_id in broken:
        until(lambda id_=thing_id: bench.status(intents[id_])["status"] == "done", 60, "a command sent again")  # type: ignore[misc]
    assert [bench.simulator.effects(id=thing_id) for thing_id in sorted(broken)] == [1] * len(broken)
    assert [letter["code"] for letter in bench.dead_letters()] == ["poison"]


WORKER = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("app", sys.argv[1])
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)

class Context:
    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "test"
    def get_remaining_time_in_millis(self): return 60_000

print(json.dumps(app.handler(json.loads(sys.argv[2]), Context())))
"""


def test_a_worker_killed_right_after_tallyfy_acted_leaves_one_effect(bench: Bench) -> None:
    [thing_id] = _sow_runs(bench, 1)
    bench.simulator.add_fault(Fault.delay(8, "after", method="DELETE", id=thing_id))
    deployed = bench.stack.functions.get_function_configuration(FunctionName=bench.stack.physical_id("WorkerFunction"))
    layers = [str(ROOT / ".local/build" / name / "python") for name in ("LifecycleLayer", "ConfigLayer")]
    environment = {
        **os.environ,
        **deployed["Environment"]["Variables"],
        **bench.stack.environment,
        "PYTHONPATH": os.pathsep.join(layers),
        "LEASE_SECONDS": "2",
    }
    # The message is handed to our own worker processes, so that the test can kill one at the very moment.
    message = _message_of(bench, thing_id)
    intent_id = json.loads(str(message["body"]))["intent_id"]
    event = json.dumps({"Records": [message]})
    command = [sys.executable, "-c", WORKER, str(ROOT / "functions/worker/app.py"), event]

    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: bool(bench.simulator.log(acted=True, id=thing_id)), 30, "Tallyfy to act")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert bench.status(intent_id)["status"] == "in_progress"

    def again() -> bool:
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
        return bool(bench.status(intent_id)["status"] == "done")

    until(again, 60, "the same message, delivered again, to end")
    assert "earlier attempt" in bench.status(intent_id)["reason"]
    assert bench.simulator.effects(id=thing_id) == 1
    assert len(bench.writes(thing_id)) == 1


def _message_of(bench: Bench, thing_id: str) -> dict[str, object]:
    """A command's message, caught on its way: its worker is stopped while it is sent."""
    url = bench.stack.outputs["CommandsQueueUrl"]
    mapping = next(
        found
        for found in bench.stack.functions.list_event_source_mappings()["EventSourceMappings"]
        if found["EventSourceArn"].endswith(f":{url.rpartition('/')[2]}")
    )
    bench.stack.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        raw = json.dumps({"action": "archive", "resource": "run", "org_id": ORG, "id": thing_id}).encode()
        answer = requests.post(f"{bench.stack.api_url}/webhooks/operator", data=raw, headers=signed(raw), timeout=30)
        assert answer.status_code == 202
        [message] = bench.stack.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, AttributeNames=["All"])["Messages"]
        bench.stack.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    finally:
        bench.stack.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }
