"""Eight presets as sources of the deployed stack: each with its own table, and once more with one to be corrected."""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from lifecycle.intake.presets import load_preset
from lifecycle.intake.sources import Sources
from sandbox.stack import ROOT, LocalStack
from tests.harness.presets import secret_of

NAMES = ("asana", "gitlab", "monday", "pipedrive", "salesforce-outbound", "slack-workflow", "stripe", "trello")
"""One of each kind: a secret that is handed over, an echo, a probe, a header with parts, ids that are signed, a signed
URL, a key in the path, Basic, XML."""
BROKEN = "-later"
"""Ends the name of the source whose table does not fit until it is corrected."""
PARTNER_BUS = "partner-events"
PARTNER_SOURCE = "com.example.salesforce"
PARTNER_DETAIL_TYPE = "Project_Closed__e"
_TAG = re.compile(r"find = \{ tag = .*? \}\n")


def declared(*, corrected: bool = False) -> str:
    """The repository's sources.toml with these sources below it."""
    # Nobody but a partner may send under a source that begins with aws.
    tables = [load_preset("salesforce-events").example.replace("aws.partner/salesforce.com", PARTNER_SOURCE)]
    for name in NAMES:
        example = load_preset(name).example
        tag = f"'mended-{name}'" if corrected else "body.no_such_key"
        later = _TAG.sub(f'find = {{ tag = "{tag}" }}\n', example).replace(f"sources.{name}", f"sources.{name}{BROKEN}")
        tables += [example, later]
    text = "\n".join([(ROOT / "layers" / "config" / "sources.toml").read_text(), *tables])
    Sources.parse(text)
    return text


def secrets() -> dict[str, tuple[str, ...]]:
    """The secrets of these sources. Asana hands its own over."""
    return {f"{name}{end}": (secret_of(name),) for name in NAMES for end in ("", BROKEN)}


@contextmanager
def corrected_table(stack: LocalStack) -> Iterator[None]:
    """As a deploy with the corrected sources.toml would leave the function that sends deliveries again."""
    function = stack.physical_id("EventFunction")
    layers = [one["Arn"] for one in stack.functions.get_function_configuration(FunctionName=function).get("Layers", [])]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (ROOT / "layers" / "config").glob("*.toml"):
            text = declared(corrected=True) if path.name == "sources.toml" else path.read_text()
            archive.writestr(f"python/lifecycle_config/{path.name}", text)
        archive.writestr("python/lifecycle_config/__init__.py", "")
    made = stack.functions.publish_layer_version(LayerName="corrected", Content={"ZipFile": packed.getvalue()})
    config = [arn for arn in layers if "ConfigLayer" in arn or "config" in arn.lower()]
    assert len(config) == 1, layers
    update = stack.functions.update_function_configuration
    update(FunctionName=function, Layers=[made["LayerVersionArn"] if arn in config else arn for arn in layers])
    try:
        yield
    finally:
        update(FunctionName=function, Layers=layers)
