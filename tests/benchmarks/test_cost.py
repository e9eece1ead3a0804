"""What a command costs on AWS: the calls and units that are counted at the fake services, times the list prices.

Nothing here comes from a bill. A function's time is its processor time at the share of its memory, without waiting.
"""

import pytest

from lifecycle.domain.capabilities import Action
from sandbox.simulator import make_id
from tests.benchmarks.cases import ORG, batch, webhook
from tests.benchmarks.results import Results, estimate
from tests.benchmarks.runtime import FakeServices, FunctionProcess, Throttle
from tests.benchmarks.staging import StagingFolder

ROUNDS = 7
FULL_PROCESSOR = 1769
PRICES = {
    "HTTP API request": 1.00,
    "Lambda request": 0.20,
    "Lambda GB-second": 13.3334,
    "SQS request": 0.40,
    "DynamoDB write unit": 0.625,
    "DynamoDB read unit": 0.125,
    "EventBridge event": 1.00,
}
"""Dollars a million, us-east-1, arm64, on demand, without free tiers (AWS price lists, November 2026)."""


@pytest.mark.benchmark
@pytest.mark.parametrize("size", [1, 10], ids=["alone", "in tens"])
def test_units_calls_and_dollars_of_a_command(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results, size: int
) -> None:
    runs = tuple(make_id("run", number) for number in range(10))
    with (
        FunctionProcess(staged, "WebhookFunction", services.port, ORG) as intake,
        FunctionProcess(staged, "WorkerFunction", services.port, ORG, variables={"RATE_PER_MINUTE": "6000"}) as worker,
    ):

        def counted(process: FunctionProcess, event: object) -> tuple[dict[str, int], dict[str, int], float]:
            services.reset()
            _, spent = process.invoke(event, processor, 1.0)
            return services.reset(), services.units, spent.cpu

        def command() -> object:
            return batch(Action.ARCHIVE, "", size, things=runs)

        counted(intake, webhook()), counted(worker, command())
        asked = [counted(intake, webhook()) for _ in range(ROUNDS)]
        done = [counted(worker, command()) for _ in range(ROUNDS)]
    (sent, taken, _), (made, spent, _) = asked[-1], done[-1]
    assert made["Tallyfy DELETE"] == size, "every command must be carried out"
    milliseconds = (
        estimate([cpu for *_, cpu in asked]).median * FULL_PROCESSOR / staged.memory("WebhookFunction"),
        estimate([cpu / size for *_, cpu in done]).median * FULL_PROCESSOR / staged.memory("WorkerFunction"),
    )
    memory = (staged.memory("WebhookFunction"), staged.memory("WorkerFunction"))
    amounts = {
        "HTTP API request": 1.0,
        "Lambda request": 1 + 1 / size,
        "Lambda GB-second": sum(time * each / 1024 / 1000 for time, each in zip(milliseconds, memory, strict=True)),
        "SQS request": sent["SendMessage"]
        + made.get("SendMessage", 0) / size
        + 2 / size,  # Lambda receives and deletes.
        "DynamoDB write unit": taken["write"] + spent["write"] / size,
        "DynamoDB read unit": (taken.get("half reads", 0) + spent["half reads"] / size) / 2,
        "EventBridge event": 1.0,
    }
    rows: list[dict[str, object]] = [
        {"what": name, "a command": round(amount, 3), "dollars a million": round(amount * PRICES[name], 2)}
        for name, amount in amounts.items()
    ]
    total = sum(amount * PRICES[name] for name, amount in amounts.items())
    rows.append({"what": "all", "a command": "", "dollars a million": round(total, 2)})
    results.add(f"The cost of a command, webhook to outcome, {'alone' if size == 1 else 'in tens'}", rows)
