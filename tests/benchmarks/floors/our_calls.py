"""The calls of ``sample_calls`` with the product's client, which reduces each answer to facts."""

from lifecycle.aws.secrets import MemorySecrets
from lifecycle.domain.capabilities import ORDINARY, Resource
from lifecycle.tallyfy.client import HttpTallyfy, Tokens, pooled_session

session = pooled_session()


def handler(event: dict[str, str], context: object) -> dict[str, int]:
    """Read one process as many times as the event says."""
    org = event["org"]
    tokens = Tokens(MemorySecrets({f"stack/tokens/{org}": "simulator-admin-token"}), "stack", frozenset({org}))
    tallyfy = HttpTallyfy(
        session,
        "https://go.tallyfy.com/api",
        tokens,
        capabilities=ORDINARY,
        spend=lambda _: None,
        time_left=lambda: 60.0,
    )
    for _ in range(int(event["times"])):
        assert tallyfy.look(org, Resource.RUN, event["id"]) is not None
    return {"statusCode": 200}
