"""Accidents that others had with clean-up, replayed: each test's first line says what happened there."""

from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.bootstrap.settings import SweepSettings
from lifecycle.domain.capabilities import ORDINARY, PERMANENT, Action, Resource, State
from lifecycle.domain.errors import Code, Rejected
from lifecycle.holds.rules import Holds
from lifecycle.policy.evaluate import Mode, evaluate
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import moment, thing_from
from tests.harness.builders import NOW, ORG, THING
from tests.harness.purge_run import PurgeRun
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

OLD = 'status = ["complete"]\ncompleted_days = 30'


def text(when: str, *, head: str = "", action: str = "archive", top: str = "") -> str:
    rule = f'[[rules]]\nname = "completed"\nresource = "process"\naction = "{action}"\n{top}\n[rules.when]\n{when}\n'
    return f'zone = "UTC"\n{head}\n{rule}'


def refusal(policy: str) -> str:
    with pytest.raises(Rejected) as refused:
        Policy.parse(policy)
    assert refused.value.code is Code.CONFIGURATION
    return refused.value.reason


def name_of(number: int) -> str:
    return f"{number:032x}"


def night(count: int, policy: str, *, mode: Mode = Mode.APPLY) -> SweepRun:
    """A night over so many processes that were completed long ago."""
    world = World()
    for number in range(1, count + 1):
        world.add(Resource.RUN, name_of(number))
        run = world.simulator.organization.runs[name_of(number)]
        run.status, run.completed_at, run.owner_id = "complete", NOW - timedelta(days=100), 4711
    return SweepRun(world, mode, Policy.parse(policy))


def archived(swept: SweepRun) -> set[str]:
    runs = swept.world.simulator.organization.runs.values()
    return {run.id for run in runs if run.archived_at is not None}


# --- ids of another kind, and deletion beside archiving (Atlassian, 2022) ---------------------------------------------

LONG_AGO = "2024-01-01T00:00:00Z"
ROWS = {
    "a task of a process": (Resource.RUN, {"run_id": "7e" * 16, "title": "Call", "is_oneoff_task": False}),
    "a one-off task": (Resource.RUN, {"run_id": None, "title": "Call", "is_oneoff_task": True}),
    "a one-off task that does not say so": (Resource.RUN, {"run_id": None, "title": "Call"}),
    "a process": (Resource.TEMPLATE, {"checklist_id": "7e" * 16, "name": "Onboard Acme"}),
    "a task": (Resource.TEMPLATE, {"run_id": None, "title": "Call"}),
    "a process among tags": (Resource.TAG, {"checklist_id": "7e" * 16, "statistics": dict.fromkeys(
        ("active_template", "archived_template", "active_process", "archived_process"), 0)}),
}  # fmt: skip
ALL_KINDS = Policy.parse(
    text("created_days = 30")
    + '[[rules]]\nname = "templates"\nresource = "template"\naction = "archive"\nirreversible = true\n'
    + "when = { created_days = 30 }\n"
    + '[[rules]]\nname = "tags"\nresource = "tag"\naction = "delete"\nirreversible = true\n'
    + "when = { unused = true, created_days = 30 }\n"
)


@pytest.mark.parametrize(("listed_as", "row"), ROWS.values(), ids=ROWS)
def test_a_resource_in_a_list_of_another_kind_is_kept(listed_as: Resource, row: dict[str, object]) -> None:
    """A script was given ids of sites where it expected ids of apps, and deleted the sites."""
    known = {"id": THING, "created_at": LONG_AGO, "completed_at": LONG_AGO, "status": "complete", "tags": []}
    decision = evaluate(thing_from(listed_as, {**known, **row}), ALL_KINDS, Holds({}), NOW)
    assert (decision.action, decision.kind) == (None, "another kind")
    # The same row without the marks of another kind is acted on.
    marks = {"run_id", "is_oneoff_task", "checklist_id"}
    plain = {name: value for name, value in {**known, **row}.items() if name not in marks}
    assert evaluate(thing_from(listed_as, plain), ALL_KINDS, Holds({}), NOW).action is not None


@pytest.mark.parametrize("other", [Resource.TEMPLATE, Resource.TASK, Resource.TAG])
def test_an_id_of_another_kind_changes_nothing(other: Resource) -> None:
    """A script was given ids of sites where it expected ids of apps, and deleted the sites."""
    world = World()
    world.add(other, THING)
    command = world.command(Resource.RUN, THING, Action.ARCHIVE, "delivery-1")
    world.send(command)
    world.drain(world.process())
    assert world.writes() == []
    assert world.state(other, THING) is State.ACTIVE
    assert world.intent(command.intent_id).code == Code.NOT_FOUND


def test_a_rule_deletes_only_with_every_right_and_otherwise_archives() -> None:
    """One call offered deletion for good beside deletion that can be undone, and the wrong one was taken."""
    for lacking in (text("archived_days = 30", action="delete"), text(OLD, action="delete", top="irreversible = true")):
        assert "run.delete" in refusal(lacking)
    swept = night(12, text(OLD, head="[caps]\npercent = 100"))
    swept.begin()
    swept.drain()
    assert len(archived(swept)) == 12
    assert {command.capability for command in swept.asked()} <= ORDINARY
    assert not swept.purge.entries
    assert all(call.method == "DELETE" and not call.path.endswith("/delete") for call in swept.world.writes())


def test_an_irreversible_action_waits_for_a_person() -> None:
    """One call offered deletion for good beside deletion that can be undone, and the wrong one was taken."""
    world = World()
    world.add(Resource.RUN, THING, archived_days=400)
    rule = text("archived_days = 365", action="delete", top="irreversible = true", head="[caps]\npercent = 100")
    swept = SweepRun(world, Mode.APPLY, Policy.parse(rule))
    swept.begin()
    swept.drain()
    [plan] = swept.plans()
    assert plan.due == 1
    assert (swept.asked(), world.writes()) == ([], [])
    assert world.state(Resource.RUN, THING) is State.ARCHIVED
    swept.apply(plan.hash)
    swept.drain()
    assert (swept.asked(), world.writes()) == ([], [])
    for who in ("bob", "cleo"):
        PurgeRun(world).press("approve", plan.hash, who)
    swept.drain()
    assert {command.capability for command in swept.asked()} <= PERMANENT
    assert world.state(Resource.RUN, THING) is State.GONE


# --- a rule for one that became a rule for all (KPMG, 2020) -----------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("owner = 4711", "rules[completed].when.owner: "),
        ("Owners = [4711]", "rules[completed].when.Owners: "),
        ("owners = []", "rules[completed].when.owners: "),
        ('owners = [""]', "rules[completed].when.owners[no. 1]: "),
        ('owners = ["*"]', "rules[completed].when.owners[no. 1]: "),
        ('owners = ""', "rules[completed].when.owners: "),
        ("owners = [0]", "rules[completed].when.owners[no. 1]: "),
        ("[rules.owners]\nid = 4711", "rules[completed].owners: "),
        ("tags = []", "rules[completed].when.tags: "),
        ('tags = [" "]', "rules[completed].when.tags[no. 1]: "),
        ('title = ["*"]', "rules[completed].when.title: "),
        ('templates = [""]', "rules[completed].when.templates[no. 1]: "),
    ],
)
def test_a_selector_that_selects_nothing_never_means_everything(line: str, key: str) -> None:
    """A retention policy meant for one user was moved to the whole company, and deleted everybody's chats."""
    reason = refusal(text(f"{OLD}\n{line}"))
    assert reason.startswith("policy.toml, line 1")
    assert f": {key}" in reason


def test_a_selector_in_another_table_selects_nothing_either() -> None:
    """A retention policy meant for one user was moved to the whole company, and deleted everybody's chats."""
    assert "rules[completed].owners" in refusal(text(OLD, top="owners = [4711]"))
    assert "owners: unknown key" in refusal(text(OLD, head="owners = [4711]"))


def test_an_owner_selector_matches_only_that_owners_resources() -> None:
    """A retention policy meant for one user was moved to the whole company, and deleted everybody's chats."""
    swept = night(6, text(f"{OLD}\nowners = [4711]"))
    runs = swept.world.simulator.organization.runs
    for number, owner in ((2, 12), (3, None), (4, 47110)):
        runs[name_of(number)].owner_id = owner
    swept.begin()
    swept.drain()
    assert archived(swept) == {name_of(number) for number in (1, 5, 6)}


def test_a_rule_that_lost_its_selector_waits_for_a_person() -> None:
    """A retention policy meant for one user was moved to the whole company, and deleted everybody's chats."""
    caps = "[caps]\npercent = 100"
    swept = night(40, text(f"{OLD}\nowners = [12]", head=caps))
    for number in range(1, 4):
        swept.world.simulator.organization.runs[name_of(number)].owner_id = 12
    swept.begin()
    swept.drain()
    assert len(archived(swept)) == 3
    swept.policy = Policy.parse(text(OLD, head=caps))
    swept.world.clock.advance(timedelta(days=1))
    swept.begin("2026-06-02T04:10:00Z")
    swept.drain()
    assert len(archived(swept)) == 3
    assert "policy.toml was changed" in swept.plans()[-1].person[0]


# --- a blank that became a date (UniSuper, 2024) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "when",
    [
        "completed_days = ",
        'completed_days = ""',
        "completed_days = 0",
        "completed_days = -1",
        "completed_days = false",
        "completed_days = []",
        "completed_days = {}",
        "",
        'status = ["complete"]',
    ],
)
def test_a_rule_with_a_blank_age_is_refused(when: str) -> None:
    """A parameter was left blank, became a date of deletion a year on, and a private cloud was deleted on that day."""
    assert refusal(text(when)).startswith("policy.toml")


@pytest.mark.parametrize("blank", [None, "", " ", 0, False, "0000-00-00 00:00:00", "null", [], {}, "soon", "1"])
def test_a_resource_with_a_blank_date_is_kept(blank: object) -> None:
    """A parameter was left blank, became a date of deletion a year on, and a private cloud was deleted on that day."""
    assert moment(blank) is None
    row = {"id": THING, "status": "complete", "created_at": LONG_AGO, "completed_at": LONG_AGO}
    policy = Policy.parse(text(OLD))
    assert evaluate(thing_from(Resource.RUN, row), policy, Holds({}), NOW).action is Action.ARCHIVE
    for lost in ("completed_at", "created_at"):
        decision = evaluate(thing_from(Resource.RUN, {**row, lost: blank}), policy, Holds({}), NOW)
        assert (decision.action, decision.kind) == (None, "no date")


@pytest.mark.parametrize("blank", [None, "", " ", "soon"])
def test_a_resource_with_an_unknown_archive_date_is_kept(blank: object) -> None:
    """A parameter was left blank, became a date of deletion a year on, and a private cloud was deleted on that day."""
    row = {"id": THING, "status": "archived", "created_at": LONG_AGO, "archived_at": blank}
    policy = Policy.parse(text("archived_days = 30", action="delete", top="irreversible = true"))
    seen = thing_from(Resource.RUN, row, listed_as_archived=True)
    decision = evaluate(seen, policy, Holds({}), NOW)
    assert (decision.action, decision.kind) == (None, "no date")


# --- dates that are defaults of some system (cleaners of container images) --------------------------------------------


@pytest.mark.parametrize(
    "default",
    [
        "1980-01-01T00:00:01Z",
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1601-01-01T00:00:00Z",
        "2000-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("created", ["the same", LONG_AGO])
def test_a_date_of_1980_does_not_count_as_an_age(default: str, created: str) -> None:
    """Reproducible builds date images 1980 or 1970; cleaners took the newest for the oldest, and deleted."""
    row = {"id": THING, "status": "complete", "created_at": default if created == "the same" else created}
    row |= {"completed_at": default, "last_updated": default}
    rules = text(OLD) + '[[rules]]\nname = "b"\nresource = "process"\naction = "archive"\nwhen = { stalled_days = 1 }\n'
    for status in ("complete", "active"):
        decision = evaluate(thing_from(Resource.RUN, {**row, "status": status}), Policy.parse(rules), Holds({}), NOW)
        assert (decision.action, decision.kind) == (None, "odd date")


def test_a_wrong_clock_keeps_every_resource() -> None:
    """Reproducible builds date images 1980 or 1970; cleaners took the newest for the oldest, and deleted."""
    seen = thing_from(
        Resource.RUN, {"id": THING, "status": "complete", "created_at": LONG_AGO, "completed_at": LONG_AGO}
    )
    policy = Policy.parse(text(OLD))
    assert evaluate(seen, policy, Holds({}), NOW).action is Action.ARCHIVE
    for now in (datetime(1970, 1, 1, tzinfo=UTC), datetime(1980, 1, 1, tzinfo=UTC)):
        assert evaluate(seen, policy, Holds({}), now).kind == "future date"


# --- dry runs that were none ------------------------------------------------------------------------------------------

SWEEP = {
    "LEDGER_TABLE": "ledger",
    "SECRET_PREFIX": "stack",
    "ORGANIZATION_IDS": ORG,
    "QUEUE_URL": "https://sqs/sweeps",
    "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "BUS_NAME": "bus",
    "TALLYFY_BASE_URL": "https://go.tallyfy.com/api",
    "RATE_PER_MINUTE": "100",
    "LEDGER_DAYS": "400",
    "RETRY_BASE_SECONDS": "30",
    "ID_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:id-key",
    "CHAT_QUEUE_URL": "https://sqs/chat",
    "BULK_QUEUE_URL": "https://sqs/bulk",
    "PURGE_QUEUE_URL": "https://sqs/purge",
    "PLANS_BUCKET": "plans",
    "DEAD_LETTER_QUEUE_URLS": "https://sqs/dead,https://sqs/purge-dead",
}


@pytest.mark.parametrize(
    "mode", ["", " ", "Apply", "APPLY", " apply", "apply ", "aply", "true", "1", "dry-run", "report,apply", "none"]
)
def test_a_misspelled_sweep_mode_is_refused(mode: str) -> None:
    """A flag for a dry run was misspelt, was read as "off", and the tool deleted."""
    with pytest.raises(Rejected, match="sweep_mode") as refused:
        SweepSettings.read({**SWEEP, "SWEEP_MODE": mode})
    assert refused.value.code is Code.CONFIGURATION


def test_a_missing_sweep_mode_is_refused() -> None:
    """A flag for a dry run was misspelt, was read as "off", and the tool deleted."""
    for environment in (SWEEP, {**SWEEP, "SWEEP_MODES": "report"}, {**SWEEP, "MODE": "report"}):
        with pytest.raises(Rejected, match="sweep_mode"):
            SweepSettings.read(environment)
    assert SweepSettings.read({**SWEEP, "SWEEP_MODE": "report"}).sweep_mode == "report"
    assert SweepSettings.read({**SWEEP, "SWEEP_MODE": "apply"}).sweep_mode == "apply"


def test_a_dry_run_sends_no_command_and_changes_nothing() -> None:
    """Dry runs of several cleaners deleted: one path had been forgotten."""
    swept = night(12, text(OLD, head="[caps]\npercent = 100"), mode=Mode.REPORT)
    swept.begin()
    swept.drain()
    [plan] = swept.plans()
    assert plan.due == 12
    assert (swept.asked(), swept.world.writes(), archived(swept)) == ([], [], set())


# --- over the cap -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caps", ["", "[caps]\ncount = 11\npercent = 100", "[caps]\npercent = 99"])
def test_a_plan_over_a_cap_does_nothing_instead_of_a_part(caps: str) -> None:
    """Over the cap, a cleaner acted on as many as the cap allowed, each day, until all were gone."""
    swept = night(12, text(OLD, head=caps))
    for number in (1, 2, 3):
        swept.begin(f"2026-06-0{number}T04:10:00Z")
        swept.drain()
        swept.world.clock.advance(timedelta(days=1))
    assert len(swept.plans()) == 3
    assert all(plan.stops and plan.due == 12 for plan in swept.plans())
    assert (swept.asked(), swept.world.writes(), archived(swept)) == ([], [], set())
