"""The purge function, with people, approvals and exports around it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from lifecycle.api.operator_routes import Operating
from lifecycle.approvals.rules import ApprovalRequest as Wanted
from lifecycle.aws.api_gateway import HttpRequest, answer
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Retryable
from sandbox.simulator import LoggedCall
from tests.harness.fault_injection import (
    Crash,
    FaultInjector,
)
from tests.harness.world import World

type Press = Literal["approve", "reject", "withdraw"]


@dataclass
class PurgeRun:
    """Runs permanent deletes through a world: request, approval, wait and execution.

    Each invocation and each request of a person is a process of its own. ``fuse`` is of the next one; a crash uses it
    up, and whoever pressed a button then presses it again.
    """

    world: World = field(default_factory=World)
    fuse: FaultInjector = field(default_factory=FaultInjector)
    fired: set[str] = field(default_factory=set)
    """The names of the schedules that have fired."""

    def ask(self, resource: Resource, thing_id: str, **more: object) -> Command:
        """Enqueue a delete as the intake accepts it."""
        self.world.clock.advance(timedelta(seconds=1))
        given = {"not_after": self.world.clock() + timedelta(days=60), **more}
        delivery = str(given.pop("delivery", f"delete-{thing_id}-{self.world.clock()}"))
        command = self.world.command(resource, thing_id, Action.DELETE, delivery, **given)
        self.world.ledger.accept(command)
        self.world.purge_queue.send(command.to_json())
        return command

    def deliver(self) -> int:
        """One invocation."""
        process = self.world.purge(self.fuse)
        finished = process.deliver(10)
        self._burn()
        return finished

    def work(self, *, most: int = 200) -> None:
        """Deliver until the queue is empty, waiting as long as messages are hidden."""
        for _ in range(most):
            wait = self.world.next_visible(self.world.purge_queue)
            if wait is None:
                return
            self.world.clock.advance(timedelta(seconds=wait))
            self.world.land()
            self.deliver()
        raise AssertionError(f"The queue is not empty after {most} rounds")

    def advance(self, by: timedelta) -> None:
        """Advance the clock. Scheduled messages are enqueued at their time and processed."""
        end = self.world.clock() + by
        waiting = self.world.schedules.waiting
        while due := sorted((at, name) for name, (at, _) in waiting.items() if at <= end and name not in self.fired):
            at, name = due[0]
            _, body = waiting[name]
            # EventBridge keeps the name taken for a while, so a new schedule of the same name may never fire.
            self.fired.add(name)
            # EventBridge schedules have a resolution of one second.
            self.world.clock.now = max(at.replace(microsecond=0), self.world.clock())
            self.world.purge_queue.send(body)
            self.work()
        self.world.clock.now = max(end, self.world.clock())

    def wanted(self, command: Command) -> Wanted:
        """Return the open request."""
        request = self.world.approvals.newest(command.org_id, command.intent_id)
        assert request is not None, "no approval was requested"
        return request

    def approve(self, command: Command, who: str = "bob") -> Mapping[str, object]:
        """Press approve until it is accepted, and process the result."""
        told = self.press("approve", self.wanted(command).hash, who)
        self.work()
        return told

    def reject(self, command: Command, who: str = "bob", why: str = "") -> Mapping[str, object]:
        """Press reject until it is accepted, and process the result."""
        told = self.press("reject", self.wanted(command).hash, who, why)
        self.work()
        return told

    def press(
        self, what: Literal["approve", "reject", "withdraw"], name: str, who: str, why: str = ""
    ) -> Mapping[str, object]:
        """Act under a person's own identity. The person tries again after a crash or an AWS failure."""
        for _ in range(5):
            try:
                return self._pressed(what, name, who, why)
            except (Crash, Retryable):
                continue
            finally:
                self._burn()
        raise AssertionError("the press was never accepted")

    def _pressed(
        self, what: Literal["approve", "reject", "withdraw"], name: str, who: str, why: str
    ) -> Mapping[str, object]:
        operating = self.world.operating(self.fuse)
        arn = self.world.people.people[who].iam
        if arn is not None:
            return operate(operating, f"POST /approvals/{{hash}}/{what}", arn, {"why": why}, hash=name)[1]
        known = str(self.world.people.people[who].known_in("slack"))
        found = self.world.people.find("slack", [known])
        assert found is not None
        approving = operating.approving
        after = approving.approve(name, *found) if what == "approve" else approving.reject(name, *found, why)
        return {"hash": after.hash}

    def _burn(self) -> None:
        if self.fuse.dead or self.fuse.blown:
            self.fuse = FaultInjector()

    def deletes(self, thing_id: str) -> list[LoggedCall]:
        """Every call to delete the thing that reached Tallyfy."""
        return [call for call in self.world.writes() if call.id == thing_id and call.action == "delete"]


def operate(
    operating: Operating, route: str, caller: str, body: object = None, **parameters: str
) -> tuple[int, Mapping[str, object]]:
    """Handle a request behind AWS_IAM, starting from its event."""
    event = {
        "routeKey": route,
        "requestContext": {"authorizer": {"iam": {"userArn": caller}}},
        "pathParameters": parameters,
        "body": "" if body is None else body if isinstance(body, str) else json.dumps(body),
    }
    status, body = operating.answer(HttpRequest.of(event))
    told: dict[str, object] = json.loads(str(answer(status, body)["body"]))
    return int(status), told
