"""Route tables, their associations and routes, and the VPC peering that carries routes between the sites."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import (
    ALL,
    NEW,
    OWN,
    TAGGED,
    UNTAGGED,
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
from dr_assets.resources.network.ec2 import Ec2Kind, subnet_group
from dr_assets.resources.tags import from_tag_list


def _route_tables(reads: Reads, region: str, name: str) -> Sequence[Mapping[str, Any]]:
    # The same words for table, associations and routes, so that one answer serves all three.
    filters = [{"Name": "tag:Name", "Values": [name]}]
    return reads.pages("ec2", "describe_route_tables", region, "RouteTables", Filters=filters)


class RouteTable(Ec2Kind):
    """Desired `ForeignRoutes` is empty: any other route than `local` and the peering's is drift: an unapproved way out."""

    name = "ec2.route_table"
    unnamed = True
    label = "route table"
    type, result = "route-table", "RouteTables"
    immutable = frozenset({"VpcId"})
    resource_arn = "ec2:{region}:{account}:route-table/*"
    confined = TAGGED
    read_actions = permit("ec2:DescribeRouteTables", on=ALL) | permit(
        "rds:DescribeDBSubnetGroups", on="rds.subnet_group"
    )
    write_actions = (
        permit("ec2:DeleteRouteTable", "ec2:DeleteRoute")
        | permit("ec2:CreateRouteTable", on=(NEW, "ec2.vpc"))
        | permit("ec2:CreateTags", on=(OWN, NEW))
    )
    least_reads = (0, 1)
    terraform = ("aws_route_table",)
    import_field = "RouteTableId"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        # One table a call, in the words that associations and routes use: so one answer serves all three.
        return {target.key: self.observe(reads, target) for target in batch}

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        table = next(iter(_route_tables(reads, target.region, target.name)), None)
        if table is None:
            return self._of_subnets(reads, target)
        return self._shaped(reads, target, table)

    def _shaped(self, reads: Reads, target: Target, table: Mapping[str, Any]) -> Observed:
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

    def _of_subnets(self, reads: Reads, target: Target) -> Observed | None:
        """The table without a Name tag that the database subnets use: ours lost its tags."""
        group = subnet_group(reads, target.region, target.identity["SubnetGroup"])
        if group is None:
            return None
        subnets = sorted(each["SubnetIdentifier"] for each in group["Subnets"])
        filters = [{"Name": "association.subnet-id", "Values": subnets}]
        for table in reads.pages("ec2", "describe_route_tables", target.region, "RouteTables", Filters=filters):
            if "Name" not in from_tag_list(table.get("Tags")):
                return {**self._shaped(reads, target, table), "Proven": True}
        return None

    def create(self, target: Target) -> Call:
        return self.new(target, VpcId=target.desired["VpcId"], ClientToken=uuid.uuid4().hex)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "Tags" in changed_fields(drift):
            return self.tag(target, observed, drift)
        return Call(
            "ec2",
            "delete_route",
            {"RouteTableId": observed["RouteTableId"], **_destination_param(observed["ForeignRoutes"][0])},
        )


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


class Peering(Ec2Kind):
    """VPC peering between the sites: requested in the primary's region, accepted in the secondary's."""

    name = "ec2.peering"
    unnamed = True
    label = "VPC peering"
    type, result = "vpc-peering-connection", "VpcPeeringConnections"
    immutable = frozenset({"Requester", "Accepter"})
    # Requested in one region, accepted in the other.
    resource_arn = "ec2:*:{account}:vpc-peering-connection/*"
    confined = TAGGED
    read_actions = permit("ec2:DescribeVpcPeeringConnections", on=ALL) | permit(
        "rds:DescribeDBSubnetGroups", on="rds.subnet_group"
    )
    write_actions = (
        permit("ec2:DeleteVpcPeeringConnection")
        | permit("ec2:CreateVpcPeeringConnection", on=(NEW, "ec2.vpc"))
        # The accepting region's half has no tags yet; the VPC that it joins must be ours.
        | permit("ec2:AcceptVpcPeeringConnection", on=(resource_arn, "ec2.vpc"))
        | permit("ec2:CreateTags", on=(OWN, NEW, UNTAGGED))
    )
    least_reads = (0, 1)
    # To Terraform the other region's half is a resource of its own; here it is the field `Accepted`.
    terraform = ("aws_vpc_peering_connection", "aws_vpc_peering_connection_accepter")
    import_field = "VpcPeeringConnectionId"

    def exists(self, item: Mapping[str, Any]) -> bool:
        # Deleted, rejected and failed ones stay visible for hours under the same tags.
        return item["Status"]["Code"] in ("initiating-request", "pending-acceptance", "provisioning", "active")

    def proof(self, reads: Reads, target: Target, group: Mapping[str, Any]) -> Mapping[str, list[str]] | None:
        """Two VPCs have one peering at a time (VPC peering guide, "VPC peering limitations")."""
        peer = subnet_group(reads, target.identity["PeerRegion"], target.identity["PeerSubnetGroup"])
        if peer is None:
            return None
        return {"requester-vpc-info.vpc-id": [group["VpcId"]], "accepter-vpc-info.vpc-id": [peer["VpcId"]]}

    def shape(self, reads: Reads, region: str, item: Mapping[str, Any]) -> Observed:
        return {
            "VpcPeeringConnectionId": item["VpcPeeringConnectionId"],
            "Status": item["Status"]["Code"],
            "Requester": item["RequesterVpcInfo"].get("VpcId"),
            "Accepter": item["AccepterVpcInfo"].get("VpcId"),
            "Accepted": item["Status"]["Code"] in ("active", "provisioning"),
            "Tags": from_tag_list(item.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        return self.new(
            target,
            VpcId=target.desired["Requester"],
            PeerVpcId=target.desired["Accepter"],
            PeerRegion=target.settings["PeerRegion"],
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "Accepted" in changed_fields(drift):
            params = {"VpcPeeringConnectionId": observed["VpcPeeringConnectionId"]}
            return Call("ec2", "accept_vpc_peering_connection", params, region=target.settings["PeerRegion"])
        return self.tag(target, observed, drift)

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


KINDS: tuple[Kind, ...] = (RouteTable(), RouteTableAssociation(), Peering(), Route())
