"""`make demo`: every promise shown, and believed only if the status endpoint and the simulator's own log agree."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import requests
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.clients.api import DeliveryAnswer, StatusApi, is_concluded
from cli.clients.delivery import Delivery, delivery, new_delivery_id
from cli.clients.signing import sign, slack_headers
from cli.clients.stack import AwsStack, Pair
from cli.services import dead_letter_queue
from cli.services.config_files import declared_sources
from cli.services.dead_letter_queue import DeadLetter
from cli.ui.console import NO, YES, plain, status_text, table
from cli.ui.console import console as plain_console
from cli.ui.errors import CliError, Exit
from lifecycle.api.schemas.commands import CommandStatus
from lifecycle.deletion.exporter import verify
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import DEAD, IntentRow, Status
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.sweep.jobs import JobKind, SweepJob
from lifecycle.tallyfy.client import pooled_session
from sandbox.running import (
    APPROVER,
    ASKER,
    DEAL,
    EDITED,
    FINISHED,
    KEPT,
    PEOPLE,
    PROJECT,
    SLACK_RUN,
    SOURCE,
    Local,
    local_stack,
    pointed_at,
    utc_now,
)
from sandbox.simulator import DefaultIds, Fault, Seed, SeedOrganization, SeedRun, SimulatorClient, crowd
from sandbox.stack import ROOT

ORG = DefaultIds.ORGANIZATION
LOG = ROOT / ".local" / "logs" / "demo.log"
EVENTS = ROOT / "events"
_STRANGER = "whsec_" + base64.b64encode(b"known to nobody of ours").decode()
_END_SECONDS = 300.0
"""Only a bound: on a busy machine a function may take long to start."""
_EVERY = 0.1
_POISON = json.dumps({"please": "tidy up", "everything": True})
_MOST_ATTEMPTS = 6
_MANY = 20


@dataclass(slots=True)
class DemoStep:
    """What one step says of itself. It has passed if every check has."""

    title: str
    sent: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    checks: list[tuple[str, bool]] = field(default_factory=list)

    def check(self, what: str, held: object) -> None:
        """Note a check."""
        self.checks.append((what, bool(held)))

    @property
    def passed(self) -> bool:
        """Whether it was seen as promised."""
        return bool(self.checks) and all(held for _, held in self.checks)


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A command of the demonstration: how it must stand in the ledger in the end, and with how many effects."""

    intent_id: str
    what: str
    id: str
    action: Action
    status: Status
    effects: int


def play(out: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Set up, play all steps, tear down; whether each outcome was seen."""
    out = out or plain_console()
    started = clock()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        bar = progress.add_task("Starting", total=len(STEPS))
        with local_stack(lambda step: progress.update(bar, description=step), people=PEOPLE) as local:
            ready = clock()
            out.print(f"[bold]The template is deployed[/] to an emulator on loopback, in {ready - started:.0f} s.")
            with pointed_at(local.stack.environment):
                show = Show(local, lambda what: progress.update(bar, description=what))
                passed = _play_steps(show, progress, bar, out)
            progress.update(bar, description="Stopping everything")
            if not passed:
                LOG.parent.mkdir(parents=True, exist_ok=True)
                LOG.write_text(local.stack.log)
    ended = clock()
    verdict = Text("Every outcome was seen.", "bold green")
    if not passed:
        verdict = Text(f"Not every outcome was seen. The functions' log is in {LOG}.", "bold red")
    out.print(
        verdict, f"{ended - started:.0f} s in all, {ready - started:.0f} s of it to set up. Nothing is left running."
    )
    return passed


def _play_steps(show: "Show", progress: Progress, bar: TaskID, out: Console) -> bool:
    passed = True
    show.begin_outage()
    for number, (title, act) in enumerate(STEPS, start=1):
        progress.update(bar, description=title)
        step = DemoStep(title)
        try:
            act(show, step)
        except Exception as error:  # noqa: BLE001 - one step that breaks must not hide the others
            step.check(f"it broke: {type(error).__name__}: {error}", held=False)
        out.print(_told(number, step))
        progress.advance(bar)
        passed &= step.passed
    stands, all_right = show.closing_table()
    out.print(stands, soft_wrap=True)
    return passed and all_right


def _told(number: int, step: DemoStep) -> Group:
    lines = Table.grid(padding=(0, 1))
    lines.add_column(width=10, justify="right", style="dim")
    lines.add_column(overflow="fold")
    for label, texts in (("sent", step.sent), ("came back", step.came_back)):
        for text in texts:
            lines.add_row(label, plain(text, most=160))
    if not step.passed:
        lines.add_row("missing", Text("; ".join(what for what, held in step.checks if not held), "red"))
    return Group(Text.assemble(YES if step.passed else NO, f" {number}. ", (step.title, "bold")), lines)


class Show:
    """The parts in play, and what each step does with them."""

    def __init__(self, local: Local, say: Callable[[str], None]) -> None:
        self.api = StatusApi(pooled_session(), local.stack.api_url)
        self.simulator: SimulatorClient = local.simulator.client()
        self.stack = AwsStack(local.stack.options.stack_name, None)
        self.pairs: Sequence[Pair] = self.stack.pairs()
        self.asked: list[DemoQuestion] = []
        self._say = say
        self._secrets = local.secrets
        self._sources = declared_sources()
        self._first: tuple[Delivery, dict[str, str], str] | None = None
        self._outage: DemoQuestion | None = None
        self._plan: Plan | None = None
        self._found: list[DeadLetter] = []
        self._local = local

    # --- the steps ----------------------------------------------------------------------------------------------------

    def begin_outage(self) -> None:
        """Before the first step: six attempts with growing waits take a while, so they run beside the other steps."""
        self.simulator.add_fault(Fault.answer_status(503, id=DefaultIds.ARCHIVED_TASK, times=-1))
        packet = self._packet(Resource.TASK, Action.RESTORE, DefaultIds.ARCHIVED_TASK)
        answer = self._post(packet)
        self._outage = DemoQuestion(
            answer.intent_id, "restore task (outage)", DefaultIds.ARCHIVED_TASK, Action.RESTORE, Status.DONE, 1
        )
        self.asked.append(self._outage)

    def archive(self, step: DemoStep) -> None:
        """A signed webhook archives a process."""
        packet = self._packet(Resource.RUN, Action.ARCHIVE, DefaultIds.RUN)
        headers = packet.headers(self._secrets[SOURCE], utc_now())
        answer = self.api.post(SOURCE, packet.body, headers)
        self._first = (packet, headers, answer.intent_id)
        step.sent.append(f"POST /webhooks/{SOURCE}: archive process, signed")
        self._ended(step, answer, "archive process", DefaultIds.RUN, Action.ARCHIVE, Status.DONE)
        step.check("the simulator has it archived", self._state(DefaultIds.RUN) == "archived")

    def same_again(self, step: DemoStep) -> None:
        """The same delivery again."""
        if self._first is None:
            step.check("the first delivery was sent", held=False)
            return
        packet, headers, intent_id = self._first
        step.sent.append("the same bytes, 3 times more")
        answers = [self.api.post(SOURCE, packet.body, headers) for _ in range(3)]
        step.check(
            "each was answered as the first was", all(one.accepted and one.intent_id == intent_id for one in answers)
        )
        # The command in the outage is the only other one on its way.
        step.check("the copies were worked off", _until(lambda: self.pairs[0].origin.depth() <= 1))
        effects = self.simulator.effects(id=DefaultIds.RUN)
        report = self.api.status(intent_id)
        step.came_back.append(f"3 × 202 with the same intent; {report['status']}, {_changes(effects)}")
        step.check("still one effect", effects == 1)
        step.check("its status is the same", report["status"] is Status.DONE)

    def bad_signature(self, step: DemoStep) -> None:
        """A signature made with another secret."""
        packet = self._packet(Resource.RUN, Action.ARCHIVE, DefaultIds.ACTIVE_RUN)
        headers = packet.headers(_STRANGER, utc_now())
        answer = self.api.post(SOURCE, packet.body, headers)
        calls = self.simulator.log(id=DefaultIds.ACTIVE_RUN)
        step.sent.append("archive process, signed with another secret")
        step.came_back.append(f"{answer.status} {answer.code}; {len(calls)} calls to Tallyfy")
        step.check("refused with 401", answer.status == 401 and not answer.intent_id)  # noqa: PLR2004 - the status shown
        step.check("Tallyfy heard nothing", not calls)

    def restore(self, step: DemoStep) -> None:
        """Restore the process, asked by another source that signs by plain HMAC."""
        packet = self._packet(Resource.RUN, Action.RESTORE, DefaultIds.RUN, source="crm")
        step.sent.append("POST /webhooks/crm: restore process, signed by plain HMAC")
        answer = self._post(packet)
        self._ended(step, answer, "restore process", DefaultIds.RUN, Action.RESTORE, Status.DONE)
        step.check("the simulator has it active", self._state(DefaultIds.RUN) == "active")

    def delete(self, step: DemoStep) -> None:
        """A permanent delete: asked, previewed, refused to its asker, approved by another, exported, verified, done."""
        id = DefaultIds.RUN_ARCHIVED_LONG_AGO
        step.sent.append(f"delete process, archived for 400 days, asked by {ASKER}")
        answer = self._post(self._packet(Resource.RUN, Action.DELETE, id, by=ASKER))
        shown = self._waiting(step, answer.intent_id)
        step.came_back.append(f"shown to approvers: '{shown.get('title')}', archived {shown.get('archived_at')}")
        step.check("the preview names it", shown.get("id") == id)
        step.check("nothing is deleted yet", self.simulator.effects(Action.DELETE, id) == 0)
        own = self._speak(ASKER, "approve", shown)
        step.came_back.append(f"approved by {ASKER}: {own.get('status')} {own.get('code')}")
        step.check("its asker may not approve it", own.get("code") == "own_request")
        other = self._speak(APPROVER, "approve", shown)
        step.check("somebody else may", other.get("stands") == "approved")
        self._ended(step, answer, "delete process (400 d)", id, Action.DELETE, Status.DONE)
        step.check("the simulator has it deleted", self._state(id) == "deleted")
        self._exported(step, answer.intent_id)

    def grace(self, step: DemoStep) -> None:
        """Approved, and still too young: it waits for its day, and a refusal ends another."""
        id = DefaultIds.RUN_ARCHIVED_RECENTLY
        step.sent.append("delete process, archived for 2 days; approved at once")
        answer = self._post(self._packet(Resource.RUN, Action.DELETE, id, by=ASKER))
        self._speak(APPROVER, "approve", self._waiting(step, answer.intent_id))

        def parked() -> bool:
            row = self.stack.intent(answer.intent_id)
            return row is not None and row.code == "in_grace"

        step.check("it waits for its age", _until(parked, seconds=_END_SECONDS))
        step.came_back.append(self.api.status(answer.intent_id)["reason"])
        step.check("the simulator has it archived", self._state(id) == "archived")
        self.asked.append(DemoQuestion(answer.intent_id, "delete process (2 d)", id, Action.DELETE, Status.WAITING, 0))

    def undo(self, step: DemoStep) -> None:
        """An archive, taken back by its intent."""
        id = DefaultIds.ACTIVE_RUN
        answer = self._post(self._packet(Resource.RUN, Action.ARCHIVE, id))
        self._ended(step, answer, "archive process (undone)", id, Action.ARCHIVE, Status.DONE)
        step.sent.append("archive process, then POST /commands/{intent_id}/undo, twice")
        told = [self._call("POST", f"/commands/{answer.intent_id}/undo", APPROVER) for _ in range(2)]
        step.check("both presses are one undo", told[0].get("intent_id") == told[1].get("intent_id") is not None)
        report = self.api.wait(str(told[0].get("intent_id")), seconds=_END_SECONDS, every=_EVERY)
        step.came_back.append(f"{report['status']}: {report['reason']}")
        step.check("it is done", report["status"] is Status.DONE)
        step.check("the simulator has it active", self._state(id) == "active")
        step.check("one restore", self.simulator.effects(Action.RESTORE, id) == 1)

    def _waiting(self, step: DemoStep, intent_id: str) -> Mapping[str, object]:
        """What approvers are shown of a command, with the request's hash, once they are asked."""
        found: list[Mapping[str, object]] = []

        def asked() -> bool:
            told = self._call("GET", "/approvals", APPROVER).get("approvals")
            waiting = told if isinstance(told, list) else []
            found[:] = [{**one["shown"], "hash": one["hash"]} for one in waiting if one["subject"] == intent_id]
            return bool(found)

        step.check("somebody is asked to approve it", _until(asked, seconds=_END_SECONDS))
        return found[0] if found else {}

    def _speak(self, name: str, verdict: str, shown: Mapping[str, object]) -> Mapping[str, object]:
        return self._call("POST", f"/approvals/{shown.get('hash', '')}/{verdict}", name)

    def _call(self, method: str, path: str, name: str) -> Mapping[str, object]:
        """Call a route under a person's own AWS identity."""
        answer = _patiently(lambda: self._local.stack.call(method, path, self._local.stack.people[name]))
        told: Mapping[str, object] = answer.json()
        return told

    def _exported(self, step: DemoStep, intent_id: str) -> None:
        """Read the export that the ledger names back from the bucket, as an auditor would."""
        row = self.stack.intent(intent_id)
        folder = json.loads(row.evidence).get("export") if row is not None and row.evidence else None
        manifest, wrong = verify(self.stack.exports(), str(folder))
        step.check("its export is complete and every checksum agrees", manifest and manifest.complete and not wrong)
        if manifest:
            parts = f"{len(manifest.parts)} parts, {sum(part.size for part in manifest.parts):,} bytes"
            step.came_back.append(f"export verified: {parts}")

    def task(self, step: DemoStep) -> None:
        """A one-off task."""
        self._simple(step, Resource.TASK, Action.ARCHIVE, DefaultIds.TASK, "archived")

    def template(self, step: DemoStep) -> None:
        """A template."""
        self._simple(step, Resource.TEMPLATE, Action.ARCHIVE, DefaultIds.TEMPLATE, "archived")

    def tag(self, step: DemoStep) -> None:
        """A tag: "archive", as older pages of Tallyfy's say, is understood as the delete that it is."""
        step.sent.append("archive tag (Tallyfy deletes tags for good), approved by another")
        answer = self._post(self._packet(Resource.TAG, Action.ARCHIVE, DefaultIds.UNUSED_TAG, by=ASKER))
        self._speak(APPROVER, "approve", self._waiting(step, answer.intent_id))
        self._ended(step, answer, "delete tag", DefaultIds.UNUSED_TAG, Action.DELETE, Status.DONE)
        step.check("the simulator has it deleted", self._state(DefaultIds.UNUSED_TAG) == "deleted")

    def event(self, step: DemoStep) -> None:
        """An event on the bus: another system closed a project that is named as the process is."""
        [entry] = json.loads((EVENTS / "put-events.json").read_bytes())
        entry["EventBusName"] = self.stack.outputs()["BusName"]
        step.sent.append(f"aws events put-events: {entry['DetailType']} of {entry['Source']}, {entry['Detail']}")
        put = self._local.stack.events.put_events(Entries=[entry])
        step.check("the bus took it", put["FailedEntryCount"] == 0)
        step.check("the simulator has it archived", _until(lambda: self._state(PROJECT) == "archived"))
        effects = self.simulator.effects(Action.ARCHIVE, PROJECT)
        step.came_back.append(f"the one process of that name in its template is archived, {_changes(effects)}")
        step.check("one effect", effects == 1)

    def hubspot(self, step: DemoStep) -> None:
        """HubSpot's own payload: four events, of which two are deals that were won; one of them has a process."""
        body = (EVENTS / "hubspot-deal-won.json").read_bytes()
        headers = sign(
            self._sources.sources["hubspot"],
            self._secrets["hubspot"],
            body,
            delivery_id="",
            timestamp=int(utc_now().timestamp()),
            uri=f"{self.api.seen_as}/webhooks/hubspot",
        )
        step.sent.append("POST /webhooks/hubspot: four events, two of them deals won, signed as HubSpot's version 3")
        answer = self.api.post("hubspot", body, headers)
        step.check(f"202 with two intents, not {answer.status} {answer.detail}", len(answer.intent_ids) == 2)  # noqa: PLR2004
        for intent_id, status in zip(answer.intent_ids, (Status.DONE, Status.REJECTED), strict=False):
            report = self.api.wait(intent_id, seconds=_END_SECONDS, every=_EVERY)
            step.came_back.append(f"{report['status']}: {report['reason']}")
            step.check(f"{status}, not {report['status']}", report["status"] is status)
        if answer.intent_ids:
            self.asked.append(
                DemoQuestion(answer.intent_ids[0], "archive process (deal)", DEAL, Action.ARCHIVE, Status.DONE, 1)
            )
        step.check("the simulator has it archived", self._state(DEAL) == "archived")

    def plan(self, step: DemoStep) -> None:
        """The nightly sweep: everything is seen, each with a reason, and nothing is done."""
        before, calls = self.simulator.effects(), len(self.simulator.log())
        plan = self._sweep(step)
        if plan is None:
            return
        self._plan = plan
        kept = ", ".join(f"{number} {kind}" for kind, number in plan.kept_by.items())
        step.came_back += [
            f"{plan.seen} seen = {plan.due} due + {plan.kept} kept + {plan.failed} unreadable ({kept})",
            f"plan {plan.hash[:12]}…, with a report to look at",
        ]
        step.check("what was seen adds up", plan.seen == plan.due + plan.kept + plan.failed)
        step.check("what carries the tag 'keep' is kept", plan.kept_by.get("on hold") == 1)
        page = self.stack.objects().get(key_of(ORG, plan.hash, "report.html")) or b""
        step.check("the report shows what is due", b"Onboard Wayne" in page)
        step.check("Tallyfy was only read", all(call.method == "GET" for call in self.simulator.log()[calls:]))
        step.check("nothing was changed", self.simulator.effects() == before)

    def apply(self, step: DemoStep) -> None:
        """A person names the plan by its hash; what was edited since is left alone."""
        if self._plan is None:
            step.check("there is a plan", held=False)
            return
        edited = SeedRun(id=EDITED, name="Onboard Tyrell, again", status="active")
        self.simulator.merge(Seed(organizations=[SeedOrganization(id=ORG, runs=[edited])]))
        step.sent += ["a process of the plan is opened again and renamed", f"lifecycle apply {self._plan.hash[:12]}…"]
        for _ in range(2):
            self._apply(self._plan)
        step.check(
            "the other one is archived", _until(lambda: self._state(FINISHED) == "archived", seconds=_END_SECONDS)
        )

        def left_alone() -> bool:
            return any(letter.code == "changed" for letter in self._letters())

        step.check("the edited one is set aside with the reason", _until(left_alone, seconds=_END_SECONDS))
        step.came_back += [f"{letter.code}: {letter.reason}" for letter in self._letters() if letter.code == "changed"]
        step.check("the edited one is as it was", self._state(EDITED) == "active")
        step.check("applied twice, done once", self.simulator.effects(Action.ARCHIVE, FINISHED) == 1)
        step.check("what is kept is as it was", self._state(KEPT) == "active")

    def cap(self, step: DemoStep) -> None:
        """Suddenly far more is due than anyone expects: nothing at all is done."""
        self.simulator.merge(crowd(_MANY, status="complete", completed_at="-45d"))
        before = self.simulator.effects()
        plan = self._sweep(step)
        if plan is None:
            return
        step.came_back += plan.stops
        step.check("the plan is stopped by its cap", any("its cap is" in why for why in plan.stops))
        self._apply(plan)

        def refused() -> bool:
            return any(letter.code == "plan_stopped" for letter in self._letters())

        step.check("applying it by its hash is refused, with the reason", _until(refused, seconds=_END_SECONDS))
        step.check("nothing was changed", self.simulator.effects() == before)

    def _sweep(self, step: DemoStep) -> Plan | None:
        sweep_id = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
        step.sent.append(f"what the schedule sends each night: sweep {sweep_id}, mode report")
        self._errand(SweepJob(sweep_id=sweep_id))

        def finished() -> bool:
            row = self.stack.sweep(sweep_id, ORG)
            return row is not None and row.done

        step.check("it finished", _until(finished, seconds=_END_SECONDS))
        row = self.stack.sweep(sweep_id, ORG)
        body = self.stack.objects().get(key_of(ORG, row.plan, "plan.json")) if row and row.plan else None
        step.check("it left a plan", body)
        return Plan.model_validate_json(body) if body else None

    def _apply(self, plan: Plan) -> None:
        name = f"apply-{new_delivery_id()}"
        who = self.stack.caller()
        self._errand(SweepJob(sweep_id=name, org_id=ORG, kind=JobKind.APPLY, plan=plan.hash, requested_by=who))

    def _errand(self, errand: SweepJob) -> None:
        [queue] = [pair.origin for pair in self.pairs if pair.name == "sweeps"]
        queue.send(errand.model_dump_json(exclude_none=True))

    def slack(self, step: DemoStep) -> None:
        """A slash command: answered at once, and the result follows."""
        text = f"archive https://go.tallyfy.com/{ORG}/process/{SLACK_RUN}"
        form = {"team_id": "T012ABCDE", "user_id": "U034FGHIJ", "command": "/tallyfy", "text": text}
        form |= {"trigger_id": new_delivery_id(), "response_url": self._local.response_url}
        body = urlencode(form).encode()
        step.sent.append(f"/tallyfy {text}")
        lines: list[str] = []

        def answered() -> bool:
            headers = slack_headers(self._local.chat_secret, body, timestamp=int(utc_now().timestamp()))
            try:
                lines[:] = [self.api.slash(body, headers)]
            except CliError as trouble:  # The same line again is the same command: as for the webhooks.
                if trouble.code is not Exit.UNREACHABLE:
                    raise
            return bool(lines)

        step.check("it is answered", _until(answered))
        line = lines[0] if lines else ""
        step.came_back.append(f"at once: {line}")
        intent = re.search(INTENT_PATTERN.strip("^$"), line)
        step.check("accepted", intent)
        if intent is None:
            return
        self.asked.append(DemoQuestion(intent[0], "archive process (Slack)", SLACK_RUN, Action.ARCHIVE, Status.DONE, 1))
        said = self._local.slack.heard.get(timeout=_END_SECONDS)
        step.came_back.append(f"later: {said}")
        step.check("the result is told in Slack", ": done. " in said)
        step.check("the simulator has it archived", self._state(SLACK_RUN) == "archived")

    def dead_letters(self, step: DemoStep) -> None:
        """A poison message, and a command whose calls all met an outage."""
        self.pairs[0].origin.send(_POISON)
        step.sent += ["a message that is no command", "restore task, to which Tallyfy answers 503 (since the start)"]
        outage = self._the_outage()

        def ended(report: CommandStatus) -> bool:
            met = len(self.simulator.log(id=DefaultIds.ARCHIVED_TASK))
            self._say(f"Attempt {min(met + 1, _MOST_ATTEMPTS)} of {_MOST_ATTEMPTS}, each after a longer wait")
            return is_concluded(report)

        report = self.api.wait(outage.intent_id, seconds=_END_SECONDS, every=_EVERY, until=ended)
        step.check("the status is dead_lettered", report["status"] is Status.DEAD_LETTERED)
        calls = self.simulator.log(id=DefaultIds.ARCHIVED_TASK)
        step.check("six attempts met the outage", [call.status for call in calls] == [503] * _MOST_ATTEMPTS)
        step.check("nothing was changed", self.simulator.effects(id=DefaultIds.ARCHIVED_TASK) == 0)

        def both_are_there() -> bool:
            self._found = self._letters()
            return {"poison", "attempts_exhausted"} <= {letter.code for letter in self._found}

        step.check("both are dead letters", _until(both_are_there))
        step.check("each has its reason", all(letter.reason for letter in self._found))
        step.came_back += [
            f"{letter.code}: {letter.reason}"
            for letter in self._found
            if letter.code in {"poison", "attempts_exhausted"}
        ]

    def sent_again(self, step: DemoStep) -> None:
        """Tallyfy is back; the operator sends it again."""
        outage = self._the_outage()
        self.simulator.clear_faults()
        chosen = [letter for letter in self._found if letter.intent_id == outage.intent_id]
        before = self.stack.intent(outage.intent_id)
        step.sent.append("lifecycle dead-letters send-again, after the outage")
        deeds = list(dead_letter_queue.send_again(self.pairs, chosen, most=100, clock=utc_now))
        step.check("it was sent again once", [deed.done for deed in deeds] == [True])
        rows: list[IntentRow | None] = []

        def answered() -> bool:
            rows[:] = [self.stack.intent(outage.intent_id)]
            return bool(chosen) and dead_letter_queue.is_answered(chosen[0], before, rows[0])

        step.check("the ledger has a new end", _until(answered))
        report = self.api.status(outage.intent_id)
        effects = self.simulator.effects(Action.RESTORE, DefaultIds.ARCHIVED_TASK)
        step.came_back.append(f"{report['status']}, {_changes(effects)}: {report['reason']}")
        step.check("the status is done", report["status"] is Status.DONE)
        step.check("one effect", effects == 1)
        step.check("the simulator has it active", self._state(DefaultIds.ARCHIVED_TASK) == "active")
        left = sorted(letter.code for letter in self._letters())
        step.came_back.append(f"still dead letters: {', '.join(left)}")
        step.check("only the others are left", left == ["ambiguous_match", "changed", "plan_stopped", "poison"])

    # --- the end ------------------------------------------------------------------------------------------------------

    def closing_table(self) -> tuple[Table, bool]:
        """What the ledger says of each intent, beside what Tallyfy went through."""
        shown = table("", "intent", "asked", "ledger", "tries", "changes", title="What the ledger says of each intent")
        all_right = True
        for asked in self.asked:
            row = self.stack.intent(asked.intent_id)
            effects = self.simulator.effects(asked.action, asked.id)
            right = row is not None and row.status is asked.status and effects == asked.effects
            all_right &= right
            shown.add_row(
                YES if right else NO,
                asked.intent_id[:12],
                asked.what,
                _stands(row),
                str(row.attempts) if row else "",
                str(effects),
            )
        return shown, all_right

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _packet(
        self, resource: Resource, action: Action, id: str, *, source: str = SOURCE, by: str | None = None
    ) -> Delivery:
        asked = {"action": action, "resource": resource, "org_id": ORG, "id": id, "reason": "Shown in the demo"}
        asked |= {"requested_by": by} if by else {}
        return delivery(source, self._sources.sources[source], asked, new_delivery_id())[0]

    def _post(self, packet: Delivery) -> DeliveryAnswer:
        told: list[DeliveryAnswer] = []

        def taken() -> bool:
            # A function that starts too slowly for its API is answered for with a 5xx; the same delivery is sent again.
            headers = packet.headers(self._secrets[packet.source], utc_now())
            told[:] = [self.api.post(packet.source, packet.body, headers)]
            return told[0].status < 500  # noqa: PLR2004 - HTTP's line between the sender's fault and the server's

        _until(taken)
        return told[0]

    def _simple(self, step: DemoStep, resource: Resource, action: Action, id: str, state: str) -> None:
        step.sent.append(f"{action} {resource.label}")
        answer = self._post(self._packet(resource, action, id))
        self._ended(step, answer, f"{action} {resource.label}", id, action, Status.DONE)
        step.check(f"the simulator has it {state}", self._state(id) == state)

    def _ended(
        self, step: DemoStep, answer: DeliveryAnswer, what: str, id: str, action: Action, status: Status
    ) -> CommandStatus | None:
        """Wait for the end that was promised, at the status endpoint and in the simulator's log."""
        step.check(f"{what}: accepted with 202, not {answer.status} {answer.detail}", answer.accepted)
        if not answer.accepted:
            return None
        effects = 0 if status in DEAD else 1
        self.asked.append(DemoQuestion(answer.intent_id, what, id, action, status, effects))
        report = self.api.wait(answer.intent_id, seconds=_END_SECONDS, every=_EVERY)
        seen = self.simulator.effects(action, id)
        step.came_back.append(f"202, then {report['status']}, {_changes(seen)}: {report['reason']}")
        step.check(f"{what}: {status}, not {report['status']}", report["status"] is status)
        step.check(f"{what}: {effects} in the simulator's log, not {seen}", seen == effects)
        return report

    def _the_outage(self) -> DemoQuestion:
        if self._outage is None:
            msg = "the command for the outage was not sent"
            raise RuntimeError(msg)
        return self._outage

    def _letters(self) -> list[DeadLetter]:
        return dead_letter_queue.look(self.pairs, most=100, clock=utc_now).letters

    def _state(self, id: str) -> str:
        return self.simulator.state(id).state


STEPS: tuple[tuple[str, Callable[[Show, DemoStep], None]], ...] = (
    ("A signed webhook archives a process", Show.archive),
    ("The same delivery again: nothing is done twice", Show.same_again),
    ("A bad signature is refused", Show.bad_signature),
    ("A restore", Show.restore),
    ("An undo: archived, and brought back by its intent", Show.undo),
    ("A permanent delete: asked, refused to its asker, approved by another, exported, verified, done", Show.delete),
    ("A permanent delete that is approved too early waits for its day", Show.grace),
    ("A one-off task", Show.task),
    ("A template", Show.template),
    ("A tag", Show.tag),
    ("An event of another system archives the process that bears the project's name", Show.event),
    ("A webhook of HubSpot's, as HubSpot sends it", Show.hubspot),
    ("The nightly plan: everything seen, each with its reason, nothing done", Show.plan),
    ("Applied by its hash: done once, and what changed since is left alone", Show.apply),
    ("Far more is due than anyone expects: a cap stops all of it", Show.cap),
    ("A slash command in Slack", Show.slack),
    ("A poison message and an outage end in the dead-letter queue, with reasons", Show.dead_letters),
    ("Sent again, and done", Show.sent_again),
)


def _stands(row: IntentRow | None) -> Text:
    if row is None:
        return Text("nothing")
    return Text.assemble(status_text(row.status), f" {row.code}", ", sent again" if row.redrive else "")


def _changes(number: int) -> str:
    return f"{number} change{'' if number == 1 else 's'} in Tallyfy"


def _patiently(call: Callable[[], requests.Response]) -> requests.Response:
    """Ask again while the answer is a 5xx: whatever is asked for here is not done twice."""
    told: list[requests.Response] = []

    def answered() -> bool:
        told[:] = [call()]
        return told[0].status_code < 500  # noqa: PLR2004 - as above

    _until(answered)
    return told[0]


def _until(held: Callable[[], bool], *, seconds: float = _END_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not held():
        if time.monotonic() > deadline:
            return False
        time.sleep(_EVERY)
    return True
