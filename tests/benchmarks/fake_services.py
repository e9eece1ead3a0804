"""AWS and Tallyfy on one loopback port, over TLS, for processes that are measured.

It runs in a separate process, so that its work is not measured. It keeps the rows of DynamoDB and ignores conditions:
each measured process starts with an empty table. A line on standard input empties the table. The answer on standard
output is a JSON object: the number of calls by name, and of DynamoDB's write and read units, since the previous line.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from sandbox.simulator import DEFAULT_TOKEN, Simulator, crowd, make_id
from sandbox.simulator.messages import ReceivedRequest, Response, parse_query

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The signing secret of every source and of Slack."""
ID_KEY = "the id key of a stack that is measured"

type Json = dict[str, Any]

_WRITE_UNIT, _READ_UNIT = 1024, 4096
"""Bytes (AWS, "DynamoDB read and write operations")."""


@dataclass(slots=True)
class FakeAws:
    """Answers the AWS operations that the functions use, in AWS's JSON protocols."""

    rows: dict[tuple[str, str], Json] = field(default_factory=dict)
    units: Counter[str] = field(default_factory=Counter)
    """The write units, and the halves of read units, by the rules of DynamoDB's on-demand tables."""

    def answer(self, operation: str, asked: Json) -> Json:
        """Answer one operation with the success answer of AWS."""
        if operation in {"PutItem", "TransactWriteItems", "GetItem", "BatchGetItem", "Query"}:
            return self._rows(operation, asked)
        match operation:
            case "GetSecretValue":
                return {"Name": asked["SecretId"], "SecretString": _secret(asked["SecretId"]), "CreatedDate": 1.0}
            case "SendMessage":
                return {"MessageId": "00000000-0000-0000-0000-000000000000", "MD5OfMessageBody": "0" * 32}
            case "SendMessageBatch":
                return {"Successful": [{"Id": entry["Id"], "MessageId": "0"} for entry in asked["Entries"]]}
            case "PutEvents":
                return {"FailedEntryCount": 0, "Entries": [{"EventId": "0"} for _ in asked["Entries"]]}
            case "CreateSchedule":
                return {"ScheduleArn": "arn:aws:scheduler:eu-west-1:123456789012:schedule/group/name"}
            case _:
                return {}

    def _rows(self, operation: str, asked: Json) -> Json:
        match operation:
            case "GetItem":
                row = self.rows.get(_key(asked["Key"]))
                self._read([row], consistent=asked.get("ConsistentRead", False))
                return {"Item": row} if row else {}
            case "BatchGetItem":
                found = {
                    table: [self.rows[key] for key in map(_key, keys["Keys"]) if key in self.rows]
                    for table, keys in asked["RequestItems"].items()
                }
                for table, keys in asked["RequestItems"].items():
                    missing: list[Json | None] = [None] * (len(keys["Keys"]) - len(found[table]))
                    self._read([*found[table], *missing], consistent=keys.get("ConsistentRead", False))
                return {"Responses": found, "UnprocessedKeys": {}}
            case "Query":
                partition = asked["ExpressionAttributeValues"][":pk"]["S"]
                items = [row for (pk, _), row in sorted(self.rows.items()) if pk == partition]
                self._read(
                    [{"all": {"L": [{"M": item} for item in items]}}], consistent=asked.get("ConsistentRead", False)
                )
                return {"Items": items, "Count": len(items)}
            case _:
                factor = 2 if "TransactItems" in asked else 1
                for entry in asked.get("TransactItems", [{"Put": asked}]):
                    if "Put" in entry:
                        item = entry["Put"]["Item"]
                        largest = max(_size({"M": item}), _size({"M": self.rows.get(_key(item), {})}))
                        self.units["write"] += factor * -(-largest // _WRITE_UNIT)
                        self.rows[_key(item)] = item
                    else:
                        self.units["write"] += factor
                return {}

    def _read(self, items: Sequence[Json | None], *, consistent: bool) -> None:
        for item in items:
            blocks = max(1, -(-_size({"M": item or {}}) // _READ_UNIT))
            self.units["half reads"] += blocks * (2 if consistent else 1)


class FakeServices:
    """The server. Requests to AWS hosts go to the fake AWS, all others to the Tallyfy simulator."""

    def __init__(self) -> None:
        self._tallyfy, self._aws = Simulator(), FakeAws()
        self.calls: Counter[str] = Counter()

    def reset(self) -> Json:
        """Empty the table, seed Tallyfy again, and return the calls and units so far."""
        counted: Json = {"calls": self.calls, "units": self._aws.units}
        self.calls = Counter()
        self._aws = FakeAws()
        self._tallyfy.reset()
        self._tallyfy.merge(crowd(10, checklist_id=make_id("template", 1)))
        return counted

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until the client closes it."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
                body = await reader.readexactly(int(headers.get("content-length") or 0))
                response = self._answer(line, headers, body)
                more = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
                status = f"HTTP/1.1 {response.status} OK\r\ncontent-length: {len(response.body)}\r\n{more}\r\n"
                writer.write(status.encode("latin-1") + response.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, line: str, headers: Mapping[str, str], body: bytes) -> Response:
        method, target, _ = line.split(" ", 2)
        if "amazonaws" not in headers.get("host", ""):
            url = urlsplit(target)
            self.calls[f"Tallyfy {method}"] += 1
            return self._tallyfy.handle(
                ReceivedRequest(method, unquote(url.path), parse_query(url.query), headers, body)
            )
        operation = headers.get("x-amz-target", "").rpartition(".")[2] or _rest_operation(headers["host"], method)
        self.calls[operation] += 1
        answer = self._aws.answer(operation, json.loads(body) if body[:1] == b"{" else {})
        return Response(200, json.dumps(answer).encode(), {"content-type": "application/x-amz-json-1.0"})


def _rest_operation(host: str, method: str) -> str:
    """Return the name of an operation of a REST service: EventBridge Scheduler, or S3 by the method."""
    return "CreateSchedule" if host.startswith("scheduler.") else f"S3 {method}"


def _secret(name: str) -> str:
    return DEFAULT_TOKEN if "/tokens/" in name else ID_KEY if "IdKey" in name else WHSEC


def _size(value: Json) -> int:
    """The bytes of a value in DynamoDB: a number takes a byte for two digits, a list or map three more."""
    [(kind, inner)] = value.items()
    match kind:
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in inner.items())
        case "L":
            return 3 + sum(1 + _size(each) for each in inner)
        case "N":
            return 1 + -(-len(inner) // 2)
        case "S":
            return len(inner.encode())
        case _:
            return 1


def _key(item: Json) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


async def _main(chain: str, key: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain, key)
    services = FakeServices()
    server = await asyncio.start_server(services.serve, "127.0.0.1", 0, ssl=tls, backlog=64)
    print(server.sockets[0].getsockname()[1], flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while await commands.readline():
        print(json.dumps(services.reset()), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:3]))
