"""Round trips of the DNS kinds: health checks, the private zone with two VPCs, failover records and their answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws

from .conftest import KEYS, PRIMARY, SECONDARY, Clients


def cloudwatch_check(region: str = PRIMARY, alarm: str = "alarm-a") -> dict[str, Any]:
    return {
        "Type": "CLOUDWATCH_METRIC",
        "AlarmIdentifier": {"Region": region, "Name": alarm},
        "InsufficientDataHealthStatus": "LastKnownStatus",
        "Inverted": False,
        "Disabled": False,
    }


def alarm(client: Clients, name: str, region: str = PRIMARY) -> None:
    client("cloudwatch", region).put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/RDS",
        MetricName="AuroraGlobalDBReplicationLag",
        Dimensions=[{"Name": "DBClusterIdentifier", "Value": "c"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=2,
        Threshold=60000,
        ComparisonOperator="GreaterThanThreshold",
    )


def test_cloudwatch_metric_check(client: Clients, name: str) -> None:
    route53 = client("route53")
    alarm(client, name)
    alarm(client, name + "-2", SECONDARY)
    created = route53.create_health_check(CallerReference=name, HealthCheckConfig=cloudwatch_check(alarm=name))
    check = created["HealthCheck"]["Id"]
    config = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert config == cloudwatch_check(alarm=name)
    # What Route 53 watches is the alarm's metric, copied when the check is made or changed.
    metric = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["CloudWatchAlarmConfiguration"]
    assert (metric["MetricName"], metric["Threshold"]) == ("AuroraGlobalDBReplicationLag", 60000.0)
    again = route53.create_health_check(CallerReference=name, HealthCheckConfig=cloudwatch_check(alarm=name))
    assert again["HealthCheck"]["Id"] == check  # the same caller reference and settings make no second check
    with pytest.raises(ClientError) as caught:
        route53.create_health_check(CallerReference=name, HealthCheckConfig=cloudwatch_check(alarm="other"))
    assert caught.value.response["Error"]["Code"] == "HealthCheckAlreadyExists"

    updated = route53.update_health_check(
        HealthCheckId=check,
        HealthCheckVersion=1,
        AlarmIdentifier={"Region": SECONDARY, "Name": name + "-2"},
        InsufficientDataHealthStatus="Healthy",
        Inverted=True,
    )["HealthCheck"]
    assert updated["HealthCheckVersion"] == 2
    config = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert config["AlarmIdentifier"] == {"Region": SECONDARY, "Name": name + "-2"}
    assert (config["InsufficientDataHealthStatus"], config["Inverted"]) == ("Healthy", True)
    # Whatever becomes of the alarm: an update that does not name it neither reads it nor copies it again.
    client("cloudwatch", SECONDARY).put_metric_alarm(
        AlarmName=name + "-2",
        Namespace="AWS/RDS",
        MetricName="CPUUtilization",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=3,
        DatapointsToAlarm=2,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    kept = route53.update_health_check(HealthCheckId=check, Inverted=True)["HealthCheck"]
    assert kept["CloudWatchAlarmConfiguration"]["MetricName"] == "AuroraGlobalDBReplicationLag"
    with pytest.raises(ClientError) as caught:
        route53.update_health_check(HealthCheckId=check, AlarmIdentifier={"Region": SECONDARY, "Name": name + "-2"})
    assert caught.value.response["Error"]["Code"] == "InvalidInput"
    with pytest.raises(ClientError) as caught:
        route53.update_health_check(HealthCheckId=check, HealthCheckVersion=1, Inverted=False)
    assert caught.value.response["Error"]["Code"] == "HealthCheckVersionMismatch"

    route53.change_tags_for_resource(
        ResourceType="healthcheck",
        ResourceId=check,
        AddTags=[{"Key": "Name", "Value": name}, {"Key": "x", "Value": "1"}],
    )
    route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=check, RemoveTagKeys=["x"])
    tags = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=check)["ResourceTagSet"]["Tags"]
    assert tags == [{"Key": "Name", "Value": name}]
    sets = route53.list_tags_for_resources(ResourceType="healthcheck", ResourceIds=[check])["ResourceTagSets"]
    assert sets[0]["Tags"] == tags
    # "You can add a maximum of 10 tags to a health check or a hosted zone" (Route 53 API, ChangeTagsForResource).
    with pytest.raises(ClientError) as caught:
        route53.change_tags_for_resource(
            ResourceType="healthcheck", ResourceId=check, AddTags=[{"Key": str(n), "Value": ""} for n in range(10)]
        )
    assert caught.value.response["Error"]["Code"] == "InvalidInput"
    pages = route53.get_paginator("list_health_checks").paginate()
    assert check in [item["Id"] for page in pages for item in page["HealthChecks"]]
    route53.delete_health_check(HealthCheckId=check)
    with pytest.raises(ClientError) as caught:
        route53.get_health_check(HealthCheckId=check)
    assert caught.value.response["Error"]["Code"] == "NoSuchHealthCheck"
    with pytest.raises(ClientError) as caught:
        route53.delete_health_check(HealthCheckId=check)
    assert caught.value.response["Error"]["Code"] == "NoSuchHealthCheck"


def test_calculated_check(client: Clients, name: str) -> None:
    route53 = client("route53")
    children = []
    for n in range(3):
        alarm(client, f"{name}-{n}")
        made = route53.create_health_check(
            CallerReference=f"{name}-{n}", HealthCheckConfig=cloudwatch_check(alarm=f"{name}-{n}")
        )
        children.append(made["HealthCheck"]["Id"])
    config = {
        "Type": "CALCULATED",
        "ChildHealthChecks": children[:2],
        "HealthThreshold": 2,
        "Inverted": False,
        "Disabled": False,
    }
    check = route53.create_health_check(CallerReference=name, HealthCheckConfig=config)["HealthCheck"]["Id"]
    assert route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"] == config
    route53.update_health_check(HealthCheckId=check, ChildHealthChecks=children, HealthThreshold=3)
    shown = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert (shown["ChildHealthChecks"], shown["HealthThreshold"]) == (children, 3)
    # An update without children leaves them.
    route53.update_health_check(HealthCheckId=check, HealthThreshold=0)
    shown = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert (shown["ChildHealthChecks"], shown["HealthThreshold"]) == (children, 0)


def test_https_check(client: Clients, name: str) -> None:
    route53 = client("route53")
    config = {
        "Type": "HTTPS",
        "FullyQualifiedDomainName": "db.example.com",
        "Port": 443,
        "ResourcePath": "/health",
        "RequestInterval": 10,
        "FailureThreshold": 2,
        "MeasureLatency": False,
        "Inverted": False,
        "Disabled": False,
        "EnableSNI": True,
        "Regions": ["us-east-1", "us-west-2", "eu-west-1"],
    }
    check = route53.create_health_check(CallerReference=name, HealthCheckConfig=config)["HealthCheck"]["Id"]
    assert route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"] == config
    route53.update_health_check(HealthCheckId=check, Disabled=True, FailureThreshold=5, ResourcePath="/x")
    shown = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert shown == {**config, "Disabled": True, "FailureThreshold": 5, "ResourcePath": "/x"}


def test_private_zone_with_two_vpcs(client: Clients, name: str) -> None:
    route53 = client("route53")
    here = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    there = client("ec2", SECONDARY).create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    created = route53.create_hosted_zone(
        Name=f"{name}.internal",
        CallerReference=name,
        VPC={"VPCRegion": PRIMARY, "VPCId": here},
        HostedZoneConfig={"Comment": "dr", "PrivateZone": True},
    )
    zone = created["HostedZone"]["Id"]
    assert zone.startswith("/hostedzone/") and created["HostedZone"]["Config"]["PrivateZone"] is True
    with pytest.raises(ClientError) as caught:
        route53.create_hosted_zone(
            Name=f"{name}.internal", CallerReference=name, VPC={"VPCRegion": PRIMARY, "VPCId": here}
        )
    assert caught.value.response["Error"]["Code"] == "HostedZoneAlreadyExists"
    route53.associate_vpc_with_hosted_zone(HostedZoneId=zone, VPC={"VPCRegion": SECONDARY, "VPCId": there})
    vpcs = route53.get_hosted_zone(Id=zone)["VPCs"]
    assert {(v["VPCRegion"], v["VPCId"]) for v in vpcs} == {(PRIMARY, here), (SECONDARY, there)}
    route53.associate_vpc_with_hosted_zone(HostedZoneId=zone, VPC={"VPCRegion": SECONDARY, "VPCId": there})
    assert len(route53.get_hosted_zone(Id=zone)["VPCs"]) == 2
    route53.disassociate_vpc_from_hosted_zone(HostedZoneId=zone, VPC={"VPCRegion": SECONDARY, "VPCId": there})
    assert [v["VPCId"] for v in route53.get_hosted_zone(Id=zone)["VPCs"]] == [here]
    with pytest.raises(ClientError) as caught:
        route53.disassociate_vpc_from_hosted_zone(HostedZoneId=zone, VPC={"VPCRegion": PRIMARY, "VPCId": here})
    assert caught.value.response["Error"]["Code"] == "LastVPCAssociation"
    route53.change_tags_for_resource(
        ResourceType="hostedzone", ResourceId=zone.rsplit("/", 1)[1], AddTags=[{"Key": "Site", "Value": "global"}]
    )
    tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone.rsplit("/", 1)[1])
    assert tags["ResourceTagSet"]["Tags"] == [{"Key": "Site", "Value": "global"}]
    named = route53.list_hosted_zones_by_name(DNSName=f"{name}.internal")["HostedZones"]
    assert [item["Id"] for item in named] == [zone]
    by_vpc = route53.list_hosted_zones_by_vpc(VPCId=here, VPCRegion=PRIMARY)["HostedZoneSummaries"]
    assert [item["HostedZoneId"] for item in by_vpc] == [zone.rsplit("/", 1)[1]]
    route53.delete_hosted_zone(Id=zone)


def test_failover_records(client: Clients, name: str) -> None:
    route53 = client("route53")
    vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zone = route53.create_hosted_zone(
        Name=f"{name}.internal", CallerReference=name, VPC={"VPCRegion": PRIMARY, "VPCId": vpc}
    )["HostedZone"]["Id"]
    alarm(client, name)
    checks = [
        route53.create_health_check(CallerReference=f"{name}-{n}", HealthCheckConfig=cloudwatch_check(alarm=name))[
            "HealthCheck"
        ]["Id"]
        for n in range(2)
    ]

    def record(role: str, check: str, value: str, ttl: int = 60) -> dict[str, Any]:
        return {
            "Name": f"db.{name}.internal.",
            "Type": "CNAME",
            "TTL": ttl,
            "SetIdentifier": role.lower(),
            "Failover": role,
            "HealthCheckId": check,
            "ResourceRecords": [{"Value": value}],
        }

    def change(action: str, item: dict[str, Any]) -> None:
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": item}]}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)

    def records() -> list[dict[str, Any]]:
        found = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return [item for item in found if item["Type"] == "CNAME"]

    first, second = record("PRIMARY", checks[0], "p.example"), record("SECONDARY", checks[1], "s.example")
    change("CREATE", first)
    change("UPSERT", second)
    assert sorted(records(), key=lambda r: r["SetIdentifier"]) == [first, second]
    with pytest.raises(ClientError) as caught:
        change("CREATE", first)
    assert caught.value.response["Error"]["Code"] == "InvalidChangeBatch"
    changed = record("PRIMARY", checks[1], "p2.example", 30)
    change("UPSERT", changed)
    assert sorted(records(), key=lambda r: r["SetIdentifier"]) == [changed, second]
    with pytest.raises(ClientError) as caught:
        change("DELETE", first)  # no longer what is there
    assert caught.value.response["Error"]["Code"] == "InvalidChangeBatch"
    change("DELETE", changed)
    assert records() == [second]
    with pytest.raises(ClientError) as caught:
        route53.delete_hosted_zone(Id=zone)
    assert caught.value.response["Error"]["Code"] == "HostedZoneNotEmpty"
    change("DELETE", second)
    route53.delete_hosted_zone(Id=zone)


# -- answers over DNS ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named_aws() -> Iterator[EmbeddedAws]:
    """One with a nameserver. No cluster is made in it, so no database is started."""
    with EmbeddedAws(databases=True) as aws:
        aws.control.answers(route53_calls_per_second=0.0)
        yield aws


class Names:
    """A zone with a failover record: each site has an alarm on a metric of its own, a check, and a record."""

    def __init__(self, aws: EmbeddedAws, name: str) -> None:
        self.aws, self.name = aws, name
        self.zone = f"{name}.internal"
        self.cloudwatch = {region: self.client("cloudwatch", region) for region in (PRIMARY, SECONDARY)}
        self.route53 = self.client("route53", PRIMARY)
        vpc = self.client("ec2", PRIMARY).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.zone_id = self.route53.create_hosted_zone(
            Name=self.zone, CallerReference=name, VPC={"VPCRegion": PRIMARY, "VPCId": vpc}
        )["HostedZone"]["Id"]
        for role, region in (("PRIMARY", PRIMARY), ("SECONDARY", SECONDARY)):
            self.cloudwatch[region].put_metric_alarm(
                AlarmName=f"{name}-{role}",
                Namespace="Test",
                MetricName=name,
                Statistic="Maximum",
                Period=60,
                EvaluationPeriods=2,
                Threshold=1.0,
                ComparisonOperator="LessThanThreshold",
                Dimensions=[{"Name": "Role", "Value": role}],
            )
            config = cloudwatch_check(region, f"{name}-{role}")
            check = self.route53.create_health_check(CallerReference=f"{name}-{role}", HealthCheckConfig=config)
            self.record(
                "CNAME",
                f"{role.lower()}.example",
                SetIdentifier=role.lower(),
                Failover=role,
                HealthCheckId=check["HealthCheck"]["Id"],
            )

    def client(self, service: str, region: str) -> Any:
        return boto3.client(service, region, endpoint_url=self.aws.endpoint_url, **KEYS)

    def record(self, kind: str, value: str, host: str = "db", **more: Any) -> None:
        item = {"Name": f"{host}.{self.zone}", "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}], **more}
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": item}]}
        self.route53.change_resource_record_sets(HostedZoneId=self.zone_id, ChangeBatch=batch)

    def put(self, **values: float) -> None:
        """Each role's metric in the two minutes before this one; then everything is evaluated."""
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        for role, value in values.items():
            region = PRIMARY if role == "PRIMARY" else SECONDARY
            dimensions = [{"Name": "Role", "Value": role}]
            self.cloudwatch[region].put_metric_data(
                Namespace="Test",
                MetricData=[
                    {
                        "MetricName": self.name,
                        "Dimensions": dimensions,
                        "Value": value,
                        "Timestamp": now - timedelta(minutes=n),
                    }
                    for n in (1, 2)
                ],
            )
        self.aws.control.alarms(evaluate=True)

    def ask(self, name: str, kind: str = "A") -> Any:
        assert self.aws.nameserver
        ip, port = self.aws.nameserver.split(":")
        return dns.query.udp(dns.message.make_query(name, kind), ip, timeout=30, port=int(port))

    def answer(self) -> str:
        (found,) = self.ask(f"db.{self.zone}").answer
        assert (found.rdtype, found.ttl) == (dns.rdatatype.CNAME, 60)
        return str(found[0].target).removesuffix(".example.")


@pytest.fixture
def names(named_aws: EmbeddedAws, name: str) -> Iterator[Names]:
    named_aws.control.clear_faults()
    yield Names(named_aws, name)
    named_aws.control.clear_faults()


def test_the_answer_moves_with_the_primarys_check_and_back(names: Names) -> None:
    assert names.answer() == "primary"  # nothing is known of either
    names.put(PRIMARY=0.0, SECONDARY=2.0)
    assert names.answer() == "secondary"
    names.put(PRIMARY=2.0)  # the statistic is the maximum
    assert names.answer() == "primary"


def test_with_both_unhealthy_the_primary_answers(names: Names) -> None:
    names.put(SECONDARY=0.0)
    assert names.answer() == "primary"
    names.put(PRIMARY=0.0)
    assert names.answer() == "primary"


def test_a_state_that_was_set_moves_no_traffic(names: Names) -> None:
    names.cloudwatch[PRIMARY].set_alarm_state(
        AlarmName=f"{names.name}-PRIMARY", StateValue="ALARM", StateReason="a rehearsal"
    )
    assert names.answer() == "primary"


def test_a_dark_region_moves_traffic_where_silence_is_unhealthy(names: Names) -> None:
    names.put(PRIMARY=2.0, SECONDARY=2.0)
    checks = names.route53.list_health_checks()["HealthChecks"]
    (check,) = [each["Id"] for each in checks if each["CallerReference"] == f"{names.name}-PRIMARY"]
    names.aws.control.fault("dark", region=PRIMARY)
    names.aws.control.alarms(evaluate=True)
    assert names.answer() == "primary"  # LastKnownStatus
    names.aws.control.clear_faults()
    names.route53.update_health_check(HealthCheckId=check, InsufficientDataHealthStatus="Unhealthy")
    names.aws.control.fault("dark", region=PRIMARY)
    names.aws.control.alarms(evaluate=True)
    assert names.answer() == "secondary"
    names.aws.control.clear_faults()
    names.aws.control.alarms(evaluate=True)
    assert names.answer() == "primary"


def test_other_questions(names: Names) -> None:
    names.record("A", "10.0.0.7", host="plain")
    (found,) = names.ask(f"plain.{names.zone}").answer
    assert (str(found[0]), found.ttl) == ("10.0.0.7", 60)
    assert names.ask(f"PLAIN.{names.zone.upper()}").answer[0][0].address == "10.0.0.7"
    assert names.ask(f"absent.{names.zone}").rcode() == dns.rcode.NXDOMAIN
    there_but_not_of_this_type = names.ask(f"plain.{names.zone}", "TXT")
    assert (there_but_not_of_this_type.rcode(), there_but_not_of_this_type.answer) == (dns.rcode.NOERROR, [])
    assert names.ask(f"db.{names.zone}", "CNAME").answer[0].rdtype == dns.rdatatype.CNAME
