"""Every alarm, notice and code has a section in the runbook, and nothing has one that does not exist."""

import re

import pytest

from lifecycle.domain.errors import Code
from tests.template.support import load, many, target
from tests.unit.docs.documents import anchors, page, sections

RUNBOOK = page("runbook.md")
PARTS = sections(RUNBOOK, 2)
CODES = sections(RUNBOOK, 4)


def kebab(logical_id: str) -> str:
    """A logical id as an anchor: `PagedAlarm` is `paged-alarm`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", logical_id).lower()


def test_the_runbook_has_a_section_for_each_alarm_and_no_other() -> None:
    alarms = {kebab(name) for name in load().of_type("AWS::CloudWatch::Alarm")}
    assert {anchor for title in sections(PARTS["Alarms"], 3) for anchor in anchors(f"# {title}")} == alarms


def test_the_runbook_has_a_section_for_each_notice_and_no_other() -> None:
    rules = load().of_type("AWS::Events::Rule")
    notices = {
        kebab(name)
        for name, rule in rules.items()
        if any(target(one["Arn"]) == "AlarmTopic" for one in many(rule["Properties"]["Targets"]))
    }
    assert {anchor for title in sections(PARTS["Notices"], 3) for anchor in anchors(f"# {title}")} == notices
    assert notices


def test_the_runbook_has_a_section_for_each_code_and_no_other() -> None:
    assert sorted(title.strip("`") for title in CODES) == sorted(Code)


@pytest.mark.parametrize(
    ("title", "text"),
    [*sections(PARTS["Alarms"], 3).items(), *sections(PARTS["Notices"], 3).items(), *CODES.items()],
    ids=lambda part: part[:30].strip("`"),
)
def test_each_section_gives_the_meaning_the_checks_and_the_stop_condition(title: str, text: str) -> None:
    assert "**Means.**" in text, title
    assert "**Look at**" in text, title
    assert "**Stop worrying when**" in text, title


def test_the_cost_of_alarms_is_for_the_number_in_the_template() -> None:
    assert f"| {len(load().of_type('AWS::CloudWatch::Alarm'))} alarms |" in page("deploy.md")


def test_each_alarm_leads_to_its_own_section() -> None:
    template = load()
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
        links = re.findall(r"docs/runbook\.md#([\w-]+)", template.text(alarm["Properties"]["AlarmDescription"]))
        assert links == [kebab(name)], name


def test_a_logical_id_is_turned_into_its_anchor() -> None:
    assert kebab("ApiServerErrorsAlarm") == "api-server-errors-alarm"
