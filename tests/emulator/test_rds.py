"""Aurora as an Aurora Global Database behaves: roles, refusals, statuses, and every field of the contract."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws

from .conftest import PRIMARY, SECONDARY, Clients

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
            DBInstanceClass="db.r6g.large",
            **more,
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


@pytest.fixture(scope="module")
def sites(client: Clients) -> tuple[Site, Site]:
    return make_site(client, PRIMARY, "rdstest", "10.0"), make_site(client, SECONDARY, "rdstest", "10.1")


@pytest.fixture
def east(sites: tuple[Site, Site]) -> Site:
    return sites[0]


@pytest.fixture
def west(sites: tuple[Site, Site]) -> Site:
    return sites[1]


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


@pytest.fixture
def pair(east: Site, west: Site, name: str) -> Iterator[Pair]:
    east.rds.create_global_cluster(GlobalClusterIdentifier=name, StorageEncrypted=True, **ENGINE)
    made = Pair(name, east, west)
    east.rds.create_db_cluster(**writer_arguments(east, made.primary, GlobalClusterIdentifier=name))
    for n in (1, 2):
        east.add_instance(made.primary, n, AvailabilityZone=east.region + "abc"[n - 1], PromotionTier=n - 1)
    reader = {**ENGINE, **common(west), "DBClusterIdentifier": made.secondary, "GlobalClusterIdentifier": name}
    west.rds.create_db_cluster(**reader)
    for n in (1, 2):
        west.add_instance(made.secondary, n, AvailabilityZone=west.region + "abc"[n - 1], PromotionTier=n - 1)
    yield made


# -- global clusters ---------------------------------------------------------------------------------------------------


def test_global_cluster_is_the_same_everywhere(pair: Pair) -> None:
    assert pair.shown(pair.east) == pair.shown(pair.west)
    shown = pair.shown()
    assert (shown["Status"], shown["Engine"], shown["EngineVersion"]) == ("available", "aurora-postgresql", "14.13")
    assert shown["GlobalClusterArn"] == f"arn:aws:rds::{ACCOUNT}:global-cluster:{pair.name}"
    assert shown["Endpoint"].startswith(f"{pair.name}.global-") and "FailoverState" not in shown
    assert (shown["StorageEncrypted"], shown["DeletionProtection"]) == (True, False)
    writer, reader = shown["GlobalClusterMembers"]
    assert (writer["DBClusterArn"], writer["IsWriter"], writer["Readers"]) == (
        pair.arn(pair.east),
        True,
        [pair.arn(pair.west)],
    )
    assert (reader["DBClusterArn"], reader["IsWriter"], reader["Readers"]) == (pair.arn(pair.west), False, [])
    assert reader["GlobalWriteForwardingStatus"] == "disabled" and reader["SynchronizationStatus"] == "connected"
    filters = [{"Name": "region", "Values": ["eu-west-1"]}]
    assert pair.east.rds.describe_global_clusters(Filters=filters)["GlobalClusters"] == []


def test_members_and_roles_of_instances(pair: Pair, east: Site, west: Site) -> None:
    writer, reader = east.cluster(pair.primary), west.cluster(pair.secondary)
    assert [m["IsClusterWriter"] for m in writer["DBClusterMembers"]] == [True, False]
    # A read-only member is made up entirely of replicas.
    assert [m["IsClusterWriter"] for m in reader["DBClusterMembers"]] == [False, False]
    assert [m["PromotionTier"] for m in reader["DBClusterMembers"]] == [0, 1]
    assert {m["DBClusterParameterGroupStatus"] for m in writer["DBClusterMembers"]} == {"in-sync"}
    assert writer["MultiAZ"] and reader["MultiAZ"]
    assert writer["ReadReplicaIdentifiers"] == [pair.arn(west)] and "ReplicationSourceIdentifier" not in writer
    assert reader["ReplicationSourceIdentifier"] == pair.arn(east)
    assert reader["GlobalWriteForwardingStatus"] == "disabled"
    assert reader["MasterUsername"] == "dbadmin"
    host = writer["Endpoint"].split(".")
    assert (
        host[0] == pair.primary
        and host[1].startswith("cluster-c")
        and host[2:] == f"{PRIMARY}.rds.amazonaws.com".split(".")
    )
    assert writer["ReaderEndpoint"] == writer["Endpoint"].replace(".cluster-", ".cluster-ro-")


def test_switchover_swaps_the_roles_and_back(pair: Pair, east: Site, west: Site) -> None:
    answer = pair.switch(east, west)["GlobalCluster"]
    assert answer["Status"] == "switching-over"
    assert answer["FailoverState"]["ToDbClusterArn"] == pair.arn(west)
    assert answer["FailoverState"]["IsDataLossAllowed"] is False
    assert pair.roles() == {pair.arn(east): False, pair.arn(west): True}
    writer = west.cluster(pair.secondary)
    assert [m["IsClusterWriter"] for m in writer["DBClusterMembers"]] == [True, False]
    assert "ReplicationSourceIdentifier" not in writer
    assert east.cluster(pair.primary)["ReplicationSourceIdentifier"] == pair.arn(west)
    assert not any(m["IsClusterWriter"] for m in east.cluster(pair.primary)["DBClusterMembers"])
    pair.switch(west, east)
    assert pair.roles() == {pair.arn(east): True, pair.arn(west): False}


def test_switchover_takes_its_time(aws: EmbeddedAws, pair: Pair, east: Site, west: Site) -> None:
    aws.control.settle(0.6)
    pair.switch(east, west)
    shown = pair.shown()
    assert shown["Status"] == "switching-over" and pair.roles()[pair.arn(east)] is True
    assert shown["FailoverState"]["FromDbClusterArn"] == pair.arn(east)
    assert east.cluster(pair.primary)["Status"] == west.cluster(pair.secondary)["Status"] == "switching-over"
    for call in (lambda: pair.switch(east, west), lambda: pair.fail(west, west, AllowDataLoss=True)):
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "InvalidGlobalClusterStateFault"
    time.sleep(0.7)
    assert pair.shown()["Status"] == "available" and pair.roles()[pair.arn(west)] is True
    assert east.cluster(pair.primary)["Status"] == "available"


def test_failover_loses_data_and_rebuilds(aws: EmbeddedAws, pair: Pair, east: Site, west: Site) -> None:
    with pytest.raises(ClientError) as caught:
        pair.fail(east, west, AllowDataLoss=True)  # not in the target's region
    assert code_of(caught) == "InvalidParameterValue"
    with pytest.raises(ClientError) as caught:
        pair.fail(west, west, AllowDataLoss=True, Switchover=True)
    assert code_of(caught) == "InvalidParameterCombination"
    aws.control.settle(0.5)
    answer = pair.fail(west, west, AllowDataLoss=True)["GlobalCluster"]
    assert answer["Status"] == "failing-over" and answer["FailoverState"]["IsDataLossAllowed"] is True
    time.sleep(0.6)
    states = {m["DBClusterArn"]: m["SynchronizationStatus"] for m in pair.shown()["GlobalClusterMembers"]}
    assert states == {pair.arn(east): "pending-resync", pair.arn(west): "connected"}
    assert pair.roles()[pair.arn(west)] is True
    with pytest.raises(ClientError) as caught:
        pair.switch(west, east)
    assert code_of(caught) == "InvalidGlobalClusterStateFault"
    time.sleep(0.6)
    assert {m["SynchronizationStatus"] for m in pair.shown()["GlobalClusterMembers"]} == {"connected"}
    aws.control.settle(0)
    pair.switch(west, east)
    assert pair.roles()[pair.arn(east)] is True


def test_failover_without_data_loss_is_a_switchover(pair: Pair, east: Site, west: Site) -> None:
    for flags in ({}, {"Switchover": True}):
        caller, target = (east, west) if pair.roles()[pair.arn(east)] else (west, east)
        with pytest.raises(ClientError) as caught:
            pair.fail(target, target, **flags)
        assert code_of(caught) == "InvalidParameterValue"  # a switchover is called at the writer
        answer = pair.fail(caller, target, **flags)["GlobalCluster"]
        assert answer["FailoverState"]["IsDataLossAllowed"] is False
        assert pair.roles()[pair.arn(target)] is True


def test_targets_that_cannot_take_over(pair: Pair, east: Site, west: Site) -> None:
    with pytest.raises(ClientError) as caught:
        pair.switch(east, east)
    assert code_of(caught) == "InvalidDBClusterStateFault"
    with pytest.raises(ClientError) as caught:
        east.rds.switchover_global_cluster(
            GlobalClusterIdentifier=pair.name, TargetDbClusterIdentifier=pair.arn(west) + "x"
        )
    assert code_of(caught) == "DBClusterNotFoundFault"
    with pytest.raises(ClientError) as caught:
        east.rds.switchover_global_cluster(GlobalClusterIdentifier="no", TargetDbClusterIdentifier=pair.arn(west))
    assert code_of(caught) == "GlobalClusterNotFoundFault"
    for n in (1, 2):
        west.rds.delete_db_instance(DBInstanceIdentifier=f"{pair.secondary}-{n}")
    for call in (lambda: pair.switch(east, west), lambda: pair.fail(west, west, AllowDataLoss=True)):
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "InvalidDBClusterStateFault"


def test_secondary_cluster_refusals(east: Site, west: Site, name: str) -> None:
    rds = west.rds
    east.rds.create_global_cluster(GlobalClusterIdentifier=name, StorageEncrypted=True, **ENGINE)
    reader = {**ENGINE, **common(west), "DBClusterIdentifier": name + "-s", "GlobalClusterIdentifier": name}

    def refused(**changes: Any) -> str:
        with pytest.raises(ClientError) as caught:
            rds.create_db_cluster(**{k: v for k, v in {**reader, **changes}.items() if v is not None})
        return code_of(caught)

    with pytest.raises(ClientError) as caught:
        managed = writer_arguments(east, name + "-p", GlobalClusterIdentifier=name, ManageMasterUserPassword=True)
        east.rds.create_db_cluster(**{k: v for k, v in managed.items() if k != "MasterUserPassword"})
    assert code_of(caught) == "InvalidParameterCombination"
    east.rds.create_db_cluster(**writer_arguments(east, name + "-p", GlobalClusterIdentifier=name))
    assert refused() == "InvalidDBClusterStateFault"  # the writer has no instance yet
    east.add_instance(name + "-p")
    assert refused(MasterUsername="dbadmin") == "InvalidParameterCombination"
    assert refused(MasterUserPassword="not-a-secret-1") == "InvalidParameterCombination"
    assert refused(DatabaseName="transactiondb") == "InvalidParameterCombination"
    assert refused(ManageMasterUserPassword=True) == "InvalidParameterCombination"
    assert refused(KmsKeyId=None) == "InvalidParameterCombination"
    assert refused(KmsKeyId=east.key) == "KMSKeyNotAccessibleFault"
    assert refused(EngineVersion="13.9") == "InvalidParameterCombination"
    assert refused(GlobalClusterIdentifier="absent") == "GlobalClusterNotFoundFault"
    assert refused(DBClusterParameterGroupName="absent") == "DBClusterParameterGroupNotFound"
    assert refused(DBSubnetGroupName="absent") == "DBSubnetGroupNotFoundFault"
    assert refused(VpcSecurityGroupIds=["sg-absent"]) == "InvalidParameterValue"
    with pytest.raises(ClientError) as caught:
        east.rds.create_db_cluster(**writer_arguments(east, name + "-p"))
    assert code_of(caught) == "DBClusterAlreadyExistsFault"
    with pytest.raises(ClientError) as caught:
        east.rds.create_global_cluster(GlobalClusterIdentifier=name, **ENGINE)
    assert code_of(caught) == "GlobalClusterAlreadyExistsFault"


def test_teardown_keeps_awss_order(pair: Pair, east: Site, west: Site) -> None:
    def refused(call: Any, **arguments: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        return code_of(caught)

    e, w = east.rds, west.rds
    gone = {"DBClusterIdentifier": pair.primary, "SkipFinalSnapshot": True}
    assert refused(e.delete_global_cluster, GlobalClusterIdentifier=pair.name) == "InvalidGlobalClusterStateFault"
    assert refused(e.delete_db_cluster, **gone) == "InvalidDBClusterStateFault"  # it has instances
    e.delete_db_instance(DBInstanceIdentifier=f"{pair.primary}-1")
    assert east.cluster(pair.primary)["DBClusterMembers"][0]["IsClusterWriter"] is True  # the other took over
    last = {"DBInstanceIdentifier": f"{pair.primary}-2"}
    assert refused(e.delete_db_instance, **last) == "InvalidDBClusterStateFault"  # the last one, with a reader cluster
    remove = {"GlobalClusterIdentifier": pair.name}
    assert (
        refused(e.remove_from_global_cluster, DbClusterIdentifier=pair.arn(east), **remove)
        == "InvalidGlobalClusterStateFault"
    )
    assert (
        refused(e.remove_from_global_cluster, DbClusterIdentifier=pair.arn(west), **remove) == "DBClusterNotFoundFault"
    )
    for n in (1, 2):
        w.delete_db_instance(DBInstanceIdentifier=f"{pair.secondary}-{n}")
    reader = {"DBClusterIdentifier": pair.secondary, "SkipFinalSnapshot": True}
    assert refused(w.delete_db_cluster, **reader) == "InvalidDBClusterStateFault"  # still a member
    w.remove_from_global_cluster(DbClusterIdentifier=pair.arn(west), **remove)
    assert "GlobalClusterIdentifier" not in west.cluster(pair.secondary)
    assert refused(w.delete_db_cluster, DBClusterIdentifier=pair.secondary) == "InvalidParameterCombination"
    w.delete_db_cluster(**reader)
    assert refused(w.describe_db_clusters, DBClusterIdentifier=pair.secondary) == "DBClusterNotFoundFault"
    assert [m["DBClusterArn"] for m in pair.shown()["GlobalClusterMembers"]] == [pair.arn(east)]
    e.delete_db_instance(**last)
    e.remove_from_global_cluster(DbClusterIdentifier=pair.arn(east), **remove)
    e.delete_db_cluster(**gone)
    w.delete_global_cluster(GlobalClusterIdentifier=pair.name)
    assert refused(e.describe_global_clusters, GlobalClusterIdentifier=pair.name) == "GlobalClusterNotFoundFault"


def test_modify_global_cluster(pair: Pair, east: Site, west: Site) -> None:
    west.rds.modify_global_cluster(GlobalClusterIdentifier=pair.name, DeletionProtection=True)
    assert pair.shown(east)["DeletionProtection"] is True
    east.rds.modify_global_cluster(GlobalClusterIdentifier=pair.name, EngineVersion="14.15", DeletionProtection=False)
    assert pair.shown()["EngineVersion"] == "14.15"
    assert east.cluster(pair.primary)["EngineVersion"] == west.cluster(pair.secondary)["EngineVersion"] == "14.15"
    with pytest.raises(ClientError) as caught:
        east.rds.modify_global_cluster(GlobalClusterIdentifier="absent", DeletionProtection=True)
    assert code_of(caught) == "GlobalClusterNotFoundFault"


# -- clusters and instances --------------------------------------------------------------------------------------------


def test_cluster_fields_and_changes(client: Clients, east: Site, name: str) -> None:
    created = east.rds.create_db_cluster(**writer_arguments(east, name))["DBCluster"]
    assert created["Status"] == "creating"
    shown = east.cluster(name)
    assert shown["Status"] == "available"
    same = (
        "Engine",
        "EngineVersion",
        "MasterUsername",
        "DatabaseName",
        "StorageEncrypted",
        "KmsKeyId",
        "Port",
        "BackupRetentionPeriod",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "CopyTagsToSnapshot",
        "DeletionProtection",
    )
    wanted = writer_arguments(east, name)
    assert {key: shown[key] for key in same} == {key: wanted[key] for key in same}
    assert shown["DBClusterParameterGroup"] == east.cluster_group and shown["DBSubnetGroup"] == east.subnet_group
    assert [g["VpcSecurityGroupId"] for g in shown["VpcSecurityGroups"]] == [east.security_group]
    assert shown["IAMDatabaseAuthenticationEnabled"] is True
    assert shown["EnabledCloudwatchLogsExports"] == ["postgresql"]
    assert by_key(shown["TagList"]) == by_key(TAGS)
    assert shown["DBClusterArn"] == f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:cluster:{name}"
    assert shown["MultiAZ"] is False

    vpc = client("ec2").describe_security_groups(GroupIds=[east.security_group])["SecurityGroups"][0]["VpcId"]
    other = client("ec2").create_security_group(GroupName=name, Description="d", VpcId=vpc)["GroupId"]
    east.rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=name, DBParameterGroupFamily="aurora-postgresql14", Description="d"
    )
    changes: list[tuple[dict[str, Any], str, Any]] = [
        ({"BackupRetentionPeriod": 7}, "BackupRetentionPeriod", 7),
        ({"PreferredBackupWindow": "05:00-06:00"}, "PreferredBackupWindow", "05:00-06:00"),
        ({"PreferredMaintenanceWindow": "Tue:07:00-Tue:08:00"}, "PreferredMaintenanceWindow", "tue:07:00-tue:08:00"),
        ({"DeletionProtection": True}, "DeletionProtection", True),
        ({"CopyTagsToSnapshot": False}, "CopyTagsToSnapshot", False),
        ({"EnableIAMDatabaseAuthentication": False}, "IAMDatabaseAuthenticationEnabled", False),
        ({"DBClusterParameterGroupName": name}, "DBClusterParameterGroup", name),
        ({"Port": 5433}, "Port", 5433),
        (
            {"CloudwatchLogsExportConfiguration": {"DisableLogTypes": ["postgresql"]}},
            "EnabledCloudwatchLogsExports",
            [],
        ),
        (
            {"CloudwatchLogsExportConfiguration": {"EnableLogTypes": ["postgresql"]}},
            "EnabledCloudwatchLogsExports",
            ["postgresql"],
        ),
    ]
    for arguments, field, value in changes:
        answer = east.rds.modify_db_cluster(DBClusterIdentifier=name, ApplyImmediately=True, **arguments)["DBCluster"]
        assert answer["Status"] == "modifying"
        assert east.cluster(name).get(field, []) == value, field
    east.rds.modify_db_cluster(DBClusterIdentifier=name, VpcSecurityGroupIds=[other])
    assert [g["VpcSecurityGroupId"] for g in east.cluster(name)["VpcSecurityGroups"]] == [other]
    east.rds.modify_db_cluster(DBClusterIdentifier=name, MasterUserPassword="another-not-secret")
    for bad, code in (
        ({"DBClusterParameterGroupName": "absent"}, "DBClusterParameterGroupNotFound"),
        ({"BackupRetentionPeriod": 99}, "InvalidParameterValue"),
    ):
        with pytest.raises(ClientError) as caught:
            east.rds.modify_db_cluster(DBClusterIdentifier=name, **bad)
        assert code_of(caught) == code
    with pytest.raises(ClientError) as caught:
        east.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
    assert code_of(caught) == "InvalidParameterCombination"  # protected
    with pytest.raises(ClientError) as caught:
        east.rds.delete_db_cluster_parameter_group(DBClusterParameterGroupName=name)
    assert code_of(caught) == "InvalidDBParameterGroupState"


def test_instance_fields_and_changes(client: Clients, east: Site, name: str) -> None:
    east.rds.create_db_cluster(**writer_arguments(east, name))
    role = f"arn:aws:iam::{ACCOUNT}:role/monitoring"
    wanted: dict[str, Any] = {
        "DBParameterGroupName": east.instance_group,
        "AvailabilityZone": PRIMARY + "b",
        "PromotionTier": 3,
        "PubliclyAccessible": False,
        "AutoMinorVersionUpgrade": False,
        "MonitoringInterval": 60,
        "MonitoringRoleArn": role,
        "EnablePerformanceInsights": True,
        "PerformanceInsightsKMSKeyId": east.key,
        "PerformanceInsightsRetentionPeriod": 7,
        "CACertificateIdentifier": "rds-ca-rsa4096-g1",
        "CopyTagsToSnapshot": True,
    }
    instance = east.add_instance(name, 1, **wanted, Tags=TAGS)
    shown = east.instance(instance)
    plain = {k: v for k, v in wanted.items() if k not in ("DBParameterGroupName", "EnablePerformanceInsights")}
    assert {key: shown[key] for key in plain} == plain
    assert shown["PerformanceInsightsEnabled"] is True
    assert [g["DBParameterGroupName"] for g in shown["DBParameterGroups"]] == [east.instance_group]
    assert shown["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    assert (shown["DBInstanceClass"], shown["DBInstanceStatus"]) == ("db.r6g.large", "available")
    assert shown["DBSubnetGroup"]["DBSubnetGroupName"] == east.subnet_group
    assert shown["StorageEncrypted"] is True and shown["KmsKeyId"] == east.key
    assert shown["DBClusterIdentifier"] == name and by_key(shown["TagList"]) == by_key(TAGS)
    assert shown["CertificateDetails"]["CAIdentifier"] == "rds-ca-rsa4096-g1"
    assert shown["Endpoint"]["Address"].startswith(f"{instance}.c") and shown["Endpoint"]["Port"] == 5432
    second = east.add_instance(name, 2)
    assert east.instance(second)["AvailabilityZone"] != shown["AvailabilityZone"]
    assert east.instance(second)["DbiResourceId"] != shown["DbiResourceId"]
    assert east.cluster(name)["MultiAZ"] is True

    east.rds.create_db_parameter_group(
        DBParameterGroupName=name, DBParameterGroupFamily="aurora-postgresql14", Description="d"
    )
    other = client("kms").create_key()["KeyMetadata"]["Arn"]
    changes: list[tuple[dict[str, Any], str, Any]] = [
        ({"DBInstanceClass": "db.r6g.xlarge"}, "DBInstanceClass", "db.r6g.xlarge"),
        ({"PromotionTier": 0}, "PromotionTier", 0),
        ({"PubliclyAccessible": True}, "PubliclyAccessible", True),
        ({"AutoMinorVersionUpgrade": True}, "AutoMinorVersionUpgrade", True),
        ({"MonitoringInterval": 30}, "MonitoringInterval", 30),
        ({"MonitoringInterval": 0}, "MonitoringInterval", 0),
        ({"MonitoringInterval": 15, "MonitoringRoleArn": role}, "MonitoringRoleArn", role),
        ({"EnablePerformanceInsights": False}, "PerformanceInsightsEnabled", False),
        (
            {"EnablePerformanceInsights": True, "PerformanceInsightsKMSKeyId": other},
            "PerformanceInsightsKMSKeyId",
            other,
        ),
        ({"PerformanceInsightsRetentionPeriod": 31}, "PerformanceInsightsRetentionPeriod", 31),
        ({"CACertificateIdentifier": "rds-ca-rsa2048-g1"}, "CACertificateIdentifier", "rds-ca-rsa2048-g1"),
        ({"PreferredMaintenanceWindow": "sun:01:00-sun:02:00"}, "PreferredMaintenanceWindow", "sun:01:00-sun:02:00"),
    ]
    for arguments, field, value in changes:
        answer = east.rds.modify_db_instance(DBInstanceIdentifier=instance, ApplyImmediately=True, **arguments)
        assert answer["DBInstance"]["DBInstanceStatus"] == "modifying"
        assert east.instance(instance)[field] == value, field
    east.rds.modify_db_instance(DBInstanceIdentifier=instance, DBParameterGroupName=name)
    assert [g["DBParameterGroupName"] for g in east.instance(instance)["DBParameterGroups"]] == [name]
    for bad, code in (
        ({"MonitoringInterval": 7}, "InvalidParameterValue"),
        ({"DBParameterGroupName": "absent"}, "DBParameterGroupNotFound"),
        ({"PerformanceInsightsKMSKeyId": "arn:aws:kms:us-west-2:123456789012:key/a-b"}, "KMSKeyNotAccessibleFault"),
    ):
        with pytest.raises(ClientError) as caught:
            east.rds.modify_db_instance(DBInstanceIdentifier=instance, **bad)
        assert code_of(caught) == code
    assert east.instance(instance)["MonitoringInterval"] == 15  # a refused change changes nothing
    filters = [{"Name": "db-cluster-id", "Values": [name]}]
    found = east.rds.describe_db_instances(Filters=filters)["DBInstances"]
    assert sorted(item["DBInstanceIdentifier"] for item in found) == [instance, second]
    with pytest.raises(ClientError) as caught:
        east.add_instance(name, 1)
    assert code_of(caught) == "DBInstanceAlreadyExists"
    with pytest.raises(ClientError) as caught:
        east.add_instance("absent")
    assert code_of(caught) == "DBClusterNotFoundFault"


def test_statuses_take_time(aws: EmbeddedAws, east: Site, name: str) -> None:
    aws.control.settle(0.5)
    east.rds.create_db_cluster(**writer_arguments(east, name))
    instance = east.add_instance(name)
    assert east.cluster(name)["Status"] == east.instance(instance)["DBInstanceStatus"] == "creating"
    with pytest.raises(ClientError) as caught:
        east.rds.modify_db_cluster(DBClusterIdentifier=name, BackupRetentionPeriod=3)
    assert code_of(caught) == "InvalidDBClusterStateFault"
    time.sleep(0.6)
    assert east.cluster(name)["Status"] == east.instance(instance)["DBInstanceStatus"] == "available"
    east.rds.modify_db_instance(DBInstanceIdentifier=instance, PromotionTier=5)
    assert east.instance(instance)["DBInstanceStatus"] == "modifying"
    time.sleep(0.6)
    east.rds.delete_db_instance(DBInstanceIdentifier=instance)
    assert east.instance(instance)["DBInstanceStatus"] == "deleting"
    east.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
    assert east.cluster(name)["Status"] == "deleting"
    time.sleep(0.6)
    with pytest.raises(ClientError) as caught:
        east.instance(instance)
    assert code_of(caught) == "DBInstanceNotFound"
    with pytest.raises(ClientError) as caught:
        east.cluster(name)
    assert code_of(caught) == "DBClusterNotFoundFault"


def test_failover_within_a_cluster(east: Site, name: str) -> None:
    east.rds.create_db_cluster(**writer_arguments(east, name))
    for n in (1, 2):
        east.add_instance(name, n)
    east.rds.failover_db_cluster(DBClusterIdentifier=name, TargetDBInstanceIdentifier=f"{name}-2")
    members = {m["DBInstanceIdentifier"]: m["IsClusterWriter"] for m in east.cluster(name)["DBClusterMembers"]}
    assert members == {f"{name}-1": False, f"{name}-2": True}


# -- groups, subscriptions, tags ---------------------------------------------------------------------------------------


def test_parameter_groups(east: Site, name: str) -> None:
    rds = east.rds
    wanted = [
        ("shared_preload_libraries", "pg_stat_statements", "pending-reboot", "static"),
        ("pg_stat_statements.track", "ALL", "immediate", "dynamic"),
        ("log_statement", "all", "immediate", "dynamic"),
        ("log_min_duration_statement", "1000", "immediate", "dynamic"),
        ("rds.force_ssl", "1", "immediate", "dynamic"),
    ]
    parameters = [{"ParameterName": n, "ParameterValue": v, "ApplyMethod": m} for n, v, m, _ in wanted]
    for kind, group_key in (("db_cluster", "DBClusterParameterGroupName"), ("db", "DBParameterGroupName")):
        prefix = "db_cluster" if kind == "db_cluster" else "db"
        create = getattr(rds, f"create_{prefix}_parameter_group")
        modify = getattr(rds, f"modify_{prefix}_parameter_group")
        reset = getattr(rds, f"reset_{prefix}_parameter_group")
        describe = getattr(rds, f"describe_{prefix}_parameters")
        groups = getattr(rds, f"describe_{prefix}_parameter_groups")
        group = {group_key: name}
        create(**group, DBParameterGroupFamily="aurora-postgresql14", Description="why", Tags=TAGS)
        with pytest.raises(ClientError) as caught:
            create(**group, DBParameterGroupFamily="aurora-postgresql14", Description="why")
        assert code_of(caught) in ("DBParameterGroupAlreadyExists", "DBParameterGroupAlreadyExistsFault")
        shown = next(v for k, v in groups(**group).items() if k.endswith("ParameterGroups"))[0]
        assert (shown["Description"], shown["DBParameterGroupFamily"]) == ("why", "aurora-postgresql14")
        modify(**group, Parameters=parameters)

        def user_parameters(describe: Any = describe, group: dict[str, str] = group) -> list[tuple[str, str, str, str]]:
            found = describe(**group, Source="user")["Parameters"]
            return [(p["ParameterName"], p["ParameterValue"], p["ApplyMethod"], p["ApplyType"]) for p in found]

        assert sorted(user_parameters()) == sorted(wanted)
        modify(
            **group,
            Parameters=[{"ParameterName": "log_statement", "ParameterValue": "ddl", "ApplyMethod": "immediate"}],
        )
        assert ("log_statement", "ddl", "immediate", "dynamic") in user_parameters()
        with pytest.raises(ClientError) as caught:
            modify(**group, Parameters=[{**parameters[0], "ApplyMethod": "immediate"}])
        assert code_of(caught) == "InvalidParameterCombination"
        reset(**group, Parameters=[{"ParameterName": "log_statement", "ApplyMethod": "immediate"}])
        assert sorted(user_parameters()) == sorted(w for w in wanted if w[0] != "log_statement")
        reset(**group, ResetAllParameters=True)
        assert user_parameters() == []
        arn_kind = "cluster-pg" if kind == "db_cluster" else "pg"
        check_tags(rds, f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:{arn_kind}:{name}")
        getattr(rds, f"delete_{prefix}_parameter_group")(**group)
        for call in (groups, describe):
            with pytest.raises(ClientError) as caught:
                call(**group)
            assert code_of(caught) in ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault")


def check_tags(rds: Any, arn: str) -> None:
    assert by_key(rds.list_tags_for_resource(ResourceName=arn)["TagList"]) == by_key(TAGS)
    rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["More"])
    assert by_key(rds.list_tags_for_resource(ResourceName=arn)["TagList"]) == {"Name": "n", "Site": "x"}


def test_subnet_group(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    current = rds.describe_db_subnet_groups(DBSubnetGroupName=east.subnet_group)["DBSubnetGroups"][0]
    subnets = [item["SubnetIdentifier"] for item in current["Subnets"]]
    rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="d", SubnetIds=subnets, Tags=TAGS)
    with pytest.raises(ClientError) as caught:
        rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="d", SubnetIds=subnets)
    assert code_of(caught) == "DBSubnetGroupAlreadyExists"
    rds.modify_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="e", SubnetIds=subnets[:2])
    shown = rds.describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"][0]
    assert sorted(item["SubnetIdentifier"] for item in shown["Subnets"]) == sorted(subnets[:2])
    assert shown["DBSubnetGroupDescription"] == "e"
    with pytest.raises(ClientError) as caught:
        rds.modify_db_subnet_group(DBSubnetGroupName=name, SubnetIds=subnets[:1])
    assert code_of(caught) == "DBSubnetGroupDoesNotCoverEnoughAZs"
    check_tags(rds, f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:subgrp:{name}")
    rds.delete_db_subnet_group(DBSubnetGroupName=name)
    with pytest.raises(ClientError) as caught:
        rds.describe_db_subnet_groups(DBSubnetGroupName=name)
    assert code_of(caught) == "DBSubnetGroupNotFoundFault"


def test_event_subscription(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    topic = client("sns").create_topic(Name=name)["TopicArn"]
    other = client("sns").create_topic(Name=name + "-2")["TopicArn"]
    categories = ["failover", "failure", "notification", "maintenance", "global-failover"]
    wanted = {
        "SubscriptionName": name,
        "SnsTopicArn": topic,
        "SourceType": "db-cluster",
        "SourceIds": ["c1"],
        "EventCategories": categories,
        "Enabled": True,
    }
    with pytest.raises(ClientError) as caught:
        rds.create_event_subscription(**{**wanted, "SnsTopicArn": topic + "x"})
    assert code_of(caught) == "SNSTopicArnNotFound"
    rds.create_event_subscription(**wanted, Tags=TAGS)
    with pytest.raises(ClientError) as caught:
        rds.create_event_subscription(**wanted)
    assert code_of(caught) == "SubscriptionAlreadyExist"

    def shown() -> dict[str, Any]:
        found = rds.describe_event_subscriptions(SubscriptionName=name)["EventSubscriptionsList"]
        item: dict[str, Any] = found[0]
        return item

    item = shown()
    assert (item["CustSubscriptionId"], item["SnsTopicArn"], item["SourceType"]) == (name, topic, "db-cluster")
    assert item["SourceIdsList"] == ["c1"] and sorted(item["EventCategoriesList"]) == sorted(categories)
    assert item["Enabled"] is True and item["Status"] == "active"
    assert item["EventSubscriptionArn"] == f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:es:{name}"
    assert item["CustomerAwsId"] == ACCOUNT and item["SubscriptionCreationTime"]
    check_tags(rds, item["EventSubscriptionArn"])
    rds.modify_event_subscription(SubscriptionName=name, SnsTopicArn=other, EventCategories=["failover"], Enabled=False)
    item = shown()
    assert (item["SnsTopicArn"], item["EventCategoriesList"], item["Enabled"]) == (other, ["failover"], False)
    rds.add_source_identifier_to_subscription(SubscriptionName=name, SourceIdentifier="c2")
    assert shown()["SourceIdsList"] == ["c1", "c2"]
    rds.remove_source_identifier_from_subscription(SubscriptionName=name, SourceIdentifier="c1")
    assert shown()["SourceIdsList"] == ["c2"]
    rds.delete_event_subscription(SubscriptionName=name)
    with pytest.raises(ClientError) as caught:
        rds.describe_event_subscriptions(SubscriptionName=name)
    assert code_of(caught) == "SubscriptionNotFound"


def test_tags_of_clusters_instances_and_global_clusters(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    made = rds.create_global_cluster(GlobalClusterIdentifier=name, Tags=TAGS, **ENGINE)["GlobalCluster"]
    assert by_key(made["TagList"]) == by_key(TAGS)
    check_tags(client("rds", SECONDARY), made["GlobalClusterArn"])
    rds.create_db_cluster(**writer_arguments(east, name))
    instance = east.add_instance(name, Tags=TAGS)
    check_tags(rds, east.cluster(name)["DBClusterArn"])
    check_tags(rds, east.instance(instance)["DBInstanceArn"])
    assert by_key(east.cluster(name)["TagList"]) == {"Name": "n", "Site": "x"}
    for arn in (f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:cluster:absent", f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:db:absent"):
        with pytest.raises(ClientError) as caught:
            rds.list_tags_for_resource(ResourceName=arn)
        assert code_of(caught) in ("DBClusterNotFoundFault", "DBInstanceNotFound")


def test_snapshots_and_restores(pair: Pair, east: Site, name: str) -> None:
    rds = east.rds
    snapshot = f"{name}-snap"
    rds.create_db_cluster_snapshot(DBClusterIdentifier=pair.primary, DBClusterSnapshotIdentifier=snapshot, Tags=TAGS)
    shown = rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot)["DBClusterSnapshots"][0]
    assert (shown["Status"], shown["DBClusterIdentifier"], shown["Engine"]) == (
        "available",
        pair.primary,
        "aurora-postgresql",
    )
    given = {"DBSubnetGroupName": east.subnet_group, "VpcSecurityGroupIds": [east.security_group], "Tags": TAGS}
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier=f"{name}-r1",
        SnapshotIdentifier=shown["DBClusterSnapshotArn"],
        Engine="aurora-postgresql",
        **given,
    )
    latest = {"SourceDBClusterIdentifier": pair.primary, "UseLatestRestorableTime": True}
    rds.restore_db_cluster_to_point_in_time(DBClusterIdentifier=f"{name}-r2", **latest, **given)
    with pytest.raises(ClientError) as caught:
        rds.restore_db_cluster_to_point_in_time(
            DBClusterIdentifier=f"{name}-r3", SourceDBClusterIdentifier=pair.primary
        )
    assert code_of(caught) == "InvalidParameterCombination"
    for restored in (f"{name}-r1", f"{name}-r2"):
        cluster = east.cluster(restored)
        # A cluster of its own, not a member of the global cluster, with the source's data and key.
        assert "GlobalClusterIdentifier" not in cluster
        assert (cluster["DatabaseName"], cluster["MasterUsername"]) == ("transactiondb", "dbadmin")
        assert cluster["StorageEncrypted"] is True and cluster["KmsKeyId"] == east.key
        assert cluster["DBClusterParameterGroup"] == "default.aurora-postgresql14"
        assert cluster["DBSubnetGroup"] == east.subnet_group and by_key(cluster["TagList"]) == by_key(TAGS)
        instance = east.add_instance(restored)
        assert east.instance(instance)["DBInstanceStatus"] == "available"
        rds.delete_db_instance(DBInstanceIdentifier=instance, SkipFinalSnapshot=True)
        rds.delete_db_cluster(DBClusterIdentifier=restored, SkipFinalSnapshot=True)
    rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot)
    assert [m["DBClusterArn"] for m in pair.shown()["GlobalClusterMembers"]] == [pair.arn(east), pair.arn(pair.west)]


def test_a_switchover_publishes_its_events_to_describe_events_and_to_the_topic(
    client: Clients, pair: Pair, east: Site, west: Site, name: str
) -> None:
    sns, sqs = client("sns", SECONDARY), client("sqs", SECONDARY)
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    west.rds.create_event_subscription(
        SubscriptionName=name,
        SnsTopicArn=topic,
        SourceType="db-cluster",
        SourceIds=[pair.secondary],
        EventCategories=["global-failover"],
        Enabled=True,
    )
    pair.switch(east, west)
    assert pair.roles()[pair.arn(west)] is True
    asked = {"SourceIdentifier": pair.secondary, "SourceType": "db-cluster"}
    events = west.rds.describe_events(**asked)["Events"]
    assert [event["EventCategories"] for event in events] == [["global-failover"]] * 4
    assert "started" in events[0]["Message"]
    assert "global writer endpoint" in events[-1]["Message"]
    assert west.rds.describe_events(**asked, EventCategories=["backup"])["Events"] == []
    tomorrow = events[-1]["Date"] + timedelta(days=1)
    assert west.rds.describe_events(**asked, StartTime=tomorrow, EndTime=tomorrow)["Events"] == []
    received = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            received.append(json.loads(json.loads(message["Body"])["Message"])["Event ID"].rsplit("#", 1)[1])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert received == ["RDS-EVENT-0181", "RDS-EVENT-0184", "RDS-EVENT-0185", "RDS-EVENT-0397"]
