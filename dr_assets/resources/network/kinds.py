"""EC2: VPC, subnets, route tables, security group, peering and its routes; and the RDS subnet group over them.

EC2 has no names: ours are found by their Name tag, which is set in the same call that creates them, so a crash can leave
nothing behind that a rerun would not find. May import `core` and `kinds.common`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import ALL, OWN, Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.resources.names import arn
from dr_assets.resources.tags import changed_tags, from_tag_list, rds_tags, tag_rds, to_tag_list


def _named(batch: Sequence[Target]) -> list[dict[str, Any]]:
    return [{"Name": "tag:Name", "Values": sorted({target.name for target in batch})}]


def _first_by_name(items: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for item in items:
        found.setdefault(from_tag_list(item.get("Tags")).get("Name", ""), item)
    return found


def _tag_call(target: Target, resource_id: str, drift: Sequence[Drift]) -> Call:
    tags = changed_tags(target, drift)
    return Call("ec2", "create_tags", {"Resources": [resource_id], "Tags": tags})


def _specification(kind: str, target: Target) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": to_tag_list(target.desired["Tags"])}]


class Vpc(Kind):
    name = "ec2.vpc"
    label = "VPC"
    compute_kinds = ("vpc",)
    immutable = frozenset({"CidrBlock"})
    resource_arn = "ec2:{region}:{account}:vpc/*"
    read_actions = permit("ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", on=ALL)
    write_actions = permit("ec2:CreateVpc", "ec2:ModifyVpcAttribute", "ec2:DeleteVpc", "ec2:CreateTags")
    least_reads = (2, 1)  # DescribeVpcAttribute takes one attribute
    terraform = ("aws_vpc",)
    import_field = "VpcId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        found = _first_by_name(reads.pages("ec2", "describe_vpcs", region, "Vpcs", Filters=_named(batch)))
        return {t.key: self._observe(reads, region, found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, reads: Reads, region: str, vpc: Mapping[str, Any]) -> Observed:
        def attribute(name: str) -> bool:
            answer = reads.call("ec2", "describe_vpc_attribute", region, VpcId=vpc["VpcId"], Attribute=name)
            return bool(answer[name[0].upper() + name[1:]]["Value"])

        return {
            "VpcId": vpc["VpcId"],
            "Arn": arn("ec2", f"vpc/{vpc['VpcId']}", region=region, account=reads.account),
            "Status": vpc.get("State"),
            "CidrBlock": vpc["CidrBlock"],
            "EnableDnsHostnames": attribute("enableDnsHostnames"),
            "EnableDnsSupport": attribute("enableDnsSupport"),
            "Tags": from_tag_list(vpc.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {"CidrBlock": target.desired["CidrBlock"], "TagSpecifications": _specification("vpc", target)}
        return Call("ec2", "create_vpc", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if "Tags" in changed:
            return _tag_call(target, observed["VpcId"], drift)
        # Host names need support, so support goes first; AWS takes one attribute a call.
        field = "EnableDnsSupport" if "EnableDnsSupport" in changed else "EnableDnsHostnames"
        return Call(
            "ec2", "modify_vpc_attribute", {"VpcId": observed["VpcId"], field: {"Value": target.desired[field]}}
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("ec2", "delete_vpc", {"VpcId": observed["VpcId"]})

    def waiting(self, observed: Observed) -> str | None:
        return "the VPC is being created" if observed["Status"] == "pending" else None

    def console(self, target: Target) -> str:
        return f"https://{target.region}.console.aws.amazon.com/vpcconsole/home?region={target.region}#vpcs:tag:Name={target.name}"


class Subnet(Kind):
    name = "ec2.subnet"
    label = "subnet"
    compute_kinds = ("vpc",)
    immutable = frozenset({"VpcId", "CidrBlock", "AvailabilityZone"})
    resource_arn = "ec2:{region}:{account}:subnet/*"
    read_actions = permit("ec2:DescribeSubnets", on=ALL)
    write_actions = permit("ec2:ModifySubnetAttribute", "ec2:DeleteSubnet", "ec2:CreateTags") | permit(
        "ec2:CreateSubnet", on=(OWN, "ec2.vpc")
    )
    least_reads = (0, 1)
    terraform = ("aws_subnet",)
    import_field = "SubnetId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        found = _first_by_name(reads.pages("ec2", "describe_subnets", region, "Subnets", Filters=_named(batch)))
        return {t.key: self._observe(found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, subnet: Mapping[str, Any]) -> Observed:
        return {
            "SubnetId": subnet["SubnetId"],
            "Arn": subnet.get("SubnetArn"),
            "Status": subnet.get("State"),
            "VpcId": subnet["VpcId"],
            "CidrBlock": subnet["CidrBlock"],
            "AvailabilityZone": subnet["AvailabilityZone"],
            "MapPublicIpOnLaunch": subnet.get("MapPublicIpOnLaunch", False),
            "Tags": from_tag_list(subnet.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        want = target.desired
        params = {name: want[name] for name in ("VpcId", "CidrBlock", "AvailabilityZone")}
        return Call("ec2", "create_subnet", {**params, "TagSpecifications": _specification("subnet", target)})

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if "Tags" in changed:
            return _tag_call(target, observed["SubnetId"], drift)
        value = {"Value": target.desired["MapPublicIpOnLaunch"]}
        return Call("ec2", "modify_subnet_attribute", {"SubnetId": observed["SubnetId"], "MapPublicIpOnLaunch": value})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("ec2", "delete_subnet", {"SubnetId": observed["SubnetId"]})

    def waiting(self, observed: Observed) -> str | None:
        return "the subnet is being created" if observed["Status"] == "pending" else None


def _route_tables(reads: Reads, region: str, name: str) -> Sequence[Mapping[str, Any]]:
    # The same words for table, associations and routes, so that one answer serves all three.
    filters = [{"Name": "tag:Name", "Values": [name]}]
    return reads.pages("ec2", "describe_route_tables", region, "RouteTables", Filters=filters)


class RouteTable(Kind):
    """Desired `ForeignRoutes` is empty: any route but `local` and the peering's is a way out that nobody agreed to."""

    name = "ec2.route_table"
    label = "route table"
    compute_kinds = ("vpc",)
    immutable = frozenset({"VpcId"})
    resource_arn = "ec2:{region}:{account}:route-table/*"
    read_actions = permit("ec2:DescribeRouteTables", on=ALL)
    write_actions = permit("ec2:DeleteRouteTable", "ec2:DeleteRoute", "ec2:CreateTags") | permit(
        "ec2:CreateRouteTable", on=(OWN, "ec2.vpc")
    )
    least_reads = (0, 1)
    terraform = ("aws_route_table",)
    import_field = "RouteTableId"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        table = next(iter(_route_tables(reads, target.region, target.name)), None)
        if table is None:
            return None
        foreign = [
            _destination(route)
            for route in table.get("Routes", ())
            if not _expected(route, target.identity["PeerCidr"])
        ]
        return {
            "RouteTableId": table["RouteTableId"],
            "Arn": arn("ec2", f"route-table/{table['RouteTableId']}", region=target.region, account=reads.account),
            "VpcId": table["VpcId"],
            "ForeignRoutes": foreign,
            "Tags": from_tag_list(table.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {"VpcId": target.desired["VpcId"], "TagSpecifications": _specification("route-table", target)}
        return Call("ec2", "create_route_table", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        table = observed["RouteTableId"]
        if "Tags" in changed:
            return _tag_call(target, table, drift)
        return Call("ec2", "delete_route", {"RouteTableId": table, **_destination_param(observed["ForeignRoutes"][0])})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("ec2", "delete_route_table", {"RouteTableId": observed["RouteTableId"]})


def _destination(route: Mapping[str, Any]) -> str:
    for field in ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"):
        if route.get(field):
            return str(route[field])
    return "?"


def _destination_param(destination: str) -> dict[str, str]:
    if destination.startswith("pl-"):
        return {"DestinationPrefixListId": destination}
    return {"DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock": destination}


def _expected(route: Mapping[str, Any], peer_cidr: str) -> bool:
    return route.get("GatewayId") == "local" or _destination(route) == peer_cidr


class RouteTableAssociation(Kind):
    """identity: RouteTableName, SubnetId. desired: RouteTableId (the table that the subnet really uses)."""

    name = "ec2.route_table_association"
    label = "route table association"
    compute_kinds = ("vpc",)
    read_actions = permit("ec2:DescribeRouteTables", on=ALL)
    write_actions = permit(
        "ec2:AssociateRouteTable",
        "ec2:ReplaceRouteTableAssociation",
        "ec2:DisassociateRouteTable",
        on=("ec2.route_table", "ec2.subnet"),
    )
    least_reads = (0, 0)  # part of the route table
    terraform = ("aws_route_table_association",)

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        # Where an association was moved away, it hangs on another table: only then is a second question asked.
        region = batch[0].region
        ours = {
            a["SubnetId"]: a
            for name in sorted({t.identity["RouteTableName"] for t in batch})
            for table in _route_tables(reads, region, name)
            for a in table.get("Associations", ())
            if a.get("SubnetId")
        }
        missing = sorted(t.identity["SubnetId"] for t in batch if t.identity["SubnetId"] not in ours)
        if missing:
            filters = [{"Name": "association.subnet-id", "Values": missing}]
            for table in reads.pages("ec2", "describe_route_tables", region, "RouteTables", Filters=filters):
                ours.update({a["SubnetId"]: a for a in table.get("Associations", ()) if a.get("SubnetId") in missing})
        return {t.key: self._observe(ours.get(t.identity["SubnetId"])) for t in batch}

    def _observe(self, association: Mapping[str, Any] | None) -> Observed | None:
        if association is None:
            return None
        return {
            "AssociationId": association["RouteTableAssociationId"],
            "RouteTableId": association["RouteTableId"],
            "Status": (association.get("AssociationState") or {}).get("State"),
        }

    def import_id(self, target: Target, observed: Observed) -> str:
        return f"{target.identity['SubnetId']}/{observed['RouteTableId']}"

    def create(self, target: Target) -> Call:
        params = {"RouteTableId": target.desired["RouteTableId"], "SubnetId": target.identity["SubnetId"]}
        return Call("ec2", "associate_route_table", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        params = {"AssociationId": observed["AssociationId"], "RouteTableId": target.desired["RouteTableId"]}
        return Call("ec2", "replace_route_table_association", params)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("ec2", "disassociate_route_table", {"AssociationId": observed["AssociationId"]})

    def waiting(self, observed: Observed) -> str | None:
        return "the association is under way" if observed["Status"] == "associating" else None


class SecurityGroup(Kind):
    """`Ingress` / `Egress`: sorted texts `protocol from-to source`, one for each source."""

    name = "ec2.security_group"
    label = "security group"
    compute_kinds = ("vpc",)
    immutable = frozenset({"VpcId"})
    resource_arn = "ec2:{region}:{account}:security-group/*"
    read_actions = permit("ec2:DescribeSecurityGroups", on=ALL)
    write_actions = permit(
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:RevokeSecurityGroupEgress",
        "ec2:DeleteSecurityGroup",
        "ec2:CreateTags",
    ) | permit("ec2:CreateSecurityGroup", on=(OWN, "ec2.vpc"))
    least_reads = (0, 1)
    terraform = ("aws_security_group",)
    import_field = "GroupId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        filters = [{"Name": "group-name", "Values": sorted(target.name for target in batch)}]
        groups = reads.pages("ec2", "describe_security_groups", region, "SecurityGroups", Filters=filters)
        found = {group["GroupName"]: group for group in groups}
        return {t.key: self._observe(reads, region, found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, reads: Reads, region: str, group: Mapping[str, Any]) -> Observed:
        return {
            "GroupId": group["GroupId"],
            "Arn": arn("ec2", f"security-group/{group['GroupId']}", region=region, account=reads.account),
            "VpcId": group["VpcId"],
            "Ingress": _rules(group.get("IpPermissions", ())),
            "Egress": _rules(group.get("IpPermissionsEgress", ())),
            "Tags": from_tag_list(group.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "GroupName": target.name,
            "Description": target.settings["Description"],
            "VpcId": target.desired["VpcId"],
            "TagSpecifications": _specification("security-group", target),
        }
        return Call("ec2", "create_security_group", params)

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
        return _tag_call(target, group, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("ec2", "delete_security_group", {"GroupId": observed["GroupId"]})


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


class Peering(Kind):
    """VPC peering between the sites: requested in the primary's region, accepted in the secondary's."""

    name = "ec2.peering"
    label = "VPC peering"
    compute_kinds = ("vpc",)
    immutable = frozenset({"Requester", "Accepter"})
    # Requested in one region, accepted in the other.
    resource_arn = "ec2:*:{account}:vpc-peering-connection/*"
    read_actions = permit("ec2:DescribeVpcPeeringConnections", on=ALL)
    write_actions = permit("ec2:DeleteVpcPeeringConnection", "ec2:CreateTags") | permit(
        "ec2:CreateVpcPeeringConnection", "ec2:AcceptVpcPeeringConnection", on=(OWN, "ec2.vpc")
    )
    least_reads = (0, 1)
    # To Terraform the other region's half is a resource of its own; here it is the field `Accepted`.
    terraform = ("aws_vpc_peering_connection", "aws_vpc_peering_connection_accepter")
    import_field = "VpcPeeringConnectionId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region = batch[0].region
        filters = _named(batch)
        items = reads.pages("ec2", "describe_vpc_peering_connections", region, "VpcPeeringConnections", Filters=filters)
        # Deleted, rejected and failed ones stay visible for hours under the same tags.
        alive = [
            item
            for item in items
            if item["Status"]["Code"] in ("initiating-request", "pending-acceptance", "provisioning", "active")
        ]
        found = _first_by_name(alive)
        return {t.key: self._observe(found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, peering: Mapping[str, Any]) -> Observed:
        return {
            "VpcPeeringConnectionId": peering["VpcPeeringConnectionId"],
            "Status": peering["Status"]["Code"],
            "Requester": peering["RequesterVpcInfo"].get("VpcId"),
            "Accepter": peering["AccepterVpcInfo"].get("VpcId"),
            "Accepted": peering["Status"]["Code"] in ("active", "provisioning"),
            "Tags": from_tag_list(peering.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "VpcId": target.desired["Requester"],
            "PeerVpcId": target.desired["Accepter"],
            "PeerRegion": target.settings["PeerRegion"],
            "TagSpecifications": _specification("vpc-peering-connection", target),
        }
        return Call("ec2", "create_vpc_peering_connection", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        peering = observed["VpcPeeringConnectionId"]
        if "Accepted" in changed:
            params = {"VpcPeeringConnectionId": peering}
            return Call("ec2", "accept_vpc_peering_connection", params, region=target.settings["PeerRegion"])
        return _tag_call(target, peering, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        params = {"VpcPeeringConnectionId": observed["VpcPeeringConnectionId"]}
        return Call("ec2", "delete_vpc_peering_connection", params)

    def waiting(self, observed: Observed) -> str | None:
        status = observed["Status"]
        return f"the peering is {status}" if status in ("initiating-request", "provisioning") else None


class Route(Kind):
    """identity: RouteTableName, Destination. desired: VpcPeeringConnectionId, State."""

    name = "ec2.route"
    label = "route"
    compute_kinds = ("vpc",)
    read_actions = permit("ec2:DescribeRouteTables", on=ALL)
    write_actions = permit("ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute", on="ec2.route_table")
    least_reads = (0, 0)  # part of the route table
    terraform = ("aws_route",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        for table in _route_tables(reads, target.region, target.identity["RouteTableName"]):
            for route in table.get("Routes", ()):
                if _destination(route) == target.identity["Destination"]:
                    return {
                        "RouteTableId": table["RouteTableId"],
                        "VpcPeeringConnectionId": route.get("VpcPeeringConnectionId"),
                        "State": route.get("State"),
                    }
        return None

    def _params(self, target: Target) -> dict[str, Any]:
        return {
            "RouteTableId": target.settings["RouteTableId"],
            "DestinationCidrBlock": target.identity["Destination"],
            "VpcPeeringConnectionId": target.desired["VpcPeeringConnectionId"],
        }

    def import_id(self, target: Target, observed: Observed) -> str:
        return f"{observed['RouteTableId']}_{target.identity['Destination']}"

    def create(self, target: Target) -> Call:
        return Call("ec2", "create_route", self._params(target))

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call("ec2", "replace_route", self._params(target))

    def delete(self, target: Target, observed: Observed) -> Call:
        params = {"RouteTableId": observed["RouteTableId"], "DestinationCidrBlock": target.identity["Destination"]}
        return Call("ec2", "delete_route", params)


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


KINDS: tuple[Kind, ...] = (
    Vpc(),
    Subnet(),
    RouteTable(),
    RouteTableAssociation(),
    SecurityGroup(),
    Peering(),
    Route(),
    SubnetGroup(),
)
