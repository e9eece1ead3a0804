import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import NoCredentialsError

from cli.clients.stack import Alarm
from lifecycle.audit.chain import Head
from lifecycle.audit.store import AuditStore
from lifecycle.domain.errors import Code
from lifecycle.policy.evaluate import Mode
from tests.harness.builders import PREFIX, command
from tests.unit.cli.harness import ORG, CliHarness
from tests.unit.cli.planned import night, organization, runs
from tests.unit.cli.test_approve import office


def lines(desk: CliHarness, *, columns: int = 200, code: int = 0) -> list[str]:
    result = desk.run("overview", env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output
    return result.output.splitlines()


def line(desk: CliHarness, beginning: str) -> str:
    [found] = [one for one in lines(desk) if one.lstrip("✓✗! ").startswith(beginning)]
    return found


def test_an_idle_stack_shows_that_nothing_waits(desk: CliHarness) -> None:
    shown = "\n".join(lines(desk))
    for part in (
        f"✓ {ORG} running",
        "Tallyfy has not asked for a wait yet",
        "none has finished yet",
        "none waits",
        "nothing is sealed yet",
        "✓ alarms    none is ringing",
    ):
        assert part in shown, shown
    assert "not known" not in shown


def test_a_pause_is_shown_with_the_person_and_the_reason(desk: CliHarness) -> None:
    assert desk.run("pause", "--reason", "a wrong rule is live").exit_code == 0
    assert "(a wrong rule is live): only restores" in line(desk, ORG)


def test_an_outage_and_the_last_wait_that_tallyfy_asked_for_are_shown(desk: CliHarness) -> None:
    pacing = desk.stack.pacing()
    pacing.block(ORG, 120)
    assert "Tallyfy asked to wait until 2026-06-01 12:02 UTC" in line(desk, "429 or 503")
    desk.clock.advance(timedelta(hours=1))
    assert "none now; Tallyfy last asked to wait until 2026-06-01 12:02 UTC" in line(desk, "429 or 503")
    for number in range(3):
        pacing.failed(ORG, f"thing-{number}", 0.5)
    assert "no answer from Tallyfy: only probes" in line(desk, ORG)


def test_the_429s_of_the_last_day_are_counted(desk: CliHarness) -> None:
    assert "0 in the last day; Tallyfy has not asked for a wait yet" in line(desk, "429 or 503")
    desk.stack.waits = 12
    assert "12 in the last day; " in line(desk, "429 or 503")
    assert json.loads(desk.run("overview", "--json").output)["asked_to_wait"] == 12
    desk.stack.told["OrganizationIds"] = f"{ORG},{'b' * 32}"
    assert [one for one in lines(desk) if "12 in the last day (all organizations)" in one]


def test_an_unknown_count_of_429s_is_not_shown_as_none(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise NoCredentialsError

    monkeypatch.setattr(desk.stack, "asked_to_wait", refused)
    assert "unknown how many; " in line(desk, "429 or 503")
    assert "not known" in line(desk, "429s")


def test_queues_are_shown_with_their_age_and_dead_letters_by_code(desk: CliHarness) -> None:
    desk.stack.origins["bulk"].send_all(["{}"] * 3)
    desk.stack.ages["bulk"] = 200.0
    desk.dead_letter(command())
    desk.dead_poison()
    bulk = line(desk, "bulk").split()
    assert bulk == ["bulk", "3", "3", "min", "0"]
    commands = line(desk, "commands")
    assert "2: " in commands
    assert "attempts_exhausted 1" in commands
    assert "poison 1" in commands
    assert len(desk.stack.dead["commands"].receive()) == 2, "a look leaves them where they are"


def test_waiting_requests_are_shown_with_the_first_deadline(desk: CliHarness) -> None:
    office(desk)
    assert "1 wait; the first expires in 3 d" in line(desk, "approvals")


def test_the_last_sweep_and_the_last_plan_are_shown(desk: CliHarness) -> None:
    plan = night(desk, organization(runs(3)))
    assert f"{plan.hash[:12]}: 3 due of 3 seen, " in line(desk, "plan")
    assert "finished" in line(desk, "sweep ")


def test_a_plan_that_was_applied_says_so(desk: CliHarness) -> None:
    night(desk, organization(runs(3)), mode=Mode.APPLY)
    assert "reversible done" in line(desk, "plan")


def test_an_old_token_is_shown_with_the_advice_to_replace_it(desk: CliHarness) -> None:
    desk.entrance.secrets.stored[f"{PREFIX}/tokens/{ORG}"] = desk.clock() - timedelta(days=160)
    assert "stored 160 d ago; it lives about 183 days: replace it" in line(desk, "token")


def test_a_young_token_is_shown_with_the_command_that_tries_it(desk: CliHarness) -> None:
    desk.entrance.secrets.stored[f"{PREFIX}/tokens/{ORG}"] = desk.clock() - timedelta(days=3)
    assert line(desk, "token").endswith("it lives about 183 days; `check` tries it")


def test_the_last_sealed_hour_is_shown(desk: CliHarness) -> None:
    AuditStore(desk.stack.rows()).move(Head(segment=3, hour="2026-06-01T10", through="2026-06-01T11"), 0)
    assert "sealed through 2026-06-01T11:59 UTC" in line(desk, "audit")


def test_ringing_alarms_are_shown_oldest_first(desk: CliHarness) -> None:
    desk.stack.ringing = [
        Alarm("PagedAlarm", datetime(2026, 6, 1, 11, 30, tzinfo=UTC), "1 datapoint"),
        Alarm("OutageAlarm", datetime(2026, 6, 1, 10, 0, tzinfo=UTC), "1 datapoint"),
    ]
    assert "✗ alarms    OutageAlarm (2 h ago), PagedAlarm (30 min ago)" in line(desk, "alarms")


def test_an_unreadable_part_is_named_and_the_rest_is_shown(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[Alarm]:
        raise NoCredentialsError

    monkeypatch.setattr(desk.stack, "alarms", refused)
    shown = "\n".join(lines(desk))
    assert "! alarms    not known. There are no AWS credentials." in shown
    assert f"✓ {ORG} running" in shown


def busy(desk: CliHarness) -> None:
    night(desk, organization(runs(3)))
    assert desk.run("pause", "--reason", "a wrong rule is live, and this takes many words " * 4).exit_code == 0
    desk.dead_letter(command())
    for code in (Code.HELD, Code.CHANGED, Code.TOO_YOUNG, Code.EXPORT_INCOMPLETE):
        letter = {"code": code.value, "reason": "Why."}
        desk.stack.dead["bulk"].send("{}", letter)
    names = ("DeadLettersAgeAlarm", "SweepOverdueAlarm", "CommandsAgeAlarm", "OutageAlarm", "PagedAlarm")
    desk.stack.ringing = [Alarm(name, desk.clock(), "") for name in names]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_a_busy_stack_fits_the_screen(desk: CliHarness, columns: int, rows: int) -> None:
    busy(desk)
    shown = lines(desk, columns=columns)
    assert len(shown) < rows
    assert max(map(len, shown)) <= columns


def test_json_holds_every_part_of_the_overview(desk: CliHarness) -> None:
    busy(desk)
    result = desk.run("overview", "--json")
    found = json.loads(result.stdout)
    [one] = found["organizations"]
    assert one["org_id"] == ORG
    assert "a wrong rule" in one["paused_by"]
    assert one["plan"]["due"] == 3
    assert {queue["name"]: queue["dead_letters"] for queue in found["queues"]}["bulk"] == 4
    assert found["unknown"] == {}
    assert found["alarms"][0]["name"] == "DeadLettersAgeAlarm"


def test_watch_refreshes_until_it_is_interrupted(desk: CliHarness) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        desk.stack.origins["bulk"].send("{}")
        if looks == 3:
            raise KeyboardInterrupt

    desk.while_waiting = look
    began = desk.clock()
    result = desk.run("overview", "--watch", "--every", "10")
    assert result.exit_code == 130, result.output
    assert desk.clock() - began == timedelta(seconds=30)


def test_watch_and_json_exclude_each_other(desk: CliHarness) -> None:
    assert desk.run("overview", "--watch", "--json").exit_code == 2
