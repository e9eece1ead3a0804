"""Eight presets from their handshake to their effect, and from what was not understood to its replay."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from cli.clients.stack import AwsStack
from cli.services.delivery_log import DeliveryLog
from cli.services.source_connection import open_window, window_end
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.aws.secrets import ManagedSecrets
from lifecycle.intake.presets import load_preset
from sandbox.running import pointed_at
from sandbox.simulator import Seed, SeedOrganization, SeedRun, SeedTag, make_id
from sandbox.stack import StackPerson
from tests.e2e.bench import ORG, Bench, until
from tests.e2e.presets import BROKEN, NAMES, PARTNER_BUS, PARTNER_SOURCE, corrected_table
from tests.e2e.test_terminal import type_as
from tests.harness.builders import EVENTS
from tests.harness.presets import declared, delivery, entrance, secret_of

pytestmark = pytest.mark.e2e

HANDED_OVER = "the secret that Asana hands over"
FOREIGN = {"asana": b'{"events": []}'}
"""What the source does not want, where it is not any JSON object. For XML it is the sample in another stage."""


@dataclass
class Played:
    """What the stack answered and did for one preset."""

    run: str
    """The process that its sample means."""
    later: str
    """The process that the corrected table finds."""
    first: requests.Response
    again: requests.Response
    foreign: requests.Response
    refused: requests.Response


@pytest.fixture(scope="module")
def operator(deployed: Bench) -> StackPerson:
    """Somebody with the operators' policy and nothing else."""
    person = deployed.person("olga")
    policy = deployed.stack.outputs["OperatorsPolicyArn"]
    deployed.stack.iam.attach_user_policy(UserName=person.name, PolicyArn=policy)
    return person


@pytest.fixture(scope="module")
def played(deployed: Bench, operator: StackPerson) -> Mapping[str, Played]:
    """Everything, once: each delivery, then the correction, then one replay of all."""
    deployed.start_over()
    found = {name: _play(deployed, name) for name in NAMES}
    with corrected_table(deployed.stack):
        sent = type_as(deployed, operator, "source", "replay", "--all", "--yes", "--json")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    became = {one["source"]: one["status"] for one in json.loads(sent.stdout)}
    assert became == {f"{name}{BROKEN}": "accepted" for name in NAMES}
    return found


def listed(bench: Bench, operator: StackPerson, *words: str) -> dict[str, list[dict[str, object]]]:
    result = type_as(bench, operator, "source", "errors", "--json", *words)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[dict[str, object]]] = json.loads(result.stdout)
    return found


def post(bench: Bench, sent: HttpRequest, *, end: str = "") -> requests.Response:
    """Send a request that was made by the preset's own scheme."""
    parts = [sent.parameters["source"], *([sent.parameters["key"]] if "key" in sent.parameters else [])]
    url = f"{bench.stack.api_url}/webhooks/{'/'.join(parts)}{end}"
    return requests.post(url, data=sent.body, headers=dict(sent.headers), timeout=30)


def signed(bench: Bench, source: str, raw: bytes, secret: str) -> HttpRequest:
    """A delivery to a source, signed for the URL that the function sees."""
    name = source.removesuffix(BROKEN)
    uri = f"https://{bench.stack.physical_id('HttpApi')}.execute-api.127.0.0.1/webhooks/{source}"
    unsigned = HttpRequest(route="", method="POST", uri=uri, parameters={"source": source}, headers={}, body=raw)
    now = int(datetime.now(UTC).timestamp())
    made = declared(name).scheme.sign(secret, unsigned, delivery_id=f"msg_{uuid.uuid4().hex}", timestamp=now)
    return replace(made, parameters={**made.parameters, "source": source})


def _play(bench: Bench, name: str) -> Played:
    raw = (EVENTS / load_preset(name).sample).read_bytes()
    run, later = _sow(bench, name)
    secret = _shake_hands(bench, name)
    sent = signed(bench, name, raw, secret)
    foreign = FOREIGN.get(name, b'{"something": "else"}')
    if load_preset(name).sample.endswith(".xml"):
        foreign = raw.replace(b"Closed Won", b"Prospecting")
    return Played(
        run,
        later,
        first=post(bench, sent, end="" if name == "trello" else "/"),  # Trello signs the URL with its slash.
        again=post(bench, sent),
        foreign=post(bench, signed(bench, name, foreign, secret)),
        refused=post(bench, signed(bench, name + BROKEN, raw, secret_of(name))),
    )


def _sow(bench: Bench, name: str) -> tuple[str, str]:
    """A process with the tag of the sample, and one with the tag of the corrected table."""
    [command] = entrance(name).intake.accept(delivery(name))
    assert command.find is not None
    tags = [(make_id("tag", name, title), title) for title in (str(command.find.tag), f"mended-{name}")]
    runs = [SeedRun(id=make_id("run", tag), tags=[tag]) for tag, _ in tags]
    seeds = [SeedTag(id=tag, title=title) for tag, title in tags]
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=runs, tags=seeds)]))
    return runs[0].id, runs[1].id


def _shake_hands(bench: Bench, name: str) -> str:
    """What the system asks when its webhook is created. Returns the secret that it signs with from then on."""
    url = f"{bench.stack.api_url}/webhooks/{name}"
    match name:
        case "asana":
            store = ManagedSecrets(bench.stack.secretsmanager)
            until_ = window_end(datetime.now(UTC), 5)
            window = open_window(store, bench.stack.outputs["SecretPrefix"], name, declared(name), until_)
            asked = {"x-hook-secret": HANDED_OVER}
            assert requests.post(url, headers=asked, timeout=30).status_code == 401
            answer = requests.post(f"{url}/{window.key}", headers=asked, timeout=30)
            assert (answer.status_code, answer.headers["x-hook-secret"]) == (200, HANDED_OVER), answer.text
            assert requests.post(f"{url}/{window.key}", headers=asked, timeout=30).status_code == 401
            return HANDED_OVER
        case "monday" | "slack-workflow":
            sent = signed(bench, name, b'{"challenge": "repeat this"}', secret_of(name))
            assert post(bench, sent).json() == {"challenge": "repeat this"}
            assert post(bench, replace(sent, headers={}, parameters={"source": name})).status_code == 401
        case "trello":
            for method in ("HEAD", "GET"):
                assert requests.request(method, url, timeout=30).status_code == 200
                assert requests.request(method, url.replace("trello", "stripe"), timeout=30).status_code == 404
        case _:
            pass
    return secret_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_delivery_acts_once_and_an_untranslatable_one_acts_once_after_the_correction(
    deployed: Bench, played: Mapping[str, Played], name: str
) -> None:
    one = played[name]
    if name == "salesforce-outbound":
        assert "<Ack>true</Ack>" in one.first.text
        assert (one.first.status_code, one.again.text, one.foreign.text) == (200, one.first.text, one.first.text)
    else:
        assert one.first.status_code == 202, one.first.text
        assert one.again.json() == one.first.json()
        assert (one.foreign.status_code, one.foreign.json()["status"]) == (200, "ignored")
    assert (one.refused.status_code, one.refused.json()["code"]) == (422, "untranslatable")
    for run in (one.run, one.later):
        until(lambda run=run: deployed.simulator.effects("archive", run) == 1, 60, f"the effect of {name}")  # type: ignore[misc] # a default that mypy cannot see


def test_a_second_replay_does_nothing_and_says_so(
    deployed: Bench, played: Mapping[str, Played], operator: StackPerson
) -> None:
    again = type_as(deployed, operator, "source", "replay", "--all", "--yes")
    assert (again.returncode, "Nothing was sent" in again.stdout) == (0, True), again.stderr


def test_unproven_requests_leave_their_reason_and_their_number(
    deployed: Bench, played: Mapping[str, Played], operator: StackPerson
) -> None:
    sent = signed(deployed, "gitlab", b'{"something": "else"}', secret_of("gitlab"))
    for _ in range(2):
        assert post(deployed, replace(sent, body=b'{"altered": 1}')).status_code == 401
    found = listed(deployed, operator, "--source", "gitlab")
    [counted] = found["refused"]
    assert (counted["code"], counted["times"]) == ("signature_refused", 2)
    assert found["kept"] == []


def test_the_log_has_the_result_of_each_delivery(deployed: Bench, played: Mapping[str, Played]) -> None:
    """What `lifecycle source listen` prints."""
    now = datetime.now(UTC)
    with pointed_at(deployed.stack.environment):
        log = DeliveryLog(AwsStack(deployed.stack.options.stack_name, None), now - timedelta(hours=1))
        heard = log.new(now)
        assert [one for one in log.new(now) if one in heard] == []
    became = {(one.source, one.became) for one in heard}
    assert {(name, "accepted") for name in NAMES} <= became
    assert {(name + BROKEN, what) for name in NAMES for what in ("untranslatable", "accepted")} <= became
    assert {("asana", "handshake"), ("trello", "handshake"), ("stripe", "ignored")} <= became
    accepted = {one.intent_id for one in heard if one.source == "stripe" and one.became == "accepted"}
    assert accepted == {played["stripe"].first.json()["intent_id"]}


def test_an_event_on_a_partners_bus_archives_the_process_with_its_tag(bench: Bench) -> None:
    event = json.loads((EVENTS / load_preset("salesforce-events").sample).read_text())
    tag = make_id("tag", "partner")
    run = make_id("run", "partner")
    seed = SeedOrganization(id=ORG, runs=[SeedRun(id=run, tags=[tag])], tags=[SeedTag(id=tag, title="project-1042")])
    bench.sow(Seed(organizations=[seed]))
    answer = bench.stack.events.put_events(
        Entries=[
            {
                "Source": event["source"].replace("aws.partner/salesforce.com", PARTNER_SOURCE),
                "DetailType": event["detail-type"],
                "Detail": json.dumps(event["detail"]),
                "EventBusName": PARTNER_BUS,
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0, answer
    until(lambda: bench.simulator.effects("archive", run) == 1, 60, "the partner event's effect")
