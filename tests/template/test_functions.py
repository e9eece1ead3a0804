"""Functions and layers: settings, log groups and architectures."""

import pytest

from lifecycle.bootstrap.settings import (
    Settings,
    WorkerSettings,
)
from tests.template.support import (
    FUNCTIONS,
    POWERTOOLS_VARIABLES,
    SETTINGS,
    TransformedTemplate,
    allowed,
    role_of,
    target,
)


def test_every_function_is_covered_by_these_tests(template: TransformedTemplate) -> None:
    assert set(template.of_type("AWS::Lambda::Function")) == set(FUNCTIONS)


def test_no_function_has_an_alias_that_would_hide_a_new_layer(template: TransformedTemplate) -> None:
    assert not template.of_type("AWS::Lambda::Alias")
    assert not template.of_type("AWS::Lambda::Version")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_logs_into_its_own_group_with_a_retention(template: TransformedTemplate, function: str) -> None:
    group = target(template.properties(function)["LoggingConfig"]["LogGroup"])
    assert template.resources[group]["Type"] == "AWS::Logs::LogGroup"
    assert "RetentionInDays" in template.properties(group)
    assert allowed(template, function, "logs") == {"logs:CreateLogStream": {group}, "logs:PutLogEvents": {group}}


def test_no_two_functions_share_a_log_group_or_a_role(template: TransformedTemplate) -> None:
    groups = {target(template.properties(name)["LoggingConfig"]["LogGroup"]) for name in FUNCTIONS}
    assert len(groups) == len({role_of(template, name) for name in FUNCTIONS}) == len(FUNCTIONS)


@pytest.mark.parametrize(("function", "settings"), SETTINGS.items())
def test_each_function_is_given_exactly_the_variables_that_it_reads(
    template: TransformedTemplate, function: str, settings: type[Settings]
) -> None:
    given = set(template.properties(function)["Environment"]["Variables"])
    assert given >= POWERTOOLS_VARIABLES
    assert given - POWERTOOLS_VARIABLES == {name.upper() for name in settings.model_fields} - POWERTOOLS_VARIABLES


@pytest.mark.parametrize(("function", "settings"), SETTINGS.items())
def test_each_function_can_read_the_default_of_every_parameter(
    template: TransformedTemplate, function: str, settings: type[Settings]
) -> None:
    given = template.properties(function)["Environment"]["Variables"]
    values = {name: template.choose(value) for name, value in given.items()}
    settings.read({name: value if isinstance(value, str) else target(value) for name, value in values.items()})


def test_the_bulk_worker_waits_behind_the_commands_of_people(template: TransformedTemplate) -> None:
    lanes = {
        function: template.properties(function)["Environment"]["Variables"]["LANE"]
        for function, settings in SETTINGS.items()
        if issubclass(settings, WorkerSettings)
    }
    assert lanes == {"WorkerFunction": "people", "BulkWorkerFunction": "bulk", "PurgeFunction": "people"}


def test_no_function_is_traced_by_default(template: TransformedTemplate) -> None:
    assert template.source["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
    assert template.parameters["Tracing"] == "PassThrough"


def test_a_sweep_of_a_million_resources_has_five_times_the_disk_that_it_needs(template: TransformedTemplate) -> None:
    needed = 50  # MB, measured by tests/benchmarks/test_sweep.py. Files of a killed invocation stay, hence more.
    assert template.properties("SweepFunction").get("EphemeralStorage", {"Size": 512})["Size"] >= 5 * needed


def test_functions_and_layers_have_the_same_architecture(template_of_each_architecture: TransformedTemplate) -> None:
    template = template_of_each_architecture
    wanted = template.parameters["Architecture"]
    for function in FUNCTIONS:
        properties = template.properties(function)
        assert template.choose(properties["Architectures"]) == [wanted]
        layers = [template.resources[target(layer)] for layer in template.choose(properties["Layers"])]
        assert len(layers) == 3
        for layer in layers:
            assert wanted in layer["Properties"]["CompatibleArchitectures"]


def test_only_the_dependencies_of_the_chosen_architecture_are_deployed(
    template_of_each_architecture: TransformedTemplate,
) -> None:
    template = template_of_each_architecture
    layers = template.of_type("AWS::Lambda::LayerVersion").values()
    compiled = [layer for layer in layers if len(layer["Properties"]["CompatibleArchitectures"]) == 1]
    assert [layer["Properties"]["CompatibleArchitectures"] for layer in compiled] == [
        [template.parameters["Architecture"]]
    ]


def test_each_compiled_layer_is_built_for_its_architecture(template: TransformedTemplate) -> None:
    for name in ("DependenciesArm64Layer", "DependenciesX86Layer"):
        layer = template.source["Resources"][name]
        assert [layer["Metadata"]["BuildArchitecture"]] == layer["Properties"]["CompatibleArchitectures"]
