"""The ledger and the buckets of plans and exports."""

import json
import tomllib

from lifecycle.tallyfy.export_reader import MOST_FILE_BYTES
from tests.template.support import (
    DAY,
    FUNCTIONS,
    PLACEHOLDER,
    ROOT,
    Json,
    TransformedTemplate,
    load,
    statements,
    target,
)


def test_the_ledger_and_the_id_key_outlive_the_stack(template: TransformedTemplate) -> None:
    for name in ("LedgerTable", "IdKeySecret"):
        resource = template.resources[name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    table = template.properties("LedgerTable")
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["SSESpecification"]["SSEEnabled"] is True


def test_the_ledger_has_the_keys_that_the_code_uses(template: TransformedTemplate) -> None:
    table = template.properties("LedgerTable")
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
        ("pk", "HASH"),
        ("sk", "RANGE"),
    ]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_id_key_is_never_rotated(template: TransformedTemplate) -> None:
    assert not template.of_type("AWS::SecretsManager::RotationSchedule")


def test_every_bucket_is_covered_by_these_tests(template: TransformedTemplate) -> None:
    assert set(template.of_type("AWS::S3::Bucket")) == {"PlansBucket", "ExportsBucket", "AuditBucket"}


def test_the_plans_bucket_is_versioned_encrypted_and_private(template: TransformedTemplate) -> None:
    made = template.properties("PlansBucket")
    assert made["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "BucketName" not in made


def test_the_plans_bucket_outlives_the_stack(template: TransformedTemplate) -> None:
    resource = template.resources["PlansBucket"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_the_plans_bucket_refuses_plain_http_and_admits_nobody_else(template: TransformedTemplate) -> None:
    policy = template.properties("PlansBucketPolicy")
    assert target(policy["Bucket"]) == "PlansBucket"
    (deny,) = policy["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["PlansBucket", "PlansBucket"]
    assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_parts_of_listings_expire_soon_and_plans_after_plan_days(template: TransformedTemplate) -> None:
    rules = {rule["Id"]: rule for rule in template.properties("PlansBucket")["LifecycleConfiguration"]["Rules"]}
    assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
    days = {"Ref": "PlanDays"}
    kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules.values() if "Prefix" in rule}
    assert kept == {"sweeps/": 7, "plans/": days}
    old = {
        rule["Prefix"]: rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for rule in rules.values()
        if "Prefix" in rule
    }
    assert old == kept
    (unfinished,) = (rule for rule in rules.values() if "Prefix" not in rule)
    assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert template.source["Parameters"]["PlanDays"]["Default"] == 90


def test_parts_of_a_listing_live_longer_than_a_sweep_can(template: TransformedTemplate) -> None:
    rules = template.properties("PlansBucket")["LifecycleConfiguration"]["Rules"]
    (parts,) = (rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == "sweeps/")
    assert parts * DAY > template.properties("SweepsQueue")["MessageRetentionPeriod"]
    assert template.source["Parameters"]["PlanDays"]["MinValue"] >= parts


def test_only_the_sweep_is_given_the_plans_bucket(template: TransformedTemplate) -> None:
    for function in FUNCTIONS:
        variables = template.properties(function)["Environment"]["Variables"]
        found = [name for name, value in variables.items() if target(value) == "PlansBucket"]
        assert found == (["PLANS_BUCKET"] if function == "SweepFunction" else [])


def test_the_exports_bucket_is_versioned_encrypted_and_private_and_outlives_the_stack(
    template: TransformedTemplate,
) -> None:
    resource = template.resources["ExportsBucket"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    made = resource["Properties"]
    assert made["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "BucketName" not in made


def test_the_exports_bucket_refuses_plain_http(template: TransformedTemplate) -> None:
    policy = template.properties("ExportsBucketPolicy")
    assert target(policy["Bucket"]) == "ExportsBucket"
    (deny,) = policy["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["ExportsBucket", "ExportsBucket"]
    assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_exports_are_kept_for_export_days_and_move_to_storage_that_is_readable_at_once(
    template: TransformedTemplate,
) -> None:
    kept, cold, unfinished = rules(template)
    assert (kept["Status"], kept["Prefix"], kept["ExpirationInDays"]) == (
        "Enabled",
        "exports/",
        {"Ref": "ExportDays"},
    )
    assert kept["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert (cold["Status"], cold["Prefix"]) == ("Enabled", "exports/")
    # The other cold classes need an order, and hours, before a folder can be verified or erased.
    assert cold["Transitions"] == [{"StorageClass": "GLACIER_IR", "TransitionInDays": {"Ref": "ExportColdDays"}}]
    assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    made = template.source["Parameters"]
    assert (made["ExportDays"]["Default"], made["ExportDays"]["MinValue"]) == (7 * 365, 30)
    assert 0 < made["ExportColdDays"]["Default"] < made["ExportDays"]["Default"]


def test_exports_stay_in_standard_storage_with_zero_export_cold_days() -> None:
    warm = load(ExportColdDays="0")
    assert [rule["Id"] for rule in rules(warm)] == ["exports", "unfinished-uploads"]


def test_samconfig_moves_exports_to_cold_storage_before_they_expire(template: TransformedTemplate) -> None:
    """It refuses to move what it has removed."""
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name, environment in settings.items():
        if name != "version":
            said = dict(pair.split("=", 1) for pair in environment["deploy"]["parameters"]["parameter_overrides"])
            assert int(said.get("ExportColdDays", template.parameters["ExportColdDays"])) < int(
                said.get("ExportDays", template.parameters["ExportDays"])
            ), name


def test_exports_are_locked_only_on_request_and_never_in_compliance_mode(template: TransformedTemplate) -> None:
    for name in ("ObjectLockEnabled", "ObjectLockConfiguration"):
        assert template.choose(template.properties("ExportsBucket")[name]) == {"Ref": "AWS::NoValue"}
    locked = load(ExportLock="governance")
    made = locked.properties("ExportsBucket")
    assert locked.choose(made["ObjectLockEnabled"]) is True
    assert locked.choose(made["ObjectLockConfiguration"]) == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": {"Ref": "ExportDays"}}},
    }
    assert template.source["Parameters"]["ExportLock"]["AllowedValues"] == ["off", "governance"]


def test_only_the_purge_writes_exports_and_nobody_removes_them(template: TransformedTemplate) -> None:
    for function in FUNCTIONS:
        made = [one for one in statements(template, function) if "ExportsBucket" in json.dumps(one["Resource"])]
        variables = template.properties(function)["Environment"]["Variables"]
        found = [name for name, value in variables.items() if target(value) == "ExportsBucket"]
        if function != "PurgeFunction":
            assert not made
            assert not found
            continue
        assert found == ["EXPORTS_BUCKET"]
        keeping, listing = made
        assert set(keeping["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
        assert keeping["Resource"] == {"Fn::Sub": "${ExportsBucket.Arn}/exports/*"}
        assert (listing["Action"], listing["Resource"]) == (
            "s3:ListBucket",
            {"Fn::GetAtt": ["ExportsBucket", "Arn"]},
        )
        assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["exports/*"]}}


def test_the_purge_has_disk_for_two_files_and_their_copies(template: TransformedTemplate) -> None:
    made = template.properties("PurgeFunction")
    assert made["EphemeralStorage"]["Size"] * 1024 * 1024 >= 4 * MOST_FILE_BYTES


def rules(template: TransformedTemplate) -> list[Json]:
    made = template.properties("ExportsBucket")["LifecycleConfiguration"]["Rules"]
    return [rule for rule in map(template.choose, made) if rule != {"Ref": "AWS::NoValue"}]
