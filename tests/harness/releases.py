"""The last release: its source, if this repository still has it, and what its template promised to a later one."""

import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from sandbox.build import ROOT
from sandbox.language_extensions import expanded

type Json = Any

RECORDED = ROOT / "tests" / "releases" / "v0.1.0" / "promises.json"
"""What 0.1.0 promises, and the revision from which that was taken. It counts until there is a tag."""
FIXED: Mapping[str, tuple[str, ...]] = {
    "AWS::DynamoDB::Table": ("TableName", "KeySchema"),
    "AWS::Events::EventBus": ("Name",),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::SNS::Topic": ("TopicName",),
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::Scheduler::ScheduleGroup": ("Name",),
    "AWS::SecretsManager::Secret": ("Name", "GenerateSecretString"),
    "AWS::Serverless::HttpApi": (),
}
"""What holds rows, messages, files, keys or an address: another logical id, or another value of these properties, and
CloudFormation replaces it by an empty one."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its tag, or by the revision that stands in for it."""

    revision: str
    is_tagged: bool

    def has_source(self) -> bool:
        """Whether this repository has it. An archive or a shallow clone has not."""
        return _git("cat-file", "-e", f"{self.revision}^{{commit}}") is not None

    def unpack(self, place: Path) -> Path:
        """Write its whole source into a folder."""
        packed = _git("archive", "--format=tar", self.revision)
        assert packed is not None
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(place, filter="data")
        return place


def last_release() -> Release:
    """The newest tag, else what stands in for 0.1.0."""
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if tag is not None:
        return Release(tag.decode().strip(), is_tagged=True)
    return Release(json.loads(RECORDED.read_text())["revision"], is_tagged=False)


def promised(place: Path) -> Json:
    """What the template of the last release promises; ``place`` is a folder for it."""
    release = last_release()
    if release.is_tagged:
        return promises_of(release.revision, place)
    return json.loads(RECORDED.read_text())["promises"]


def promises_of(revision: str, place: Path) -> Json:
    """As ``promised``, of any revision that this repository has."""
    template = _git("show", f"{revision}:template.yaml")
    assert template is not None
    (place / "template.yaml").write_bytes(template)
    return promises(expanded(place / "template.yaml"))


def promises(template: Json) -> Json:
    """What a later template must keep, so that an upgrade loses nothing: resources, parameters and outputs."""
    kept = {name: one for name, one in template["Resources"].items() if one["Type"] in FIXED}
    return {
        "resources": {
            name: {
                "Type": one["Type"],
                "Retained": str(one.get("DeletionPolicy", "")).startswith("Retain"),
                **{key: one.get("Properties", {}).get(key) for key in FIXED[one["Type"]]},
            }
            for name, one in sorted(kept.items())
        },
        "parameters": {name: one.get("AllowedValues") for name, one in sorted(template["Parameters"].items())},
        "outputs": sorted(template["Outputs"]),
    }


def broken(old: Json, template: Json) -> Iterator[str]:
    """What an upgrade from the old promises to this template would lose, or ask for."""
    new = promises(template)
    for name, one in old["resources"].items():
        if name not in new["resources"]:
            yield f"{name} is gone: CloudFormation deletes it, with what it holds"
        elif new["resources"][name] != one:
            yield f"{name} is another one: CloudFormation replaces it by an empty one"
    for name, allowed in old["parameters"].items():
        if name not in new["parameters"]:
            yield f"the parameter {name} is gone: samconfig.toml may set it"
        elif not set(new["parameters"][name] or allowed or ()) >= set(allowed or ()):
            yield f"the parameter {name} takes fewer values"
    for name, one in template["Parameters"].items():
        if name not in old["parameters"] and "Default" not in one:
            yield f"the parameter {name} is new and has no default"
    for name in old["outputs"]:
        if name not in new["outputs"]:
            yield f"the output {name} is gone: commands of the old release read it"


def _git(*words: str) -> bytes | None:
    """What git prints; ``None`` if it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)  # noqa: S607
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
