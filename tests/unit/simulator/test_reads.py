"""Reads: access, filters, includes and pages."""

import time

import pytest
import requests

from sandbox.simulator import (
    DEFAULT_TOKEN,
    DefaultIds,
    Seed,
    SeedMember,
    SeedOrganization,
    Simulator,
    SimulatorTransport,
    crowd,
    make_id,
)
from tests.unit.simulator.conftest import BASE_URL, TallyfyCaller

IDS = DefaultIds


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", f"Basic {DEFAULT_TOKEN}"])
def test_a_wrong_token_is_refused(either: TallyfyCaller, header: str | None) -> None:
    answer = either("GET", "/runs", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"], answer.json()["code"]) == (401, True, 401)


def test_a_client_without_its_name_is_refused(either: TallyfyCaller) -> None:
    answer = either("DELETE", f"/runs/{IDS.RUN}", headers={"X-Tallyfy-Client": None})
    assert (answer.status_code, answer.json()["error"]) == (400, True)


def test_another_organization_is_refused(
    simulator: Simulator, session: requests.Session, tallyfy: TallyfyCaller
) -> None:
    other = make_id("another organization")
    assert session.get(f"{BASE_URL}/organizations/{other}/runs").status_code == 404
    simulator.merge(Seed(organizations=[SeedOrganization(id=other, members=[SeedMember(token="other")])]))
    assert session.get(f"{BASE_URL}/organizations/{other}/runs").status_code == 403
    simulator.world.rotate_token(IDS.ORGANIZATION, 1001, "new")
    assert tallyfy("GET", "/me").status_code == 401


def test_the_api_answers_with_and_without_its_prefix(session: requests.Session, tallyfy: TallyfyCaller) -> None:
    path = f"/organizations/{IDS.ORGANIZATION}/me"
    with_prefix = session.get(BASE_URL + path).json()
    assert with_prefix == session.get(BASE_URL.removesuffix("/api") + path).json()
    assert with_prefix["data"]["role"] == "admin"
    assert session.get(f"{BASE_URL}/me").json()["data"]["id"] == 1001
    assert tallyfy.read("")["auto_archive"] is False
    assert tallyfy("GET", "/nothing").status_code == 404
    assert tallyfy("PATCH", "/runs").status_code == 405


def test_runs_are_filtered(tallyfy: TallyfyCaller) -> None:
    archived = {IDS.RUN_ARCHIVED_LONG_AGO, IDS.RUN_ARCHIVED_RECENTLY}
    assert tallyfy.ids("/runs") == {IDS.RUN, IDS.ACTIVE_RUN}
    assert tallyfy.ids("/runs", archived="only") == tallyfy.ids("/runs", status="archived") == archived
    assert tallyfy.ids("/runs", status="complete") == {IDS.RUN}
    assert tallyfy.ids("/runs", archived="only", checklist_id=IDS.TEMPLATE) == {IDS.RUN_ARCHIVED_LONG_AGO}
    assert tallyfy.ids("/runs", tag=IDS.USED_TAG) == tallyfy.ids("/runs", tag_ids=IDS.USED_TAG) == {IDS.RUN}
    assert tallyfy.ids("/runs", tag="customers") == set()  # a title is not an id
    assert tallyfy.ids("/runs", q="globex") == {IDS.ACTIVE_RUN}
    assert tallyfy.ids("/runs", owners="7") == set()
    newest_first = [row["id"] for row in tallyfy.read("/runs", sort="-created_at")]
    assert newest_first == [IDS.ACTIVE_RUN, IDS.RUN]


def test_parts_of_a_run_are_shown_only_on_request(tallyfy: TallyfyCaller) -> None:
    wanted = "checklist,tags,tasks,tasks.threads,assets,form_fields,stages"
    row = tallyfy.read(f"/runs/{IDS.RUN}", **{"with": wanted, "form_fields_values": "true"})
    assert row["checklist"]["data"]["id"] == IDS.TEMPLATE
    assert row["tasks"]["data"][0]["threads"]["data"][0]["content"].startswith("Signed")
    assert row["assets"]["data"][0]["filename"] == "contract.txt"
    assert row["form_fields_values"] == {"Customer": "Acme"}
    assert "tasks" not in tallyfy.read(f"/runs/{IDS.RUN}")
    tasks = tallyfy.read(f"/runs/{IDS.RUN}/tasks", **{"with": "threads,assets,step"})
    assert [len(task["threads"]["data"]) for task in tasks] == [1, 0]


def test_templates_and_tasks_show_their_tags_only_on_request(simulator: Simulator, tallyfy: TallyfyCaller) -> None:
    simulator.organization.tasks[IDS.TASK].tags.add(IDS.USED_TAG)
    simulator.organization.tasks[IDS.PROCESS_TASK].tags.add(IDS.UNUSED_TAG)
    asked = {"with": "tags"}
    template, task = f"/checklists/{IDS.TEMPLATE}", f"/tasks/{IDS.TASK}"
    assert "tags" not in tallyfy.read(template) | tallyfy.read(task)
    assert [tag["title"] for tag in tallyfy.read(template, **asked)["tags"]] == ["customers"]
    assert [tag["title"] for tag in tallyfy.read(task, **asked)["tags"]["data"]] == ["customers"]
    listed = {row["id"]: row for path in ("/checklists", "/tasks") for row in tallyfy.read(path, **asked)}
    assert listed[IDS.TEMPLATE]["tags"] == tallyfy.read(template, **asked)["tags"]
    assert listed[IDS.TASK]["tags"] == tallyfy.read(task, **asked)["tags"]


def test_runs_and_templates_have_an_owner(tallyfy: TallyfyCaller) -> None:
    assert tallyfy.read(f"/runs/{IDS.RUN}")["owner_id"] == 1001
    assert tallyfy.read(f"/checklists/{IDS.TEMPLATE}")["owner_id"] == 1001


def test_tasks_are_filtered(tallyfy: TallyfyCaller) -> None:
    assert tallyfy.ids("/tasks", is_oneoff="true") == {IDS.TASK}
    assert tallyfy.ids("/tasks", is_oneoff="true", archived="true") == {IDS.TASK, IDS.ARCHIVED_TASK}
    assert tallyfy.ids("/tasks", archived="only") == {IDS.ARCHIVED_TASK}
    assert tallyfy.ids("/tasks", status="completed") == {IDS.PROCESS_TASK}
    assert tallyfy.ids("/tasks", created="2026-09-22:2026-09-23") == {IDS.TASK}
    assert tallyfy.ids("/tasks", created="2026-09-22", is_oneoff="false") == set()
    assert tallyfy("GET", "/tasks", params={"created": "yesterday"}).status_code == 422
    assert tallyfy.read(f"/tasks/{IDS.TASK}")["is_oneoff_task"] is True
    assert tallyfy.read(f"/tasks/{IDS.PROCESS_TASK}")["run_id"] == IDS.RUN


def test_a_tag_shows_its_usage_counts(tallyfy: TallyfyCaller) -> None:
    tallyfy("DELETE", f"/runs/{IDS.RUN}")
    statistics = tallyfy.read(f"/tags/{IDS.USED_TAG}", **{"with": "statistics"})["statistics"]["data"]
    assert statistics == {"active_template": 1, "archived_template": 0, "active_process": 0, "archived_process": 1}
    listed = {row["id"]: row["statistics"]["data"] for row in tallyfy.read("/tags", **{"with": "statistics"})}
    assert listed[IDS.USED_TAG] == statistics
    assert set(listed[IDS.UNUSED_TAG].values()) == {0}
    assert tallyfy.ids("/tags", all="true") - tallyfy.ids("/tags") == {IDS.MACHINE_TAG}


def test_times_are_formatted_with_and_without_milliseconds(tallyfy: TallyfyCaller) -> None:
    row = tallyfy.read(f"/runs/{IDS.RUN_ARCHIVED_RECENTLY}")
    assert (row["created_at"], row["archived_at"]) == ("2026-08-23T12:00:00Z", "2026-11-19T12:00:00.250Z")


def test_pages_hold_ten_by_default_and_a_hundred_at_most(simulator: Simulator, tallyfy: TallyfyCaller) -> None:
    simulator.load(crowd(250))
    first = tallyfy("GET", "/runs").json()["meta"]["pagination"]
    assert (first["total"], first["count"], first["total_pages"]) == (250, 10, 25)
    last = tallyfy("GET", "/runs", params={"per_page": 500, "page": 3}).json()["meta"]["pagination"]
    assert (last["per_page"], last["count"], last["current_page"]) == (100, 50, 3)
    beyond = tallyfy("GET", "/runs", params={"page": 99}).json()
    assert beyond["data"] == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/runs", {"created": "2000-01-01"}),
        ("/runs", {"with": "tags,everything"}),
        ("/runs", {"sort": "owner_id"}),
        ("/tasks", {"sort": "created_at"}),
        ("/checklists", {"sort": "created_at"}),
        ("/tags", {"sort": "title"}),
        (f"/runs/{IDS.RUN}/tasks", {"with": "tags"}),
        (f"/tasks/{IDS.TASK}", {"with": "comments"}),
        ("/activity-feeds", {"sort": "created_at"}),
        ("/runs", {"page": "0"}),
        ("/runs", {"page": "-1"}),
        ("/runs", {"page": "x"}),
        ("/runs", {"per_page": "0"}),
    ],
)
def test_an_undocumented_parameter_is_refused_by_name(tallyfy: TallyfyCaller, path: str, query: dict[str, str]) -> None:
    refused = tallyfy("GET", path, params=query)
    assert refused.status_code == 422
    assert set(refused.json()["errors"]) == set(query)


def test_the_link_to_the_next_page_leads_to_another_host(simulator: Simulator, tallyfy: TallyfyCaller) -> None:
    simulator.load(crowd(11))
    assert tallyfy("GET", "/runs").json()["meta"]["pagination"]["links"]["next"].startswith("https://pages.tallyfy.inv")
    assert tallyfy("GET", "/tags").json()["meta"]["pagination"]["links"] == []


def test_ten_thousand_runs_are_listed_and_archived_quickly() -> None:
    with requests.Session() as session:
        session.mount(BASE_URL, SimulatorTransport(Simulator(crowd(10_000))))
        tallyfy = TallyfyCaller(BASE_URL, session)
        started = time.process_time()
        listed = [row["id"] for page in range(1, 101) for row in tallyfy.read("/runs", page=page, per_page=100)]
        assert len(set(listed)) == 10_000
        for identifier in listed[:500]:
            assert tallyfy("DELETE", f"/runs/{identifier}").ok
    assert time.process_time() - started < 5  # measured: 0.6 s; the margin is for busy machines
