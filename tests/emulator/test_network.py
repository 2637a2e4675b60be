"""Round trips of the network kinds: VPC, subnets, route tables, security groups, peering between regions."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import PRIMARY, SECONDARY, Clients


def tag_spec(kind: str, **tags: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]


def tags_of(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item["Tags"]}


def new_vpc(ec2: Any, name: str, cidr: str = "10.0.0.0/16") -> str:
    vpc: str = ec2.create_vpc(CidrBlock=cidr, TagSpecifications=tag_spec("vpc", Name=name, Site="x"))["Vpc"]["VpcId"]
    return vpc


@pytest.mark.parametrize("cidr", ["127.0.0.0/16", "0.1.0.0/16", "224.0.0.0/16", "239.255.0.0/24"])
def test_aws_22_ranges_of_special_use_are_no_vpc(client: Clients, name: str, cidr: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidVpc\.Range"):
        new_vpc(client("ec2"), name, cidr)


def test_vpc(client: Clients, name: str) -> None:
    ec2 = client("ec2")
    vpc = new_vpc(ec2, name)
    found = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [name]}])["Vpcs"]
    assert [item["VpcId"] for item in found] == [vpc] and found[0]["CidrBlock"] == "10.0.0.0/16"
    assert found[0]["IsDefault"] is False
    assert tags_of(found[0]) == {"Name": name, "Site": "x"}
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        for value in (True, False, True):
            ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": value}})
            key = attribute[0].lower() + attribute[1:]
            assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute=key)[attribute] == {"Value": value}
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Site", "Value": "y"}, {"Key": "More", "Value": "1"}])
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "More"}])
    assert tags_of(ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]) == {"Name": name, "Site": "y"}
    ec2.delete_vpc(VpcId=vpc)
    with pytest.raises(ClientError) as caught:
        ec2.describe_vpcs(VpcIds=[vpc])
    assert caught.value.response["Error"]["Code"] == "InvalidVpcID.NotFound"


def test_subnets_route_table_and_associations(client: Clients, name: str) -> None:
    ec2 = client("ec2")
    vpc = new_vpc(ec2, name)
    subnet = ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.0.1.0/24",
        AvailabilityZone="us-east-1a",
        TagSpecifications=tag_spec("subnet", Name=name),
    )["Subnet"]["SubnetId"]
    shown = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    assert (shown["CidrBlock"], shown["AvailabilityZone"], shown["VpcId"]) == ("10.0.1.0/24", "us-east-1a", vpc)
    assert shown["MapPublicIpOnLaunch"] is False and tags_of(shown) == {"Name": name}
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tag_spec("route-table", Name=name))["RouteTable"]
    table_id = table["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet)["AssociationId"]
    shown = ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]
    assert tags_of(shown) == {"Name": name}
    assert [(a["RouteTableAssociationId"], a["SubnetId"], a["Main"]) for a in shown["Associations"]] == [
        (association, subnet, False)
    ]
    assert [(r["DestinationCidrBlock"], r["GatewayId"], r["State"]) for r in shown["Routes"]] == [
        ("10.0.0.0/16", "local", "active")
    ]
    filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
    assert len(ec2.describe_route_tables(Filters=filters)["RouteTables"]) == 1
    ec2.disassociate_route_table(AssociationId=association)
    assert ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]["Associations"] == []
    ec2.delete_route_table(RouteTableId=table_id)
    ec2.delete_subnet(SubnetId=subnet)
    with pytest.raises(ClientError) as caught:
        ec2.describe_subnets(SubnetIds=[subnet])
    assert caught.value.response["Error"]["Code"] == "InvalidSubnetID.NotFound"


def test_security_group_ingress_and_egress(client: Clients, name: str) -> None:
    ec2 = client("ec2")
    vpc = new_vpc(ec2, name)
    group = ec2.create_security_group(
        GroupName=name, Description="db", VpcId=vpc, TagSpecifications=tag_spec("security-group", Name=name)
    )["GroupId"]
    wide = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
    assert [p["IpProtocol"] for p in wide] == ["-1"]  # what every new group allows
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=wide)
    cidrs = [f"10.{site}.1{n}.0/24" for site in (0, 1) for n in (0, 1, 2)]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": c} for c in cidrs]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert shown["IpPermissionsEgress"] == []
    assert tags_of(shown) == {"Name": name} and shown["Description"] == "db"
    assert sorted(r["CidrIp"] for p in shown["IpPermissions"] for r in p["IpRanges"]) == sorted(cidrs)
    assert {(p["IpProtocol"], p["FromPort"], p["ToPort"]) for p in shown["IpPermissions"]} == {("tcp", 5432, 5432)}
    extra = {**rule, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "oops"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[extra])
    with pytest.raises(ClientError) as caught:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[extra])
    assert caught.value.response["Error"]["Code"] == "InvalidPermission.Duplicate"
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[extra])
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert sorted(r["CidrIp"] for p in shown["IpPermissions"] for r in p["IpRanges"]) == sorted(cidrs)
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
    assert len(ec2.describe_security_groups(Filters=filters)["SecurityGroups"]) == 1
    ec2.delete_security_group(GroupId=group)
    assert ec2.describe_security_groups(Filters=filters)["SecurityGroups"] == []


def test_peering_between_regions(client: Clients, name: str) -> None:
    east, west = client("ec2"), client("ec2", SECONDARY)
    here, there = new_vpc(east, name), new_vpc(west, name, "10.1.0.0/16")
    created = east.create_vpc_peering_connection(
        VpcId=here,
        PeerVpcId=there,
        PeerRegion=SECONDARY,
        TagSpecifications=tag_spec("vpc-peering-connection", Name=name),
    )["VpcPeeringConnection"]
    peering = created["VpcPeeringConnectionId"]
    assert tags_of(created) == {"Name": name}

    def described(ec2: Any) -> dict[str, Any]:
        item: dict[str, Any] = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])[
            "VpcPeeringConnections"
        ][0]
        return item

    assert described(east)["Status"]["Code"] == described(west)["Status"]["Code"] == "pending-acceptance"
    with pytest.raises(ClientError) as caught:
        east.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert caught.value.response["Error"]["Code"] == "OperationNotPermitted"
    west.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    for ec2 in (east, west):
        item = described(ec2)
        assert item["Status"]["Code"] == "active"
        assert (item["RequesterVpcInfo"]["VpcId"], item["RequesterVpcInfo"]["Region"]) == (here, PRIMARY)
        assert (item["AccepterVpcInfo"]["VpcId"], item["AccepterVpcInfo"]["Region"]) == (there, SECONDARY)
        assert item["AccepterVpcInfo"]["CidrBlock"] == "10.1.0.0/16"
    filters = [
        {"Name": "tag:Name", "Values": [name]},
        {"Name": "status-code", "Values": ["active", "pending-acceptance"]},
    ]
    found = east.describe_vpc_peering_connections(Filters=filters)["VpcPeeringConnections"]
    assert [item["VpcPeeringConnectionId"] for item in found] == [peering]
    none = [{"Name": "tag:Name", "Values": ["another"]}]
    assert east.describe_vpc_peering_connections(Filters=none)["VpcPeeringConnections"] == []
    # Tags belong to one region's side: AWS keeps them apart.
    west.create_tags(Resources=[peering], Tags=[{"Key": "Side", "Value": "accepter"}])
    assert tags_of(described(west)) == {"Side": "accepter"} and tags_of(described(east)) == {"Name": name}

    table = east.create_route_table(VpcId=here)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table, "DestinationCidrBlock": "10.1.0.0/16"}
    east.create_route(**route, VpcPeeringConnectionId=peering)
    routes = east.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    peered = next(r for r in routes if r["DestinationCidrBlock"] == "10.1.0.0/16")
    assert (peered["VpcPeeringConnectionId"], peered["State"]) == (peering, "active")
    with pytest.raises(ClientError) as caught:
        east.create_route(**route, VpcPeeringConnectionId=peering)
    assert caught.value.response["Error"]["Code"] == "RouteAlreadyExists"
    other = west.create_route_table(VpcId=there)["RouteTable"]["RouteTableId"]
    west.create_route(RouteTableId=other, DestinationCidrBlock="10.0.0.0/16", VpcPeeringConnectionId=peering)
    east.delete_route(**route)
    assert len(east.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]) == 1
    east.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert described(east)["Status"]["Code"] == described(west)["Status"]["Code"] == "deleted"
