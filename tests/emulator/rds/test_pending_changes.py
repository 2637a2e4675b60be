"""What waits for a reboot or for the maintenance window, and the log group that RDS makes by itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws

from ..conftest import PRIMARY, Clients
from .aurora import Pair, Site, writer_arguments

PRELOAD = {
    "ParameterName": "shared_preload_libraries",
    "ParameterValue": "pg_stat_statements,auto_explain",
    "ApplyMethod": "pending-reboot",
}


@pytest.fixture
def groups(east: Site, name: str) -> Iterator[str]:
    """A group of each kind with this name, of the pair's family."""
    family = {"DBParameterGroupFamily": "aurora-postgresql14", "Description": "d"}
    east.rds.create_db_cluster_parameter_group(DBClusterParameterGroupName=name, **family)
    east.rds.create_db_parameter_group(DBParameterGroupName=name, **family)
    yield name


def cluster_statuses(site: Site, cluster: str) -> list[str]:
    return [member["DBClusterParameterGroupStatus"] for member in site.cluster(cluster)["DBClusterMembers"]]


def instance_status(site: Site, instance: str) -> str:
    return str(site.instance(instance)["DBParameterGroups"][0]["ParameterApplyStatus"])


def test_aws_09_static_parameters_wait_for_a_reboot(pair: Pair, east: Site, groups: str) -> None:
    """RDS API: DBParameterGroupStatus, DBClusterMember, ModifyDBCluster and ModifyDBInstance (groups)."""
    first, second = f"{pair.primary}-1", f"{pair.primary}-2"
    assert cluster_statuses(east, pair.primary) == ["in-sync", "in-sync"], "attached at creation"
    east.rds.modify_db_cluster(DBClusterIdentifier=pair.primary, DBClusterParameterGroupName=groups)
    assert cluster_statuses(east, pair.primary) == ["pending-reboot"] * 2
    east.rds.reboot_db_instance(DBInstanceIdentifier=first)
    assert cluster_statuses(east, pair.primary) == ["in-sync", "pending-reboot"]
    east.rds.reboot_db_instance(DBInstanceIdentifier=second)
    assert cluster_statuses(east, pair.primary) == ["in-sync", "in-sync"]

    dynamic = {"ParameterName": "log_statement", "ParameterValue": "all", "ApplyMethod": "immediate"}
    group = {"DBClusterParameterGroupName": groups}
    east.rds.modify_db_cluster_parameter_group(**group, Parameters=[dynamic])
    default = {**PRELOAD, "ParameterValue": "pg_stat_statements"}
    east.rds.modify_db_cluster_parameter_group(**group, Parameters=[default])  # no change: it is the default
    assert cluster_statuses(east, pair.primary) == ["in-sync", "in-sync"]
    east.rds.modify_db_cluster_parameter_group(**group, Parameters=[PRELOAD])
    assert cluster_statuses(east, pair.primary) == ["pending-reboot"] * 2
    assert instance_status(east, first) == "in-sync"

    east.rds.modify_db_instance(DBInstanceIdentifier=first, DBParameterGroupName=groups, ApplyImmediately=True)
    assert instance_status(east, first) == "pending-reboot"
    east.rds.reboot_db_instance(DBInstanceIdentifier=first)
    assert instance_status(east, first) == "in-sync"
    east.rds.modify_db_parameter_group(DBParameterGroupName=groups, Parameters=[PRELOAD])
    assert (instance_status(east, first), instance_status(east, second)) == ("pending-reboot", "in-sync")


def test_aws_10_a_cluster_parameter_group_that_was_just_made_waits_for_a_reboot(
    aws: EmbeddedAws, east: Site, name: str, groups: str
) -> None:
    """RDS API, CreateDBClusterParameterGroup: "you should wait at least 5 minutes before creating your first DB cluster"."""
    for seconds, status in ((0.0, "in-sync"), (300.0, "pending-reboot")):
        aws.control.answers(new_cluster_group_seconds=seconds)
        cluster = f"{name}-{int(seconds)}"
        east.rds.create_db_cluster(**writer_arguments(east, cluster, DBClusterParameterGroupName=groups))
        east.add_instance(cluster)
        assert cluster_statuses(east, cluster) == [status]
    east.rds.reboot_db_instance(DBInstanceIdentifier=f"{cluster}-1")
    assert cluster_statuses(east, cluster) == ["in-sync"]


def pending(site: Site, instance: str) -> dict[str, Any]:
    found: dict[str, Any] = site.instance(instance).get("PendingModifiedValues", {})
    return found


def test_aws_11_without_apply_immediately_a_change_waits_for_the_window(pair: Pair, east: Site) -> None:
    """RDS API, ModifyDBInstance: ApplyImmediately also applies what waits already."""
    first = {"DBInstanceIdentifier": f"{pair.primary}-1"}
    east.rds.modify_db_instance(**first, DBInstanceClass="db.r6g.xlarge", AutoMinorVersionUpgrade=False)
    shown = east.instance(f"{pair.primary}-1")
    assert (shown["DBInstanceClass"], shown["AutoMinorVersionUpgrade"]) == ("db.r6g.large", False)
    assert shown["PendingModifiedValues"] == {"DBInstanceClass": "db.r6g.xlarge"}
    east.rds.modify_db_instance(**first, PromotionTier=3, ApplyImmediately=True)
    assert pending(east, f"{pair.primary}-1") == {}
    assert east.instance(f"{pair.primary}-1")["DBInstanceClass"] == "db.r6g.xlarge"

    east.rds.modify_db_cluster(DBClusterIdentifier=pair.primary, EnableIAMDatabaseAuthentication=False)
    shown = east.cluster(pair.primary)
    assert shown["IAMDatabaseAuthenticationEnabled"] is True
    assert shown["PendingModifiedValues"] == {"IAMDatabaseAuthenticationEnabled": False}
    east.rds.modify_db_cluster(
        DBClusterIdentifier=pair.primary, EnableIAMDatabaseAuthentication=True, ApplyImmediately=True
    )
    assert "PendingModifiedValues" not in east.cluster(pair.primary)


def test_aws_12_rds_makes_a_missing_log_group_by_itself(client: Clients, pair: Pair, east: Site) -> None:
    """Without tags or retention, and again when it was deleted (terraform-provider-aws#42858)."""
    logs, group = client("logs", PRIMARY), f"/aws/rds/cluster/{pair.primary}/postgresql"
    for _ in range(2):
        east.cluster(pair.primary)
        (found,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        assert "retentionInDays" not in found
        assert logs.list_tags_for_resource(resourceArn=found["arn"].removesuffix(":*"))["tags"] == {}
        logs.delete_log_group(logGroupName=group)


def test_aws_11_a_new_name_waits_for_the_window_too(pair: Pair, east: Site, name: str) -> None:
    """RDS API, ModifyDBCluster and ModifyDBInstance: without ApplyImmediately a new identifier is a pending value."""
    cluster, instance, other = pair.primary, f"{pair.primary}-1", east.add_instance(pair.primary, 7)
    east.rds.modify_db_instance(DBInstanceIdentifier=instance, NewDBInstanceIdentifier=f"{name}-i")
    assert east.instance(instance)["PendingModifiedValues"]["DBInstanceIdentifier"] == f"{name}-i"
    east.rds.modify_db_cluster(DBClusterIdentifier=cluster, NewDBClusterIdentifier=f"{name}-c")
    assert east.cluster(cluster)["PendingModifiedValues"]["DBClusterIdentifier"] == f"{name}-c"
    with pytest.raises(ClientError, match="DBInstanceAlreadyExists"):
        east.rds.modify_db_instance(DBInstanceIdentifier=instance, NewDBInstanceIdentifier=other, ApplyImmediately=True)
    # What waits is applied by the next request that applies at once.
    east.rds.modify_db_instance(DBInstanceIdentifier=instance, PromotionTier=3, ApplyImmediately=True)
    assert east.instance(f"{name}-i")["PromotionTier"] == 3
    back = {"NewDBInstanceIdentifier": instance, "ApplyImmediately": True}
    east.rds.modify_db_instance(DBInstanceIdentifier=f"{name}-i", **back)
    east.rds.modify_db_cluster(DBClusterIdentifier=cluster, NewDBClusterIdentifier=cluster)
    assert "PendingModifiedValues" not in east.cluster(cluster)
    east.rds.delete_db_instance(DBInstanceIdentifier=other, SkipFinalSnapshot=True)
