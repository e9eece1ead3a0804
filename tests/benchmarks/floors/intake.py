"""The floor of intake: the minimal work of a function that validates a request and sends it to a queue.

It uses a plain boto3 SQS client, created at import as in AWS's examples, and the product's own models. It has no
checks, no ledger and no log.
"""

import boto3

from lifecycle.domain.commands import CommandRequest

sqs = boto3.client("sqs")


def handler(event: dict[str, str], context: object) -> dict[str, int]:
    """Validate the body and send one message."""
    request = CommandRequest.model_validate_json(event["body"])
    sqs.send_message(QueueUrl=event["queue"], MessageBody=request.model_dump_json())
    return {"statusCode": 202}
