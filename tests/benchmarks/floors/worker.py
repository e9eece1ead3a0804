"""The floor of the workers: for each record two writes to a table, one read and one write through the API.

It uses plain boto3 clients, a requests session, and the product's own models. It has no guards,
pacing, outcomes or log.
"""

import boto3
import requests

from lifecycle.domain.commands import Command

sqs = boto3.client("sqs")
dynamodb = boto3.client("dynamodb")
session = requests.Session()
session.headers["Authorization"] = "Bearer simulator-admin-token"
session.headers["X-Tallyfy-Client"] = "APIClient"
BASE = "https://go.tallyfy.com/api"


def handler(event: dict[str, list[dict[str, str]]], context: object) -> dict[str, list[str]]:
    """Carry out the command of each record."""
    for record in event["Records"]:
        command = Command.model_validate_json(record["body"])
        thing = f"{BASE}/organizations/{command.org_id}/runs/{command.id}"
        row = {"pk": {"S": f"intent#{command.intent_id}"}, "sk": {"S": "-"}, "status": {"S": "in_progress"}}
        dynamodb.put_item(TableName="LedgerTable", Item=row)
        session.get(thing, timeout=5).raise_for_status()
        session.delete(thing, timeout=5).raise_for_status()
        dynamodb.put_item(TableName="LedgerTable", Item=row | {"status": {"S": "done"}})
    return {"batchItemFailures": []}
