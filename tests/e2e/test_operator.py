"""What people ask for under their own AWS identity, through the deployed template: signed, known, and allowed."""

import uuid
from dataclasses import replace

import pytest
import requests

from lifecycle.deletion.manifest import Manifest
from sandbox.simulator import Seed, SeedOrganization, SeedRun, SeedTask, make_id
from tests.e2e.bench import ORG, Bench

pytestmark = pytest.mark.e2e

ROUTES = (
    ("GET", "/approvals"),
    ("GET", f"/approvals/{'0' * 64}"),
    ("POST", f"/approvals/{'0' * 64}/approve"),
    ("POST", f"/approvals/{'0' * 64}/reject"),
    ("POST", f"/commands/int_{'0' * 48}/undo"),
)


def sown(bench: Bench, **more: object) -> str:
    """A process of its own."""
    run = make_id("operator", str(uuid.uuid4()))
    made = SeedRun(id=run, name="Onboard Initech", **more)  # type: ignore[arg-type] # a seed checks what it is given
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=[made])]))
    return run


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda word: str(word).strip("/").split("/")[-1])
def test_unsigned_and_unknown_callers_are_refused(bench: Bench, method: str, path: str) -> None:
    url = bench.stack.api_url + path
    assert requests.request(method, url, timeout=30).status_code in {401, 403}
    bearer = requests.request(method, url, headers={"authorization": "Bearer x"}, timeout=30)
    assert bearer.status_code in {401, 403}
    forged = replace(bench.person("grace"), secret_key="x" * 40)
    assert bench.stack.call(method, path, forged).status_code == 403

    stranger = bench.stack.call(method, path, bench.person("mallory"))

    assert (stranger.status_code, stranger.json()["code"]) == (403, "right_missing")
    assert bench.person("mallory").arn in stranger.json()["detail"]


def test_iam_decides_who_may_call_and_root_is_not_a_person(bench: Bench) -> None:
    refused = bench.stack.call("GET", "/approvals", bench.stack.person("hopper", may_call=False))
    assert refused.status_code == 403
    assert "execute-api:Invoke" in refused.text
    assert bench.stack.call("GET", "/approvals").json()["code"] == "right_missing"


def test_a_person_in_people_toml_is_accepted(bench: Bench) -> None:
    answer = bench.stack.call("GET", "/approvals", bench.person("grace"))
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["approvals"], list)
    unknown = bench.stack.call("GET", f"/approvals/{'0' * 64}", bench.person("grace"))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_approval")


def test_a_permanent_delete_waits_for_approval_and_is_exported_first(bench: Bench) -> None:
    run = sown(
        bench, archived_at="-45d", tasks=[SeedTask(id=make_id("operator", "task", str(uuid.uuid4())), title="Sign")]
    )
    intent_id = bench.ask("delete", "run", run)
    name = bench.asked_for(intent_id)
    assert bench.writes(run) == []
    assert bench.status(intent_id)["status"] == "waiting"

    approved = bench.stack.call("POST", f"/approvals/{name}/approve", bench.person("linus"))

    assert approved.status_code == 200, approved.text
    assert (approved.json()["stands"], approved.json()["approved_by"]) == ("approved", ["linus"])
    end = bench.conclusion(intent_id)
    assert end["status"] == "done", end
    assert bench.simulator.effects("delete", run) == 1
    s3 = bench.stack.session().client("s3", endpoint_url=bench.stack.endpoint_url)
    bucket, prefix = bench.stack.outputs["ExportsBucketName"], f"exports/{ORG}/run/{run}/{intent_id}-"
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    [name] = [one["Key"] for one in listed if one["Key"].endswith("/manifest.json")]
    kept = s3.get_object(Bucket=bucket, Key=name)
    manifest = Manifest.parse(kept["Body"].read())
    assert manifest.complete
    assert manifest.counts["tasks"] == 1


def test_a_rejected_delete_changes_nothing(bench: Bench) -> None:
    run = sown(bench, archived_at="-45d")
    intent_id = bench.ask("delete", "run", run)
    name = bench.asked_for(intent_id)

    refused = bench.stack.call("POST", f"/approvals/{name}/reject", bench.person("grace"), {"why": "Needed in March"})

    assert refused.status_code == 200, refused.text
    end = bench.conclusion(intent_id)
    assert (end["status"], bench.writes(run)) == ("rejected", [])
    assert "Needed in March" in end["reason"]
    late = bench.stack.call("POST", f"/approvals/{name}/approve", bench.person("linus"))
    assert late.status_code == 404


def test_an_archive_is_undone_by_its_intent(bench: Bench) -> None:
    run = sown(bench)
    intent_id = bench.ask("archive", "run", run)
    assert bench.conclusion(intent_id)["status"] == "done"
    path = f"/commands/{intent_id}/undo"
    assert bench.stack.call("POST", path, bench.person("linus")).json()["code"] == "right_missing"

    undone = bench.stack.call("POST", path, bench.person("grace"))

    assert undone.status_code == 202, undone.text
    assert bench.stack.call("POST", path, bench.person("grace")).json() == undone.json()
    assert bench.conclusion(undone.json()["intent_id"])["status"] == "done"
    assert [method for method, _ in bench.writes(run)] == ["DELETE", "PUT"]
