"""The steps in which deliveries come in: signed, repeated, forged, from other systems and from Slack."""

import json
import os
import re
import time
from urllib.parse import urlencode

from cli.clients.delivery import new_delivery_id
from cli.clients.signing import chat_headers, sign
from cli.clients.tallyfy_calls import TallyfyCalls
from cli.services.replay import texts_in
from cli.services.tallyfy_webhook import OrganizationWebhook
from cli.ui.errors import CliError, Exit
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.tallyfy.client import pooled_session
from sandbox.demo.session import END_SECONDS, EVENTS, EVERY, ORG, STRANGER, Demo, DemoQuestion, DemoStep, changes, until
from sandbox.running import (
    APPROVER,
    DEAL,
    PROJECT,
    SLACK_RUN,
    SOURCE,
    utc_now,
)
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, make_id


def archive(demo: Demo, step: DemoStep) -> None:
    """A signed webhook archives a process."""
    packet = demo.delivery(Resource.RUN, Action.ARCHIVE, DefaultIds.RUN)
    headers = packet.headers(demo.secrets[SOURCE], utc_now())
    answer = demo.api.post(SOURCE, packet.body, headers)
    demo.first = (packet, headers, answer.intent_id)
    step.sent.append(f"POST /webhooks/{SOURCE}: archive process, signed")
    demo.conclude(step, answer, "archive process", DefaultIds.RUN, Action.ARCHIVE, Status.DONE)
    step.check("the simulator has it archived", demo.state(DefaultIds.RUN) == "archived")


def same_again(demo: Demo, step: DemoStep) -> None:
    """The same delivery again."""
    if demo.first is None:
        step.check("the first delivery was sent", held=False)
        return
    packet, headers, intent_id = demo.first
    step.sent.append("the same bytes, 3 times more")
    answers = [demo.api.post(SOURCE, packet.body, headers) for _ in range(3)]
    step.check(
        "each was answered as the first was", all(one.accepted and one.intent_id == intent_id for one in answers)
    )
    # The command in the outage is the only other one on its way.
    step.check("the copies were worked off", until(lambda: demo.pairs[0].origin.depth() <= 1))
    effects = demo.simulator.effects(id=DefaultIds.RUN)
    report = demo.api.status(intent_id)
    step.came_back.append(f"3 × 202 with the same intent; {report['status']}, {changes(effects)}")
    step.check("still one effect", effects == 1)
    step.check("its status is the same", report["status"] is Status.DONE)


def bad_signature(demo: Demo, step: DemoStep) -> None:
    """A signature made with another secret."""
    packet = demo.delivery(Resource.RUN, Action.ARCHIVE, DefaultIds.ACTIVE_RUN)
    headers = packet.headers(STRANGER, utc_now())
    answer = demo.api.post(SOURCE, packet.body, headers)
    calls = demo.simulator.log(id=DefaultIds.ACTIVE_RUN)
    step.sent.append("archive process, signed with another secret")
    step.came_back.append(f"{answer.status} {answer.code}; {len(calls)} calls to Tallyfy")
    step.check("refused with 401", answer.status == 401 and not answer.intent_id)  # noqa: PLR2004 - the status shown
    step.check("Tallyfy heard nothing", not calls)


def restore(demo: Demo, step: DemoStep) -> None:
    """Restore the process, asked by another source that signs by plain HMAC."""
    packet = demo.delivery(Resource.RUN, Action.RESTORE, DefaultIds.RUN, source="crm")
    step.sent.append("POST /webhooks/crm: restore process, signed by plain HMAC")
    answer = demo.post(packet)
    demo.conclude(step, answer, "restore process", DefaultIds.RUN, Action.RESTORE, Status.DONE)
    step.check("the simulator has it active", demo.state(DefaultIds.RUN) == "active")


def undo(demo: Demo, step: DemoStep) -> None:
    """An archive, taken back by its intent."""
    id = DefaultIds.ACTIVE_RUN
    answer = demo.post(demo.delivery(Resource.RUN, Action.ARCHIVE, id))
    demo.conclude(step, answer, "archive process (undone)", id, Action.ARCHIVE, Status.DONE)
    step.sent.append("archive process, then POST /commands/{intent_id}/undo, twice")
    told = [demo.call("POST", f"/commands/{answer.intent_id}/undo", APPROVER) for _ in range(2)]
    step.check("both presses are one undo", told[0].get("intent_id") == told[1].get("intent_id") is not None)
    report = demo.api.wait(str(told[0].get("intent_id")), seconds=END_SECONDS, every=EVERY)
    step.came_back.append(f"{report['status']}: {report['reason']}")
    step.check("it is done", report["status"] is Status.DONE)
    step.check("the simulator has it active", demo.state(id) == "active")
    step.check("one restore", demo.simulator.effects(Action.RESTORE, id) == 1)


def task(demo: Demo, step: DemoStep) -> None:
    """A one-off task."""
    demo.carry_out(step, Resource.TASK, Action.ARCHIVE, DefaultIds.TASK, "archived")


def template(demo: Demo, step: DemoStep) -> None:
    """A template."""
    demo.carry_out(step, Resource.TEMPLATE, Action.ARCHIVE, DefaultIds.TEMPLATE, "archived")


def event(demo: Demo, step: DemoStep) -> None:
    """An event on the bus: another system closed a project that is named as the process is."""
    [entry] = json.loads((EVENTS / "put-events.json").read_bytes())
    entry["EventBusName"] = demo.stack.outputs()["BusName"]
    step.sent.append(f"aws events put-events: {entry['DetailType']} of {entry['Source']}, {entry['Detail']}")
    put = demo.local.stack.events.put_events(Entries=[entry])
    step.check("the bus took it", put["FailedEntryCount"] == 0)
    step.check("the simulator has it archived", until(lambda: demo.state(PROJECT) == "archived"))
    effects = demo.simulator.effects(Action.ARCHIVE, PROJECT)
    step.came_back.append(f"the one process of that name in its template is archived, {changes(effects)}")
    step.check("one effect", effects == 1)


def hubspot(demo: Demo, step: DemoStep) -> None:
    """HubSpot's own payload: four events, of which two are deals that were won; one of them has a process."""
    body = (EVENTS / "hubspot-deal-won.json").read_bytes()
    headers = sign(
        demo.sources.sources["hubspot"],
        demo.secrets["hubspot"],
        body,
        delivery_id="",
        timestamp=int(utc_now().timestamp()),
        uri=f"{demo.api.seen_as}/webhooks/hubspot",
    )
    step.sent.append("POST /webhooks/hubspot: four events, two of them deals won, signed as HubSpot's version 3")
    answer = demo.api.post("hubspot", body, headers)
    step.check(f"202 with two intents, not {answer.status} {answer.detail}", len(answer.intent_ids) == 2)  # noqa: PLR2004
    for intent_id, status in zip(answer.intent_ids, (Status.DONE, Status.REJECTED), strict=False):
        report = demo.api.wait(intent_id, seconds=END_SECONDS, every=EVERY)
        step.came_back.append(f"{report['status']}: {report['reason']}")
        step.check(f"{status}, not {report['status']}", report["status"] is status)
    if answer.intent_ids:
        demo.asked.append(
            DemoQuestion(answer.intent_ids[0], "archive process (deal)", DEAL, Action.ARCHIVE, Status.DONE, 1)
        )
    step.check("the simulator has it archived", demo.state(DEAL) == "archived")


def tallyfy(demo: Demo, step: DemoStep) -> None:
    """Tallyfy's webhook of the organization: registered once, and a process that is completed is archived."""
    webhook = OrganizationWebhook(
        calls=TallyfyCalls(pooled_session(), demo.local.simulator.base_url, DEFAULT_TOKEN, time.sleep),
        org_id=ORG,
        source="tallyfy",
        api_url=demo.api.url,
        store=demo.stack.secrets(),
        prefix=demo.stack.outputs()["SecretPrefix"],
    )
    scheme = demo.sources.sources["tallyfy"].scheme
    step.sent.append("lifecycle tallyfy connect, twice")
    first, again = (webhook.connect(lambda: scheme.new_secret(os.urandom(32)), beside=False) for _ in range(2))
    step.came_back.append(f"registered once: {webhook.masked(first.registration)}")
    step.check("it is registered", not first.already)
    step.check("it is not registered twice", again.already and again.registration == first.registration)
    run = make_id("demo", "completed")
    step.sent.append("in Tallyfy, a person launches the process 'Onboard Oscorp' and completes it")
    demo.simulator.launch(run, "Onboard Oscorp")
    demo.simulator.complete(run)
    step.check("the simulator has it archived", until(lambda: demo.state(run) == "archived"))
    effects = demo.simulator.effects(Action.ARCHIVE, run)
    heard = [f"{one.event}: {one.status}" for one in demo.simulator.deliveries()]
    step.came_back.append(f"Tallyfy sent {', '.join(heard)}; {changes(effects)}")
    step.check("each event was sent once", heard == ["process.launched: 200", "process.completed: 202"])
    step.check("one effect", effects == 1)


def slack(demo: Demo, step: DemoStep) -> None:
    """A slash command: answered at once, and the result follows."""
    text = f"archive https://go.tallyfy.com/{ORG}/process/{SLACK_RUN}"
    form = {"team_id": "T012ABCDE", "user_id": "U034FGHIJ", "command": "/tallyfy", "text": text}
    form |= {"trigger_id": new_delivery_id(), "response_url": demo.local.response_url}
    body = urlencode(form).encode()
    step.sent.append(f"/tallyfy {text}")
    lines: list[str] = []

    def answered() -> bool:
        headers = chat_headers("slack", demo.local.chat_secret, body, timestamp=int(utc_now().timestamp()))
        try:
            form_type = {"content-type": "application/x-www-form-urlencoded"}
            lines[:] = texts_in(demo.api.chat("slack", body, {**headers, **form_type}))[:1]
        except CliError as trouble:  # The same line again is the same command: as for the webhooks.
            if trouble.code is not Exit.UNREACHABLE:
                raise
        return bool(lines)

    step.check("it is answered", until(answered))
    line = lines[0] if lines else ""
    step.came_back.append(f"at once: {line}")
    intent = re.search(INTENT_PATTERN.strip("^$"), line)
    step.check("accepted", intent)
    if intent is None:
        return
    demo.asked.append(DemoQuestion(intent[0], "archive process (Slack)", SLACK_RUN, Action.ARCHIVE, Status.DONE, 1))
    said = demo.local.slack.heard.get(timeout=END_SECONDS)
    step.came_back.append(f"later: {said}")
    step.check("the result is told in Slack", ": done. " in said)
    step.check("the simulator has it archived", demo.state(SLACK_RUN) == "archived")
