"""Every command, job and sensor as a principal with exactly the policy that `dr permissions` prints for its duty.

No call may be refused, and what is granted and not used needs a reason. The history is in a bucket of S3 with a key of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.cli.main import main
from dr_assets.cli.run_job import destroy_config, run_job
from dr_assets.defs.definitions import build_definitions
from dr_assets.defs.monitoring.sensors import build_sensors
from dr_assets.defs.reports.assets import report_config
from dr_assets.drills import runner
from dr_assets.drills.approval import token
from dr_assets.drills.request import Request
from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from dr_assets.monitoring.rules import SQL_VARIABLE
from dr_assets.resources.catalog import catalog
from dr_assets.resources.iam_policy import split
from dr_assets.stack import SITES, Stack, load_stack
from dr_assets.ticks import monitor as ticks
from dr_assets.ticks.heartbeat import Heartbeats
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import SENSORS
from tests.support.principal import acting_as, client, denied_calls, unused_grants
from tests.support.stack import build_replicating, provision

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BUCKET = "history-of-drills"
FAST = {"rate": 50.0, "baseline_seconds": 0.4, "probe_interval": 0.05}

# What a duty is granted and the runs below do not use, with the reason.
_ALL = {
    "rds:DescribeDBClusterEndpoints": "whether AWS checks a cluster's endpoints beside the cluster is not documented"
}
_CORRECTS = "corrects a difference: tests/integration/test_drift.py makes one of each kind, corrected with this policy"
_READS = {
    "kms:ListKeys": "keys are searched for only while an alias is missing",
    "cloudwatch:GetMetricData": "asked only while ListMetrics does not show the lag metric",
}
UNUSED: dict[str, dict[str, str]] = {
    "verify": {**_ALL, **_READS},
    "provision": {
        **_ALL,
        "rds:DescribeDBClusterSnapshots": "whether AWS checks a cluster's snapshots beside the cluster is not documented",
        **dict.fromkeys(
            (
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:DeleteRoute",
                "ec2:ModifySubnetAttribute",
                "ec2:ReplaceRoute",
                "ec2:ReplaceRouteTableAssociation",
                "ec2:RevokeSecurityGroupIngress",
                "iam:PutRolePermissionsBoundary",
                "iam:UpdateAssumeRolePolicy",
                "kms:CancelKeyDeletion",
                "kms:EnableKey",
                "kms:PutKeyPolicy",
                "kms:UpdateAlias",
                "rds:AddSourceIdentifierToSubscription",
                "rds:ModifyDBCluster",
                "rds:ModifyDBInstance",
                "rds:ModifyDBSubnetGroup",
                "rds:ModifyEventSubscription",
                "rds:ModifyGlobalCluster",
                "rds:RemoveSourceIdentifierFromSubscription",
                "rds:ResetDBClusterParameterGroup",
                "rds:ResetDBParameterGroup",
                "route53:DisassociateVPCFromHostedZone",
                "route53:UpdateHealthCheck",
                "s3:DeleteBucketPolicy",
                "s3:PutBucketPublicAccessBlock",
                "secretsmanager:RestoreSecret",
                "secretsmanager:UpdateSecret",
                "sns:SetSubscriptionAttributes",
            ),
            _CORRECTS,
        ),
    },
    "destroy": {
        **_ALL,
        **_READS,
        "s3:DeleteObject": "S3 asks for it always, beside DeleteObjectVersion (S3 API, DeleteObjects: permissions)",
    },
    "drill": {
        **_ALL,
        **_READS,
        "s3:GetObject": "asked for each export of the buckets: tests/integration/test_exports.py has some",
    },
    "sensors": {**_ALL, "cloudwatch:ListMetrics": "asked once by a process: the drills before have the answer"},
    "arm": {
        "s3:ListBucket": "without it S3 answers 403 where an object is missing (S3 API, GetObject)",
        "sts:GetCallerIdentity": "the identity of whoever acts is asked for where it is recorded",
    },
    "reports": {**_ALL, "s3:DeleteObject": "what the sensors buffered is deleted once it is in the day's file"},
}


@contextmanager
def duty(aws: EmbeddedAws, name: str) -> Iterator[None]:
    """Act as a principal of this duty; at the end no call was refused, and each unused grant has its reason."""
    printed = CliRunner().invoke(main, ["permissions", name, "--account", ACCOUNT_ID])
    assert printed.exit_code == 0, printed.output
    granted = split(json.loads(printed.stdout))
    with acting_as(aws, granted):
        aws.control.clear_calls()
        yield
    calls = [call for call in aws.control.calls() if call["principal"]]  # not the root's, who is the test
    assert denied_calls(calls) == []
    unexplained = sorted({grant.split(": ")[1] for grant in unused_grants(granted, calls)} - UNUSED[name].keys())
    assert unexplained == [], f"{name} is granted and does not use: {unexplained}"


def dr(*arguments: str, exits: tuple[int, ...] = (0,)) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in exits, (arguments, result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def pair_aws() -> Iterator[EmbeddedAws]:
    """The whole stack with databases, and a bucket for the history."""
    with EmbeddedAws(databases=True) as aws, environment(aws.env()):
        # Whether calls are permitted does not depend on how late metrics are: see test_late_metrics.
        aws.control.answers(metric_delay_seconds=0.0, list_metrics_seconds=0.0)
        build_replicating(aws, load_stack())
        subscribe_on_call(load_stack())
        key = client(aws, "kms").create_key()["KeyMetadata"]["Arn"]
        by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        client(aws, "s3").create_bucket(Bucket=BUCKET)
        client(aws, "s3").put_bucket_encryption(
            Bucket=BUCKET,
            ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]},
        )
        yield aws


@pytest.fixture
def pair(pair_aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    """Replicating, with a lag that a drill accepts."""
    for name, value in {**pair_aws.env(), "DR_HISTORY_URI": f"s3://{BUCKET}/dr"}.items():
        monkeypatch.setenv(name, value)
    calm(pair_aws)
    return pair_aws


def calm(aws: EmbeddedAws) -> None:
    deadline = time.monotonic() + 90.0
    while True:
        lag = aws.control.database()["lag_ms"]
        world = client(aws, "rds", region="us-west-2").describe_global_clusters()["GlobalClusters"][0]
        if lag is not None and lag < 500 and not world.get("FailoverState"):
            return
        assert time.monotonic() < deadline, "the replication did not recover"
        time.sleep(0.1)


def run(stack: Stack, job: str, instance: dg.DagsterInstance, **options: Any) -> None:
    assert build_definitions(stack).resolve_job_def(job).execute_in_process(instance=instance, **options).success


def test_aws_20_provisioning_and_destruction_are_permitted_what_they_call(cloud: EmbeddedAws, stack: Stack) -> None:
    with duty(cloud, "provision"):
        assert provision(stack).success
    for site in SITES:
        objects = client(cloud, "s3", region=stack.region(site))
        objects.put_object(
            Bucket=f"db-exports-{site}-{stack.environment_suffix}-{ACCOUNT_ID}", Key="export", Body=b"data"
        )
    # An administrator has changed the boundary's document before.
    boundary = next(row for row in catalog(stack) if row.kind == "iam.policy").name
    of = {"PolicyArn": f"arn:aws:iam::{ACCOUNT_ID}:policy/{boundary}"}
    iam = client(cloud, "iam")
    document = iam.get_policy_version(**of, VersionId="v1")["PolicyVersion"]["Document"]
    iam.create_policy_version(**of, PolicyDocument=json.dumps(document), SetAsDefault=True)
    with duty(cloud, "destroy"):
        assert run_job(stack, "destroy_stack", destroy_config(stack.environment_suffix, poll_seconds=0.05)).success


def test_aws_20_verification_is_permitted_what_it_calls(pair: EmbeddedAws, stack: Stack) -> None:
    with duty(pair, "verify"), dg.DagsterInstance.ephemeral() as instance:
        for command in ("verify", "status", "outputs", "terraform-imports"):
            dr(command)
        run(stack, "verify_stack", instance)


def test_aws_20_drills_are_permitted_what_they_call(pair: EmbeddedAws, stack: Stack) -> None:
    with duty(pair, "drill"), dg.DagsterInstance.ephemeral() as instance:
        dr("drill", "switchover", "--dry-run")
        for scenario in ("switchover", "failback", "failover"):
            calm(pair)
            plan = runner.propose(stack, Request(scenario, "tester", "a test", settings=FAST))
            config = {"operator": "tester", "plan": token(plan, ()), "approved_by": "tester", "settings": FAST}
            ops = {f"{scenario}_preconditions": {"config": config}}
            run(stack, f"{scenario}_drill", instance, run_config={"ops": ops})
        dr("drill", "list")


def test_aws_20_sensors_are_permitted_what_they_call(
    pair: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day in steps of two hours. What AWS answered is then old, so that alerts are raised, too."""
    monkeypatch.setenv(SQL_VARIABLE, "publish")
    monkeypatch.setattr(ticks, "SHARE_SECONDS", 0.0)
    for site in SITES:
        sns = client(pair, "sns", region=stack.region(site))
        topic = next(each["TopicArn"] for each in sns.list_topics()["Topics"] if "db-events" in each["TopicArn"])
        for number in range(12):  # more than one batch
            sns.publish(TopicArn=topic, Message=f"message {number}")
    with duty(pair, "arm"):
        for command in (
            ("arm", "--hours", "48", "--why", "a test"),
            ("disarm",),
            ("arm", "--hours", "48", "--why", "a test"),
        ):
            dr("alert", *command, "--by", "tester")
    with duty(pair, "sensors"), dg.DagsterInstance.ephemeral() as instance:
        dr("alert", "silence", "--hours", "1", "--why", "a test", "--by", "tester")
        ahead = [timedelta()]
        # A patient client: whether the calls are permitted is the subject here, not how fast a busy machine answers.
        heartbeats = Heartbeats(stack, Aws(read_timeout=60.0))
        monitor = Monitor(stack, clock=lambda: utc.now() + ahead[0], heartbeats=heartbeats)
        sensors = build_sensors(stack, lambda: monitor, "failover_drill")
        assert tuple(each.name for each in sensors) == SENSORS
        cursors: dict[str, str | None] = {}
        for hours in range(0, 25, 2):
            ahead[0] = timedelta(hours=hours)
            for each in sensors:
                context = dg.build_sensor_context(instance, cursors.get(each.name), sensor_name=each.name)
                cursors[each.name] = each.evaluate_tick(context).cursor
            assert monitor.problems == []
        ahead[0] = timedelta()
        advice = monitor.advise(monitor.ticker("health_checks").load(cursors["health_checks"]), monitor.poll())
        asked = {each.name: each.passed for each in monitor.failover_conditions(advice)}
        assert asked["secret-opens-target"] is True
        dr("alert", "test", "--by", "tester")
        dr("alert", "status")
        examined = json.loads(dr("doctor", "--json", exits=(2,)))  # there is no Dagster instance
        in_aws = {line["name"]: line for line in examined["lines"][9:]}
        assert {name for name, line in in_aws.items() if line["status"] == "unknown"} <= {"heartbeats"}, in_aws
        heartbeats.wait(60)
    for site in SITES:
        cloudwatch = client(pair, "cloudwatch", region=stack.region(site))
        assert cloudwatch.list_metrics(Namespace="DRAssets", MetricName="Heartbeat")["Metrics"], (
            f"none in the {site} region"
        )


@pytest.mark.parametrize("name", ["drill", "sensors", "reports", "arm"])
def test_arming_is_a_permission_of_its_own(pair: EmbeddedAws, stack: Stack, name: str) -> None:
    """By a raw call of S3, whatever the product would do."""
    printed = CliRunner().invoke(main, ["permissions", name, "--account", ACCOUNT_ID])
    with acting_as(pair, split(json.loads(printed.stdout))) as credentials:
        objects = client(pair, "s3", credentials)
        for key in (f"dr/armed/{stack.environment_suffix}.json", f"dr/armed/{stack.environment_suffix}/now-armed.json"):
            for call in (
                lambda key=key: objects.put_object(Bucket=BUCKET, Key=key, Body=b"{}"),
                lambda key=key: objects.delete_object(Bucket=BUCKET, Key=key),
            ):
                if name == "arm":
                    call()
                else:
                    with pytest.raises(ClientError, match="AccessDenied"):
                        call()


def test_aws_20_reports_are_permitted_what_they_call(pair: EmbeddedAws, stack: Stack, tmp_path: Path) -> None:
    with duty(pair, "reports"), dg.DagsterInstance.ephemeral() as instance:
        dr("report", "--out", str(tmp_path / "pack"), "--pull", "--now", "--to-buckets")
        dr("report", "stacks")
        dr("report", "action")
        until = utc.now()
        run(stack, "replication_history", instance, partition_key=str(until.date()))
        config = report_config((until - timedelta(hours=1)).isoformat(), until.isoformat(), to_buckets=True)
        run(stack, "evidence_report", instance, run_config=config)
