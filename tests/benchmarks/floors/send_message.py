"""Sends messages one by one with a stock boto3 client, as the floor of what a sweep enqueues."""

import boto3

sqs = boto3.client("sqs")


def handler(event: dict[str, str], context: object) -> dict[str, int]:
    """Send the same body as many times as the event says."""
    for _ in range(int(event["times"])):
        sqs.send_message(QueueUrl=event["queue"], MessageBody=event["body"])
    return {"statusCode": 200}
