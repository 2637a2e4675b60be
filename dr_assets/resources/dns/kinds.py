"""Route 53: health checks, the private zone, failover records.

Route 53's control plane is in us-east-1: nothing of the recovery path calls what is here. Health checks are created by one
call and tagged by the next; in between ours are known by a CallerReference that starts with their name (the rest is
random: a reference that was used once cannot be used for a second one, not even after deletion).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import ALL, Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.resources.names import arn
from dr_assets.resources.tags import changed_tags, from_tag_list

_BATCH = 10  # ListTagsForResources takes so many ids in one call


def reference(name: str) -> str:
    """A CallerReference by which a thing that was never tagged is found again. At most 64 characters (Route 53's limit)."""
    return f"{name[:51]}~{uuid.uuid4().hex[:12]}"


def _tags(reads: Reads, region: str, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), _BATCH):
        chunk = list(ids[start : start + _BATCH])
        answer = reads.call("route53", "list_tags_for_resources", region, ResourceType=kind, ResourceIds=chunk)
        found |= {item["ResourceId"]: from_tag_list(item.get("Tags")) for item in answer["ResourceTagSets"]}
    return found


def _matches(tags: Mapping[str, str], caller_reference: str, name: str) -> bool:
    return tags.get("Name") == name or (not tags and caller_reference.startswith(f"{name[:51]}~"))


def _tag_call(kind: str, resource_id: str, target: Target, drift: Sequence[Drift]) -> Call:
    tags = changed_tags(target, drift)
    return Call(
        "route53", "change_tags_for_resource", {"ResourceType": kind, "ResourceId": resource_id, "AddTags": tags}
    )


_FIELDS = (
    "Type",
    "InsufficientDataHealthStatus",
    "ChildHealthChecks",
    "HealthThreshold",
    "FullyQualifiedDomainName",
    "Port",
    "ResourcePath",
    "RequestInterval",
    "FailureThreshold",
)


# Route 53 copies these settings of an alarm when a check names it, and does not notice later changes (Route 53 developer guide,
# "Updating health checks when you change CloudWatch alarm settings"; terraform-provider-aws#29251).
COPIED_FROM_ALARM = (
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "Threshold",
    "ComparisonOperator",
    "Period",
    "EvaluationPeriods",
)


class HealthCheck(Kind):
    """`AlarmName`, `AlarmRegion`: Route 53 has them as one AlarmIdentifier. `AlarmConfiguration`: what it copied from the alarm;
    naming the alarm again copies it anew."""

    name = "route53.health_check"
    unnamed = True
    label = "health check"
    compute_kinds = ("route53",)
    adopts_untagged = True
    immutable = frozenset({"Type", "RequestInterval"})
    resource_arn = "route53:::healthcheck/*"
    read_actions = permit("route53:ListTagsForResources") | permit("route53:ListHealthChecks", on=ALL)
    write_actions = permit(
        "route53:UpdateHealthCheck", "route53:ChangeTagsForResource", "route53:DeleteHealthCheck"
    ) | permit("route53:CreateHealthCheck", "cloudwatch:DescribeAlarms", on=ALL)
    least_reads = (0, 2)  # list, tags
    terraform = ("aws_route53_health_check",)
    import_field = "HealthCheckId"
    console_url = "https://console.aws.amazon.com/route53/healthchecks/home"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        checks = reads.pages("route53", "list_health_checks", region, "HealthChecks")
        tags = _tags(reads, region, "healthcheck", [check["Id"] for check in checks])
        answers: dict[str, Observed | None] = {}
        for target in batch:
            mine = (c for c in checks if _matches(tags.get(c["Id"], {}), c["CallerReference"], target.name))
            found = next(mine, None)
            answers[target.key] = self._observe(found, tags.get(found["Id"], {})) if found else None
        return answers

    def _observe(self, check: Mapping[str, Any], tags: dict[str, str]) -> Observed:
        config = check["HealthCheckConfig"]
        alarm = config.get("AlarmIdentifier") or {}
        return {
            "HealthCheckId": check["Id"],
            "Arn": arn("route53", f"healthcheck/{check['Id']}"),
            **{name: config.get(name) for name in _FIELDS},
            "AlarmName": alarm.get("Name"),
            "AlarmRegion": alarm.get("Region"),
            "AlarmConfiguration": _copied(check.get("CloudWatchAlarmConfiguration")),
            "Inverted": config.get("Inverted", False),
            "Disabled": config.get("Disabled", False),
            "Tags": tags,
        }

    def refine(self, desired: Mapping[str, Any], observed: Observed) -> Mapping[str, Any]:
        """What Route 53 does not show of the alarm cannot be compared."""
        shown = observed["AlarmConfiguration"] is not None
        return {name: value for name, value in desired.items() if shown or name != "AlarmConfiguration"}

    def _config(self, target: Target, names: Sequence[str]) -> dict[str, Any]:
        want = target.desired
        config = {name: want[name] for name in names if name in want and not name.startswith("Alarm")}
        if "AlarmName" in want and any(name.startswith("Alarm") for name in names):
            config["AlarmIdentifier"] = {"Name": want["AlarmName"], "Region": want["AlarmRegion"]}
        return config

    def create(self, target: Target) -> Call:
        config = self._config(target, [name for name in target.desired if name != "Tags"])
        return Call(
            "route53", "create_health_check", {"CallerReference": reference(target.name), "HealthCheckConfig": config}
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift) - {"Tags"}
        if not changed:
            return _tag_call("healthcheck", observed["HealthCheckId"], target, drift)
        return Call(
            "route53",
            "update_health_check",
            {"HealthCheckId": observed["HealthCheckId"], **self._config(target, sorted(changed))},
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("route53", "delete_health_check", {"HealthCheckId": observed["HealthCheckId"]})


def _copied(configuration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not configuration:
        return None
    dimensions = {item["Name"]: item["Value"] for item in configuration.get("Dimensions", ())}
    copied = {name: configuration.get(name) for name in COPIED_FROM_ALARM}
    return {**copied, "Threshold": float(configuration["Threshold"]), "Dimensions": dimensions}


class Zone(Kind):
    """A private zone. `VPCs`: texts `region vpc-id`. settings: VPCs, the first of which it is created with."""

    name = "route53.zone"
    unnamed = True
    label = "private hosted zone"
    compute_kinds = ("route53",)
    adopts_untagged = True
    resource_arn = "route53:::hostedzone/*"
    read_actions = permit("route53:GetHostedZone", "route53:ListTagsForResources") | permit(
        "route53:ListHostedZonesByName", on=ALL
    )
    write_actions = permit(
        "route53:ChangeTagsForResource",
        "route53:DeleteHostedZone",
        "route53:AssociateVPCWithHostedZone",
        "route53:DisassociateVPCFromHostedZone",
    ) | permit("route53:CreateHostedZone", "ec2:DescribeVpcs", on=ALL)
    least_reads = (1, 2)  # the VPCs of a zone; list, tags
    terraform = ("aws_route53_zone",)
    import_field = "ZoneId"
    console_url = "https://console.aws.amazon.com/route53/v2/hostedzones"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        region, label = target.region, target.identity["ZoneName"]
        found = reads.call("route53", "list_hosted_zones_by_name", region, DNSName=label)["HostedZones"]
        ours = [zone for zone in found if zone["Name"] == f"{label}." and zone["Config"].get("PrivateZone")]
        ids = [zone["Id"].rsplit("/", 1)[-1] for zone in ours]
        tags = _tags(reads, region, "hostedzone", ids) if ids else {}
        for zone, zone_id in zip(ours, ids, strict=True):
            if _matches(tags.get(zone_id, {}), zone["CallerReference"], target.name):
                vpcs = reads.call("route53", "get_hosted_zone", region, Id=zone_id).get("VPCs", ())
                return {
                    "ZoneId": zone_id,
                    "Arn": arn("route53", f"hostedzone/{zone_id}"),
                    "VPCs": sorted(f"{vpc['VPCRegion']} {vpc['VPCId']}" for vpc in vpcs),
                    "Tags": tags.get(zone_id, {}),
                }
        return None

    def create(self, target: Target) -> Call:
        params = {
            "Name": target.identity["ZoneName"],
            "CallerReference": reference(target.name),
            "HostedZoneConfig": {"PrivateZone": True, "Comment": target.settings["Comment"]},
            "VPC": _vpc(target.desired["VPCs"][0]),
        }
        return Call("route53", "create_hosted_zone", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "VPCs" not in changed_fields(drift):
            return _tag_call("hostedzone", observed["ZoneId"], target, drift)
        zone = {"HostedZoneId": observed["ZoneId"]}
        missing = sorted(set(target.desired["VPCs"]) - set(observed["VPCs"]))
        if missing:
            return Call("route53", "associate_vpc_with_hosted_zone", {**zone, "VPC": _vpc(missing[0])})
        surplus = sorted(set(observed["VPCs"]) - set(target.desired["VPCs"]))
        return Call("route53", "disassociate_vpc_from_hosted_zone", {**zone, "VPC": _vpc(surplus[0])})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("route53", "delete_hosted_zone", {"Id": observed["ZoneId"]})


def _vpc(text: str) -> dict[str, str]:
    region, vpc_id = text.split(" ")
    return {"VPCRegion": region, "VPCId": vpc_id}


class Record(Kind):
    """A failover CNAME. identity: ZoneId, RecordName, SetIdentifier. Route 53 has no partial update: UPSERT replaces it."""

    name = "route53.record"
    label = "failover record"
    compute_kinds = ("route53",)
    absent_codes = ("NoSuchHostedZone",)
    read_actions = permit("route53:ListResourceRecordSets", on="route53.zone")
    write_actions = permit("route53:ChangeResourceRecordSets", on="route53.zone")
    least_reads = (0, 1)
    terraform = ("aws_route53_record",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        want = target.identity
        records = reads.pages(
            "route53", "list_resource_record_sets", target.region, "ResourceRecordSets", HostedZoneId=want["ZoneId"]
        )
        for record in records:
            same_name = record["Name"].rstrip(".") == want["RecordName"]
            if same_name and record["Type"] == "CNAME" and record.get("SetIdentifier") == want["SetIdentifier"]:
                values = record.get("ResourceRecords") or [{}]  # none where it was changed into an alias
                return {
                    "TTL": record.get("TTL"),
                    "Value": values[0].get("Value"),
                    "Failover": record.get("Failover"),
                    "HealthCheckId": record.get("HealthCheckId"),
                    "Record": record,
                }
        return None

    def _change(self, action: str, target: Target, record: Mapping[str, Any]) -> Call:
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        params = {"HostedZoneId": target.identity["ZoneId"], "ChangeBatch": batch}
        return Call("route53", "change_resource_record_sets", params)

    def import_id(self, target: Target, observed: Observed) -> str:
        want = target.identity
        return "_".join((want["ZoneId"], want["RecordName"], "CNAME", want["SetIdentifier"]))

    def create(self, target: Target) -> Call:
        want = target.desired
        record = {
            "Name": target.identity["RecordName"],
            "Type": "CNAME",
            "SetIdentifier": target.identity["SetIdentifier"],
            "Failover": want["Failover"],
            "TTL": want["TTL"],
            "ResourceRecords": [{"Value": want["Value"]}],
            "HealthCheckId": want["HealthCheckId"],
        }
        return self._change("UPSERT", target, record)

    def delete(self, target: Target, observed: Observed) -> Call:
        # Route 53 deletes a record only by its exact content, fields that are not ours included.
        return self._change("DELETE", target, observed["Record"])


KINDS: tuple[Kind, ...] = (HealthCheck(), Zone(), Record())
