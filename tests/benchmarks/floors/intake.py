"""The floor of intake: what no function can do without that validates a request and sends it to a queue.

A stock boto3 client of SQS, made where examples make it, and the product's own models. No check, no ledger, no log.
"""

import boto3

from lifecycle.domain.commands import CommandRequest

sqs = boto3.client("sqs")


def handler(event: dict[str, str], context: object) -> dict[str, int]:
    """Validate the body and send one message."""
    request = CommandRequest.model_validate_json(event["body"])
    sqs.send_message(QueueUrl=event["queue"], MessageBody=request.model_dump_json())
    return {"statusCode": 202}
