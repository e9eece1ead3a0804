"""Who may ask for what: the operator's file."""

from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from lifecycle.aws import eventbridge
from lifecycle.domain.capabilities import TABLE, Action, Resource, capability
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.events import OWN_EVENTS
from lifecycle.intake.mapping import translate
from lifecycle.intake.payload import Untranslatable
from lifecycle.intake.sources import LONGEST_DELAY, Sources
from tests.harness.builders import ORG

SHIPPED = Path(str(files("lifecycle"))).parents[2] / "layers" / "config" / "sources.toml"
ARCHIVE = capability(Resource.RUN, Action.ARCHIVE)
DELETE = capability(Resource.RUN, Action.DELETE)


def declared(lines: str) -> Sources:
    return Sources.parse(f'[sources.one]\nscheme = "hmac"\n{lines}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources", "not TOML"),
        ("", "sources: this key is missing"),
        ("[sources]\n[extra]", "extra: unknown key"),
        ("[sources.One]", "sources.One"),
        ("[sources.-x]", "sources.-x"),
        ('[sources.one]\nmay = ["run.archive"]', "scheme: this key is missing"),
        ('[sources.one]\nscheme = "hmca"\nmay = ["run.archive"]', "Did you mean hmac?"),
        ('[sources.one]\nscheme = "hmac"', "may: this key is missing"),
        ('[sources.one]\nscheme = "hmac"\nmay = []', "may"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.destroy"]', "run.destroy"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["tag.archive"]', "tag.archive"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.delete"]', "write irreversible = true"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["template.archive"]', "template.archive cannot be undone"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\norganizations = []', "'organizations' is empty"),
        ('[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\norganizations = ["x"]', "organizations"),
        (
            '[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\nmaybe = true',
            "maybe: neither a key of a source nor a setting of the scheme hmac",
        ),
    ],
)
def test_a_wrong_sources_file_is_refused_with_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Sources.parse(text)
    assert refusal.value.code is Code.CONFIGURATION
    assert said in refusal.value.reason


NAMELESS = f"""
[[sources.one.commands]]
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "body.id"
"""
RULE = NAMELESS + 'delivery = "body.event"\n'
BUS = 'scheme = "eventbridge"\nevent_source = "x"\ndetail_types = ["y"]\nmay = ["run.archive"]\n'
HMAC = 'scheme = "hmac"\nmay = ["run.archive"]\n'
OPEN = 'scheme = "shared-secret"\nmay = ["run.archive"]\n'
SIGNED = 'scheme = "standard-webhooks"\nmay = ["run.archive"]\n'


@pytest.mark.parametrize(
    "sound", [HMAC, OPEN, BUS, HMAC + RULE, OPEN + RULE, BUS + RULE, BUS + NAMELESS, SIGNED + NAMELESS]
)
def test_a_valid_source_is_accepted(sound: str) -> None:
    assert set(Sources.parse("[sources.one]\n" + sound).sources) == {"one"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # parts that belong to another scheme
        (
            OPEN + 'signature = { header = "x" }',
            "signature: neither a key of a source nor a setting of the scheme shared-secret",
        ),
        (
            HMAC + 'header = "x"',
            "header: neither a key of a source nor a setting of the scheme hmac, which takes signature",
        ),
        (HMAC + 'event_source = "x"', "nor a setting of the scheme hmac"),
        (HMAC + 'detail_types = ["x"]', "nor a setting of the scheme hmac"),
        (HMAC + 'account = "123456789012"', "nor a setting of the scheme hmac"),
        (BUS.replace('event_source = "x"\n', ""), "needs 'event_source'"),
        (BUS.replace('["y"]', "[]"), "at least one of 'detail_types'"),
        (BUS.replace('"x"', '"tallyfy-lifecycle"'), "its events must never start a command"),
        (BUS + 'account = "12345"', "account"),
        # rights that nothing proves
        (
            OPEN.replace('"run.archive"', '"run.delete"') + "irreversible = true",
            "irreversible actions need a signature",
        ),
        (BUS.replace('"run.archive"', '"run.delete"') + "irreversible = true", "need 'account'"),
        (HMAC.replace('"run.archive"', '"run.delete"') + 'irreversible = true\nafter = "1d"', "leave out 'after'"),
        # signatures
        (HMAC + 'signature = { signed = "{timestamp}" }', "must contain {body}"),
        (HMAC + 'signature = { signed = "{nonce}{body}" }', "may hold only"),
        (HMAC + 'signature = { hash = "md5" }', "sha256"),
        (HMAC + 'signature = { encoding = "base32" }', "hex"),
        (HMAC + 'signature = { header = "X-Sig" }', "signature.header"),
        (HMAC + 'signature = { id_header = "x-id" }', "does not sign its id, leave 'id_header' out"),
        (HMAC + "signature = { tolerance_seconds = 0 }", "signature.tolerance_seconds"),
        (HMAC + "signature = { tolerance_seconds = 86400 }", "signature.tolerance_seconds"),
        (HMAC + 'signature = { timestamp_unit = "us" }', "signature.timestamp_unit"),
        (HMAC + 'signature = { algorithm = "sha1" }', "signature.algorithm: unknown key"),
        # periods
        *(
            (HMAC + f"after = {text}", 'such as "14d"')
            for text in ("14", '"14"', '"0d"', '"-1d"', '"14 d"', '"1w"', '""')
        ),
        (HMAC + 'after = "367d"', "sources.one.after"),
        # filters and expressions
        (HMAC + 'when = "body.won"', "declare commands, or leave 'when' out"),
        (HMAC + 'when = "body.["' + RULE, "sources.one.when: this is not a JMESPath expression"),
        (HMAC + 'when = ""' + RULE, "this is not a JMESPath expression"),
        (HMAC + 'when = "size(body)"' + RULE, "JMESPath has no function size; it has abs"),
        (
            HMAC + RULE + "each = \"body[?lower(a) == 'x']\"",
            "sources.one.commands[no. 1].each: JMESPath has no function",
        ),
        (HMAC + "when = \"type == 'won'\"" + RULE, "'type' finds nothing: a path begins with body or headers"),
        (HMAC + 'when = "body.type == won"' + RULE, "a constant text stands in single quotes"),
        (HMAC + 'when = "item.won"' + RULE, "'item' finds nothing"),
        (HMAC + RULE + 'each = "events"', "'events' finds nothing: a path begins with body or headers"),
        (
            HMAC + RULE + 'when = "body.a && !(kind)"',
            "'kind' finds nothing: a path begins with body or item or headers",
        ),
        (HMAC + RULE + "reason = \"join('', ['a', title])\"", "such as body.title"),
        (HMAC + RULE + 'reason = "It was won"', "write a constant text in single quotes"),
        (HMAC.replace("run.archive", "process.archive"), "Did you mean run.archive?"),
        # commands
        (HMAC + RULE.replace('id = "body.id"', ""), "exactly one of id, link and find"),
        (HMAC + RULE + 'link = "body.text"', "exactly one of id, link and find"),
        (HMAC + RULE.replace('id = "body.id"', "find = { }"), "find needs either tag"),
        (HMAC + RULE.replace('id = "body.id"', 'find = { name = "body.name" }'), "name together with template"),
        (HMAC + RULE.replace('id = "body.id"', f'find = {{ tag = "a", template = "{ORG}" }}'), "find needs either tag"),
        (
            HMAC + RULE.replace('"process"', '"task"').replace('id = "body.id"', 'find = { tag = "a" }'),
            "use id or link here",
        ),
        (HMAC + RULE.replace('"archive"', '"destroy"'), "must be one of archive, restore, delete"),
        (HMAC + RULE.replace('"process"', '"folder"'), "must be one of process, run, task"),
        (HMAC + RULE.replace(ORG, "AF"), "sources.one.commands[no. 1].org_id"),
        (HMAC + RULE.replace('"archive"', '"restore"'), "commands[no. 1] makes run.restore, which 'may' does not list"),
        (HMAC + RULE.replace('"archive"', '"delete"'), "commands[no. 1] makes run.delete, which 'may' does not list"),
        (
            HMAC + RULE.replace('"archive"', '"restore"').replace('"process"', '"tag"'),
            "Tallyfy deletes tags for good, so none can be restored",
        ),
        (HMAC + f'organizations = ["{"1b" * 16}"]' + RULE, "'organizations' does not list"),
        (HMAC + RULE + 'expect = { state = "body.state" }', "expect takes name, status"),
        (HMAC + RULE + 'expect = { status = "body.[" }', "sources.one.commands[no. 1].expect.status"),
        (HMAC + NAMELESS, "commands[no. 1] needs 'delivery'"),
        (OPEN + NAMELESS, "commands[no. 1] needs 'delivery'"),
        (HMAC + RULE + NAMELESS, "commands[no. 2] needs 'delivery'"),
        (HMAC + NAMELESS + 'delivery = "headers.x"', "delivery must not use headers"),
        (SIGNED + NAMELESS + 'delivery = "join(\'\', [body.id, headers.\\"x-id\\"])"', "delivery must not use headers"),
        (HMAC + RULE + 'requester = "body.who"', "sources.one.commands[no. 1].requester: unknown key"),
    ],
)
def test_a_wrong_key_is_refused_with_what_to_write_instead(lines: str, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Sources.parse("[sources.one]\n" + lines)
    assert refusal.value.code is Code.CONFIGURATION
    assert said in refusal.value.reason


@pytest.mark.parametrize(
    ("text", "period"),
    [("5m", timedelta(minutes=5)), ("36h", timedelta(hours=36)), ("14d", timedelta(days=14)), ("366d", LONGEST_DELAY)],
)
def test_a_period_is_a_number_and_its_unit(text: str, period: timedelta) -> None:
    assert declared(f'may = ["run.archive"]\nafter = "{text}"').sources["one"].after == period


@pytest.mark.parametrize("name", ["sweep", "slack"])
def test_a_reserved_source_name_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match=f"{name}: this name is reserved") as refusal:
        Sources.parse(f"[sources.{name}]\n{HMAC}\n[sources.one]\n{HMAC}")
    assert refusal.value.code is Code.CONFIGURATION
    assert set(Sources.parse(f"[sources.{name}s]\n{HMAC}").sources) == {f"{name}s"}


def test_no_source_may_take_the_stacks_own_event_source() -> None:
    assert OWN_EVENTS == eventbridge.SOURCE


def test_the_shipped_sources_give_commands_the_rights_they_need() -> None:
    sources = Sources.parse(SHIPPED.read_text(encoding="utf-8")).sources
    assert {name for name, source in sources.items() if source.commands} == {
        "hubspot",
        "jira",
        "github",
        "tallyfy",
        "projects",
    }


def test_a_source_may_only_do_what_is_listed() -> None:
    sources = declared('may = ["run.archive"]')
    assert [c.name for c in TABLE if sources.allow("one", c)] == ["run.archive"]


def test_an_unknown_source_may_do_nothing() -> None:
    assert not any(declared('may = ["run.archive"]').allow("two", c) for c in TABLE)


def test_the_irreversible_right_does_not_replace_the_list() -> None:
    sources = declared('may = ["run.archive"]\nirreversible = true')
    assert sources.allow("one", ARCHIVE)
    assert not sources.allow("one", DELETE)


def test_a_listed_name_and_the_irreversible_right_together_permit_an_irreversible_action() -> None:
    assert declared('may = ["run.delete"]\nirreversible = true').allow("one", DELETE)


def test_a_source_without_organizations_reaches_all_of_them() -> None:
    assert declared('may = ["run.archive"]').sources["one"].reaches(ORG)


def test_a_source_reaches_only_the_organizations_it_names() -> None:
    source = declared(f'may = ["run.archive"]\norganizations = ["{ORG}"]').sources["one"]
    assert source.reaches(ORG)
    assert not source.reaches("1" * 32)


def test_the_shipped_file_gives_irreversible_rights_to_the_operator_alone() -> None:
    sources = Sources.parse(SHIPPED.read_text(encoding="utf-8"))
    lasting = {name for name in sources.sources for c in TABLE if c.irreversible and sources.allow(name, c)}
    assert lasting == {"operator"}
    assert sources.sources["crm"].scheme.name == "hmac"


RUN = {"id": "5e" * 16, "status": "complete", "completed_at": "2026-06-01T11:00:00Z"}


COMPLETED = "process.completed"


@pytest.mark.parametrize(
    "payload",
    [RUN, {"event": COMPLETED, **RUN}, *({"event": COMPLETED, key: RUN} for key in ("process", "run", "data"))],
)
def test_the_shipped_table_of_tallyfy_takes_the_webhook_of_a_template_and_of_an_organization(
    payload: dict[str, object],
) -> None:
    rules = Sources.parse(SHIPPED.read_text(encoding="utf-8")).sources["tallyfy"].commands
    [one] = translate(rules, payload, {})
    assert (one.request.id, one.delivery) == (RUN["id"], f"{RUN['id']}/{RUN['completed_at']}")


@pytest.mark.parametrize(
    "payload",
    [
        {"event": "process.launched", "process": RUN},
        {"event": "task.completed", **RUN},
        {"event": "process.reopened", "process": RUN},
        {"event": "an event of tomorrow", "data": [RUN]},
        {"event": ["process.completed"], **RUN},
        {**RUN, "completed_at": None},
        {**RUN, "id": None},
        {},
    ],
)
def test_other_events_of_tallyfy_are_ignored(payload: dict[str, object]) -> None:
    rules = Sources.parse(SHIPPED.read_text(encoding="utf-8")).sources["tallyfy"].commands
    assert translate(rules, payload, {}) == []


@pytest.mark.parametrize(
    "beside", [{}, {"process": {**RUN, "completed_at": None}}, {"process": "text"}, {"run": {"id": 1}}, {"object": RUN}]
)
def test_a_completion_that_holds_no_process_is_not_lost(beside: dict[str, object]) -> None:
    """Where the process stands is not documented. A shape that we do not know must be seen, not ignored."""
    rules = Sources.parse(SHIPPED.read_text(encoding="utf-8")).sources["tallyfy"].commands
    with pytest.raises(Untranslatable, match=r"commands\[no\. 1\]"):
        translate(rules, {"event": COMPLETED, **beside}, {})


def test_a_process_that_is_completed_again_is_another_command() -> None:
    rules = Sources.parse(SHIPPED.read_text(encoding="utf-8")).sources["tallyfy"].commands
    [first], [again] = (
        translate(rules, {**RUN, "completed_at": at}, {}) for at in ("2026-06-01T11:00:00Z", "2026-06-02T11:00:00Z")
    )
    assert first.delivery != again.delivery
    assert first.request.expect != again.request.expect
