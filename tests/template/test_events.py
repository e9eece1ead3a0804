"""The event bus: what comes in, and who may send."""

from lifecycle.aws.eventbridge import SOURCE
from lifecycle.intake.sources import Sources
from lifecycle.notices.texts import WRITERS
from tests.template.support import (
    ROOT,
    TransformedTemplate,
    load,
    target,
)


def test_the_rule_of_incoming_events_excludes_our_own_outcomes(template: TransformedTemplate) -> None:
    rule = template.properties("IncomingEventsRule")
    assert target(rule["EventBusName"]) == "Bus"
    assert rule["EventPattern"] == {
        "source": [{"anything-but": SOURCE}],
        "detail-type": {"Ref": "IncomingDetailTypes"},
    }
    assert template.source["Parameters"]["IncomingDetailTypes"]["Type"] == "CommaDelimitedList"
    (to,) = rule["Targets"]
    assert target(to["Arn"]) == "EventsQueue"
    assert target(to["DeadLetterConfig"]["Arn"]) == "EventsDeadLetterQueue"


def test_every_other_rule_on_the_bus_notifies_people(template: TransformedTemplate) -> None:
    rules = {
        name: [target(to["Arn"]) for to in made["Properties"]["Targets"]]
        for name, made in template.of_type("AWS::Events::Rule").items()
    }
    assert rules.pop("IncomingEventsRule") == ["EventsQueue"]
    assert rules.pop("ChatNoticeRule") == ["ChatQueue"]
    assert set(map(tuple, rules.values())) == {("AlarmTopic",)}


def test_every_event_that_has_a_notice_goes_to_the_chat_queue_and_no_other(template: TransformedTemplate) -> None:
    pattern = template.properties("ChatNoticeRule")["EventPattern"]
    assert set(pattern["detail-type"]) == set(WRITERS)
    assert pattern["source"] == ["tallyfy-lifecycle"]


def test_a_partners_bus_is_heard_like_our_own_if_it_is_named(template: TransformedTemplate) -> None:
    assert "PartnerEventsRule" not in template.of_type("AWS::Events::Rule")
    named = load(PartnerBus="aws.partner/salesforce.com/00Dxx0000000001EAA/0YLxx0000000001GAA")
    partner, ours = named.properties("PartnerEventsRule"), named.properties("IncomingEventsRule")
    assert named.choose(partner["EventBusName"]) == "aws.partner/salesforce.com/00Dxx0000000001EAA/0YLxx0000000001GAA"
    assert {**partner, "EventBusName": "", "Description": ""} == {**ours, "EventBusName": "", "Description": ""}


def test_every_detail_type_that_a_source_declares_is_accepted(template: TransformedTemplate) -> None:
    sources = Sources.parse((ROOT / "layers" / "config" / "sources.toml").read_text())
    declared = {name for source in sources.sources.values() for name in source.scheme.wanted_detail_types}
    assert declared <= set(template.parameters["IncomingDetailTypes"].split(","))


def test_no_other_account_may_send_by_default(template: TransformedTemplate) -> None:
    assert template.parameters["EventSenderAccountIds"] == ""
    assert not template.of_type("AWS::Events::EventBusPolicy")


def test_a_named_account_may_send_but_not_under_our_source() -> None:
    named = load(EventSenderAccountIds="111122223333,444455556666")
    (policy,) = named.of_type("AWS::Events::EventBusPolicy").values()
    assert target(policy["Properties"]["EventBusName"]) == "Bus"
    made = policy["Properties"]["Statement"]
    assert (made["Effect"], made["Action"], target(made["Resource"])) == ("Allow", "events:PutEvents", "Bus")
    assert named.choose(made["Principal"]["AWS"]["Fn::Split"]) == [",", "111122223333,444455556666"]
    assert made["Condition"] == {"ForAllValues:StringNotEquals": {"events:source": SOURCE}}
