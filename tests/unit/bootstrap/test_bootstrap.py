"""What a function is built with, by its environment and the operator's files alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from lifecycle.aws import clients
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.bootstrap import chat, common, operating, tallyfy
from lifecycle.chat.slack.replies import SlackPoster
from lifecycle.domain.capabilities import ORDINARY, PERMANENT
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer
from lifecycle.pacing.token_bucket import Lane
from sandbox.build import ROOT
from tests.unit.bootstrap.test_settings import CHAT, CHAT_JOBS, OPERATOR, PURGE, SWEEP, WORKER

CACHES = (
    tallyfy.worker,
    tallyfy.purge,
    tallyfy.sweep,
    tallyfy.chat_jobs,
    operating.operating,
    chat.chat,
    clients.client,
    tallyfy._settings,
    common.secrets,
)

type Given = Callable[[Mapping[str, str]], None]


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Given]:
    """Each process is built once; here each test is one. Nothing of the caller's AWS account is used."""
    account = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}

    def environment(variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    environment(account)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "lifecycle_config").symlink_to(ROOT / "layers" / "config")  # As the layer brings it.
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("lifecycle_config", None)
    for cached in CACHES:
        cached.cache_clear()
    yield environment
    sys.modules.pop("lifecycle_config", None)
    for cached in CACHES:
        cached.cache_clear()


@pytest.mark.parametrize("lane", Lane)
def test_a_worker_uses_the_lane_of_its_environment(lane: Lane, given: Given) -> None:
    given({**WORKER, "LANE": lane.value})
    assert tallyfy.worker().budget._pacing._lane is lane


def test_the_ordinary_worker_cannot_express_a_permanent_delete(given: Given) -> None:
    given(WORKER)
    made = tallyfy.worker()
    assert made.capabilities == ORDINARY
    assert made.executor.safeguards is None


def test_the_purge_worker_has_its_safeguards(given: Given) -> None:
    given(PURGE)
    made = tallyfy.purge()
    assert made.capabilities == PERMANENT
    assert made.executor.safeguards is not None
    # What is parked comes back into the queue it was taken from, or, if that fails, into its dead letters.
    schedules = made.executor.safeguards.schedules._schedules  # type: ignore[attr-defined]
    assert (schedules.queue_arn, schedules.dead_letter_arn) == (
        PURGE["QUEUE_ARN"],
        PURGE["DEAD_LETTER_QUEUE_ARN"],
    )


def test_a_sweep_requests_approval_from_the_people_of_its_file(given: Given) -> None:
    given(SWEEP)
    assert tallyfy.sweep().apply_job.people.approvals.plan >= tallyfy.sweep().apply_job.people.approvals.single


def test_functions_that_take_approvals_know_the_three_queues(given: Given) -> None:
    given(OPERATOR)
    made = operating.operating()
    ways = (made.undoing.commands, made.approving.purge, made.approving.sweeps)
    assert [way._url for way in ways] == [  # type: ignore[attr-defined]
        *(OPERATOR["COMMANDS_QUEUE_URL"], OPERATOR["PURGE_QUEUE_URL"], OPERATOR["SWEEPS_QUEUE_URL"])
    ]


def test_the_chat_function_is_built_from_its_environment(given: Given) -> None:
    given(CHAT)
    assert chat.chat().service.org_ids == {CHAT["ORGANIZATION_IDS"]}


def test_later_answers_go_to_the_tool_alone_and_to_a_simulator_only_on_loopback(given: Given) -> None:
    given(CHAT_JOBS)
    poster = tallyfy.chat_jobs().posts.poster("slack")
    assert isinstance(poster, SlackPoster)
    assert poster._also is None
    with pytest.raises(Rejected):
        poster.post("https://example.com/x", Answer(text="Done."), str)
    assert tallyfy.chat_jobs().tallyfy._capabilities == frozenset()  # type: ignore[attr-defined]


@pytest.mark.parametrize("unwanted", ["requests", "lifecycle.chat.teams", "lifecycle.intake", "lifecycle.tallyfy"])
def test_the_chat_function_imports_only_the_tool_whose_people_it_knows(unwanted: str) -> None:
    code = f"import sys, functions.chat.app; print({unwanted!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@cache
def imported(*modules: str) -> frozenset[str]:
    """The modules that a new process has when it has imported these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = frozenset(done.stdout.split())
    assert found.issuperset(modules)
    return found


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("intake", "lifecycle.aws.s3"),
        ("chat", "lifecycle.aws.s3"),
        ("lookup", "lifecycle.aws.s3"),
        ("tallyfy", "lifecycle.plans.report"),
        ("intake", "boto3"),
        ("intake", "lifecycle.policy.policy"),
        ("sqs_batch", "asyncio"),
        ("tallyfy", "s3transfer"),
        ("tallyfy", "lifecycle.sweep.service"),
        ("tallyfy", "lifecycle.sweep.warn_job"),
        ("tallyfy", "lifecycle.deletion.safeguards"),
    ],
)
def test_a_function_imports_nothing_that_only_another_needs(module: str, unwanted: str) -> None:
    assert unwanted not in imported(f"lifecycle.bootstrap.{module}")


@pytest.mark.parametrize(
    "unwanted", ["lifecycle.approvals", "lifecycle.api.schemas.approvals", "lifecycle.execution.status"]
)
def test_the_webhook_imports_only_the_answers_that_it_gives(unwanted: str) -> None:
    assert unwanted not in imported("lifecycle.bootstrap.intake", "lifecycle.api.routes")


def test_a_failure_at_start_is_raised_by_the_first_invocation() -> None:
    tried = []

    def fails() -> None:
        tried.append("first")
        raise Rejected(Code.CONFIGURATION, "A variable is missing.")

    common.at_start(fails, lambda: tried.append("second"))

    assert tried == ["first", "second"]


def test_the_garbage_collector_is_off_during_start_and_on_afterwards() -> None:
    code = (
        "import gc, lifecycle; off = not gc.isenabled()\n"
        "from lifecycle.bootstrap.common import at_start; at_start(); print(off, gc.isenabled())"
    )
    for variables, expected in ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "True True"), ({}, "False True"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_a_worker_reads_its_first_token_at_start(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    given(WORKER)
    name = f"{WORKER['SECRET_PREFIX']}/tokens/{WORKER['ORGANIZATION_IDS'].split(',')[0]}"
    stored = MemorySecrets({name: "token"})
    monkeypatch.setattr(tallyfy, "secrets", lambda: stored)
    assert tallyfy.worker_token() == "token"


def test_requests_is_imported_in_silence_without_the_detection_of_encodings_that_the_layer_leaves_out() -> None:
    code = "import sys; sys.modules['charset_normalizer'] = None; import lifecycle.tallyfy.client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
