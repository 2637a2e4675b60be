"""EC2 networking and the RDS subnet group: what AWS's answers mean, and which call each difference leads to.

The answers have the shapes of the EC2 and RDS API references (DescribeVpcs, DescribeSubnets, DescribeRouteTables,
DescribeSecurityGroups, DescribeVpcPeeringConnections, DescribeDBSubnetGroups).
"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.core.model import Observed, Target
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack
from tests.support.aws_double import (
    ACCOUNT,
    FakeReads,
    creation,
    deletion,
    drift,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

VPC, TABLE, OTHER_TABLE = "vpc-0e9801d129EXAMPLE", "rtb-09ba434c1bEXAMPLE", "rtb-0a13d3a9ffEXAMPLE"
PEERING = "pcx-1a2b3c4d5eEXAMPLE"
AWS_TAG = {"Key": "aws:cloudformation:stack-name", "Value": "set by AWS"}


# The database's network is found through its DB subnet group where its tags are gone.
NO_GROUP = {"describe_db_subnet_groups": error("DBSubnetGroupNotFoundFault", status=404)}


def found(reads: FakeReads, *targets: Target) -> Observed:
    observed = look(reads, *targets)
    assert observed is not None
    return observed


def tags_of(of: Target, **changed: str) -> list[dict[str, str]]:
    return [*tag_list({**of.desired["Tags"], **changed}), AWS_TAG]


def specified_tags(params: dict[str, Any], resource_type: str) -> dict[str, str]:
    """The tags of a creation; AWS sets them in the same call when ResourceType names what is created."""
    (specification,) = params["TagSpecifications"]
    assert specification["ResourceType"] == resource_type
    return {tag["Key"]: tag["Value"] for tag in specification["Tags"]}


# --- VPC -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def vpc(stack: Stack) -> Target:
    return target(stack, "primary/network/vpc")


def vpc_answer(of: Target, **changed: Any) -> dict[str, Any]:
    return {
        "CidrBlock": "10.0.0.0/16",
        "DhcpOptionsId": "dopt-19edf471",
        "State": "available",
        "VpcId": VPC,
        "OwnerId": ACCOUNT,
        "InstanceTenancy": "default",
        "CidrBlockAssociationSet": [
            {
                "AssociationId": "vpc-cidr-assoc-a8f8bbc0",
                "CidrBlock": "10.0.0.0/16",
                "CidrBlockState": {"State": "associated"},
            }
        ],
        "IsDefault": False,
        "Tags": tags_of(of),
        **changed,
    }


def vpc_reads(*vpcs: dict[str, Any], hostnames: bool = True, support: bool = True) -> FakeReads:
    def attribute(VpcId: str, Attribute: str) -> dict[str, Any]:
        if Attribute == "enableDnsHostnames":
            return {"VpcId": VpcId, "EnableDnsHostnames": {"Value": hostnames}}
        return {"VpcId": VpcId, "EnableDnsSupport": {"Value": support}}

    return FakeReads(KINDS["ec2.vpc"], describe_vpcs={"Vpcs": list(vpcs)}, describe_vpc_attribute=attribute, **NO_GROUP)


def test_a_vpc_in_sync(vpc: Target) -> None:
    reads = vpc_reads(vpc_answer(vpc))
    assert found(reads, vpc) == {
        "VpcId": VPC,
        "Arn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:vpc/{VPC}",
        "Status": "available",
        "CidrBlock": "10.0.0.0/16",
        "EnableDnsHostnames": True,
        "EnableDnsSupport": True,
        "Tags": vpc.desired["Tags"],
    }
    assert fields(vpc, look(reads, vpc)) == []
    assert reads.calls[0] == (
        "describe_vpcs",
        "us-east-1",
        {"Filters": [{"Name": "tag:Name", "Values": ["aurora-dr-primary-l6p3z2w4"]}]},
    )


def test_no_vpc_with_the_name_is_absent(vpc: Target) -> None:
    reads = vpc_reads()
    assert look(reads, vpc) is None
    assert [operation for operation, _, _ in reads.calls] == ["describe_vpcs", "describe_db_subnet_groups"]


def test_an_answer_other_than_absence_is_raised(vpc: Target) -> None:
    refused = FakeReads(KINDS["ec2.vpc"], describe_vpcs=error("UnauthorizedOperation", "DescribeVpcs", 403))
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        look(refused, vpc)


def test_of_two_vpcs_with_one_name_the_first_is_taken(vpc: Target) -> None:
    assert found(vpc_reads(vpc_answer(vpc), vpc_answer(vpc, VpcId="vpc-2")), vpc)["VpcId"] == VPC


def test_a_vpc_is_created_with_its_tags(vpc: Target) -> None:
    operation, params = creation(vpc)
    assert (operation, params["CidrBlock"]) == ("create_vpc", "10.0.0.0/16")
    assert specified_tags(params, "vpc") == vpc.desired["Tags"]
    assert params.keys() == {"CidrBlock", "TagSpecifications"}


def test_dns_support_is_enabled_before_host_names(vpc: Target) -> None:
    """ModifyVpcAttribute takes one attribute a call, and enableDnsHostnames only where DNS support is on."""
    both_off = look(vpc_reads(vpc_answer(vpc), hostnames=False, support=False), vpc)
    assert next_call(vpc, both_off) == ("modify_vpc_attribute", {"VpcId": VPC, "EnableDnsSupport": {"Value": True}})
    names_off = look(vpc_reads(vpc_answer(vpc), hostnames=False), vpc)
    assert next_call(vpc, names_off) == ("modify_vpc_attribute", {"VpcId": VPC, "EnableDnsHostnames": {"Value": True}})


def test_only_the_tags_that_differ_are_set(vpc: Target) -> None:
    observed = look(vpc_reads(vpc_answer(vpc, Tags=tags_of(vpc, Site="elsewhere"))), vpc)
    assert next_call(vpc, observed) == (
        "create_tags",
        {"Resources": [VPC], "Tags": [{"Key": "Site", "Value": "primary"}]},
    )


def test_the_range_of_a_vpc_is_never_changed_in_place(vpc: Target) -> None:
    observed = look(vpc_reads(vpc_answer(vpc, CidrBlock="10.9.0.0/16")), vpc)
    assert fields(vpc, observed) == ["CidrBlock"]
    assert KINDS["ec2.vpc"].immutable == {"CidrBlock"}


def test_a_pending_vpc_is_waited_for(vpc: Target) -> None:
    kind = KINDS["ec2.vpc"]
    assert kind.waiting(found(vpc_reads(vpc_answer(vpc, State="pending")), vpc)) is not None
    assert kind.waiting(found(vpc_reads(vpc_answer(vpc)), vpc)) is None


def test_a_vpc_is_deleted_by_its_id(vpc: Target) -> None:
    assert deletion(vpc, look(vpc_reads(vpc_answer(vpc)), vpc)) == ("delete_vpc", {"VpcId": VPC})


def test_the_console_link_of_a_vpc_finds_it_by_its_name(vpc: Target) -> None:
    link = KINDS["ec2.vpc"].console(vpc)
    assert link is not None
    assert link.startswith("https://us-east-1.console.aws.amazon.com/vpcconsole/")
    assert link.endswith("Name=aurora-dr-primary-l6p3z2w4")


# --- subnets -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def subnets(stack: Stack) -> list[Target]:
    return [target(stack, f"primary/network/subnet-{n}", VpcId=VPC) for n in (1, 2, 3)]


def subnet_answer(of: Target, n: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "AvailabilityZone": of.desired["AvailabilityZone"],
        "AvailabilityZoneId": "use1-az2",
        "AvailableIpAddressCount": 251,
        "CidrBlock": of.desired["CidrBlock"],
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "State": "available",
        "SubnetId": f"subnet-{n}EXAMPLE",
        "VpcId": VPC,
        "OwnerId": ACCOUNT,
        "AssignIpv6AddressOnCreation": False,
        "Tags": tags_of(of),
        "SubnetArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:subnet/subnet-{n}EXAMPLE",
        **changed,
    }


def subnet_reads(*answers: dict[str, Any]) -> FakeReads:
    return FakeReads(KINDS["ec2.subnet"], describe_subnets={"Subnets": list(answers)}, **NO_GROUP)


def test_one_call_describes_all_subnets_of_a_region(subnets: list[Target]) -> None:
    # AWS answers in no particular order.
    reads = subnet_reads(subnet_answer(subnets[2], 3), subnet_answer(subnets[0], 1))
    read = KINDS["ec2.subnet"].read(reads, subnets)
    assert {key: each and each["SubnetId"] for key, each in read.items()} == {
        "primary/network/subnet-1": "subnet-1EXAMPLE",
        "primary/network/subnet-2": None,
        "primary/network/subnet-3": "subnet-3EXAMPLE",
    }
    names = [f"aurora-dr-primary-subnet-{n}-l6p3z2w4" for n in (1, 2, 3)]
    described = [call for call in reads.calls if call[0] == "describe_subnets"]
    assert described == [("describe_subnets", "us-east-1", {"Filters": [{"Name": "tag:Name", "Values": names}]})]


def test_a_subnet_in_sync(subnets: list[Target]) -> None:
    of = subnets[0]
    observed = found(subnet_reads(subnet_answer(of)), of)
    assert fields(of, observed) == []
    assert observed["Arn"] == f"arn:aws:ec2:us-east-1:{ACCOUNT}:subnet/subnet-1EXAMPLE"
    assert deletion(of, observed) == ("delete_subnet", {"SubnetId": "subnet-1EXAMPLE"})


def test_a_subnet_is_created_in_its_zone(subnets: list[Target]) -> None:
    operation, params = creation(subnets[1])
    assert operation == "create_subnet"
    assert specified_tags(params, "subnet") == subnets[1].desired["Tags"]
    del params["TagSpecifications"]
    assert params == {
        "VpcId": VPC,
        "CidrBlock": subnets[1].desired["CidrBlock"],
        "AvailabilityZone": subnets[1].desired["AvailabilityZone"],
    }


def test_public_addresses_are_turned_off(subnets: list[Target]) -> None:
    of = subnets[0]
    observed = look(subnet_reads(subnet_answer(of, MapPublicIpOnLaunch=True)), of)
    assert next_call(of, observed) == (
        "modify_subnet_attribute",
        {"SubnetId": "subnet-1EXAMPLE", "MapPublicIpOnLaunch": {"Value": False}},
    )


def test_the_tags_of_a_subnet(subnets: list[Target]) -> None:
    of = subnets[0]
    observed = look(subnet_reads(subnet_answer(of, Tags=tags_of(of, Site="elsewhere"))), of)
    assert next_call(of, observed) == (
        "create_tags",
        {"Resources": ["subnet-1EXAMPLE"], "Tags": [{"Key": "Site", "Value": "primary"}]},
    )


@pytest.mark.parametrize(
    ("field", "value"), [("VpcId", "vpc-2"), ("CidrBlock", "10.0.99.0/24"), ("AvailabilityZone", "us-east-1f")]
)
def test_where_a_subnet_stands_is_never_changed_in_place(subnets: list[Target], field: str, value: str) -> None:
    observed = look(subnet_reads(subnet_answer(subnets[0], **{field: value})), subnets[0])
    assert fields(subnets[0], observed) == [field]
    assert field in KINDS["ec2.subnet"].immutable


def test_a_pending_subnet_is_waited_for(subnets: list[Target]) -> None:
    for state, waits in (("pending", True), ("available", False)):
        observed = found(subnet_reads(subnet_answer(subnets[0], State=state)), subnets[0])
        assert bool(KINDS["ec2.subnet"].waiting(observed)) is waits, state


# --- route tables --------------------------------------------------------------------------------------------------------

LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}


def peering_route(destination: str = "10.1.0.0/16", **changed: Any) -> dict[str, Any]:
    return {
        "DestinationCidrBlock": destination,
        "Origin": "CreateRoute",
        "State": "active",
        "VpcPeeringConnectionId": PEERING,
        **changed,
    }


def association(subnet: str | None, table: str = TABLE, state: str = "associated", **changed: Any) -> dict[str, Any]:
    shown = {
        "Main": subnet is None,
        "RouteTableAssociationId": f"rtbassoc-{subnet or 'main'}",
        "RouteTableId": table,
        "AssociationState": {"State": state},
        **changed,
    }
    return shown if subnet is None else {**shown, "SubnetId": subnet}


def table_answer(
    of: Target | None, *routes: dict[str, Any], associations: tuple[dict[str, Any], ...] = (), **changed: Any
) -> dict[str, Any]:
    return {
        "Associations": list(associations),
        "PropagatingVgws": [],
        "RouteTableId": TABLE,
        "Routes": [LOCAL, *routes],
        "Tags": tags_of(of) if of else [],
        "VpcId": VPC,
        "OwnerId": ACCOUNT,
        **changed,
    }


@pytest.fixture
def table(stack: Stack) -> Target:
    return target(stack, "primary/network/route-table", VpcId=VPC)


def table_reads(kind: str, *tables: dict[str, Any]) -> FakeReads:
    return FakeReads(KINDS[kind], describe_route_tables={"RouteTables": list(tables)}, **NO_GROUP)


def test_a_route_table_in_sync(table: Target) -> None:
    reads = table_reads("ec2.route_table", table_answer(table, peering_route()))
    assert found(reads, table) == {
        "RouteTableId": TABLE,
        "Arn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:route-table/{TABLE}",
        "VpcId": VPC,
        "ForeignRoutes": [],
        "Tags": table.desired["Tags"],
    }
    assert fields(table, look(reads, table)) == []
    assert reads.calls[0][2] == {"Filters": [{"Name": "tag:Name", "Values": [table.name]}]}


def test_no_route_table_with_the_name_is_absent(table: Target) -> None:
    assert look(table_reads("ec2.route_table"), table) is None


def test_a_route_table_is_created_and_deleted(table: Target) -> None:
    operation, params = creation(table)
    assert (operation, params["VpcId"]) == ("create_route_table", VPC)
    assert specified_tags(params, "route-table") == table.desired["Tags"]
    observed = look(table_reads("ec2.route_table", table_answer(table)), table)
    assert deletion(table, observed) == ("delete_route_table", {"RouteTableId": TABLE})


@pytest.mark.parametrize(
    ("route", "parameter"),
    [
        ({"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"}, {"DestinationCidrBlock": "0.0.0.0/0"}),
        ({"DestinationIpv6CidrBlock": "::/0", "GatewayId": "igw-1"}, {"DestinationIpv6CidrBlock": "::/0"}),
        ({"DestinationPrefixListId": "pl-6da54004", "GatewayId": "vpce-1"}, {"DestinationPrefixListId": "pl-6da54004"}),
    ],
)
def test_a_route_that_is_not_in_the_stack_is_deleted(
    table: Target, route: dict[str, Any], parameter: dict[str, str]
) -> None:
    foreign = {**route, "Origin": "CreateRoute", "State": "active"}
    observed = found(table_reads("ec2.route_table", table_answer(table, peering_route(), foreign)), table)
    assert observed["ForeignRoutes"] == list(parameter.values())
    assert next_call(table, observed) == ("delete_route", {"RouteTableId": TABLE, **parameter})


def test_a_broken_route_to_the_peer_is_left_to_the_route(table: Target) -> None:
    observed = look(table_reads("ec2.route_table", table_answer(table, peering_route(State="blackhole"))), table)
    assert fields(table, observed) == []


def test_the_tags_of_a_route_table(table: Target) -> None:
    observed = look(table_reads("ec2.route_table", table_answer(table, Tags=tags_of(table, Site="elsewhere"))), table)
    assert next_call(table, observed) == (
        "create_tags",
        {"Resources": [TABLE], "Tags": [{"Key": "Site", "Value": "primary"}]},
    )


def test_a_route_table_cannot_move_to_another_vpc(table: Target) -> None:
    observed = look(table_reads("ec2.route_table", table_answer(table, VpcId="vpc-2")), table)
    assert fields(table, observed) == ["VpcId"]
    assert KINDS["ec2.route_table"].immutable == {"VpcId"}


# --- route table associations --------------------------------------------------------------------------------------------


@pytest.fixture
def associations(stack: Stack) -> list[Target]:
    rows = [target(stack, f"primary/network/route-table-association-{n}", RouteTableId=TABLE) for n in (1, 2, 3)]
    for n, each in enumerate(rows, 1):
        assert isinstance(each.identity, dict)
        each.identity["SubnetId"] = f"subnet-{n}EXAMPLE"
    return rows


class Tables:
    """The route tables of a VPC as DescribeRouteTables filters them: by the Name tag, or by an associated subnet."""

    def __init__(self, name: str, ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
        self.name = name
        self.ours = table_answer(None, associations=tuple(ours))
        self.others = table_answer(None, associations=tuple(others), RouteTableId=OTHER_TABLE)

    def describe(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        (only,) = Filters
        if only["Name"] == "tag:Name":
            return {"RouteTables": [self.ours] if self.name in only["Values"] else []}
        assert only["Name"] == "association.subnet-id"
        wanted = set(only["Values"])
        return {
            "RouteTables": [
                table
                for table in (self.ours, self.others)
                if wanted & {each.get("SubnetId") for each in table["Associations"]}
            ]
        }

    def reads(self) -> FakeReads:
        return FakeReads(KINDS["ec2.route_table_association"], describe_route_tables=self.describe)


def test_one_call_finds_all_associations_of_the_table(associations: list[Target]) -> None:
    # The implicit association of the main table has no SubnetId.
    ours = [association(None), *(association(f"subnet-{n}EXAMPLE") for n in (1, 2, 3))]
    reads = Tables(associations[0].identity["RouteTableName"], ours, []).reads()
    read = KINDS["ec2.route_table_association"].read(reads, associations)
    for n, of in enumerate(associations, 1):
        assert read[of.key] == {
            "AssociationId": f"rtbassoc-subnet-{n}EXAMPLE",
            "RouteTableId": TABLE,
            "Status": "associated",
        }
        assert fields(of, read[of.key]) == []
    assert len(reads.calls) == 1


def test_a_subnet_under_another_table_is_moved_back(associations: list[Target]) -> None:
    tables = Tables(
        associations[0].identity["RouteTableName"],
        [association("subnet-1EXAMPLE")],
        [association("subnet-2EXAMPLE", OTHER_TABLE), association("subnet-9EXAMPLE", OTHER_TABLE)],
    )
    reads = tables.reads()
    read = KINDS["ec2.route_table_association"].read(reads, associations)
    moved = associations[1]
    assert fields(moved, read[moved.key]) == ["RouteTableId"]
    assert next_call(moved, read[moved.key]) == (
        "replace_route_table_association",
        {"AssociationId": "rtbassoc-subnet-2EXAMPLE", "RouteTableId": TABLE},
    )
    assert read[associations[2].key] is None, "implicitly under the main table"
    missing = {"Filters": [{"Name": "association.subnet-id", "Values": ["subnet-2EXAMPLE", "subnet-3EXAMPLE"]}]}
    assert reads.calls[-1][2] == missing


def test_an_association_is_created_and_deleted(associations: list[Target]) -> None:
    of = associations[0]
    params = {"RouteTableId": TABLE, "SubnetId": "subnet-1EXAMPLE"}
    assert creation(of) == ("associate_route_table", params)
    tables = Tables(of.identity["RouteTableName"], [association("subnet-1EXAMPLE")], [])
    assert deletion(of, look(tables.reads(), of)) == (
        "disassociate_route_table",
        {"AssociationId": "rtbassoc-subnet-1EXAMPLE"},
    )


def test_an_association_under_way_is_waited_for(associations: list[Target]) -> None:
    of = associations[0]
    for state, waits in (("associating", True), ("associated", False)):
        tables = Tables(of.identity["RouteTableName"], [association("subnet-1EXAMPLE", state=state)], [])
        assert bool(KINDS[of.kind].waiting(found(tables.reads(), of))) is waits, state


def test_an_association_without_a_state_is_in_place(associations: list[Target]) -> None:
    """AssociationState is optional in DescribeRouteTables."""
    shown = association("subnet-1EXAMPLE")
    del shown["AssociationState"]
    of = associations[0]
    observed = found(Tables(of.identity["RouteTableName"], [shown], []).reads(), of)
    assert KINDS[of.kind].waiting(observed) is None
    assert fields(of, observed) == []


# --- security group ------------------------------------------------------------------------------------------------------

GROUP = "sg-903004f8EXAMPLE"
# AWS adds it to every new group of a VPC; a rule for all protocols has no ports.
ALLOW_ALL = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    "Ipv6Ranges": [],
    "PrefixListIds": [],
    "UserIdGroupPairs": [],
}


@pytest.fixture
def group(stack: Stack) -> Target:
    return target(stack, "primary/network/security-group", VpcId=VPC)


def postgres_from(*cidrs: str, **changed: Any) -> dict[str, Any]:
    """One IpPermission for port 5432. AWS merges rules of the same protocol and ports into one with several ranges."""
    return {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "IpRanges": [{"CidrIp": cidr, "Description": "an application subnet"} for cidr in cidrs],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
        **changed,
    }


def application_subnets(stack: Stack) -> list[str]:
    ranges = stack.application_subnet_cidrs
    return [*ranges.of("primary"), *ranges.of("secondary")]


def group_reads(
    of: Target, ingress: list[dict[str, Any]], egress: list[dict[str, Any]] | None = None, **changed: Any
) -> FakeReads:
    answer = {
        "Description": of.settings["Description"],
        "GroupName": of.name,
        "IpPermissions": ingress,
        "OwnerId": ACCOUNT,
        "GroupId": GROUP,
        "IpPermissionsEgress": egress or [],
        "Tags": tags_of(of),
        "VpcId": VPC,
        **changed,
    }
    return FakeReads(KINDS["ec2.security_group"], describe_security_groups={"SecurityGroups": [answer]})


def test_a_security_group_in_sync(stack: Stack, group: Target) -> None:
    cidrs = application_subnets(stack)
    reads = group_reads(group, [postgres_from(*reversed(cidrs))])
    assert found(reads, group) == {
        "GroupId": GROUP,
        "Arn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/{GROUP}",
        "VpcId": VPC,
        "Ingress": sorted(f"tcp 5432-5432 {cidr}" for cidr in cidrs),
        "Egress": [],
        "Tags": group.desired["Tags"],
    }
    assert fields(group, look(reads, group)) == []
    assert reads.calls[0][2] == {"Filters": [{"Name": "group-name", "Values": ["rds-aurora-primary-l6p3z2w4"]}]}


def test_no_security_group_with_the_name_is_absent(group: Target) -> None:
    reads = FakeReads(KINDS["ec2.security_group"], describe_security_groups={"SecurityGroups": []})
    assert look(reads, group) is None


def test_a_security_group_is_created_without_rules_and_deleted(stack: Stack, group: Target) -> None:
    operation, params = creation(group)
    assert operation == "create_security_group"
    assert specified_tags(params, "security-group") == group.desired["Tags"]
    assert (params["GroupName"], params["VpcId"]) == ("rds-aurora-primary-l6p3z2w4", VPC)
    assert params["Description"]
    observed = look(group_reads(group, [postgres_from(*application_subnets(stack))]), group)
    assert deletion(group, observed) == ("delete_security_group", {"GroupId": GROUP})


def test_a_new_group_loses_its_way_out_before_it_opens_the_database(stack: Stack, group: Target) -> None:
    observed = look(group_reads(group, [], [ALLOW_ALL]), group)
    assert fields(group, observed) == ["Egress", "Ingress"]
    assert next_call(group, observed) == (
        "revoke_security_group_egress",
        {"GroupId": GROUP, "IpPermissions": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]},
    )
    operation, params = next_call(group, look(group_reads(group, []), group))
    assert operation == "authorize_security_group_ingress"
    opened = [(each["FromPort"], each["ToPort"], each["IpRanges"]) for each in params["IpPermissions"]]
    assert opened == [(5432, 5432, [{"CidrIp": cidr}]) for cidr in sorted(application_subnets(stack))]


@pytest.mark.parametrize(
    ("surplus", "revoked"),
    [
        (
            postgres_from(Ipv6Ranges=[{"CidrIpv6": "::/0"}]),
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        ),
        (
            postgres_from(PrefixListIds=[{"PrefixListId": "pl-6da54004"}]),
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "PrefixListIds": [{"PrefixListId": "pl-6da54004"}]},
        ),
        (
            postgres_from(UserIdGroupPairs=[{"GroupId": "sg-1", "UserId": ACCOUNT}]),
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": "sg-1"}]},
        ),
        (
            {**ALLOW_ALL, "IpProtocol": "icmp", "FromPort": -1, "ToPort": -1},
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ),
    ],
)
def test_surplus_access_is_revoked_as_aws_showed_it(
    stack: Stack, group: Target, surplus: dict[str, Any], revoked: dict[str, Any]
) -> None:
    cidrs = application_subnets(stack)
    # One application subnet lacks access as well: closing comes first.
    observed = look(group_reads(group, [postgres_from(*cidrs[1:]), surplus]), group)
    assert next_call(group, observed) == (
        "revoke_security_group_ingress",
        {"GroupId": GROUP, "IpPermissions": [revoked]},
    )


def test_one_missing_subnet_is_let_in_alone(stack: Stack, group: Target) -> None:
    first, *rest = application_subnets(stack)
    operation, params = next_call(group, look(group_reads(group, [postgres_from(*rest)]), group))
    assert (operation, params["IpPermissions"]) == (
        "authorize_security_group_ingress",
        [{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": first}]}],
    )


def test_a_missing_way_out_is_opened(stack: Stack) -> None:
    of = target(stack, "primary/network/security-group", VpcId=VPC, Egress=["tcp 443-443 10.0.0.0/16"])
    observed = look(group_reads(of, [postgres_from(*application_subnets(stack))]), of)
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    assert next_call(of, observed) == (
        "authorize_security_group_egress",
        {"GroupId": GROUP, "IpPermissions": [permission]},
    )


def test_the_tags_of_a_security_group_come_last(stack: Stack, group: Target) -> None:
    tags = tags_of(group, Site="elsewhere")
    cidrs = application_subnets(stack)
    observed = look(group_reads(group, [postgres_from(*cidrs)], Tags=tags), group)
    assert next_call(group, observed) == (
        "create_tags",
        {"Resources": [GROUP], "Tags": [{"Key": "Site", "Value": "primary"}]},
    )
    observed = look(group_reads(group, [postgres_from(*cidrs, "192.0.2.0/24")], Tags=tags), group)
    assert next_call(group, observed)[0] == "revoke_security_group_ingress"


def test_a_security_group_cannot_move_to_another_vpc(stack: Stack, group: Target) -> None:
    reads = group_reads(group, [postgres_from(*application_subnets(stack))], VpcId="vpc-2")
    assert fields(group, look(reads, group)) == ["VpcId"]
    assert KINDS["ec2.security_group"].immutable == {"VpcId"}


# --- peering and its routes ----------------------------------------------------------------------------------------------


@pytest.fixture
def peering(stack: Stack) -> Target:
    return target(stack, "global/network/peering", Requester="vpc-11112222", Accepter="vpc-33334444")


def peering_answer(of: Target, code: str = "active", **changed: Any) -> dict[str, Any]:
    return {
        "AccepterVpcInfo": {
            "CidrBlock": "10.1.0.0/16",
            "OwnerId": ACCOUNT,
            "VpcId": "vpc-33334444",
            "Region": "us-west-2",
        },
        "RequesterVpcInfo": {
            "CidrBlock": "10.0.0.0/16",
            "OwnerId": ACCOUNT,
            "VpcId": "vpc-11112222",
            "Region": "us-east-1",
        },
        "Status": {"Code": code, "Message": code},
        "Tags": tags_of(of),
        "VpcPeeringConnectionId": PEERING,
        **changed,
    }


def peering_reads(*answers: dict[str, Any]) -> FakeReads:
    answer = {"VpcPeeringConnections": list(answers)}
    return FakeReads(KINDS["ec2.peering"], describe_vpc_peering_connections=answer, **NO_GROUP)


def test_an_active_peering_is_in_sync(peering: Target) -> None:
    reads = peering_reads(peering_answer(peering))
    assert found(reads, peering) == {
        "VpcPeeringConnectionId": PEERING,
        "Status": "active",
        "Requester": "vpc-11112222",
        "Accepter": "vpc-33334444",
        "Accepted": True,
        "Tags": peering.desired["Tags"],
    }
    assert fields(peering, look(reads, peering)) == []
    assert reads.calls[0][:2] == ("describe_vpc_peering_connections", "us-east-1")


@pytest.mark.parametrize("code", ["deleted", "deleting", "rejected", "failed", "expired"])
def test_a_peering_that_ended_is_absent_though_aws_still_shows_it(peering: Target, code: str) -> None:
    ended = peering_answer(peering, code, VpcPeeringConnectionId="pcx-old")
    assert look(peering_reads(), peering) is None
    assert look(peering_reads(ended), peering) is None
    assert found(peering_reads(ended, peering_answer(peering)), peering)["VpcPeeringConnectionId"] == PEERING


def test_a_peering_is_requested_from_the_primary(peering: Target) -> None:
    operation, params = creation(peering)
    assert operation == "create_vpc_peering_connection"
    assert specified_tags(params, "vpc-peering-connection") == peering.desired["Tags"]
    del params["TagSpecifications"]
    assert params == {"VpcId": "vpc-11112222", "PeerVpcId": "vpc-33334444", "PeerRegion": "us-west-2"}
    assert peering.region == "us-east-1"
    assert KINDS["ec2.peering"].create(peering).region is None, "in the requester's region"


def test_a_request_is_accepted_in_the_accepters_region(peering: Target) -> None:
    """AcceptVpcPeeringConnection: an inter-region request must be accepted in the region of the accepter VPC."""
    kind = KINDS["ec2.peering"]
    observed = found(peering_reads(peering_answer(peering, "pending-acceptance")), peering)
    assert kind.waiting(observed) is None
    assert fields(peering, observed) == ["Accepted"]
    assert next_call(peering, observed) == ("accept_vpc_peering_connection", {"VpcPeeringConnectionId": PEERING})
    wrong_tags = {**observed, "Tags": {**peering.desired["Tags"], "Site": "elsewhere"}}
    assert next_call(peering, wrong_tags)[0] == "accept_vpc_peering_connection"
    assert kind.update(peering, observed, drift(peering, observed)).region == "us-west-2"


@pytest.mark.parametrize(
    ("code", "waits"),
    [("initiating-request", True), ("provisioning", True), ("pending-acceptance", False), ("active", False)],
)
def test_a_peering_in_the_making_is_waited_for(peering: Target, code: str, waits: bool) -> None:
    observed = found(peering_reads(peering_answer(peering, code)), peering)
    assert bool(KINDS["ec2.peering"].waiting(observed)) is waits


def test_the_tags_of_a_peering(peering: Target) -> None:
    observed = look(peering_reads(peering_answer(peering, Tags=tags_of(peering, CostCenter="1"))), peering)
    assert fields(peering, observed) == []
    changed = next(iter(peering.desired["Tags"]))
    observed = look(peering_reads(peering_answer(peering, Tags=tags_of(peering, **{changed: "x"}))), peering)
    assert next_call(peering, observed) == (
        "create_tags",
        {"Resources": [PEERING], "Tags": [{"Key": changed, "Value": peering.desired["Tags"][changed]}]},
    )


def test_the_ends_of_a_peering_are_never_changed_in_place(peering: Target) -> None:
    elsewhere = {"VpcId": "vpc-55556666", "OwnerId": ACCOUNT, "Region": "us-west-2"}
    observed = look(peering_reads(peering_answer(peering, AccepterVpcInfo=elsewhere)), peering)
    assert fields(peering, observed) == ["Accepter"]
    assert KINDS["ec2.peering"].immutable == {"Requester", "Accepter"}


def test_a_peering_is_deleted_by_its_id(peering: Target) -> None:
    observed = look(peering_reads(peering_answer(peering)), peering)
    assert deletion(peering, observed) == ("delete_vpc_peering_connection", {"VpcPeeringConnectionId": PEERING})


@pytest.fixture
def route(stack: Stack) -> Target:
    of = target(stack, "global/network/route-to-secondary", VpcPeeringConnectionId=PEERING)
    assert isinstance(of.settings, dict)
    of.settings["RouteTableId"] = TABLE
    return of


def test_a_route_in_sync(route: Target) -> None:
    reads = table_reads("ec2.route", table_answer(None, peering_route()))
    observed = found(reads, route)
    assert observed == {"RouteTableId": TABLE, "VpcPeeringConnectionId": PEERING, "State": "active"}
    assert fields(route, observed) == []
    assert deletion(route, observed) == ("delete_route", {"RouteTableId": TABLE, "DestinationCidrBlock": "10.1.0.0/16"})


def test_a_route_is_absent_without_its_table_or_its_destination(route: Target) -> None:
    assert look(table_reads("ec2.route"), route) is None
    assert look(table_reads("ec2.route", table_answer(None, peering_route("10.2.0.0/16"))), route) is None


def test_a_route_is_created(route: Target) -> None:
    assert creation(route) == (
        "create_route",
        {"RouteTableId": TABLE, "DestinationCidrBlock": "10.1.0.0/16", "VpcPeeringConnectionId": PEERING},
    )


@pytest.mark.parametrize(
    ("shown", "differs"),
    [
        (peering_route(VpcPeeringConnectionId="pcx-old", State="blackhole"), ["State", "VpcPeeringConnectionId"]),
        (
            {"DestinationCidrBlock": "10.1.0.0/16", "GatewayId": "igw-1", "Origin": "CreateRoute", "State": "active"},
            ["VpcPeeringConnectionId"],
        ),
    ],
)
def test_a_route_elsewhere_is_replaced(route: Target, shown: dict[str, Any], differs: list[str]) -> None:
    observed = look(table_reads("ec2.route", table_answer(None, shown)), route)
    assert fields(route, observed) == differs
    assert next_call(route, observed) == (
        "replace_route",
        {"RouteTableId": TABLE, "DestinationCidrBlock": "10.1.0.0/16", "VpcPeeringConnectionId": PEERING},
    )


def test_each_site_routes_to_the_other(stack: Stack) -> None:
    there, back = (target(stack, f"global/network/route-to-{site}") for site in ("secondary", "primary"))
    assert (there.region, there.identity["Destination"]) == ("us-east-1", "10.1.0.0/16")
    assert (back.region, back.identity["Destination"]) == ("us-west-2", "10.0.0.0/16")


# --- DB subnet group -----------------------------------------------------------------------------------------------------


@pytest.fixture
def subnet_group(stack: Stack) -> Target:
    return target(stack, "primary/network/db-subnet-group", SubnetIds=["subnet-1", "subnet-2", "subnet-3"])


def subnet_group_reads(of: Target, *subnets: str, **tags: str) -> FakeReads:
    group = {
        "DBSubnetGroupName": of.name,
        "DBSubnetGroupDescription": of.settings["Description"],
        "VpcId": VPC,
        "SubnetGroupStatus": "Complete",
        "Subnets": [
            {
                "SubnetIdentifier": each,
                "SubnetAvailabilityZone": {"Name": "us-east-1a"},
                "SubnetOutpost": {},
                "SubnetStatus": "Active",
            }
            for each in subnets
        ],
        "DBSubnetGroupArn": f"arn:aws:rds:us-east-1:{ACCOUNT}:subgrp:{of.name}",
        "SupportedNetworkTypes": ["IPV4"],
    }
    return FakeReads(
        KINDS["rds.subnet_group"],
        describe_db_subnet_groups={"DBSubnetGroups": [group]},
        list_tags_for_resource={"TagList": tags_of(of, **tags)},
    )


def test_a_subnet_group_in_sync_whatever_the_order(subnet_group: Target) -> None:
    reads = subnet_group_reads(subnet_group, "subnet-3", "subnet-1", "subnet-2")
    arn = f"arn:aws:rds:us-east-1:{ACCOUNT}:subgrp:{subnet_group.name}"
    assert found(reads, subnet_group) == {
        "Name": subnet_group.name,
        "Arn": arn,
        "Status": "Complete",
        "SubnetIds": ["subnet-1", "subnet-2", "subnet-3"],
        "Tags": subnet_group.desired["Tags"],
    }
    assert fields(subnet_group, look(reads, subnet_group)) == []
    assert reads.calls[:2] == [
        ("describe_db_subnet_groups", "us-east-1", {"DBSubnetGroupName": subnet_group.name}),
        ("list_tags_for_resource", "us-east-1", {"ResourceName": arn}),
    ]


def test_no_subnet_group_is_absent_and_any_other_error_is_raised(subnet_group: Target) -> None:
    kind = KINDS["rds.subnet_group"]
    assert (
        look(FakeReads(kind, describe_db_subnet_groups=error("DBSubnetGroupNotFoundFault", status=404)), subnet_group)
        is None
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        look(FakeReads(kind, describe_db_subnet_groups=error("AccessDenied", status=403)), subnet_group)


def test_a_subnet_group_is_created_and_deleted(subnet_group: Target) -> None:
    operation, params = creation(subnet_group)
    assert operation == "create_db_subnet_group"
    assert {tag["Key"]: tag["Value"] for tag in params.pop("Tags")} == subnet_group.desired["Tags"]
    assert params == {
        "DBSubnetGroupName": "aurora-subnet-primary-l6p3z2w4",
        "DBSubnetGroupDescription": subnet_group.settings["Description"],
        "SubnetIds": ["subnet-1", "subnet-2", "subnet-3"],
    }
    observed = look(subnet_group_reads(subnet_group, "subnet-1"), subnet_group)
    assert deletion(subnet_group, observed) == (
        "delete_db_subnet_group",
        {"DBSubnetGroupName": "aurora-subnet-primary-l6p3z2w4"},
    )


def test_the_subnets_are_corrected_before_the_tags(subnet_group: Target) -> None:
    """ModifyDBSubnetGroup replaces the whole list."""
    observed = look(subnet_group_reads(subnet_group, "subnet-1", "subnet-9", Site="elsewhere"), subnet_group)
    operation, params = next_call(subnet_group, observed)
    assert (operation, params["SubnetIds"]) == ("modify_db_subnet_group", ["subnet-1", "subnet-2", "subnet-3"])
    observed = look(
        subnet_group_reads(subnet_group, "subnet-1", "subnet-2", "subnet-3", Site="elsewhere"), subnet_group
    )
    assert next_call(subnet_group, observed) == (
        "add_tags_to_resource",
        {
            "ResourceName": f"arn:aws:rds:us-east-1:{ACCOUNT}:subgrp:{subnet_group.name}",
            "Tags": [{"Key": "Site", "Value": "primary"}],
        },
    )


# --- what lost its tags --------------------------------------------------------------------------------------------------


def group_of(vpc_id: str, *subnets: str) -> dict[str, Any]:
    """DescribeDBSubnetGroups, RDS API reference."""
    listed = [{"SubnetIdentifier": each, "SubnetStatus": "Active"} for each in subnets]
    return {"DBSubnetGroups": [{"DBSubnetGroupName": "named", "VpcId": vpc_id, "Subnets": listed}]}


def only(items: list[dict[str, Any]], result: str, **filters: list[str]) -> Any:
    """An answer of EC2 to exactly these filters (`_` for `-`); nothing to any others."""

    def answer(Filters: list[dict[str, Any]]) -> dict[str, Any]:
        asked = {each["Name"].replace("-", "_"): each["Values"] for each in Filters}
        return {result: items if asked == {name.replace("-", "_"): of for name, of in filters.items()} else []}

    return answer


def test_case_a1_a_vpc_without_tags_is_found_through_the_subnet_group_and_tagged_again(vpc: Target) -> None:
    """A second VPC beside it would be one without the database's subnets, which cannot be moved."""
    attribute = vpc_reads()._answers["describe_vpc_attribute"]
    reads = FakeReads(
        KINDS["ec2.vpc"],
        describe_vpcs=only([vpc_answer(vpc, Tags=[])], "Vpcs", vpc_id=[VPC]),
        describe_vpc_attribute=attribute,
        describe_db_subnet_groups=group_of(VPC),
    )
    observed = found(reads, vpc)
    assert observed["VpcId"] == VPC and observed["Tags"] == {}
    operation, params = next_call(vpc, observed)
    assert (operation, params["Resources"]) == ("create_tags", [VPC])


def test_case_a1_a_subnet_without_tags_is_found_by_vpc_and_range(subnets: list[Target]) -> None:
    of = subnets[0]
    items = [subnet_answer(of, Tags=[])]
    reads = FakeReads(
        KINDS["ec2.subnet"],
        describe_subnets=only(items, "Subnets", vpc_id=[VPC], cidr_block=[of.desired["CidrBlock"]]),
        describe_db_subnet_groups=group_of(VPC),
    )
    assert found(reads, of)["SubnetId"] == "subnet-1EXAMPLE"


def test_case_a1_a_route_table_without_tags_is_the_one_that_the_database_subnets_use(table: Target) -> None:
    used = only(
        [table_answer(None, peering_route())], "RouteTables", **{"association.subnet-id": ["subnet-1", "subnet-2"]}
    )
    reads = FakeReads(
        KINDS["ec2.route_table"],
        describe_route_tables=used,
        describe_db_subnet_groups=group_of(VPC, "subnet-2", "subnet-1"),
    )
    assert found(reads, table)["RouteTableId"] == TABLE
    named = table_answer(None, peering_route(), Tags=[{"Key": "Name", "Value": "another"}])
    moved = only([named], "RouteTables", **{"association.subnet-id": ["subnet-1"]})
    reads = FakeReads(
        KINDS["ec2.route_table"], describe_route_tables=moved, describe_db_subnet_groups=group_of(VPC, "subnet-1")
    )
    assert look(reads, table) is None, "somebody moved the subnets to a table of theirs"


def test_case_a1_a_peering_without_tags_is_the_one_between_the_two_vpcs(peering: Target) -> None:
    ends = {"requester-vpc-info.vpc-id": ["vpc-11112222"], "accepter-vpc-info.vpc-id": ["vpc-33334444"]}
    items = [peering_answer(peering, Tags=[])]

    def groups(DBSubnetGroupName: str) -> dict[str, Any]:
        return group_of("vpc-11112222" if "primary" in DBSubnetGroupName else "vpc-33334444")

    reads = FakeReads(
        KINDS["ec2.peering"],
        describe_vpc_peering_connections=only(items, "VpcPeeringConnections", **ends),
        describe_db_subnet_groups=groups,
    )
    assert found(reads, peering)["VpcPeeringConnectionId"] == PEERING


@pytest.mark.parametrize(("where", "ours"), [(VPC, True), ("vpc-of-somebody", False)])
def test_case_a1_a_security_group_without_tags_is_ours_in_our_vpc_alone(group: Target, where: str, ours: bool) -> None:
    reads = group_reads(group, [])
    reads._answers["describe_security_groups"]["SecurityGroups"][0] |= {"Tags": [], "VpcId": where}  # type: ignore[index]
    reads._answers["describe_db_subnet_groups"] = group_of(VPC)  # type: ignore[index]
    assert found(reads, group)["Proven"] is ours
