"""Network: each site's VPC, private subnets, routes, security group; the peering between the sites."""

from __future__ import annotations

from collections.abc import Iterator

from dr_assets.core.expressions import Ref
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.network.kinds import rule
from dr_assets.resources.row import other, resource
from dr_assets.stack import SITES, Site, Stack

SUBNETS = (1, 2, 3)
LOST = "the application could not reach the database"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    at = f"{site}/network"
    vpc = Ref(f"{at}/vpc", "VpcId")
    yield resource(
        stack,
        f"{at}/vpc",
        "ec2.vpc",
        names.vpc(stack, site),
        {"CidrBlock": stack.vpc_cidr.of(site), "EnableDnsHostnames": True, "EnableDnsSupport": True},
        identity={"SubnetGroup": names.db_subnet_group(stack, site)},
        terraform=f"module.{site}.aws_vpc.this",
        title="The site's network; nothing in it reaches the internet.",
    )
    for n in SUBNETS:
        yield resource(
            stack,
            f"{at}/subnet-{n}",
            "ec2.subnet",
            names.subnet(stack, site, n),
            {
                "VpcId": vpc,
                "CidrBlock": stack.subnet_cidr(site, n),
                "AvailabilityZone": stack.availability_zones.of(site)[n - 1],
                "MapPublicIpOnLaunch": False,
            },
            identity={"SubnetGroup": names.db_subnet_group(stack, site), "CidrBlock": stack.subnet_cidr(site, n)},
            terraform=f"module.{site}.aws_subnet.private[{n - 1}]",
            title=f"Private database subnet in zone {stack.availability_zones.of(site)[n - 1]}.",
        )
    yield resource(
        stack,
        f"{at}/route-table",
        "ec2.route_table",
        names.route_table(stack, site),
        {"VpcId": vpc, "ForeignRoutes": []},
        identity={"PeerCidr": stack.vpc_cidr.of(other(site)), "SubnetGroup": names.db_subnet_group(stack, site)},
        terraform=f"module.{site}.aws_route_table.private",
        title="Routes of the database subnets: local, and the peering to the other site.",
    )
    for n in SUBNETS:
        yield resource(
            stack,
            f"{at}/route-table-association-{n}",
            "ec2.route_table_association",
            f"{names.route_table(stack, site)} / subnet {n}",
            {"RouteTableId": Ref(f"{at}/route-table", "RouteTableId")},
            tagged=False,
            identity={
                "RouteTableName": names.route_table(stack, site),
                "SubnetId": Ref(f"{at}/subnet-{n}", "SubnetId"),
            },
            terraform=f"module.{site}.aws_route_table_association.private[{n - 1}]",
            title=f"Puts database subnet {n} under the private route table.",
        )
    yield resource(
        stack,
        f"{at}/security-group",
        "ec2.security_group",
        names.security_group(stack, site),
        {
            "VpcId": vpc,
            "Ingress": sorted(
                rule("tcp", 5432, 5432, cidr) for each in SITES for cidr in stack.application_subnet_cidrs.of(each)
            ),
            "Egress": [],
        },
        identity={"SubnetGroup": names.db_subnet_group(stack, site)},
        settings={"Description": f"PostgreSQL from the application subnets of both sites ({site})"},
        terraform=f"module.{site}.aws_security_group.database",
        title="Lets the application subnets of both sites reach PostgreSQL, and nothing else.",
    )
    yield resource(
        stack,
        f"{at}/db-subnet-group",
        "rds.subnet_group",
        names.db_subnet_group(stack, site),
        {"SubnetIds": [Ref(f"{at}/subnet-{n}", "SubnetId") for n in SUBNETS]},
        settings={"Description": f"Private database subnets of the {site} site"},
        terraform=f"module.{site}.aws_db_subnet_group.this",
        title="The three zones that Aurora may place instances in.",
    )


def global_rows(stack: Stack) -> Iterator[Resource]:
    yield resource(
        stack,
        "global/network/peering",
        "ec2.peering",
        names.peering(stack),
        {
            "Requester": Ref("primary/network/vpc", "VpcId"),
            "Accepter": Ref("secondary/network/vpc", "VpcId"),
            "Accepted": True,
        },
        identity={
            "SubnetGroup": names.db_subnet_group(stack, "primary"),
            "PeerRegion": stack.secondary_region,
            "PeerSubnetGroup": names.db_subnet_group(stack, "secondary"),
        },
        settings={"PeerRegion": stack.secondary_region},
        terraform=("aws_vpc_peering_connection.sites", "aws_vpc_peering_connection_accepter.sites"),
        title="Lets the applications of either site reach the writer at the other.",
    )
    for site in SITES:
        yield resource(
            stack,
            f"global/network/route-to-{other(site)}",
            "ec2.route",
            f"{names.route_table(stack, site)} to {stack.vpc_cidr.of(other(site))}",
            {"VpcPeeringConnectionId": Ref("global/network/peering", "VpcPeeringConnectionId"), "State": "active"},
            tagged=False,
            region=stack.region(site),
            identity={"RouteTableName": names.route_table(stack, site), "Destination": stack.vpc_cidr.of(other(site))},
            settings={"RouteTableId": Ref(f"{site}/network/route-table", "RouteTableId")},
            terraform=f"aws_route.to_{other(site)}",
            title=f"From the {site} site to the {other(site)} one, through the peering.",
        )
