"""Provisioning on an AWS that refuses for a while, loses answers, ignores a field, or holds something that cannot be changed."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from dr_assets.aws import Aws
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.defs.definitions import build_definitions
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import progress, service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack, load_stack
from tests.support.cli import dr
from tests.support.stack import build, mutating
from tests.support.things import CREATING, things, wanted

# (service, operation, code, message) as in the issues and sources of terraform-provider-aws and in AWS's API references.
NOT_YET = [
    (
        "rds",
        "CreateDBInstance",
        "InvalidParameterValue",
        "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING",
    ),
    (
        "rds",
        "CreateDBCluster",
        "InvalidDBClusterStateFault",
        "Source cluster is in a state which is not valid for this",
    ),
    (
        "rds",
        "CreateEventSubscription",
        "SNSNoAuthorization",
        "You do not have permission to publish to the SNS topic ARN",
    ),
    ("s3", "PutBucketVersioning", "NoSuchBucket", "The specified bucket does not exist"),
    (
        "s3",
        "PutBucketReplication",
        "InvalidRequest",
        "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
    ),
    ("kms", "CreateKey", "MalformedPolicyDocumentException", "Policy contains one or more invalid principals."),
    ("kms", "CreateAlias", "NotFoundException", "Key does not exist"),
    (
        "secretsmanager",
        "CreateSecret",
        "InvalidRequestException",
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
    ),
    ("iam", "PutRolePolicy", "NoSuchEntity", "The role with name x cannot be found."),
    ("iam", "AttachRolePolicy", "NoSuchEntity", "The role with name x cannot be found."),
    ("ec2", "CreateSubnet", "InvalidVpcID.NotFound", "The vpc ID does not exist"),
    ("ec2", "AcceptVpcPeeringConnection", "InvalidVpcPeeringConnectionID.NotFound", "The connection does not exist"),
    (
        "sqs",
        "CreateQueue",
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ),
    ("sns", "Subscribe", "NotFound", "Topic does not exist"),
    (
        "logs",
        "CreateLogGroup",
        "OperationAbortedException",
        "A conflicting operation is in progress. Please try again.",
    ),
    ("route53", "ChangeResourceRecordSets", "PriorRequestNotComplete", "Route 53 is still processing a prior request."),
]


@pytest.mark.slow
def test_aws_13_answers_that_mean_not_yet_are_waited_out_and_nothing_is_made_twice(
    cloud: EmbeddedAws, stack: Stack
) -> None:
    for name, operation, code, message in NOT_YET:
        cloud.control.fault("error", service=name, operation=operation, code=code, message=message, times=2)
    build(stack)
    assert [fault for fault in cloud.control.faults() if fault["times"]] == [], "every answer was given twice"
    cloud.control.clear_faults()
    assert service.verify(stack).in_sync
    assert things(stack) == wanted(stack, things(stack))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["error-after", "lost-after"])
def test_aws_16_every_creating_call_may_lose_its_answer_and_nothing_is_made_twice(
    cloud: EmbeddedAws, stack: Stack, mode: str
) -> None:
    for name, operation in CREATING:
        cloud.control.fault(mode, service=name, operation=operation, times=2)
    build(stack)
    left = [fault["operation"] for fault in cloud.control.faults() if fault["times"] == 2]
    cloud.control.clear_faults()
    assert left == []
    assert service.verify(stack).in_sync
    assert things(stack) == wanted(stack, things(stack))
    operations = {(call["service"], call["operation"]) for call in mutating(cloud)}
    creating = {item for item in operations if item[1].startswith(("Create", "Subscribe", "Allocate"))}
    assert creating - {("ec2", "CreateTags")} <= set(CREATING)


def test_case_d7_the_embedded_aws_takes_a_field_and_does_not_apply_it(
    built: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SHOW_SECONDS", 0.3)
    monkeypatch.setattr("dr_assets.reconcile.stack_state.SHOW_SECONDS", 0.3)
    key = "primary/aurora/cluster"
    aws = Aws()
    rds = aws.client("rds", stack.primary_region, writing=True)
    cluster = str(catalog_name(stack, key))
    rds.modify_db_cluster(DBClusterIdentifier=cluster, BackupRetentionPeriod=7, ApplyImmediately=True)
    built.control.clear_calls()
    built.control.fault("ignored", service="rds", operation="ModifyDBCluster", parameter="BackupRetentionPeriod")
    state = StackState(stack, aws)
    outcome = state.reconcile(state.resources[key])
    while outcome.status == "waiting":
        outcome = state.reconcile(state.resources[key])
    built.control.clear_faults()
    assert [call["operation"] for call in mutating(built)] == ["ModifyDBCluster"] * 3
    assert outcome.status == "drifted"
    assert "BackupRetentionPeriod is 7, should be 30" in outcome.reason
    healer = StackState(stack, Aws())
    assert healer.reconcile(healer.resources[key]).status == "updated"


def catalog_name(stack: Stack, key: str) -> Any:
    return next(resource.name for resource in catalog(stack) if resource.key == key)


@pytest.mark.slow
def test_case_d4_what_cannot_be_corrected_stops_only_itself(
    built: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster's database has another name than the stack file says; what needs the cluster is corrected all the same."""
    alarm = str(catalog_name(stack, "primary/monitoring/alarm-cpu"))
    cloudwatch = Aws().client("cloudwatch", stack.primary_region, writing=True)
    monkeypatch.setenv("DR_STACK__DATABASE_NAME", "otherdb")
    cloudwatch.delete_alarms(AlarmNames=[alarm])
    try:
        result = run_job(load_stack(), "provision_stack", provision_config(poll_seconds=0.05))
        assert not result.success
        statuses = {outcome.key: outcome.status for outcome in result.outcomes}
        assert statuses.keys() == {resource.key for resource in catalog(stack)}, "no step was skipped"
        assert statuses["primary/aurora/cluster"] == "drifted"
        assert statuses["primary/monitoring/alarm-cpu"] == "created"
        assert statuses["primary/credentials/version"] == "updated"
        assert result.failed_checks == ("primary/aurora/cluster:desired_state",)
        (text,) = result.failures
        assert "primary/aurora/cluster: DatabaseName is 'transactiondb', should be 'otherdb'" in text
        assert "snapshot" in text and "destroy" not in text and "delete it" not in text
        (again,) = provision_only_the_check(load_stack())
        assert "primary/aurora/cluster: drifted: differs in DatabaseName" in again
        done = dr("provision", "--poll", "0.1")
        assert done.returncode == 1
        assert "DatabaseName is 'transactiondb', should be 'otherdb'" in done.stderr
    finally:
        monkeypatch.delenv("DR_STACK__DATABASE_NAME")
        build(stack)
    assert service.verify(stack).in_sync


def provision_only_the_check(stack: Stack) -> list[str]:
    """Failures of a run of `provision_stack` in which only the step `provisioned` is executed, as in a re-execution from failure."""
    job = build_definitions(stack).resolve_job_def("provision_stack")
    (step,) = [node.name for node in job.graph.nodes if node.name.endswith("provisioned")]
    result = job.execute_in_process(
        run_config=provision_config(),
        op_selection=[step],
        raise_on_error=False,
        instance=dg.DagsterInstance.ephemeral(),
    )
    return [
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure
    ]


def test_the_check_of_a_re_execution_covers_what_the_first_run_selected(
    built: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's re-execution from asset failure selects what was not materialized; a drifted resource was (run_domain.py)."""
    monkeypatch.setenv("DR_STACK__DATABASE_NAME", "otherdb")
    job = build_definitions(load_stack()).resolve_job_def("provision_stack")
    last = dg.AssetKey(catalog(stack)[-1].key.split("/"))
    checks = {dg.AssetCheckKey(last, name) for name in ("desired_state", "provisioned")}
    with dg.DagsterInstance.ephemeral() as instance:
        first = instance.create_run_for_job(job, run_config=provision_config())
        again = job.get_subset(asset_selection={last}, asset_check_selection=checks)
        run = instance.create_run_for_job(
            again,
            run_config=provision_config(),
            parent_run_id=first.run_id,
            root_run_id=first.run_id,
            asset_selection=frozenset({last}),
        )
        list(execute_run_iterator(InMemoryJob(again), run, instance))
        failures = [
            str(record.dagster_event.step_failure_data.user_failure_data.description)
            for record in instance.all_logs(run.run_id)
            if record.dagster_event and record.dagster_event.is_step_failure
        ]
    assert len(failures) == 1 and "primary/aurora/cluster: drifted: differs in DatabaseName" in failures[0], failures


def operations(cloud: EmbeddedAws) -> set[tuple[str, str, str]]:
    """What was called where; not how often, since a throttled call is made again."""
    return {(call["service"], call["operation"], call["region"]) for call in cloud.control.calls()}


def test_a_provision_with_nothing_to_change_writes_nothing_and_loads_no_dagster(
    built: EmbeddedAws, stack: Stack
) -> None:
    code = (
        "import sys; from dr_assets.cli.main import main\n"
        "try: main(['provision', '--json'])\n"
        "except SystemExit as end: print(end.code, {'dagster', 'pandas'} & {*sys.modules}, file=sys.stderr)"
    )
    import os
    import subprocess
    import sys

    service.verify(stack)
    verifying = operations(built)
    built.control.clear_calls()
    env = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr.strip().endswith("0 set()"), done.stderr + done.stdout
    assert '"in_sync"' in done.stdout and '"success": true' in done.stdout
    assert mutating(built) == []
    assert operations(built) <= verifying, "a provision that changes nothing reads what a verification reads"
