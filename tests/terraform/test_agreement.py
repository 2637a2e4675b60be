"""Two implementations of one contract: what Terraform builds, Dagster finds right; what they declare is the same.

The tests run in the order they stand in: the last one destroys.
"""

import json
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.defs.definitions import build_definitions
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.terraform import addresses
from tests.support.terraform import Applied, changes

pytestmark = [pytest.mark.terraform, pytest.mark.slow, pytest.mark.timeout(900)]

# Edges of the catalogue that Terraform does not need, with the reason.
WITHOUT_EDGE = {
    "monitoring/alarm-": "the module's alarms name the cluster; they are made while it is being created",
    "backup/replication-role": "Terraform knows the buckets' names before they exist",
}


def state(applied: Applied) -> list[dict[str, Any]]:
    """Every managed resource instance of the state, with its address."""
    found = []
    for resource in json.loads((applied.terraform.directory / "terraform.tfstate").read_text())["resources"]:
        if resource["mode"] != "managed":
            continue
        base = ".".join(filter(None, (resource.get("module"), resource["type"], resource["name"])))
        for instance in resource["instances"]:
            key = instance.get("index_key")
            index = "" if key is None else f"[{key}]" if isinstance(key, int) else f'["{key}"]'
            found.append({"address": base + index, "base": base, **instance})
    return found


def test_everything_that_terraform_builds_dagster_finds_right(environment: Applied, stack: Stack) -> None:
    result = service.verify(stack)
    assert [(o.key, o.status, o.drift, o.reason) for o in result.outcomes if o.status != "in_sync"] == []
    assert len(result.outcomes) == len(catalog(stack))
    environment.aws.control.clear_calls()
    provisioned = run_job(stack, "provision_stack", provision_config(poll_seconds=0.05))
    assert provisioned.success, provisioned.failures
    assert not provisioned.failed_checks
    assert [call for call in environment.aws.control.calls() if call["mutating"]] == []


def test_resource_by_resource_neither_has_more(environment: Applied, stack: Stack) -> None:
    ours = [address for resource in catalog(stack) for address in resource.terraform]
    assert len(set(ours)) == len(ours)
    assert {item["address"] for item in state(environment)} == set(ours)
    assert set(addresses(catalog(stack))) == set(ours)


def test_every_need_is_a_dependency_in_terraform_too(environment: Applied, stack: Stack) -> None:
    resources = catalog(stack)
    ours = {resource.key: resource.terraform[0] for resource in resources}
    by_address = {item["address"]: item for item in state(environment)}
    missing = []
    for resource in resources:
        depends = set(by_address[ours[resource.key]].get("dependencies", ()))
        for need in resource.needs:
            excused = any(part in resource.key for part in WITHOUT_EDGE)
            if by_address[ours[need]]["base"] not in depends and not excused:
                missing.append((need, resource.key))
    assert missing == []


def test_the_outputs_are_the_same(environment: Applied, stack: Stack) -> None:
    assert environment.terraform.outputs() == service.read_outputs(stack)[0]


def test_a_second_plan_wants_nothing_and_holds_no_password(environment: Applied, stack: Stack) -> None:
    second = environment.terraform.plan()
    assert changes(second) == []
    secret = (
        Aws()
        .client("secretsmanager", stack.primary_region)
        .get_secret_value(SecretId=f"rds-master-password-primary-{stack.environment_suffix}")
    )
    password = json.loads(secret["SecretString"])["password"]
    assert len(password) >= 32
    assert password not in json.dumps(second)
    for file in environment.terraform.directory.glob("*.tfstate*"):
        assert password not in file.read_text()


def test_what_terraform_manages_is_changed_only_when_adopted(environment: Applied, stack: Stack) -> None:
    logs = Aws().client("logs", stack.primary_region)
    group = f"/aws/rds/cluster/aurora-primary-{stack.environment_suffix}/postgresql"
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    refused = run_job(stack, "provision_stack", provision_config(poll_seconds=0.05))
    assert not refused.success
    assert any(
        "primary/aurora/log-group is managed by terraform" in text and "--adopt" in text for text in refused.failures
    )
    assert [o.key for o in service.verify(stack).outcomes if o.status == "drifted"] == ["primary/aurora/log-group"]
    world = StackState(stack, Aws(), adopt=True)
    assert world.reconcile(world.resources["primary/aurora/log-group"]).status == "updated"
    assert service.verify(stack).in_sync


def test_terraforms_drift_becomes_the_same_table(
    environment: Applied, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.terraform.env.items():
        if name.startswith("TF_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("DR_TERRAFORM_DIR", str(environment.terraform.directory))
    sqs = Aws().client("sqs", stack.secondary_region)
    url = sqs.get_queue_url(QueueName=f"db-events-secondary-{stack.environment_suffix}")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    repository = build_definitions(stack).get_repository_def()
    checks = {key.name for key in repository.asset_graph.asset_check_keys}
    assert "terraform_drift" in checks
    result = run_job(stack, "verify_stack", {})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
    assert result.success, result.failures
    assert set(result.failed_checks) == {
        "secondary/notifications/queue:desired_state",
        "secondary/notifications/queue:terraform_drift",
    } | {name for name in result.failed_checks if name == "secondary/notifications/queue:parity"}


def test_after_a_switchover_terraform_leaves_the_clusters_alone(environment: Applied, stack: Stack) -> None:
    def switch(site: str, region: str) -> None:
        world = StackState(stack, Aws())
        world.aws.client("rds", region, writing=True).switchover_global_cluster(
            GlobalClusterIdentifier=stack.global_cluster_name,
            TargetDbClusterIdentifier=world.field(f"{site}/aurora/cluster", "Arn"),
        )

    switch("secondary", stack.primary_region)
    wanted = changes(environment.terraform.plan())
    verification = service.verify(stack)
    switch("primary", stack.secondary_region)
    assert wanted == []
    assert verification.in_sync
    assert verification.topology is not None
    assert verification.topology.writer == "secondary"


def test_destroy_ends_clean(environment: Applied, stack: Stack) -> None:
    environment.terraform.destroy()
    assert {outcome.status for outcome in service.verify(stack).outcomes} == {"absent"}
