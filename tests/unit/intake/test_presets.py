"""Every preset: its vector, its example and its sample, and what it refuses. See docs for what is published."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.errors import Code, Rejected
from lifecycle.intake.kept import KeptDelivery, Replay
from lifecycle.intake.presets import load_preset
from lifecycle.intake.replay import Replays
from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest, scheme_names
from lifecycle.intake.schemes.hmac import Hmac
from lifecycle.intake.schemes.standard_webhooks import StandardWebhooks
from lifecycle.intake.sources import Sources
from tests.harness.builders import CONFIG, EVENTS, NOW, Entrance, bodies
from tests.harness.presets import (
    NAMES,
    OVER_HTTP,
    declared,
    delivery,
    entrance,
    fuzzed,
    secret_of,
    unsigned,
    vector_request,
)

AT = NOW.timestamp()
SIGNED = [name for name in OVER_HTTP if isinstance(declared(name).scheme, Hmac | StandardWebhooks)]
PUBLISHED = {"github", "gitlab", "hubspot-workflow", "jira", "slack-workflow", "svix"}
WANTED = {
    "airtable", "asana", "bamboohr", "calendly", "clickup", "docusign", "freshdesk", "github", "gitlab", "hubspot",
    "hubspot-workflow", "intercom", "jira", "linear", "make", "monday", "n8n", "notion", "pipedrive", "power-automate",
    "salesforce-events", "salesforce-flow", "servicenow", "shopify", "slack-workflow", "stripe", "svix", "trello",
    "typeform", "zapier", "zendesk",
}  # fmt: skip


def test_every_preset_exists_and_none_has_the_name_of_a_scheme() -> None:
    assert set(NAMES) >= WANTED
    assert not set(NAMES) & set(scheme_names())


def answered(take: Callable[[HttpRequest], object], sent: HttpRequest) -> tuple[object, Code | None]:
    """What came back, or the code of the refusal. Anything but a refusal is raised."""
    try:
        return take(sent), None
    except Rejected as error:
        return None, error.code


@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_presets_test_vector_is_accepted_and_a_changed_one_is_not(name: str) -> None:
    preset, source = load_preset(name), declared(name)
    assert preset.vector is not None
    sent, now = vector_request(name, preset)
    secret = preset.vector.secret.encode()
    assert isinstance(source.scheme.verify([b"old", secret], sent, now=now), VerifiedRequest)
    for wrong in ([], [b""], [b"guess"], [secret + b"x"], [secret[:-6]]):
        assert isinstance(source.scheme.verify(wrong, sent, now=now), UnverifiedRequest)
    if name in SIGNED:
        assert isinstance(
            source.scheme.verify([secret], replace(sent, body=sent.body + b" "), now=now), UnverifiedRequest
        )


def test_each_preset_says_whether_its_vector_is_published() -> None:
    said = {name for name in OVER_HTTP if (v := load_preset(name).vector) and v.origin.startswith("published: ")}
    made = {name for name in OVER_HTTP if (v := load_preset(name).vector) and v.origin == "made from the documentation"}
    assert said == PUBLISHED
    assert said | made == set(OVER_HTTP)


@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_presets_sample_becomes_a_command_and_a_copy_the_same_one(name: str) -> None:
    way_in = entrance(name)
    first = way_in.intake.accept(delivery(name))
    assert first
    again = way_in.intake.accept(delivery(name))
    assert [command.intent_id for command in again] == [command.intent_id for command in first]
    assert way_in.letters == []


def test_a_salesforce_event_becomes_a_command() -> None:
    way_in = entrance("salesforce-events")
    event = (EVENTS / load_preset("salesforce-events").sample).read_text()
    assert len(way_in.intake.accept_event(event)) == 1


def test_the_table_for_zendesk_events_in_the_docs_fits_its_sample() -> None:
    page = (EVENTS.parent / "docs" / "connect.md").read_text()
    table = page.partition("### Zendesk over EventBridge")[2].partition("```toml\n")[2].partition("```")[0]
    way_in = Entrance(lambda: NOW, declared=table)
    [made] = way_in.intake.accept_event((EVENTS / "zendesk-event.json").read_text())
    assert made.find is not None
    assert made.find.tag == "ticket-35436"


# Linear signs a time within the body, and the others' bodies are not JSON: no body of ours passes their check.
@pytest.mark.parametrize(
    "name", [name for name in OVER_HTTP if name != "linear" and declared(name).payload.format == "json"]
)
def test_an_event_of_another_type_is_ignored_or_dead_lettered(name: str) -> None:
    way_in = entrance(name)
    made, refused = answered(way_in.intake.accept, delivery(name, b'{"something": "else"}'))
    assert made == ([] if refused is None else None)
    assert refused in {None, Code.UNTRANSLATABLE}
    assert len(way_in.letters) == (refused is not None)


@pytest.mark.parametrize("name", SIGNED)
def test_an_old_altered_or_wrongly_signed_request_is_refused(name: str) -> None:
    scheme, secret = declared(name).scheme, secret_of(name).encode()
    sent = delivery(name)
    assert isinstance(scheme.verify([secret], sent, now=AT), VerifiedRequest)
    assert isinstance(scheme.verify([secret], replace(sent, body=sent.body + b"\n"), now=AT), UnverifiedRequest)
    other = declared(name).scheme.new_secret(b"another thirty-two bytes for key").encode()
    assert isinstance(scheme.verify([other], sent, now=AT), UnverifiedRequest)
    description = scheme.signature if isinstance(scheme, Hmac | StandardWebhooks) else None
    assert description is not None
    if description.timed:
        assert isinstance(scheme.verify([secret], sent, now=AT + description.tolerance_seconds + 1), UnverifiedRequest)
        assert isinstance(scheme.verify([secret], sent, now=AT - description.tolerance_seconds - 1), UnverifiedRequest)


def send_junk(name: str, requests: int) -> None:
    way_in, dice = entrance(name), random.Random(20260601)
    for _ in range(requests):
        answered(way_in.intake.handshake, fuzzed(name, dice))
        answered(way_in.intake.accept, fuzzed(name, dice))
    kept = bodies(way_in.dead_letters)
    way_in.dead_letters.entries.clear()
    replays = Replays(way_in.intake, way_in.rows, way_in.clock)
    for text in kept:
        replays.take(Replay(replay="again", kept=KeptDelivery.model_validate_json(text)).body())
    # The table is still the same, so nothing of it became a command, and all of it is kept.
    assert bodies(way_in.dead_letters) == kept


@pytest.mark.parametrize("name", OVER_HTTP)
def test_random_input_is_accepted_or_refused_without_an_error(name: str) -> None:
    send_junk(name, 200)


@pytest.mark.prove
@pytest.mark.parametrize("name", OVER_HTTP)
def test_ten_thousand_random_requests_are_accepted_or_refused_without_an_error(name: str) -> None:
    send_junk(name, 10_000)


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_has_all_texts_and_a_sample(name: str) -> None:
    preset = load_preset(name)
    assert preset.docs.startswith("https://")
    assert (EVENTS / preset.sample).is_file()
    assert all(
        len(text) > 3 for text in (preset.title, preset.setup, preset.secret, preset.event_type, preset.delivery_id)
    )
    assert declared(name).preset == name


def test_a_preset_may_be_overridden_key_by_key() -> None:
    table = load_preset("github").example
    found = Sources.parse(table + '\n[sources.github.signature]\nheader = "x-own-signature"\n').sources["github"].scheme
    assert isinstance(found, Hmac)
    assert (found.signature.header, found.signature.signed) == (("x-own-signature",), "{body}")
    form = table.replace('scheme = "github"', 'scheme = "github"\npayload = { format = "form", field = "payload" }')
    assert Sources.parse(form).sources["github"].payload.field == "payload"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('scheme = "githup"', "Did you mean github?"),
        ('scheme = "github"\npreset = "gitlab"', "write the preset's name as 'scheme'"),
        ('scheme = "github"\nheader = "x"', "neither a key of a source nor a setting of the scheme hmac"),
        ('scheme = "github"\nsignature = { hash = "md5" }', "sha256"),
        ('scheme = "github"\nsignature = "x"', "signature"),
        ('scheme = "../github"', "there is no scheme or preset"),
    ],
)
def test_a_wrong_use_of_a_preset_is_refused_with_the_key(lines: str, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Sources.parse(f'[sources.one]\nmay = ["run.archive"]\n{lines}')
    assert said in refusal.value.reason


def test_no_preset_is_read_if_no_source_uses_one() -> None:
    program = f"""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from lifecycle.intake.sources import Sources
import lifecycle.intake.service
Sources.parse(open({str(CONFIG / "sources.toml")!r}).read())
assert not {{"lifecycle.intake.presets", "lifecycle.intake.kept"}} & set(sys.modules)
assert "xmltodict" not in sys.modules
assert not [name for name in opened if "presets" in name]
"""
    shipped = Sources.parse((CONFIG / "sources.toml").read_text()).sources.values()
    assert all(source.preset is None for source in shipped)
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_delivery_without_any_header_is_refused() -> None:
    for name in OVER_HTTP:
        with pytest.raises(Rejected) as refusal:
            entrance(name).intake.accept(unsigned(name, json.dumps({}).encode()))
        assert refusal.value.code is Code.SIGNATURE_REFUSED
