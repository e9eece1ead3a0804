"""What a stack is and holds in the account, what stays when it is deleted, and how each piece is removed.

CloudFormation keeps the events of a deleted stack for 90 days, with the names of the resources that it left. So a
removal that was cut off is continued from AWS alone, and what somebody else's deletion left can be listed, too.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.clients.leftover_bucket import LeftoverBucket
from cli.ui.errors import CliError, Exit
from lifecycle.aws.errors import error_code

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_secretsmanager.type_defs import SecretListEntryTypeDef

RECOVERY_DAYS: Final = 7
"""So long a deleted secret can be restored. Its name is taken until then."""
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})
_DELETED = "DELETE_COMPLETE"
_FAILED = "DELETE_FAILED"
_GONE = frozenset({"ResourceNotFoundException", "NoSuchEntity"})
"""Error codes of AWS for what does not exist."""
_NO_STACK = "ValidationError"
"""CloudFormation's answer for a stack that it does not know."""
_POLL_SECONDS = 5.0
_DELETE_POLLS = 360
_TABLE_POLLS = 24
_RULE = "AWS::Events::Rule"
_POLICIES = ("OperatorsPolicy", "ApproversPolicy")


class Piece(StrEnum):
    """The kinds of pieces, in the order in which they are removed."""

    PROTECTION = "termination protection"
    RULE = "rule on the bus"
    ATTACHMENT = "attached policy"
    SCHEDULES = "delayed commands"
    STACK = "stack"
    LOGS = "log group"
    SECRET = "secret"  # noqa: S105 # nosec B105 - a kind of piece
    PLANS = "plans bucket"
    LEDGER = "ledger table"
    ID_KEY = "id key"
    AUDIT = "audit bucket"
    EXPORTS = "exports bucket"


BUCKETS: Final = {Piece.PLANS: "PlansBucket", Piece.AUDIT: "AuditBucket", Piece.EXPORTS: "ExportsBucket"}
RETAINED: Final = {*BUCKETS.values(), "LedgerTable", "IdKeySecret"}
"""The logical ids of what CloudFormation leaves when it deletes the stack."""


@dataclass(frozen=True, slots=True)
class Remnant:
    """One piece in the account. ``size`` is in bytes; ``of`` is what it hangs on, such as the bus of a rule."""

    piece: Piece
    name: str
    of: str = ""
    count: int | None = None
    size: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class FoundStack:
    """A stack of this name, deployed or deleted."""

    id: str
    status: str

    @property
    def is_deleted(self) -> bool:
        """Whether only its record is left."""
        return self.status == _DELETED


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource of a stack: its name in the template, its name in the account, and its type."""

    logical: str
    physical: str
    type: str


class Footprint(Protocol):
    """What a stack is in the account."""

    def stacks(self) -> list[FoundStack]:
        """The stacks of this name: the deployed one first, then the deleted ones that CloudFormation still knows."""

    def parts(self) -> Mapping[str, Callable[[], list[Remnant]]]:
        """What can be listed, each part by itself. A part raises what AWS answers if it may not be read."""

    def remove(self, one: Remnant) -> None:
        """Remove one piece; one that is gone is no error.

        Raises:
            CliError: It is still there, wholly or in part. The message says why and what to do.
        """


class AwsFootprint:
    """A stack on AWS, or on whatever AWS_ENDPOINT_URL names. ``sleep`` waits for so many seconds."""

    def __init__(self, name: str, region: str | None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._name = name
        self._session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
        self._sleep = sleep
        self._elsewhere: dict[str, bool] = {}

    def stacks(self) -> list[FoundStack]:
        """See `Footprint`."""
        return self._stacks

    def parts(self) -> Mapping[str, Callable[[], list[Remnant]]]:
        """See `Footprint`."""
        live = {
            "stack": self._stack,
            "rules on the bus": self._rules,
            "attached policies": self._attachments,
            "delayed commands": self._schedules,
        }
        buckets = {piece.value: partial(self._buckets, piece) for piece in BUCKETS}
        stays = {"log groups": self._logs, "secrets": self._secrets, "ledger table": self._tables, "id key": self._key}
        first = {"resources of the deleted stack": self._check_events} if self._deployed is None else live
        return first | stays | buckets

    def remove(self, one: Remnant) -> None:
        """See `Footprint`."""
        removers: dict[Piece, Callable[[Remnant], None]] = {
            Piece.PROTECTION: _refuse,
            Piece.SCHEDULES: lambda _: None,  # They go with the stack.
            Piece.STACK: self._delete_stack,
            Piece.RULE: self._remove_rule,
            Piece.ATTACHMENT: self._detach,
            Piece.LOGS: lambda one: self._client("logs").delete_log_group(logGroupName=one.name),
            Piece.LEDGER: self._remove_table,
            **dict.fromkeys((Piece.SECRET, Piece.ID_KEY), self._remove_secret),
            **dict.fromkeys(BUCKETS, lambda one: LeftoverBucket(self._client("s3"), one.name).remove()),
        }
        try:
            removers[one.piece](one)
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise

    # --- what there is ------------------------------------------------------------------------------------------------

    @cached_property
    def _cloudformation(self) -> "CloudFormationClient":
        return self._session.client("cloudformation", config=_CONFIG)

    def _client(self, service: str) -> Any:  # noqa: ANN401 - the clients have no common type
        return self._session.client(service, config=_CONFIG)  # type: ignore[call-overload]

    @cached_property
    def _stacks(self) -> list[FoundStack]:
        pages = self._cloudformation.get_paginator("list_stacks").paginate()
        named = [one for page in pages for one in page["StackSummaries"] if one["StackName"] == self._name]
        newest = sorted(named, key=lambda one: one["CreationTime"], reverse=True)
        found = [FoundStack(one.get("StackId", ""), one["StackStatus"]) for one in newest]
        return sorted(found, key=lambda one: one.is_deleted)

    @property
    def _deployed(self) -> FoundStack | None:
        return next((one for one in self._stacks if not one.is_deleted), None)

    @cached_property
    def _resources(self) -> list[_Resource]:
        """The resources of the deployed stack, then what every stack of this name left, each once."""
        found: dict[str, _Resource] = {}
        for stack in self._stacks:
            for one in (*self._listed(stack), *self._remembered(stack)):
                if one.physical:
                    found.setdefault(one.physical, one)
        return list(found.values())

    def _listed(self, stack: FoundStack) -> Iterator[_Resource]:
        if stack.is_deleted:
            return
        for page in self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.id):
            for one in page["StackResourceSummaries"]:
                yield _Resource(one["LogicalResourceId"], one.get("PhysicalResourceId", ""), one["ResourceType"])

    def _remembered(self, stack: FoundStack) -> Iterator[_Resource]:
        """What is retained if it is deleted or replaced, from the events of the stack."""
        for page in self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack.id):
            for one in page["StackEvents"]:
                logical, physical = one.get("LogicalResourceId", ""), one.get("PhysicalResourceId", "")
                if logical in RETAINED and physical and not self._is_used_elsewhere(physical):
                    yield _Resource(logical, physical, one.get("ResourceType", ""))

    def _is_used_elsewhere(self, physical: str) -> bool:
        """Whether a stack of another name holds it, such as one that imported a retained table."""
        if physical not in self._elsewhere:
            try:
                holders = self._cloudformation.describe_stack_resources(PhysicalResourceId=physical)["StackResources"]
            except ClientError as error:
                if error_code(error) != _NO_STACK:
                    raise
                holders = []
            self._elsewhere[physical] = any(one.get("StackName") != self._name for one in holders)
        return self._elsewhere[physical]

    def _check_events(self) -> list[Remnant]:
        """No remnants. Raises ``CliError`` where CloudFormation does not say what the deleted stacks left."""
        if not self._physical(*RETAINED):
            raise CliError(
                "CloudFormation does not say what the stack left. Look for buckets, a table and secrets whose names "
                f"begin with {self._name}."
            )
        return []

    def _physical(self, *logical: str) -> list[str]:
        return [one.physical for one in self._resources if one.logical in logical]

    def _stack(self) -> list[Remnant]:
        [one] = [one for one in self._stacks if not one.is_deleted]
        described = self._cloudformation.describe_stacks(StackName=one.id)["Stacks"][0]
        protected = []
        if described.get("EnableTerminationProtection"):
            how = f"update-termination-protection --no-enable-termination-protection --stack-name {self._name}"
            protected = [Remnant(Piece.PROTECTION, self._name, note=f"lift it first: aws cloudformation {how}")]
        count = len([each for each in self._resources if each.logical not in RETAINED])
        return [*protected, Remnant(Piece.STACK, self._name, one.id, count, note=f"{one.status}; queues included")]

    def _rules(self) -> list[Remnant]:
        """Rules on the bus, which has the name of the stack, that are not the stack's."""
        own = {one.physical.rpartition("|")[2].rpartition("/")[2] for one in self._resources if one.type == _RULE}
        pages = self._client("events").get_paginator("list_rules").paginate(EventBusName=self._name)
        return [
            Remnant(Piece.RULE, rule["Name"], self._name, note=_managed(rule.get("ManagedBy", "")))
            for page in _until_gone(pages)
            for rule in page["Rules"]
            if rule["Name"] not in own
        ]

    def _attachments(self) -> list[Remnant]:
        pages = self._client("iam").get_paginator("list_entities_for_policy")
        kinds = (("role", "PolicyRoles"), ("user", "PolicyUsers"), ("group", "PolicyGroups"))
        return [
            Remnant(Piece.ATTACHMENT, f"{kind} {one[f'{kind.title()}Name']}", arn)
            for arn in self._physical(*_POLICIES)
            for page in _until_gone(pages.paginate(PolicyArn=arn))
            for kind, field in kinds
            for one in page.get(field, [])
        ]

    def _schedules(self) -> list[Remnant]:
        pages = self._client("scheduler").get_paginator("list_schedules")
        groups = self._physical("LaterGroup")
        counts = {
            one: sum(len(page["Schedules"]) for page in _until_gone(pages.paginate(GroupName=one))) for one in groups
        }
        return [Remnant(Piece.SCHEDULES, group, count=count) for group, count in counts.items() if count]

    def _logs(self) -> list[Remnant]:
        pages = self._client("logs").get_paginator("describe_log_groups")
        return [
            Remnant(Piece.LOGS, one["logGroupName"], size=one.get("storedBytes", 0))
            for prefix in (f"/aws/lambda/{self._name}/", f"/aws/vendedlogs/{self._name}/")
            for page in pages.paginate(logGroupNamePrefix=prefix)
            for one in page["logGroups"]
        ]

    def _secrets(self) -> list[Remnant]:
        pages = self._client("secretsmanager").get_paginator("list_secrets")
        named = pages.paginate(Filters=[{"Key": "name", "Values": [f"{self._name}/"]}])
        listed: Iterator[SecretListEntryTypeDef] = (one for page in named for one in page["SecretList"])
        return [
            Remnant(Piece.SECRET, one.get("Name", ""), one.get("ARN", ""))
            for one in listed
            if one.get("Name", "").startswith(f"{self._name}/") and "DeletedDate" not in one
        ]

    def _key(self) -> list[Remnant]:
        client = self._client("secretsmanager")
        described = _known(lambda arn: client.describe_secret(SecretId=arn), self._physical("IdKeySecret"))
        return [Remnant(Piece.ID_KEY, one["Name"], one["ARN"]) for one in described if "DeletedDate" not in one]

    def _tables(self) -> list[Remnant]:
        client = self._client("dynamodb")
        described = _known(lambda name: client.describe_table(TableName=name)["Table"], self._physical("LedgerTable"))
        return [
            Remnant(
                Piece.LEDGER,
                one["TableName"],
                count=one.get("ItemCount"),
                size=one.get("TableSizeBytes"),
                note=_counted(protected=bool(one.get("DeletionProtectionEnabled"))),
            )
            for one in described
            if one.get("TableStatus") != "DELETING"
        ]

    def _buckets(self, piece: Piece) -> list[Remnant]:
        found = []
        for name in self._physical(BUCKETS[piece]):
            contents = LeftoverBucket(self._client("s3"), name).contents()
            if contents is not None:
                found.append(Remnant(piece, name, "", contents.versions, contents.size, contents.note))
        return found

    # --- how it goes --------------------------------------------------------------------------------------------------

    def _remove_rule(self, one: Remnant) -> None:
        client = self._client("events")
        targets = client.list_targets_by_rule(Rule=one.name, EventBusName=one.of)["Targets"]
        if targets:
            client.remove_targets(Rule=one.name, EventBusName=one.of, Ids=[target["Id"] for target in targets])
        client.delete_rule(Name=one.name, EventBusName=one.of)

    def _detach(self, one: Remnant) -> None:
        kind, _, who = one.name.partition(" ")
        detach = getattr(self._client("iam"), f"detach_{kind}_policy")
        detach(**{f"{kind.title()}Name": who, "PolicyArn": one.of})

    def _remove_secret(self, one: Remnant) -> None:
        self._client("secretsmanager").delete_secret(SecretId=one.of, RecoveryWindowInDays=RECOVERY_DAYS)

    def _remove_table(self, one: Remnant) -> None:
        client, name = self._client("dynamodb"), one.name
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
        for _ in range(_TABLE_POLLS):
            if client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE":
                break
            self._sleep(_POLL_SECONDS)
        client.delete_table(TableName=name)

    def _delete_stack(self, one: Remnant) -> None:
        """Delete the stack, and return once it is gone."""
        deployed, name = self._deployed, one.name
        if deployed is None:
            return
        self._cloudformation.delete_stack(StackName=deployed.id)
        for _ in range(_DELETE_POLLS):
            status = self._status(deployed.id)
            if status == _DELETED:
                return
            if status == _FAILED:
                message = f"CloudFormation could not delete {name}: {self._reasons(deployed.id)}"
                raise CliError(f"{message} Correct that, then run the same command again.")
            self._sleep(_POLL_SECONDS)
        raise CliError(f"{name} is still being deleted. Run the same command again later.", Exit.PENDING)

    def _status(self, stack_id: str) -> str:
        try:
            return self._cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if error_code(error) == _NO_STACK:
                return _DELETED
            raise

    def _reasons(self, stack_id: str) -> str:
        events = self._cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
        failed = [
            one for one in events if one.get("ResourceStatus") == _FAILED and one.get("PhysicalResourceId") != stack_id
        ]
        told = (f"{one.get('LogicalResourceId', '')}: {one.get('ResourceStatusReason', 'no reason')}" for one in failed)
        return "; ".join(dict.fromkeys(told)) or "see its events."


def _refuse(one: Remnant) -> None:
    raise CliError(f"Termination protection is on. {one.note}", Exit.USAGE)


def _counted(*, protected: bool) -> str:
    counted = "DynamoDB counts about every six hours"
    return f"deletion protection is lifted first; {counted}" if protected else counted


def _managed(by: str) -> str:
    return f"managed by {by}: remove it there" if by else ""


def _until_gone(pages: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The pages of a list; none if AWS does not know what is listed."""
    try:
        yield from pages
    except ClientError as error:
        if error_code(error) not in _GONE:
            raise


def _known(describe: Callable[[str], Mapping[str, Any]], names: list[str]) -> Iterator[Mapping[str, Any]]:
    """What AWS answers of each name, without those that it does not know."""
    for name in names:
        try:
            yield describe(name)
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise
