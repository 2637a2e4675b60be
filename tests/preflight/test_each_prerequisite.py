"""Each prerequisite broken in turn on the embedded AWS: the preflight names exactly that one."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.preflight import permissions, service
from dr_assets.preflight.quotas import QUOTAS
from dr_assets.preflight.service import CHECKS
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack
from tests.preflight.conftest import Examine, failing, status
from tests.support.stack import provisioned_stack

Break = Callable[[EmbeddedAws, Stack, pytest.MonkeyPatch], Stack | None]


def no_credentials(_: EmbeddedAws, __: Stack, patch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    patch.setenv("AWS_CONFIG_FILE", "/nonexistent")


def answers(**values: Any) -> Break:
    def change(aws: EmbeddedAws, _: Stack, __: pytest.MonkeyPatch) -> None:
        aws.control.answers(**values)

    return change


def denied(action: str) -> Break:
    def change(_: EmbeddedAws, __: Stack, patch: pytest.MonkeyPatch) -> None:
        def simulate(_: Any, __: str, actions: list[str], *___: Any) -> dict[str, str]:
            return {each: "implicitDeny" if each == action else "allowed" for each in actions}

        patch.setattr(permissions, "simulate", simulate)

    return change


def two_hyphens(_: EmbeddedAws, stack: Stack, __: pytest.MonkeyPatch) -> Stack:
    return stack.model_copy(update={"environment_suffix": "a--b"})


def _vpc(stack: Stack, name: str, cidr: str, **tags: str) -> str:
    ec2 = boto3.client("ec2", stack.primary_region)
    listed = [{"Key": key, "Value": value} for key, value in {"Name": name, **tags}.items()]
    made = ec2.create_vpc(CidrBlock=cidr, TagSpecifications=[{"ResourceType": "vpc", "Tags": listed}])
    return str(made["Vpc"]["VpcId"])


def taken_name(_: EmbeddedAws, stack: Stack, __: pytest.MonkeyPatch) -> None:
    _vpc(stack, f"aurora-dr-primary-{stack.environment_suffix}", "10.0.0.0/16", Owner="another team")


def overlapping_subnet(_: EmbeddedAws, stack: Stack, __: pytest.MonkeyPatch) -> None:
    mine = {"ManagedBy": "dr-assets", "TaskID": stack.environment_suffix}
    vpc = _vpc(stack, f"aurora-dr-primary-{stack.environment_suffix}", "10.0.0.0/16", **mine)
    boto3.client("ec2", stack.primary_region).create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/22")


def doomed_key(_: EmbeddedAws, stack: Stack, __: pytest.MonkeyPatch) -> None:
    kms = boto3.client("kms", stack.secondary_region)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/rds-aurora-{stack.secondary_region}-{stack.environment_suffix}", TargetKeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)


def final_snapshot(_: EmbeddedAws, stack: Stack, __: pytest.MonkeyPatch) -> None:
    """An earlier primary cluster was deleted, and its last snapshot is there."""
    rds, name = boto3.client("rds", stack.primary_region), f"aurora-primary-{stack.environment_suffix}"
    rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="dbadmin",
        MasterUserPassword="not-a-secret",
    )
    rds.delete_db_cluster(DBClusterIdentifier=name, FinalDBSnapshotIdentifier="the-last-one")


BEFORE: dict[str, Break] = {
    "credentials": no_credentials,
    "regions": answers(regions_not_enabled=["us-west-2"]),
    "availability-zones": answers(zones_not_offered=["us-west-2b"]),
    "engine-version": answers(engine_versions=["14.17", "us-east-1/14.13", "15.12"]),
    "instance-class": answers(instance_classes=["db.r6g.xlarge", "us-east-1/db.r6g.large"]),
    "permissions": denied("rds:CreateDBCluster"),
    "name-limits": two_hyphens,
    "conflicts": taken_name,
    "address-ranges": overlapping_subnet,
    "recoverable-data": final_snapshot,
    "kms-keys": doomed_key,
    "service-linked-role": denied("iam:CreateServiceLinkedRole"),
    **{f"quota-{quota.name}": answers(quotas=[f"{quota.service}/{quota.code}=0"]) for quota in QUOTAS},
}


def no_nameserver(_: EmbeddedAws, __: Stack, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("DR_NAMESERVER", "127.0.0.1:9")


def no_path(_: EmbeddedAws, stack: Stack, patch: pytest.MonkeyPatch) -> None:
    cluster = boto3.client("rds", stack.primary_region).describe_db_clusters()["DBClusters"][0]
    patch.setenv("DR_RESOLVE", f"{cluster['Endpoint']}=127.0.0.1:9")


def no_authorities(_: EmbeddedAws, __: Stack, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("DR_TLS_CA", "/nonexistent/bundle.pem")


def closed_secret(aws: EmbeddedAws, _: Stack, __: pytest.MonkeyPatch) -> None:
    aws.control.fault("error", service="secretsmanager", operation="GetSecretValue", code="AccessDeniedException")


AFTER: dict[str, Break] = {
    "dns": no_nameserver,
    "network-path": no_path,
    "tls-ca": no_authorities,
    "database-secret": closed_secret,
}
# They advise and never fail.
ADVICE = {"upgrade-order"}


def test_every_check_has_a_case_that_breaks_it() -> None:
    assert {check.name for check in CHECKS} == set(BEFORE) | set(AFTER) | ADVICE


@pytest.mark.parametrize("name", BEFORE)
def test_what_is_missing_before_creation_is_named_alone(
    name: str,
    empty_aws: EmbeddedAws,
    all_allowed: None,
    stack: Stack,
    examine: Examine,
    authorities: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = BEFORE[name](empty_aws, stack, monkeypatch)
    report = examine(changed, answers=False)
    assert failing(report) == [name], [(line.name, line.detail) for line in report.checks if line.status != "ok"]
    line = next(line for line in report.checks if line.name == name)
    assert line.remedy or name == "credentials"
    assert line.blocks is (name != "kms-keys"), "provisioning itself cancels a key's deletion"
    assert report.passes is not line.blocks


def test_case_a1_an_empty_primary_cluster_takes_the_place_of_no_data_that_can_be_recovered(
    empty_aws: EmbeddedAws, all_allowed: None, stack: Stack, examine: Examine, authorities: None
) -> None:
    """The only copy may be a snapshot, or the other site's cluster after the primary was deleted."""
    rds = boto3.client("rds", stack.secondary_region)
    rds.create_db_cluster(
        DBClusterIdentifier=f"aurora-secondary-{stack.environment_suffix}",
        Engine="aurora-postgresql",
        MasterUsername="dbadmin",
        MasterUserPassword="not-a-secret",
        Tags=[{"Key": "ManagedBy", "Value": "dr-assets"}, {"Key": "TaskID", "Value": stack.environment_suffix}],
    )
    report = examine(answers=False)
    assert "recoverable-data" in failing(report)
    line = next(line for line in report.checks if line.name == "recoverable-data")
    assert f"aurora-secondary-{stack.environment_suffix} in us-west-2" in line.detail
    assert line.blocks and "delete" not in line.remedy and "destroy" not in line.remedy


@pytest.mark.slow
def test_what_a_drill_lacks_is_named_alone(
    all_allowed: None, authorities: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with provisioned_stack() as (aws, stack):
        before = aws.control.calls()[-1]["n"]
        whole = service.examine(StackState(stack, Aws()))
        assert [(line.name, line.detail) for line in whole.checks if line.status not in ("ok", "unknown")] == []
        state = StackState(stack, Aws())
        state.snapshot()
        reads = len(aws.control.calls())
        assert service.before_writing(state) is None
        assert len(aws.control.calls()) == reads, "nothing differs, so nothing more is asked"
        assert not [call for call in aws.control.calls(before) if call["mutating"]]
        for name, change in AFTER.items():
            with monkeypatch.context() as patch:
                change(aws, stack, patch)
                report = service.examine(StackState(stack, Aws()), answers=False)
                aws.control.clear_faults()
            assert failing(report) == [name], [
                (line.name, line.detail) for line in report.checks if line.status == "fails"
            ]
            assert report.passes, "what a drill needs does not keep anyone from provisioning"


def test_before_the_stack_exists_nothing_of_a_drill_is_ok(
    empty_aws: EmbeddedAws, all_allowed: None, authorities: None, examine: Examine
) -> None:
    report = examine()
    assert failing(report) == []
    assert [line.name for line in report.checks if line.status == "not_yet"] == [
        "upgrade-order",
        "dns",
        "network-path",
        "database-secret",
    ]
    assert [call["operation"] for call in empty_aws.control.calls() if call["mutating"]] == []


def test_what_cannot_be_read_is_never_ok(empty_aws: EmbeddedAws, examine: Examine, authorities: None) -> None:
    """AWS refuses every call but GetCallerIdentity: each check that reads is unknown, with the reason."""
    services = "rds ec2 iam kms s3 sns sqs logs cloudwatch route53 secretsmanager servicequotas"
    for name in services.split():
        empty_aws.control.fault("error", service=name, code="AccessDenied")
    report = examine()
    good = {line.name for line in report.checks if line.status == "ok"}
    assert good == {"credentials", "name-limits", "tls-ca"}
    assert {line.name for line in report.blocking} == {line.name for line in report.checks if line.essential} - good
    assert all(line.detail for line in report.checks)
    assert status(report, "permissions") == "unknown"
    assert all(answer.status != "ok" for answer in report.answers)
