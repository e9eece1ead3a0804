import gzip
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cli.services.policy_diff import NEWLY, NO_LONGER, OTHERWISE, RuleChange, compare
from cli.ui.errors import CliError
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.plans.plan_file import Entry, PlanFooter, PlanHeader, PlanWriter
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Decision, Mode, evaluate
from lifecycle.policy.policy import Policy
from sandbox.simulator import SeedRun, SeedTag
from tests.harness.builders import NOW, ORG
from tests.unit.cli.harness import CliHarness
from tests.unit.cli.planned import LASTING, RULE, night, organization

KEEPING = """
zone = "Europe/Berlin"
hold_tags = ["keep", "legal"]
growth_percent = 20
[caps]
count = 40
percent = 7
[[rules]]
name = "old"
resource = "process"
action = "archive"
[rules.when]
status = ["complete", "problem"]
completed_days = 30
owners = [4711, 12]
[rules.unless]
templates = ["0a1b2c3d4e5f60718293a4b5c6d7e8f9"]
owners = [8]
[rules.caps]
count = 5
[[rules]]
name = "tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 1
[[rules]]
name = "stalled"
resource = "process"
action = "archive"
[rules.when]
stalled_days = 90
[[rules]]
name = "gone"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 400
[[rules]]
name = "audits"
resource = "process"
action = "keep"
[rules.when]
title = ["*audit*"]
tags = ["Audit"]
"""


def written(folder: Path, text: str, name: str = "policy.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_policy_is_described_in_the_order_in_which_its_rules_are_evaluated(desk: CliHarness, tmp_path: Path) -> None:
    result = desk.run("policy", "check", written(tmp_path, KEEPING))
    assert result.exit_code == 0, result.output
    assert re.findall(r"^ +(\d)  ([a-z]+): (.+)$", result.output, re.MULTILINE) == [
        ("1", "audits", "keep process, in any state"),
        ("2", "old", "archive processes"),
        ("3", "tags", "delete tags – irreversible: applied only by `lifecycle apply`, never by the schedule"),
        ("4", "stalled", "archive processes"),
        (
            "5",
            "gone",
            "delete archived processes – irreversible: applied only by `lifecycle apply`, never by the schedule",
        ),
    ]
    said = re.sub(r"\s+", " ", result.output)
    for part in (
        "counted in Europe/Berlin",
        "what carries the tag 'keep' or 'legal'",
        "when it carries the tag 'Audit' and its name fits '*audit*'",
        "when its status is complete or problem",
        "and it was completed more than 30 days ago",
        "and nobody owns it but 4711 or 12",
        "unless its template is 0a1b2c3d4e5f60718293a4b5c6d7e8f9 or one of its owners is 8",
        "at most 5 things",
        "no template and no process carries it",
        "created more than 1 day ago",
        "it is not complete, and was last touched more than 90 days ago",
        "it was archived more than 400 days ago",
        "A plan does at most 40 things and 7 % of the resources that it considers",
        "more than 20 %",
        f"digest {Policy.parse(KEEPING).digest}",
    ):
        assert part in said, part


def test_the_policy_of_this_checkout_is_valid(desk: CliHarness) -> None:
    result = desk.run("policy", "check")
    assert (result.exit_code, "policy.toml is right" in result.output) == (0, True), result.output


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("completed_days = 30", "completed_days = 0"), "rules[old].when.completed_days"),
        (("irreversible = true", "irreversible = false"), "irreversible = true"),
        (('action = "keep"', 'acton = "keep"'), "rules[audits].acton"),
        (('zone = "Europe/Berlin"', 'zone = "Mars"'), "zone"),
        (("[[rules]]", "[[rules"), "is not TOML"),
    ],
)
def test_a_mistake_in_a_policy_is_named(desk: CliHarness, tmp_path: Path, change: tuple[str, str], named: str) -> None:
    result = desk.run("policy", "check", written(tmp_path, KEEPING.replace(*change, 1)))
    assert result.exit_code == 1
    assert named in result.output
    assert "is right" not in result.output


def test_a_cap_that_stops_nothing_is_noted(desk: CliHarness, tmp_path: Path) -> None:
    wide = KEEPING.replace("percent = 7", "percent = 100")
    result = desk.run("policy", "check", written(tmp_path, wide))
    assert (result.exit_code, "100 percent is no cap" in result.output) == (0, True)


def test_a_missing_file_is_a_usage_error(desk: CliHarness) -> None:
    assert desk.run("policy", "check", "nowhere.toml").exit_code == 2


# --- diff -------------------------------------------------------------------------------------------------------------

LATER = RULE.replace("completed_days = 30", "completed_days = 60")
HELD = RULE.replace('zone = "UTC"', 'zone = "UTC"\nhold_tags = ["keep"]')
DELETING = """
zone = "UTC"
[[rules]]
name = "old"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 10
"""


def thing(number: int, **facts: object) -> ResourceSnapshot:
    made: dict[str, object] = {
        "resource": Resource.RUN,
        "id": f"{number:032x}",
        "state": State.ACTIVE,
        "name": f"Run {number}",
        "status": "complete",
        "created_at": NOW - timedelta(days=400),
        "completed_at": NOW - timedelta(days=45),
        "template_id": "f" * 32,
        "owners": frozenset({"1001"}),
        "tags": frozenset[str](),
    }
    return ResourceSnapshot(**(made | facts))  # type: ignore[arg-type]


def tag(number: int, name: str = "left over") -> ResourceSnapshot:
    nothing = dict.fromkeys(("status", "completed_at", "template_id", "owners", "tags"))
    return thing(number, resource=Resource.TAG, name=name, uses=0, **nothing)


def plan_file(folder: Path, *seen: Entry) -> Path:
    policy = Policy.parse(RULE)
    heading = PlanHeader(org_id=ORG, sweep_id="s", made_at=NOW, policy=policy.digest, zone="UTC")
    writer = PlanWriter(heading, policy)
    path = folder / "plan.jsonl"
    lines = [writer.begin(), *map(writer.add, seen)]
    path.write_bytes(b"".join([*lines, writer.end(PlanFooter(**writer.totals().model_dump()))]))
    return path


def judged(one: ResourceSnapshot, policy: str = RULE, holds: Holds | None = None) -> Entry:
    said = Policy.parse(policy)
    return Entry(one, evaluate(one, said, holds or Holds({}, said.hold_tags or frozenset()), NOW))


def test_things_newly_affected_and_no_longer_affected_are_listed(tmp_path: Path) -> None:
    file = plan_file(tmp_path, judged(thing(1)), judged(thing(2, completed_at=NOW - timedelta(days=61))))
    there = compare(file, Policy.parse(LATER), Policy.parse(RULE))
    assert [(change.what, change.thing.name) for change in there.changes] == [(NEWLY, "Run 1")]
    back = compare(file, Policy.parse(RULE), Policy.parse(LATER))
    assert [(change.what, change.thing.name) for change in back.changes] == [(NO_LONGER, "Run 1")]
    assert "more than 60 are needed" in back.changes[0].after.reason
    assert back.counts == {NEWLY: 0, NO_LONGER: 1, OTHERWISE: 0, "affected by both": 1, "kept by both": 0}
    assert (back.things, back.made_at) == (2, NOW)


def test_facts_that_the_plan_lacks_are_noted(tmp_path: Path) -> None:
    template = thing(1, resource=Resource.TEMPLATE, status=None, completed_at=None, template_id=None)
    common = 'zone = "UTC"\n[[rules]]\nname = "old"\nresource = "template"\nirreversible = true\n'
    active = f'{common}action = "archive"\n[rules.when]\ncreated_days = 10\n'
    archived = f'{common}action = "delete"\n[rules.when]\narchived_days = 10\n'
    found = compare(plan_file(tmp_path, judged(template)), Policy.parse(active), Policy.parse(archived))
    assert [change.what for change in found.changes] == [NO_LONGER]
    assert found.missing == (
        "The plan has seen no archived templates. If it did not ask for them, rules about them changed nothing.",
    )
    deleted = 'zone = "UTC"\n[[rules]]\nname = "a"\nresource = "tag"\nirreversible = true\naction = "delete"\n'
    both = [Policy.parse(f"{deleted}[rules.when]\n{when}\n") for when in ("unused = true", "created_days = 3")]
    assert compare(plan_file(tmp_path, judged(tag(2))), *both).counts["affected by both"] == 1


def test_a_different_action_is_a_difference() -> None:
    made = [Decision(action, "rule x", "It is so.", "x") for action in (Action.ARCHIVE, Action.DELETE)]
    assert RuleChange(thing(1), *made).what == OTHERWISE


def test_a_hold_applies_under_every_policy_but_a_hold_tag_only_under_its_own(tmp_path: Path) -> None:
    tagged = thing(1, tags=frozenset({"keep", "blue"}))
    hidden = thing(2, tags=None)
    row = Holds({f"run#{thing(3).id}": "a lawsuit"})
    file = plan_file(tmp_path, judged(tagged, HELD), judged(hidden, HELD), judged(thing(3), RULE, row))
    found = compare(file, Policy.parse(HELD), Policy.parse(RULE))
    assert [(change.what, change.thing.id) for change in found.changes] == [(NEWLY, tagged.id), (NEWLY, hidden.id)]
    assert found.counts["kept by both"] == 1


def test_a_hold_tag_that_is_the_thing_itself_belongs_to_the_policy(tmp_path: Path) -> None:
    deleting = LASTING.replace("created_days = 100\n", "")
    entry = judged(tag(1, "keep"), HELD + deleting)
    assert entry.decision.kind == "on hold"
    found = compare(plan_file(tmp_path, entry), Policy.parse(HELD + deleting), Policy.parse(RULE + deleting))
    assert [change.after.action for change in found.changes] == [Action.DELETE]


def test_a_file_that_is_not_a_plan_is_reported(tmp_path: Path) -> None:
    policy = Policy.parse(RULE)
    good = plan_file(tmp_path, judged(thing(1))).read_text()
    for number, text in enumerate(("", "x", "[]", good + "[1]\n", good + '{"id": 1}\n', good + "1\n")):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(text)
        with pytest.raises(CliError, match=r"not a plan\.jsonl"):
            compare(path, policy, policy)


def test_the_difference_is_shown_with_reasons_and_fifty_rows(desk: CliHarness, tmp_path: Path) -> None:
    file = plan_file(tmp_path, *(judged(thing(number)) for number in range(1, 53)))
    old, new = written(tmp_path, RULE, "old.toml"), written(tmp_path, LATER, "new.toml")
    words = ("policy", "diff", old, new, "--plan", str(file))
    result = desk.run(*words)
    assert result.exit_code == 0, result.output
    said = re.sub(r" +", " ", result.output)
    assert "52 things, as seen at 2026-06-01 12:00 UTC" in said
    assert "52 no longer affected" in said
    assert len(re.findall(r"affected  0{30}", result.output)) == 50
    assert "2 more: --all" in said
    assert len(re.findall(r"affected  0{30}", desk.run(*words, "--all").output)) == 52
    assert "more than 60 are needed" in said
    same = desk.run("policy", "diff", old, old, "--plan", str(file))
    assert (same.exit_code, "Both policies treat everything the same" in same.output) == (0, True)


def test_the_facts_come_from_the_newest_plan_or_a_named_one(desk: CliHarness, tmp_path: Path) -> None:
    old, new = written(tmp_path, RULE, "old.toml"), written(tmp_path, LATER, "new.toml")
    assert "no plan of organization" in desk.run("policy", "diff", old, new).output
    runs = [SeedRun(id=f"{1:032x}", status="complete", completed_at="-45d", tags=["c" * 32])]
    made = night(desk, organization(runs=runs, tags=[SeedTag(id="c" * 32, title="blue")]), mode=Mode.REPORT)
    for words in ((), ("--plan", made.hash), ("--plan", made.hash[:8])):
        result = desk.run("policy", "diff", old, new, *words)
        assert result.exit_code == 0, result.output
        assert "1  no longer affected" in result.output
    for words in (("--plan", "abc"), ("--plan", "nowhere/plan.jsonl.gz")):
        assert desk.run("policy", "diff", old, new, *words).exit_code == 2
    assert desk.run("policy", "diff", old, new, "--plan", "0" * 64).exit_code == 1


def test_lines_that_do_not_match_the_plan_are_not_compared(desk: CliHarness, tmp_path: Path) -> None:
    policy = written(tmp_path, RULE)
    made = night(desk, organization(runs=[SeedRun(id=f"{1:032x}")]))
    key = key_of(ORG, made.hash, "plan.jsonl.gz")
    body = gzip.decompress(desk.stack.objects().get(key) or b"")
    changed = gzip.compress(body.replace(b"active", b"Active"))
    desk.stack.objects().put(key, changed, kind="application/gzip")
    result = desk.run("policy", "diff", policy, policy)
    assert (result.exit_code, "were changed: their hash is" in result.output) == (1, True)
    del desk.stack.kept.bodies[key]  # type: ignore[attr-defined]
    assert "no longer exist" in desk.run("policy", "diff", policy, policy).output


def test_checking_a_policy_imports_neither_the_aws_sdk_nor_an_http_client_nor_the_sources() -> None:
    """It reads one file, so it must be quick."""
    code = (
        "import sys\nfrom cli.main import app\nsys.argv = ['lifecycle', 'policy', 'check']\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "slow = {'boto3', 'botocore', 'requests', 'urllib3', 'jmespath', 'lifecycle.intake.sources'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_policy_in_words_says_whom_a_rule_warns(desk: CliHarness, tmp_path: Path) -> None:
    warning = KEEPING.replace('name = "old"', 'name = "old"\nwarn_days = 3\nwarn = ["channel", "owner"]', 1)
    result = desk.run("policy", "check", written(tmp_path, warning))
    assert "warns the owner and the channel 3 days before" in result.output
