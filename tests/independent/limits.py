"""What the other emulators lack, one by one: the call that shows it, the resources it touches, and what answers in its place.

A limit that has gone fails its test: delete it here. What is not listed must hold.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.independent.stand_ins import Request, Response, Send, StandIn

CONFIG = Config(retries={"total_max_attempts": 1})
KEYS = {"aws_access_key_id": "123456789012", "aws_secret_access_key": "independent"}
RDS = "http://rds.amazonaws.com/doc/2014-10-31/"
ROUTE_53 = "https://route53.amazonaws.com/doc/2013-04-01/"


@dataclass(frozen=True)
class Limit:
    """One gap of an emulator.

    gap        what AWS does and it does not
    shows      calls that show it, on an emulator with nothing in it: True while it is there
    touches    patterns of resource keys -> the fields that cannot come to agree; empty: their state stays unknown
    repeats    patterns of the operations that the product repeats in vain because of it
    stand_in   what answers in its place, so that the rest can be judged
    """

    gap: str
    shows: Callable[[Clients], bool]
    touches: dict[str, frozenset[str]] = field(default_factory=dict)
    repeats: frozenset[str] = frozenset()
    stand_in: StandIn | None = None


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


def _rds(action: str, result: str) -> Response:
    body = f'<{action}Response xmlns="{RDS}"><{action}Result>{result}</{action}Result></{action}Response>'
    return Response(200, body.encode(), [("Content-Type", "text/xml")])


def _cluster_endpoints(request: Request, send: Send) -> Response | None:
    """RDS API, DBClusterEndpoint: a writer's endpoint is inactive while the cluster is a secondary."""
    if request.operation != "DescribeDBClusterEndpoints":
        return None
    cluster = request.form.get("DBClusterIdentifier", "")
    form = {"Action": "DescribeDBClusters", "DBClusterIdentifier": cluster, "Version": "2014-10-31"}
    answer = send(Request("POST", "/", request.headers, urllib.parse.urlencode(form).encode()))
    if answer.status != 200:
        return answer
    text, items = answer.body.decode(), ""
    source = re.search(r"<ReplicationSourceIdentifier>[^<]+<", text)
    for element, kind in (("Endpoint", "WRITER"), ("ReaderEndpoint", "READER")):
        name = re.search(rf"<{element}>([^<]+)</{element}>", text)
        status = "inactive" if source and kind == "WRITER" else "available"
        if name:
            items += (
                f"<DBClusterEndpointList><DBClusterIdentifier>{cluster}</DBClusterIdentifier><Endpoint>{name[1]}</Endpoint>"
                f"<Status>{status}</Status><EndpointType>{kind}</EndpointType></DBClusterEndpointList>"
            )
    return _rds(request.operation, f"<DBClusterEndpoints>{items}</DBClusterEndpoints>")


class Subscriptions:
    """RDS event subscriptions, as the RDS API reference describes them: create, describe, modify, delete, tags."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, request: Request, send: Send) -> Response | None:
        action, form = request.operation, request.form
        region = region_of(request)
        if action in ("ListTagsForResource", "AddTagsToResource") and ":es:" in form.get("ResourceName", ""):
            item = self._known[region, form["ResourceName"].rsplit(":", maxsplit=1)[-1]]
            if action == "AddTagsToResource":
                item["tags"] |= _tags(form)
            return _rds(action, _tag_list(item["tags"]) if action == "ListTagsForResource" else "")
        if not action.endswith(("EventSubscription", "EventSubscriptions", "IdentifierToSubscription")):
            return None
        key = (region, form.get("SubscriptionName", ""))
        if action == "CreateEventSubscription":
            self._known[key] = {
                "topic": form["SnsTopicArn"],
                "type": form.get("SourceType", ""),
                "sources": _members(form, "SourceIds"),
                "categories": _members(form, "EventCategories"),
                "enabled": form.get("Enabled", "true"),
                "tags": _tags(form),
            }
        if key not in self._known:
            body = (
                f'<ErrorResponse xmlns="{RDS}"><Error><Type>Sender</Type><Code>SubscriptionNotFound</Code><Message>Event '
                f"Subscription {key[1]} not found.</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            )
            return Response(404, body.encode(), [("Content-Type", "text/xml")])
        item = self._known[key]
        if action == "ModifyEventSubscription":
            item["topic"], item["enabled"] = (
                form.get("SnsTopicArn", item["topic"]),
                form.get("Enabled", item["enabled"]),
            )
            item["categories"] = _members(form, "EventCategories") or item["categories"]
        if action == "DeleteEventSubscription":
            del self._known[key]
        one = _subscription(region, key[1], item)
        if action == "DescribeEventSubscriptions":
            return _rds(action, f"<EventSubscriptionsList>{one}</EventSubscriptionsList>")
        return _rds(action, one)


def _subscription(region: str, name: str, item: dict[str, Any]) -> str:
    sources = "".join(f"<SourceId>{escape(each)}</SourceId>" for each in item["sources"])
    categories = "".join(f"<EventCategory>{escape(each)}</EventCategory>" for each in item["categories"])
    return (
        f"<EventSubscription><CustSubscriptionId>{name}</CustSubscriptionId><SnsTopicArn>{item['topic']}</SnsTopicArn>"
        f"<Status>active</Status><SourceType>{item['type']}</SourceType><SourceIdsList>{sources}</SourceIdsList>"
        f"<EventCategoriesList>{categories}</EventCategoriesList><Enabled>{item['enabled']}</Enabled>"
        f"<EventSubscriptionArn>arn:aws:rds:{region}:123456789012:es:{name}</EventSubscriptionArn></EventSubscription>"
    )


def _members(form: dict[str, str], name: str) -> list[str]:
    """A list of the query protocol: `Name.Member.1`, or with the member's own name."""
    return [value for key, value in sorted(form.items()) if re.fullmatch(rf"{name}\.\w+\.\d+", key)]


def _tags(form: dict[str, str]) -> dict[str, str]:
    keys = {m[1]: v for k, v in form.items() if (m := re.fullmatch(r"Tags\.\w+\.(\d+)\.Key", k))}
    return {
        key: next(v for k, v in form.items() if re.fullmatch(rf"Tags\.\w+\.{n}\.Value", k)) for n, key in keys.items()
    }


def _tag_list(tags: dict[str, str]) -> str:
    items = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
    return f"<TagList>{items}</TagList>"


class Tags:
    """Tags of what RDS's ListTagsForResource does not know there: those given on creation and added since."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, request: Request, send: Send) -> Response | None:
        action, form = request.operation, request.form
        name = form.get("GlobalClusterIdentifier") or form.get("DBClusterParameterGroupName") or ""
        if action in ("CreateGlobalCluster", "CreateDBClusterParameterGroup"):
            answer = send(request)
            if answer.status == 200:
                self._known[self._key(request, name)] = _tags(form)
            return answer
        arn = form.get("ResourceName", "")
        if action not in ("ListTagsForResource", "AddTagsToResource") or not re.search(
            ":(global-cluster|cluster-pg):", arn
        ):
            return None
        tags = self._known.setdefault(self._key(request, arn.rsplit(":", maxsplit=1)[-1]), {})
        tags |= _tags(form)
        return _rds(action, _tag_list(tags) if action == "ListTagsForResource" else "")

    @staticmethod
    def _key(request: Request, name: str) -> str:
        return name if name.startswith("aurora-global") else f"{region_of(request)}/{name}"


def _not_found(code: str, message: str) -> Response:
    body = (
        f'<ErrorResponse xmlns="{RDS}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>'
        "<RequestId>0</RequestId></ErrorResponse>"
    )
    return Response(404, body.encode(), [("Content-Type", "text/xml")])


class RemovedMembers:
    """A global cluster without the members that were removed from it, and none after it was deleted."""

    def __init__(self) -> None:
        self._removed: set[str] = set()
        self._deleted = False

    def __call__(self, request: Request, send: Send) -> Response | None:
        if request.operation == "RemoveFromGlobalCluster":
            self._removed.add(request.form.get("DbClusterIdentifier", ""))
        elif request.operation == "DeleteGlobalCluster" and self._removed:
            self._deleted = True
            return _rds(request.operation, "")
        elif request.operation == "DescribeGlobalClusters" and self._deleted:
            return _not_found("GlobalClusterNotFoundFault", "Global cluster not found")
        elif request.operation == "DescribeGlobalClusters" and self._removed:
            answer = send(request)
            text = answer.body.decode()
            for arn in self._removed:
                text = re.sub(
                    rf"<GlobalClusterMember><DBClusterArn>{arn}</DBClusterArn>.*?</GlobalClusterMember>", "", text
                )
                text = text.replace(f"<member>{arn}</member>", "")
            return Response(answer.status, text.encode(), answer.headers)
        return None


def _absent_parameter_group(request: Request, send: Send) -> Response | None:
    if request.operation != "DescribeDBParameterGroups":
        return None
    answer = send(request)
    if answer.status == 200 and request.form.get("DBParameterGroupName") and b"<DBParameterGroup>" not in answer.body:
        return _not_found("DBParameterGroupNotFound", "DBParameterGroup not found")
    return answer


def region_of(request: Request) -> str:
    """The region in the request's signature."""
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/", dict(request.headers).get("Authorization", ""))
    return found[1] if found else ""


def _secret_has_no_value(clients: Clients) -> bool:
    client = clients("secretsmanager")
    client.create_secret(Name="limit")
    answer = client.get_secret_value(SecretId="limit")
    client.delete_secret(SecretId="limit", ForceDeleteWithoutRecovery=True)
    return "SecretString" not in answer


def _children_are_lost(clients: Clients) -> bool:
    config = {"Type": "CALCULATED", "HealthThreshold": 1, "ChildHealthChecks": ["11111111-1111-1111-1111-111111111111"]}
    client = clients("route53")
    check = client.create_health_check(CallerReference="limit", HealthCheckConfig=config)["HealthCheck"]
    client.delete_health_check(HealthCheckId=check["Id"])
    return bool(check["HealthCheckConfig"].get("ChildHealthChecks") != config["ChildHealthChecks"])


def _a_cluster(clients: Clients, **more: Any) -> dict[str, Any]:
    client = clients("rds")
    cluster: dict[str, Any] = client.create_db_cluster(
        DBClusterIdentifier="limit",
        Engine="aurora-postgresql",
        EngineVersion="14.22",
        MasterUsername="limit",
        MasterUserPassword="limitlimit",
        **more,
    )["DBCluster"]
    client.delete_db_cluster(DBClusterIdentifier="limit", SkipFinalSnapshot=True)
    return cluster


def _endpoint_moves(clients: Clients) -> bool:
    client = clients("rds")
    before = client.create_db_cluster(
        DBClusterIdentifier="limit",
        Engine="aurora-postgresql",
        EngineVersion="14.22",
        MasterUsername="limit",
        MasterUserPassword="limitlimit",
    )["DBCluster"]["Endpoint"]
    client.create_db_instance(
        DBInstanceIdentifier="limit",
        DBClusterIdentifier="limit",
        Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
    )
    after = client.describe_db_clusters(DBClusterIdentifier="limit")["DBClusters"][0]["Endpoint"]
    client.delete_db_instance(DBInstanceIdentifier="limit", SkipFinalSnapshot=True)
    client.delete_db_cluster(DBClusterIdentifier="limit", SkipFinalSnapshot=True)
    return bool(before != after)


def _insights_key_is_lost(clients: Clients) -> bool:
    key = clients("kms").create_key()["KeyMetadata"]["Arn"]
    client = clients("rds")
    instance = client.create_db_instance(
        DBInstanceIdentifier="limit",
        Engine="postgres",
        MasterUsername="limit",
        MasterUserPassword="limitlimit",
        AllocatedStorage=20,
        DBInstanceClass="db.r6g.large",
        EnablePerformanceInsights=True,
        PerformanceInsightsKMSKeyId=key,
    )["DBInstance"]
    client.delete_db_instance(DBInstanceIdentifier="limit", SkipFinalSnapshot=True)
    return instance.get("PerformanceInsightsKMSKeyId") != key


def ministack() -> tuple[Limit, ...]:
    """ministack 1.5.33."""
    return (
        Limit(
            "a secret without a value has a version, and GetSecretValue answers it empty",
            _secret_has_no_value,
            stand_in=_secret_without_a_version,
        ),
        Limit(
            "route53 ListTagsForResources is not known",
            lambda clients: refused(
                lambda: clients("route53").list_tags_for_resources(ResourceType="hostedzone", ResourceIds=["Z1"])
            ),
            stand_in=_tags_of_one_by_one,
        ),
        Limit(
            "rds DescribeDBClusterEndpoints is not known",
            lambda clients: refused(lambda: clients("rds").describe_db_cluster_endpoints()),
            stand_in=_cluster_endpoints,
        ),
        Limit(
            "a cluster's endpoint changes with its first instance: what refers to it needs a second run",
            _endpoint_moves,
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
            lambda clients: (
                not _a_cluster(clients, EnableCloudwatchLogsExports=["postgresql"]).get("EnabledCloudwatchLogsExports")
            ),
            {"*/aurora/cluster": frozenset({"EnabledCloudwatchLogsExports"})},
            frozenset({"ModifyDBCluster"}),
        ),
        Limit(
            "an instance does not show the key of Performance Insights",
            _insights_key_is_lost,
            {"*/aurora/instance-*": frozenset({"PerformanceInsights"})},
            frozenset({"ModifyDBInstance"}),
        ),
    )


def _empty_instead_of_not_found(clients: Clients) -> bool:
    return not refused(lambda: clients("rds").describe_db_parameter_groups(DBParameterGroupName="limit"))


def _no_tags_of_groups(clients: Clients) -> bool:
    arn = "arn:aws:rds:us-east-1:123456789012:cluster-pg:limit"
    client = clients("rds")
    client.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="limit", DBParameterGroupFamily="aurora-postgresql14", Description="limit"
    )
    try:
        return refused(lambda: client.list_tags_for_resource(ResourceName=arn))
    finally:
        client.delete_db_cluster_parameter_group(DBClusterParameterGroupName="limit")


def _a_secondary_stays(clients: Clients) -> bool:
    rds = {region: clients("rds", region) for region in ("us-east-1", "us-west-2")}
    engine = {"Engine": "aurora-postgresql", "EngineVersion": "14.13"}
    login = {"MasterUsername": "limit", "MasterUserPassword": "limit-limit"}
    rds["us-east-1"].create_global_cluster(GlobalClusterIdentifier="limit", **engine)
    rds["us-east-1"].create_db_cluster(DBClusterIdentifier="limit", GlobalClusterIdentifier="limit", **engine, **login)
    member = rds["us-west-2"].create_db_cluster(DBClusterIdentifier="limit", GlobalClusterIdentifier="limit", **engine)
    arn = member["DBCluster"]["DBClusterArn"]
    rds["us-west-2"].remove_from_global_cluster(GlobalClusterIdentifier="limit", DbClusterIdentifier=arn)
    shown = rds["us-east-1"].describe_global_clusters()["GlobalClusters"]
    for client in rds.values():
        client.delete_db_cluster(DBClusterIdentifier="limit", SkipFinalSnapshot=True)
    return arn in {each["DBClusterArn"] for found in shown for each in found["GlobalClusterMembers"]}


def _alarm_is_lost(clients: Clients) -> bool:
    alarm = {"Name": "limit", "Region": "us-west-2"}
    config = {"Type": "CLOUDWATCH_METRIC", "AlarmIdentifier": alarm, "InsufficientDataHealthStatus": "Healthy"}
    client = clients("route53")
    check = client.create_health_check(CallerReference="limit", HealthCheckConfig=config)["HealthCheck"]
    client.delete_health_check(HealthCheckId=check["Id"])
    return bool(check["HealthCheckConfig"].get("AlarmIdentifier") != alarm)


ALARM_FIELDS = frozenset({"AlarmName", "AlarmRegion", "InsufficientDataHealthStatus"})


def localemu() -> tuple[Limit, ...]:
    """localemu 1.3.2."""
    return (
        Limit(
            "rds DescribeDBClusterEndpoints is not known",
            lambda clients: refused(lambda: clients("rds").describe_db_cluster_endpoints()),
            stand_in=_cluster_endpoints,
        ),
        Limit(
            "a parameter group that does not exist is an empty list, not an error",
            _empty_instead_of_not_found,
            stand_in=_absent_parameter_group,
        ),
        Limit(
            "rds ListTagsForResource refuses cluster parameter groups and global clusters",
            _no_tags_of_groups,
            stand_in=Tags(),
        ),
        Limit(
            "RemoveFromGlobalCluster of a secondary is accepted and removes nothing (moto looks in the caller's region alone)",
            _a_secondary_stays,
            stand_in=RemovedMembers(),
        ),
        Limit(
            "a CLOUDWATCH_METRIC health check loses its alarm",
            _alarm_is_lost,
            {f"*/dns/{name}": ALARM_FIELDS for name in ("health-check", "health-check-lag", "health-check-[sn]*")},
            frozenset({"POST /2013-04-01/healthcheck/*"}),
        ),
        Limit(
            "an instance does not show the key of Performance Insights",
            _insights_key_is_lost,
            {"*/aurora/instance-*": frozenset({"PerformanceInsights"})},
            frozenset({"ModifyDBInstance"}),
        ),
    )
