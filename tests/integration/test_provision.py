"""Provisioning the whole stack: order, repetition, interruption."""

import os
import signal
import time
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.run_job import destroy_config, run_job
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.support.stack import build, mutating, provision

# The order that docs/stack.md requires, as the calls that must follow each other.
SPINE = ("CreateGlobalCluster", "CreateDBCluster", "CreateDBInstance", "CreateDBCluster", "CreateDBInstance")


@pytest.mark.slow
def test_provision_order_and_repetition(cloud: EmbeddedAws, stack: Stack) -> None:
    cloud.control.settle(0.15)  # things take time, so that branches interleave
    result = provision(stack)
    assert result.success, result.failures
    assert not result.failed_checks
    assert {outcome.key for outcome in result.outcomes} == {resource.key for resource in catalog(stack)}

    calls = mutating(cloud)
    refused = [(c["operation"], c["error_code"]) for c in calls if c["error_code"] and c["status"] < 500]
    # Route 53 answers five calls a second (developer guide, "Quotas"): what it throttles is not refused, and is made again.
    assert [each for each in refused if each[1] != "Throttling"] == [], "no refused attempts"
    spine = [(c["operation"], c["region"]) for c in calls if c["operation"] in SPINE]
    one, two, n = stack.primary_region, stack.secondary_region, stack.instances_per_cluster
    assert spine == [
        ("CreateGlobalCluster", one),
        ("CreateDBCluster", one),
        *[("CreateDBInstance", one)] * n,
        ("CreateDBCluster", two),
        *[("CreateDBInstance", two)] * n,
    ]
    versioning = [c["n"] for c in calls if c["operation"] == "PutBucketVersioning"]
    replication = [c["n"] for c in calls if c["operation"] == "PutBucketReplication"]
    assert len(versioning) == len(replication) == 2
    assert max(versioning) < min(replication)
    interleaved = [c["operation"] for c in calls]
    first = interleaved.index("CreateDBCluster")
    assert any(op not in SPINE for op in interleaved[first : interleaved.index("CreateDBInstance")]), "others went on"

    verification = service.verify(stack)
    assert verification.in_sync, [o for o in verification.outcomes if o.status != "in_sync"]

    cloud.control.clear_calls()
    again = provision(stack)
    assert again.success
    assert mutating(cloud) == []
    assert {outcome.status for outcome in again.outcomes} == {"in_sync"}


def inventory(stack: Stack) -> dict[str, int]:
    """Number of each countable resource in AWS, whoever created them: a duplicate shows here."""
    aws = Aws()
    count: dict[str, int] = {}
    for region in (stack.primary_region, stack.secondary_region):
        reads = aws.reads()
        for service_name, operation, result in (
            ("ec2", "describe_vpcs", "Vpcs"),
            ("ec2", "describe_subnets", "Subnets"),
            ("ec2", "describe_route_tables", "RouteTables"),
            ("ec2", "describe_security_groups", "SecurityGroups"),
            ("ec2", "describe_vpc_peering_connections", "VpcPeeringConnections"),
            ("kms", "list_keys", "Keys"),
            ("kms", "list_aliases", "Aliases"),
            ("rds", "describe_db_clusters", "DBClusters"),
            ("rds", "describe_db_instances", "DBInstances"),
            ("rds", "describe_event_subscriptions", "EventSubscriptionsList"),
            ("secretsmanager", "list_secrets", "SecretList"),
            ("sns", "list_topics", "Topics"),
            ("sns", "list_subscriptions", "Subscriptions"),
            ("sqs", "list_queues", "QueueUrls"),
            ("cloudwatch", "describe_alarms", "MetricAlarms"),
            ("logs", "describe_log_groups", "logGroups"),
        ):
            items = reads.pages(service_name, operation, region, result)
            if operation == "list_keys":
                states = [reads.call("kms", "describe_key", region, KeyId=k["KeyId"])["KeyMetadata"] for k in items]
                items = [s for s in states if s["KeyManager"] == "CUSTOMER" and s["KeyState"] != "PendingDeletion"]
            if operation == "describe_vpc_peering_connections":  # deleted ones stay visible for a while
                items = [item for item in items if item["Status"]["Code"] == "active"]
            count[f"{region} {operation}"] = len(items)
    for operation, result in (("list_health_checks", "HealthChecks"), ("list_hosted_zones", "HostedZones")):
        count[operation] = len(aws.reads().pages("route53", operation, "us-east-1", result))
    count["list_buckets"] = len(aws.reads().call("s3", "list_buckets", stack.primary_region)["Buckets"])
    return count


def run_until_killed(stack: Stack, after: int) -> int:
    """Provision in a child process that SIGKILLs itself as the answer to mutating call `after` comes in.

    Returns the child's wait status.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            real: Any = Aws.act
            made = 0

            def act(self: Aws, *args: Any, **kwargs: Any) -> Any:
                nonlocal made
                answer = real(self, *args, **kwargs)
                made += 1
                if made == after:
                    os.kill(os.getpid(), signal.SIGKILL)  # AWS has done it; the answer never reached this process
                return answer

            Aws.act = act  # type: ignore[method-assign]
            code = 0 if provision(stack).success else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_it_converges_and_nothing_exists_twice(cloud: EmbeddedAws, stack: Stack) -> None:
    assert provision(stack).success
    whole = inventory(stack)
    cloud.control.reset()

    kills = 0
    # Each child dies at its twenty-ninth mutating call, so death comes all over the sequence.
    while os.WIFSIGNALED(status := run_until_killed(stack, after=29)):
        kills += 1
        assert kills < 100, "it does not converge"
    assert os.WEXITSTATUS(status) == 0
    assert kills >= 3
    assert service.verify(stack).in_sync
    assert inventory(stack) == whole


@pytest.mark.slow
def test_destroy_leaves_nothing_and_provision_starts_over(cloud: EmbeddedAws, stack: Stack) -> None:
    before = inventory(stack)
    build(stack)
    result = run_job(stack, "destroy_stack", destroy_config(stack.environment_suffix, poll_seconds=0.05))
    assert result.success, result.failures
    assert inventory(stack) == before
    assert {outcome.status for outcome in service.verify(stack).outcomes} == {"absent"}
    build(stack)
    assert service.verify(stack).in_sync


def test_destroy_requires_the_right_suffix(cloud: EmbeddedAws, stack: Stack) -> None:
    result = run_job(stack, "destroy_stack", destroy_config("wrong"))
    assert not result.success
    assert "'wrong' is not this stack's suffix" in result.failures[0]
    assert mutating(cloud) == []


def test_destroy_is_refused_under_protection(cloud: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STACK__DELETION_PROTECTION", "true")
    result = run_job(stack, "destroy_stack", destroy_config(stack.environment_suffix))
    assert not result.success
    assert "deletion_protection is true" in result.failures[0]
    assert mutating(cloud) == []


def test_the_materialize_button_writes_only_in_provision_mode(cloud: EmbeddedAws, stack: Stack) -> None:
    result = run_job(stack, "verify_stack", {})
    assert mutating(cloud) == []
    assert len(result.failed_checks) >= len(catalog(stack))


def test_a_foreign_resource_is_named_and_left_alone(cloud: EmbeddedAws, stack: Stack) -> None:
    aws = Aws()
    name = f"rds-monitoring-role-primary-{stack.environment_suffix}"
    # Sent once: a creation that is sent again because its answer was late is answered with EntityAlreadyExists.
    aws.client("iam", "us-east-1", writing=True).create_role(
        RoleName=name,
        AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}',
        Tags=[{"Key": "ManagedBy", "Value": "them"}],
    )
    cloud.control.clear_calls()
    result = provision(stack, skips={"conflicts": "the steps' own refusal is the subject"})
    assert not result.success
    mine = [text for text in result.failures if "primary/identity/monitoring-role" in text]
    assert len(mine) == 1
    assert "does not belong to this stack (ManagedBy=them" in mine[0]
    touched = [c for c in mutating(cloud) if c["service"] == "iam" and c["operation"] != "CreateRole"]
    role = aws.client("iam", "us-east-1").get_role(RoleName=name)["Role"]
    assert role["Tags"] == [{"Key": "ManagedBy", "Value": "them"}]
    assert role["AssumeRolePolicyDocument"]["Statement"] == []
    assert (
        not [c for c in touched if c["operation"] in ("UpdateAssumeRolePolicy", "TagRole")] or stack.environment_suffix
    )


def test_aws_10_a_cluster_is_created_when_the_parameter_group_that_this_run_created_can_be_used(
    cloud: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aurora user guide: "wait at least 5 minutes before creating a DB cluster that uses that DB cluster parameter group"."""
    monkeypatch.setenv("DR_PARAMETER_GROUP_SECONDS", "16")
    cloud.control.answers(new_cluster_group_seconds=15.0)
    state, reasons, deadline = StackState(stack, Aws()), [], time.monotonic() + 200
    wanted = ["primary/aurora/instance-1"]
    for key in wanted:
        wanted += [need for need in state.resources[key].needs if need not in wanted]
    for key, resource in state.resources.items():
        while key in wanted and not (outcome := state.reconcile(resource)).good:
            assert outcome.status == "waiting" and time.monotonic() < deadline, outcome
            reasons.append(outcome.reason)
    assert any(reason.startswith("primary/aurora/cluster-parameter-group was just created") for reason in reasons)
    (cluster,) = Aws().client("rds", stack.primary_region).describe_db_clusters()["DBClusters"]
    assert [member["DBClusterParameterGroupStatus"] for member in cluster["DBClusterMembers"]] == ["in-sync"]
