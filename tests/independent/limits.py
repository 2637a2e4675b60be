"""What the other emulators lack, one by one: the call that shows it, the resources it touches, and what answers in its place.

A limit that has gone fails its test: delete it here. What is not listed must hold.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.independent.rds_stand_ins import (
    RemovedMembers,
    Subscriptions,
    Tags,
    absent_parameter_group,
    cluster_endpoints,
)
from tests.independent.stand_ins import Request, Response, Send, StandIn

CONFIG = Config(retries={"total_max_attempts": 1})
KEYS = {"aws_access_key_id": "123456789012", "aws_secret_access_key": "independent"}
# Of the 14s that ministack knows, the newest that AWS offers too.
ENGINE = {"Engine": "aurora-postgresql", "EngineVersion": "14.22"}
ROUTE_53 = "https://route53.amazonaws.com/doc/2013-04-01/"


@dataclass(frozen=True)
class Limit:
    """One gap of an emulator.

    gap        what AWS does and it does not
    shows      calls that show it, on an emulator with nothing in it: True while it is there
    touches    patterns of resource keys -> the fields that cannot come to agree; empty: their state stays unknown
    repeats    patterns of the operations that the product repeats in vain because of it
    stand_in   what answers in its place, so that the rest can be judged
    preflight  patterns of the preflight's checks that cannot pass because of it
    second_run the first provisioning is not yet complete because of it
    """

    gap: str
    shows: Callable[[Clients], bool]
    touches: dict[str, frozenset[str]] = field(default_factory=dict)
    repeats: frozenset[str] = frozenset()
    stand_in: StandIn | None = None
    preflight: frozenset[str] = frozenset()
    second_run: bool = False


class Clients:
    """boto3 clients of one emulator: `clients("rds")`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, service: str, region: str = "us-east-1") -> Any:
        return boto3.client(service, region, endpoint_url=self._url, config=CONFIG, **KEYS)


def refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError:
        return True
    return False


# --- ministack -----------------------------------------------------------------------------------------------------------


def _tags_of_one_by_one(request: Request, send: Send) -> Response | None:
    match = re.fullmatch(r"/2013-04-01/tags/(hostedzone|healthcheck)", request.path.partition("?")[0])
    if request.method != "POST" or not match:
        return None
    sets = []
    for identity in re.findall(rb"<ResourceId>([^<]+)</ResourceId>", request.body):
        path = f"{match[0]}/{identity.decode()}"
        found = re.search(
            rb"<ResourceTagSet>.*</ResourceTagSet>", send(Request("GET", path, request.headers, b"")).body, re.S
        )
        sets.append(found[0] if found else b"")
    body = (
        b'<ListTagsForResourcesResponse xmlns="%s"><ResourceTagSets>%s</ResourceTagSets></ListTagsForResourcesResponse>'
    )
    return Response(200, body % (ROUTE_53.encode(), b"".join(sets)), [("Content-Type", "text/xml")])


def _secret_without_a_version(request: Request, send: Send) -> Response | None:
    if request.operation != "GetSecretValue":
        return None
    answer = send(request)
    if answer.status == 200 and not {"SecretString", "SecretBinary"} & json.loads(answer.body).keys():
        # Secrets Manager API, GetSecretValue: a secret without a value has no version to give.
        message = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"
        body = json.dumps({"__type": "ResourceNotFoundException", "Message": message}).encode()
        return Response(400, body, [("Content-Type", "application/x-amz-json-1.1")])
    return answer


def _secret_has_no_value(clients: Clients) -> bool:
    client = clients("secretsmanager")
    client.create_secret(Name="limit")
    answer = client.get_secret_value(SecretId="limit")
    client.delete_secret(SecretId="limit", ForceDeleteWithoutRecovery=True)
    return "SecretString" not in answer


def _tags_are_refused(clients: Clients) -> bool:
    client = clients("route53")
    with _health_check(client) as check:
        return refused(lambda: client.list_tags_for_resources(ResourceType="healthcheck", ResourceIds=[check["Id"]]))


def _children_are_lost(clients: Clients) -> bool:
    client = clients("route53")
    with _health_check(client) as child:
        config = {"Type": "CALCULATED", "HealthThreshold": 1, "ChildHealthChecks": [child["Id"]]}
        with _health_check(client, config) as check:
            return bool(check["HealthCheckConfig"].get("ChildHealthChecks") != config["ChildHealthChecks"])


def _exports_are_lost(clients: Clients) -> bool:
    with _cluster(clients, EnableCloudwatchLogsExports=["postgresql"]) as describe:
        return describe().get("EnabledCloudwatchLogsExports") != ["postgresql"]


def _endpoint_moves(clients: Clients) -> bool:
    with _cluster(clients) as describe:
        before = describe()["Endpoint"]
        with _instance(clients, describe()):
            return bool(describe()["Endpoint"] != before)


def _insights_key_is_lost(clients: Clients) -> bool:
    key = clients("kms").create_key()["KeyMetadata"]["Arn"]
    more = {"EnablePerformanceInsights": True, "PerformanceInsightsKMSKeyId": key}
    with _cluster(clients) as describe, _instance(clients, describe(), **more) as instance:
        return instance.get("PerformanceInsightsEnabled") is True and instance.get("PerformanceInsightsKMSKeyId") != key


def _insights_are_lost(clients: Clients) -> bool:
    with _cluster(clients) as describe, _instance(clients, describe(), EnablePerformanceInsights=True) as instance:
        return instance.get("PerformanceInsightsEnabled") is not True


def _secondary_has_an_endpoint(clients: Clients) -> bool:
    with (
        _global_cluster(clients) as (name, _),
        _cluster(clients, "us-west-2", GlobalClusterIdentifier=name) as describe,
    ):
        return "Endpoint" in describe()


def _no_quota_of(service: str, code: str, default: bool = False) -> Callable[[Clients], bool]:
    def shows(clients: Clients) -> bool:
        client = clients("service-quotas")
        call = client.get_aws_default_service_quota if default else client.get_service_quota
        return refused(lambda: call(ServiceCode=service, QuotaCode=code))

    return shows


def _r6g_cannot_be_ordered(clients: Clients) -> bool:
    wanted = {"Engine": "aurora-postgresql", "DBInstanceClass": "db.r6g.large"}
    return not clients("rds").describe_orderable_db_instance_options(**wanted)["OrderableDBInstanceOptions"]


@contextmanager
def _health_check(client: Any, config: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    config = config or {"Type": "TCP", "IPAddress": "192.0.2.1", "Port": 5432}
    reference = f"limit-{config['Type']}"
    check: dict[str, Any] = client.create_health_check(CallerReference=reference, HealthCheckConfig=config)[
        "HealthCheck"
    ]
    try:
        yield check
    finally:
        client.delete_health_check(HealthCheckId=check["Id"])


@contextmanager
def _cluster(clients: Clients, region: str = "us-east-1", **more: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """A new cluster: what describes it. A secondary, as any outside us-east-1, takes no password."""
    client, name = clients("rds", region), {"DBClusterIdentifier": _new_name()}
    users = {"MasterUsername": "limit", "MasterUserPassword": "limitlimit"} if region == "us-east-1" else {}
    arn = client.create_db_cluster(**name, **ENGINE, **users, **more)["DBCluster"]["DBClusterArn"]
    try:
        yield lambda: client.describe_db_clusters(**name)["DBClusters"][0]
    finally:
        if group := more.get("GlobalClusterIdentifier"):
            # Refused where it is detached already.
            refused(lambda: client.remove_from_global_cluster(GlobalClusterIdentifier=group, DbClusterIdentifier=arn))
        client.delete_db_cluster(**name, SkipFinalSnapshot=True)


@contextmanager
def _instance(clients: Clients, cluster: dict[str, Any], **more: Any) -> Iterator[dict[str, Any]]:
    """A new instance of `cluster`, as described after its creation."""
    client, name = clients("rds"), {"DBInstanceIdentifier": _new_name()}
    where = {"DBClusterIdentifier": cluster["DBClusterIdentifier"], "Engine": cluster["Engine"]}
    client.create_db_instance(**name, **where, DBInstanceClass="db.r6g.large", **more)
    try:
        yield client.describe_db_instances(**name)["DBInstances"][0]
    finally:
        client.delete_db_instance(**name, SkipFinalSnapshot=True)


@contextmanager
def _global_cluster(clients: Clients) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """A new global cluster with a writer: its name, and what lists the ARNs of its members."""
    client, name = clients("rds"), {"GlobalClusterIdentifier": _new_name()}
    client.create_global_cluster(**name, **ENGINE)

    def members() -> list[str]:
        found = client.describe_global_clusters(**name)["GlobalClusters"]
        return [member["DBClusterArn"] for each in found for member in each["GlobalClusterMembers"]]

    with _cluster(clients, **name):
        yield name["GlobalClusterIdentifier"], members
    # Refused where it could not lose its members.
    refused(lambda: client.delete_global_cluster(**name))


def _new_name() -> str:
    return f"limit-{uuid.uuid4().hex[:8]}"


def _of_both() -> tuple[Limit, ...]:
    return (
        Limit(
            "rds DescribeDBClusterEndpoints is not known",
            lambda clients: refused(lambda: clients("rds").describe_db_cluster_endpoints()),
            stand_in=cluster_endpoints,
        ),
        Limit("DescribeDBClusters shows an Endpoint of a secondary, where AWS shows none", _secondary_has_an_endpoint),
        Limit(
            "rds DescribeAccountAttributes is not known",
            lambda clients: refused(lambda: clients("rds").describe_account_attributes()),
            preflight=frozenset(
                {"quota-db-*", "quota-*parameter-groups", "quota-subnet-groups", "quota-event-subscriptions"}
            ),
        ),
        Limit(
            "route53 GetAccountLimit is not known",
            lambda clients: refused(lambda: clients("route53").get_account_limit(Type="MAX_HEALTH_CHECKS_BY_OWNER")),
            preflight=frozenset({"quota-health-checks", "quota-hosted-zones"}),
        ),
    )


def ministack() -> tuple[Limit, ...]:
    """ministack 1.5.33."""
    return (
        Limit(
            "a secret without a value has a version, and GetSecretValue answers it empty",
            _secret_has_no_value,
            stand_in=_secret_without_a_version,
        ),
        Limit("route53 ListTagsForResources is not known", _tags_are_refused, stand_in=_tags_of_one_by_one),
        *_of_both(),
        Limit(
            "a cluster's endpoint changes with its first instance: what refers to it needs a second run",
            _endpoint_moves,
            second_run=True,
        ),
        Limit(
            "RDS event subscriptions are not known",
            lambda clients: refused(lambda: clients("rds").describe_event_subscriptions()),
            stand_in=Subscriptions(),
        ),
        Limit(
            "the children of a CALCULATED health check are lost",
            _children_are_lost,
            {"global/dns/health-check-*": frozenset({"ChildHealthChecks"})},
            frozenset({"POST /2013-04-01/healthcheck/*"}),
        ),
        Limit(
            "a cluster does not show which logs it exports",
            _exports_are_lost,
            {"*/aurora/cluster": frozenset({"EnabledCloudwatchLogsExports"})},
            frozenset({"ModifyDBCluster"}),
        ),
        Limit(
            "an instance does not show the key of Performance Insights",
            _insights_key_is_lost,
            {"*/aurora/instance-*": frozenset({"PerformanceInsights"})},
            frozenset({"ModifyDBInstance"}),
        ),
        Limit(
            "service-quotas is not known",
            _no_quota_of("vpc", "L-F678F1CE"),
            preflight=frozenset(
                {
                    "quota-vpc*",
                    "quota-security-group-rules",
                    "quota-kms-keys",
                    "quota-sns-topics",
                    "quota-s3-buckets",
                    "quota-iam-roles",
                }
            ),
        ),
        Limit(
            "rds DescribeOrderableDBInstanceOptions offers no db.r6g",
            _r6g_cannot_be_ordered,
            preflight=frozenset({"instance-class"}),
        ),
    )


def _empty_instead_of_not_found(clients: Clients) -> bool:
    return not refused(lambda: clients("rds").describe_db_parameter_groups(DBParameterGroupName="limit"))


def _no_tags_of_groups(clients: Clients) -> bool:
    client, name = clients("rds"), {"DBClusterParameterGroupName": "limit"}
    group = client.create_db_cluster_parameter_group(
        **name, DBParameterGroupFamily="aurora-postgresql14", Description="limit"
    )["DBClusterParameterGroup"]
    try:
        return refused(lambda: client.list_tags_for_resource(ResourceName=group["DBClusterParameterGroupArn"]))
    finally:
        client.delete_db_cluster_parameter_group(**name)


def _name_is_ignored(clients: Clients) -> bool:
    with _global_cluster(clients) as (name, _):
        answer = clients("rds").describe_global_clusters(GlobalClusterIdentifier="limit-of-another-name")
        return name in {each["GlobalClusterIdentifier"] for each in answer["GlobalClusters"]}


def _no_tags_of_global_clusters(clients: Clients) -> bool:
    client, name = clients("rds"), {"GlobalClusterIdentifier": "limit"}
    arn = client.create_global_cluster(**name, **ENGINE)["GlobalCluster"]["GlobalClusterArn"]
    try:
        return refused(lambda: client.list_tags_for_resource(ResourceName=arn))
    finally:
        client.delete_global_cluster(**name)


def _alarm_is_lost(clients: Clients) -> bool:
    clients("cloudwatch").put_metric_alarm(
        AlarmName="limit",
        Namespace="Limit",
        MetricName="Limit",
        Statistic="Minimum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    alarm = {"Name": "limit", "Region": "us-east-1"}
    config = {"Type": "CLOUDWATCH_METRIC", "AlarmIdentifier": alarm, "InsufficientDataHealthStatus": "Healthy"}
    try:
        with _health_check(clients("route53"), config) as check:
            return bool(check["HealthCheckConfig"].get("AlarmIdentifier") != alarm)
    finally:
        clients("cloudwatch").delete_alarms(AlarmNames=["limit"])


def _member_stays(clients: Clients) -> bool:
    """RDS API, RemoveFromGlobalCluster: takes a secondary's ARN, and detaches it."""
    client = clients("rds", "us-west-2")
    with (
        _global_cluster(clients) as (name, members),
        _cluster(clients, "us-west-2", GlobalClusterIdentifier=name) as it,
    ):
        arn = it()["DBClusterArn"]
        client.remove_from_global_cluster(GlobalClusterIdentifier=name, DbClusterIdentifier=arn)
        return arn in members()


ALARM_FIELDS = frozenset({"AlarmName", "AlarmRegion", "InsufficientDataHealthStatus"})


def localemu() -> tuple[Limit, ...]:
    """localemu 1.3.2."""
    return (
        *_of_both(),
        Limit(
            "a parameter group that does not exist is an empty list, not an error",
            _empty_instead_of_not_found,
            stand_in=absent_parameter_group,
        ),
        Limit(
            "rds ListTagsForResource refuses cluster parameter groups",
            _no_tags_of_groups,
            stand_in=Tags("CreateDBClusterParameterGroup", "DBClusterParameterGroupName", "cluster-pg"),
        ),
        Limit(
            "rds ListTagsForResource refuses global clusters",
            _no_tags_of_global_clusters,
            stand_in=Tags("CreateGlobalCluster", "GlobalClusterIdentifier", "global-cluster"),
        ),
        Limit(
            "RemoveFromGlobalCluster of a secondary is answered, and changes nothing",
            _member_stays,
            stand_in=RemovedMembers(),
        ),
        Limit("DescribeGlobalClusters answers all, whichever is named", _name_is_ignored),
        Limit(
            "rds DescribeDBEngineVersions is not known",
            lambda clients: refused(lambda: clients("rds").describe_db_engine_versions(Engine="aurora-postgresql")),
            preflight=frozenset({"engine-version", "instance-class"}),
        ),
        Limit(
            "service-quotas GetAWSDefaultServiceQuota is not known",
            _no_quota_of("kms", "L-C2F1777E", default=True),
            preflight=frozenset({"quota-kms-keys", "quota-sns-topics", "quota-s3-buckets", "quota-iam-roles"}),
        ),
        Limit(
            "a CLOUDWATCH_METRIC health check loses its alarm",
            _alarm_is_lost,
            {f"*/dns/{name}": ALARM_FIELDS for name in ("health-check", "health-check-lag", "health-check-[sn]*")},
            frozenset({"POST /2013-04-01/healthcheck/*"}),
        ),
        Limit(
            "an instance does not show Performance Insights",
            _insights_are_lost,
            {"*/aurora/instance-*": frozenset({"PerformanceInsights"})},
            frozenset({"ModifyDBInstance"}),
        ),
    )
