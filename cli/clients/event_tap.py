"""Receives a stack's events and notices for a while, with a temporary queue on its bus and its topic."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

_TARGET = "tap"


@dataclass(slots=True)
class EventTap:
    """A queue, a rule and a subscription, all made by ``open`` and removed by ``close``."""

    sqs: "SQSClient"
    events: "EventBridgeClient"
    sns: "SNSClient"
    bus: str
    topic: str
    name: str
    """The name of the queue and of the rule, at most 64 characters."""
    _queue: str = field(default="", init=False)
    _subscription: str = field(default="", init=False)
    _heard: list[str] = field(default_factory=list, init=False)

    def open(self) -> None:
        """Create the resources. If this fails midway, ``close`` removes those created so far."""
        self._queue = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        rule = self.events.put_rule(
            Name=self.name, EventBusName=self.bus, EventPattern=json.dumps({"source": ["tallyfy-lifecycle"]})
        )["RuleArn"]
        self.sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": _policy(arn, rule, self.topic)})
        self.events.put_targets(Rule=self.name, EventBusName=self.bus, Targets=[{"Id": _TARGET, "Arn": arn}])
        self._subscription = self.sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]

    def heard(self, text: str) -> bool:
        """Whether an event or a notice with this text has arrived since ``open``."""
        found = self.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in found.get("Messages", []):
            self._heard.append(message["Body"])
            self.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return any(text in body for body in self._heard)

    def others(self) -> int:
        """How many confirmed subscriptions the topic has besides this one."""
        pages = self.sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=self.topic)
        arns = [one.get("SubscriptionArn", "") for page in pages for one in page["Subscriptions"]]
        return sum(arn.startswith("arn:") and arn != self._subscription for arn in arns)

    def close(self) -> None:
        """Remove everything that ``open`` made."""
        if self._subscription:
            self.sns.unsubscribe(SubscriptionArn=self._subscription)
        if self._queue:
            self.events.remove_targets(Rule=self.name, EventBusName=self.bus, Ids=[_TARGET])
            self.events.delete_rule(Name=self.name, EventBusName=self.bus)
            self.sqs.delete_queue(QueueUrl=self._queue)
        self._queue = self._subscription = ""


def _policy(queue: str, rule: str, topic: str) -> str:
    """Return the queue policy: only this rule and this topic may send messages."""
    senders = {"events.amazonaws.com": rule, "sns.amazonaws.com": topic}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": service},
                    "Action": "sqs:SendMessage",
                    "Resource": queue,
                    "Condition": {"ArnEquals": {"aws:SourceArn": source}},
                }
                for service, source in senders.items()
            ],
        }
    )
