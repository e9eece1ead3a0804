"""The ten lifecycle calls, their preconditions, and who may make them."""

from typing import Any

import pytest

from sandbox.simulator import LIGHT_TOKEN, STANDARD_TOKEN, DefaultIds, Quirks, Simulator, make_id
from tests.unit.simulator.conftest import TallyfyCaller

IDS = DefaultIds


def _quirks(simulator: Simulator, **choices: Any) -> None:
    simulator.quirks = Quirks(**choices)


def test_archiving_a_run_hides_its_parts_and_activating_restores_them(either: TallyfyCaller) -> None:
    before = either.read(f"/runs/{IDS.RUN}", **{"with": "tasks.threads,assets"})
    archived = either("DELETE", f"/runs/{IDS.RUN}")
    assert archived.status_code == 200
    row = archived.json()["data"]
    assert (row["status"], row["archived_at"], row["progress"]) == ("archived", "2026-11-21T12:00:00.250Z", 50)

    seen = either.read(f"/runs/{IDS.RUN}", **{"with": "tasks.threads,assets"})
    assert seen["progress"] == {"complete": 1, "total": 2, "percent": 50}
    assert seen["tasks"]["data"] == seen["assets"]["data"] == []
    assert either("GET", f"/tasks/{IDS.PROCESS_TASK}").status_code == 404
    [archived, _] = either.read(f"/runs/{IDS.RUN}/tasks", **{"with": "threads,assets", "archived": "true"})
    assert [len(archived[part]["data"]) for part in ("threads", "assets")] == [1, 1]
    assert either("GET", f"/file/{make_id('asset')}/dl").content == b"the signed contract"
    assert IDS.PROCESS_TASK in either.ids("/tasks", archived="only")

    restored = either("PUT", f"/runs/{IDS.RUN}/activate")
    assert restored.status_code == 200
    assert (restored.json()["data"]["status"], restored.json()["data"]["archived_at"]) == ("complete", None)
    after = either.read(f"/runs/{IDS.RUN}", **{"with": "tasks.threads,assets"})
    assert {**after, "last_updated": None} == {**before, "last_updated": None}
    assert either("GET", f"/file/{make_id('asset')}/dl").content == b"the signed contract"


def test_deleting_an_archived_run_also_deletes_its_tasks(either: TallyfyCaller) -> None:
    assert either("DELETE", f"/runs/{IDS.RUN}/delete").status_code == 422
    either("DELETE", f"/runs/{IDS.RUN}")
    assert either("DELETE", f"/runs/{IDS.RUN}/delete").status_code == 200
    assert either("GET", f"/runs/{IDS.RUN}").status_code == 404
    assert either("PUT", f"/runs/{IDS.RUN}/activate").status_code == 404
    assert either("DELETE", f"/runs/{IDS.RUN}/delete").status_code == 404
    assert IDS.PROCESS_TASK not in either.ids("/tasks", archived="true")


def test_a_one_off_task_is_archived_restored_and_deleted(either: TallyfyCaller, simulator: Simulator) -> None:
    archived = either("DELETE", f"/tasks/{IDS.TASK}")
    assert (archived.status_code, archived.content) == (204, b"")
    assert either("GET", f"/tasks/{IDS.TASK}").status_code == 404
    assert either("PUT", f"/tasks/{IDS.TASK}/restore").ok
    assert either.read(f"/tasks/{IDS.TASK}")["archived_at"] is None
    assert either("DELETE", f"/tasks/{IDS.TASK}/delete").status_code == 204
    assert simulator.effects(id=IDS.TASK) == 3


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("PUT", "/restore"), ("DELETE", "/delete")])
def test_archiving_a_task_of_a_run_is_refused(
    tallyfy: TallyfyCaller, simulator: Simulator, method: str, suffix: str
) -> None:
    assert tallyfy(method, f"/tasks/{IDS.PROCESS_TASK}{suffix}").status_code == 400
    assert simulator.effects() == 0


def test_deleting_a_tag_removes_it_everywhere_and_deleting_an_unknown_tag_answers_the_same(
    tallyfy: TallyfyCaller, simulator: Simulator
) -> None:
    assert tallyfy("DELETE", f"/tags/{IDS.USED_TAG}").status_code == 204
    assert tallyfy("DELETE", f"/tags/{IDS.USED_TAG}").status_code == 204
    assert tallyfy("DELETE", f"/tags/{make_id('nothing')}").status_code == 204
    assert tallyfy("GET", f"/tags/{IDS.USED_TAG}").status_code == 404
    assert tallyfy.read(f"/runs/{IDS.RUN}")["tags"] == []
    assert simulator.effects("delete") == 1


def test_a_soft_deleted_tag_answers_with_its_deletion_date(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    _quirks(simulator, tag_delete="soft")
    answer = tallyfy("DELETE", f"/tags/{IDS.UNUSED_TAG}")
    assert (answer.status_code, answer.json()["data"]["deleted_at"]) == (200, "2026-11-21T12:00:00.250Z")
    assert tallyfy("DELETE", f"/tags/{make_id('nothing')}").status_code == 404
    assert tallyfy("DELETE", f"/tags/{IDS.UNUSED_TAG}").status_code == 404


def test_archiving_a_template_permanently_removes_references_to_it(either: TallyfyCaller) -> None:
    answer = either("DELETE", f"/checklists/{IDS.TEMPLATE}")
    lost = [{"checklist_id": IDS.REFERRING_TEMPLATE, "title": "Sales hand-over"}]
    assert (answer.status_code, answer.json()["deleted_references"]) == (200, lost)
    assert either("GET", f"/checklists/{IDS.TEMPLATE}").status_code == 404
    assert IDS.TEMPLATE in either.ids("/checklists", archived="only")
    assert either("PUT", f"/checklists/{IDS.TEMPLATE}/restore").ok
    assert either("GET", f"/checklists/{IDS.TEMPLATE}").ok
    assert either.read(f"/checklists/{IDS.REFERRING_TEMPLATE}")["references"] == []


def test_a_template_is_deleted_only_when_archived(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    assert tallyfy("DELETE", f"/checklists/{IDS.TEMPLATE}/delete").status_code == 422
    answer = tallyfy("DELETE", f"/checklists/{IDS.ARCHIVED_TEMPLATE}/delete")
    assert (answer.status_code, answer.json()["deleted_references"]) == (200, [])
    assert IDS.ARCHIVED_TEMPLATE not in tallyfy.ids("/checklists", archived="only")
    _quirks(simulator, empty_references="object")
    assert tallyfy("DELETE", f"/checklists/{IDS.REFERRING_TEMPLATE}").json()["deleted_references"] == {}


@pytest.mark.parametrize(
    ("choices", "call", "status"),
    [
        ({}, ("DELETE", f"/runs/{IDS.RUN_ARCHIVED_RECENTLY}"), 404),
        ({"archive_archived": 422}, ("DELETE", f"/runs/{IDS.RUN_ARCHIVED_RECENTLY}"), 422),
        ({"archive_archived": 200}, ("DELETE", f"/runs/{IDS.RUN_ARCHIVED_RECENTLY}"), 200),
        ({"archive_archived": 200}, ("DELETE", f"/tasks/{IDS.ARCHIVED_TASK}"), 204),
        ({"archive_archived": 200}, ("DELETE", f"/checklists/{IDS.ARCHIVED_TEMPLATE}"), 200),
        ({}, ("PUT", f"/runs/{IDS.RUN}/activate"), 200),
        ({"restore_active": 404}, ("PUT", f"/runs/{IDS.RUN}/activate"), 404),
        ({"restore_active": 422}, ("PUT", f"/tasks/{IDS.TASK}/restore"), 422),
        ({"restore": "no_content"}, ("PUT", f"/checklists/{IDS.TEMPLATE}/restore"), 204),
        ({"delete_unarchived": 404}, ("DELETE", f"/runs/{IDS.RUN}/delete"), 404),
    ],
)
def test_a_call_that_changes_nothing_answers_as_its_quirk_says(
    tallyfy: TallyfyCaller, simulator: Simulator, choices: dict[str, Any], call: tuple[str, str], status: int
) -> None:
    _quirks(simulator, **choices)
    assert tallyfy(*call).status_code == status
    assert simulator.effects() == 0


@pytest.mark.parametrize(("choice", "status", "body"), [("empty", 200, b""), ("no_content", 204, b"")])
def test_a_run_delete_answers_as_its_quirk_says(
    tallyfy: TallyfyCaller, simulator: Simulator, choice: str, status: int, body: bytes
) -> None:
    _quirks(simulator, run_delete=choice)
    answer = tallyfy("DELETE", f"/runs/{IDS.RUN_ARCHIVED_LONG_AGO}/delete")
    assert (answer.status_code, answer.content, simulator.effects("delete")) == (status, body, 1)


@pytest.mark.parametrize(("choice", "status"), [(404, 404), (422, 422), (200, 204)])
def test_a_second_delete_answers_as_its_quirk_says(
    tallyfy: TallyfyCaller, simulator: Simulator, choice: int, status: int
) -> None:
    _quirks(simulator, delete_deleted=choice)
    tallyfy("DELETE", f"/tasks/{IDS.TASK}/delete")
    assert tallyfy("DELETE", f"/tasks/{IDS.TASK}/delete").status_code == status
    assert simulator.effects("delete") == 1


LASTING = [
    ("DELETE", f"/runs/{IDS.RUN_ARCHIVED_LONG_AGO}/delete"),
    ("DELETE", f"/tasks/{IDS.TASK}/delete"),
    ("DELETE", f"/checklists/{IDS.ARCHIVED_TEMPLATE}/delete"),
    ("DELETE", f"/tags/{IDS.UNUSED_TAG}"),
]
REVERSIBLE = [
    ("DELETE", f"/runs/{IDS.RUN}"),
    ("PUT", f"/runs/{IDS.RUN_ARCHIVED_RECENTLY}/activate"),
    ("DELETE", f"/tasks/{IDS.TASK}"),
    ("PUT", f"/tasks/{IDS.ARCHIVED_TASK}/restore"),
    ("DELETE", f"/checklists/{IDS.TEMPLATE}"),
    ("PUT", f"/checklists/{IDS.ARCHIVED_TEMPLATE}/restore"),
]


@pytest.mark.parametrize(("method", "path"), LASTING)
def test_only_an_admin_may_delete_permanently(
    tallyfy: TallyfyCaller, simulator: Simulator, method: str, path: str
) -> None:
    standard = {"Authorization": f"Bearer {STANDARD_TOKEN}"}
    assert tallyfy(method, path, headers=standard).status_code == 403
    assert simulator.effects() == 0
    assert tallyfy(method, path).ok
    assert simulator.effects() == 1


@pytest.mark.parametrize(("method", "path"), REVERSIBLE)
def test_a_standard_member_may_archive_and_restore_and_a_light_member_may_not(
    tallyfy: TallyfyCaller, simulator: Simulator, method: str, path: str
) -> None:
    assert tallyfy(method, path, headers={"Authorization": f"Bearer {LIGHT_TOKEN}"}).status_code == 403
    assert simulator.effects() == 0
    assert tallyfy(method, path, headers={"Authorization": f"Bearer {STANDARD_TOKEN}"}).ok
    assert simulator.effects() == 1


def test_an_unchecked_id_with_the_suffix_delete_deletes_permanently(
    either: TallyfyCaller, simulator: Simulator
) -> None:
    careless = f"{IDS.RUN_ARCHIVED_LONG_AGO}/delete"
    assert either("DELETE", f"/runs/{careless}").status_code == 200
    assert simulator.effects("delete", IDS.RUN_ARCHIVED_LONG_AGO) == 1


def test_an_encoded_slash_or_dots_in_an_id_reach_another_call_too(either: TallyfyCaller, simulator: Simulator) -> None:
    assert either("DELETE", f"/runs/{IDS.RUN_ARCHIVED_LONG_AGO}%2Fdelete").status_code == 200
    assert either("DELETE", f"/tags/..%2Fruns%2F{IDS.RUN}").status_code == 200
    assert [(call.resource, call.action) for call in simulator.log.calls] == [("run", "delete"), ("run", "archive")]


@pytest.mark.parametrize("identifier", [IDS.RUN.upper(), IDS.RUN[:-1], IDS.RUN + "0", "PROCESS_RUN_ID_TO_ARCHIVE", "x"])
def test_a_malformed_id_answers_not_found(tallyfy: TallyfyCaller, simulator: Simulator, identifier: str) -> None:
    assert tallyfy("DELETE", f"/runs/{identifier}").status_code == 404
    assert simulator.effects() == 0


def test_an_archived_object_cannot_be_tagged(tallyfy: TallyfyCaller) -> None:
    path = f"/tags/{IDS.UNUSED_TAG}/subjects"
    assert tallyfy("POST", path, json={"subject_id": IDS.ACTIVE_RUN}).status_code == 201
    refused = tallyfy("POST", path, json={"subject_id": IDS.RUN_ARCHIVED_RECENTLY})
    assert (refused.status_code, refused.json()["message"]) == (422, "Subject not found")
    assert tallyfy("POST", path, data="no json").status_code == 422
    assert tallyfy.ids("/runs", tag=IDS.UNUSED_TAG) == {IDS.ACTIVE_RUN}


def test_the_activity_feed_records_each_change(tallyfy: TallyfyCaller) -> None:
    tallyfy("DELETE", f"/runs/{IDS.RUN}")
    tallyfy("PUT", f"/runs/{IDS.RUN}/activate")
    tallyfy("DELETE", f"/tags/{IDS.USED_TAG}")
    proof = tallyfy.read("/activity-feeds", entity_type="run", entity_id=IDS.RUN, verb="archived")
    assert [(row["verb"], row["actor_id"]) for row in proof] == [("archived", 1001)]
    assert [row["verb"] for row in tallyfy.read("/activity-feeds")] == ["deleted", "unarchived", "archived"]
