"""Generate the least-privilege IAM policy of each duty (verify, provision, drill …), scoped to the stack. Pure.

Sources: Service Authorization Reference for actions, resource types and condition keys; IAM user guide, "IAM and AWS STS quotas"
for sizes. docs/permissions.md says what cannot be confined further, and why.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from dr_assets.core.expressions import Text
from dr_assets.core.model import ALL, NEW, OWN, UNTAGGED, Permissions, Resource, permit
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import PROBE_NAMESPACE
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack

DUTIES = ("verify", "provision", "destroy", "drill", "sensors", "arm", "reports")
# What each duty puts into the history, and what it deletes there: below these prefixes, under the stack's name. Whoever writes below
# `armed` decides whether automatic failover is armed: that is a duty of its own.
_PUTS: Mapping[str, Sequence[str]] = {
    "drill": ("days", "drills", "leases", "records", "statements"),
    "sensors": ("alerts", "incidents", "maintenance", "outbox", "seen"),
    "arm": ("armed",),
    "reports": ("actions", "days", "samples", "seen", "statements"),
}
_DELETES: Mapping[str, Sequence[str]] = {
    "drill": ("leases",),
    "sensors": ("alerts", "incidents", "maintenance", "outbox", "seen"),
    "arm": ("armed",),
    "reports": ("actions", "incidents", "maintenance", "restores", "samples", "seen"),
}
# They set damaged files aside.
_QUARANTINING = ("sensors", "reports")
# Characters, white space not counted: of all inline policies of a role, and of one managed policy.
INLINE_LIMIT, MANAGED_LIMIT = 10_240, 6_144

Condition = Mapping[str, Mapping[str, Any]]
_FREE = "{}"  # no condition

_OBJECTS = "s3.bucket/*"  # what is in the stack's buckets
_ALWAYS = permit("sts:GetCallerIdentity", on=ALL)
# What the preconditions of a failover read: drills, reports and the sensors of an armed stack ask them.
_FAILOVER_CONDITIONS = (
    permit("cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "rds:DescribeDBInstances", on=ALL)
    | permit("kms:Decrypt", "kms:DescribeKey", on="kms.key")
    | permit("rds:DescribeDBClusters", on="rds.cluster")
    # A secondary's writer endpoint is asked for apart, as verification does.
    | permit("rds:DescribeDBClusterEndpoints", on=("rds.cluster", "rds:{region}:{account}:cluster-endpoint:*"))
    | permit("rds:DescribeGlobalClusters", on="rds.global_cluster")
    | permit("secretsmanager:GetSecretValue", on="secretsmanager.secret")
    | permit("sns:ListSubscriptionsByTopic", on="sns.topic")
)
# A planned drill verifies, too, and looks for exports that were not replicated.
_DRILLS = (
    _FAILOVER_CONDITIONS
    | permit("rds:DescribeEvents", on=ALL)
    | permit("rds:FailoverGlobalCluster", "rds:SwitchoverGlobalCluster", on=("rds.global_cluster", "rds.cluster"))
    | permit("s3:GetObject", on=_OBJECTS)
    | permit("s3:ListBucket", "s3:ListBucketVersions", on="s3.bucket")
)
_SENSORS = (
    _FAILOVER_CONDITIONS
    | permit("cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricData", on=ALL)
    # Asked for all global clusters at once: IAM checks a describe without an identifier against every one of them.
    | permit("rds:DescribeGlobalClusters", on=ALL)
    # A cluster keeps the key it was made with, which may be none of the stack's (tagged) keys by now.
    | permit("kms:DescribeKey", on="kms:{region}:{account}:key/*")
    # The topic is encrypted: who publishes to it needs its key (SNS developer guide, "Key management").
    | permit("kms:GenerateDataKey", on="kms.key")
    | permit("route53:ListHealthChecks", on=ALL)
    | permit("sns:Publish", on="sns.topic")
    | permit("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", on="sqs.queue")
)
# The buckets encrypt with the site's key: who puts into them needs it (S3 API, PutObject: permissions).
_REPORTS = _FAILOVER_CONDITIONS | permit("kms:GenerateDataKey", on="kms.key") | permit("s3:PutObject", on=_OBJECTS)
# What the checks before the first write read (`dr preflight`); the role's own policies are simulated.
_PREFLIGHT = permit(
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeRegions",
    "iam:GetAccountSummary",
    "rds:DescribeAccountAttributes",
    "rds:DescribeDBEngineVersions",
    "rds:DescribeOrderableDBInstanceOptions",
    "route53:GetAccountLimit",
    "s3:ListAllMyBuckets",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
    "sns:ListTopics",
    on=ALL,
) | (
    permit("iam:GetRole", "iam:SimulatePrincipalPolicy", on="iam::{account}:role/*")
    | permit("rds:DescribeDBClusterSnapshots", on=("rds.cluster", "rds:{region}:{account}:cluster-snapshot:*"))
)
_DUTIES: Mapping[str, Permissions] = {
    "provision": _PREFLIGHT,
    "drill": _DRILLS,
    "sensors": _SENSORS,
    "reports": _REPORTS,
}
# Duties that verify, too.
_VERIFYING = ("verify", "provision", "destroy", "drill")
# What only `dr destroy` calls. Deletions among provisioning's corrections are not here.
_DESTROYING = re.compile(
    r"\w+:(Delete(?!Route$|BucketPolicy$)\w+|DetachRolePolicy|DisassociateRouteTable|ListBucketVersions|ListPolicyVersions"
    r"|RemoveFromGlobalCluster|ScheduleKeyDeletion|Unsubscribe)"
)

# What destroying never calls.
_CORRECTING = re.compile(
    r"\w+:(Create|Tag|Add|Modify|Attach|Update|Enable|Accept|Authorize|Revoke|Replace|Subscribe|PassRole|Set|PutMetric"
    r"|PutRole|Cancel|PutRetention|PutKey|PutSecret|Restore|Generate|GetR|Describe|Associate|Reset|Decrypt"
    r"|RemoveSource|ChangeTags|DisassociateVPC|PutBucket(Policy|Tagging|Versioning)|PutEncryption)\w*"
)

_WITHIN_BOUNDARY: Condition = {"ArnLike": {"iam:PermissionsBoundary": "{boundary}"}}
_THROUGH_SERVICES: Condition = {
    "StringLike": {"kms:ViaService": [f"{service}.*" for service in ("rds", "s3", "secretsmanager", "sns", "sqs")]}
}
# Conditions of single actions, with {boundary}, {monitoring_policy}, {namespace} and {zone} of the stack.
_CONDITIONS: Mapping[str, Condition] = {
    "cloudwatch:PutMetricData": {"StringEquals": {"cloudwatch:namespace": "{namespace}"}},
    "iam:AttachRolePolicy": {
        "ArnLike": {"iam:PermissionsBoundary": "{boundary}", "iam:PolicyARN": "{monitoring_policy}"}
    },
    "iam:CreateRole": _WITHIN_BOUNDARY,
    "iam:CreateServiceLinkedRole": {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}},
    "iam:PassRole": {"StringEquals": {"iam:PassedToService": ["monitoring.rds.amazonaws.com", "s3.amazonaws.com"]}},
    "iam:PutRolePermissionsBoundary": _WITHIN_BOUNDARY,
    "iam:PutRolePolicy": _WITHIN_BOUNDARY,
    "iam:UpdateAssumeRolePolicy": _WITHIN_BOUNDARY,
    # RDS keeps its volumes readable with grants; nobody else gets one.
    "kms:CreateGrant": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
    "kms:Decrypt": _THROUGH_SERVICES,
    "kms:GenerateDataKey": _THROUGH_SERVICES,
    "route53:ChangeResourceRecordSets": {
        "ForAllValues:StringLike": {"route53:ChangeResourceRecordSetsNormalizedRecordNames": ["{zone}", "*.{zone}"]}
    },
}
_SIGNING: Condition = {"StringEquals": {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "ECDSA_SHA_256"}}
# Confines what a call creates: it gets the stack's tag.
_NEW: Condition = {"StringEquals": {"aws:RequestTag/TaskID": "{suffix}"}}
# Confines what gets the stack's tag later: it has none of any stack.
_UNTAGGED: Condition = {**_NEW, "Null": {"aws:ResourceTag/TaskID": "true"}}
# EC2 tells tags of a creating call from others, so that nobody's resources can be made the stack's own.
_ON_CREATION: Mapping[str, Condition] = {"ec2:CreateTags": {"StringLike": {"ec2:CreateAction": "Create*"}}}


@dataclass(frozen=True)
class Grant:
    """One action on resources (ARNs, or ALL), under a condition."""

    action: str
    resources: frozenset[str]
    condition: str  # JSON


def grants(
    stack: Stack, duty: str, account: str = "*", history: str = "", signing: Sequence[str] = ()
) -> Iterator[Grant]:
    """What a duty needs, in the order of the kinds; an action may come several times.

    Args:
        duty: one of DUTIES.
        account: 12 digits; by default the policy is valid in any account.
        history: the S3 bucket of the history and its prefix there (`bucket` or `bucket/prefix`), where it is kept in one.
        signing: the ARNs of the KMS keys that sign its records, where such keys do.
    """
    rows = {name: [row for row in catalog(stack) if row.kind == name] for name in KINDS}
    scopes = _Scopes(stack, {name: found for name, found in rows.items() if found}, account)
    yield from scopes.grants(_ALWAYS, "")
    for name, kind in KINDS.items():
        if not rows[name]:
            continue
        if duty in _VERIFYING:
            yield from scopes.grants(kind.read_actions, name)
        if duty in ("provision", "destroy"):
            needless = _CORRECTING if duty == "destroy" else _DESTROYING
            wanted = {action: scope for action, scope in kind.write_actions.items() if not needless.fullmatch(action)}
            yield from scopes.grants(wanted, name)
    yield from scopes.grants(_DUTIES.get(duty, {}), "")
    if history and duty in _PUTS:
        yield from _history(stack, duty, history, account)
    if signing and duty in ("drill", "reports"):
        yield Grant("kms:GetPublicKey", frozenset(signing), _FREE)
        yield Grant("kms:Sign", frozenset(signing), json.dumps(_SIGNING, sort_keys=True))


def policy(
    stack: Stack, duties: Iterable[str], account: str = "*", history: str = "", signing: Sequence[str] = ()
) -> dict[str, Any]:
    """An IAM policy document for these duties together; arguments as for `grants`.

    One statement for each service and condition: an action takes effect only on the types of resource it knows, and all ARNs of a
    statement are the stack's own.
    """
    suffix = stack.environment_suffix
    # A bucket or a prefix may bear the stack's name: what is granted there must not reach the stack's own buckets.
    of_history = names.arn("s3", history, home=stack.primary_region) if history else ALL
    granted: dict[str, dict[str, set[str]]] = {}
    for duty in duties:
        for grant in grants(stack, duty, account, history, signing):
            granted.setdefault(grant.action, {}).setdefault(grant.condition, set()).update(grant.resources)
    statements: dict[tuple[str, str, tuple[str, ...]], tuple[set[str], set[str]]] = {}
    for action, by_condition in granted.items():
        free = by_condition.get(_FREE, set())
        for condition, resources in by_condition.items():
            if condition != _FREE and (resources <= free or ALL in free):
                continue
            everywhere = {ALL} if ALL in resources else set()
            # What other ARNs than the stack's own admit must not grow by joining statements.
            wild = everywhere or {
                arn for arn in resources if condition == _FREE and (suffix not in arn or arn.startswith(of_history))
            }
            for part in (wild, resources - wild):
                if part and not (everywhere and part is not wild):
                    key = (action.split(":")[0], condition, tuple(sorted(part)) if part is wild else ())
                    actions, joined = statements.setdefault(key, (set(), set()))
                    actions.add(action)
                    joined |= part
    listed = [
        _allow(service, json.loads(condition), actions, resources)
        for (service, condition, _), (actions, resources) in sorted(statements.items())
    ]
    used: Counter[str] = Counter()
    for statement in listed:
        used[statement["Sid"]] += 1
        statement["Sid"] += str(used[statement["Sid"]]) if used[statement["Sid"]] > 1 else ""
    return {"Version": "2012-10-17", "Statement": listed}


def size(document: Mapping[str, Any]) -> int:
    """Characters that count towards IAM's limits."""
    return len(json.dumps(document, separators=(",", ":")))


def split(document: Mapping[str, Any], limit: int = MANAGED_LIMIT) -> list[dict[str, Any]]:
    """The document's statements in as few documents as fit one after the other into `limit` characters each."""
    parts: list[dict[str, Any]] = []
    for statement in document["Statement"]:
        if parts:
            longer = {**parts[-1], "Statement": [*parts[-1]["Statement"], statement]}
            if size(longer) <= limit:
                parts[-1] = longer
                continue
        parts.append({**document, "Statement": [statement]})
    return parts


def _history(stack: Stack, duty: str, history: str, account: str) -> Iterator[Grant]:
    """The history's bucket: all of it to read, the duty's own prefixes to write; and whatever key of the account encrypts it, for this
    bucket's objects only."""
    bucket, _, prefix = history.partition("/")
    arn = names.arn("s3", bucket, home=stack.primary_region)
    root = f"{arn}/{prefix}/" if prefix else f"{arn}/"
    keys = names.arn("kms", "key/*", region="*", account=account, home=stack.primary_region)
    through_s3 = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [arn, f"{arn}/*"], "kms:ViaService": "s3.*"}}

    def below(prefixes: Sequence[str]) -> frozenset[str]:
        # `armed/STACK.json` stands beside its folder.
        of_stack = {f"{root}{each}/{stack.environment_suffix}{end}" for each in prefixes for end in ("/*", ".json")}
        return frozenset(each for each in of_stack if each.endswith("/*") or "/armed/" in each)

    aside = {f"{root}quarantine/*"} if duty in _QUARANTINING else set()
    yield Grant("s3:ListBucket", frozenset({arn}), _FREE)
    yield Grant("s3:GetObject", frozenset({f"{root}*"}), _FREE)
    yield Grant("s3:PutObject", below(_PUTS[duty]) | aside, _FREE)
    yield Grant("s3:DeleteObject", below(_DELETES[duty]), _FREE)
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        yield Grant(action, frozenset({keys}), json.dumps(through_s3, sort_keys=True))


def _allow(service: str, condition: Condition, actions: set[str], resources: set[str]) -> dict[str, Any]:
    keys = [re.sub(r"\W", "", key.split(":", 1)[1].split("/")[0]) for tests in condition.values() for key in tests]
    everywhere = "Everywhere" if resources == {ALL} else ""
    found = {
        "Sid": service.capitalize() + everywhere + "".join(key[:1].upper() + key[1:] for key in sorted(keys)),
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": ALL if everywhere else sorted(resources),
        "Condition": condition,
    }
    return {name: value for name, value in found.items() if value}


class _Scopes:
    """Turns kinds' permissions into grants: OWN, NEW, kinds' names and templates become ARNs and conditions."""

    def __init__(self, stack: Stack, rows: Mapping[str, Sequence[Resource]], account: str) -> None:
        self._rows, self._account = rows, account
        arns = {name: _arns(KINDS[name].resource_arn, found, account) for name, found in rows.items()}
        self._arns: Mapping[str, frozenset[str]] = {name: frozenset(found) for name, found in arns.items()}
        self._values = {
            "suffix": stack.environment_suffix,
            "boundary": names.arn("iam", f"policy/{names.boundary(stack)}", account=account, home=stack.primary_region),
            "monitoring_policy": names.monitoring_policy(stack),
            "namespace": PROBE_NAMESPACE,
            "zone": stack.hosted_zone_name,
        }

    def grants(self, permissions: Permissions, own: str) -> Iterator[Grant]:
        for action, scope in permissions.items():
            for item in scope:
                resources, confined = self._resources(item, own)
                more = _ON_CREATION.get(action, {}) if item == NEW else {}
                if resources:
                    yield Grant(action, resources, self._condition(confined, more, _CONDITIONS.get(action, {})))

    def _resources(self, item: str, own: str) -> tuple[frozenset[str], Condition]:
        if item == ALL:
            return frozenset({ALL}), {}
        if ":" in item:
            rows = self._rows.get(own) or [row for each in self._rows.values() for row in each]
            return frozenset(_arns(item, rows, self._account)), {}
        kind, _, tail = (own if item in (OWN, NEW, UNTAGGED) else item).partition("/")
        arns = self._arns.get(kind, frozenset())
        by_kind = KINDS[kind].confined if kind in KINDS else {}
        confined = {NEW: _NEW, UNTAGGED: _UNTAGGED}.get(item, by_kind)
        if confined:  # by tags: regions need not be told apart
            arns = frozenset(re.sub(r"^(arn:[\w-]+:\w+):[^:]*", r"\1:*", arn) for arn in arns)
        return frozenset(f"{arn}/{tail}" for arn in arns) if tail else arns, confined

    def _condition(self, *parts: Condition) -> str:
        joined: dict[str, dict[str, Any]] = {}
        for part in parts:
            for operator, tests in part.items():
                filled = {key: self._filled(value) for key, value in tests.items()}
                joined.setdefault(operator, {}).update(filled)
        return json.dumps(joined, sort_keys=True)

    def _filled(self, value: Any) -> Any:
        return [self._filled(item) for item in value] if isinstance(value, list) else str(value).format(**self._values)


def _arns(template: str, rows: Sequence[Resource], account: str) -> set[str]:
    """The ARNs of a kind's rows, as few as possible: alike names share one, with a wildcard where they differ."""
    regions = {row.region for row in rows}
    if not template:
        return set()
    if "{name}" not in template:
        return {_arn(template, region, account) for region in regions}
    region = regions.pop() if len(regions) == 1 else "*"
    # What a wildcard at the very beginning would admit is no longer this stack's alone.
    alike: dict[str, list[str]] = {}
    for name in sorted({_text(row.name).format(account=account) for row in rows}):
        alike.setdefault(name.split("-")[0], []).append(name)
    found = [_pattern(names_) for names_ in alike.values()]
    return {_arn(template, region, account, name, home=rows[0].region) for name in found}


def _pattern(alike: list[str]) -> str:
    """One name for all of the sorted ones, with a wildcard where they differ."""
    if len(alike) == 1:
        return alike[0]
    start = _common(alike)
    end = _common(sorted(name[len(start) :][::-1] for name in alike))[::-1]
    return f"{start}*{end[end.find('-') :]}"


def _arn(template: str, region: str, account: str, name: str = "", home: str = "") -> str:
    return f"arn:{names.partition(home or region)}:{template.format(region=region, account=account, name=name)}"


def _common(ordered: list[str]) -> str:
    """What all of the sorted texts start with: what the first and the last do."""
    return "".join(
        one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(ordered[0], ordered[-1], strict=False))
    )


def _text(name: Any) -> str:
    return name.template if isinstance(name, Text) else str(name)
