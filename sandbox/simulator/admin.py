"""The admin interface for other processes, under `/_simulator`: JSON in, JSON out, never rate-limited, never logged."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from sandbox.simulator import rows
from sandbox.simulator.deliveries import LoggedDelivery
from sandbox.simulator.faults import Fault
from sandbox.simulator.limit import Limit
from sandbox.simulator.log import LoggedCall
from sandbox.simulator.messages import CallRefused, Json, ReceivedRequest, Response, as_json, error, fingerprint
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.seed import Identifier, Seed
from sandbox.simulator.simulator import Simulator
from sandbox.simulator.world import Organization, Run, Task, Template

LOG: Final = TypeAdapter(list[LoggedCall])
FAULTS: Final = TypeAdapter(list[Fault])
DELIVERIES: Final = TypeAdapter(list[LoggedDelivery])


class _AdminBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shift(_AdminBody):
    """How far to move the clock forward."""

    seconds: float


class Rotation(_AdminBody):
    """A member's new token; the old one stops working."""

    organization_id: Identifier
    member_id: int
    token: Annotated[str, StringConstraints(min_length=1)]


class ProcessStep(_AdminBody):
    """What a person does with a process. `organization_id` is needed for a launch, among several organizations."""

    do: Literal["launch", "complete", "reopen"]
    id: Identifier
    name: str = "Process"
    organization_id: Identifier | None = None


class ThingState(_AdminBody):
    """The state of one id: active, archived, deleted or unknown."""

    resource: str | None
    state: str
    row: dict[str, Any] | None


ADMIN_PREFIX: Final = "/_simulator"


class WithAdmin:
    """A simulator with its admin interface, as a server offers it."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._admin = Admin(simulator)

    def handle(self, call: ReceivedRequest, wait: Callable[[float], None] = time.sleep) -> Response:
        """Answer an admin call here, and pass every other call to ``Simulator.handle``."""
        if call.route.startswith(ADMIN_PREFIX):
            return self._admin.answer(call)
        return self._simulator.handle(call, wait)


class Admin:
    """Answers admin calls on a simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._calls: dict[tuple[str, str], Callable[[ReceivedRequest], Response]] = {
            ("GET", "log"): self._log,
            ("DELETE", "log"): self._clear_log,
            ("GET", "effects"): self._effects,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "seed"): self._merge_seed,
            ("PUT", "seed"): self._replace_seed,
            ("GET", "state"): self._state,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._advance,
            ("PUT", "clock"): self._set_shift,
            ("POST", "reset"): self._reset,
            ("GET", "limit"): self._limit,
            ("PUT", "limit"): self._set_limit,
            ("DELETE", "limit"): self._lift_limit,
            ("GET", "quirks"): self._quirks,
            ("PUT", "quirks"): self._set_quirks,
            ("PUT", "token"): self._rotate,
            ("POST", "process"): self._process,
            ("GET", "deliveries"): self._deliveries,
        }

    def answer(self, call: ReceivedRequest) -> Response:
        """Answer one call."""
        name = call.route.removeprefix(ADMIN_PREFIX).strip("/")
        action = self._calls.get((call.method, name))
        if action is None:
            known = any(name == other for _, other in self._calls)
            return error(405, "Method not allowed.") if known else error(404, "Unknown admin call.")
        try:
            with self._simulator.lock:
                return action(call)
        except ValidationError as problem:
            details = problem.errors(include_url=False, include_context=False, include_input=False)
            return as_json(422, {"message": "The body does not fit this admin call.", "errors": details})
        except CallRefused as refusal:
            return refusal.answer

    def _log(self, call: ReceivedRequest) -> Response:
        acted = call.query.get("acted")
        found = self._simulator.log.select(
            acted=None if acted is None else acted == "true", action=call.query.get("action"), id=call.query.get("id")
        )
        return as_json(200, LOG.dump_python(list(found), mode="json"))

    def _clear_log(self, _: ReceivedRequest) -> Response:
        self._simulator.log.calls.clear()
        return Response(204)

    def _effects(self, call: ReceivedRequest) -> Response:
        count = self._simulator.effects(call.query.get("action"), call.query.get("id"))
        return as_json(200, {"effects": count})

    def _faults(self, _: ReceivedRequest) -> Response:
        return as_json(200, FAULTS.dump_python(self._simulator.faults.pending(), mode="json"))

    def _add_fault(self, call: ReceivedRequest) -> Response:
        self._simulator.add_fault(Fault.model_validate_json(call.body))
        return Response(204)

    def _clear_faults(self, _: ReceivedRequest) -> Response:
        self._simulator.faults.clear()
        return Response(204)

    def _merge_seed(self, call: ReceivedRequest) -> Response:
        self._simulator.merge(Seed.model_validate_json(call.body))
        return Response(204)

    def _replace_seed(self, call: ReceivedRequest) -> Response:
        self._simulator.load(Seed.model_validate_json(call.body))
        return Response(204)

    def _state(self, call: ReceivedRequest) -> Response:
        organizations = self._simulator.world.organizations
        wanted = call.query.get("id")
        if wanted is None:
            return as_json(200, {"organizations": [_summary(organization) for organization in organizations.values()]})
        for organization in organizations.values():
            found = _thing(organization, wanted)
            if found is not None:
                return as_json(200, found.model_dump())
        return as_json(200, ThingState(resource=None, state="unknown", row=None).model_dump())

    def _clock(self, _: ReceivedRequest) -> Response:
        shift = self._simulator.shift.total_seconds()
        return as_json(200, {"now": self._simulator.now().isoformat(), "shift_seconds": shift})

    def _advance(self, call: ReceivedRequest) -> Response:
        self._simulator.advance(Shift.model_validate_json(call.body).seconds)
        return self._clock(call)

    def _set_shift(self, call: ReceivedRequest) -> Response:
        self._simulator.shift = timedelta(seconds=Shift.model_validate_json(call.body).seconds)
        return self._clock(call)

    def _reset(self, _: ReceivedRequest) -> Response:
        self._simulator.reset()
        return Response(204)

    def _limit(self, _: ReceivedRequest) -> Response:
        limit = self._simulator.limit
        return as_json(200, limit.model_dump() if limit else None)

    def _set_limit(self, call: ReceivedRequest) -> Response:
        self._simulator.set_limit(Limit.model_validate_json(call.body))
        return Response(204)

    def _lift_limit(self, _: ReceivedRequest) -> Response:
        self._simulator.set_limit(None)
        return Response(204)

    def _quirks(self, _: ReceivedRequest) -> Response:
        return as_json(200, self._simulator.quirks.model_dump())

    def _set_quirks(self, call: ReceivedRequest) -> Response:
        self._simulator.quirks = Quirks.model_validate_json(call.body)
        return Response(204)

    def _rotate(self, call: ReceivedRequest) -> Response:
        wanted = Rotation.model_validate_json(call.body)
        try:
            self._simulator.world.rotate_token(wanted.organization_id, wanted.member_id, wanted.token)
        except KeyError as problem:
            raise CallRefused(error(404, "No such member.")) from problem
        return Response(204)

    def _process(self, call: ReceivedRequest) -> Response:
        step = ProcessStep.model_validate_json(call.body)
        match step.do:
            case "launch":
                self._simulator.launch(step.id, step.name, org_id=step.organization_id)
            case "complete":
                self._simulator.complete(step.id)
            case "reopen":
                self._simulator.reopen(step.id)
        return Response(204)

    def _deliveries(self, _: ReceivedRequest) -> Response:
        return as_json(200, DELIVERIES.dump_python(self._simulator.deliveries.made(), mode="json"))


def _summary(organization: Organization) -> Json:
    """Describe an organization: its members, and the id and state of every object."""
    members = [
        {**rows.member_row(organization, member), "token": fingerprint(member.token)}
        for member in organization.members.values()
    ]
    shelves: dict[str, Mapping[str, Run | Task | Template]] = {
        "runs": organization.runs,
        "tasks": organization.tasks,
        "templates": organization.templates,
    }
    return {
        **rows.organization_row(organization),
        "members": members,
        **{
            name: {thing.id: "archived" if thing.archived_at else "active" for thing in shelf.values()}
            for name, shelf in shelves.items()
        },
        "tags": {tag.id: "deleted" if tag.deleted_at else "active" for tag in organization.tags.values()},
        "deleted": sorted(organization.gone),
    }


def _thing(organization: Organization, identifier: str) -> ThingState | None:
    if run := organization.runs.get(identifier):
        return _shown("run", archived=run.archived_at is not None, row=rows.run_row(organization, run))
    if task := organization.tasks.get(identifier):
        row = {
            **rows.task_row(organization, task),
            "threads": [rows.thread_row(thread) for thread in task.threads],
            "assets": [rows.asset_row(asset) for asset in task.assets],
        }
        return _shown("task", archived=task.archived_at is not None, row=row)
    if template := organization.templates.get(identifier):
        row = rows.template_row(organization, template, frozenset({"tags"}))
        return _shown("template", archived=template.archived_at is not None, row=row)
    tag = organization.tags.get(identifier)
    if tag and tag.deleted_at is None:
        counts = rows.tag_statistics(organization)
        return _shown("tag", archived=False, row=rows.tag_row_with_statistics(tag, counts))
    if identifier in organization.gone:
        return ThingState(resource="tag" if tag else None, state="deleted", row=None)
    return None


def _shown(resource: str, *, archived: bool, row: Json) -> ThingState:
    return ThingState(resource=resource, state="archived" if archived else "active", row=row)
