import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import format_datetime
from html import unescape

import pytest
import requests
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError

from cli.clients.aws_identity import Identity, IdentityAuth
from cli.ui.errors import Exit
from lifecycle.approvals.people import People
from lifecycle.approvals.rules import About, ApprovalRequest, name
from lifecycle.aws.api_gateway import Response
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.intent import IntentRow, Status
from lifecycle.plans.approval_question import approval_question
from lifecycle.plans.plan_store import key_of
from sandbox.simulator import SeedRun, SeedTag, SeedTask
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World
from tests.unit.cli.harness import ARNS, OPERATOR, ORG, PEOPLE, REGION, CliHarness, caller_of
from tests.unit.cli.planned import LASTING, RULE, at_night, organization

THING = "5e" * 16
TITLE = "Onboarding of Acme [bold]Ltd[/]"


@dataclass
class DeletingStack:
    """A desk before a stack that really deletes, and the process that Ada wants to be gone."""

    desk: CliHarness
    world: World
    hash: str
    intent_id: str

    def run(self, who: str, *words: str, typed: str = "") -> tuple[int, str]:
        """What somebody types under their own AWS identity."""
        self.desk.stack.who = who
        result = self.desk.run(*words, typed=typed)
        return result.exit_code, re.sub(r"[ ]+", " ", result.output)

    def work(self) -> None:
        """Let the purge function take what lies in its queue."""
        self.world.drain(self.world.purge())

    def request(self) -> ApprovalRequest:
        found = self.desk.approvals().find(ORG, self.hash)
        assert found is not None
        return found

    def intent(self) -> IntentRow:
        return self.world.intent(self.intent_id)

    @property
    def called(self) -> list[tuple[str, str]]:
        """What was called under an AWS identity: by which method and path, the stack's prefix left out."""
        return [(str(call.method), str(call.path_url)) for call in self.desk.front.asked if call.method != "GET"]


def office(desk: CliHarness, *, archived_days: int = 40, single: int = 1) -> DeletingStack:
    desk.people = f"[approvals]\nsingle = {single}\n{PEOPLE}"
    world = World(desk.clock, people=People.parse(desk.people))
    desk.stand_before(world)
    world.simulator.load(
        organization(
            [
                SeedRun(
                    id=THING,
                    name=TITLE,
                    status="complete",
                    created_at="-90d",
                    completed_at="-60d",
                    archived_at=f"-{archived_days}d",
                    owner_id=1001,
                    tasks=[SeedTask(id=f"{number:032x}", title=f"Step {number}") for number in range(3)],
                )
            ]
        )
    )
    asked = desk.run("send", "process", "delete", THING, "--org", ORG, "--reason", "The customer left.", "--yes")
    assert asked.exit_code == 0, asked.output
    assert "Somebody else must approve the delete" in asked.output
    [intent_id] = re.findall(r"int_[0-9a-f]{48}", asked.output)
    made = DeletingStack(desk, world, "", intent_id)
    made.work()
    [request] = desk.approvals().open(ORG)
    made.hash = request.hash
    desk.front.asked.clear()
    return made


class TestList:
    def test_requests_are_listed_with_their_asker_and_deadline(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("bob", "approvals")
        assert code == 0, output
        for part in (made.hash[:12], "delete process for good", TITLE, "ada", "0 of 1", "2026-06-04 12:00 UTC, in 3 d"):
            assert part in output
        assert made.hash not in output

    def test_an_empty_list_says_that_no_request_waits(self, desk: CliHarness) -> None:
        assert desk.run("approvals").exit_code == 0
        assert "No request waits for your approval." in desk.run("approvals").output

    def test_requests_outside_a_persons_rights_are_not_listed(self, desk: CliHarness) -> None:
        made = office(desk)
        assert made.hash[:12] not in made.run("dan", "approvals")[1]


class TestApprove:
    def test_the_exact_action_is_shown_before_the_question(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("bob", "approve", made.hash, typed="n\n")
        assert code == 1
        for part in (
            "delete process for good: this cannot be undone",
            f"title {TITLE}",
            f"id {THING}",
            "owners 1001",
            "archived 2026-04-22 12:00 UTC, 40 d ago",
            "completed 2026-04-02 12:00 UTC",
            f"asked for by {OPERATOR}, through operator",
            "why The customer left.",
            "asked by ada, 2026-06-01 12:00 UTC",
            "approved 0 of 1",
            "expires 2026-06-04 12:00 UTC",
            f"hash {made.hash}",
        ):
            assert part in output, part

    @pytest.mark.parametrize("typed", ["n\n", "\n", ""])
    def test_without_a_yes_nothing_is_approved(self, desk: CliHarness, typed: str) -> None:
        made = office(desk)
        assert made.run("bob", "approve", made.hash, typed=typed)[0] == 1
        assert made.request().approved_by == ()
        assert made.called == []

    @pytest.mark.parametrize(("words", "typed"), [(("--yes",), ""), ((), "y\n")])
    def test_a_delete_approved_by_another_person_is_exported_and_carried_out(
        self, desk: CliHarness, words: tuple[str, ...], typed: str
    ) -> None:
        made = office(desk)
        code, output = made.run("bob", "approve", made.hash, *words, typed=typed)
        assert code == 0, output
        for part in (
            "approved: 1 of 1",
            "exported first, and deleted only if the export is complete",
            "An export is evidence, not an undo",
            f"lifecycle status {made.intent_id}",
        ):
            assert part in output, part
        assert made.request().approved_by == ("bob",)
        made.work()
        assert made.intent().status is Status.DONE
        assert made.world.state(Resource.RUN, THING) is State.GONE
        assert isinstance(made.world.objects, MemoryObjects)
        assert any(key.endswith("/manifest.json") for key in made.world.objects.bodies)

    def test_a_typed_beginning_of_a_hash_is_sent_as_the_whole_hash(self, desk: CliHarness) -> None:
        made = office(desk)
        assert made.run("bob", "approve", made.hash[:12].upper(), "--yes")[0] == 0
        assert made.called == [("POST", f"/approvals/{made.hash}/approve")]

    def test_every_call_is_signed_with_the_callers_identity(self, desk: CliHarness) -> None:
        made = office(desk)
        made.run("bob", "approve", made.hash[:12], "--yes")
        assert [caller_of(call) for call in desk.front.asked] == [ARNS["bob"]] * 2

    def test_nobody_can_approve_their_own_request(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("ada", "approve", made.hash, "--yes")
        assert (code, "You requested this yourself. Somebody else must approve it." in output) == (1, True)
        assert made.request().approved_by == ()

    def test_leaving_out_ones_name_does_not_allow_self_approval(self, desk: CliHarness) -> None:
        assert office(desk).request().asked_by == "ada"

    def test_a_person_missing_from_people_toml_is_shown_their_aws_identity(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("mallory", "approve", made.hash, "--yes")
        assert (code, ARNS["mallory"] in output, "people.toml names nobody" in output) == (1, True, True)

    def test_a_person_without_the_right_cannot_see_the_request(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("dan", "approve", made.hash, "--yes")
        assert (code, "no request with this hash that you may approve" in output, TITLE in output) == (1, True, False)

    def test_a_request_can_wait_for_several_people(self, desk: CliHarness) -> None:
        made = office(desk, single=2)
        assert "1 more person until 2026-06-04" in made.run("bob", "approve", made.hash, "--yes")[1]
        assert "approved: 1 of 2" in made.run("bob", "approve", made.hash, "--yes")[1]
        made.work()
        assert made.world.state(Resource.RUN, THING) is State.ARCHIVED
        code, output = made.run("cleo", "approve", made.hash, "--yes")
        assert (code, "approved: 2 of 2" in output, "1 of 2 (bob)" in output) == (0, True, True)
        made.work()
        assert made.world.state(Resource.RUN, THING) is State.GONE

    def test_an_approver_needs_no_right_to_read_the_stacks_parameters(
        self, desk: CliHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = office(desk, archived_days=10)

        def refused() -> Mapping[str, str]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")

        monkeypatch.setattr(desk.stack, "parameters", refused)
        code, output = made.run("bob", "approve", made.hash, "--yes")
        assert (code, "approved: 1 of 1" in output) == (0, True)
        assert "deleted only if the export is complete" in output

    def test_no_call_to_the_stack_follows_an_approval(self, desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        made = office(desk, archived_days=10)
        given = desk.stack.parameters

        def too_late() -> Mapping[str, str]:
            assert not [call for call in desk.front.asked if call.method == "POST"]
            return given()

        monkeypatch.setattr(desk.stack, "parameters", too_late)
        assert made.run("bob", "approve", made.hash, "--yes")[0] == 0

    def test_a_thing_archived_too_recently_waits_after_its_approval(self, desk: CliHarness) -> None:
        made = office(desk, archived_days=10)
        _, output = made.run("bob", "approve", made.hash, "--yes")
        assert "It waits until 2026-06-21 12:00 UTC" in output
        assert "A restore, a hold or any change before then cancels" in output
        made.work()
        assert made.world.state(Resource.RUN, THING) is State.ARCHIVED
        before = desk.clock()
        code, output = made.run("ada", "status", made.intent_id, "--wait")
        assert (code, desk.clock()) == (Exit.PENDING, before)
        assert "waiting It is approved, and will be deleted after 2026-06-21 12:00" in output
        assert "a restore, a hold or any change of the thing cancels it" in output

    def test_an_expired_request_cannot_be_approved(self, desk: CliHarness) -> None:
        made = office(desk)
        desk.clock.advance(timedelta(hours=72))
        code, output = made.run("bob", "approve", made.hash, "--yes")
        assert (code, "expired already" in output) == (1, True)
        assert made.called == []

    def test_a_request_that_does_not_match_its_hash_is_not_approved(self, desk: CliHarness) -> None:
        made = office(desk)
        shown = json.dumps({**json.loads(made.request().shown), "title": "Something harmless"})
        desk.approvals().change(ORG, made.hash, lambda request: replace(request, shown=shown))
        code, output = made.run("bob", "approve", made.hash, "--yes")
        assert (code, "does not match this hash" in output) == (1, True)
        assert made.called == []

    def test_a_title_cannot_move_the_cursor(self, desk: CliHarness) -> None:
        made = office(desk)
        shown = {"title": "\x1b[2Jgone", "action": "run.delete"}
        ask(desk, shown)
        _, output = made.run("bob", "approve", name(shown), typed="n\n")
        assert ("\x1b" in output, "�[2Jgone" in output) == (False, True)

    def test_parts_that_would_be_deleted_too_are_counted_where_tallyfy_shows_them(self, desk: CliHarness) -> None:
        made = office(desk)
        shown = {"title": "Acme", "tasks": 3, "comments": 7, "owners": [str(number) for number in range(25)]}
        shown["has_open_issue"] = True
        ask(desk, shown)
        _, output = made.run("bob", "approve", name(shown), typed="n\n")
        for part in ("problem reported, and still open", "tasks 3", "comments 7", "18, 19 and 5 more"):
            assert part in output

    def test_unknown_counts_are_shown_as_unknown(self, desk: CliHarness) -> None:
        made = office(desk)
        shown: dict[str, object] = {"title": None, "owners": None, "tags": [], "archived_at": "soon", "comments": None}
        ask(desk, shown)
        _, output = made.run("bob", "approve", name(shown), typed="n\n")
        for part in ("title not known", "owners not known", "tags none", "archived soon", "comments not known"):
            assert part in output


def ask(desk: CliHarness, shown: Mapping[str, object], **changes: object) -> ApprovalRequest:
    """Somebody asks for approval of this."""
    made = ApprovalRequest(
        hash=name(shown),
        about=About.COMMAND,
        org_id=ORG,
        subject=name(shown)[:8],
        asked_by="ada",
        asked_at=millis(desk.clock()),
        deadline=millis(desk.clock() + timedelta(hours=72)),
        needed=1,
        shown=json.dumps(shown),
        message="{}",
        capabilities=("run.delete",),
    )
    return desk.approvals().ask(replace(made, **changes))  # type: ignore[arg-type]


class TestNames:
    @pytest.mark.parametrize("length", [1, 8, 11])
    def test_fewer_than_twelve_characters_of_a_hash_are_refused(self, desk: CliHarness, length: int) -> None:
        made = office(desk)
        code, output = made.run("bob", "approve", made.hash[:length], "--yes")
        assert (code, "at least the first 12" in output) == (Exit.USAGE, True)
        assert desk.front.asked == []

    @pytest.mark.parametrize("said", ["the big one, please", "g" * 64, "../../commands", "a" * 65, ""])
    def test_text_that_is_not_a_hash_is_refused_before_any_call(self, desk: CliHarness, said: str) -> None:
        made = office(desk)
        assert made.run("bob", "approve", said, "--yes")[0] == Exit.USAGE
        assert desk.front.asked == []

    def test_a_beginning_that_matches_no_request_is_reported(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("bob", "approve", "0" * 12, "--yes")
        assert (code, "No request that waits for your approval begins with" in output) == (1, True)

    def test_a_beginning_that_matches_two_requests_is_refused(self, desk: CliHarness) -> None:
        made = office(desk)
        for end in "ab":
            ask(desk, {"title": end}, hash="c" * 63 + end)
        code, output = made.run("bob", "approve", "c" * 63, "--yes")
        assert (code, "2 requests begin with" in output) == (Exit.USAGE, True)
        assert made.called == []


class TestReject:
    def test_a_rejection_ends_the_request_with_its_reason(self, desk: CliHarness) -> None:
        made = office(desk)
        code, output = made.run("bob", "reject", made.hash[:12], "--reason", "We are  in court.\n", typed="y\n")
        assert code == 0, output
        assert TITLE in output
        assert "rejected: We are in court." in output
        made.work()
        assert (made.intent().status, made.intent().code) == (Status.REJECTED, "not_approved")
        assert made.run("ada", "status", made.intent_id) == (1, "✗ rejected bob rejected it: We are in court.\n")
        code, output = made.run("cleo", "approve", made.hash, "--yes")
        assert (code, "rejected by bob already" in output) == (1, True)
        assert made.world.state(Resource.RUN, THING) is State.ARCHIVED

    def test_the_asker_may_reject_their_own_request(self, desk: CliHarness) -> None:
        made = office(desk)
        assert made.run("ada", "reject", made.hash, "--reason", "A mistake", "--yes")[0] == 0
        assert made.request().rejected_by == "ada"

    def test_without_a_yes_nothing_is_rejected(self, desk: CliHarness) -> None:
        made = office(desk)
        assert made.run("bob", "reject", made.hash, "--reason", "No", typed="n\n")[0] == 1
        assert made.request().rejected_by == ""

    @pytest.mark.parametrize("reason", ["", " \n ", "x" * 201])
    def test_a_blank_or_overlong_reason_is_refused(self, desk: CliHarness, reason: str) -> None:
        made = office(desk)
        assert made.run("bob", "reject", made.hash, "--reason", reason, "--yes")[0] == Exit.USAGE
        assert desk.front.asked == []


def test_the_status_of_a_command_that_waits_for_approval_shows_what_to_type(desk: CliHarness) -> None:
    made = office(desk)
    before = desk.clock()
    for words in ((), ("--wait",)):
        code, output = made.run("ada", "status", made.intent_id, *words)
        assert (code, desk.clock()) == (Exit.PENDING, before)
        assert "waiting It waits until 2026-06-04 12:00+00:00 for the approval of one other person." in output
        assert f"\n to approve lifecycle approve {made.hash}\n" in output
        assert f"\n to reject lifecycle reject {made.hash} --reason …\n" in output
        assert "Only somebody else can approve it" in output


def test_a_status_after_one_of_two_approvals_says_that_one_more_is_missing(desk: CliHarness) -> None:
    at = office(desk, single=2)
    code, said = at.run("ada", "status", at.intent_id)
    assert (code, "missing 2 more approvals" in said) == (4, True), said
    assert at.run("bob", "approve", at.hash, "--yes")[0] == 0
    at.work()
    code, said = at.run("ada", "status", at.intent_id)
    assert (code, "missing 1 more approval" in said, "approvals" in said) == (4, True, False), said


class TestPlan:
    def test_irreversible_actions_of_a_plan_are_carried_out_after_two_approvals(self, desk: CliHarness) -> None:
        tags = [SeedTag(id=f"c{number:031x}", title=f"left over {number}") for number in range(2)]
        night = at_night(desk, organization(tags=tags), policy=RULE + LASTING)
        night.world.people = People.parse(desk.people)
        night.begin()
        night.drain()
        [plan] = night.plans()
        desk.while_waiting = lambda: working(night)
        result = desk.run("apply", plan.hash, "--yes", "--yes-irreversible", "2", "--wait")
        assert result.exit_code == Exit.PENDING, result.output
        assert "for the approval of 2 other people" in result.output
        made = DeletingStack(desk, night.world, plan.hash, "")

        assert "2 things" in made.run("bob", "approvals")[1]
        code, output = made.run("ada", "approve", plan.hash, "--yes")
        assert (code, "Somebody else must" in output) == (1, True)
        code, output = made.run("bob", "approve", plan.hash[:12], typed="y\n")
        assert code == 0, output
        page = (night.objects.get(key_of(ORG, plan.hash, "report.html")) or b"").decode()
        report = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.split("What approvers are asked")[1])))
        question = approval_question(plan)
        assert question is not None
        for line in question.lines:
            assert re.sub(r"[ ]+", " ", line) in output, line
            assert re.sub(r"[ ]+", " ", line) in report, line
        for part in (
            "The irreversible actions of a plan: 2 things",
            "2 seen = 2 due + 0 kept",
            "dead-tags delete tag: 2 of 2 cannot be undone",
            f"lifecycle report {plan.hash}",
            "asked by ada",
            "1 more person",
            f"lifecycle sweep show {plan.sweep_id}",
        ):
            assert part in output, part
        night.drain()
        assert night.world.state(Resource.TAG, tags[0].id) is State.ACTIVE

        code, output = made.run("cleo", "approve", plan.hash, "--yes")
        assert (code, "enqueues its irreversible actions now" in output, "not an undo" in output) == (0, True, True)
        night.drain()
        assert [night.world.state(Resource.TAG, tag.id) for tag in tags] == [State.GONE] * 2
        again = desk.run("apply", plan.hash, "--yes")
        assert (again.exit_code, "already applied" in again.output) == (0, True)

    def test_a_plan_that_claims_another_hash_is_not_approved(self, desk: CliHarness) -> None:
        office(desk)
        ask(desk, {"hash": "b" * 64}, hash="a" * 64, about=About.PLAN, subject="a" * 64)
        desk.stack.who = "bob"
        result = desk.run("approve", "a" * 64, "--yes")
        assert (result.exit_code, "does not match this hash" in result.output) == (1, True)

    def test_a_plan_of_another_release_is_reported(self, desk: CliHarness) -> None:
        office(desk)
        ask(desk, {"hash": "a" * 64}, hash="a" * 64, about=About.PLAN, subject="a" * 64)
        desk.stack.who = "bob"
        result = desk.run("approve", "a" * 64, "--yes")
        assert (result.exit_code, "another release" in result.output) == (1, True)


def working(night: SweepRun) -> None:
    """What the stack does while somebody waits."""
    night.turn()


def refusal(body: Mapping[str, str], **headers: str) -> Response:
    return {"statusCode": 403, "headers": headers, "body": json.dumps(body)}


class TestAws:
    def test_without_credentials_no_call_is_made(self, desk: CliHarness) -> None:
        desk.stack.who = "nobody"
        result = desk.run("approvals")
        assert (result.exit_code, "no AWS credentials" in result.output) == (Exit.UNREACHABLE, True)
        assert desk.front.asked == []

    def test_a_caller_without_rights_to_the_api_is_shown_the_policy_they_need(self, desk: CliHarness) -> None:
        made = office(desk)
        desk.front.failures = [refusal({"message": "Forbidden"})]
        code, output = made.run("bob", "approve", made.hash, "--yes")
        assert code == Exit.UNREACHABLE
        assert "403: Forbidden" in output
        assert f"execute-api:Invoke on arn:aws:execute-api:{REGION}:" in output
        assert output.count("GET/approvals/*") == 1

    def test_the_shown_policy_names_the_api_of_the_url(self, desk: CliHarness) -> None:
        desk.front.failures = [refusal({"message": "Forbidden"})]
        session = desk._session()
        session.mount("https://a1b2c3.execute-api.us-east-1.amazonaws.com", desk.front)
        desk._session = lambda: session  # type: ignore[method-assign]
        result = desk.run("approvals", "--api-url", "https://a1b2c3.execute-api.us-east-1.amazonaws.com")
        assert "arn:aws:execute-api:us-east-1:<account>:a1b2c3/*/GET/approvals." in result.output
        assert "/us-east-1/execute-api/" in str(desk.front.asked[0].headers["Authorization"])

    @pytest.mark.parametrize(("off", "said"), [(7, "7 minutes ahead of AWS"), (-6, "6 minutes behind AWS")])
    def test_a_wrong_clock_is_reported(self, desk: CliHarness, off: int, said: str) -> None:
        there = format_datetime(desk.clock() - timedelta(minutes=off), usegmt=True)
        desk.front.failures = [refusal({"message": "Forbidden"}, date=there)]
        result = desk.run("approvals")
        assert (result.exit_code, said[:20] in result.output) == (3, True)

    @pytest.mark.parametrize(
        ("body", "headers", "said"),
        [
            ({"message": "Signature expired: 20260601 is now earlier than 20260602"}, {}, "check the clock"),
            ({"message": "no"}, {"x-amzn-errortype": "InvalidSignatureException"}, "check the clock"),
            ({"message": "The security token included in the request is invalid."}, {}, "Sign in again"),
            ({"message": "no"}, {"x-amzn-errortype": "UnrecognizedClientException"}, "AWS does not know"),
            ({"Message": "User: x is not authorized to perform: execute-api:Invoke"}, {}, "needs a policy"),
            ({"message": "Forbidden"}, {"date": "the day before yesterday"}, "needs a policy"),
        ],
    )
    def test_the_denial_of_aws_decides_the_advice(
        self, desk: CliHarness, body: Mapping[str, str], headers: Mapping[str, str], said: str
    ) -> None:
        desk.front.failures = [refusal(body, **headers)]
        result = desk.run("approvals")
        assert (result.exit_code, said in result.output) == (Exit.UNREACHABLE, True), result.output

    @pytest.mark.parametrize(
        ("failure", "said"),
        [
            (503, "Try again: nothing is done twice."),
            (404, "no such route"),
            ({"statusCode": 200, "body": "<html>"}, "cannot be read"),
            ({"statusCode": 200, "body": '{"approvals": [{"hash": "x"}]}'}, "cannot be read"),
            ({"statusCode": 503, "body": '{"code": "unavailable", "detail": "Send the same delivery"}'}, "Try again"),
            (requests.ConnectionError("gone"), "could not be reached"),
        ],
    )
    def test_an_unreachable_api_is_reported(
        self, desk: CliHarness, failure: int | Exception | Response, said: str
    ) -> None:
        desk.front.failures = [failure]
        result = desk.run("approvals")
        assert (result.exit_code, said in result.output) == (Exit.UNREACHABLE, True), result.output

    def test_a_forged_signature_identifies_nobody(self, desk: CliHarness) -> None:
        forged = Identity(ReadOnlyCredentials("AKIAbob", "a guess", None), REGION)
        assert caller_of(signed(forged)) is None
        assert caller_of(signed(replace_secret(forged, "secret of bob"))) == ARNS["bob"]

    def test_a_session_carries_its_token_and_the_signature_covers_it(self) -> None:
        identity = Identity(ReadOnlyCredentials("AKIAbob", "secret of bob", "the session's token"), REGION)
        request = signed(identity)
        assert request.headers["X-Amz-Security-Token"] == "the session's token"
        assert "x-amz-security-token" in str(request.headers["Authorization"])
        assert caller_of(request) == ARNS["bob"]
        request.headers["X-Amz-Security-Token"] = "another one"
        assert caller_of(request) is None

    def test_the_signature_covers_the_body_and_the_route(self) -> None:
        identity = Identity(ReadOnlyCredentials("AKIAbob", "secret of bob", None), REGION)
        request = signed(identity)
        request.body = b'{"why": "another"}'
        assert caller_of(request) is None
        request = signed(identity)
        request.url = str(request.url).replace("reject", "approve")
        assert caller_of(request) is None

    def test_no_secret_is_shown(self) -> None:
        assert "secret of bob" not in repr(Identity(ReadOnlyCredentials("AKIAbob", "secret of bob", None), REGION))


def replace_secret(identity: Identity, secret: str) -> Identity:
    return Identity(identity.credentials._replace(secret_key=secret), identity.region)


def signed(identity: Identity) -> requests.PreparedRequest:
    made = requests.Request(
        "POST",
        "http://eu-west-1:4566/_aws/execute-api/a1b2/$default/approvals/abc/reject",
        json={"why": "ä"},
        auth=IdentityAuth(identity),
    )
    return requests.Session().prepare_request(made)
