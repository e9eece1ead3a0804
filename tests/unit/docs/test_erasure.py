"""docs/erasure.md, followed: what it says to type does what it says, and nothing of the person is left behind."""

import json
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

from lifecycle.approvals.people import People
from lifecycle.audit.chain import Head, hour_of
from lifecycle.audit.sealer import Sealer
from lifecycle.audit.store import AuditStore
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.deletion.manifest import Manifest
from lifecycle.domain.capabilities import Resource, State
from sandbox.simulator import SeedRun, SeedTask
from tests.harness.world import World
from tests.unit.cli.harness import ORG, CliHarness
from tests.unit.cli.planned import organization

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "erasure.md").read_text(encoding="utf-8")
BLOCKS = [line.strip() for line in DOCUMENT.splitlines() if re.match(r" *(lifecycle|aws) ", line)]
THING = "5e" * 16
PERSON = "Jane Doe"


class Followed:
    """A process about a person, deleted as it should be, and the commands of the page."""

    def __init__(self) -> None:
        self.desk = CliHarness()
        self.world = World(self.desk.clock, people=People.parse(self.desk.people))
        self.desk.stand_before(self.world)
        assert isinstance(self.world.objects, MemoryObjects)
        self.exports = self.desk.stack.evidence = self.world.objects
        AuditStore(self.world.rows).move(Head(through=hour_of(self.desk.clock() - timedelta(hours=1))), 0)
        step = SeedTask(id="0a" * 16, title=f"Call {PERSON}")
        seen = {"archived_at": "-40d", "completed_at": "-60d", "status": "complete"}
        named = {"name": f"Onboarding of {PERSON}", "form_fields": {"name": PERSON}}
        made = SeedRun.model_validate({"id": THING, "tasks": [step], **seen, **named})
        self.world.simulator.load(organization([made]))
        self._delete()
        [folder] = {key.rpartition("/")[0] for key in self.exports.keys(f"exports/{ORG}/run/{THING}/")}
        self.words = {
            "id": THING,
            "organization": ORG,
            "kind": "run",
            "intent": self.intent,
            "name": folder.rpartition("/")[2],
            "hash": self.hash,
        }
        assert folder.startswith(f"exports/{ORG}/run/{THING}/{self.intent}-")

    def _delete(self) -> None:
        words = ("process", "delete", THING, "--org", ORG, "--reason", "Request 17", "--yes")
        self.intent = re.findall(r"int_[0-9a-f]{48}", self.desk.run("send", *words).output)[0]
        self.world.drain(self.world.purge())
        [request] = self.desk.approvals().open(ORG)
        self.hash = request.hash
        self.desk.stack.who = "bob"
        assert self.desk.run("approve", self.hash, "--yes").exit_code == 0
        self.world.drain(self.world.purge())
        assert self.world.state(Resource.RUN, THING) is State.GONE
        self.desk.clock.advance(timedelta(hours=3))
        sealer = Sealer(
            trail=AuditStore(self.world.rows),
            objects=self.desk.stack.audit(),
            metrics=MemoryMetrics(),
            clock=self.desk.clock,
            time_left=lambda: 900.0,
        )
        assert sealer.seal()

    def typed(self, line: str) -> list[str]:
        """A command of the page, its placeholders filled in."""
        return shlex.split(re.sub(r"<(\w+)>", lambda found: self.words.get(str(found[1]), str(found[1])), line))

    def rows_about_the_person(self) -> set[tuple[str, str]]:
        table = self.world.rows.table
        return {(key.pk, key.sk) for key, row in table.items() if PERSON in json.dumps(dict(row.values))}


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_the_example_stores_personal_data_to_erase(followed: Followed) -> None:
    assert any(PERSON.encode() in body for body in followed.exports.bodies.values())
    assert followed.rows_about_the_person()


def test_the_documented_commands_erase_the_content_of_the_export(followed: Followed) -> None:
    ours = [line for line in BLOCKS if line.startswith("lifecycle ")]
    assert [line.split()[1:3] for line in ours] == [["audit", "show"], ["export", "erase"], ["audit", "verify"]]
    outputs = []
    for line in ours:
        result = followed.desk.run(*followed.typed(line)[1:])
        assert result.exit_code == 0, (line, result.output)
        outputs.append(result.output)
    assert followed.intent in re.sub(r"\s+", "", outputs[0])
    assert "unbroken" in outputs[-1]
    [(key, body)] = followed.exports.bodies.items()
    stone = Manifest.parse(body)
    assert key.endswith("/manifest.json")
    assert stone.erased is not None
    assert stone.erased.reason == "Request 17"
    assert all(part.sha256 for part in stone.parts)
    assert PERSON.encode() not in body


def test_the_documented_folder_holds_the_export(followed: Followed) -> None:
    [line] = [line for line in BLOCKS if line.startswith("aws s3 ls")]
    prefix = followed.typed(line)[-1].partition("ExportsBucketName/")[2]
    assert followed.exports.keys(prefix)


def test_the_audit_trail_never_holds_the_personal_data(followed: Followed) -> None:
    segments = followed.desk.stack.audit().bodies
    assert segments
    assert not any(PERSON.encode() in body for body in segments.values())
    assert not any(pk.startswith("audit#") for pk, _ in followed.rows_about_the_person())


def test_the_documented_rows_are_all_that_mention_the_person(followed: Followed) -> None:
    keys = [
        json.loads(words[words.index("--key") + 1])
        for words in (followed.typed(line) for line in BLOCKS if line.startswith("aws dynamodb delete-item"))
    ]
    named = {(key["pk"]["S"], key["sk"]["S"]) for key in keys}
    present = {(key.pk, key.sk) for key in followed.world.rows.table}
    assert named <= present
    assert followed.rows_about_the_person() <= named
    status = followed.desk.run("status", followed.intent)
    assert (status.exit_code, "done" in status.output) == (0, True)
