"""What must be in order before a sweep acts: facts in, findings out."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import pytest

from lifecycle.intake.sources import Sources
from lifecycle.policy.policy import Policy
from lifecycle.sweep.preflight_rules import Account, Finding, Mark, closed, needed, of_account, of_policy, of_token
from tests.harness.builders import CONFIG, NOW, ORG

YES, NOTE, NO = Mark.YES, Mark.NOTE, Mark.NO
OTHER = "9f" * 16

ARCHIVE = """
[[rules]]
name = "completed"
resource = "process"
action = "archive"
when = { status = ["complete"], completed_days = 30 }
"""
STALLED = """
[[rules]]
name = "stalled"
resource = "process"
action = "archive"
when = { stalled_days = 5 }
"""
PATIENT = """
[[rules]]
name = "patient"
resource = "process"
action = "archive"
when = { completed_days = 90 }
"""
TASKS = """
[[rules]]
name = "tasks"
resource = "task"
action = "archive"
when = { completed_days = 400 }
"""
DELETE = """
[[rules]]
name = "ancient"
resource = "process"
action = "delete"
irreversible = true
when = { archived_days = 365 }
"""
TAGS = """
[[rules]]
name = "dead-tags"
resource = "tag"
action = "delete"
irreversible = true
when = { unused = true }
"""
TEMPLATES = """
[[rules]]
name = "old-templates"
resource = "template"
action = "archive"
irreversible = true
when = { created_days = 365 }
"""
KEEP = """
[[rules]]
name = "audits"
resource = "process"
action = "keep"
when = { title = ["*audit*"] }
"""


def policy(*rules: str, caps: str = "") -> Policy:
    return Policy.parse(f'zone = "UTC"\n{caps}\n{"".join(rules)}')


def sources(may: str = "run.archive", *, organizations: str = "") -> Sources:
    named = f"organizations = [{organizations!r}]\n" if organizations else ""
    lasting = "irreversible = true\n" if "delete" in may else ""
    return Sources.parse(f'[sources.operator]\nscheme = "standard-webhooks"\nmay = {may.split()!r}\n{lasting}{named}')


def account(
    member: Mapping[str, object] | None = None, organization: Mapping[str, object] | None = None, *, age: int = 10
) -> Account:
    return Account(
        org_id=ORG,
        member={"role": "admin", "organization_id": ORG} if member is None else member,
        organization={"id": ORG, "name": "Example Ltd", "auto_archive": False}
        if organization is None
        else organization,
        token_stored_at=NOW - timedelta(days=age),
    )


def the(found: Iterable[Finding], what: str) -> Finding:
    [one] = [finding for finding in found if what in finding.what]
    return one


# --- the organization and its user ---


def test_a_correct_account_gets_only_yes() -> None:
    found = of_account(account(), policy(ARCHIVE), sources(), NOW) + of_policy(policy(ARCHIVE))
    assert [finding.mark for finding in found] == [YES] * 5
    assert not any(finding.aging or finding.todo for finding in found)
    assert found[0].found == "the token opens Example Ltd"


@pytest.mark.parametrize(
    ("role", "rules", "may", "mark", "said"),
    [
        ("admin", ARCHIVE + DELETE, "run.delete", YES, "may do everything"),
        ("Admin", DELETE, "run.archive", YES, "may do everything"),
        (" ADMIN\n", DELETE, "run.archive", YES, "may do everything"),
        ("standard", ARCHIVE, "run.archive", YES, "all that is asked for"),
        ("Standard", ARCHIVE, "run.archive", YES, "all that is asked for"),
        ("standard", KEEP, "run.archive run.restore task.archive", YES, "all that is asked for"),
        ("standard", TEMPLATES, "run.archive", YES, "all that is asked for"),  # cannot be undone, yet no delete
        ("standard", DELETE, "run.archive", NO, "but not run.delete"),
        ("standard", ARCHIVE, "run.delete", NO, "but not run.delete"),
        ("standard", DELETE, "tag.delete task.delete", NO, "but not run.delete, tag.delete, task.delete"),
        ("light", ARCHIVE, "run.archive", NO, "light, which may not archive"),
        ("guest", KEEP, "run.archive", NO, "guest, which may not archive"),
        ("administrator", ARCHIVE, "run.archive", NO, "administrator, which may not archive"),
        ("", ARCHIVE, "run.archive", NO, "unknown, which may not archive"),
        (None, ARCHIVE, "run.archive", NO, "unknown, which may not archive"),
        (["admin"], ARCHIVE, "run.archive", NO, "unknown, which may not archive"),
        ({"name": "admin"}, ARCHIVE, "run.archive", NO, "unknown, which may not archive"),
        ("<b>of a stranger</b>", ARCHIVE, "run.archive", NO, "unknown, which may not archive"),
    ],
)
def test_the_role_must_be_enough_for_what_is_needed(role: object, rules: str, may: str, mark: Mark, said: str) -> None:
    found = the(of_account(account({"role": role}), policy(rules), sources(may), NOW), "role")
    assert (found.mark, said in found.found) == (mark, True), found
    assert bool(found.todo) is (mark is NO)


def test_a_member_without_a_role_may_do_nothing() -> None:
    assert the(of_account(account({}), policy(ARCHIVE), sources(), NOW), "role").mark is NO


def test_needs_come_from_acting_rules_and_from_sources_of_the_organization() -> None:
    def names(*rules: str, declared: Sources) -> set[str]:
        return {doing.name for doing in needed(policy(*rules), declared, ORG)}

    assert names(ARCHIVE, KEEP, declared=sources("run.archive run.restore")) == {"run.archive"}
    assert names(KEEP, declared=sources("run.archive")) == set()
    assert names(ARCHIVE, declared=sources("task.delete", organizations=ORG)) == {"run.archive", "task.delete"}
    assert names(ARCHIVE, declared=sources("task.delete", organizations=OTHER)) == {"run.archive"}


@pytest.mark.parametrize(
    ("member", "organization", "said"),
    [
        ({"role": "admin"}, {"id": OTHER, "name": "Others"}, f"for {OTHER}"),
        ({"role": "admin", "organization_id": OTHER}, {"id": ORG}, f"for {OTHER}"),
        ({"role": "admin", "organization_id": ORG}, {"id": OTHER}, f"for {OTHER}"),
        ({"role": "admin"}, {"id": 7}, "for another one"),
        ({"role": "admin"}, {"id": "<i>a stranger's text</i>"}, "for another one"),
        ({"role": "admin"}, {"id": ""}, "for another one"),
        ({"role": "admin"}, {"name": "Example Ltd"}, "does not say which organization"),
        ({}, {}, "does not say which organization"),
    ],
)
def test_an_answer_for_another_organization_is_a_no(
    member: dict[str, object], organization: dict[str, object], said: str
) -> None:
    found = of_account(account(member, organization), policy(ARCHIVE), sources(), NOW)
    assert [finding.mark for finding in found] == [NO, YES]  # nothing is said of the stranger but the token's age
    assert said in found[0].found
    assert "stranger" not in found[0].found
    assert found[0].todo


@pytest.mark.parametrize(
    ("member", "organization"),
    [
        ({"role": "admin"}, {"id": ORG, "name": 7}),
        ({"role": "admin", "organization_id": ORG}, {}),
        ({"role": "admin", "organization_id": ORG.upper()}, {"id": ORG}),
    ],
)
def test_missing_facts_of_tallyfy_are_not_a_no(member: dict[str, object], organization: dict[str, object]) -> None:
    [first, *_] = of_account(account(member, organization), policy(ARCHIVE), sources(), NOW)
    assert (first.mark, first.found) == (YES, "the token opens it")


def test_a_closed_organization_says_why_and_what_to_do() -> None:
    found = closed(ORG, "Tallyfy refused the token.")
    assert (found.mark, ORG in found.what, found.found) == (NO, True, "Tallyfy refused the token.")
    assert found.todo.startswith("Store the token")


# --- Tallyfy's own archiving ---


@pytest.mark.parametrize("off", [False, None, 0, "", "0", "false", "False", " off "])
def test_a_disabled_auto_archive_is_a_yes(off: object) -> None:
    found = of_account(account(organization={"id": ORG, "auto_archive": off}), policy(ARCHIVE), sources(), NOW)
    assert the(found, "auto-archive").mark is YES


def test_an_unknown_auto_archive_is_noted() -> None:
    found = the(of_account(account(organization={"id": ORG}), policy(ARCHIVE), sources(), NOW), "auto-archive")
    assert (found.mark, "does not show" in found.found) == (NOTE, True)


@pytest.mark.parametrize(
    ("after", "rules", "said"),
    [
        (14, ARCHIVE, "on, after 14 days: Tallyfy archives first, before rule 'completed' (30 days)"),
        ("14", ARCHIVE, "on, after 14 days: Tallyfy archives first, before rule 'completed' (30 days)"),
        (1, ARCHIVE, "on, after 1 day: Tallyfy archives first, before rule 'completed' (30 days)"),
        (0, ARCHIVE, "on, after 0 days: Tallyfy archives first, before rule 'completed' (30 days)"),
        # The rule asks for more than 30 days.
        (30, ARCHIVE, "on, after 30 days: Tallyfy archives first, before rule 'completed' (30 days)"),
        (31, ARCHIVE, "on, after 31 days: Tallyfy may archive processes first"),
        (14, ARCHIVE + PATIENT, "before rules 'completed' (30 days), 'patient' (90 days)"),
        (60, ARCHIVE + PATIENT, "first, before rule 'patient' (90 days)"),
        # Only processes are archived by Tallyfy, and only their completion is compared.
        (14, STALLED, "on, after 14 days: Tallyfy may archive processes first"),
        (14, TASKS, "on, after 14 days: Tallyfy may archive processes first"),
        (14, KEEP, "on, after 14 days: Tallyfy may archive processes first"),
        (14, TAGS, "on, after 14 days: Tallyfy may archive processes first"),
        (
            14,
            DELETE.replace("365", "365, completed_days = 400"),
            "Tallyfy may archive processes first, and rule 'ancient' would delete these, too",
        ),
        (None, ARCHIVE, "on, after some days: Tallyfy may archive processes first"),
        ("soon", ARCHIVE, "on, after some days: Tallyfy may archive processes first"),
        (-1, ARCHIVE, "on, after some days: Tallyfy may archive processes first"),
        (True, ARCHIVE, "on, after some days: Tallyfy may archive processes first"),
        (31, ARCHIVE + DELETE, "may archive processes first, and rule 'ancient' would delete these, too"),
    ],
)
def test_auto_archive_is_noted_with_its_days(after: object, rules: str, said: str) -> None:
    organization = {"id": ORG, "auto_archive": True, "auto_archive_processes_after": after}
    found = the(of_account(account(organization=organization), policy(rules), sources(), NOW), "auto-archive")
    assert found.mark is NOTE
    assert found.found.endswith(said)
    assert "holds" in found.todo


# --- the token ---


@pytest.mark.parametrize(
    ("age", "mark", "aging", "said"),
    [
        (timedelta(0), YES, False, "stored 0 days ago"),
        (timedelta(days=1, hours=5), YES, False, "stored 1 day ago"),
        (timedelta(hours=-20), YES, False, "stored 0 days ago"),  # another machine's clock
        (timedelta(days=150, hours=23), YES, False, "stored 150 days ago"),
        (timedelta(days=151), NOTE, True, "aging, stored 151 days ago: 32 days left"),
        (timedelta(days=182), NOTE, True, "aging, stored 182 days ago: 1 day left"),
        (timedelta(days=183, hours=23), NOTE, True, "aging, stored 183 days ago: 0 days left"),
        (timedelta(days=184), NOTE, True, "aging, stored 184 days ago: a token lives about 183 days"),
        (timedelta(days=900), NOTE, True, "aging, stored 900 days ago: a token lives about 183 days"),
        (timedelta(days=-2), NOTE, False, "unknown"),
        (None, NOTE, False, "unknown"),
    ],
)
def test_the_age_of_a_token_is_noted_before_it_expires(
    age: timedelta | None, mark: Mark, *, aging: bool, said: str
) -> None:
    found = of_token(None if age is None else NOW - age, NOW)
    assert (found.mark, found.aging, found.found) == (mark, aging, said)
    assert bool(found.todo) is (mark is NOTE)
    assert found.todo.startswith("Store a new one") is aging


def test_an_overdue_token_is_urgent_and_no_reason_to_stop() -> None:
    late, soon = (of_token(NOW - timedelta(days=days), NOW) for days in (184, 183))
    assert (" now" in late.todo, " now" in soon.todo) == (True, False)
    assert late.mark is NOTE


# --- the policy ---


def test_the_shipped_policy_needs_no_note() -> None:
    found = of_policy(Policy.parse((CONFIG / "policy.toml").read_text()))
    assert [finding.mark for finding in found] == [YES]


def test_the_policy_is_summarized() -> None:
    [found] = of_policy(policy(ARCHIVE, DELETE, KEEP, caps="[caps]\ncount = 200\npercent = 20\n"))
    assert found == Finding(
        YES,
        "layers/config/policy.toml",
        "3 rules: completed, ancient, audits; cannot be undone: ancient; a plan does at most 200 things and 20 percent "
        "of them",
    )


def test_a_policy_that_acts_on_nothing_is_noted() -> None:
    [found] = of_policy(policy(KEEP))
    assert (found.mark, found.found) == (NOTE, "1 rule: audits; none of them acts")


@pytest.mark.parametrize(
    ("plan", "rule", "notes"),
    [
        ("count = 100\npercent = 20", "count = 100, percent = 20", []),
        ("count = 100\npercent = 20", "count = 99", []),
        ("count = 100\npercent = 20", "percent = 19", []),
        (
            "count = 100\npercent = 20",
            "count = 101",
            [("caps of rule 'completed'", "count 101 is wider than the plan's 100")],
        ),
        (
            "count = 100\npercent = 20",
            "percent = 21",
            [("caps of rule 'completed'", "21 percent is wider than the plan's 20")],
        ),
        (
            "count = 100\npercent = 20",
            "count = 101, percent = 100",
            [("caps of rule 'completed'", "count 101 is wider than the plan's 100, 100 percent is no cap")],
        ),
        ("count = 100\npercent = 100", "percent = 99", [("caps of a plan", "100 percent is no cap")]),
        (
            "percent = 100",
            "percent = 100",
            [("caps of a plan", "100 percent is no cap"), ("caps of rule 'completed'", "100 percent is no cap")],
        ),
    ],
)
def test_caps_without_effect_are_noted(plan: str, rule: str, notes: list[tuple[str, str]]) -> None:
    _, *found = of_policy(policy(f"{ARCHIVE}caps = {{ {rule} }}\n", caps=f"[caps]\n{plan}\n"))
    assert [(finding.what, finding.found) for finding in found] == notes
    assert all(finding.mark is NOTE and finding.todo for finding in found)


# --- what people still work on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "resource", "warned"),
    [
        ("created_days = 90", "process", True),
        ('created_days = 90\ntitle = ["x*"]', "process", True),
        ("created_days = 90", "task", True),
        ('created_days = 90\nstatus = ["complete"]', "process", False),
        ('created_days = 90\nstatus = ["active"]', "process", False),
        ("stalled_days = 90", "process", False),
        ("completed_days = 90", "process", False),
    ],
)
def test_a_rule_that_archives_active_work_is_noted(when: str, resource: str, *, warned: bool) -> None:
    text = f'zone = "UTC"\n[[rules]]\nname = "old"\nresource = "{resource}"\naction = "archive"\n[rules.when]\n{when}\n'
    judged = Policy.parse(text)
    found = [finding for finding in of_policy(judged) if finding.what == "rule 'old'"]
    assert [finding.mark for finding in found] == ([Mark.NOTE] if warned else [])
    assert bool(judged.warnings) is warned
