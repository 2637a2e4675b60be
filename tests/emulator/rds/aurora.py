"""A region's RDS with what a cluster refers to, and an Aurora Global Database over two of them."""

from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ..conftest import Clients

ACCOUNT = "123456789012"
TAGS = [{"Key": "Name", "Value": "n"}, {"Key": "Site", "Value": "primary"}]
ENGINE = {"Engine": "aurora-postgresql", "EngineVersion": "14.13"}


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def by_key(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


@dataclass
class Site:
    """One region's clients and the things a cluster refers to."""

    region: str
    rds: Any
    key: str
    subnet_group: str
    security_group: str
    cluster_group: str
    instance_group: str

    def cluster(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
        return found

    def instance(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        return found

    def add_instance(self, cluster: str, n: int = 1, **more: Any) -> str:
        name = f"{cluster}-{n}"
        self.rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier=cluster,
            Engine="aurora-postgresql",
            **{"DBInstanceClass": "db.r6g.large", **more},
        )
        return name


def make_site(client: Clients, region: str, name: str, cidr: str) -> Site:
    ec2, rds = client("ec2", region), client("rds", region)
    vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"{cidr}.{n}.0/24", AvailabilityZone=region + "abc"[n - 1])["Subnet"][
            "SubnetId"
        ]
        for n in (1, 2, 3)
    ]
    rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="d", SubnetIds=subnets, Tags=TAGS)
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=name, DBParameterGroupFamily="aurora-postgresql14", Description="d", Tags=TAGS
    )
    rds.create_db_parameter_group(
        DBParameterGroupName=name, DBParameterGroupFamily="aurora-postgresql14", Description="d", Tags=TAGS
    )
    group = ec2.create_security_group(GroupName=name, Description="d", VpcId=vpc)["GroupId"]
    key = client("kms", region).create_key()["KeyMetadata"]["Arn"]
    return Site(region, rds, key, name, group, name, name)


def writer_arguments(site: Site, name: str, **more: Any) -> dict[str, Any]:
    return {
        **ENGINE,
        "DBClusterIdentifier": name,
        "MasterUsername": "dbadmin",
        "MasterUserPassword": "not-a-secret-1",
        "DatabaseName": "transactiondb",
        **common(site),
        **more,
    }


def common(site: Site) -> dict[str, Any]:
    return {
        "DBClusterParameterGroupName": site.cluster_group,
        "DBSubnetGroupName": site.subnet_group,
        "VpcSecurityGroupIds": [site.security_group],
        "StorageEncrypted": True,
        "KmsKeyId": site.key,
        "BackupRetentionPeriod": 30,
        "PreferredBackupWindow": "03:00-04:00",
        "PreferredMaintenanceWindow": "mon:04:00-mon:05:00",
        "EnableIAMDatabaseAuthentication": True,
        "EnableCloudwatchLogsExports": ["postgresql"],
        "CopyTagsToSnapshot": True,
        "DeletionProtection": False,
        "Port": 5432,
        "Tags": TAGS,
    }


@dataclass
class Pair:
    """A global database over both sites."""

    name: str
    east: Site
    west: Site

    @property
    def primary(self) -> str:
        return f"{self.name}-p"

    @property
    def secondary(self) -> str:
        return f"{self.name}-s"

    def arn(self, site: Site) -> str:
        return f"arn:aws:rds:{site.region}:{ACCOUNT}:cluster:{self.primary if site is self.east else self.secondary}"

    def shown(self, site: Site | None = None) -> dict[str, Any]:
        rds = (site or self.west).rds
        found: dict[str, Any] = rds.describe_global_clusters(GlobalClusterIdentifier=self.name)["GlobalClusters"][0]
        return found

    def roles(self) -> dict[str, bool]:
        return {member["DBClusterArn"]: member["IsWriter"] for member in self.shown()["GlobalClusterMembers"]}

    def switch(self, caller: Site, target: Site) -> Any:
        return caller.rds.switchover_global_cluster(
            GlobalClusterIdentifier=self.name, TargetDbClusterIdentifier=self.arn(target)
        )

    def fail(self, caller: Site, target: Site, **flags: bool) -> Any:
        return caller.rds.failover_global_cluster(
            GlobalClusterIdentifier=self.name, TargetDbClusterIdentifier=self.arn(target), **flags
        )


def check_tags(rds: Any, arn: str) -> None:
    assert by_key(rds.list_tags_for_resource(ResourceName=arn)["TagList"]) == by_key(TAGS)
    rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["More"])
    assert by_key(rds.list_tags_for_resource(ResourceName=arn)["TagList"]) == {"Name": "n", "Site": "x"}
