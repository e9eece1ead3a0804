"""The bus in memory and on EventBridge. PutEvents answers 200 even if it took no event."""

import json

import boto3
import pytest
from botocore.stub import ANY, Stubber

from lifecycle.aws.eventbridge import Bus, Detail, EventBridgeBus, MemoryBus
from lifecycle.domain.errors import Code, Retryable

DETAIL: Detail = {"intent_id": "int_1", "status": "done", "dead_lettered": False}


@pytest.fixture(params=["memory", "eventbridge"])
def bus(request: pytest.FixtureRequest) -> Bus:
    if request.param == "memory":
        return MemoryBus()
    client = request.getfixturevalue("aws").client("events")
    client.create_event_bus(Name="outcomes")
    return EventBridgeBus(client, "outcomes")


def test_an_event_is_published(bus: Bus) -> None:
    bus.announce("lifecycle.command.done", DETAIL)
    if isinstance(bus, MemoryBus):
        assert bus.announced == [("lifecycle.command.done", DETAIL)]


def test_an_event_has_the_form_that_rules_expect(aws: boto3.Session) -> None:
    client = aws.client("events")
    entry = {
        "Source": "tallyfy-lifecycle",
        "DetailType": "lifecycle.command.done",
        "Detail": json.dumps(DETAIL),
        "EventBusName": "outcomes",
    }
    with Stubber(client) as stubber:
        stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
        EventBridgeBus(client, "outcomes").announce("lifecycle.command.done", DETAIL)
        stubber.assert_no_pending_responses()


def test_a_failed_entry_inside_a_200_is_an_error(aws: boto3.Session) -> None:
    client = aws.client("events")
    failed = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]}
    with Stubber(client) as stubber:
        stubber.add_response("put_events", failed, {"Entries": ANY})
        with pytest.raises(Retryable, match="ThrottlingException") as trouble:
            EventBridgeBus(client, "outcomes").announce("lifecycle.command.done", DETAIL)
    assert trouble.value.code is Code.UNAVAILABLE


def test_an_error_of_the_bus_can_be_retried(aws: boto3.Session) -> None:
    client = aws.client("events")
    with Stubber(client) as stubber:
        stubber.add_client_error("put_events", "InternalException")
        with pytest.raises(Retryable, match="InternalException"):
            EventBridgeBus(client, "outcomes").announce("lifecycle.command.done", DETAIL)


def test_events_go_out_ten_at_a_time_and_those_that_failed_are_named_by_their_position(aws: boto3.Session) -> None:
    client = aws.client("events")
    taken = {"FailedEntryCount": 0, "Entries": [{"EventId": str(number)} for number in range(10)]}
    failed = {"FailedEntryCount": 1, "Entries": [{"EventId": "11"}, {"ErrorCode": "ThrottlingException"}]}
    with Stubber(client) as stubber:
        stubber.add_response("put_events", taken, {"Entries": ANY})
        stubber.add_response("put_events", failed, {"Entries": ANY})
        refused = EventBridgeBus(client, "outcomes").announce_all([("lifecycle.command.done", DETAIL)] * 12)
        stubber.assert_no_pending_responses()
    assert refused == {11: "ThrottlingException"}
