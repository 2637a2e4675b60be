"""Generate the least-privilege IAM policy for whoever runs `dr` and the sensors, from kinds and rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from dr_assets.core.expressions import Text
from dr_assets.core.model import ALL, OWN, Permissions, Resource, permit
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack

_OBJECTS = "s3.bucket/*"  # what is in the stack's buckets
# What belongs to no kind, with the kinds whose resources it is called on. Asked of the stack as a whole:
_ALWAYS = permit("sts:GetCallerIdentity", on=ALL)
# The calls of the drills that verification does not make already.
_DRILLS = (
    permit("cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "rds:DescribeEvents", on=ALL)
    | permit("rds:FailoverGlobalCluster", "rds:SwitchoverGlobalCluster", on=("rds.global_cluster", "rds.cluster"))
    | permit("s3:GetObject", on=_OBJECTS)
    | permit("s3:ListBucket", "s3:ListBucketVersions", on="s3.bucket")
    | permit("secretsmanager:GetSecretValue", on="secretsmanager.secret")
    | permit("sns:ListSubscriptionsByTopic", on="sns.topic")
)
# What the preflight asks before provisioning creates something, beyond what verification reads (docs/preflight.md). None of it names a
# resource of the stack; SimulatePrincipalPolicy is asked of the caller itself, whose ARN is not known here.
_PREFLIGHT = permit(
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeRegions",
    "iam:GetAccountSummary",
    "iam:SimulatePrincipalPolicy",
    "rds:DescribeAccountAttributes",
    "rds:DescribeDBEngineVersions",
    "rds:DescribeOrderableDBInstanceOptions",
    "route53:GetAccountLimit",
    "s3:ListAllMyBuckets",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
    "sns:ListTopics",
    on=ALL,
)
_SENSORS = (
    permit("cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics", on=ALL)
    | permit("cloudwatch:PutMetricData", on=ALL)
    # Asked for all global clusters at once: IAM checks a describe without an identifier against every one of them.
    | permit("rds:DescribeGlobalClusters", on=ALL)
    # The topic is encrypted: who publishes to it needs its key (SNS developer guide, "Key management").
    | permit("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", on="kms.key")
    | permit("route53:ListHealthChecks", on=ALL)
    | permit("sns:Publish", on="sns.topic")
    | permit("sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage", on="sqs.queue")
    | _ALWAYS
)
# The buckets encrypt with the site's key: who puts into them needs it (S3 API, PutObject: permissions).
_REPORTS = (
    permit("cloudwatch:GetMetricData", "cloudwatch:ListMetrics", on=ALL)
    | permit("kms:Decrypt", "kms:GenerateDataKey", on="kms.key")
    | permit("s3:PutObject", on=_OBJECTS)
    | _ALWAYS
)


def policy(
    stack: Stack,
    write: bool,
    sensors: bool = False,
    reports: bool = False,
    account: str = "*",
    history_bucket: str = "",
) -> dict[str, Any]:
    """An IAM policy document, scoped by ARN to the stack's regions and names.

    Args:
        write: also what provisioning, destroying and drills need; without, verification alone.
        sensors: also what the sensors need.
        reports: also what importing metrics and storing reports needs.
        account: 12 digits; by default the policy is valid in any account.
        history_bucket: the S3 bucket of the history, where it is kept in one.

    Actions without resource-level permissions (Service Authorization Reference), and calls that list without naming a
    resource, apply to "*". Where AWS generates ids (EC2, KMS, Route 53) the ARN ends in a wildcard.
    """
    rows = {name: [r for r in catalog(stack) if r.kind == name] for name in KINDS}
    kinds = [(name, kind) for name, kind in KINDS.items() if rows[name]]
    grants = [("Verify", _ALWAYS, "")] + [("Verify", kind.read_actions, name) for name, kind in kinds]
    if write:
        grants += [("Provision", kind.write_actions, name) for name, kind in kinds]
        grants += [("Provision", _PREFLIGHT, ""), ("Drills", _DRILLS, "")]
    if sensors:
        grants.append(("Sensors", _SENSORS, ""))
    if reports:
        grants.append(("Reports", _REPORTS, ""))
    arns = {
        name: tuple(sorted(_arns(kind.resource_arn, rows[name], account))) for name, kind in kinds if kind.resource_arn
    }
    # One statement for each purpose and service keeps the document within IAM's 10,240 characters for a role's inline
    # policies: an action takes effect only on the types of resource it knows, all of them the stack's own. What reaches beyond
    # the stack's own ARNs (RDS's option groups, its service-linked role) has a statement of its own.
    granted: dict[str, set[str]] = {}
    joined: dict[str, tuple[set[str], set[str]]] = {}
    for purpose, permissions, own in grants:
        for action, scope in _scopes(permissions, own, arns, rows, account):
            if scope <= granted.get(action, set()):
                continue
            granted[action] = granted.get(action, set()) | scope
            service = action.split(":")[0].capitalize()
            beyond = "Beyond" if any(":" in item for item in permissions[action]) else ""
            # Scoped reads join the writes on the same resources.
            joins = "Provision" if write and purpose == "Verify" else purpose
            sid = purpose if scope == {ALL} else f"{joins}{service}{beyond}"
            actions, resources = joined.setdefault(sid, (set(), set()))
            actions.add(action)
            resources |= scope
    statements = [_allow(sid, actions, resources) for sid, (actions, resources) in joined.items()]
    if history_bucket:
        bucket = names.arn("s3", history_bucket, home=stack.primary_region)
        statements.append(_allow("HistoryBucket", {"s3:ListBucket"}, {bucket}))
        objects = {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}
        statements.append(_allow("HistoryObjects", objects, {f"{bucket}/*"}))
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(sid: str, actions: set[str], scope: set[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": ALL if scope == {ALL} else sorted(scope),
    }


def _scopes(
    permissions: Permissions,
    own: str,
    arns: Mapping[str, tuple[str, ...]],
    rows: Mapping[str, list[Resource]],
    account: str,
) -> Iterable[tuple[str, set[str]]]:
    """(action, ARNs) with OWN, kinds' names and templates replaced."""
    for action, scope in permissions.items():
        found: set[str] = set()
        for item in scope:
            kind, _, tail = (own if item == OWN else item).partition("/")
            if item == ALL:
                found.add(ALL)
            elif ":" in item:
                found |= _arns(item, rows[own], account)
            else:
                found |= {f"{arn}/{tail}" if tail else arn for arn in arns.get(kind, ())}
        if found:
            yield action, found


def _arns(template: str, rows: list[Resource], account: str) -> set[str]:
    """The ARNs of a kind's rows, as few as possible: alike names share one, with a wildcard where they differ."""
    if "{name}" not in template:
        return {_arn(template, region, account) for region in {row.region for row in rows}}
    regions = {row.region for row in rows}
    region = regions.pop() if len(regions) == 1 else "*"
    found = sorted({_text(row.name).format(account=account) for row in rows})
    start = _common(found)
    # What a wildcard at the very beginning would admit is no longer this stack's alone.
    if start and len(found) > 1:
        end = _common(sorted(name[len(start) :][::-1] for name in found))[::-1]
        found = [f"{start}*{end[end.find('-') :]}"]
    return {_arn(template, region, account, name, home=rows[0].region) for name in found}


def _arn(template: str, region: str, account: str, name: str = "", home: str = "") -> str:
    return f"arn:{names.partition(home or region)}:{template.format(region=region, account=account, name=name)}"


def _common(ordered: list[str]) -> str:
    """What all of the sorted texts start with: what the first and the last do."""
    return "".join(
        one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(ordered[0], ordered[-1], strict=False))
    )


def _text(name: Any) -> str:
    return name.template if isinstance(name, Text) else str(name)
