"""Aurora clusters and instances: every field of the stack, statuses, snapshots and restores."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws

from ..conftest import PRIMARY, Clients
from .aurora import ACCOUNT, TAGS, Pair, Site, by_key, code_of, writer_arguments


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
    trusted = {"Effect": "Allow", "Principal": {"Service": "monitoring.rds.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
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
