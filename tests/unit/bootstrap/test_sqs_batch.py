"""What a function does with a message that it cannot finish."""

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest

from lifecycle.aws.sqs import Later, Message
from lifecycle.bootstrap.sqs_batch import MESSAGE_AGE, each
from lifecycle.domain.errors import Code, Retryable
from tests.harness.builders import NOW


@dataclass
class Context:
    """As much of Lambda's as is read."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def handed_over(*bodies: str) -> dict[str, object]:
    return {
        "Records": [
            {
                "messageId": body,
                "receiptHandle": body,
                "body": body,
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:stack-commands",
                "attributes": {},
            }
            for body in bodies
        ]
    }


@pytest.mark.parametrize(
    ("trouble", "is_told_as"),
    [
        (Retryable(Code.UNAVAILABLE, "SQS is out."), "Retried"),
        (Later("hidden"), None),
        (ZeroDivisionError("a defect"), "unexpected"),
    ],
)
def test_only_the_failed_record_is_returned_and_only_a_defect_is_logged_as_one(
    trouble: Exception, is_told_as: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    done = []

    def handle(message: Message) -> None:
        if message.body == "bad":
            raise trouble
        done.append(message.body)

    answer = each(handed_over("first", "bad", "last"), Context(), handle)  # type: ignore[arg-type]

    assert done == ["first", "last"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert caplog.messages == ([is_told_as] if is_told_as else [])


def test_each_record_carries_the_seconds_since_its_message_was_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the age alarms read, however often the message was received: SQS's own metric stops at three."""
    monkeypatch.setattr("lifecycle.bootstrap.sqs_batch.now", lambda: NOW)
    event = handed_over("waits", "newer")
    sent = int((NOW - timedelta(hours=13)).timestamp() * 1000)
    event["Records"][0]["attributes"] = {"SentTimestamp": str(sent), "ApproximateReceiveCount": "40"}  # type: ignore[index]
    newer = int((NOW - timedelta(hours=1)).timestamp() * 1000)
    event["Records"][1]["attributes"] = {"SentTimestamp": str(newer)}  # type: ignore[index]

    each(event, Context(), lambda message: None)  # type: ignore[arg-type]

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if MESSAGE_AGE in line]
    [one] = told
    [made] = one["_aws"]["CloudWatchMetrics"]
    assert {"Name": MESSAGE_AGE, "Unit": "Seconds"} in made["Metrics"]
    assert made["Dimensions"] == [["queue", "service"]]
    assert one["queue"] == "stack-commands"
    assert one[MESSAGE_AGE] == [13 * 3600]


def test_what_could_not_be_announced_at_the_end_of_the_batch_comes_back_once(caplog: pytest.LogCaptureFixture) -> None:
    def handle(message: Message) -> None:
        if message.body == "bad":
            raise Later

    def finish() -> list[Message]:
        return [Message(body=name, id=name, sent_at=NOW) for name in ("first", "bad")]

    answer = each(handed_over("first", "bad", "last"), Context(), handle, finish)  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}, {"itemIdentifier": "first"}]}
