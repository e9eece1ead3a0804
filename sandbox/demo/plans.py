"""The steps of the nightly sweep: a plan, its application by hash, and the cap that stops one."""

from cli.clients.delivery import new_delivery_id
from lifecycle.aws.sqs import Queue
from lifecycle.domain.capabilities import Action
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.sweep.jobs import JobKind, SweepJob
from sandbox.demo.session import END_SECONDS, MANY, ORG, Demo, DemoStep, until
from sandbox.running import (
    EDITED,
    FINISHED,
    KEPT,
    utc_now,
)
from sandbox.simulator import Seed, SeedOrganization, SeedRun, crowd


def plan(demo: Demo, step: DemoStep) -> None:
    """The nightly sweep: everything is seen, each with a reason, and nothing is done."""
    before, calls = demo.simulator.effects(), len(demo.simulator.log())
    plan = _sweep(demo, step)
    if plan is None:
        return
    demo.planned = plan
    kept = ", ".join(f"{number} {kind}" for kind, number in plan.kept_by.items())
    step.came_back += [
        f"{plan.seen} seen = {plan.due} due + {plan.kept} kept + {plan.failed} unreadable ({kept})",
        f"plan {plan.hash[:12]}…, with a report to look at",
    ]
    step.check("what was seen adds up", plan.seen == plan.due + plan.kept + plan.failed)
    step.check("what carries the tag 'keep' is kept", plan.kept_by.get("on hold") == 1)
    page = demo.stack.objects().get(key_of(ORG, plan.hash, "report.html")) or b""
    step.check("the report shows what is due", b"Onboard Wayne" in page)
    step.check("Tallyfy was only read", all(call.method == "GET" for call in demo.simulator.log()[calls:]))
    step.check("nothing was changed", demo.simulator.effects() == before)


def apply(demo: Demo, step: DemoStep) -> None:
    """A person names the plan by its hash; what was edited since is left alone."""
    if demo.planned is None:
        step.check("there is a plan", held=False)
        return
    edited = SeedRun(id=EDITED, name="Onboard Tyrell, again", status="active")
    demo.simulator.merge(Seed(organizations=[SeedOrganization(id=ORG, runs=[edited])]))
    step.sent += ["a process of the plan is opened again and renamed", f"lifecycle apply {demo.planned.hash[:12]}…"]
    for _ in range(2):
        _apply(demo, demo.planned)
        # One job at a time: a second one would find the first at work, and wait in the queue for a minute.
        step.check("the job was carried out", until(lambda: _sweeps_queue(demo).depth() == 0))
    step.check("the other one is archived", until(lambda: demo.state(FINISHED) == "archived", seconds=END_SECONDS))

    def left_alone() -> bool:
        return any(letter.code == "changed" for letter in demo.letters())

    step.check("the edited one is set aside with the reason", until(left_alone, seconds=END_SECONDS))
    step.came_back += [f"{letter.code}: {letter.reason}" for letter in demo.letters() if letter.code == "changed"]
    step.check("the edited one is as it was", demo.state(EDITED) == "active")
    step.check("applied twice, done once", demo.simulator.effects(Action.ARCHIVE, FINISHED) == 1)
    step.check("what is kept is as it was", demo.state(KEPT) == "active")


def cap(demo: Demo, step: DemoStep) -> None:
    """Suddenly far more is due than anyone expects: nothing at all is done."""
    demo.simulator.merge(crowd(MANY, status="complete", completed_at="-45d"))
    before = demo.simulator.effects()
    plan = _sweep(demo, step)
    if plan is None:
        return
    step.came_back += plan.stops
    step.check("the plan is stopped by its cap", any("its cap is" in why for why in plan.stops))
    _apply(demo, plan)

    def refused() -> bool:
        return any(letter.code == "plan_stopped" for letter in demo.letters())

    step.check("applying it by its hash is refused, with the reason", until(refused, seconds=END_SECONDS))
    step.check("nothing was changed", demo.simulator.effects() == before)


def _sweep(demo: Demo, step: DemoStep) -> Plan | None:
    sweep_id = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
    step.sent.append(f"what the schedule sends each night: sweep {sweep_id}, mode report")
    _enqueue(demo, SweepJob(sweep_id=sweep_id))

    def finished() -> bool:
        row = demo.stack.sweep(sweep_id, ORG)
        return row is not None and row.done

    step.check("it finished", until(finished, seconds=END_SECONDS))
    row = demo.stack.sweep(sweep_id, ORG)
    body = demo.stack.objects().get(key_of(ORG, row.plan, "plan.json")) if row and row.plan else None
    step.check("it left a plan", body)
    return Plan.model_validate_json(body) if body else None


def _apply(demo: Demo, plan: Plan) -> None:
    name = f"apply-{new_delivery_id()}"
    who = demo.stack.caller()
    _enqueue(demo, SweepJob(sweep_id=name, org_id=ORG, kind=JobKind.APPLY, plan=plan.hash, requested_by=who))


def _enqueue(demo: Demo, job: SweepJob) -> None:
    _sweeps_queue(demo).send(job.model_dump_json(exclude_none=True))


def _sweeps_queue(demo: Demo) -> Queue:
    [queue] = [pair.origin for pair in demo.pairs if pair.name == "sweeps"]
    return queue
