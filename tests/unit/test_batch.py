"""What a function does with a message that it cannot finish."""

from dataclasses import dataclass

import pytest

from lifecycle.adapters.queues import Later, Message
from lifecycle.wiring.batch import each
from lifecycle.words.errors import Code, Retryable


@dataclass
class Context:
    """As much of Lambda's as is read."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def handed_over(*bodies: str) -> dict[str, object]:
    return {
        "Records": [
            {"messageId": body, "receiptHandle": body, "body": body, "eventSource": "aws:sqs", "attributes": {}}
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
def test_it_alone_comes_back_and_only_a_defect_is_told_as_one(
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
