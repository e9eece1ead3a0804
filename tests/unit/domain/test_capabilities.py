"""The ten capabilities, and the refusal of everything else."""

from itertools import product

import pytest

from lifecycle.domain.capabilities import (
    ORDINARY,
    PERMANENT,
    TABLE,
    Action,
    Capability,
    Resource,
    State,
    capability,
)
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import ORG, THING

# Copied from the documentation of Tallyfy's API, not from our table.
DOCUMENTED = {
    ("run", "archive"): ("DELETE", "runs/{id}", State.ARCHIVED),
    ("run", "restore"): ("PUT", "runs/{id}/activate", State.ACTIVE),
    ("run", "delete"): ("DELETE", "runs/{id}/delete", State.GONE),
    ("task", "archive"): ("DELETE", "tasks/{id}", State.ARCHIVED),
    ("task", "restore"): ("PUT", "tasks/{id}/restore", State.ACTIVE),
    ("task", "delete"): ("DELETE", "tasks/{id}/delete", State.GONE),
    ("tag", "delete"): ("DELETE", "tags/{id}", State.GONE),
    ("template", "archive"): ("DELETE", "checklists/{id}", State.ARCHIVED),
    ("template", "restore"): ("PUT", "checklists/{id}/restore", State.ACTIVE),
    ("template", "delete"): ("DELETE", "checklists/{id}/delete", State.GONE),
}


def test_the_table_lists_exactly_the_documented_actions() -> None:
    assert {(c.resource.value, c.action.value) for c in TABLE} == set(DOCUMENTED)
    assert len(TABLE) == 10


@pytest.mark.parametrize(("asked", "documented"), DOCUMENTED.items(), ids=lambda value: ".".join(map(str, value)))
def test_a_capability_makes_the_documented_call(asked: tuple[str, str], documented: tuple[str, str, State]) -> None:
    found = capability(Resource(asked[0]), Action(asked[1]))
    method, path, reached = documented
    assert found.method == method
    assert found.path(ORG, THING) == f"/organizations/{ORG}/{path.format(id=THING)}"
    assert found.reaches is reached


def test_every_other_combination_is_refused_or_means_a_listed_one() -> None:
    others = {(r, a) for r, a in product(Resource, Action) if (r.value, a.value) not in DOCUMENTED}
    assert others == {(Resource.TAG, Action.RESTORE), (Resource.TAG, Action.ARCHIVE)}


def test_restoring_a_tag_is_refused_with_the_reason() -> None:
    with pytest.raises(Rejected, match="none can be restored") as refusal:
        capability(Resource.TAG, Action.RESTORE)
    assert refusal.value.code is Code.NOT_POSSIBLE


def test_archiving_a_tag_means_deleting_it() -> None:
    assert capability(Resource.TAG, Action.ARCHIVE) is capability(Resource.TAG, Action.DELETE)


def test_a_delete_is_permanent_and_cannot_be_undone() -> None:
    assert {c.name for c in PERMANENT} == {"run.delete", "task.delete", "tag.delete", "template.delete"}
    assert all(c.irreversible and c.undo is None for c in PERMANENT)
    assert {c.name for c in PERMANENT if not c.archived_first} == {"tag.delete"}


def test_archiving_a_template_is_the_only_irreversible_ordinary_action() -> None:
    assert {c.name for c in ORDINARY if c.irreversible} == {"template.archive"}
    assert frozenset(TABLE) == ORDINARY | PERMANENT
    assert not ORDINARY & PERMANENT


@pytest.mark.parametrize("doing", [c for c in TABLE if c.undo], ids=lambda c: c.name)
def test_the_undo_of_a_capability_leads_back_to_the_earlier_state(doing: Capability) -> None:
    assert doing.undo is not None
    back = capability(doing.resource, doing.undo)
    assert {doing.reaches, back.reaches} == {State.ACTIVE, State.ARCHIVED}


@pytest.mark.parametrize("resource", Resource)
def test_every_resource_has_a_label_for_people_and_a_path_segment(resource: Resource) -> None:
    assert resource.label
    assert resource.collection in {"runs", "tasks", "tags", "checklists"}
