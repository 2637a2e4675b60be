"""The least-privilege IAM policy, put together from what each kind says it needs. Pure; imports `core` and `kinds` only."""

from __future__ import annotations

from typing import Any

from dr_assets.resources.registry import KINDS

# Asked of the stack as a whole, not of one kind.
_ALWAYS = ("sts:GetCallerIdentity", "rds:DescribeGlobalClusters")
# The drills' own calls: what verification does not make already.
_DRILLS = (
    "cloudwatch:GetMetricData",
    "rds:DescribeEvents",
    "rds:FailoverGlobalCluster",
    "rds:SwitchoverGlobalCluster",
    "s3:GetObject",
    "s3:ListBucket",
    "secretsmanager:GetSecretValue",
    "sns:ListSubscriptionsByTopic",
)
_SENSORS = (
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",
    "rds:DescribeGlobalClusters",
    "route53:GetHealthCheckStatus",
    "sns:Publish",
    "sqs:DeleteMessage",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sts:GetCallerIdentity",
)
_REPORTS = ("cloudwatch:GetMetricData", "s3:PutObject", "sts:GetCallerIdentity")


def policy(write: bool, sensors: bool = False, reports: bool = False) -> dict[str, Any]:
    """An IAM policy document: what verification needs, with `write` also what provisioning, destroying and drills need, with
    `sensors` what the sensors need, with `reports` what pulling the history and storing reports needs.

    Most describe actions know no resource-level permissions (Service Authorization Reference), hence `Resource: "*"`.
    """
    reads = sorted({*_ALWAYS, *(action for kind in KINDS.values() for action in kind.read_actions)})
    statements = [{"Sid": "Verify", "Effect": "Allow", "Action": reads, "Resource": "*"}]
    if write:
        writes = sorted({action for kind in KINDS.values() for action in kind.write_actions} - set(reads))
        statements.append({"Sid": "Provision", "Effect": "Allow", "Action": writes, "Resource": "*"})
        statements.append({"Sid": "Drills", "Effect": "Allow", "Action": sorted(_DRILLS), "Resource": "*"})
    if sensors:
        statements.append({"Sid": "Sensors", "Effect": "Allow", "Action": list(_SENSORS), "Resource": "*"})
    if reports:
        statements.append({"Sid": "Reports", "Effect": "Allow", "Action": list(_REPORTS), "Resource": "*"})
    return {"Version": "2012-10-17", "Statement": statements}
