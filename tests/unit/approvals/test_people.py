"""Who may do what from a chat tool: the operator's file."""

import pytest

from lifecycle.approvals.people import People
from lifecycle.domain.capabilities import TABLE, Action, Resource, capability
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import CONFIG, ORG

ADA = '[people.ada]\nslack = "T012ABCDE/U034FGHIJ"\nmay = ["run.archive"]\n'
REVERSIBLE = {"run.archive", "run.restore", "task.archive", "task.restore", "template.restore"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[people", "not TOML"),
        ("", "people: this key is missing"),
        ("[people.Ada]", "people.Ada"),
        (ADA + "[extra]", "extra: unknown key"),
        (ADA + "right = 1", "people.ada.right: unknown key"),
        (ADA.replace("T012ABCDE/", ""), "people.ada.slack"),
        (ADA.replace("T012ABCDE", "t012abcde"), "people.ada.slack"),
        (ADA.replace('["run.archive"]', "[]"), "people.ada.may"),
        (ADA.replace("run.archive", "run.delete"), "'may' may hold run.archive, run.restore"),
        (ADA.replace("run.archive", "template.archive"), "not template.archive"),
        (ADA.replace("run.archive", "tag.delete"), "not tag.delete"),
        (ADA.replace("run.archive", "run.destroy"), "not run.destroy"),
        (ADA + 'organization = "x"', "people.ada.organization"),
        (ADA + ADA.replace("people.ada", "people.grace"), "two people have the same slack user"),
    ],
)
def test_the_error_for_a_wrong_file_says_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        People.parse(text)
    assert refusal.value.code is Code.CONFIGURATION
    assert said in refusal.value.reason


def test_a_person_may_do_what_is_listed_and_nothing_irreversible() -> None:
    listed = ", ".join(f'"{name}"' for name in sorted(REVERSIBLE))
    [person] = People.parse(ADA.replace('"run.archive"', listed)).people.values()
    assert {doing.name for doing in TABLE if person.allows(doing)} == REVERSIBLE


def test_a_user_is_known_only_in_their_own_workspace() -> None:
    people = People.parse(ADA + f'organization = "{ORG}"')
    found = people.find("slack", ["T012ABCDE/U034FGHIJ"])
    assert found is not None
    assert (found[0], found[1].organization) == ("ada", ORG)
    for team, user in (("T099ABCDE", "U034FGHIJ"), ("T012ABCDE", "U034FGHIK"), ("", ""), ("T012ABCDE/U034FGHIJ", "")):
        assert people.find("slack", [f"{team}/{user}"]) is None


def test_the_shipped_file_is_valid() -> None:
    assert People.parse((CONFIG / "people.toml").read_text(encoding="utf-8")).people


def test_a_request_of_an_unknown_aws_identity_needs_one_more_approver() -> None:
    """The requester may be one of the approvers, under a session that the file does not name."""
    known = "arn:aws:iam::123456789012:user/ada"
    people = People.parse(f'[people.ada]\niam = "{known}"\nmay = ["run.archive"]\n')
    assert [people.needed(1, said) for said in (known, "ada", "automation")] == [1, 1, 1]
    assert people.needed(1, "arn:aws:sts::123456789012:assumed-role/Admin/ada") == 2
    assert people.needed(2, "arn:aws:iam::123456789012:root") == 3


USER = "arn:aws:iam::123456789012:user/team/grace"
SIGNED_IN = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0a1b2c3d4e5f6a7b/grace@example.com"
NAMED_AT_WILL = "arn:aws:sts::123456789012:assumed-role/Operators/grace"
FIXED = "[roles.Operators]\nsession_name_fixed = true\n"


def of_grace(arn: str, more: str = "") -> People:
    return People.parse(f'{more}[people.grace]\niam = "{arn}"\napproves = ["run.delete"]\n')


@pytest.mark.parametrize(
    ("arn", "more", "known"),
    [
        (USER, "", True),
        (SIGNED_IN, "", True),
        (NAMED_AT_WILL, FIXED, True),
        (NAMED_AT_WILL, "", False),
        (NAMED_AT_WILL, FIXED.replace("true", "false"), False),
        (NAMED_AT_WILL, FIXED.replace("Operators", "Others"), False),
        (NAMED_AT_WILL.replace("Operators", "Operators2"), FIXED, False),
        (NAMED_AT_WILL.replace("Operators", "MyAWSReservedSSO_x"), "", False),
    ],
)
def test_an_identity_proves_a_person_only_if_nobody_chooses_its_name(arn: str, more: str, *, known: bool) -> None:
    """A user of a role can choose the session name, so one person could appear as two."""
    people = of_grace(arn, more)
    assert (people.find_iam(arn) is not None) is known
    assert people.unproven == (() if known else ("grace",))
    assert people.needed(1, arn) == (1 if known else 2), "whoever asked may be one of the approvers"


def test_a_person_with_an_unproven_session_name_is_known_by_slack_only() -> None:
    people = People.parse(ADA + f'iam = "{NAMED_AT_WILL}"\n')
    assert people.find_iam(NAMED_AT_WILL) is None
    assert people.find("slack", ["T012ABCDE/U034FGHIJ"]) is not None
    assert people.unproven == ("ada",)
    assert people.is_reachable("ada"), "in Slack"
    assert not of_grace(NAMED_AT_WILL).is_reachable("grace")


@pytest.mark.parametrize("role", ["", "a b", "Team/Operators", "x" * 65, "arn:aws:iam::1:role/x"])
def test_an_invalid_role_name_is_refused(role: str) -> None:
    with pytest.raises(Rejected):
        of_grace(USER, f'[roles."{role}"]\nsession_name_fixed = true\n')


def test_a_role_says_whether_its_session_names_are_fixed() -> None:
    with pytest.raises(Rejected, match="session_name_fixed"):
        of_grace(USER, "[roles.Operators]\n")


# --- chat tools ---

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
IN_TEAMS = f'teams = "{TENANT}/8f0c2a3e-1b2d-4c5e-9f60-718293a4b5c6"\n'
IN_GOOGLE = 'google = "1a2b3c4/ada@example.com"\n'
RIGHTS = 'may = ["run.archive"]\nasks = ["run.delete"]\napproves = ["run.delete"]\n'
RUN_DELETE = capability(Resource.RUN, Action.DELETE)
RUN_ARCHIVE = capability(Resource.RUN, Action.ARCHIVE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[people.ada]\ngoogle = "ada@example.com"\nmay = ["run.archive"]\n', "people.ada.google"),
        ('[people.ada]\ngoogle = "1a2b3c4/Ada@Example.com"\nmay = ["run.archive"]\n', "people.ada.google"),
        ('[people.ada]\nteams = "ada"\nmay = ["run.archive"]\n', "people.ada.teams"),
        ('[people.ada]\nteam = "x"\nmay = ["run.archive"]\n', "teams"),
        (f'[people.ada]\n{IN_GOOGLE}asks = ["run.archive"]\n', "'asks' may hold"),
        (f'[people.ada]\n{IN_GOOGLE}may = ["run.delete"]\n', "'may' may hold"),
        (f"[people.ada]\n{IN_GOOGLE}{RIGHTS}[people.bob]\n{IN_GOOGLE}{RIGHTS}", "two people have the same google user"),
    ],
)
def test_a_mistake_about_a_chat_tool_is_named(text: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        People.parse(text)


def test_a_tool_that_proves_no_person_gives_reversible_rights_only() -> None:
    ada = People.parse(f"[people.ada]\n{IN_TEAMS}{IN_GOOGLE}{RIGHTS}").people["ada"]
    in_google, in_teams = (ada.seen_through(CHAT_TOOLS[tool]) for tool in ("google", "teams"))
    assert in_google.allows(RUN_DELETE)
    assert in_teams.allows(RUN_ARCHIVE)
    assert not in_teams.allows(RUN_DELETE)
    assert not in_teams.approves_of(frozenset({RUN_DELETE}), "5e" * 16)


def test_who_is_known_in_teams_alone_is_proven_by_nothing_and_nobody_may_ask_through_it() -> None:
    alone = People.parse(f"[people.ada]\n{IN_TEAMS}{RIGHTS}")
    assert not alone.is_reachable("ada")
    assert not any(alone.anybody_asks(tool, RUN_DELETE) for tool in CHAT_TOOLS.values())
    proven = People.parse(f"[people.ada]\n{IN_GOOGLE}{RIGHTS}")
    assert proven.is_reachable("ada")
    assert [name for name, tool in CHAT_TOOLS.items() if proven.anybody_asks(tool, RUN_DELETE)] == ["google"]


def test_one_person_has_one_name_in_every_tool_so_that_nobody_approves_their_own() -> None:
    people = People.parse(f'[people.ada]\nslack = "T012ABCDE/U034FGHIJ"\n{IN_TEAMS}{IN_GOOGLE}{RIGHTS}')
    for called in ("ada", "U034FGHIJ", "<@U034FGHIJ>", "1a2b3c4/ada@example.com", "ada@example.com"):
        assert people.name_of(called) == "ada"
    assert len(people.identities_of("ada")) == 3


def test_a_person_of_an_enterprise_grid_is_known_in_all_its_workspaces() -> None:
    people = People.parse('[people.ada]\nslack = "E01GRID/W034FGHIJ"\nmay = ["run.archive"]\n')
    assert people.find("slack", ["T012ABCDE/W034FGHIJ", "E01GRID/W034FGHIJ"]) is not None
    assert people.find("slack", ["T012ABCDE/W034FGHIJ", ""]) is None
    assert people.find("google", ["E01GRID/W034FGHIJ"]) is None
