"""The dashboard: each question of an operator has a row, and every graph reads a metric that exists."""

import json
import re

import pytest

from lifecycle.aws.metrics import Measure, Metric
from lifecycle.bootstrap.sqs_batch import MESSAGE_AGE
from tests.template.support import FUNCTIONS, STACK_NAME, Json, TransformedTemplate, cli_accepts

# Metrics of AWS that graphs read, with the dimension of each.
OF_AWS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/ApiGateway", "4xx"): "ApiId",
    ("AWS/ApiGateway", "5xx"): "ApiId",
}
QUESTIONS = (
    "Is anything paused or down?",
    "What waits, and for how long?",
    "What could not be done?",
    "What waits for approval?",
    "Did the last sweep finish?",
    "How fast does work go?",
    "What fails?",
)


@pytest.fixture
def widgets(template: TransformedTemplate) -> list[Json]:
    body = json.loads(template.text(template.properties("Dashboard")["DashboardBody"]))
    return list(body["widgets"])


def metrics(widget: Json) -> list[list[str]]:
    """The metrics of a graph, with "." replaced by what it repeats."""
    rows: list[list[str]] = []
    for row in widget["properties"]["metrics"]:
        rows.append([rows[-1][place] if part == "." else part for place, part in enumerate(row)])
    return rows


def test_each_question_of_an_operator_has_a_row_with_graphs(widgets: list[Json]) -> None:
    titles = {one["y"]: one["properties"]["markdown"].splitlines()[0] for one in widgets if one["type"] == "text"}
    assert list(titles.values()) == [f"## {question}" for question in QUESTIONS]
    for top in titles:
        graphs = [one for one in widgets if one["type"] == "metric" and one["y"] == top + 2]
        assert sum(one["width"] for one in graphs) == 24
        assert [one["x"] for one in graphs] == [sum(left["width"] for left in graphs[:n]) for n in range(len(graphs))]


def test_every_graph_reads_a_metric_that_is_emitted(widgets: list[Json]) -> None:
    for widget in widgets:
        if widget["type"] != "metric":
            continue
        assert widget["properties"]["region"] == "ap-southeast-2"
        for namespace, name, *dimensions in metrics(widget):
            if namespace == "TallyfyLifecycle":
                assert name in {*Metric, *Measure, MESSAGE_AGE}, name
                assert dimensions[-2:] == ["service", STACK_NAME], name
                assert (dimensions[0] == "queue") == (name == MESSAGE_AGE), name
            else:
                assert dimensions[0] == OF_AWS[namespace, name], name


def test_every_queue_and_every_function_is_on_the_dashboard(template: TransformedTemplate) -> None:
    body = template.properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    shown = set(re.findall(r"\$\{(\w+)(?:\.QueueName)?\}", body))
    assert set(template.of_type("AWS::SQS::Queue")) | set(FUNCTIONS) <= shown


def test_each_command_on_the_dashboard_can_be_pasted(widgets: list[Json]) -> None:
    commands = [
        found for one in widgets if one["type"] == "text" for found in re.findall("`([^`]+)`", str(one["properties"]))
    ]
    assert len(commands) == len(QUESTIONS) - 1
    assert [command for command in commands if not cli_accepts(command)] == []


def test_dashboards_of_two_regions_do_not_share_a_name(template: TransformedTemplate) -> None:
    """An account has one namespace for the dashboards of all regions."""
    assert template.properties("Dashboard")["DashboardName"] == {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}
