import re

from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.sweep.jobs import SweepJob
from sandbox.simulator import DefaultIds, Fault
from tests.harness.builders import CONFIG, PREFIX, bodies
from tests.harness.sweep_run import SweepRun
from tests.unit.cli.harness import ORG, CliHarness
from tests.unit.cli.planned import LASTING, RULE, at_night, organization, runs
from tests.unit.cli.test_apply import TAGS

SWEEP = "2026-06-01T04:10:00Z"
DECLARED = (CONFIG / "policy.toml").read_text()


def swept(
    desk: CliHarness, *, mode: Mode = Mode.REPORT, policy: str = RULE, count: int = 3, tags: bool = False
) -> tuple[SweepRun, Plan]:
    night = at_night(desk, organization(runs(count), TAGS if tags else []), mode=mode, policy=policy)
    night.begin(SWEEP)
    night.drain()
    return night, night.plans()[-1]


def cut_off(night: SweepRun, *faults: Fault) -> None:
    """A sweep up to where it has to wait for something."""
    for fault in faults:
        night.world.simulator.faults.add(fault)
    night.begin(SWEEP)
    for _ in range(2):  # One job for each organization, then that of this one.
        night.deliver()


def shown(desk: CliHarness, *words: str, code: int = 0) -> str:
    result = desk.run("sweep", "show", *words)
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


def test_a_started_sweep_gets_a_unique_name(desk: CliHarness) -> None:
    results = [desk.run("sweep", "start") for _ in range(2)]
    assert [result.exit_code for result in results] == [0, 0], results[0].output
    jobs = [SweepJob.model_validate_json(text) for text in bodies(desk.stack.origins["sweeps"])]
    assert [job.org_id for job in jobs] == [None, None]
    assert len({job.sweep_id for job in jobs}) == 2
    for job, result in zip(jobs, results, strict=True):
        assert re.fullmatch(r"2026-06-01T12:00:00Z-by-hand-[0-9a-f]{6}", job.sweep_id)
        assert f"lifecycle sweep show {job.sweep_id}" in result.output
        assert "mode report" in result.output


def test_a_stack_without_a_sweeps_queue_is_reported(desk: CliHarness) -> None:
    del desk.stack.dead["sweeps"]
    result = desk.run("sweep", "start")
    assert (result.exit_code, "has no sweeps queue" in result.output) == (3, True)


def test_a_reported_sweep_shows_its_plan_and_the_next_step(desk: CliHarness) -> None:
    _, plan = swept(desk)
    said = shown(desk, SWEEP)
    for part in (
        f"finished: {SWEEP} of {ORG}",
        f"plan {plan.hash}",
        "3 seen = 3 due + 0 kept + 0 not readable",
        "completed archive process: 3 of 3",
        "about 1 min at 6000 calls a minute",
        "Only reported: SweepMode is report.",
        f"lifecycle report {plan.hash[:12]}",
        f"lifecycle apply {plan.hash}",
    ):
        assert part in said, part


def test_kept_things_are_counted_by_reason(desk: CliHarness) -> None:
    night = at_night(desk, organization([*runs(1), *runs(2, first=9, completed="-2d")]))
    night.begin(SWEEP)
    night.drain()
    assert "too young 2" in shown(desk, SWEEP)


def test_an_applied_plan_is_shown_without_a_next_step(desk: CliHarness) -> None:
    swept(desk, mode=Mode.APPLY)
    said = shown(desk, SWEEP)
    assert "reversible actions: done, 3 enqueued, asked for by schedule" in said
    assert "lifecycle apply" not in said
    assert "Only reported" not in said


def test_irreversible_actions_wait_for_a_person(desk: CliHarness) -> None:
    _, plan = swept(desk, mode=Mode.APPLY, policy=RULE + LASTING, tags=True)
    said = shown(desk, SWEEP)
    assert "reversible actions: done, 3" in said
    assert f"lifecycle apply {plan.hash}" in said


def test_the_reason_why_nothing_was_applied_is_shown(desk: CliHarness) -> None:
    swept(desk, mode=Mode.APPLY, policy=RULE.replace("count = 500", "count = 2"))
    said = shown(desk, SWEEP)
    assert "not applied: The plan would act on 3 things; its cap is 2." in said
    assert "Only reported: see above." in said
    assert "--first 2. The rest stays due." in said
    assert "to apply it" not in said


def test_the_reason_for_stopping_after_the_first_five_is_shown(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(9)), mode=Mode.APPLY)
    cut_off(night)
    night.work()
    night.world.simulator.organization.runs[runs(1)[0].id].restore(desk.clock())
    night.drain()
    said = shown(desk, SWEEP)
    assert "reversible actions: stopped, 5 enqueued" in said
    assert "Tallyfy shows it as active" in said
    assert "lifecycle apply" not in said


def test_a_sweep_in_progress_shows_what_it_has_read(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(150)), policy=DECLARED)
    cut_off(night, Fault.answer_status(503, path="/runs", skip=1, times=-1))
    said = shown(desk, SWEEP, code=4)
    assert f"in progress: {SWEEP} of {ORG}" in said
    assert "active processes 100 of 150" in said
    assert shown(desk, code=4) == said


def test_lists_of_another_policy_are_shown_without_names(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(150)))
    cut_off(night, Fault.answer_status(503, path="/runs", skip=1, times=-1))
    assert "list 1 100 of 150" in shown(desk, SWEEP, code=4)


def test_without_a_name_the_newest_sweep_is_shown(desk: CliHarness) -> None:
    night, _ = swept(desk)
    later = "2026-06-02T04:10:00Z"
    night.begin(later)
    night.drain()
    assert later in shown(desk)
    assert SWEEP in shown(desk, SWEEP)


def test_an_apply_job_is_not_shown_as_a_sweep(desk: CliHarness) -> None:
    night, plan = swept(desk)
    night.apply(plan.hash)
    night.deliver()
    assert SWEEP in shown(desk)


def test_an_expired_plan_is_reported(desk: CliHarness) -> None:
    night, plan = swept(desk)
    del night.objects.bodies[key_of(ORG, plan.hash, "plan.json")]  # type: ignore[attr-defined]
    said = shown(desk, SWEEP)
    assert "no longer kept" in said
    assert "3 were seen, 3 were due" in said


def test_an_unknown_sweep_is_reported(desk: CliHarness) -> None:
    for words in ((), ("never",), ("never", "--org", ORG)):
        assert "The ledger has no sweep" in shown(desk, *words, code=1)
    assert "not one of this stack's" in shown(desk, "never", "--org", DefaultIds.RUN, code=2)


def test_a_refused_token_is_reported_until_it_is_replaced(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(3)))
    secret = f"{PREFIX}/tokens/{ORG}"
    good = night.world.secrets.texts[secret]
    for texts in (night.world.secrets.texts, desk.entrance.secrets.texts):
        texts[secret] = "expired"
    cut_off(night)
    said = shown(desk, SWEEP, code=4)
    assert f"✗ Organization {ORG}: " in said
    assert "Store the token of a dedicated Tallyfy admin user" in said
    desk.entrance.secrets.texts[secret] = good
    assert "✗" not in shown(desk, SWEEP, code=4)


def test_obstacles_the_sweep_found_are_shown_if_tallyfy_cannot_be_reached(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(3)))
    night.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = "expired"
    cut_off(night)
    del desk.stack.told["SecretPrefix"]
    assert f"✗ Organization {ORG}: " in shown(desk, SWEEP, code=4)
