"""One embedded AWS with everything that monitoring polls: topics, queues, alarms, health checks, a global cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config

from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.sources.cloudwatch import ALARM_METRICS
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack, load_stack

ACCOUNT = "123456789012"


@pytest.fixture(scope="session")
def watched_aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        patch = pytest.MonkeyPatch()
        for name, value in aws.env().items():
            patch.setenv(name, value)
        try:
            furnish(load_stack())
        finally:
            patch.undo()
        yield aws


@pytest.fixture
def cloud(watched_aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAws]:
    """The furnished AWS, which boto3 finds by itself; without faults before and after."""
    for name, value in watched_aws.env().items():
        monkeypatch.setenv(name, value)
    watched_aws.control.clear_faults()
    watched_aws.control.clear_calls()
    yield watched_aws
    watched_aws.control.clear_faults()


def furnish(stack: Stack) -> None:
    """Named as the catalogue names them. Provisioning all of the stack would take ten times as long."""
    s = stack.environment_suffix
    # Route 53 takes five calls a second for the account.
    checks = boto3.client("route53", "us-east-1", config=Config(retries={"mode": "standard", "total_max_attempts": 10}))
    for site in SITES:
        region = stack.region(site)
        sns, sqs, cloudwatch = (boto3.client(service, region) for service in ("sns", "sqs", "cloudwatch"))
        topic = sns.create_topic(Name=f"db-events-{site}-{s}")["TopicArn"]
        sqs.create_queue(QueueName=f"db-events-dlq-{site}-{s}")
        redrive = {
            "deadLetterTargetArn": f"arn:aws:sqs:{region}:{ACCOUNT}:db-events-dlq-{site}-{s}",
            "maxReceiveCount": 3,
        }
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": f"arn:aws:sqs:{region}:{ACCOUNT}:db-events-{site}-{s}",
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        attributes = {"VisibilityTimeout": "60", "RedrivePolicy": json.dumps(redrive), "Policy": policy}
        sqs.create_queue(QueueName=f"db-events-{site}-{s}", Attributes=attributes)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{region}:{ACCOUNT}:db-events-{site}-{s}")
        for metric in ALARM_METRICS:
            cloudwatch.put_metric_alarm(
                AlarmName=names.alarm(stack, site, metric),
                Namespace="Test",
                MetricName=metric,
                Statistic="Maximum",
                Period=60,
                EvaluationPeriods=2,
                Threshold=1.0,
                ComparisonOperator="GreaterThanThreshold",
            )
        for name, metric, silence, _ in (*SITE_CHECKS, ("another-on-the-same-alarm", "connectivity", "Unhealthy", "")):
            checks.create_health_check(
                CallerReference=f"{name}-{site}",
                HealthCheckConfig={
                    "Type": "CLOUDWATCH_METRIC",
                    "InsufficientDataHealthStatus": silence,
                    "AlarmIdentifier": {"Name": names.alarm(stack, site, metric), "Region": region},
                },
            )
    rds = boto3.client("rds", stack.primary_region)
    rds.create_global_cluster(
        GlobalClusterIdentifier=stack.global_cluster_name,
        Engine="aurora-postgresql",
        EngineVersion=stack.engine_version,
    )
    rds.create_db_cluster(
        DBClusterIdentifier=f"aurora-primary-{s}",
        Engine="aurora-postgresql",
        EngineVersion=stack.engine_version,
        GlobalClusterIdentifier=stack.global_cluster_name,
        MasterUsername=stack.master_username,
        MasterUserPassword="not-a-secret-1",
    )
    # AWS refuses a secondary cluster while the primary one has no instance that is available.
    rds.create_db_instance(
        DBInstanceIdentifier=f"aurora-primary-instance-1-{s}",
        DBClusterIdentifier=f"aurora-primary-{s}",
        DBInstanceClass=stack.instance_class,
        Engine="aurora-postgresql",
    )
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=f"aurora-primary-instance-1-{s}", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    secondary = boto3.client("rds", stack.secondary_region)
    secondary.create_db_cluster(
        DBClusterIdentifier=f"aurora-secondary-{s}",
        Engine="aurora-postgresql",
        EngineVersion=stack.engine_version,
        GlobalClusterIdentifier=stack.global_cluster_name,
    )
