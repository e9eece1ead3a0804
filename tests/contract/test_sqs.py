"""Queues in memory and in SQS, and the message in a Lambda event."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config

from lifecycle.aws.sqs import MemoryQueue, Message, Queue, SqsQueue, from_record
from lifecycle.domain.errors import Code, Retryable
from tests.harness.builders import Clock


@pytest.fixture(params=["memory", "sqs"])
def queue(request: pytest.FixtureRequest, clock: Clock) -> Queue:
    if request.param == "memory":
        return MemoryQueue(clock)
    return sqs(request.getfixturevalue("aws"))


def sqs(aws: boto3.Session, name: str = "commands") -> SqsQueue:
    client = aws.client("sqs")
    # moto really waits for messages in a receive, which no test here needs.
    client.meta.events.register("provide-client-params.sqs.ReceiveMessage", _do_not_wait)
    return SqsQueue(client, client.create_queue(QueueName=name)["QueueUrl"])


def _do_not_wait(params: dict[str, object], **_: object) -> None:
    params["WaitTimeSeconds"] = 0


def test_a_sent_message_is_received_unchanged(queue: Queue) -> None:
    queue.send('{"reason": "ü"}', {"code": "held", "redrive": "2", "empty": ""})
    [message] = queue.receive()
    assert message.body == '{"reason": "ü"}'
    assert {name: text for name, text in message.attributes.items() if text} == {"code": "held", "redrive": "2"}
    assert (message.receives, message.redrive) == (1, 2)
    assert message.id
    assert message.receipt


def test_a_received_message_is_hidden_and_stays_until_deleted(queue: Queue) -> None:
    queue.send("one")
    [message] = queue.receive(hidden_for=30)
    assert queue.receive() == []
    assert queue.depth() == 1
    queue.delete(message)
    assert queue.depth() == 0


def test_a_message_can_be_made_visible_at_once_and_counts_its_receives(queue: Queue) -> None:
    queue.send("one")
    [message] = queue.receive(hidden_for=3600)
    queue.hide(message, 0)
    [again] = queue.receive(hidden_for=3600)
    assert (again.body, again.receives, again.id) == ("one", 2, message.id)


def test_no_more_messages_are_received_than_requested(queue: Queue) -> None:
    for number in range(12):
        queue.send(str(number))
    assert len(queue.receive(3)) == 3
    assert queue.depth() == 12


def test_a_message_in_memory_is_visible_again_after_its_timeout(clock: Clock) -> None:
    queue = MemoryQueue(clock)
    queue.send("one")
    [message] = queue.receive(hidden_for=30)
    queue.hide(message, 100)
    clock.advance(timedelta(seconds=99))
    assert queue.receive() == []
    clock.advance(timedelta(seconds=1))
    assert len(queue.receive()) == 1


def test_characters_that_sqs_refuses_in_attributes_are_replaced(aws: boto3.Session) -> None:
    queue = sqs(aws)
    queue.send("one", {"reason": "a\x00b\ud800c\uffff" + "x" * 2000})
    [message] = queue.receive()
    assert message.attributes["reason"].startswith("a?b?c?x")
    assert len(message.attributes["reason"]) == 1000


@pytest.mark.parametrize("redrive", ["", "-1", "x", "1.5", "9999999", "²"])
def test_an_unreadable_redrive_number_counts_as_zero(clock: Clock, redrive: str) -> None:
    assert Message(body="", sent_at=clock(), attributes={"redrive": redrive}).redrive == 0


@pytest.mark.parametrize(
    "doing",
    [
        lambda queue, message: queue.send("one"),
        lambda queue, message: queue.hide(message, 10),
        lambda queue, message: queue.receive(),
        lambda queue, message: queue.delete(message),
        lambda queue, message: queue.depth(),
    ],
    ids=["send", "hide", "receive", "delete", "depth"],
)
def test_an_error_of_sqs_can_be_retried(
    aws: boto3.Session, clock: Clock, doing: Callable[[Queue, Message], object]
) -> None:
    there = sqs(aws)
    gone = SqsQueue(there._client, there._url + "-that-is-gone")
    with pytest.raises(Retryable) as trouble:
        doing(gone, Message(body="", receipt="x", sent_at=clock()))
    assert trouble.value.code is Code.UNAVAILABLE
    assert "QueueDoesNotExist" in trouble.value.reason or "NonExistentQueue" in trouble.value.reason


def test_an_unreachable_aws_can_be_retried(clock: Clock) -> None:
    session = boto3.Session("made-up", "made-up", region_name="eu-west-1")
    config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    queue = SqsQueue(session.client("sqs", endpoint_url="http://127.0.0.1:9", config=config), "http://127.0.0.1:9/q")
    with pytest.raises(Retryable, match="could not be reached"):
        queue.send("one")


def test_a_record_of_lambda_is_read_as_a_message() -> None:
    record = {
        "messageId": "m-1",
        "receiptHandle": "r-1",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": "7", "SentTimestamp": "1780315200123"},
        "messageAttributes": {"redrive": {"stringValue": "3", "dataType": "String"}},
    }
    message = from_record(json.loads(json.dumps(record)))
    assert message == Message(
        body="{}",
        id="m-1",
        receipt="r-1",
        receives=7,
        sent_at=datetime.fromtimestamp(1780315200.123, UTC),
        attributes={"redrive": "3"},
    )
    assert message.redrive == 3


@pytest.mark.parametrize("record", [{}, {"attributes": None, "messageAttributes": []}, {"messageAttributes": {"a": 1}}])
def test_an_empty_record_is_read_as_a_message(record: dict[str, object]) -> None:
    assert from_record(record).body == ""


@pytest.mark.parametrize("count", [0, 1, 10, 25])
def test_a_batch_of_messages_is_sent_unchanged(queue: Queue, count: int) -> None:
    queue.send_all([f"message {number}" for number in range(count)])
    assert queue.depth() == count
    received = [message.body for _ in range(6) for message in queue.receive(10, hidden_for=3600)]
    assert sorted(received) == sorted(f"message {number}" for number in range(count))


def test_a_batch_that_sqs_took_in_part_can_be_retried(aws: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = sqs(aws)
    failed = {"Successful": [], "Failed": [{"Id": "3", "Code": "InternalError", "SenderFault": False}]}
    monkeypatch.setattr(queue._client, "send_message_batch", lambda **_: failed)
    with pytest.raises(Retryable, match="SQS did not take 1 messages"):
        queue.send_all(["one"])
