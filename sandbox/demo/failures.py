"""The steps in which a command fails: an outage, a poison message, and sending again."""

from cli.clients.api import is_concluded
from cli.services import dead_letter_queue
from lifecycle.api.schemas.commands import CommandStatus
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import IntentRow, Status
from sandbox.demo.session import END_SECONDS, EVERY, MOST_ATTEMPTS, POISON, Demo, DemoQuestion, DemoStep, changes, until
from sandbox.running import (
    utc_now,
)
from sandbox.simulator import DefaultIds, Fault


def begin_outage(demo: Demo) -> None:
    """Before the first step: six attempts with growing waits take a while, so they run beside the other steps."""
    demo.simulator.add_fault(Fault.answer_status(503, id=DefaultIds.ARCHIVED_TASK, times=-1))
    packet = demo.delivery(Resource.TASK, Action.RESTORE, DefaultIds.ARCHIVED_TASK)
    answer = demo.post(packet)
    demo.outage = DemoQuestion(
        answer.intent_id, "restore task (outage)", DefaultIds.ARCHIVED_TASK, Action.RESTORE, Status.DONE, 1
    )
    demo.asked.append(demo.outage)


def dead_letters(demo: Demo, step: DemoStep) -> None:
    """A poison message, and a command whose calls all met an outage."""
    demo.pairs[0].origin.send(POISON)
    step.sent += ["an unreadable message", "restore task, to which Tallyfy answers 503 (since the start)"]
    outage = demo.outage_question()

    def ended(report: CommandStatus) -> bool:
        met = len(demo.simulator.log(id=DefaultIds.ARCHIVED_TASK))
        demo.say(f"Attempt {min(met + 1, MOST_ATTEMPTS)} of {MOST_ATTEMPTS}, each after a longer wait")
        return is_concluded(report)

    report = demo.api.wait(outage.intent_id, seconds=END_SECONDS, every=EVERY, until=ended)
    step.check("the status is dead_lettered", report["status"] is Status.DEAD_LETTERED)
    calls = demo.simulator.log(id=DefaultIds.ARCHIVED_TASK)
    step.check("six attempts met the outage", [call.status for call in calls] == [503] * MOST_ATTEMPTS)
    step.check("nothing was changed", demo.simulator.effects(id=DefaultIds.ARCHIVED_TASK) == 0)

    def both_are_there() -> bool:
        demo.found = demo.letters()
        return {"poison", "attempts_exhausted"} <= {letter.code for letter in demo.found}

    step.check("both are dead letters", until(both_are_there))
    step.check("each has its reason", all(letter.reason for letter in demo.found))
    step.came_back += [
        f"{letter.code}: {letter.reason}" for letter in demo.found if letter.code in {"poison", "attempts_exhausted"}
    ]


def sent_again(demo: Demo, step: DemoStep) -> None:
    """Tallyfy is back; the operator sends it again."""
    outage = demo.outage_question()
    demo.simulator.clear_faults()
    chosen = [letter for letter in demo.found if letter.intent_id == outage.intent_id]
    before = demo.stack.intent(outage.intent_id)
    step.sent.append("lifecycle dead-letters send-again, after the outage")
    deeds = list(dead_letter_queue.send_again(demo.pairs, chosen, most=100, clock=utc_now))
    step.check("it was sent again once", [deed.done for deed in deeds] == [True])
    rows: list[IntentRow | None] = []

    def answered() -> bool:
        rows[:] = [demo.stack.intent(outage.intent_id)]
        return bool(chosen) and dead_letter_queue.is_answered(chosen[0], before, rows[0])

    step.check("the ledger has a new end", until(answered))
    report = demo.api.status(outage.intent_id)
    effects = demo.simulator.effects(Action.RESTORE, DefaultIds.ARCHIVED_TASK)
    step.came_back.append(f"{report['status']}, {changes(effects)}: {report['reason']}")
    step.check("the status is done", report["status"] is Status.DONE)
    step.check("one effect", effects == 1)
    step.check("the simulator has it active", demo.state(DefaultIds.ARCHIVED_TASK) == "active")
    left = sorted(letter.code for letter in demo.letters())
    step.came_back.append(f"still dead letters: {', '.join(left)}")
    step.check("only the others are left", left == ["ambiguous_match", "changed", "plan_stopped", "poison"])
