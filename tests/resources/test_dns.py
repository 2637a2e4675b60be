"""Route 53: found by tag or by an untagged one's reference, the one call for each difference, records as they stand."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from dr_assets.core.model import Target
from dr_assets.resources.dns.kinds import reference
from dr_assets.resources.registry import KINDS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import Stack, parse_stack
from tests.support.aws_double import FakeReads, creation, deletion, error, fields, look, next_call, tag_list
from tests.support.aws_double import target as plain_target

CHECKS = KINDS["route53.health_check"]
ROWS = (
    "primary/dns/health-check",
    "primary/dns/health-check-lag",
    "secondary/dns/health-check",
    "secondary/dns/health-check-lag",
    "secondary/dns/health-check-https",
    "global/dns/health-check-failover",
)


@pytest.fixture
def web(raw_stack: dict[str, Any]) -> Stack:
    return parse_stack({**raw_stack, "https_endpoints": {"secondary": "app.example.com"}})


def config(stack: Stack, key: str, **changes: Any) -> dict[str, Any]:
    """A health check's configuration as Route 53 answers it when it is as desired."""
    of = target(stack, key)
    apart = ("Tags", "AlarmName", "AlarmRegion", "AlarmConfiguration")
    want = {name: value for name, value in of.desired.items() if name not in apart}
    if "AlarmName" in of.desired:
        want["AlarmIdentifier"] = {"Name": of.desired["AlarmName"], "Region": of.desired["AlarmRegion"]}
    return {**want, **changes}


# What Route 53 copied from the alarm, and the same as the alarm's own kind observes it.
COPIED: dict[str, Any] = {
    "Namespace": "DRAssets",
    "MetricName": "WriterConnectivity",
    "Dimensions": [{"Name": "Stack", "Value": "l6p3z2w4"}, {"Name": "Site", "Value": "primary"}],
    "Statistic": "Minimum",
    "Threshold": 1.0,
    "ComparisonOperator": "LessThanThreshold",
    "Period": 60,
    "EvaluationPeriods": 2,
}
ALARM = {**COPIED, "Dimensions": {"Site": "primary", "Stack": "l6p3z2w4"}}


def target(stack: Stack, key: str) -> Target:
    """The row, with the alarm's settings in place of the references to it."""
    of = plain_target(stack, key)
    return plain_target(stack, key, AlarmConfiguration=ALARM) if "AlarmName" in of.desired else of


def check(
    stack: Stack,
    key: str,
    check_id: str = "id-1",
    caller: str = "terraform-2026",
    copied: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> dict[str, Any]:
    of = target(stack, key)
    found = {
        "Id": check_id,
        "CallerReference": caller,
        "HealthCheckVersion": 1,
        "HealthCheckConfig": config(stack, key, **changes),
    }
    if "AlarmName" in of.desired:
        found["CloudWatchAlarmConfiguration"] = {**COPIED, **copied}
    return found


def reads(checks: list[dict[str, Any]], tags: dict[str, dict[str, str]]) -> FakeReads:
    def tagged(ResourceType: str, ResourceIds: list[str]) -> dict[str, Any]:
        assert ResourceType == "healthcheck" and 1 <= len(ResourceIds) <= 10
        sets = [{"ResourceType": ResourceType, "ResourceId": i, "Tags": tag_list(tags.get(i, {}))} for i in ResourceIds]
        return {"ResourceTagSets": sets}

    answer = {"HealthChecks": checks, "Marker": "", "IsTruncated": False, "MaxItems": "100"}
    return FakeReads(CHECKS, list_health_checks=answer, list_tags_for_resources=tagged)


def tags_of(stack: Stack, key: str) -> dict[str, str]:
    return dict(target(stack, key).desired["Tags"])


@pytest.mark.parametrize("key", ROWS)
def test_in_sync_and_made_as_aws_takes_it(web: Stack, key: str) -> None:
    of = target(web, key)
    observed = look(reads([check(web, key)], {"id-1": tags_of(web, key)}), of)
    assert of.region == GLOBAL_REGION
    assert fields(of, observed) == []
    operation, params = creation(of)
    assert operation == "create_health_check"
    assert params["HealthCheckConfig"] == config(web, key)
    assert deletion(of, observed) == ("delete_health_check", {"HealthCheckId": "id-1"})


def test_all_are_read_by_one_list_and_one_question_for_ten_tags(web: Stack) -> None:
    others = [check(web, ROWS[0], f"other-{n}") for n in range(15)]
    ours = [check(web, key, key) for key in ROWS]
    double = reads([*others, *ours], {key: tags_of(web, key) for key in ROWS})
    targets = [target(web, key) for key in ROWS]
    seen = CHECKS.read(double, targets)
    assert all(seen[key] is not None and seen[key]["HealthCheckId"] == key for key in ROWS)  # type: ignore[index]
    assert [call[0] for call in double.calls] == ["list_health_checks", *["list_tags_for_resources"] * 3]


@pytest.mark.parametrize(
    "copied",
    [{"Dimensions": [{"Name": "DBClusterIdentifier", "Value": "x"}]}, {"Period": 300}, {"Threshold": 2.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_aws_04_a_check_that_copied_an_older_alarm_names_it_again(stack: Stack, copied: dict[str, Any]) -> None:
    """Route 53 copies the alarm's settings when it is named and does not notice later changes (Route 53 developer guide, "Updating
    health checks when you change CloudWatch alarm settings")."""
    of = target(stack, ROWS[0])
    observed = look(reads([check(stack, ROWS[0], copied=copied)], {"id-1": tags_of(stack, ROWS[0])}), of)
    assert fields(of, observed) == ["AlarmConfiguration"]
    assert next_call(of, observed) == (
        "update_health_check",
        {"HealthCheckId": "id-1", "AlarmIdentifier": {"Name": of.desired["AlarmName"], "Region": "us-east-1"}},
    )


def test_an_untagged_one_with_our_reference_is_ours_and_gets_its_tags(stack: Stack) -> None:
    """A crash between creating and tagging must not lead to a second one."""
    of = target(stack, ROWS[0])
    _, params = creation(of)
    observed = look(reads([check(stack, ROWS[0], caller=params["CallerReference"])], {}), of)
    operation, sent = next_call(of, observed)
    assert operation == "change_tags_for_resource"
    assert sent["ResourceId"] == "id-1"
    assert {tag["Key"]: tag["Value"] for tag in sent["AddTags"]} == of.desired["Tags"]
    assert CHECKS.adopts_untagged


def test_an_untagged_one_of_another_name_or_with_somebodys_tags_is_not_ours(stack: Stack) -> None:
    of = target(stack, ROWS[0])
    lag = reference(target(stack, ROWS[1]).name)
    assert look(reads([check(stack, ROWS[0], caller=lag)], {}), of) is None
    mine = reference(of.name)
    assert look(reads([check(stack, ROWS[0], caller=mine)], {"id-1": {"Name": "another"}}), of) is None


def test_a_reference_is_never_used_twice_and_always_fits(stack: Stack) -> None:
    # Route 53 answers HealthCheckAlreadyExists to the reference of a deleted one, for days.
    name = target(stack, ROWS[0]).name
    assert reference(name) != reference(name)
    assert max(len(reference("x" * length)) for length in (1, 51, 52, 200)) <= 64


@pytest.mark.parametrize(
    ("key", "change", "sent"),
    [
        (ROWS[0], {"InsufficientDataHealthStatus": "Unhealthy"}, {"InsufficientDataHealthStatus"}),
        (ROWS[0], {"AlarmIdentifier": {"Name": "x", "Region": "us-east-1"}}, {"AlarmIdentifier"}),
        (ROWS[0], {"Inverted": True, "Disabled": True}, {"Inverted", "Disabled"}),
        (ROWS[4], {"FailureThreshold": 9, "Port": 80}, {"FailureThreshold", "Port"}),
        (ROWS[5], {"HealthThreshold": 1}, {"HealthThreshold"}),
        (ROWS[5], {"ChildHealthChecks": ["x"]}, {"ChildHealthChecks"}),
    ],
)
def test_only_what_differs_is_updated(web: Stack, key: str, change: dict[str, Any], sent: set[str]) -> None:
    of = target(web, key)
    operation, params = next_call(of, look(reads([check(web, key, **change)], {"id-1": tags_of(web, key)}), of))
    assert operation == "update_health_check"
    assert set(params) == {"HealthCheckId", *sent}
    assert {name: params[name] for name in sent} == {name: config(web, key)[name] for name in sent}


def test_children_in_any_order(stack: Stack) -> None:
    of = target(stack, ROWS[5])
    turned = check(stack, ROWS[5], ChildHealthChecks=list(reversed(of.desired["ChildHealthChecks"])))
    assert fields(of, look(reads([turned], {"id-1": tags_of(stack, ROWS[5])}), of)) == []


def test_type_is_never_healed(stack: Stack) -> None:
    assert {"Type", "RequestInterval"} <= CHECKS.immutable


# --- the zone ----------------------------------------------------------------------------------------------------------

ZONE = "global/dns/zone"
PRIMARY, SECONDARY = ("us-east-1", "primary/network/vpc#VpcId"), ("us-west-2", "secondary/network/vpc#VpcId")


def zone_reads(stack: Stack, *vpcs: tuple[str, str], tags: dict[str, str] | None = None, **changes: Any) -> FakeReads:
    zone = {
        "Id": "/hostedzone/Z1",
        "Name": "aurora-dr.internal.",
        "CallerReference": "x",
        "Config": {"PrivateZone": True},
        **changes,
    }
    later = {"Id": "/hostedzone/Z2", "Name": "z.example.", "CallerReference": "y", "Config": {"PrivateZone": True}}
    found = tags_of(stack, ZONE) if tags is None else tags
    return FakeReads(
        KINDS["route53.zone"],
        list_hosted_zones_by_name={"HostedZones": [zone, later], "IsTruncated": False, "MaxItems": "100"},
        list_tags_for_resources={"ResourceTagSets": [{"ResourceId": "Z1", "Tags": tag_list(found)}]},
        get_hosted_zone={"HostedZone": zone, "VPCs": [{"VPCRegion": r, "VPCId": v} for r, v in vpcs]},
    )


def test_the_zone_in_sync(stack: Stack) -> None:
    of = target(stack, ZONE)
    observed = look(zone_reads(stack, SECONDARY, PRIMARY), of)
    assert fields(of, observed) == []
    assert observed is not None
    assert observed["ZoneId"] == "Z1"
    assert deletion(of, observed) == ("delete_hosted_zone", {"Id": "Z1"})


def test_a_public_zone_of_the_name_or_somebody_elses_private_one_is_not_ours(stack: Stack) -> None:
    of = target(stack, ZONE)
    assert look(zone_reads(stack, PRIMARY, Config={"PrivateZone": False}), of) is None
    assert look(zone_reads(stack, PRIMARY, Name="other.internal."), of) is None
    assert look(zone_reads(stack, PRIMARY, tags={"Name": "theirs"}), of) is None


def test_the_zone_is_created_private_in_the_primarys_vpc(stack: Stack) -> None:
    operation, params = creation(target(stack, ZONE))
    assert operation == "create_hosted_zone"
    assert params["HostedZoneConfig"]["PrivateZone"] is True
    assert params["VPC"] == {"VPCRegion": PRIMARY[0], "VPCId": PRIMARY[1]}


def test_missing_vpcs_first_then_surplus_ones_then_tags(stack: Stack) -> None:
    of, third = target(stack, ZONE), ("us-east-1", "vpc-3")
    steps = []
    for vpcs in ([PRIMARY, third], [PRIMARY, SECONDARY, third], [PRIMARY, SECONDARY]):
        observed = look(zone_reads(stack, *vpcs, tags={**tags_of(stack, ZONE), "Site": "x"}), of)
        operation, params = next_call(of, observed)
        steps.append((operation, params.get("VPC", {}).get("VPCId")))
    assert steps == [
        ("associate_vpc_with_hosted_zone", SECONDARY[1]),
        ("disassociate_vpc_from_hosted_zone", "vpc-3"),
        ("change_tags_for_resource", None),
    ]


# --- records -----------------------------------------------------------------------------------------------------------


def record(stack: Stack, site: str, **changes: Any) -> dict[str, Any]:
    of = target(stack, f"global/dns/record-{site}")
    return {
        "Name": "db.aurora-dr.internal.",
        "Type": "CNAME",
        "SetIdentifier": site,
        "Failover": site.upper(),
        "TTL": 60,
        "ResourceRecords": [{"Value": of.desired["Value"]}],
        "HealthCheckId": of.desired["HealthCheckId"],
        **changes,
    }


def record_reads(*records: dict[str, Any]) -> FakeReads:
    soa = {"Name": "aurora-dr.internal.", "Type": "SOA", "TTL": 900, "ResourceRecords": [{"Value": "x"}]}
    answer = {"ResourceRecordSets": [soa, *records], "IsTruncated": False, "MaxItems": "300"}
    return FakeReads(KINDS["route53.record"], list_resource_record_sets=answer)


@pytest.mark.parametrize(
    ("site", "health"), [("primary", "global/dns/health-check-home"), ("secondary", "global/dns/health-check-failover")]
)
def test_each_record_and_its_health(stack: Stack, site: str, health: str) -> None:
    of = target(stack, f"global/dns/record-{site}")
    double = record_reads(record(stack, "primary"), record(stack, "secondary"))
    assert fields(of, look(double, of)) == []
    assert [call[2] for call in double.calls] == [{"HostedZoneId": "global/dns/zone#ZoneId"}]
    operation, params = creation(of)
    (change,) = params["ChangeBatch"]["Changes"]
    assert (operation, change["Action"]) == ("change_resource_record_sets", "UPSERT")
    assert change["ResourceRecordSet"]["HealthCheckId"] == f"{health}#HealthCheckId"
    assert change["ResourceRecordSet"]["ResourceRecords"] == [{"Value": f"{site}/aurora/cluster#Endpoint"}]
    assert change["ResourceRecordSet"]["TTL"] == 60


def test_no_record_and_no_zone_are_absent(stack: Stack) -> None:
    of = target(stack, "global/dns/record-primary")
    assert look(record_reads(record(stack, "secondary")), of) is None
    assert look(FakeReads(KINDS[of.kind], list_resource_record_sets=error("NoSuchHostedZone")), of) is None


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"TTL": 300}, ["TTL"]),
        ({"HealthCheckId": "other"}, ["HealthCheckId"]),
        ({"Failover": "SECONDARY"}, ["Failover"]),
        ({"ResourceRecords": [{"Value": "elsewhere.example.com"}]}, ["Value"]),
    ],
)
def test_a_record_is_replaced_whole(stack: Stack, changes: dict[str, Any], differs: list[str]) -> None:
    of = target(stack, "global/dns/record-primary")
    observed = look(record_reads(record(stack, "primary", **changes)), of)
    assert fields(of, observed) == differs
    assert next_call(of, observed) == creation(of)


def test_a_record_is_deleted_exactly_as_it_stands(stack: Stack) -> None:
    of = target(stack, "global/dns/record-primary")
    odd = record(stack, "primary", TTL=300)
    del odd["HealthCheckId"], odd["Failover"]
    odd["Weight"] = 7
    _, params = deletion(of, look(record_reads(odd), of))
    assert params["ChangeBatch"]["Changes"] == [{"Action": "DELETE", "ResourceRecordSet": odd}]


def test_an_alias_in_its_place_is_drift_and_no_crash(stack: Stack) -> None:
    of = target(stack, "global/dns/record-primary")
    alias = record(stack, "primary")
    del alias["ResourceRecords"], alias["TTL"]
    alias["AliasTarget"] = {"HostedZoneId": "Z", "DNSName": "x.", "EvaluateTargetHealth": False}
    assert fields(of, look(record_reads(alias), of)) == ["TTL", "Value"]
