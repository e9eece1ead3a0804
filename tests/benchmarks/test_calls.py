"""The processor time of calls: of Tallyfy's API, beside the sample in its documentation, and of warm functions."""

import pytest

from lifecycle.domain.capabilities import Action
from sandbox.simulator import DefaultIds, make_id
from tests.benchmarks.cases import CASES, FLOORS, ORG, batch
from tests.benchmarks.results import Results, estimate
from tests.benchmarks.runtime import FakeServices, FunctionProcess, Throttle
from tests.benchmarks.staging import StagingFolder

ROUNDS = 9
CALLS = 50
WARM = 30
UNLIMITED = {"RATE_PER_MINUTE": "6000"}
"""At the ordinary rate, most of a batch would wait for its turn and cost next to nothing."""


@pytest.mark.benchmark
def test_processor_time_of_a_tallyfy_call_beside_tallyfys_own_sample(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results
) -> None:
    def spent(process: FunctionProcess) -> float:
        event = {"times": str(CALLS), "org": ORG, "id": DefaultIds.RUN}
        answer, found = process.invoke(event, processor, 1.0)
        assert answer == {"statusCode": 200}
        return found.cpu / CALLS

    with (
        FunctionProcess(staged, "sample_calls", services.port, ORG) as sample,
        FunctionProcess(staged, "our_calls", services.port, ORG) as ours,
    ):
        spent(ours), spent(sample)
        pairs = [(spent(ours), spent(sample)) for _ in range(ROUNDS)]
    rows: list[dict[str, object]] = [
        {
            "client": "a connection for each call",
            "CPU ms a call": estimate([each for _, each in pairs]),
            "/ sample": "",
        },
        {
            "client": "ours",
            "CPU ms a call": estimate([each for each, _ in pairs]),
            "/ sample": estimate([mine / other for mine, other in pairs]),
        },
    ]
    results.add(f"A call of Tallyfy's API over TLS, {ROUNDS} rounds of {CALLS}", rows)


@pytest.mark.benchmark
def test_processor_time_of_a_warm_invocation(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results
) -> None:
    rows: list[dict[str, object]] = []
    for case in (*FLOORS, *CASES):
        services.reset()
        with FunctionProcess(staged, case.task, services.port, ORG) as process:
            process.invoke(case.event(), processor, 1.0)
            samples = []
            for _ in range(WARM):
                services.reset()
                answer, found = process.invoke(case.event(), processor, 1.0)
                assert case.holds(answer), answer
                samples.append(found.cpu)
            calls = services.reset()
        made = ", ".join(f"{name} {times}" if times > 1 else name for name, times in sorted(calls.items()))
        rows.append({"function": case.name, "CPU ms": estimate(samples), "calls": made})
    results.add(f"A warm invocation with one record, {WARM} times", rows)


@pytest.mark.benchmark
def test_processor_time_of_a_batch_of_ten_in_the_worker(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results
) -> None:
    runs = tuple(make_id("run", number) for number in range(10))
    with (
        FunctionProcess(staged, "WorkerFunction", services.port, ORG, variables=UNLIMITED) as worker,
        FunctionProcess(staged, "worker", services.port, ORG) as floor,
    ):
        pairs = []
        for _ in range(ROUNDS + 1):
            spent = []
            for process in (worker, floor):
                services.reset()
                answer, found = process.invoke(batch(Action.ARCHIVE, "", 10, things=runs), processor, 1.0)
                assert answer == {"batchItemFailures": []}
                assert services.reset()["Tallyfy DELETE"] == 10, "every command must be carried out"
                spent.append(found.cpu)
            pairs.append((spent[0], spent[1]))
    mine = estimate([one / 10 for one, _ in pairs[1:]])
    ratio = estimate([one / other for one, other in pairs[1:]])
    results.add(
        "A batch of ten commands, warm, beside 2 PutItem + GET + DELETE each",
        [{"function": "worker", "CPU ms a command": mine, "/ floor": ratio}],
    )
