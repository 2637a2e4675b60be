"""Rows of the network: each site's VPC, private subnets, routes, security group; the peering between the sites."""

from __future__ import annotations

from collections.abc import Iterator

from dr_assets.core.expressions import Ref
from dr_assets.core.model import Resource
from dr_assets.resources.network.kinds import rule
from dr_assets.resources.row import other, resource
from dr_assets.stack import SITES, Site, Stack

SUBNETS = (1, 2, 3)


def route_table_name(stack: Stack, site: Site) -> str:
    return f"aurora-dr-{site}-rt-{stack.environment_suffix}"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    s, at = stack.environment_suffix, f"{site}/network"
    vpc = Ref(f"{at}/vpc", "VpcId")
    yield resource(
        stack,
        f"{at}/vpc",
        "ec2.vpc",
        f"aurora-dr-{site}-{s}",
        {"CidrBlock": stack.vpc_cidr.of(site), "EnableDnsHostnames": True, "EnableDnsSupport": True},
        title="The site's network; nothing in it reaches the internet.",
    )
    for n in SUBNETS:
        yield resource(
            stack,
            f"{at}/subnet-{n}",
            "ec2.subnet",
            f"aurora-dr-{site}-subnet-{n}-{s}",
            {
                "VpcId": vpc,
                "CidrBlock": stack.subnet_cidr(site, n),
                "AvailabilityZone": stack.availability_zones.of(site)[n - 1],
                "MapPublicIpOnLaunch": False,
            },
            title=f"Private database subnet in zone {stack.availability_zones.of(site)[n - 1]}.",
        )
    yield resource(
        stack,
        f"{at}/route-table",
        "ec2.route_table",
        route_table_name(stack, site),
        {"VpcId": vpc, "ForeignRoutes": []},
        identity={"PeerCidr": stack.vpc_cidr.of(other(site))},
        title="Routes of the database subnets: local, and the peering to the other site.",
    )
    for n in SUBNETS:
        yield resource(
            stack,
            f"{at}/route-table-association-{n}",
            "ec2.route_table_association",
            f"{route_table_name(stack, site)} / subnet {n}",
            {"RouteTableId": Ref(f"{at}/route-table", "RouteTableId")},
            tagged=False,
            identity={"RouteTableName": route_table_name(stack, site), "SubnetId": Ref(f"{at}/subnet-{n}", "SubnetId")},
            title=f"Puts database subnet {n} under the private route table.",
        )
    yield resource(
        stack,
        f"{at}/security-group",
        "ec2.security_group",
        f"rds-aurora-{site}-{s}",
        {
            "VpcId": vpc,
            "Ingress": sorted(
                rule("tcp", 5432, 5432, cidr) for each in SITES for cidr in stack.application_subnet_cidrs.of(each)
            ),
            "Egress": [],
        },
        settings={"Description": f"PostgreSQL from the application subnets of both sites ({site})"},
        title="Lets the application subnets of both sites reach PostgreSQL, and nothing else.",
    )
    yield resource(
        stack,
        f"{at}/db-subnet-group",
        "rds.subnet_group",
        f"aurora-subnet-{site}-{s}",
        {"SubnetIds": [Ref(f"{at}/subnet-{n}", "SubnetId") for n in SUBNETS]},
        settings={"Description": f"Private database subnets of the {site} site"},
        title="The three zones that Aurora may place instances in.",
    )


def global_rows(stack: Stack) -> Iterator[Resource]:
    yield resource(
        stack,
        "global/network/peering",
        "ec2.peering",
        f"aurora-dr-peering-{stack.environment_suffix}",
        {
            "Requester": Ref("primary/network/vpc", "VpcId"),
            "Accepter": Ref("secondary/network/vpc", "VpcId"),
            "Accepted": True,
        },
        settings={"PeerRegion": stack.secondary_region},
        title="Lets the applications of either site reach the writer at the other.",
    )
    for site in SITES:
        yield resource(
            stack,
            f"global/network/route-to-{other(site)}",
            "ec2.route",
            f"{route_table_name(stack, site)} to {stack.vpc_cidr.of(other(site))}",
            {"VpcPeeringConnectionId": Ref("global/network/peering", "VpcPeeringConnectionId"), "State": "active"},
            tagged=False,
            region=stack.region(site),
            identity={"RouteTableName": route_table_name(stack, site), "Destination": stack.vpc_cidr.of(other(site))},
            settings={"RouteTableId": Ref(f"{site}/network/route-table", "RouteTableId")},
            title=f"From the {site} site to the {other(site)} one, through the peering.",
        )
