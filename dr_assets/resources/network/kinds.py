"""Kinds of the network: VPC, subnet, security group, DB subnet group. Route tables, routes and peering are in `routes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import (
    ALL,
    NEW,
    OWN,
    TAGGED,
    Call,
    Drift,
    Kind,
    Observed,
    Reads,
    Target,
    changed_fields,
    permit,
)
from dr_assets.resources.names import arn
from dr_assets.resources.network import routes
from dr_assets.resources.network.ec2 import Ec2Kind, subnet_group
from dr_assets.resources.tags import from_tag_list, rds_tags, tag_rds, to_tag_list


class Vpc(Ec2Kind):
    name = "ec2.vpc"
    unnamed = True
    label = "VPC"
    type, result = "vpc", "Vpcs"
    immutable = frozenset({"CidrBlock"})
    resource_arn = "ec2:{region}:{account}:vpc/*"
    confined = TAGGED
    read_actions = (
        permit("ec2:DescribeVpcAttribute")
        | permit("ec2:DescribeVpcs", on=ALL)
        | permit("rds:DescribeDBSubnetGroups", on="rds.subnet_group")
    )
    write_actions = (
        permit("ec2:ModifyVpcAttribute", "ec2:DeleteVpc")
        | permit("ec2:CreateVpc", on=NEW)
        | permit("ec2:CreateTags", on=(OWN, NEW))
    )
    least_reads = (2, 1)  # DescribeVpcAttribute takes one attribute
    terraform = ("aws_vpc",)
    import_field = "VpcId"
    console_url = "https://{region}.console.aws.amazon.com/vpcconsole/home?region={region}#vpcs:tag:Name={name}"

    def shape(self, reads: Reads, region: str, item: Mapping[str, Any]) -> Observed:
        def attribute(name: str) -> bool:
            answer = reads.call("ec2", "describe_vpc_attribute", region, VpcId=item["VpcId"], Attribute=name)
            return bool(answer[name[0].upper() + name[1:]]["Value"])

        return {
            "VpcId": item["VpcId"],
            "Arn": arn("ec2", f"vpc/{item['VpcId']}", region=region, account=reads.account),
            "Status": item.get("State"),
            "CidrBlock": item["CidrBlock"],
            "EnableDnsHostnames": attribute("enableDnsHostnames"),
            "EnableDnsSupport": attribute("enableDnsSupport"),
            "Tags": from_tag_list(item.get("Tags")),
        }

    def proof(self, reads: Reads, target: Target, group: Mapping[str, Any]) -> Mapping[str, list[str]]:
        return {"vpc-id": [group["VpcId"]]}

    def create(self, target: Target) -> Call:
        return self.new(target, CidrBlock=target.desired["CidrBlock"])

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if "Tags" in changed:
            return self.tag(target, observed, drift)
        # Host names need support, so support goes first; AWS takes one attribute a call.
        field = "EnableDnsSupport" if "EnableDnsSupport" in changed else "EnableDnsHostnames"
        return Call(
            "ec2", "modify_vpc_attribute", {"VpcId": observed["VpcId"], field: {"Value": target.desired[field]}}
        )

    def waiting(self, observed: Observed) -> str | None:
        return "the VPC is being created" if observed["Status"] == "pending" else None


class Subnet(Ec2Kind):
    name = "ec2.subnet"
    label = "subnet"
    type, result = "subnet", "Subnets"
    immutable = frozenset({"VpcId", "CidrBlock", "AvailabilityZone"})
    resource_arn = "ec2:{region}:{account}:subnet/*"
    confined = TAGGED
    read_actions = permit("ec2:DescribeSubnets", on=ALL) | permit("rds:DescribeDBSubnetGroups", on="rds.subnet_group")
    write_actions = (
        permit("ec2:ModifySubnetAttribute", "ec2:DeleteSubnet")
        | permit("ec2:CreateSubnet", on=(NEW, "ec2.vpc"))
        | permit("ec2:CreateTags", on=(OWN, NEW))
    )
    least_reads = (0, 1)
    terraform = ("aws_subnet",)
    import_field = "SubnetId"

    def shape(self, reads: Reads, region: str, item: Mapping[str, Any]) -> Observed:
        return {
            "SubnetId": item["SubnetId"],
            "Arn": item.get("SubnetArn"),
            "Status": item.get("State"),
            "VpcId": item["VpcId"],
            "CidrBlock": item["CidrBlock"],
            "AvailabilityZone": item["AvailabilityZone"],
            "MapPublicIpOnLaunch": item.get("MapPublicIpOnLaunch", False),
            "Tags": from_tag_list(item.get("Tags")),
        }

    def proof(self, reads: Reads, target: Target, group: Mapping[str, Any]) -> Mapping[str, list[str]]:
        return {"vpc-id": [group["VpcId"]], "cidr-block": [target.identity["CidrBlock"]]}

    def create(self, target: Target) -> Call:
        want = target.desired
        return self.new(target, **{name: want[name] for name in ("VpcId", "CidrBlock", "AvailabilityZone")})

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if "Tags" in changed:
            return self.tag(target, observed, drift)
        value = {"Value": target.desired["MapPublicIpOnLaunch"]}
        return Call("ec2", "modify_subnet_attribute", {"SubnetId": observed["SubnetId"], "MapPublicIpOnLaunch": value})

    def waiting(self, observed: Observed) -> str | None:
        return "the subnet is being created" if observed["Status"] == "pending" else None


class SecurityGroup(Ec2Kind):
    """`Ingress` / `Egress`: sorted texts `protocol from-to source`, one for each source."""

    name = "ec2.security_group"
    label = "security group"
    type, result = "security-group", "SecurityGroups"
    immutable = frozenset({"VpcId"})
    resource_arn = "ec2:{region}:{account}:security-group/*"
    confined = TAGGED
    read_actions = permit("ec2:DescribeSecurityGroups", on=ALL) | permit(
        "rds:DescribeDBSubnetGroups", on="rds.subnet_group"
    )
    write_actions = (
        permit(
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:RevokeSecurityGroupIngress",
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:DeleteSecurityGroup",
        )
        | permit("ec2:CreateSecurityGroup", on=(NEW, "ec2.vpc"))
        | permit("ec2:CreateTags", on=(OWN, NEW))
    )
    least_reads = (0, 1)
    terraform = ("aws_security_group",)
    import_field = "GroupId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        filters = [{"Name": "group-name", "Values": sorted(target.name for target in batch)}]
        groups = reads.pages("ec2", "describe_security_groups", region, "SecurityGroups", Filters=filters)
        found = {group["GroupName"]: group for group in groups}
        return {t.key: self._observe(reads, t, found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, reads: Reads, target: Target, group: Mapping[str, Any]) -> Observed:
        """Names are unique in a VPC (EC2 API, CreateSecurityGroup): one without tags in the VPC of our DB subnet group is ours."""
        observed = self.shape(reads, target.region, group)
        if "TaskID" in observed["Tags"]:
            return observed
        ours = subnet_group(reads, target.region, target.identity["SubnetGroup"])
        return {**observed, "Proven": ours is not None and ours["VpcId"] == observed["VpcId"]}

    def shape(self, reads: Reads, region: str, item: Mapping[str, Any]) -> Observed:
        return {
            "GroupId": item["GroupId"],
            "Arn": arn("ec2", f"security-group/{item['GroupId']}", region=region, account=reads.account),
            "VpcId": item["VpcId"],
            "Ingress": _rules(item.get("IpPermissions", ())),
            "Egress": _rules(item.get("IpPermissionsEgress", ())),
            "Tags": from_tag_list(item.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        return self.new(
            target, GroupName=target.name, Description=target.settings["Description"], VpcId=target.desired["VpcId"]
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        group = observed["GroupId"]
        # Too much access is closed before missing access is opened.
        for field, verb in (("Ingress", "ingress"), ("Egress", "egress")):
            surplus = sorted(set(observed[field]) - set(target.desired[field]))
            if surplus:
                params = {"GroupId": group, "IpPermissions": _permissions(surplus)}
                return Call("ec2", f"revoke_security_group_{verb}", params)
        for field, verb in (("Ingress", "ingress"), ("Egress", "egress")):
            missing = sorted(set(target.desired[field]) - set(observed[field]))
            if missing:
                params = {"GroupId": group, "IpPermissions": _permissions(missing)}
                return Call("ec2", f"authorize_security_group_{verb}", params)
        return self.tag(target, observed, drift)


_SOURCES = (
    ("IpRanges", "CidrIp"),
    ("Ipv6Ranges", "CidrIpv6"),
    ("PrefixListIds", "PrefixListId"),
    ("UserIdGroupPairs", "GroupId"),
)


def rule(protocol: str, first: int, last: int, source: str) -> str:
    """One rule in the spelling of SecurityGroup's `Ingress` and `Egress`."""
    return f"{protocol} {first}-{last} {source}"


def _rules(permissions: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(
        rule(permission["IpProtocol"], permission.get("FromPort", -1), permission.get("ToPort", -1), source[field])
        for permission in permissions
        for group, field in _SOURCES
        for source in permission.get(group, ())
    )


def _permissions(rules: Sequence[str]) -> list[dict[str, Any]]:
    permissions = []
    for text in rules:
        protocol, ports, source = text.split(" ")
        # A port may be -1 (ICMP: every type), so the dash between the two is the first after the first character.
        dash = ports.index("-", 1)
        first, last = ports[:dash], ports[dash + 1 :]
        kind = 2 if source.startswith("pl-") else 3 if source.startswith("sg-") else 1 if ":" in source else 0
        group, field = _SOURCES[kind]
        permission: dict[str, Any] = {"IpProtocol": protocol, group: [{field: source}]}
        if protocol != "-1":
            permission |= {"FromPort": int(first), "ToPort": int(last)}
        permissions.append(permission)
    return permissions


class SubnetGroup(Kind):
    name = "rds.subnet_group"
    label = "DB subnet group"
    compute_kinds = ("rds",)
    absent_codes = ("DBSubnetGroupNotFoundFault",)
    resource_arn = "rds:{region}:{account}:subgrp:{name}"
    read_actions = permit("rds:DescribeDBSubnetGroups", "rds:ListTagsForResource")
    write_actions = permit(
        "rds:CreateDBSubnetGroup", "rds:ModifyDBSubnetGroup", "rds:DeleteDBSubnetGroup", "rds:AddTagsToResource"
    )
    least_reads = (2, 0)  # describe, tags
    terraform = ("aws_db_subnet_group",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        answer = reads.call("rds", "describe_db_subnet_groups", target.region, DBSubnetGroupName=target.name)
        group = answer["DBSubnetGroups"][0]
        tags = rds_tags(reads, target, group["DBSubnetGroupArn"])
        return {
            "Name": group["DBSubnetGroupName"],
            "Arn": group["DBSubnetGroupArn"],
            "Status": group.get("SubnetGroupStatus"),
            "SubnetIds": sorted(subnet["SubnetIdentifier"] for subnet in group["Subnets"]),
            "Tags": tags,
        }

    def _params(self, target: Target) -> dict[str, Any]:
        return {
            "DBSubnetGroupName": target.name,
            "DBSubnetGroupDescription": target.settings["Description"],
            "SubnetIds": target.desired["SubnetIds"],
        }

    def create(self, target: Target) -> Call:
        return Call(
            "rds", "create_db_subnet_group", {**self._params(target), "Tags": to_tag_list(target.desired["Tags"])}
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "SubnetIds" in changed_fields(drift):
            return Call("rds", "modify_db_subnet_group", self._params(target))
        return tag_rds(target, observed, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", "delete_db_subnet_group", {"DBSubnetGroupName": target.name})


KINDS: tuple[Kind, ...] = (Vpc(), Subnet(), *routes.KINDS, SecurityGroup(), SubnetGroup())
